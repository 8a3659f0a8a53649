"""What connects pollers with the services of this server."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lambdad.domain.destinations import OutgoingMessage
from lambdad.domain.errors import InvalidParameterValue, LambdadError, ServiceError
from lambdad.domain.mappings import EventSourceMapping, SourceKind, kind_of
from lambdad.domain.queue_records import QueueMessage, message_attribute
from lambdad.domain.queues import MessageAttribute, QueueAddress, ReceivedMessage, parse_queue_arn
from lambdad.event_queue.remote import RemoteTargets
from lambdad.event_queue.targets import EmbeddedTargets
from lambdad.event_queue.threads import on_thread
from lambdad.neighbours.sqs import content, receipts
from lambdad.neighbours.sqs.service import SqsService
from lambdad.sources.queues import Queues, QueueUnavailable
from lambdad.sources.remote_queues import RemoteQueues
from lambdad.sources.streams import DynamoDbStream, KinesisStream, Stream
from lambdad.storage.engine import Engine

logger = logging.getLogger(__name__)

_GONE = "The specified queue does not exist."


class SourceServices:
    """Which service has the source of an ARN: one of this server, or the endpoint that a rule names."""

    def __init__(self, sqs: SqsService, remote: RemoteTargets) -> None:
        self._embedded = EmbeddedQueues(sqs)
        self._outside = RemoteQueues(partial(self._client, "sqs"), on_thread)
        self._remote = remote

    def queues(self, arn: str) -> Queues:
        return self._embedded if self._remote.endpoint_of(arn) is None else self._outside

    def stream(self, arn: str) -> Stream:
        """Raises InvalidParameterValue where there is no such service."""
        kind = kind_of(arn)
        name = "Kinesis" if kind is SourceKind.KINESIS else "DynamoDB"
        if self._remote.endpoint_of(arn) is None:
            raise InvalidParameterValue(
                f"{name} is not a part of this server. Install the extra (pip install 'lambdad[aws]') or name the "
                f"endpoint that has it: --target {name.lower()}=URL"
            )
        if kind is SourceKind.KINESIS:
            return KinesisStream(arn, partial(self._client, "kinesis", arn), on_thread)
        return DynamoDbStream(arn, partial(self._client, "dynamodbstreams", arn), on_thread)

    def _client(self, service: str, arn: str) -> Any:
        endpoint = self._remote.endpoint_of(arn)
        assert endpoint is not None
        _, _, _, region, account, _ = arn.split(":", 5)
        return self._remote.clients.client(service, endpoint, region, account)


class FailedBatchTargets:
    """Queues, topics and buckets as destinations of failed batches."""

    def __init__(self, engine: Engine, embedded: EmbeddedTargets, remote: RemoteTargets) -> None:
        self._engine = engine
        self._embedded = embedded
        self._remote = remote

    async def deliver(self, mapping: EventSourceMapping, record: bytes, key: str, request_id: str) -> bool:
        target = mapping.settings.on_failure or ""
        message = OutgoingMessage(
            request_id=request_id,
            account=mapping.account,
            region=mapping.region,
            function_arn=mapping.function_arn,
            body=record,
        )
        try:
            await self._send(target, message, key)
        except Exception as error:  # whatever botocore raises
            told = error.message if isinstance(error, LambdadError) else error
            logger.warning("A failed batch of %s could not be sent to %s: %s", mapping.source_arn, target, told)
            return False
        return True

    async def _send(self, target: str, message: OutgoingMessage, key: str) -> None:
        endpoint = self._remote.endpoint_of(target)
        if target.split(":")[2] == "s3":
            if endpoint is None:
                raise InvalidParameterValue("There is no S3: install lambdad[aws], or name one with --target s3=URL.")
            put: Callable[[], Any] = partial(self._put_object, endpoint, target.split(":", 5)[5], message, key)
            await on_thread(put)
        elif endpoint is not None:
            await self._remote.send(target, message)
        else:
            delivered = await self._engine.write(lambda tx: self._embedded.put_in(tx, target, message))
            delivered()

    def _put_object(self, endpoint: str, bucket: str, message: OutgoingMessage, key: str) -> None:
        client = self._remote.clients.client("s3", endpoint, message.region, message.account)
        client.put_object(Bucket=bucket, Key=key, Body=message.body)


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
