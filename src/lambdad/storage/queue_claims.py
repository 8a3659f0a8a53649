"""Messages in storage: who gets which.

A claim pushes `visible_ms` forward; whoever does not delete the message in time has lost it to the next receiver. An
index leads a claim to as many messages as it may take, whatever the length of the queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lambdad.domain.queues import (
    DEDUPLICATION_MS,
    MAX_IN_FLIGHT,
    Queue,
    QueueAddress,
    ReceivedMessage,
    parse_queue_arn,
)
from lambdad.storage import queue_groups as groups
from lambdad.storage import queues
from lambdad.storage.engine import Row, Transaction
from lambdad.storage.queue_messages import received, remove, transfer

_CANDIDATE: Final = (
    "SELECT m.id, m.visible_ms, m.receives, m.sent_ms, m.first_received_ms, m.group_name, c.message_id, c.sender_id,"
    " c.body, c.attributes, c.trace_header, c.group_id, c.deduplication_id, c.source_arn, c.earlier_receives"
    " FROM queue_message m JOIN queue_message_content c ON c.id = m.id"
)
_VISIBLE: Final = (
    f"{_CANDIDATE} WHERE m.bucket = :bucket AND m.visible_ms <= :now ORDER BY m.visible_ms, m.receives, m.id"
    " LIMIT :limit"
)
_OF_GROUP: Final = f"{_CANDIDATE} WHERE m.bucket = :bucket AND m.group_name = :name ORDER BY m.id LIMIT :limit"
_BY_ID: Final = f"{_CANDIDATE} WHERE m.id = :id AND m.bucket = :bucket"
MAX_ROUNDS: Final = 50
"""How often one claim looks again after it met only messages that had expired or went to the dead-letter queue."""


@dataclass(slots=True)
class Claim:
    """What a receive call got, and what others may be woken for."""

    messages: list[ReceivedMessage] = field(default_factory=list)
    next_due_ms: int | None = None
    """When the next message that cannot be received now can be."""
    moved_to: QueueAddress | None = None
    """The dead-letter queue, if messages went there."""
    is_over_limit: bool = False
    is_unfinished: bool = False
    """Messages were removed instead of taken: more may be there to receive now."""


@dataclass(slots=True)
class Move:
    """What one step of a move task did."""

    moved: int = 0
    reached: set[QueueAddress] = field(default_factory=set)
    failure: str = ""


class Claimer:
    """Claims messages. Remembers for each queue how far it is from the limit of messages in flight at least, since
    counting them for every call would take longer than all the rest. Used on the writer's thread only."""

    def __init__(self, max_in_flight: int = MAX_IN_FLIGHT) -> None:
        self._max_in_flight = max_in_flight
        self._headroom: dict[int, int] = {}

    def claim(self, tx: Transaction, queue: Queue, *, now_ms: int, visibility_ms: int, limit: int) -> Claim:
        """Up to `limit` messages (1 to 10) that can be received now, hidden until `visibility_ms` from now."""
        claim = Claim()
        headroom = self._headroom_of(tx, queue.bucket, limit, now_ms)
        if headroom <= 0:
            claim.is_over_limit = True
            return claim
        limit = min(limit, headroom)
        taker = _Taker(tx, queue, now_ms)
        rows = taker.in_order(limit) if queue.settings.is_fifo else taker.any_order(limit)
        claim.is_unfinished = taker.is_unfinished
        claim.moved_to = taker.moved_to
        until_ms = now_ms + visibility_ms
        if rows:
            tx.run_many(
                "UPDATE queue_message SET visible_ms = :until, receives = receives + 1, received_ms = :now,"
                " first_received_ms = COALESCE(first_received_ms, :now) WHERE id = :id",
                [{"id": row[0], "until": until_ms, "now": now_ms} for row in rows],
            )
            self._headroom[queue.bucket] -= len(rows)
        for name in taker.touched:
            groups.refresh(tx, queue.bucket, name, now_ms)
        claim.messages = [received(queue, row, now_ms) for row in rows]
        if len(rows) < limit:
            claim.next_due_ms = next_due(tx, queue, now_ms)
        return claim

    def _headroom_of(self, tx: Transaction, bucket: int, wanted: int, now_ms: int) -> int:
        headroom = self._headroom.get(bucket, 0)
        if headroom < wanted:
            row = tx.one(
                "SELECT COUNT(*) FROM queue_message WHERE bucket = :bucket AND visible_ms > :now AND receives > 0",
                {"bucket": bucket, "now": now_ms},
            )
            assert row is not None
            if len(self._headroom) > 10_000:
                self._headroom.clear()
            headroom = self._headroom[bucket] = self._max_in_flight - row[0]
        return headroom


class _Taker:
    """Chooses the messages of one claim, and removes what it meets that is not to be received any more."""

    def __init__(self, tx: Transaction, queue: Queue, now_ms: int) -> None:
        self._tx = tx
        self._queue = queue
        self._now_ms = now_ms
        self._expired_before_ms = now_ms - queue.settings.retention_s * 1000
        self._dead_letter_queue: Queue | None = None
        if queue.settings.redrive is not None:
            address = parse_queue_arn(queue.settings.redrive.dead_letter_arn)
            self._dead_letter_queue = queues.find(tx, address) if address is not None else None
        self.moved_to: QueueAddress | None = None
        self.touched: set[str] = set()
        """Groups of which messages were taken or removed."""
        self.is_unfinished = False

    def any_order(self, limit: int) -> list[Row]:
        """Of a standard queue: the messages that have been visible for longest."""
        for _ in range(MAX_ROUNDS):
            rows = self._tx.all(_VISIBLE, {"bucket": self._queue.bucket, "now": self._now_ms, "limit": limit})
            kept = [row for row in rows if not self._remove_if_due(row)]
            if kept or not rows:
                # With messages at hand there is no hurry to look further; the next call does.
                self.is_unfinished = len(kept) < len(rows)
                return kept
        self.is_unfinished = True
        return []

    def in_order(self, limit: int) -> list[Row]:
        """Of a FIFO queue: as many as possible of the group that is due for longest, then of the next ones."""
        taken: list[Row] = []
        for _ in range(MAX_ROUNDS):
            has_removed = False
            for name in groups.due(self._tx, self._queue.bucket, self._now_ms, limit):
                if len(taken) == limit:
                    break
                rows, removed = self._of_group(name, limit - len(taken))
                taken += rows
                has_removed |= removed
                self.touched.add(name)
            if taken or not has_removed:
                self.is_unfinished = has_removed
                return taken
            for name in self.touched:
                groups.refresh(self._tx, self._queue.bucket, name, self._now_ms)
        self.is_unfinished = True
        return taken

    def _of_group(self, name: str, limit: int) -> tuple[list[Row], bool]:
        taken: list[Row] = []
        has_removed = False
        rows = self._tx.all(_OF_GROUP, {"bucket": self._queue.bucket, "name": name, "limit": limit})
        for row in rows:
            if self._remove_if_due(row):
                has_removed = True
            elif row[1] > self._now_ms:  # delayed: what follows it has to wait too
                break
            else:
                taken.append(row)
        return taken, has_removed

    def _remove_if_due(self, row: Row) -> bool:
        id_, visible_ms, receives, sent_ms = row[:4]
        if sent_ms <= self._expired_before_ms:
            remove(self._tx, self._queue.bucket, [id_])
            return True
        redrive = self._queue.settings.redrive
        if self._dead_letter_queue is None or redrive is None:
            return False
        if receives < redrive.max_receives or visible_ms > self._now_ms:
            return False
        transfer(self._tx, self._queue, self._dead_letter_queue, row, self._now_ms, source_arn=self._queue.arn)
        self.moved_to = self._dead_letter_queue.address
        return True


def next_due(tx: Transaction, queue: Queue, now_ms: int) -> int | None:
    """When a message that cannot be received now will be the next that can."""
    if queue.settings.is_fifo:
        return groups.next_due(tx, queue.bucket, now_ms)
    row = tx.one(
        "SELECT MIN(visible_ms) FROM queue_message WHERE bucket = :bucket AND visible_ms > :now",
        {"bucket": queue.bucket, "now": now_ms},
    )
    return None if row is None else row[0]


# --- receiving again, with the id of the attempt ---


def claim_again(
    tx: Transaction, queue: Queue, attempt_id: str, *, now_ms: int, visibility_ms: int
) -> list[ReceivedMessage]:
    """The messages that the same attempt got before, hidden anew; empty when there is no such attempt, or one of them
    was deleted, changed or became visible meanwhile."""
    attempt = tx.one(
        "SELECT messages FROM queue_receive_attempt"
        " WHERE bucket = :bucket AND attempt_id = :id AND received_ms > :since",
        {"bucket": queue.bucket, "id": attempt_id, "since": now_ms - DEDUPLICATION_MS},
    )
    if attempt is None:
        return []
    rows = []
    for id_, receives, visible_ms in json.loads(attempt[0]):
        row = tx.one(_BY_ID, {"id": id_, "bucket": queue.bucket})
        if row is None or row[2] != receives or row[1] != visible_ms or visible_ms <= now_ms:
            return []
        rows.append(row)
    tx.run_many(
        "UPDATE queue_message SET visible_ms = :until WHERE id = :id",
        [{"id": row[0], "until": now_ms + visibility_ms} for row in rows],
    )
    for name in {row[5] for row in rows}:
        groups.refresh(tx, queue.bucket, name, now_ms)
    # Same receipts: the count of receipts has not changed.
    messages = [received(queue, (*row[:2], row[2] - 1, *row[3:]), now_ms) for row in rows]
    remember_attempt(tx, queue, attempt_id, messages, now_ms, visibility_ms)
    return messages


def remember_attempt(
    tx: Transaction,
    queue: Queue,
    attempt_id: str,
    messages: Iterable[ReceivedMessage],
    now_ms: int,
    visibility_ms: int,
) -> None:
    """Notes what an attempt got, for `claim_again`."""
    document = [[m.receipt.row, m.receipt.receives, now_ms + visibility_ms] for m in messages]
    tx.run(
        "INSERT INTO queue_receive_attempt (bucket, attempt_id, received_ms, messages)"
        " VALUES (:bucket, :id, :now, :messages)"
        " ON CONFLICT (bucket, attempt_id) DO UPDATE"
        " SET received_ms = excluded.received_ms, messages = excluded.messages",
        {"bucket": queue.bucket, "id": attempt_id, "now": now_ms, "messages": json.dumps(document)},
    )


def move_visible(
    tx: Transaction,
    source: Queue,
    destination: Queue | None,
    new_ids: Sequence[str],
    now_ms: int,
) -> Move:
    """Moves up to `len(new_ids)` messages that can be received now; they become new messages (SQS guide, redrive).

    Without a destination each goes back to the queue that it came from.
    """
    move = Move()
    taker = _Taker(tx, source, now_ms)
    limit = len(new_ids)
    rows = taker.in_order(limit) if source.settings.is_fifo else tx.all(
        _VISIBLE, {"bucket": source.bucket, "now": now_ms, "limit": limit}
    )  # fmt: skip
    for row, message_id in zip(rows, new_ids, strict=False):
        target = destination
        if target is None:
            origin = parse_queue_arn(row[13]) if row[13] else None
            if origin is None:
                move.failure = "CouldNotDetermineMessageSource"
                break
            target = queues.find(tx, origin)
            if target is None:
                move.failure = "AWS.SimpleQueueService.NonExistentQueue"
                break
        transfer(tx, source, target, row, now_ms, message_id=message_id)
        move.moved += 1
        move.reached.add(target.address)
    for name in taker.touched:
        groups.refresh(tx, source.bucket, name, now_ms)
    return move
