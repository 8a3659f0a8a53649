"""Messages to targets outside of this server, until they are delivered or given up."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from lambdad.domain.destinations import Attribute, OutgoingMessage
from lambdad.storage.engine import Engine, Row, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """A message that waits for its next try."""

    id: int
    target_arn: str
    message: OutgoingMessage
    created_ms: int
    tries: int


def put(tx: Transaction, target_arn: str, message: OutgoingMessage, now_ms: int) -> None:
    """Stores a message; it is due at once."""
    members = asdict(message)
    body = members.pop("body")
    tx.run(
        "INSERT INTO event_outbox (target_arn, message, body, created_ms, due_ms)"
        " VALUES (:target_arn, :message, :body, :now_ms, :now_ms)",
        {"target_arn": target_arn, "message": json.dumps(members), "body": body, "now_ms": now_ms},
    )


async def due(engine: Engine, now_ms: int, limit: int) -> list[OutboxEntry]:
    """Messages whose next try is due, the longest waiting first."""
    rows = await engine.read(
        "SELECT id, target_arn, message, body, created_ms, tries FROM event_outbox WHERE due_ms <= :now_ms"
        " ORDER BY due_ms LIMIT :limit",
        {"now_ms": now_ms, "limit": limit},
    )
    return [_entry(row) for row in rows]


async def next_due(engine: Engine) -> int | None:
    rows = await engine.read("SELECT MIN(due_ms) FROM event_outbox")
    due_ms: int | None = rows[0][0]
    return due_ms


def remove(tx: Transaction, entry_id: int) -> None:
    tx.run("DELETE FROM event_outbox WHERE id = :id", {"id": entry_id})


def postpone(tx: Transaction, entry_id: int, due_ms: int) -> None:
    """A try has failed; the next is at `due_ms`."""
    tx.run(
        "UPDATE event_outbox SET due_ms = :due_ms, tries = tries + 1 WHERE id = :id", {"id": entry_id, "due_ms": due_ms}
    )


def _entry(row: Row) -> OutboxEntry:
    entry_id, target_arn, document, body, created_ms, tries = row
    members = json.loads(document)
    members["attributes"] = {name: Attribute(**value) for name, value in members["attributes"].items()}
    return OutboxEntry(
        id=entry_id,
        target_arn=target_arn,
        message=OutgoingMessage(**members, body=body),
        created_ms=created_ms,
        tries=tries,
    )
