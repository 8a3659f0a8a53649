"""Counts what telemetry tells, in memory, and stores it by the minute.

The hot path looks up one object and bumps it; everything else happens when a minute is over or somebody asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from lambdad.clock import JumpingClock
from lambdad.domain.invocations import Ending
from lambdad.domain.metrics import (
    LAMBDA_NAMESPACE,
    MINUTE_MS,
    Dimensions,
    MetricKey,
    Point,
    Statistics,
    function_dimensions,
    merged,
)
from lambdad.loops import Loop
from lambdad.storage import metrics
from lambdad.storage.engine import Engine, StorageError
from lambdad.telemetry import (
    AttemptFinished,
    AttemptThrottled,
    DeliveryFailed,
    EventAccepted,
    EventAttempted,
    EventEnded,
    MappingCounted,
    RecursionStopped,
    StreamBatchRead,
    Telemetry,
    UnsignedCodeDeployed,
    UrlAnswered,
)

RETENTION_MS = 15 * 86_400_000
"""Points of a minute are kept for 15 days (AWS CloudWatch user guide)."""
SLICE = 2000
MAX_SAMPLES_IN_MEMORY = 100_000
"""Durations of one series; beyond it they are put together before the minute is over."""

_PROVISIONED = "ProvisionedConcurrencyInvocations"
_SPILLOVER = "ProvisionedConcurrencySpilloverInvocations"
# Named once: on Python 3.11 each look at an enum's member is a call in Python.
_SUCCESS = Ending.SUCCESS
_UNITS = {
    "Duration": "Milliseconds",
    "PostRuntimeExtensionsDuration": "Milliseconds",
    "IteratorAge": "Milliseconds",
    "AsyncEventAge": "Milliseconds",
    "UrlRequestLatency": "Milliseconds",
}


Peak = tuple[str, str, str, str, str, float]
"""Account, region, function (empty for the account as a whole), qualifier (empty for all of the function), metric, and
the most since the last look."""


class _Bumps:
    """What one addressed version did in the current minute."""

    __slots__ = ("ages_ms", "counts", "durations_ms", "ended", "errors", "extensions_ms", "url_latencies_ms")

    def __init__(self) -> None:
        self.durations_ms: list[float] = []
        self.errors = 0
        self.extensions_ms: list[float] = []
        self.ages_ms: list[float] = []
        self.ended = 0
        self.counts: Counter[str] = Counter()
        self.url_latencies_ms: list[float] = []


_Key = tuple[str, str, str, str, str]
"""Account, region, function, qualifier as addressed, version that ran (empty when none did)."""


class Collector(Loop):
    """Listens to telemetry."""

    name = "metrics"

    def __init__(
        self,
        engine: Engine,
        clock: JumpingClock,
        telemetry: Telemetry,
        peaks: Callable[[], Iterable[Peak]] = tuple,
    ) -> None:
        super().__init__()
        self._engine = engine
        self._clock = clock
        self._peaks = peaks
        self._bumps: dict[_Key, _Bumps] = {}
        self._minute_ms = self._this_minute()
        self._pending: dict[tuple[MetricKey, int], Point] = {}
        self.totals: dict[tuple[str, str, str], dict[str, float]] = {}
        """Counts since the start by account, region and function, for those who compute rates themselves."""
        telemetry.attempt_finished.append(self._finished)
        telemetry.attempt_throttled.append(self._throttled)
        telemetry.event_accepted.append(self._accepted)
        telemetry.event_attempted.append(self._attempted)
        telemetry.event_ended.append(self._ended)
        telemetry.delivery_failed.append(self._delivery_failed)
        telemetry.recursion_stopped.append(self._recursion_stopped)
        telemetry.unsigned_code_deployed.append(self._unsigned_code_deployed)
        telemetry.mapping_counted.append(self._mapping_counted)
        telemetry.url_answered.append(self._url_answered)
        telemetry.stream_batch_read.append(self._stream_batch_read)
        clock.on_advance(self._on_advance)

    # --- bumping ---

    def _finished(self, event: AttemptFinished) -> None:
        version, outcome = event.version, event.outcome
        key = (version.account, version.region, version.name, event.qualifier, version.version)
        bumps = self._bumps.get(key) or self._of(key)
        bumps.durations_ms.append(outcome.duration_ms)
        if outcome.post_runtime_extensions_ms is not None:
            bumps.extensions_ms.append(outcome.post_runtime_extensions_ms)
        if outcome.ending is not _SUCCESS:
            bumps.errors += 1
        if event.provisioned is not None:
            bumps.counts[_PROVISIONED if event.provisioned else _SPILLOVER] += 1
        if len(bumps.durations_ms) >= MAX_SAMPLES_IN_MEMORY:
            self.drain()

    def _of(self, key: _Key) -> _Bumps:
        bumps = self._bumps.get(key)
        if bumps is None:
            bumps = self._bumps[key] = _Bumps()
        return bumps

    def _throttled(self, event: AttemptThrottled) -> None:
        self._of((event.account, event.region, event.function, event.qualifier, "")).counts["Throttles"] += 1

    def _accepted(self, event: EventAccepted) -> None:
        key = (event.account, event.region, event.function, event.qualifier, "")
        self._of(key).counts["AsyncEventsReceived"] += 1

    def _attempted(self, event: EventAttempted) -> None:
        self._of((event.account, event.region, event.function, event.qualifier, "")).ages_ms.append(event.age_ms)

    def _ended(self, event: EventEnded) -> None:
        bumps = self._of((event.account, event.region, event.function, event.qualifier, ""))
        bumps.ended += 1
        if event.condition != "Success":
            bumps.counts["AsyncEventsDropped"] += 1
        if event.condition == "ZeroReservedConcurrency":
            bumps.counts["Throttles"] += 1
        elif event.condition == "RecursiveInvocation":
            bumps.counts["RecursiveInvocationsDropped"] += 1

    def _delivery_failed(self, event: DeliveryFailed) -> None:
        _, _, _, region, account, _, function, *qualifier = event.function_arn.split(":")
        bumps = self._of((account, region, function, qualifier[0] if qualifier else "", ""))
        bumps.counts["DeadLetterErrors" if event.is_dead_letter else "DestinationDeliveryFailures"] += 1

    def _recursion_stopped(self, event: RecursionStopped) -> None:
        key = (event.account, event.region, event.function, event.qualifier, "")
        self._of(key).counts["RecursiveInvocationsDropped"] += 1

    def _unsigned_code_deployed(self, event: UnsignedCodeDeployed) -> None:
        self._of((event.account, event.region, event.function, "", "")).counts["SignatureValidationErrors"] += 1

    def _mapping_counted(self, event: MappingCounted) -> None:
        values = Statistics.of({float(event.count): 1.0})
        dimensions: Dimensions = (("EventSourceMappingUUID", event.mapping),)
        self._add(event.account, event.region, event.metric, dimensions, self._this_minute(), values)

    def _url_answered(self, event: UrlAnswered) -> None:
        bumps = self._of((event.account, event.region, event.function, event.qualifier, ""))
        bumps.url_latencies_ms.append(event.latency_ms)
        if event.status >= 400:
            bumps.counts["Url4xxCount" if event.status < 500 else "Url5xxCount"] += 1
        if len(bumps.url_latencies_ms) >= MAX_SAMPLES_IN_MEMORY:
            self.drain()

    def _stream_batch_read(self, event: StreamBatchRead) -> None:
        values = Statistics.of({round(event.age_ms, 2): 1.0})
        for dimensions in function_dimensions(event.function, event.qualifier, ""):
            self._add(event.account, event.region, "IteratorAge", dimensions, self._this_minute(), values)

    # --- storing ---

    def drain(self) -> None:
        """Puts what was bumped together into points of its minute."""
        minute_ms, self._minute_ms = self._minute_ms, self._this_minute()
        bumped, self._bumps = self._bumps, {}
        for (account, region, function, qualifier, version), bumps in bumped.items():
            total = self.totals.setdefault((account, region, function), {})
            for name, values in _statistics(bumps).items():
                total[name] = total.get(name, 0.0) + values.sum
                for dimensions in function_dimensions(function, qualifier, version):
                    self._add(account, region, name, dimensions, minute_ms, values)
        for account, region, function, qualifier, metric, peak in self._peaks():
            if peak:
                named: Dimensions = (("FunctionName", function),) if function else ()
                if qualifier:
                    named = (*named, ("Resource", f"{function}:{qualifier}"))
                self._add(account, region, metric, named, minute_ms, Statistics.of({float(peak): 1.0}))

    async def flush(self) -> None:
        """Stores what was counted so far. What cannot be stored is kept for the next time."""
        self.drain()
        pending, self._pending = self._pending, {}
        if not pending:
            return
        points = list(pending.values())
        try:
            await self._engine.write(lambda tx: metrics.put(tx, points))
        except StorageError:
            for point in points:
                self._keep(point)
            raise

    async def run_once(self) -> float | None:
        """Stores the last minute, and removes what is too old. Returns the seconds until the next minute."""
        await self.flush()
        before_ms = self._clock.time_ms() - RETENTION_MS
        while await self._engine.write(lambda tx: metrics.forget_before(tx, before_ms, SLICE)) == SLICE:
            pass
        return (MINUTE_MS - self._clock.time_ms() % MINUTE_MS) / 1000

    async def stop(self) -> None:
        """Stores what was counted, then ends."""
        await super().stop()
        await self.flush()

    async def reset(self) -> None:
        """Forgets everything."""
        self._bumps.clear()
        for _ in self._peaks():
            pass
        self._pending.clear()
        self.totals.clear()
        await self._engine.write(metrics.delete_everything)
        self._minute_ms = self._this_minute()

    def _on_advance(self) -> None:
        self.drain()  # of the minute before the jump
        self.wake()

    def _this_minute(self) -> int:
        now_ms = self._clock.time_ms()
        return now_ms - now_ms % MINUTE_MS

    def _add(
        self, account: str, region: str, name: str, dimensions: Dimensions, at_ms: int, values: Statistics
    ) -> None:
        key = MetricKey(account=account, region=region, namespace=LAMBDA_NAMESPACE, name=name, dimensions=dimensions)
        self._keep(Point(key=key, at_ms=at_ms, unit=_UNITS.get(name, "Count"), values=values))

    def _keep(self, point: Point) -> None:
        place = (point.key, point.at_ms)
        known = self._pending.get(place)
        if known is not None:
            point = Point(
                key=point.key, at_ms=point.at_ms, unit=point.unit, values=merged([known.values, point.values])
            )
        self._pending[place] = point


def _statistics(bumps: _Bumps) -> dict[str, Statistics]:
    """By metric. What ran counts with explicit zeros for errors and throttles (AWS Lambda developer guide)."""
    ran, counts = len(bumps.durations_ms), bumps.counts
    found: dict[str, Statistics] = {}
    if ran:
        found["Invocations"] = Statistics.of({1.0: ran})
        found["Errors"] = _zeros_and_ones(ran - bumps.errors, bumps.errors)
        found["Duration"] = Statistics.of(Counter(round(value, 2) for value in bumps.durations_ms))
    if bumps.extensions_ms:
        rounded = Counter(round(value, 2) for value in bumps.extensions_ms)
        found["PostRuntimeExtensionsDuration"] = Statistics.of(rounded)
    if ran or counts["Throttles"]:
        found["Throttles"] = _zeros_and_ones(ran, counts["Throttles"])
    if bumps.url_latencies_ms:
        requests = len(bumps.url_latencies_ms)
        found["UrlRequestCount"] = Statistics.of({1.0: requests})
        found["UrlRequestLatency"] = Statistics.of(Counter(round(value, 2) for value in bumps.url_latencies_ms))
        for name in ("Url4xxCount", "Url5xxCount"):
            found[name] = _zeros_and_ones(requests - counts[name], counts[name])
    if bumps.ages_ms:
        found["AsyncEventAge"] = Statistics.of(Counter(bumps.ages_ms))
    if bumps.ended:
        dropped = counts["AsyncEventsDropped"]
        found["AsyncEventsDropped"] = _zeros_and_ones(bumps.ended - dropped, dropped)
    for name in (
        "AsyncEventsReceived",
        "DeadLetterErrors",
        "DestinationDeliveryFailures",
        _PROVISIONED,
        _SPILLOVER,
        "RecursiveInvocationsDropped",
        "SignatureValidationErrors",
    ):
        if counts[name]:
            found[name] = Statistics.of({1.0: counts[name]})
    return found


def _zeros_and_ones(zeros: int, ones: int) -> Statistics:
    return Statistics.of({value: count for value, count in ((0.0, zeros), (1.0, ones)) if count})
