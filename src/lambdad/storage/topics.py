"""Topics and subscriptions in storage. Functions that take a transaction are steps of a caller's job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from lambdad.domain.topics import DEDUPLICATION_MS, Subscription, Topic, TopicAddress, sequence_number
from lambdad.storage.engine import Engine, Row, Transaction

_TOPIC: Final = "id, account, region, name, attributes, tags, created_ms, unsubscribed"
_FIND: Final = f"SELECT {_TOPIC} FROM topic WHERE account = :account AND region = :region AND name = :name"
_SUBSCRIPTION: Final = (
    "s.id, t.account, t.region, t.name, s.unique_part, s.protocol, s.endpoint, s.owner, s.principal, s.attributes,"
    " s.is_confirmed, s.was_authenticated, s.protects_deletion, s.token, s.created_ms"
)
_FROM: Final = "FROM topic_subscription s JOIN topic t ON t.id = s.topic_id"
_FIND_SUBSCRIPTION: Final = (
    f"SELECT {_SUBSCRIPTION} {_FROM} WHERE s.unique_part = :unique"
    " AND t.account = :account AND t.region = :region AND t.name = :name"
)
FORGET_STEP: Final = 500
"""Rows removed in one transaction, so that other writers never wait long."""


# --- topics ---


def find(tx: Transaction, address: TopicAddress) -> Topic | None:
    """The topic of this name, None if there is none."""
    row = tx.one(_FIND, _key(address))
    return None if row is None else _topic(row)


async def read_topic(engine: Engine, address: TopicAddress) -> Topic | None:
    """As `find`, beside the writer."""
    rows = await engine.read(_FIND, _key(address))
    return _topic(rows[0]) if rows else None


async def listing(engine: Engine, account: str, region: str, *, after: str = "", limit: int) -> list[TopicAddress]:
    """Topics by name, `limit` of them after the name `after`."""
    rows = await engine.read(
        "SELECT account, region, name FROM topic WHERE account = :account AND region = :region AND name > :after"
        " ORDER BY name LIMIT :limit",
        {"account": account, "region": region, "after": after, "limit": limit},
    )
    return [TopicAddress(*row) for row in rows]


def insert(
    tx: Transaction, address: TopicAddress, attributes: Mapping[str, str], tags: Mapping[str, str], now_ms: int
) -> None:
    """A new topic. The caller has made sure that there is none of this name."""
    tx.run(
        "INSERT INTO topic (account, region, name, attributes, tags, created_ms)"
        " VALUES (:account, :region, :name, :attributes, :tags, :now)",
        {**_key(address), "attributes": _dump(attributes), "tags": _dump(tags), "now": now_ms},
    )


def update(tx: Transaction, topic: Topic, attributes: Mapping[str, str], tags: Mapping[str, str]) -> None:
    tx.run(
        "UPDATE topic SET attributes = :attributes, tags = :tags WHERE id = :id",
        {"id": topic.id, "attributes": _dump(attributes), "tags": _dump(tags)},
    )


def delete(tx: Transaction, topic: Topic) -> None:
    """Removes a topic with its subscriptions and what still waits to be sent to them."""
    args = {"id": topic.id}
    tx.run(
        "DELETE FROM topic_post WHERE subscription_id IN (SELECT id FROM topic_subscription WHERE topic_id = :id)", args
    )
    tx.run("DELETE FROM topic_subscription WHERE topic_id = :id", args)
    tx.run("DELETE FROM topic_deduplication WHERE topic_id = :id", args)
    tx.run("DELETE FROM topic WHERE id = :id", args)


def delete_everything(tx: Transaction) -> None:
    """Removes all topics of all accounts."""
    for table in ("topic_post", "topic_subscription", "topic_deduplication", "topic"):
        tx.run(f"DELETE FROM {table}")


async def counts(engine: Engine, topic: Topic) -> tuple[int, int]:
    """Confirmed and pending subscriptions."""
    rows = await engine.read(
        "SELECT is_confirmed, COUNT(*) FROM topic_subscription WHERE topic_id = :id GROUP BY is_confirmed",
        {"id": topic.id},
    )
    found = {bool(row[0]): row[1] for row in rows}
    return found.get(True, 0), found.get(False, 0)


# --- publishing to FIFO topics ---


def next_sequence_number(tx: Transaction, topic: Topic) -> str:
    row = tx.one("UPDATE topic SET published = published + 1 WHERE id = :id RETURNING published", {"id": topic.id})
    assert row is not None
    return sequence_number(row[0])


def find_duplicate(
    tx: Transaction, topic: Topic, scope: str, deduplication_id: str, now_ms: int
) -> tuple[str, str] | None:
    """Message id and sequence number of the message that one with this id would be a duplicate of."""
    row = tx.one(
        "SELECT message_id, sequence_number FROM topic_deduplication WHERE topic_id = :id AND scope = :scope"
        " AND deduplication_id = :deduplication AND published_ms > :since",
        {"id": topic.id, "scope": scope, "deduplication": deduplication_id, "since": now_ms - DEDUPLICATION_MS},
    )
    return None if row is None else (row[0], row[1])


def remember(
    tx: Transaction, topic: Topic, scope: str, deduplication_id: str, message_id: str, sequence: str, now_ms: int
) -> None:
    """Messages with the same id are duplicates of this one for five minutes."""
    tx.run(
        "INSERT INTO topic_deduplication (topic_id, scope, deduplication_id, published_ms, message_id, sequence_number)"
        " VALUES (:id, :scope, :deduplication, :now, :message_id, :sequence)"
        " ON CONFLICT (topic_id, scope, deduplication_id) DO UPDATE SET published_ms = excluded.published_ms,"
        " message_id = excluded.message_id, sequence_number = excluded.sequence_number",
        {
            "id": topic.id,
            "scope": scope,
            "deduplication": deduplication_id,
            "now": now_ms,
            "message_id": message_id,
            "sequence": sequence,
        },
    )


def forget(tx: Transaction, *, deduplication_before_ms: int, pending_before_ms: int) -> bool:
    """Removes some of what nobody needs any more: old deduplication ids, subscriptions that were never confirmed.
    Whether more may be left."""
    removed = tx.run(
        "DELETE FROM topic_deduplication WHERE (topic_id, scope, deduplication_id) IN"
        " (SELECT topic_id, scope, deduplication_id FROM topic_deduplication WHERE published_ms <= :before"
        " ORDER BY published_ms LIMIT :step)",
        {"before": deduplication_before_ms, "step": FORGET_STEP},
    )
    expired = tx.all(
        "SELECT id FROM topic_subscription WHERE is_confirmed = 0 AND created_ms <= :before LIMIT :step",
        {"before": pending_before_ms, "step": FORGET_STEP},
    )
    for (subscription_id,) in expired:
        _remove_subscription(tx, subscription_id)
    return max(removed, len(expired)) == FORGET_STEP


# --- subscriptions ---


def subscribers(tx: Transaction, topic: Topic) -> list[Subscription]:
    """The confirmed subscriptions of a topic, the oldest first."""
    rows = tx.all(
        f"SELECT {_SUBSCRIPTION} {_FROM} WHERE s.topic_id = :id AND s.is_confirmed = 1 ORDER BY s.id", {"id": topic.id}
    )
    return [_subscription(row) for row in rows]


def find_subscription(tx: Transaction, topic: TopicAddress, unique: str) -> Subscription | None:
    row = tx.one(_FIND_SUBSCRIPTION, {**_key(topic), "unique": unique})
    return None if row is None else _subscription(row)


async def read_subscription(engine: Engine, topic: TopicAddress, unique: str) -> Subscription | None:
    """As `find_subscription`, beside the writer."""
    rows = await engine.read(_FIND_SUBSCRIPTION, {**_key(topic), "unique": unique})
    return _subscription(rows[0]) if rows else None


async def read_subscriber(engine: Engine, subscription_id: int) -> tuple[Subscription, str] | None:
    """A subscription by its row, with the delivery policy of its topic; None when it is gone."""
    rows = await engine.read(f"SELECT {_SUBSCRIPTION}, t.attributes {_FROM} WHERE s.id = :id", {"id": subscription_id})
    return (_subscription(rows[0][:-1]), _load(rows[0][-1]).get("DeliveryPolicy", "")) if rows else None


def find_endpoint(tx: Transaction, topic: Topic, protocol: str, endpoint: str) -> Subscription | None:
    """The subscription of an endpoint, confirmed or not."""
    row = tx.one(
        f"SELECT {_SUBSCRIPTION} {_FROM} WHERE s.topic_id = :id AND s.protocol = :protocol AND s.endpoint = :endpoint",
        {"id": topic.id, "protocol": protocol, "endpoint": endpoint},
    )
    return None if row is None else _subscription(row)


def find_token(tx: Transaction, topic: Topic, token: str) -> Subscription | None:
    """The subscription that this token confirms, or has confirmed."""
    row = tx.one(
        f"SELECT {_SUBSCRIPTION} {_FROM} WHERE s.topic_id = :id AND s.token = :token AND s.token <> ''",
        {"id": topic.id, "token": token},
    )
    return None if row is None else _subscription(row)


async def subscription_listing(
    engine: Engine, account: str, region: str, *, topic: Topic | None = None, after: int = 0, limit: int
) -> list[Subscription]:
    """Subscriptions in the order in which they were made, of one topic or of all of an account and region."""
    where = "t.account = :account AND t.region = :region" if topic is None else "s.topic_id = :topic"
    rows = await engine.read(
        f"SELECT {_SUBSCRIPTION} {_FROM} WHERE {where} AND s.id > :after ORDER BY s.id LIMIT :limit",
        {
            "account": account,
            "region": region,
            "topic": topic.id if topic is not None else None,
            "after": after,
            "limit": limit,
        },
    )
    return [_subscription(row) for row in rows]


def insert_subscription(tx: Transaction, topic: Topic, subscription: Subscription) -> int:
    """Stores a new one; its `id` is ignored. Returns the id."""
    row = tx.one(
        "INSERT INTO topic_subscription (topic_id, unique_part, protocol, endpoint, owner, principal, attributes,"
        " is_confirmed, was_authenticated, protects_deletion, token, created_ms) VALUES (:topic, :unique, :protocol,"
        " :endpoint, :owner, :principal, :attributes, :confirmed, :authenticated, :protects, :token, :created)"
        " RETURNING id",
        {
            "topic": topic.id,
            "unique": subscription.unique,
            "protocol": subscription.protocol,
            "endpoint": subscription.endpoint,
            "owner": subscription.owner,
            "principal": subscription.principal,
            **_changing(subscription),
        },
    )
    assert row is not None
    subscription_id: int = row[0]
    return subscription_id


def update_subscription(tx: Transaction, subscription: Subscription) -> None:
    tx.run(
        "UPDATE topic_subscription SET attributes = :attributes, is_confirmed = :confirmed,"
        " was_authenticated = :authenticated, protects_deletion = :protects, token = :token, created_ms = :created"
        " WHERE id = :id",
        {"id": subscription.id, **_changing(subscription)},
    )


def delete_subscription(tx: Transaction, subscription: Subscription) -> None:
    """Removes it with what still waits to be sent to it, and counts that in its topic."""
    tx.run(
        "UPDATE topic SET unsubscribed = unsubscribed + 1 WHERE account = :account AND region = :region"
        " AND name = :name",
        _key(subscription.topic),
    )
    _remove_subscription(tx, subscription.id)


def _remove_subscription(tx: Transaction, subscription_id: int) -> None:
    tx.run("DELETE FROM topic_post WHERE subscription_id = :id", {"id": subscription_id})
    tx.run("DELETE FROM topic_subscription WHERE id = :id", {"id": subscription_id})


def _changing(subscription: Subscription) -> dict[str, str | int]:
    return {
        "attributes": _dump(subscription.attributes),
        "confirmed": int(subscription.is_confirmed),
        "authenticated": int(subscription.was_authenticated),
        "protects": int(subscription.protects_deletion),
        "token": subscription.token,
        "created": subscription.created_ms,
    }


# --- rows and values ---


def _key(address: TopicAddress) -> dict[str, str]:
    return {"account": address.account, "region": address.region, "name": address.name}


def _topic(row: Row) -> Topic:
    id_, account, region, name, attributes, tags, created_ms, unsubscribed = row
    return Topic(
        id=id_,
        address=TopicAddress(account, region, name),
        attributes=_load(attributes),
        tags=_load(tags),
        created_ms=created_ms,
        unsubscribed=unsubscribed,
    )


def _subscription(row: Row) -> Subscription:
    id_, account, region, name, unique, protocol, endpoint, owner, principal, attributes = row[:10]
    is_confirmed, was_authenticated, protects_deletion, token, created_ms = row[10:]
    return Subscription(
        id=id_,
        topic=TopicAddress(account, region, name),
        unique=unique,
        protocol=protocol,
        endpoint=endpoint,
        owner=owner,
        principal=principal,
        attributes=_load(attributes),
        is_confirmed=bool(is_confirmed),
        was_authenticated=bool(was_authenticated),
        protects_deletion=bool(protects_deletion),
        token=token,
        created_ms=created_ms,
    )


@lru_cache(maxsize=4096)
def _load(document: str) -> Mapping[str, str]:
    members: dict[str, str] = json.loads(document)
    return members


def _dump(value: Mapping[str, str]) -> str:
    return json.dumps(dict(value), separators=(",", ":"), ensure_ascii=False)
