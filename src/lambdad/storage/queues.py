"""Queues in storage: definitions, tags, names that were deleted, and what is left to remove of purged ones.

Functions that take a transaction are steps for a job of the caller, so that checks and writes share one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

from lambdad.domain.queues import (
    Queue,
    QueueAddress,
    QueueSettings,
    RedriveAllowPolicy,
    RedrivePolicy,
)
from lambdad.storage.engine import Engine, Row, Transaction

_COLUMNS: Final = "id, bucket, account, region, name, settings, tags, created_ms, modified_ms, purged_ms"
_FIND: Final = f"SELECT {_COLUMNS} FROM queue WHERE account = :account AND region = :region AND name = :name"
REMOVAL_STEP: Final = 500
"""Messages removed in one transaction, so that other writers never wait long."""
_SETTINGS = frozenset(QueueSettings.__dataclass_fields__)


def find(tx: Transaction, address: QueueAddress) -> Queue | None:
    """The queue of this name, None if there is none."""
    row = tx.one(_FIND, _key(address))
    return None if row is None else _queue(row)


async def read_queue(engine: Engine, address: QueueAddress) -> Queue | None:
    """As `find`, beside the writer."""
    rows = await engine.read(_FIND, _key(address))
    return _queue(rows[0]) if rows else None


async def listing(
    engine: Engine, account: str, region: str, *, prefix: str = "", after: str = "", limit: int = 1000
) -> list[str]:
    """Names in order, `limit` of them after the name `after`."""
    rows = await engine.read(
        "SELECT name FROM queue WHERE account = :account AND region = :region AND name > :after"
        " AND substr(name, 1, :length) = :prefix ORDER BY name LIMIT :limit",
        {"account": account, "region": region, "after": after, "prefix": prefix, "length": len(prefix), "limit": limit},
    )
    return [row[0] for row in rows]


async def dead_letter_sources(
    engine: Engine, dead_letter_arn: str, *, after: QueueAddress | None = None, limit: int = 1000
) -> list[QueueAddress]:
    """The queues whose redrive policy names this one, ordered by name."""
    rows = await engine.read(
        "SELECT account, region, name FROM queue WHERE dead_letter_arn = :arn AND name > :after"
        " ORDER BY name LIMIT :limit",
        {"arn": dead_letter_arn, "after": after.name if after else "", "limit": limit},
    )
    return [QueueAddress(*row) for row in rows]


def is_dead_letter_queue(tx: Transaction, arn: str) -> bool:
    return tx.one("SELECT 1 FROM queue WHERE dead_letter_arn = :arn LIMIT 1", {"arn": arn}) is not None


def insert(
    tx: Transaction, address: QueueAddress, settings: QueueSettings, tags: Mapping[str, str], now_ms: int
) -> Queue:
    """A new queue. The caller has made sure that there is none of this name."""
    row = tx.one(
        "INSERT INTO queue (account, region, name, bucket, created_ms, modified_ms, settings, tags, dead_letter_arn)"
        " VALUES (:account, :region, :name, 0, :now, :now, :settings, :tags, :dead) RETURNING id",
        {
            **_key(address),
            "now": now_ms,
            "settings": encode_settings(settings),
            "tags": _dump(tags),
            "dead": settings.redrive.dead_letter_arn if settings.redrive else None,
        },
    )
    assert row is not None
    _new_bucket(tx, row[0])
    tx.run(
        "DELETE FROM queue_deleted WHERE account = :account AND region = :region AND name = :name",
        _key(address),
    )
    queue = find(tx, address)
    assert queue is not None
    return queue


def update_settings(tx: Transaction, queue: Queue, settings: QueueSettings, now_ms: int) -> None:
    tx.run(
        "UPDATE queue SET settings = :settings, dead_letter_arn = :dead, modified_ms = :now WHERE id = :id",
        {
            "id": queue.id,
            "settings": encode_settings(settings),
            "dead": settings.redrive.dead_letter_arn if settings.redrive else None,
            "now": now_ms,
        },
    )


def update_tags(tx: Transaction, queue: Queue, tags: Mapping[str, str]) -> None:
    tx.run("UPDATE queue SET tags = :tags WHERE id = :id", {"id": queue.id, "tags": _dump(tags)})


def purge(tx: Transaction, queue: Queue, now_ms: int) -> None:
    """Takes all messages of a queue away, whatever their number."""
    tx.run("UPDATE queue_bucket SET queue_id = NULL WHERE id = :bucket", {"bucket": queue.bucket})
    _new_bucket(tx, queue.id)
    tx.run("UPDATE queue SET purged_ms = :now WHERE id = :id", {"id": queue.id, "now": now_ms})


def delete(tx: Transaction, queue: Queue, now_ms: int) -> None:
    """Removes a queue with its messages and remembers when."""
    tx.run("UPDATE queue_bucket SET queue_id = NULL WHERE id = :bucket", {"bucket": queue.bucket})
    tx.run("DELETE FROM queue WHERE id = :id", {"id": queue.id})
    tx.run(
        "INSERT INTO queue_deleted (account, region, name, deleted_ms) VALUES (:account, :region, :name, :now)"
        " ON CONFLICT (account, region, name) DO UPDATE SET deleted_ms = excluded.deleted_ms",
        {**_key(queue.address), "now": now_ms},
    )


def deleted_ms(tx: Transaction, address: QueueAddress) -> int | None:
    """When a queue of this name was deleted, as long as that is remembered."""
    row = tx.one(
        "SELECT deleted_ms FROM queue_deleted WHERE account = :account AND region = :region AND name = :name",
        _key(address),
    )
    return None if row is None else row[0]


def delete_everything(tx: Transaction) -> None:
    """Removes all queues of all accounts; names are free at once."""
    tx.run("UPDATE queue_bucket SET queue_id = NULL")
    for table in ("queue", "queue_deleted", "queue_move_task"):
        tx.run(f"DELETE FROM {table}")


def remove_garbage(tx: Transaction) -> bool:
    """Removes some messages of purged and deleted queues; whether anything was left to remove."""
    row = tx.one("SELECT id FROM queue_bucket WHERE queue_id IS NULL ORDER BY id LIMIT 1")
    if row is None:
        return False
    args = {"bucket": row[0], "step": REMOVAL_STEP}
    ids = tx.all("SELECT id FROM queue_message WHERE bucket = :bucket LIMIT :step", args)
    if ids:
        by_id = [{"id": id_} for (id_,) in ids]
        tx.run_many("DELETE FROM queue_message WHERE id = :id", by_id)
        tx.run_many("DELETE FROM queue_message_content WHERE id = :id", by_id)
        return True
    removed = tx.run(
        "DELETE FROM queue_deduplication WHERE bucket = :bucket AND (scope, deduplication_id) IN"
        " (SELECT scope, deduplication_id FROM queue_deduplication WHERE bucket = :bucket LIMIT :step)",
        args,
    )
    if removed < REMOVAL_STEP:
        removed = tx.run(
            "DELETE FROM queue_group WHERE bucket = :bucket AND name IN"
            " (SELECT name FROM queue_group WHERE bucket = :bucket LIMIT :step)",
            args,
        )
    if removed < REMOVAL_STEP:
        tx.run("DELETE FROM queue_receive_attempt WHERE bucket = :bucket", {"bucket": row[0]})
        tx.run("DELETE FROM queue_bucket WHERE id = :bucket", {"bucket": row[0]})
    return True


def forget(tx: Transaction, *, deduplication_before_ms: int, deleted_before_ms: int) -> bool:
    """Removes some of what is no longer needed to recognise duplicates and deleted names; whether more may be left."""
    args = {"before": deduplication_before_ms, "deleted": deleted_before_ms, "step": REMOVAL_STEP}
    removed = tx.run(
        "DELETE FROM queue_deduplication WHERE (bucket, scope, deduplication_id) IN"
        " (SELECT bucket, scope, deduplication_id FROM queue_deduplication WHERE sent_ms <= :before"
        " ORDER BY sent_ms LIMIT :step)",
        args,
    )
    attempts = tx.run(
        "DELETE FROM queue_receive_attempt WHERE (bucket, attempt_id) IN"
        " (SELECT bucket, attempt_id FROM queue_receive_attempt WHERE received_ms <= :before"
        " ORDER BY received_ms LIMIT :step)",
        args,
    )
    tx.run("DELETE FROM queue_deleted WHERE deleted_ms <= :deleted", args)
    return max(removed, attempts) == REMOVAL_STEP


async def oldest_messages(engine: Engine) -> list[tuple[QueueAddress, int]]:
    """Every queue that has messages, and when its oldest one expires."""
    rows = await engine.read(
        "SELECT q.account, q.region, q.name, q.settings,"
        " (SELECT MIN(m.sent_ms) FROM queue_message m WHERE m.bucket = q.bucket)"
        " FROM queue q JOIN queue_bucket b ON b.id = q.bucket WHERE b.stored > 0"
    )
    return [
        (QueueAddress(*row[:3]), row[4] + decode_settings(row[3]).retention_s * 1000)
        for row in rows
        if row[4] is not None
    ]


def _new_bucket(tx: Transaction, queue_id: int) -> None:
    row = tx.one("INSERT INTO queue_bucket (queue_id) VALUES (:id) RETURNING id", {"id": queue_id})
    assert row is not None
    tx.run("UPDATE queue SET bucket = :bucket WHERE id = :id", {"bucket": row[0], "id": queue_id})


def _key(address: QueueAddress) -> dict[str, str]:
    return {"account": address.account, "region": address.region, "name": address.name}


def _queue(row: Row) -> Queue:
    id_, bucket, account, region, name, settings, tags, created_ms, modified_ms, purged_ms = row
    return Queue(
        id=id_,
        bucket=bucket,
        address=QueueAddress(account, region, name),
        settings=decode_settings(settings),
        tags=_tags(tags),
        created_ms=created_ms,
        modified_ms=modified_ms,
        purged_ms=purged_ms,
    )


# --- settings as JSON: what a document lacks takes its default, what is not known any more is dropped ---


def encode_settings(settings: QueueSettings) -> str:
    return _dump(asdict(settings))


@lru_cache(maxsize=4096)
def decode_settings(document: str) -> QueueSettings:
    members: dict[str, Any] = {name: value for name, value in json.loads(document).items() if name in _SETTINGS}
    if members.get("redrive"):
        members["redrive"] = RedrivePolicy(**members["redrive"])
    if members.get("redrive_allow"):
        allow = members["redrive_allow"]
        members["redrive_allow"] = RedriveAllowPolicy(
            permission=allow["permission"], source_arns=tuple(allow["source_arns"])
        )
    return QueueSettings(**members)


@lru_cache(maxsize=4096)
def _tags(document: str) -> Mapping[str, str]:
    tags: dict[str, str] = json.loads(document)
    return tags


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
