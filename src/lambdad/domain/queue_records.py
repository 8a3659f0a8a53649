"""Messages of a queue as the records that a function gets (AWS: recorded 2025-11)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lambdad.domain.traces import lineage_depth, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMessage:
    """A received message, of whatever queue service."""

    message_id: str
    receipt_handle: str
    body: str
    md5_of_body: str
    attributes: Mapping[str, str]
    """System attributes by name."""
    message_attributes: Mapping[str, Mapping[str, Any]]
    """In the form of records."""
    md5_of_attributes: str | None

    @property
    def group_id(self) -> str | None:
        return self.attributes.get("MessageGroupId")

    @property
    def trace(self) -> str:
        return self.attributes.get("AWSTraceHeader", "")


def message_attribute(data_type: str, *, text: str | None = None, binary_base64: str | None = None) -> dict[str, Any]:
    """A user's attribute in a record; one of the two values is given."""
    value = {"stringValue": text} if binary_base64 is None else {"binaryValue": binary_base64}
    return {**value, "stringListValues": [], "binaryListValues": [], "dataType": data_type}


def queue_record(message: QueueMessage, source_arn: str, *, has_window: bool) -> dict[str, Any]:
    """One element of `Records`.

    A message without attributes has `md5OfMessageAttributes` null if the mapping has a batching window, and not at
    all if it has none: so it is in all recordings (AWS: recorded 2025-11).
    """
    record: dict[str, Any] = {
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": dict(message.attributes),
        "messageAttributes": dict(message.message_attributes),
    }
    if message.md5_of_attributes is not None or has_window:
        record["md5OfMessageAttributes"] = message.md5_of_attributes
    record["md5OfBody"] = message.md5_of_body
    record["eventSource"] = "aws:sqs"
    record["eventSourceARN"] = source_arn
    record["awsRegion"] = source_arn.split(":")[3]
    return record


def encode(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def batch_event(records: Sequence[bytes]) -> bytes:
    """The event of a batch, from encoded records."""
    return b'{"Records":[' + b",".join(records) + b"]}"


def batch_trace(messages: Sequence[QueueMessage]) -> str:
    """The trace header that a batch goes on with: that of the longest chain, so that no loop hides in a batch."""
    return max((message.trace for message in messages), key=_depth, default="")


def _depth(header: str) -> int:
    return lineage_depth(parse(header).get("Lineage", "")) if header else -1


def left_in_queue(messages: Sequence[QueueMessage], failed: frozenset[str], *, is_fifo: bool) -> set[str]:
    """The ids of the messages that are not to be deleted: those that failed, and in a FIFO queue what follows the
    first of them in its group, since the order of a group is kept."""
    left: set[str] = set()
    held_up: set[str | None] = set()
    for message in messages:
        is_behind = is_fifo and message.group_id in held_up
        if message.message_id in failed or is_behind:
            left.add(message.message_id)
            held_up.add(message.group_id)
    return left
