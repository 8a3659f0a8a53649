"""SQS on the wire, in JSON 1.0 and in the query form of older SDKs: from parameters to the service and back.

A queue is named by the last two parts of a URL, account and name, whatever comes before; in the query form that may be
the path of the request itself. URLs in answers have the host that the client called.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from lambdad.domain.errors import ServiceError
from lambdad.domain.queues import MessageAttribute, MoveStatus, MoveTask, QueueAddress, ReceivedMessage, StoredMessage
from lambdad.neighbours.sqs import content, receipts
from lambdad.neighbours.sqs.errors import NonExistentQueue, invalid_parameter, missing_parameter, unsupported
from lambdad.neighbours.sqs.messages import Draft, check_batch
from lambdad.neighbours.sqs.moves import handle_of
from lambdad.neighbours.sqs.service import SqsService
from lambdad.wire.protocols import corrections
from lambdad.wire.service import Answer, ApiCall, Handler, Service

_QUEUE_PATH = re.compile(r"(?:.*/)?([0-9]{12})/([^/]+)/?", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}(\.fifo)?")
_CODES: dict[str, str] = {name: shape["error"]["code"] for name, shape in corrections.shapes("sqs").items()}


def sqs_service(sqs: SqsService) -> Service:
    """The service for the front door."""
    return Service(name="sqs", signing_names=("sqs",), handlers=handlers(sqs), checks_itself=True)


def handlers(sqs: SqsService) -> dict[str, Handler]:
    """A handler for every operation of SQS."""
    queues, messages, moves = _QueueHandlers(sqs), _MessageHandlers(sqs), _MoveHandlers(sqs)
    by_operation: dict[str, Handler] = {
        "CreateQueue": queues.create,
        "GetQueueUrl": queues.get_url,
        "ListQueues": queues.listing,
        "ListDeadLetterSourceQueues": queues.dead_letter_sources,
        "GetQueueAttributes": queues.get_attributes,
        "SetQueueAttributes": queues.set_attributes,
        "AddPermission": queues.add_permission,
        "RemovePermission": queues.remove_permission,
        "TagQueue": queues.tag,
        "UntagQueue": queues.untag,
        "ListQueueTags": queues.list_tags,
        "PurgeQueue": queues.purge,
        "DeleteQueue": queues.delete,
        "SendMessage": messages.send,
        "SendMessageBatch": messages.send_batch,
        "ReceiveMessage": messages.receive,
        "DeleteMessage": messages.delete,
        "DeleteMessageBatch": messages.delete_batch,
        "ChangeMessageVisibility": messages.change_visibility,
        "ChangeMessageVisibilityBatch": messages.change_visibility_batch,
        "StartMessageMoveTask": moves.start,
        "ListMessageMoveTasks": moves.listing,
        "CancelMessageMoveTask": moves.cancel,
    }
    return {name: _with_texts_of_query(handler) for name, handler in by_operation.items()}


def _with_texts_of_query(handler: Callable[[ApiCall], Awaitable[Answer]]) -> Handler:
    async def handle(call: ApiCall) -> Answer:
        try:
            return await handler(call)
        except NonExistentQueue as error:
            if "x-amz-target" in call.request.headers:
                raise
            # The query form has a longer text (AWS: recorded 2025).
            raise ServiceError(error.code, "The specified queue does not exist for this wsdl version.") from error

    return handle


class _QueueHandlers:
    def __init__(self, sqs: SqsService) -> None:
        self._queues = sqs.queues

    async def create(self, call: ApiCall) -> Answer:
        address = QueueAddress(call.caller.account, call.caller.region, _required(call, "QueueName"))
        attributes, tags = call.params.get("Attributes") or {}, call.params.get("tags") or {}
        await self._queues.create(address, _no_nulls(attributes), _no_nulls(tags))
        return Answer(members={"QueueUrl": _url(call, address)})

    async def get_url(self, call: ApiCall) -> Answer:
        name = _required(call, "QueueName")
        account = call.params.get("QueueOwnerAWSAccountId") or call.caller.account
        if not _NAME.fullmatch(name) or not account.isascii():
            raise NonExistentQueue
        address = QueueAddress(account, call.caller.region, name)
        await self._queues.find(address, call.caller)
        return Answer(members={"QueueUrl": _url(call, address)})

    async def listing(self, call: ApiCall) -> Answer:
        found, token = await self._queues.listing(
            call.caller.account,
            call.caller.region,
            prefix=call.params.get("QueueNamePrefix") or "",
            limit=call.params.get("MaxResults"),
            token=call.params.get("NextToken"),
        )
        urls = [_url(call, address) for address in found]
        return Answer(members={"QueueUrls": urls or None, "NextToken": token})

    async def dead_letter_sources(self, call: ApiCall) -> Answer:
        found, token = await self._queues.dead_letter_sources(
            _address(call),
            limit=call.params.get("MaxResults"),
            token=call.params.get("NextToken"),
            caller=call.caller,
        )
        return Answer(members={"queueUrls": [_url(call, address) for address in found], "NextToken": token})

    async def get_attributes(self, call: ApiCall) -> Answer:
        names = _texts(call.params.get("AttributeNames"))
        attributes = await self._queues.attributes(_address(call), names, call.caller)
        return Answer(members={"Attributes": attributes or None})

    async def set_attributes(self, call: ApiCall) -> Answer:
        address = _address(call)
        await self._queues.set_attributes(
            address, _no_nulls(_required(call, "Attributes", "Attribute.Name")), call.caller
        )
        return Answer()

    async def add_permission(self, call: ApiCall) -> Answer:
        await self._queues.add_permission(
            _address(call),
            _required(call, "Label"),
            _texts(call.params.get("AWSAccountIds")),
            _texts(call.params.get("Actions")),
            call.caller,
        )
        return Answer()

    async def remove_permission(self, call: ApiCall) -> Answer:
        await self._queues.remove_permission(_address(call), _required(call, "Label"), call.caller)
        return Answer()

    async def tag(self, call: ApiCall) -> Answer:
        await self._queues.tag(_address(call), _no_nulls(_required(call, "Tags")), call.caller)
        return Answer()

    async def untag(self, call: ApiCall) -> Answer:
        await self._queues.untag(_address(call), _texts(_required(call, "TagKeys")), call.caller)
        return Answer()

    async def list_tags(self, call: ApiCall) -> Answer:
        queue = await self._queues.find(_address(call), call.caller, "ListQueueTags")
        return Answer(members={"Tags": dict(queue.tags) or None})

    async def purge(self, call: ApiCall) -> Answer:
        await self._queues.purge(_address(call), call.caller)
        return Answer()

    async def delete(self, call: ApiCall) -> Answer:
        await self._queues.delete(_address(call), call.caller)
        return Answer()


class _MessageHandlers:
    def __init__(self, sqs: SqsService) -> None:
        self._messages = sqs.messages

    async def send(self, call: ApiCall) -> Answer:
        address, draft = _address(call), _draft(call.params)
        stored = await self._messages.send(address, draft, sender_id=call.caller.user_id, caller=call.caller)
        return Answer(members=_sent(draft, stored))

    async def send_batch(self, call: ApiCall) -> Answer:
        address, entries = _address(call), _entries(call, "SendMessageBatchRequestEntry")
        drafts = [_draft(entry) for entry in entries]
        results = await self._messages.send_batch(address, drafts, sender_id=call.caller.user_id, caller=call.caller)
        sent = [
            result if isinstance(result, ServiceError) else _sent(draft, result)
            for draft, result in zip(drafts, results, strict=True)
        ]
        return _batch(entries, sent)

    async def receive(self, call: ApiCall) -> Answer:
        params = call.params
        task = asyncio.current_task()
        if call.on_disconnect is not None and task is not None:
            # Nobody is there to take the message: it must not be hidden from the others.
            call.on_disconnect(partial(_cancel, task))
        messages = await self._messages.receive(
            _address(call),
            limit=params.get("MaxNumberOfMessages"),
            visibility_s=params.get("VisibilityTimeout"),
            wait_s=params.get("WaitTimeSeconds"),
            attempt_id=params.get("ReceiveRequestAttemptId"),
            caller=call.caller,
        )
        system = _texts(params.get("AttributeNames")) + _texts(params.get("MessageSystemAttributeNames"))
        names = _texts(params.get("MessageAttributeNames"))
        return Answer(members={"Messages": [_received(message, system, names) for message in messages] or None})

    async def delete(self, call: ApiCall) -> Answer:
        await self._messages.delete(_address(call), _required(call, "ReceiptHandle"), call.caller)
        return Answer()

    async def delete_batch(self, call: ApiCall) -> Answer:
        address, entries = _address(call), _entries(call, "DeleteMessageBatchRequestEntry")
        handles = [entry.get("ReceiptHandle") or "" for entry in entries]
        return _batch(entries, await self._messages.delete_batch(address, handles, call.caller))

    async def change_visibility(self, call: ApiCall) -> Answer:
        handle, seconds = _required(call, "ReceiptHandle"), _required(call, "VisibilityTimeout")
        await self._messages.change_visibility(_address(call), handle, seconds, call.caller)
        return Answer()

    async def change_visibility_batch(self, call: ApiCall) -> Answer:
        address, entries = _address(call), _entries(call, "ChangeMessageVisibilityBatchRequestEntry")
        changes = [(entry.get("ReceiptHandle") or "", entry.get("VisibilityTimeout") or 0) for entry in entries]
        return _batch(entries, await self._messages.change_visibility_batch(address, changes, call.caller))


def _cancel(task: asyncio.Task[object]) -> None:
    task.cancel()


class _MoveHandlers:
    def __init__(self, sqs: SqsService) -> None:
        self._moves = sqs.moves

    async def start(self, call: ApiCall) -> Answer:
        handle = await self._moves.begin(
            _required(call, "SourceArn"),
            call.params.get("DestinationArn"),
            call.params.get("MaxNumberOfMessagesPerSecond"),
            call.caller,
        )
        return Answer(members={"TaskHandle": handle})

    async def listing(self, call: ApiCall) -> Answer:
        tasks = await self._moves.listing(_required(call, "SourceArn"), call.params.get("MaxResults"), call.caller)
        return Answer(members={"Results": [_task(task) for task in tasks]})

    async def cancel(self, call: ApiCall) -> Answer:
        moved = await self._moves.cancel(_required(call, "TaskHandle"), call.caller)
        return Answer(members={"ApproximateNumberOfMessagesMoved": moved})


# --- parameters ---


def _required(call: ApiCall, member: str, name: str | None = None) -> Any:
    """A member that the call must have; an empty text or collection is as good as none. Raises MissingParameter."""
    value = call.params.get(member)
    if value is None or value in ("", {}, []):
        raise missing_parameter(name or member)
    return value


def _address(call: ApiCall) -> QueueAddress:
    """The queue of a call. Raises MissingParameter, InvalidAddress, NonExistentQueue for a name no queue can have."""
    url = call.params.get("QueueUrl")
    if not url:
        url = call.request.path if "x-amz-target" not in call.request.headers else ""
        if not url.strip("/"):
            raise missing_parameter("QueueUrl")
    found = _QUEUE_PATH.fullmatch(url)
    if found is None:
        raise ServiceError("InvalidAddress", f"The address {url} is not valid for this endpoint.")
    if not _NAME.fullmatch(found[2]):
        raise NonExistentQueue
    return QueueAddress(found[1], call.caller.region, found[2])


def _url(call: ApiCall, address: QueueAddress) -> str:
    headers = call.request.headers
    scheme = "https" if headers.get("x-forwarded-proto") == "https" else "http"
    return f"{scheme}://{headers.get('host', 'localhost')}/{address.account}/{address.name}"


def _draft(params: Mapping[str, Any]) -> Draft:
    return Draft(
        body=params.get("MessageBody") or "",
        attributes=_attributes(params.get("MessageAttributes")),
        system_attributes=_attributes(params.get("MessageSystemAttributes")),
        delay_s=params.get("DelaySeconds"),
        group_id=params.get("MessageGroupId"),
        deduplication_id=params.get("MessageDeduplicationId"),
    )


def _attributes(given: Mapping[str, Any] | None) -> dict[str, MessageAttribute]:
    attributes = {}
    for name, value in (given or {}).items():
        members = value or {}
        if members.get("StringListValues") or members.get("BinaryListValues"):
            raise unsupported("Message attribute list values in SendMessage operation are not supported.")
        attributes[name] = MessageAttribute(
            members.get("DataType") or "", members.get("StringValue"), members.get("BinaryValue")
        )
    return attributes


def _entries(call: ApiCall, entry_type: str) -> list[dict[str, Any]]:
    """The entries of a batch, whose ids are in order. Raises the errors of `check_batch`."""
    entries = [entry or {} for entry in call.params.get("Entries") or []]
    check_batch([entry.get("Id") or "" for entry in entries], entry_type)
    return entries


def _texts(given: Sequence[str | None] | None) -> list[str]:
    return [text for text in given or () if text is not None]


def _no_nulls(given: Mapping[str, str | None]) -> dict[str, str]:
    for name, value in given.items():
        if value is None:
            raise invalid_parameter(f"Value for {name} is missing.")
    return {name: value for name, value in given.items() if value is not None}


# --- answers ---


def _sent(draft: Draft, stored: StoredMessage) -> dict[str, Any]:
    members = {"MessageId": stored.message_id, "MD5OfMessageBody": content.md5_of_text(draft.body)}
    if draft.attributes:
        members["MD5OfMessageAttributes"] = content.md5_of_attributes(draft.attributes)
    if draft.system_attributes:
        members["MD5OfMessageSystemAttributes"] = content.md5_of_attributes(draft.system_attributes)
    if stored.sequence_number is not None:
        members["SequenceNumber"] = stored.sequence_number
    return members


def _batch(entries: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any] | ServiceError | None]) -> Answer:
    successful, failed = [], []
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, ServiceError):
            code = _CODES.get(result.code, result.code)
            failed.append({"Id": entry["Id"], "SenderFault": True, "Code": code, "Message": result.message})
        else:
            successful.append({"Id": entry["Id"], **(result or {})})
    return Answer(members={"Successful": successful or None, "Failed": failed or None})


def _received(message: ReceivedMessage, system: Sequence[str], names: list[str]) -> dict[str, Any]:
    members: dict[str, Any] = {
        "MessageId": message.message_id,
        "ReceiptHandle": receipts.encode(message.receipt),
        "MD5OfBody": content.md5_of_text(message.body),
        "Body": message.body,
    }
    if system:
        members["Attributes"] = _system_attributes(message, system) or None
    chosen = content.select_attributes(message.attributes, names)
    if chosen:
        members["MD5OfMessageAttributes"] = content.md5_of_attributes(chosen)
        members["MessageAttributes"] = {name: _attribute(value) for name, value in chosen.items()}
    return members


def _system_attributes(message: ReceivedMessage, names: Sequence[str]) -> dict[str, str]:
    values = {
        "SenderId": message.sender_id,
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
        "ApproximateReceiveCount": str(message.receive_count),
        "SentTimestamp": str(message.sent_ms),
        "SequenceNumber": message.sequence_number,
        "MessageDeduplicationId": message.deduplication_id,
        "MessageGroupId": message.group_id,
        "AWSTraceHeader": message.trace_header,
        "DeadLetterQueueSourceArn": message.dead_letter_source_arn,
    }
    everything = "All" in names
    return {name: value for name, value in values.items() if value is not None and (everything or name in names)}


def _attribute(value: MessageAttribute) -> dict[str, Any]:
    if value.binary_value is not None:
        return {"BinaryValue": value.binary_value, "DataType": value.data_type}
    return {"StringValue": value.string_value, "DataType": value.data_type}


def _task(task: MoveTask) -> dict[str, Any]:
    return {
        "TaskHandle": handle_of(task) if task.status is MoveStatus.RUNNING else None,
        "Status": task.status,
        "SourceArn": task.source_arn,
        "DestinationArn": task.destination_arn,
        "MaxNumberOfMessagesPerSecond": task.rate,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "FailureReason": task.failure,
        "StartedTimestamp": task.started_ms,
    }
