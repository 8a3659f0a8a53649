"""EventBridge as a whole: what the wire, the event queue and other services use."""

from __future__ import annotations

from collections.abc import Mapping

from lambdad.clock import JumpingClock
from lambdad.domain.rules import BusEvent, parse_bus_arn
from lambdad.neighbours.eventbridge.buses import BusControl
from lambdad.neighbours.eventbridge.dispatch import Dispatcher
from lambdad.neighbours.eventbridge.errors import invalid
from lambdad.neighbours.eventbridge.events import EventIntake
from lambdad.neighbours.eventbridge.loops import Redelivery, Scheduler
from lambdad.neighbours.eventbridge.records import InvocationRecords, put_event_in
from lambdad.neighbours.eventbridge.rules import RuleControl
from lambdad.neighbours.eventbridge.targets import (
    Delivered,
    EmbeddedTarget,
    EmbeddedTargets,
    LogGroupTarget,
    NoRemoteTargets,
    QueueTarget,
    RemoteTargets,
)
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage import rules as storage
from lambdad.storage.engine import Engine, Transaction


class EventBridgeService:
    """Buses, rules and targets on the store of `engine`, in the time of `clock`.

    `sqs` takes events and dead letters; log groups are always targets. `targets` brings others, by the service in
    their ARNs: `lambda`, `sns`. `records` is for the event queue: buses as destinations of invocations.
    """

    def __init__(
        self,
        engine: Engine,
        clock: JumpingClock,
        *,
        sqs: SqsService | None = None,
        targets: Mapping[str, EmbeddedTarget] | None = None,
        remote: RemoteTargets | None = None,
    ) -> None:
        self._engine = engine
        queues = QueueTarget(sqs) if sqs is not None else None
        self.targets = EmbeddedTargets({"logs": LogGroupTarget(clock), **(targets or {})})
        if queues is not None:
            self.targets.add("sqs", queues)
        sender = remote or NoRemoteTargets()
        self._dispatcher = Dispatcher(self.targets, queues, sender, clock, self._wake_redelivery)
        self.scheduler = Scheduler(engine, self._dispatcher, clock)
        self.redelivery = Redelivery(engine, self._dispatcher, sender, clock)
        self.buses = BusControl(engine, clock)
        self.rules = RuleControl(engine, clock, self.scheduler.wake)
        self.events = EventIntake(engine, self._dispatcher, clock)
        self.records = InvocationRecords(self._dispatcher, clock)

    def start(self) -> None:
        """Starts the background loops."""
        self.scheduler.start()
        self.redelivery.start()

    async def stop(self) -> None:
        """Ends the background loops. Nothing is lost: all of it is in the store."""
        await self.scheduler.stop()
        await self.redelivery.stop()

    def put_in(self, tx: Transaction, bus_arn: str, event: BusEvent) -> Delivered:
        """Puts an event on a bus in a transaction of the caller's, on the writer's thread; call the result after the
        commit, on the event loop. Raises ValidationException for anything but the ARN of a bus."""
        address = parse_bus_arn(bus_arn)
        if address is None:
            raise invalid(f"{bus_arn} is not the ARN of an event bus.")
        return put_event_in(self._dispatcher, tx, address, event)

    def _wake_redelivery(self) -> None:
        self.redelivery.wake()

    async def reset(self) -> None:
        """Removes every bus, rule and waiting delivery of every account."""
        await self._engine.write(storage.delete_everything)

    def statistics(self) -> dict[str, float]:
        """Entries accepted and refused, rules matched, inputs delivered and given up, schedules fired."""
        return {**self.events.statistics(), **self._dispatcher.statistics(), **self.scheduler.statistics()}
