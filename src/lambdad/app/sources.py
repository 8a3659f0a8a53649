"""What connects pollers with the services of this server."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from lambdad.domain.errors import ServiceError
from lambdad.domain.queue_records import QueueMessage, message_attribute
from lambdad.domain.queues import MessageAttribute, QueueAddress, ReceivedMessage, parse_queue_arn
from lambdad.neighbours.sqs import content, receipts
from lambdad.neighbours.sqs.service import SqsService
from lambdad.sources.queues import QueueUnavailable

_GONE = "The specified queue does not exist."


class EmbeddedQueues:
    """The queues of this server as pollers read them."""

    def __init__(self, sqs: SqsService) -> None:
        self._sqs = sqs

    async def receive(self, arn: str, *, limit: int, wait_s: float) -> list[QueueMessage]:
        try:
            received = await self._sqs.messages.receive(_address(arn), limit=limit, wait_s=wait_s)
        except ServiceError as error:
            raise QueueUnavailable(error.message) from error
        return [_message(message) for message in received]

    async def delete(self, arn: str, handles: Sequence[str]) -> None:
        try:
            await self._sqs.messages.delete_batch(_address(arn), handles)
        except ServiceError as error:
            raise QueueUnavailable(error.message) from error

    async def release(self, arn: str, handles: Sequence[str]) -> None:
        try:
            await self._sqs.messages.change_visibility_batch(_address(arn), [(handle, 0) for handle in handles])
        except ServiceError as error:
            raise QueueUnavailable(error.message) from error

    async def visibility_timeout_s(self, arn: str) -> float:
        try:
            queue = await self._sqs.queues.find(_address(arn))
        except ServiceError as error:
            raise QueueUnavailable(error.message) from error
        return queue.settings.visibility_timeout_s


def _address(arn: str) -> QueueAddress:
    address = parse_queue_arn(arn)
    if address is None:
        raise QueueUnavailable(_GONE)
    return address


def _message(message: ReceivedMessage) -> QueueMessage:
    attributes = {
        "ApproximateReceiveCount": str(message.receive_count),
        "AWSTraceHeader": message.trace_header,
        "SentTimestamp": str(message.sent_ms),
        "SequenceNumber": message.sequence_number,
        "MessageGroupId": message.group_id,
        "SenderId": message.sender_id,
        "MessageDeduplicationId": message.deduplication_id,
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
        "DeadLetterQueueSourceArn": message.dead_letter_source_arn,
    }
    given = message.attributes
    return QueueMessage(
        message_id=message.message_id,
        receipt_handle=receipts.encode(message.receipt),
        body=message.body,
        md5_of_body=content.md5_of_text(message.body),
        attributes={name: value for name, value in attributes.items() if value is not None},
        message_attributes={name: _attribute(value) for name, value in given.items()},
        md5_of_attributes=content.md5_of_attributes(given) if given else None,
    )


def _attribute(attribute: MessageAttribute) -> dict[str, Any]:
    if attribute.binary_value is not None:
        return message_attribute(
            attribute.data_type, binary_base64=base64.b64encode(attribute.binary_value).decode("ascii")
        )
    return message_attribute(attribute.data_type, text=attribute.string_value)
