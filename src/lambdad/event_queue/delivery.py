"""What is delivered when an event ends: its record to the destination, the event itself to the dead-letter queue."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from lambdad.clock import Clock
from lambdad.domain.destinations import (
    OutgoingMessage,
    dead_letter_attributes,
    function_target,
    invocation_record,
)
from lambdad.domain.errors import LambdadError
from lambdad.domain.events import EVENT_LIMIT_BYTES, Attempt, Event, FunctionFailed, RetrySettings, Returned
from lambdad.domain.ledger import Step, delivery_step
from lambdad.domain.retries import Condition, Finish
from lambdad.event_queue.targets import Delivered, EmbeddedTargets, RemoteSender, TargetRefused
from lambdad.storage import event_outbox, events
from lambdad.storage.engine import Transaction
from lambdad.storage.functions import FunctionKey, FunctionTables
from lambdad.telemetry import DeliveryFailed, Telemetry

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Deliveries:
    """What came of the deliveries of one event; `tell` it once the transaction is committed."""

    delivered: list[Delivered] = field(default_factory=list)
    failures: list[DeliveryFailed] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    """For the ledger."""

    def tell(self, telemetry: Telemetry) -> None:
        """Wakes receivers, and reports what could not be delivered. On the event loop."""
        for delivered in self.delivered:
            delivered()
        for failure in self.failures:
            report_failure(failure, telemetry)


class Delivery:
    """Writes what an event leaves behind into the transaction that ends it."""

    def __init__(
        self, targets: EmbeddedTargets, remote: RemoteSender, clock: Clock, wake_outbox: Callable[[], None]
    ) -> None:
        self._targets = targets
        self._remote = remote
        self._clock = clock
        self._wake_outbox = wake_outbox

    def deliver_in(
        self,
        tx: Transaction,
        event: Event,
        attempt: Attempt,
        finish: Finish,
        settings: RetrySettings,
        dead_letter_arn: str | None,
    ) -> Deliveries:
        """Both the destination and the dead-letter queue get theirs when both are set (AWS: captured 2026)."""
        made = Deliveries()
        is_success = finish.condition is Condition.SUCCESS
        destinations = settings.destinations
        destination = destinations.on_success if is_success else destinations.on_failure
        if destination:
            record = invocation_record(event, attempt, finish.condition, finish.invoke_count, self._clock.now())
            self._put(tx, destination, _record_message(event, attempt, record, is_success=is_success), made)
        if dead_letter_arn and not is_success:
            self._put(tx, dead_letter_arn, _dead_letter(event, attempt), made)
        return made

    def _put(self, tx: Transaction, arn: str, message: OutgoingMessage, made: Deliveries) -> None:
        now_ms = self._clock.time_ms()
        result, reason = "delivered", ""
        if self._remote.sends_to(arn):
            event_outbox.put(tx, arn, message, now_ms)
            made.delivered.append(self._wake_outbox)
            result = "queued"
        else:
            try:
                made.delivered.append(self._targets.put_in(tx, arn, message))
            except LambdadError as error:
                # The event ends all the same, as on AWS: what cannot be delivered is lost, and counted.
                made.failures.append(failure_of(message, arn, error.message))
                result, reason = "failed", error.message
        made.steps.append(
            delivery_step(arn, now_ms, is_dead_letter=message.is_dead_letter, result=result, reason=reason)
        )


class FunctionTarget:
    """Functions as destinations: the record becomes an event of theirs, in the same transaction."""

    def __init__(self, clock: Clock, announce: Callable[[int, FunctionKey, int], None]) -> None:
        self._clock = clock
        self._announce = announce

    def put_in(self, tx: Transaction, arn: str, message: OutgoingMessage) -> Delivered:
        target = function_target(arn)
        if target is None:
            raise TargetRefused(f"{arn} is not the ARN of a function.")
        key = FunctionKey(target.account, target.region, target.name)
        if FunctionTables(tx).function(key) is None:
            raise TargetRefused(f"Function not found: {arn}")
        if len(message.body) > EVENT_LIMIT_BYTES:
            raise TargetRefused(f"The record has {len(message.body)} bytes, an event may have {EVENT_LIMIT_BYTES}.")
        now_ms = self._clock.time_ms()
        queue_id = events.put(
            tx,
            Event(
                request_id=str(uuid.uuid4()),
                account=key.account,
                region=key.region,
                function=key.name,
                qualifier=target.qualifier or "",
                payload=message.body,
                trace=message.trace,
                accepted_ms=now_ms,
            ),
        )
        return lambda: self._announce(queue_id, key, now_ms)


def failure_of(message: OutgoingMessage, arn: str, reason: str) -> DeliveryFailed:
    return DeliveryFailed(
        request_id=message.request_id,
        function_arn=message.function_arn,
        target_arn=arn,
        reason=reason,
        is_dead_letter=message.is_dead_letter,
    )


def report_failure(failure: DeliveryFailed, telemetry: Telemetry) -> None:
    """Logs it and tells the listeners."""
    what = "dead letter" if failure.is_dead_letter else "record"
    logger.warning(
        "The %s of event %s of %s is lost: it could not be delivered to %s. %s",
        what,
        failure.request_id,
        failure.function_arn,
        failure.target_arn,
        failure.reason,
    )
    for listener in telemetry.delivery_failed:
        listener(failure)


def _record_message(event: Event, attempt: Attempt, record: bytes, *, is_success: bool) -> OutgoingMessage:
    trace = attempt.trace if isinstance(attempt, Returned | FunctionFailed) else ""
    return OutgoingMessage(
        request_id=event.request_id,
        account=event.account,
        region=event.region,
        function_arn=event.function_arn,
        body=record,
        trace=trace or event.trace,
        is_success=is_success,
    )


def _dead_letter(event: Event, attempt: Attempt) -> OutgoingMessage:
    return OutgoingMessage(
        request_id=event.request_id,
        account=event.account,
        region=event.region,
        function_arn=event.function_arn,
        body=event.payload,
        attributes=dead_letter_attributes(event, attempt),
        is_dead_letter=True,
    )
