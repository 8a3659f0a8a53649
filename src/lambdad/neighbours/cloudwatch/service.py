"""CloudWatch metrics over one engine: putting, listing, and reading by period."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lambdad.clock import Clock
from lambdad.domain.errors import ServiceError
from lambdad.domain.metrics import Dimensions, MetricKey, Point, Statistics, merged
from lambdad.neighbours.cloudwatch.collector import Collector
from lambdad.storage import metrics
from lambdad.storage.engine import Engine

LISTED_MS = 14 * 86_400_000
"""ListMetrics shows series with points of the last two weeks."""
RECENT_MS = 3 * 3_600_000
PAGE = 500
PAST_MS, AHEAD_MS = 14 * 86_400_000, 2 * 3_600_000
"""How old a point that is put may be, and how far in the future (AWS: API reference of PutMetricData)."""
MAX_DATA = 1000
MAX_DATAPOINTS = 1440
STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")


def invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterValue", message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which values of a series: periods in seconds, times in Unix milliseconds, the end not included."""

    key: MetricKey
    start_ms: int
    end_ms: int
    period_s: int
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Datapoint:
    """The values of one period."""

    at_ms: int
    unit: str
    values: Statistics


class CloudWatchService:
    """What a call of this moment sees includes the calls of functions that have just ended."""

    def __init__(self, engine: Engine, clock: Clock, collector: Collector) -> None:
        self._engine = engine
        self._clock = clock
        self._collector = collector

    async def put(self, points: Sequence[Point]) -> None:
        """Raises a ServiceError for points that are too many, too old or too far ahead."""
        if len(points) > MAX_DATA:
            raise invalid(f"The collection MetricData must not have a size greater than {MAX_DATA}.")
        now_ms = self._clock.time_ms()
        for number, point in enumerate(points, start=1):
            if not now_ms - PAST_MS <= point.at_ms <= now_ms + AHEAD_MS:
                raise invalid(
                    f"The parameter MetricData.member.{number}.Timestamp must specify a time no more than two weeks "
                    "in the past and no more than two hours in the future."
                )
        await self._engine.write(lambda tx: metrics.put(tx, points))

    async def series(
        self,
        account: str,
        region: str,
        *,
        namespace: str | None,
        name: str | None,
        dimensions: Iterable[tuple[str, str | None]],
        recently: bool,
        token: str | None,
    ) -> tuple[list[MetricKey], str | None]:
        """One page of the series, and the token of the next. A dimension without value means any."""
        await self._collector.flush()
        since_ms = self._clock.time_ms() - (RECENT_MS if recently else LISTED_MS)
        wanted = list(dimensions)
        found = [
            key
            for key in await metrics.series(self._engine, account, region, since_ms)
            if namespace in (None, key.namespace) and name in (None, key.name) and _has(key.dimensions, wanted)
        ]
        if token is not None and not re.fullmatch(r"[0-9]{1,9}", token):
            raise ServiceError("InvalidNextToken", "The next token specified is invalid.")
        start = int(token or 0)
        return found[start : start + PAGE], str(start + PAGE) if len(found) > start + PAGE else None

    async def datapoints(self, wanted: Wanted) -> list[Datapoint]:
        """One for each period that has values, in the order of time."""
        await self._collector.flush()
        period_ms = wanted.period_s * 1000
        start_ms = wanted.start_ms - wanted.start_ms % period_ms
        periods: dict[int, list[Statistics]] = {}
        units: dict[int, str] = {}
        for at_ms, unit, values in await metrics.values(self._engine, wanted.key, start_ms, wanted.end_ms, wanted.unit):
            begins_ms = at_ms - at_ms % period_ms
            periods.setdefault(begins_ms, []).append(values)
            units.setdefault(begins_ms, unit)
        return [Datapoint(at_ms=at_ms, unit=units[at_ms], values=merged(parts)) for at_ms, parts in periods.items()]


def check_period(start_ms: int, end_ms: int, period_s: int) -> None:
    """Raises a ServiceError for times and periods that do not go together."""
    if start_ms >= end_ms:
        raise invalid("The parameter StartTime must be less than the parameter EndTime.")
    if period_s not in (1, 5, 10, 20, 30) and (period_s < 60 or period_s % 60):
        raise invalid("The parameter Period must be 1, 5, 10, 20, 30, or a multiple of 60.")


def check_count(start_ms: int, end_ms: int, period_s: int) -> None:
    """Raises a ServiceError when there may be more datapoints than GetMetricStatistics gives."""
    count = (end_ms - start_ms) // (period_s * 1000)
    if count > MAX_DATAPOINTS:
        raise ServiceError(
            "InvalidParameterCombination",
            f"You have requested up to {count:,} datapoints, which exceeds the limit of {MAX_DATAPOINTS:,}. You may "
            "reduce the datapoints requested by increasing Period, or decreasing the time range.",
        )


def statistic(values: Statistics, name: str) -> float | None:
    """`Sum`, `p99`…; None when it cannot be told from what is known. Raises a ServiceError for an unknown one."""
    match name:
        case "SampleCount":
            return values.count
        case "Average":
            return values.sum / values.count if values.count else None
        case "Sum":
            return values.sum
        case "Minimum":
            return values.minimum
        case "Maximum":
            return values.maximum
    return values.percentile(percent_of(name))


def percent_of(name: str) -> float:
    """The number of a percentile such as `p99.9`. Raises a ServiceError for anything else."""
    found = re.fullmatch(r"p(\d{1,2}(?:\.\d{1,10})?|100)", name)
    if found is None:
        raise ServiceError(
            "ValidationError",
            f"The statistic {name} is not offered by lambdad: it has {', '.join(STATISTICS)} and percentiles (p99).",
        )
    return float(found[1])


def _has(dimensions: Dimensions, wanted: Iterable[tuple[str, str | None]]) -> bool:
    known = dict(dimensions)
    return all(name in known and value in (None, known[name]) for name, value in wanted)
