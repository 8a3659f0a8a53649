"""All pollers of this server, one for each mapping that is enabled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from lambdad.clock import JumpingClock, Sleeper
from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.mappings import EventSourceMapping, SourceKind
from lambdad.sources.calls import FunctionCalls
from lambdad.sources.failures import FailedBatches
from lambdad.sources.queue_poller import QueuePoller
from lambdad.sources.queues import Queues, QueueUnavailable
from lambdad.sources.stream_poller import StreamPoller
from lambdad.sources.streams import Stream, StreamNotFound, StreamUnavailable
from lambdad.storage.engine import Engine
from lambdad.telemetry import MappingCounted, StreamBatchRead, Telemetry

logger = logging.getLogger(__name__)

STOP_GRACE_S = 10.0


class Poller(Protocol):
    """What reads one source."""

    def start(self) -> None: ...

    async def stop_reading(self) -> None: ...

    async def stop(self, grace_s: float | None = None) -> None: ...

    def statistics(self) -> dict[str, float]: ...


class Sources:
    """Runs and halts pollers; the Pollers of the control plane."""

    def __init__(
        self,
        engine: Engine,
        calls: FunctionCalls,
        clock: JumpingClock,
        telemetry: Telemetry,
        *,
        queues: Callable[[str], Queues],
        streams: Callable[[str], Stream],
        failures: FailedBatches,
    ) -> None:
        """`queues` gives the service that has the queue of an ARN, `streams` the stream of an ARN; the latter raises
        InvalidParameterValue where no service has streams."""
        self._engine = engine
        self._calls = calls
        self._clock = clock
        self._sleeper = Sleeper(clock)
        self._telemetry = telemetry
        self._queues = queues
        self._streams = streams
        self._failures = failures
        self._pollers: dict[str, Poller] = {}
        self._is_stopping = False

    async def inspect(self, source_arn: str, kind: SourceKind) -> float | None:
        if kind is not SourceKind.SQS:
            try:
                await self._streams(source_arn).shards()
            except StreamNotFound:
                raise InvalidParameterValue(f"Stream not found: {source_arn}") from None  # (AWS: recorded 2025-11)
            except StreamUnavailable as error:
                raise InvalidParameterValue(f"The stream {source_arn} cannot be read: {error}") from None
            return None
        try:
            return await self._queues(source_arn).visibility_timeout_s(source_arn)
        except QueueUnavailable as error:
            raise InvalidParameterValue(
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
                f"SQS Error Message: {error}"
            ) from None

    def run(self, mapping: EventSourceMapping) -> None:
        if self._is_stopping or mapping.uuid in self._pollers:
            return
        try:
            poller = self._poller(mapping)
        except InvalidParameterValue as error:
            logger.warning("The mapping %s of %s is not read: %s", mapping.uuid, mapping.source_arn, error.message)
            return
        self._pollers[mapping.uuid] = poller
        poller.start()

    async def halt(self, uuid: str) -> None:
        poller = self._pollers.pop(uuid, None)
        if poller is not None:
            await poller.stop()

    async def stop_reading(self) -> None:
        """First of all when the server stops: nothing new is taken from any source."""
        self._is_stopping = True
        await asyncio.gather(*(poller.stop_reading() for poller in self._pollers.values()))

    async def stop(self) -> None:
        """Batches that run may end, for a while; what is not dealt with is read again after the next start."""
        await self.stop_reading()
        await asyncio.gather(*(poller.stop(STOP_GRACE_S) for poller in self._pollers.values()))
        self._pollers.clear()

    async def reset(self) -> None:
        """Ends all pollers at once, whatever runs."""
        pollers = list(self._pollers.values())
        self._pollers.clear()
        await asyncio.gather(*(poller.stop(0) for poller in pollers))

    def statistics(self) -> dict[str, float]:
        """How many pollers there are, and how many batches run."""
        running = sum(poller.statistics()["running"] for poller in self._pollers.values())
        return {"pollers": len(self._pollers), "running": running}

    def _poller(self, mapping: EventSourceMapping) -> Poller:
        if mapping.kind is not SourceKind.SQS:
            return StreamPoller(
                mapping,
                self._streams(mapping.source_arn),
                self._engine,
                self._calls,
                self._failures,
                self._clock,
                self._sleeper,
                self._counter(mapping),
                self._ager(mapping),
            )
        return QueuePoller(
            mapping,
            self._queues(mapping.source_arn),
            self._calls,
            self._clock,
            self._sleeper,
            self._counter(mapping),
        )

    def _counter(self, mapping: EventSourceMapping) -> Callable[[str, int], None]:
        if not mapping.settings.counts_events:
            return _count_nothing

        def count(metric: str, number: int) -> None:
            if number == 0:
                return
            for listener in self._telemetry.mapping_counted:
                listener(
                    MappingCounted(
                        account=mapping.account,
                        region=mapping.region,
                        mapping=mapping.uuid,
                        metric=metric,
                        count=number,
                    )
                )

        return count

    def _ager(self, mapping: EventSourceMapping) -> Callable[[float], None]:
        def aged(age_ms: float) -> None:
            for listener in self._telemetry.stream_batch_read:
                listener(
                    StreamBatchRead(
                        account=mapping.account,
                        region=mapping.region,
                        function=mapping.function.name,
                        qualifier=mapping.function.qualifier or "",
                        age_ms=age_ms,
                    )
                )

        return aged


def _count_nothing(metric: str, number: int) -> None:
    pass
