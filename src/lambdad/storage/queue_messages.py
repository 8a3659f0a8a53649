"""Messages in storage: put, delete, change visibility, transfer, expire, count.

Every statement finds its rows by an index, whatever the length of the queue. All functions are steps of a caller's job.
"""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lambdad.domain.queues import (
    DEDUPLICATION_MS,
    MessageAttribute,
    NewMessage,
    Queue,
    QueueCounts,
    Receipt,
    ReceivedMessage,
    StoredMessage,
    sequence_number,
)
from lambdad.storage import queue_groups as groups
from lambdad.storage.engine import Engine, Row, Transaction

EXPIRY_STEP: Final = 500


class Visibility(enum.Enum):
    """What became of a change of visibility."""

    CHANGED = enum.auto()
    GONE = enum.auto()
    """The message was deleted, or received again since."""
    NOT_IN_FLIGHT = enum.auto()
    BEYOND_LIMIT = enum.auto()
    """It would be invisible for longer than a message may be after one receipt."""


# --- sending ---


def put(tx: Transaction, queue: Queue, messages: Sequence[NewMessage], now_ms: int) -> list[StoredMessage]:
    """Stores messages in their order; a FIFO queue answers a duplicate with the message that it is one of."""
    stored = []
    added = 0
    for message in messages:
        delay_s = queue.settings.delay_s if message.delay_s is None else message.delay_s
        due_ms = now_ms + delay_s * 1000
        if queue.settings.is_fifo:
            result = _put_in_order(tx, queue, message, now_ms, due_ms)
        else:
            _insert(tx, queue.bucket, message, now_ms, due_ms, None)
            result = StoredMessage(message.message_id, None, due_ms)
        added += result.due_ms is not None
        stored.append(result)
    if added:
        _count(tx, queue.bucket, added)
    return stored


def _put_in_order(tx: Transaction, queue: Queue, message: NewMessage, now_ms: int, due_ms: int) -> StoredMessage:
    assert message.group_id is not None
    key = {
        "bucket": queue.bucket,
        "scope": message.group_id if queue.settings.deduplication_scope == "messageGroup" else "",
        "id": message.deduplication_id,
    }
    earlier = tx.one(
        "SELECT message_id, row_id FROM queue_deduplication WHERE bucket = :bucket AND scope = :scope"
        " AND deduplication_id = :id AND sent_ms > :since",
        {**key, "since": now_ms - DEDUPLICATION_MS},
    )
    if earlier is not None:
        return StoredMessage(earlier[0], sequence_number(earlier[1]), None)
    row = _insert(tx, queue.bucket, message, now_ms, due_ms, message.group_id)
    tx.run(
        "INSERT INTO queue_deduplication (bucket, scope, deduplication_id, sent_ms, message_id, row_id)"
        " VALUES (:bucket, :scope, :id, :now, :message_id, :row)"
        " ON CONFLICT (bucket, scope, deduplication_id) DO UPDATE"
        " SET sent_ms = excluded.sent_ms, message_id = excluded.message_id, row_id = excluded.row_id",
        {**key, "now": now_ms, "message_id": message.message_id, "row": row},
    )
    groups.joined(tx, queue.bucket, message.group_id, due_ms, row)
    return StoredMessage(message.message_id, sequence_number(row), due_ms)


def _insert(tx: Transaction, bucket: int, message: NewMessage, now_ms: int, due_ms: int, group: str | None) -> int:
    row = tx.one(
        "INSERT INTO queue_message (bucket, visible_ms, sent_ms, group_name)"
        " VALUES (:bucket, :due, :now, :group) RETURNING id",
        {"bucket": bucket, "due": due_ms, "now": now_ms, "group": group},
    )
    assert row is not None
    id_: int = row[0]
    tx.run(
        "INSERT INTO queue_message_content (id, message_id, sender_id, body, attributes, trace_header, group_id,"
        " deduplication_id) VALUES (:id, :message_id, :sender, :body, :attributes, :trace, :group, :deduplication)",
        {
            "id": id_,
            "message_id": message.message_id,
            "sender": message.sender_id,
            "body": message.body,
            "attributes": _encode_attributes(message.attributes) if message.attributes else None,
            "trace": message.trace_header,
            "group": message.group_id,
            "deduplication": message.deduplication_id,
        },
    )
    return id_


# --- after receiving ---


def delete(tx: Transaction, queue: Queue, receipt: Receipt, now_ms: int) -> bool:
    """Deletes a message by its latest receipt; False when a FIFO queue no longer accepts the receipt.

    A standard queue accepts every receipt; an old one deletes nothing (SQS API reference, DeleteMessage).
    """
    if not queue.settings.is_fifo:
        if receipt.bucket == queue.bucket and tx.run(
            "DELETE FROM queue_message WHERE id = :id AND bucket = :bucket AND receives = :receives",
            {"id": receipt.row, "bucket": queue.bucket, "receives": receipt.receives},
        ):
            tx.run("DELETE FROM queue_message_content WHERE id = :id", {"id": receipt.row})
            _count(tx, queue.bucket, -1)
        return True
    row = _state(tx, queue, receipt)
    if row is None:
        return True
    receives, visible_ms, _, group = row
    if receives != receipt.receives or visible_ms <= now_ms:
        return False
    remove(tx, queue.bucket, [receipt.row])
    groups.refresh(tx, queue.bucket, group, now_ms)
    return True


def change_visibility(
    tx: Transaction, queue: Queue, receipt: Receipt, *, visibility_ms: int, longest_ms: int, now_ms: int
) -> Visibility:
    """Hides a message in flight until `visibility_ms` from now, at most `longest_ms` after it was received."""
    row = _state(tx, queue, receipt)
    if row is None or row[0] != receipt.receives:
        return Visibility.GONE
    _, visible_ms, received_ms, group = row
    if visible_ms <= now_ms:
        return Visibility.NOT_IN_FLIGHT
    if now_ms + visibility_ms > received_ms + longest_ms:
        return Visibility.BEYOND_LIMIT
    tx.run(
        "UPDATE queue_message SET visible_ms = :until WHERE id = :id",
        {"id": receipt.row, "until": now_ms + visibility_ms},
    )
    if group is not None:
        groups.refresh(tx, queue.bucket, group, now_ms)
    return Visibility.CHANGED


def _state(tx: Transaction, queue: Queue, receipt: Receipt) -> Row | None:
    if receipt.bucket != queue.bucket:
        return None
    return tx.one(
        "SELECT receives, visible_ms, received_ms, group_name FROM queue_message WHERE id = :id AND bucket = :bucket",
        {"id": receipt.row, "bucket": queue.bucket},
    )


# --- moving and removing ---


def transfer(
    tx: Transaction,
    source: Queue,
    target: Queue,
    row: Row,
    now_ms: int,
    *,
    source_arn: str | None = None,
    message_id: str | None = None,
) -> None:
    """Moves a message: with its id, its age and the count of its receipts to a dead-letter queue, else as a new one.

    In FIFO queues the age begins anew too (SQS guide, dead-letter queues). The row is a new one, so that rows of a
    queue are in the order of arrival and old receipts have no effect.
    """
    old, _, receives, sent_ms = row[:4]
    is_fifo = target.settings.is_fifo
    group = row[11] if is_fifo else None
    keeps_age = source_arn is not None and not is_fifo
    new = tx.one(
        "INSERT INTO queue_message (bucket, visible_ms, sent_ms, group_name)"
        " VALUES (:bucket, :now, :sent, :group) RETURNING id",
        {"bucket": target.bucket, "now": now_ms, "sent": sent_ms if keeps_age else now_ms, "group": group},
    )
    assert new is not None
    tx.run("DELETE FROM queue_message WHERE id = :old", {"old": old})
    tx.run(
        "UPDATE queue_message_content SET id = :new, source_arn = :source, message_id = :message_id,"
        " earlier_receives = :earlier WHERE id = :old",
        {
            "new": new[0],
            "old": old,
            "source": source_arn,
            "message_id": message_id or row[6],
            "earlier": row[14] + receives if source_arn is not None else 0,
        },
    )
    _count(tx, source.bucket, -1)
    _count(tx, target.bucket, 1)
    if group is not None:
        groups.joined(tx, target.bucket, group, now_ms, new[0])


# --- expiry and counts ---


def expire(tx: Transaction, queue: Queue, now_ms: int) -> bool:
    """Removes some of the messages that are older than the queue keeps them; whether there may be more."""
    rows = tx.all(
        "SELECT id, group_name FROM queue_message WHERE bucket = :bucket AND sent_ms <= :before"
        " ORDER BY sent_ms LIMIT :step",
        {"bucket": queue.bucket, "before": now_ms - queue.settings.retention_s * 1000, "step": EXPIRY_STEP},
    )
    if rows:
        remove(tx, queue.bucket, [row[0] for row in rows])
        for name in {row[1] for row in rows if row[1] is not None}:
            groups.refresh(tx, queue.bucket, name, now_ms)
    return len(rows) == EXPIRY_STEP


async def count(engine: Engine, queue: Queue, now_ms: int) -> tuple[QueueCounts, int | None]:
    """The numbers of messages, and when the oldest was sent. Only messages that cannot be received are counted one by
    one; of the others there may be a million."""
    rows = await engine.read(
        "SELECT (SELECT stored FROM queue_bucket WHERE id = :bucket),"
        " (SELECT MIN(sent_ms) FROM queue_message WHERE bucket = :bucket),"
        " COUNT(*), COALESCE(SUM(CASE WHEN receives > 0 THEN 1 ELSE 0 END), 0)"
        " FROM queue_message WHERE bucket = :bucket AND visible_ms > :now",
        {"bucket": queue.bucket, "now": now_ms},
    )
    stored, oldest_ms, hidden, in_flight = rows[0]
    counts = QueueCounts(visible=max((stored or 0) - hidden, 0), in_flight=in_flight, delayed=hidden - in_flight)
    return counts, oldest_ms


def remove(tx: Transaction, bucket: int, ids: Sequence[int]) -> None:
    by_id = [{"id": id_} for id_ in ids]
    tx.run_many("DELETE FROM queue_message WHERE id = :id", by_id)
    tx.run_many("DELETE FROM queue_message_content WHERE id = :id", by_id)
    _count(tx, bucket, -len(ids))


def _count(tx: Transaction, bucket: int, change: int) -> None:
    tx.run("UPDATE queue_bucket SET stored = stored + :change WHERE id = :bucket", {"bucket": bucket, "change": change})


# --- rows to values ---


def received(queue: Queue, row: Row, now_ms: int) -> ReceivedMessage:
    (id_, _, receives, sent_ms, first_received_ms, _, message_id, sender_id, body, attributes, trace, group_id,
     deduplication_id, source_arn, earlier) = row  # fmt: skip
    return ReceivedMessage(
        receipt=Receipt(queue.bucket, id_, receives + 1),
        message_id=message_id,
        body=body,
        attributes=_decode_attributes(attributes) if attributes else {},
        sender_id=sender_id,
        sent_ms=sent_ms,
        first_received_ms=now_ms if first_received_ms is None else first_received_ms,
        receive_count=earlier + receives + 1,
        trace_header=trace,
        group_id=group_id,
        deduplication_id=deduplication_id,
        sequence_number=sequence_number(id_) if queue.settings.is_fifo else None,
        dead_letter_source_arn=source_arn,
    )


def _encode_attributes(attributes: Mapping[str, MessageAttribute]) -> str:
    document: dict[str, list[Any]] = {}
    for name, attribute in attributes.items():
        if attribute.binary_value is not None:
            document[name] = [attribute.data_type, None, base64.b64encode(attribute.binary_value).decode("ascii")]
        else:
            document[name] = [attribute.data_type, attribute.string_value]
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _decode_attributes(document: str) -> Mapping[str, MessageAttribute]:
    return {
        name: MessageAttribute(parts[0], parts[1], base64.b64decode(parts[2]) if len(parts) > 2 else None)
        for name, parts in json.loads(document).items()
    }
