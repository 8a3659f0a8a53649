"""The data plane: send, receive, delete, change visibility, one by one and in batches.

Each call is one job of the writer: the queue is looked up, the checks that depend on it are made and rows are written
in one transaction. Waiters are woken after the commit.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from lambdad.domain.errors import ServiceError
from lambdad.domain.identity import Caller
from lambdad.domain.policies import ServiceCaller
from lambdad.domain.queues import (
    MAX_MESSAGE_BYTES,
    MAX_VISIBILITY_S,
    MessageAttribute,
    NewMessage,
    Queue,
    QueueAddress,
    Receipt,
    ReceivedMessage,
    StoredMessage,
    parse_queue_arn,
)
from lambdad.neighbours.sqs import content, receipts
from lambdad.neighbours.sqs.errors import (
    NonExistentQueue,
    invalid_handle,
    invalid_parameter,
    invalid_value,
    missing_parameter,
)
from lambdad.neighbours.sqs.queues import check_service, require
from lambdad.neighbours.sqs.waiting import JumpingClock, Line, WaitingRoom
from lambdad.storage import queue_claims, queues
from lambdad.storage import queue_messages as storage
from lambdad.storage.engine import Engine, Transaction
from lambdad.storage.queue_claims import Claim, Claimer
from lambdad.storage.queue_messages import Visibility

T = TypeVar("T")
MAX_BATCH: Final = 10
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_WRONG_TYPE: Final = "The request include parameter that is not valid for this queue type"


@dataclass(slots=True, kw_only=True)
class Draft:
    """A message as a sender gave it, not checked yet."""

    body: str
    attributes: Mapping[str, MessageAttribute] = field(default_factory=dict)
    system_attributes: Mapping[str, MessageAttribute] = field(default_factory=dict)
    """Only `AWSTraceHeader` is known."""
    delay_s: int | None = None
    group_id: str | None = None
    deduplication_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that a transaction of somebody else's stored; `Messages.delivered` wakes its receivers."""

    address: QueueAddress
    message: StoredMessage


class Messages:
    """What is done with messages. `caller` is None for calls of the service itself."""

    def __init__(self, engine: Engine, clock: JumpingClock, waiting: WaitingRoom) -> None:
        self._engine = engine
        self._clock = clock
        self._waiting = waiting
        self._claimer = Claimer()
        self._sent = 0
        self._received = 0
        self._deleted = 0

    # --- sending ---

    async def send(
        self, address: QueueAddress, draft: Draft, *, sender_id: str, caller: Caller | None = None
    ) -> StoredMessage:
        """Stores a message; on disk when this returns. Raises ServiceErrors in AWS's words."""
        size = _check_draft(draft)

        def job(tx: Transaction) -> StoredMessage:
            queue = require(tx, address, caller, "SendMessage")
            message = _for_queue(queue, draft, size, sender_id)
            return storage.put(tx, queue, [message], self._clock.time_ms())[0]

        stored = await self._engine.write(job)
        self._sent += 1
        self._waiting.notify_at(address, stored.due_ms)
        return stored

    async def send_batch(
        self,
        address: QueueAddress,
        drafts: Sequence[Draft],
        *,
        sender_id: str,
        caller: Caller | None = None,
    ) -> list[StoredMessage | ServiceError]:
        """Stores what can be stored of 1 to 10 messages, in one transaction; one result for each.

        Raises BatchRequestTooLong. Entry ids are checked by `check_batch`.
        """
        checked = [_attempt(partial(_check_draft, draft)) for draft in drafts]
        total = sum(size for size in checked if isinstance(size, int))
        if total > MAX_MESSAGE_BYTES:
            raise ServiceError(
                "BatchRequestTooLong",
                f"Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {total} bytes.",
            )

        def job(tx: Transaction) -> list[StoredMessage | ServiceError]:
            queue = require(tx, address, caller, "SendMessage")
            built = [
                size if isinstance(size, ServiceError) else _attempt(partial(_for_queue, queue, draft, size, sender_id))
                for draft, size in zip(drafts, checked, strict=True)
            ]
            good = [message for message in built if not isinstance(message, ServiceError)]
            stored = iter(storage.put(tx, queue, good, self._clock.time_ms()))
            return [message if isinstance(message, ServiceError) else next(stored) for message in built]

        results = await self._engine.write(job)
        self._wake(address, [result for result in results if isinstance(result, StoredMessage)])
        return results

    def put_in(
        self,
        tx: Transaction,
        queue_arn: str,
        draft: Draft,
        *,
        sender_id: str,
        service: ServiceCaller | None = None,
    ) -> Delivery:
        """Stores a message in a transaction that the caller runs; call `delivered` once it is committed.

        Runs on the writer's thread. Raises NonExistentQueue, AccessDenied when the queue's policy does not let
        `service` in, and the errors of `send`, all before it writes anything, so a job that catches them can go on.
        """
        address = parse_queue_arn(queue_arn)
        if address is None:
            raise NonExistentQueue
        size = _check_draft(draft)
        queue = queues.find(tx, address)
        if queue is None:
            raise NonExistentQueue
        if service is not None:
            check_service(queue, service)
        message = _for_queue(queue, draft, size, sender_id)
        return Delivery(address, storage.put(tx, queue, [message], self._clock.time_ms())[0])

    def delivered(self, *deliveries: Delivery) -> None:
        """Wakes receivers of messages that `put_in` stored, after the commit, on the event loop."""
        for delivery in deliveries:
            self._wake(delivery.address, [delivery.message])

    def _wake(self, address: QueueAddress, stored: Sequence[StoredMessage]) -> None:
        self._sent += len(stored)
        now_ms = self._clock.time_ms()
        due = [message.due_ms for message in stored if message.due_ms is not None]
        ready = sum(1 for due_ms in due if due_ms <= now_ms)
        if ready:
            self._waiting.notify(address, ready)
        if ready < len(due):
            self._waiting.notify_at(address, min(due_ms for due_ms in due if due_ms > now_ms))

    # --- receiving ---

    async def receive(
        self,
        address: QueueAddress,
        *,
        limit: int | None = None,
        visibility_s: int | None = None,
        wait_s: float | None = None,
        attempt_id: str | None = None,
        caller: Caller | None = None,
    ) -> list[ReceivedMessage]:
        """Up to `limit` messages (1 to 10), after waiting for up to `wait_s` (0 to 20) if there are none.

        None takes the value of the queue, or 1 for `limit`. A receiver that is cancelled gets nothing and takes
        nothing, unless messages were just being handed to it.
        """
        limit = 1 if limit is None else limit
        _check_range(limit, "MaxNumberOfMessages", 1, 10, "Must be between 1 and 10, if provided.")
        _check_range(wait_s, "WaitTimeSeconds", 0, 20, "Must be >= 0 and <= 20, if provided.")
        _check_range(visibility_s, "VisibilityTimeout", 0, MAX_VISIBILITY_S, "Must be >= 0 and <= 43200, if provided.")
        if attempt_id is not None:
            content.check_token(attempt_id, "ReceiveRequestAttemptId")

        def job(tx: Transaction) -> tuple[Claim, float]:
            queue = require(tx, address, caller, "ReceiveMessage")
            waits_s = queue.settings.wait_s if wait_s is None else wait_s
            return self._claim(tx, queue, limit, visibility_s, attempt_id), waits_s

        with self._waiting.line(address) as line:
            started = self._clock.monotonic()
            while True:
                version = line.version
                claim, waits_s = await self._engine.write(job)
                self._after_claim(line, claim, limit)
                if claim.messages:
                    self._received += len(claim.messages)
                    return claim.messages
                if claim.is_unfinished:
                    continue
                left_s = started + waits_s - self._clock.monotonic()
                if claim.is_over_limit and waits_s == 0:
                    # A receiver that waits gets no error (SQS guide, quotas).
                    raise ServiceError("OverLimit", "The maximum number of in flight messages of the queue is reached.")
                if left_s <= 0 or self._waiting.is_closing:
                    return []
                await line.wait(version, left_s)

    def _claim(
        self, tx: Transaction, queue: Queue, limit: int, visibility_s: int | None, attempt_id: str | None
    ) -> Claim:
        seconds = queue.settings.visibility_timeout_s if visibility_s is None else visibility_s
        now_ms, visibility_ms = self._clock.time_ms(), seconds * 1000
        if attempt_id is not None:
            if not queue.settings.is_fifo:
                raise invalid_value(attempt_id, "ReceiveRequestAttemptId", _WRONG_TYPE)
            again = queue_claims.claim_again(tx, queue, attempt_id, now_ms=now_ms, visibility_ms=visibility_ms)
            if again:
                return Claim(again)
        claim = self._claimer.claim(tx, queue, now_ms=now_ms, visibility_ms=visibility_ms, limit=limit)
        if queue.settings.is_fifo:
            claim.is_over_limit = False  # FIFO queues answer with no messages instead (SQS API reference)
        if claim.messages and attempt_id is not None:
            queue_claims.remember_attempt(tx, queue, attempt_id, claim.messages, now_ms, visibility_ms)
        return claim

    def _after_claim(self, line: Line, claim: Claim, limit: int) -> None:
        if claim.messages and (len(claim.messages) == limit or claim.is_unfinished):
            line.notify()
        if claim.next_due_ms is not None:
            line.notify_at(claim.next_due_ms)
        if claim.moved_to is not None:
            self._waiting.notify(claim.moved_to, limit)

    # --- after receiving ---

    async def delete(self, address: QueueAddress, handle: str, caller: Caller | None = None) -> None:
        """Deletes a message. Raises ReceiptHandleIsInvalid, or InvalidParameterValue when a FIFO receipt is too old."""
        _raise_first(await self.delete_batch(address, [handle], caller))

    async def delete_batch(
        self, address: QueueAddress, handles: Sequence[str], caller: Caller | None = None
    ) -> list[ServiceError | None]:
        """Deletes up to 10 messages in one transaction; for each the error or None."""

        def delete(tx: Transaction, queue: Queue, receipt: Receipt, index: int) -> None:
            if not storage.delete(tx, queue, receipt, self._clock.time_ms()):
                raise invalid_value(handles[index], "ReceiptHandle", "The receipt handle has expired.")

        results = await self._by_receipt(address, handles, caller, "DeleteMessage", delete)
        self._deleted += results.count(None)
        if address.name.endswith(".fifo"):
            self._waiting.notify(address)  # the next of its group can be received
        return results

    async def change_visibility(
        self, address: QueueAddress, handle: str, visibility_s: int, caller: Caller | None = None
    ) -> None:
        """Hides a message in flight for so long from now. Raises MessageNotInflight, ReceiptHandleIsInvalid…"""
        _raise_first(await self.change_visibility_batch(address, [(handle, visibility_s)], caller))

    async def change_visibility_batch(
        self, address: QueueAddress, changes: Sequence[tuple[str, int]], caller: Caller | None = None
    ) -> list[ServiceError | None]:
        """The same for up to 10 handles and times in s, in one transaction; for each the error or None."""

        def change(tx: Transaction, queue: Queue, receipt: Receipt, index: int) -> None:
            handle, visibility_s = changes[index]
            _check_range(visibility_s, "VisibilityTimeout", 0, MAX_VISIBILITY_S, "Must be between 0 and 43200.")
            result = storage.change_visibility(
                tx,
                queue,
                receipt,
                visibility_ms=visibility_s * 1000,
                longest_ms=MAX_VISIBILITY_S * 1000,
                now_ms=self._clock.time_ms(),
            )
            if result is not Visibility.CHANGED:
                raise _visibility_error(result, handle, visibility_s)

        results = await self._by_receipt(
            address, [handle for handle, _ in changes], caller, "ChangeMessageVisibility", change
        )
        now_ms = self._clock.time_ms()
        for (_, visibility_s), error in zip(changes, results, strict=True):
            if error is None:
                self._waiting.notify_at(address, now_ms + visibility_s * 1000)
        return results

    async def _by_receipt(
        self,
        address: QueueAddress,
        handles: Sequence[str],
        caller: Caller | None,
        action: str,
        work: Callable[[Transaction, Queue, Receipt, int], None],
    ) -> list[ServiceError | None]:
        def one(tx: Transaction, queue: Queue, index: int) -> None:
            receipt = receipts.decode(handles[index])
            if receipt is None:
                raise invalid_handle(handles[index])
            work(tx, queue, receipt, index)

        def job(tx: Transaction) -> list[ServiceError | None]:
            queue = require(tx, address, caller, action)
            return [_attempt(partial(one, tx, queue, index)) for index in range(len(handles))]

        return await self._engine.write(job)

    def statistics(self) -> dict[str, float]:
        """Messages sent, received and deleted since the start."""
        return {"sent": self._sent, "received": self._received, "deleted": self._deleted}


# --- checks ---


def check_batch(ids: Sequence[str], entry_type: str) -> None:
    """Raises what is wrong with the ids of a batch: none, more than 10, wrong characters, the same twice."""
    if not ids:
        raise ServiceError("EmptyBatchRequest", f"There should be at least one {entry_type} in the request.")
    if len(ids) > MAX_BATCH:
        raise ServiceError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {MAX_BATCH}. You have sent {len(ids)}.",
        )
    seen: set[str] = set()
    for entry_id in ids:
        if not _ENTRY_ID.fullmatch(entry_id):
            raise ServiceError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long.",
            )
        if entry_id in seen:
            raise ServiceError("BatchEntryIdsNotDistinct", f"Id {entry_id} repeated.")
        seen.add(entry_id)


def _check_draft(draft: Draft) -> int:
    """Checks what does not depend on the queue; the size in bytes."""
    content.check_body(draft.body)
    content.check_attributes(draft.attributes)
    for name, attribute in draft.system_attributes.items():
        if name != content.TRACE_HEADER:
            raise invalid_parameter(f"Message system attribute name '{name}' is invalid.")
        if attribute.data_type != "String" or not attribute.string_value:
            raise invalid_parameter(
                f"The message system attribute '{name}' must contain a non-empty value of type 'String'."
            )
        content.check_characters(attribute.string_value)
    if draft.group_id is not None:
        content.check_token(draft.group_id, "MessageGroupId")
    if draft.deduplication_id is not None:
        content.check_token(draft.deduplication_id, "MessageDeduplicationId")
    _check_range(draft.delay_s, "DelaySeconds", 0, 900, "DelaySeconds must be >= 0 and <= 900.")
    return content.size_of(draft.body, draft.attributes)


def _for_queue(queue: Queue, draft: Draft, size: int, sender_id: str) -> NewMessage:
    """The message that a queue stores of a draft. Raises what this queue does not take."""
    settings = queue.settings
    if size > settings.maximum_message_size:
        raise invalid_parameter(
            "One or more parameters are invalid. Reason: "
            f"Message must be shorter than {settings.maximum_message_size} bytes."
        )
    delay_s, deduplication_id = draft.delay_s, draft.deduplication_id
    if settings.is_fifo:
        if draft.group_id is None:
            raise missing_parameter("MessageGroupId")
        if deduplication_id is None:
            if not settings.content_based_deduplication:
                raise invalid_parameter(
                    "The queue should either have ContentBasedDeduplication enabled or "
                    "MessageDeduplicationId provided explicitly"
                )
            deduplication_id = hashlib.sha256(draft.body.encode()).hexdigest()
        if delay_s:
            raise invalid_value(delay_s, "DelaySeconds", _WRONG_TYPE)
        delay_s = None
    elif deduplication_id is not None:
        raise invalid_value(deduplication_id, "MessageDeduplicationId", _WRONG_TYPE)
    trace = draft.system_attributes.get(content.TRACE_HEADER)
    return NewMessage(
        message_id=str(uuid.uuid4()),
        body=draft.body,
        sender_id=sender_id,
        attributes=draft.attributes,
        trace_header=trace.string_value if trace is not None else None,
        group_id=draft.group_id,
        deduplication_id=deduplication_id,
        delay_s=delay_s,
    )


def _check_range(value: float | None, parameter: str, low: int, high: int, reason: str) -> None:
    if value is not None and not low <= value <= high:
        raise invalid_value(value, parameter, reason)


def _visibility_error(result: Visibility, handle: str, visibility_s: int) -> ServiceError:
    if result is Visibility.NOT_IN_FLIGHT:
        return ServiceError("MessageNotInflight", "The specified message isn't in flight.")
    if result is Visibility.BEYOND_LIMIT:
        return invalid_value(
            visibility_s,
            "VisibilityTimeout",
            f"Total VisibilityTimeout for the message is beyond the limit [{MAX_VISIBILITY_S} seconds]",
        )
    return invalid_value(
        handle, "ReceiptHandle", "Message does not exist or is not available for visibility timeout change."
    )


def _attempt(work: Callable[[], T]) -> T | ServiceError:
    """The result, or the error for this entry of a batch alone."""
    try:
        return work()
    except ServiceError as error:
        return error


def _raise_first(results: Sequence[ServiceError | None]) -> None:
    if results[0] is not None:
        raise results[0]
