"""The groups of FIFO queues in storage: which group can be received from, and from when.

A group is locked while one of its messages is in flight. Only messages at its head can be: a claim takes from a group
that is not locked, at most ten messages, in order. So the state of a group shows in its first ten messages.
"""

from __future__ import annotations

from typing import Final

from lambdad.storage.engine import Transaction

_HEAD: Final = 10


def joined(tx: Transaction, bucket: int, name: str, due_ms: int, row: int) -> None:
    """A message was added at the end of a group; a group that had none begins with it."""
    tx.run(
        "INSERT INTO queue_group (bucket, name, due_ms, head) VALUES (:bucket, :name, :due, :row)"
        " ON CONFLICT (bucket, name) DO NOTHING",
        {"bucket": bucket, "name": name, "due": due_ms, "row": row},
    )


def refresh(tx: Transaction, bucket: int, name: str, now_ms: int) -> None:
    """Brings the state of a group up to date after messages at its head were taken, changed or removed."""
    args = {"bucket": bucket, "name": name}
    rows = tx.all(
        "SELECT id, visible_ms, receives FROM queue_message WHERE bucket = :bucket AND group_name = :name"
        f" ORDER BY id LIMIT {_HEAD}",
        args,
    )
    if not rows:
        tx.run("DELETE FROM queue_group WHERE bucket = :bucket AND name = :name", args)
        return
    in_flight = [visible_ms for _, visible_ms, receives in rows if receives > 0 and visible_ms > now_ms]
    tx.run(
        "UPDATE queue_group SET due_ms = :due, head = :head WHERE bucket = :bucket AND name = :name",
        {**args, "due": max(rows[0][1], *in_flight) if in_flight else rows[0][1], "head": rows[0][0]},
    )


def due(tx: Transaction, bucket: int, now_ms: int, limit: int) -> list[str]:
    """Groups that can be received from, the one that is due for longest first."""
    rows = tx.all(
        "SELECT name FROM queue_group WHERE bucket = :bucket AND due_ms <= :now ORDER BY due_ms, head LIMIT :limit",
        {"bucket": bucket, "now": now_ms, "limit": limit},
    )
    return [row[0] for row in rows]


def next_due(tx: Transaction, bucket: int, now_ms: int) -> int | None:
    """When the next group that is locked or delayed can be received from."""
    row = tx.one(
        "SELECT MIN(due_ms) FROM queue_group WHERE bucket = :bucket AND due_ms > :now",
        {"bucket": bucket, "now": now_ms},
    )
    return None if row is None else row[0]
