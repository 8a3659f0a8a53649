"""What waits to be sent to HTTP(S) subscribers, until it is delivered or given up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from lambdad.storage.engine import Engine, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One request that is to be made."""

    id: int
    tries: int
    headers: Mapping[str, str]
    body: str

    @property
    def is_notification(self) -> bool:
        return self.headers["x-amz-sns-message-type"] == "Notification"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What waits for one subscriber."""

    subscription_id: int
    due_ms: int
    """Of the first post."""


def put(
    tx: Transaction,
    subscription_id: int,
    *,
    headers: Mapping[str, str],
    body: str,
    now_ms: int,
) -> None:
    """Stores a post; it is due at once."""
    tx.run(
        "INSERT INTO topic_post (subscription_id, due_ms, headers, body) VALUES (:subscription, :now, :headers, :body)",
        {
            "subscription": subscription_id,
            "now": now_ms,
            "headers": json.dumps(dict(headers), separators=(",", ":")),
            "body": body,
        },
    )


async def lanes(engine: Engine) -> list[Lane]:
    """Every subscriber for whom something waits; takes no longer for many posts."""
    rows = await engine.read(
        "SELECT id, due_ms FROM (SELECT s.id AS id,"
        " (SELECT MIN(p.due_ms) FROM topic_post p WHERE p.subscription_id = s.id) AS due_ms"
        " FROM topic_subscription s WHERE s.protocol IN ('http', 'https')) AS lane WHERE due_ms IS NOT NULL"
    )
    return [Lane(subscription_id=row[0], due_ms=row[1]) for row in rows]


async def due(engine: Engine, subscription_id: int, now_ms: int, limit: int) -> list[Post]:
    """The posts for a subscriber that are due, the longest waiting first."""
    rows = await engine.read(
        "SELECT id, tries, headers, body FROM topic_post"
        " WHERE subscription_id = :subscription AND due_ms <= :now ORDER BY due_ms, id LIMIT :limit",
        {"subscription": subscription_id, "now": now_ms, "limit": limit},
    )
    return [Post(id=id_, tries=tries, headers=json.loads(headers), body=body) for id_, tries, headers, body in rows]


def remove(tx: Transaction, post_id: int) -> bool:
    """It was delivered or given up. False when it has gone already, with its subscription."""
    return tx.run("DELETE FROM topic_post WHERE id = :id", {"id": post_id}) > 0


def postpone(tx: Transaction, post_id: int, due_ms: int) -> None:
    """A try has failed; the next is at `due_ms`."""
    tx.run("UPDATE topic_post SET due_ms = :due, tries = tries + 1 WHERE id = :id", {"id": post_id, "due": due_ms})
