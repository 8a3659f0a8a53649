"""What telemetry tells becomes points of metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambdad.domain.invocations import Ending, Outcome
from lambdad.domain.metrics import MAX_SAMPLES, MetricKey, Statistics, function_dimensions, merged
from lambdad.invocation.admission import Admission
from lambdad.neighbours.cloudwatch import prometheus
from lambdad.neighbours.cloudwatch.collector import RETENTION_MS, Collector
from lambdad.storage import metrics
from lambdad.storage.sqlite import SqliteEngine
from lambdad.telemetry import (
    AttemptFinished,
    AttemptThrottled,
    DeliveryFailed,
    EventAccepted,
    EventAttempted,
    EventEnded,
    RecursionStopped,
    Telemetry,
    UnsignedCodeDeployed,
)
from tests.event_queue.building import ACCOUNT, REGION, ManualClock
from tests.execution.scripted import a_version

WHO = {"account": ACCOUNT, "region": REGION, "function": "greet", "qualifier": ""}


class Counting:
    """A collector over a real store."""

    def __init__(self, engine: SqliteEngine) -> None:
        self.engine = engine
        self.clock = ManualClock()
        self.telemetry = Telemetry()
        self.admission = Admission(10)
        self.collector = Collector(engine, self.clock, self.telemetry, self.admission.take_peaks)

    def finish(
        self,
        duration_ms: float = 1.0,
        ending: Ending = Ending.SUCCESS,
        qualifier: str = "",
        extensions_ms: float | None = None,
    ) -> None:
        event = AttemptFinished(
            request_id="id",
            version=a_version(name="greet"),
            qualifier=qualifier,
            outcome=Outcome(
                payload=b"", ending=ending, duration_ms=duration_ms, post_runtime_extensions_ms=extensions_ms
            ),
        )
        for listener in self.telemetry.attempt_finished:
            listener(event)

    async def points(self, name: str, *dimensions: tuple[str, str]) -> list[Statistics]:
        """The values of each stored point of the function, or of other dimensions."""
        await self.collector.flush()
        key = MetricKey(
            account=ACCOUNT,
            region=REGION,
            namespace="AWS/Lambda",
            name=name,
            dimensions=dimensions or (("FunctionName", "greet"),),
        )
        return [values for _, _, values in await metrics.values(self.engine, key, 0, 1 << 62, None)]

    async def total(self, name: str) -> tuple[float, float]:
        """How many values there were, and their sum."""
        found = merged(await self.points(name))
        return found.count, found.sum


@pytest.fixture
async def counting(tmp_path: Path) -> AsyncIterator[Counting]:
    engine = await SqliteEngine.open(tmp_path)
    yield Counting(engine)
    await engine.close()


async def test_time_of_extensions_counts_where_there_are_some(counting: Counting) -> None:
    counting.finish(10)
    counting.finish(30, extensions_ms=12.5)
    counting.finish(30, extensions_ms=0.5)
    assert await counting.total("PostRuntimeExtensionsDuration") == (2, 13.0)
    assert await counting.total("Duration") == (3, 70.0)


async def test_runs_count_with_explicit_zeros(counting: Counting) -> None:
    counting.finish(10)
    counting.finish(30, Ending.ERROR)
    counting.finish(20, Ending.TIMEOUT)
    assert await counting.total("Invocations") == (3, 3)
    assert await counting.total("Errors") == (3, 2)
    assert await counting.total("Throttles") == (3, 0)
    [durations] = await counting.points("Duration")
    assert (durations.minimum, durations.maximum, durations.sum, durations.percentile(50)) == (10, 30, 60, 20)


async def test_throttles_are_no_invocations(counting: Counting) -> None:
    counting.telemetry.attempt_throttled[0](AttemptThrottled(request_id="id", reason="r", **WHO))
    assert await counting.total("Throttles") == (1, 1)
    assert await counting.points("Invocations") == []


async def test_the_life_of_events(counting: Counting) -> None:
    telemetry = counting.telemetry
    telemetry.event_accepted[0](EventAccepted(request_id="id", **WHO))
    for age_ms in (5, 60_005):
        telemetry.event_attempted[0](EventAttempted(request_id="id", age_ms=age_ms, **WHO))
    for condition in ("Success", "RetriesExhausted", "RecursiveInvocation", "ZeroReservedConcurrency"):
        telemetry.event_ended[0](EventEnded(request_id="id", condition=condition, invoke_count=1, **WHO))
    telemetry.recursion_stopped[0](RecursionStopped(**WHO))
    for is_dead_letter in (True, False, False):
        telemetry.delivery_failed[0](
            DeliveryFailed(
                request_id="id",
                function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:greet:$LATEST",
                target_arn="arn",
                reason="r",
                is_dead_letter=is_dead_letter,
            )
        )
    assert await counting.total("AsyncEventsReceived") == (1, 1)
    assert await counting.total("AsyncEventAge") == (2, 60_010)
    assert await counting.total("AsyncEventsDropped") == (4, 3)
    assert await counting.total("RecursiveInvocationsDropped") == (2, 2)
    assert await counting.total("Throttles") == (1, 1)
    assert await counting.total("DeadLetterErrors") == (1, 1)
    assert await counting.total("DestinationDeliveryFailures") == (2, 2)


async def test_each_minute_has_its_own_point(counting: Counting) -> None:
    counting.finish()
    counting.clock.advance(60)
    counting.finish()
    counting.finish()
    assert [point.sum for point in await counting.points("Invocations")] == [1, 2]


async def test_the_most_that_ran_at_once(counting: Counting) -> None:
    slots = counting.admission.function(ACCOUNT, REGION, "greet")
    taken = [slots.take() for _ in range(3)]
    for slot in taken[:2]:
        slots.give(slot)
    assert [point.maximum for point in await counting.points("ConcurrentExecutions")] == [3]
    counting.clock.advance(60)
    await counting.collector.flush()
    assert [point.maximum for point in await counting.points("ConcurrentExecutions")][:2] == [3, 1]


def test_dimensions_as_addressed() -> None:
    name = ("FunctionName", "f")
    assert function_dimensions("f", "", "$LATEST") == [(), (name,), (name, ("Resource", "f"))]
    assert function_dimensions("f", "1", "1")[-1] == (name, ("Resource", "f:1"))
    assert function_dimensions("f", "live", "1")[-1] == (("ExecutedVersion", "1"), name, ("Resource", "f:live"))


async def test_old_points_are_forgotten(counting: Counting) -> None:
    counting.finish()
    await counting.collector.flush()
    counting.clock.advance(RETENTION_MS / 1000 + 60)
    await counting.collector.run_once()
    assert await counting.points("Invocations") == []


async def test_a_reset_forgets_everything(counting: Counting) -> None:
    counting.finish()
    await counting.collector.flush()
    counting.finish()
    await counting.collector.reset()
    assert await counting.points("Invocations") == []
    assert counting.collector.totals == {}


async def test_text_for_prometheus(counting: Counting) -> None:
    counting.finish(1500)
    counting.collector.drain()
    text = prometheus.text(counting.collector.totals)
    labels = f'{{account="{ACCOUNT}",region="{REGION}",function="greet"}}'
    assert f"# TYPE lambdad_invocations_total counter\nlambdad_invocations_total{labels} 1\n" in text
    assert f"lambdad_duration_seconds_total{labels} 1.5\n" in text


def test_many_different_values_are_rounded() -> None:
    exact = {float(value) + 0.25: 1.0 for value in range(10_000)}
    values = Statistics.of(exact)
    assert values.sum == sum(exact)
    assert len(values.samples) < len(exact) / 2
    assert len(Statistics.of(dict(list(exact.items())[:MAX_SAMPLES])).samples) == MAX_SAMPLES
    median = values.percentile(50)
    assert median is not None
    assert abs(median - 5000) < 50


async def test_unsigned_code_counts_against_the_warning(counting: Counting) -> None:
    for listener in counting.telemetry.unsigned_code_deployed:
        listener(UnsignedCodeDeployed(account=ACCOUNT, region=REGION, function="greet"))
    (point,) = await counting.points("SignatureValidationErrors")
    assert point.sum == 1
