"""Buses as destinations of asynchronous invocations."""

from __future__ import annotations

import uuid

from lambdad.clock import Clock
from lambdad.domain.destinations import OutgoingMessage
from lambdad.domain.errors import ServiceError
from lambdad.domain.rules import MAX_REQUEST_BYTES, BusAddress, BusEvent, compact, parse_bus_arn
from lambdad.neighbours.eventbridge.dispatch import Dispatcher
from lambdad.neighbours.eventbridge.errors import invalid
from lambdad.neighbours.eventbridge.targets import Delivered
from lambdad.storage.engine import Transaction


class InvocationRecords:
    """Puts the record of an invocation on a bus, as the event that AWS makes of it (AWS: recorded 2025-11)."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock) -> None:
        self._dispatcher = dispatcher
        self._clock = clock

    def put_in(self, tx: Transaction, arn: str, message: OutgoingMessage) -> Delivered:
        """In a transaction of the caller's; call the result after its commit.

        A bus that does not exist takes it and drops it. Raises ServiceError for another kind of ARN and for records
        above the limit of PutEvents.
        """
        address = parse_bus_arn(arn)
        if address is None:
            raise invalid(f"{arn} is not the ARN of an event bus.")
        if len(message.body) > MAX_REQUEST_BYTES:
            raise ServiceError("ValidationException", "Total size of the entries in the request is over the limit.")
        event = self._event(arn, message)
        if not event.is_readable():
            raise ServiceError("MalformedDetail", "Detail is malformed.")
        return put_event_in(self._dispatcher, tx, address, event)

    def _event(self, bus_arn: str, message: OutgoingMessage) -> BusEvent:
        kind = "Success" if message.is_success else "Failure"
        return BusEvent(
            id=str(uuid.uuid4()),
            detail_type=f"Lambda Function Invocation Result - {kind}",
            source="lambda",  # not `aws.lambda`
            account=message.account,
            time=self._clock.now(),
            region=message.region,
            resources=(bus_arn, message.function_arn),
            detail=compact(message.body.decode("utf-8")),
            trace=message.trace,
        )


def put_event_in(dispatcher: Dispatcher, tx: Transaction, address: BusAddress, event: BusEvent) -> Delivered:
    """Puts an event on a bus in a transaction of the caller's; call the result after its commit."""
    made = dispatcher.event_in(tx, address, event)

    def delivered() -> None:
        for one in made:
            one()

    return delivered
