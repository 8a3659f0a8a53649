"""The event queue as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lambdad.clock import JumpingClock
from lambdad.domain.retries import RETRY_DELAYS_S
from lambdad.event_queue.conclusion import Conclusion
from lambdad.event_queue.delivery import Delivery, FunctionTarget
from lambdad.event_queue.intake import Intake
from lambdad.event_queue.ledger import Ledger, LedgerLimits
from lambdad.event_queue.outbox import Outbox
from lambdad.event_queue.rescue import Rescue
from lambdad.event_queue.sweep import Sweep
from lambdad.event_queue.targets import EmbeddedTarget, EmbeddedTargets, NoRemoteTargets, RemoteSender
from lambdad.event_queue.worker import DEFAULT_CONCURRENCY, Worker
from lambdad.invocation.invoker import Invoker
from lambdad.storage import events
from lambdad.storage.engine import Engine
from lambdad.storage.functions import FunctionKey
from lambdad.telemetry import Telemetry


class EventQueue:
    """Builds each part once. `intake.accept` takes events in; `start` takes up what an earlier server left."""

    def __init__(
        self,
        engine: Engine,
        invoker: Invoker,
        clock: JumpingClock,
        telemetry: Telemetry,
        *,
        targets: Mapping[str, EmbeddedTarget] | None = None,
        remote: RemoteSender | None = None,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
        concurrency: int = DEFAULT_CONCURRENCY,
        ledger_limits: LedgerLimits = LedgerLimits(),  # noqa: B008 - a frozen value
    ) -> None:
        """`targets` are the services of this server that take messages, by the service in their ARNs; functions are
        always among them."""
        self._engine = engine
        sender = remote or NoRemoteTargets()
        self.outbox = Outbox(engine, sender, clock, telemetry)
        self.targets = EmbeddedTargets(targets or {})
        self.targets.add("lambda", FunctionTarget(clock, self._announce))
        conclusion = Conclusion(
            Delivery(self.targets, sender, clock, self.outbox.wake), clock, retry_delays_s=retry_delays_s
        )
        self.worker = Worker(engine, invoker, conclusion, clock, telemetry, concurrency=concurrency)
        self.rescue = Rescue(engine, self.worker, conclusion, clock, telemetry)
        self.intake = Intake(engine, invoker, clock, telemetry, self._announce)
        self.ledger = Ledger(engine, clock, telemetry, self._announce, ledger_limits)
        self._sweep = Sweep(engine)

    async def start(self) -> None:
        """Brings back what a killed server was working on, then runs what is due."""
        await self.rescue.recover()
        await self.worker.load()
        self.rescue.start()
        self.worker.start()
        self.outbox.start()
        self.ledger.start()
        self._sweep.start()

    async def stop(self) -> None:
        """What runs may end, for a while; everything else stays where it is, in the store."""
        await self.worker.stop()
        await self.rescue.stop()
        await self.outbox.stop()
        await self.ledger.stop()
        await self._sweep.stop()

    async def reset(self) -> None:
        """Removes all events and settings; what runs ends unheard."""

        await self._engine.write(events.delete_everything)
        self.worker.forget()
        self._sweep.wake()

    def statistics(self) -> dict[str, float]:
        return {**self.intake.statistics(), **self.worker.statistics(), **self.rescue.statistics()}

    def _announce(self, queue_id: int, key: FunctionKey, due_ms: int) -> None:
        self.worker.announce(queue_id, key, due_ms)
