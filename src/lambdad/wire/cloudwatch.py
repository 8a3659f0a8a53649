"""CloudWatch metrics on the wire, in JSON 1.0 and in the query form. Alarms, dashboards and math are not offered."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from lambdad.domain.errors import ServiceError
from lambdad.domain.metrics import Dimensions, MetricKey, Point, Statistics
from lambdad.neighbours.cloudwatch.service import (
    STATISTICS,
    CloudWatchService,
    Wanted,
    check_count,
    check_period,
    invalid,
    percent_of,
    statistic,
)
from lambdad.wire.service import Answer, ApiCall, Handler, Service

MAX_QUERIES = 500


def cloudwatch_service(cloudwatch: CloudWatchService, time_ms: Callable[[], int]) -> Service:
    """The service for the front door; `time_ms()` is the moment of points that name none."""
    return Service(name="cloudwatch", signing_names=("monitoring",), handlers=handlers(cloudwatch, time_ms))


def handlers(cloudwatch: CloudWatchService, time_ms: Callable[[], int]) -> dict[str, Handler]:
    made = _Handlers(cloudwatch, time_ms)
    return {
        "PutMetricData": made.put,
        "ListMetrics": made.list_metrics,
        "GetMetricStatistics": made.statistics,
        "GetMetricData": made.data,
    }


class _Handlers:
    def __init__(self, cloudwatch: CloudWatchService, time_ms: Callable[[], int]) -> None:
        self._cloudwatch = cloudwatch
        self._time_ms = time_ms

    async def put(self, call: ApiCall) -> Answer:
        namespace = call.params["Namespace"]
        if namespace.startswith("AWS/"):
            raise invalid("The value AWS/ for parameter Namespace is invalid: it is kept for AWS's own services.")
        data = call.params.get("MetricData") or []
        await self._cloudwatch.put([self._point(call, namespace, datum) for datum in data])
        return Answer()

    async def list_metrics(self, call: ApiCall) -> Answer:
        params = call.params
        found, token = await self._cloudwatch.series(
            call.caller.account,
            call.caller.region,
            namespace=params.get("Namespace"),
            name=params.get("MetricName"),
            dimensions=[(one["Name"], one.get("Value")) for one in params.get("Dimensions") or []],
            recently=params.get("RecentlyActive") == "PT3H",
            token=params.get("NextToken"),
        )
        members: dict[str, Any] = {
            "Metrics": [
                {
                    "Namespace": key.namespace,
                    "MetricName": key.name,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in key.dimensions],
                }
                for key in found
            ]
        }
        return Answer(members=members | ({"NextToken": token} if token else {}))

    async def statistics(self, call: ApiCall) -> Answer:
        params = call.params
        plain, extended = params.get("Statistics") or [], params.get("ExtendedStatistics") or []
        if not plain and not extended:
            raise ServiceError("MissingParameter", "The parameter Statistics or ExtendedStatistics is required.")
        for name in extended:
            percent_of(name)
        wanted = _wanted(call, params, params["StartTime"], params["EndTime"])
        check_count(wanted.start_ms, wanted.end_ms, wanted.period_s)
        points = []
        for found in await self._cloudwatch.datapoints(wanted):
            point: dict[str, Any] = {"Timestamp": _time(found.at_ms), "Unit": found.unit}
            point |= {name: statistic(found.values, name) for name in STATISTICS if name in plain}
            percentiles = {name: statistic(found.values, name) for name in extended}
            if percentiles and None not in percentiles.values():
                point["ExtendedStatistics"] = percentiles
            points.append(point)
        return Answer(members={"Label": params["MetricName"], "Datapoints": points})

    async def data(self, call: ApiCall) -> Answer:
        params = call.params
        newest_first = params.get("ScanBy") != "TimestampAscending"
        results = []
        seen: set[str] = set()
        if len(params["MetricDataQueries"]) > MAX_QUERIES:
            raise ServiceError("ValidationError", f"A call may have {MAX_QUERIES} queries at most.")
        for query in params["MetricDataQueries"]:
            if not re.fullmatch(r"[a-z][A-Za-z0-9_]*", query["Id"]):
                raise ServiceError(
                    "ValidationError",
                    f"The id {query['Id']} must begin with a lower-case letter, and have only "
                    "letters, digits and underscores.",
                )
            if query["Id"] in seen:
                raise ServiceError("ValidationError", f"The id {query['Id']} is used by more than one query.")
            seen.add(query["Id"])
            stat = query.get("MetricStat")
            if stat is None:
                raise ServiceError(
                    "ValidationError", "lambdad offers no expressions: ask for a metric with MetricStat instead."
                )
            found = await self._values(call, stat, params["StartTime"], params["EndTime"])
            if newest_first:
                found.reverse()
            if query.get("ReturnData") is False:
                continue
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query.get("Label") or stat["Metric"]["MetricName"],
                    "Timestamps": [_time(at_ms) for at_ms, _ in found],
                    "Values": [value for _, value in found],
                    "StatusCode": "Complete",
                }
            )
        return Answer(members={"MetricDataResults": results, "Messages": []})

    async def _values(
        self, call: ApiCall, stat: dict[str, Any], start: datetime, end: datetime
    ) -> list[tuple[int, float]]:
        if stat["Stat"] not in STATISTICS:
            percent_of(stat["Stat"])
        metric = {**stat["Metric"], "Period": stat["Period"], "Unit": stat.get("Unit")}
        points = await self._cloudwatch.datapoints(_wanted(call, metric, start, end))
        values = [(point.at_ms, statistic(point.values, stat["Stat"])) for point in points]
        return [(at_ms, value) for at_ms, value in values if value is not None]

    def _point(self, call: ApiCall, namespace: str, datum: dict[str, Any]) -> Point:
        at = datum.get("Timestamp")
        return Point(
            key=_key(call, namespace, datum["MetricName"], datum.get("Dimensions")),
            at_ms=self._time_ms() if at is None else _ms(at),
            unit=datum.get("Unit") or "None",
            values=_statistics(datum),
        )


def _statistics(datum: dict[str, Any]) -> Statistics:
    given = datum.get("StatisticValues")
    if given is not None:
        minimum, maximum, count = given["Minimum"], given["Maximum"], given["SampleCount"]
        samples = {minimum: count} if minimum == maximum else {}
        return Statistics(count=count, sum=given["Sum"], minimum=minimum, maximum=maximum, samples=samples)
    values = datum.get("Values") or ([datum["Value"]] if datum.get("Value") is not None else [])
    counts = datum.get("Counts") or [1.0] * len(values)
    if not values or len(values) != len(counts):
        raise invalid("A metric datum needs Value, StatisticValues, or Values with as many Counts.")
    samples = {}
    for value, count in zip(values, counts, strict=True):
        samples[value] = samples.get(value, 0.0) + count
    return Statistics.of(samples)


def _wanted(call: ApiCall, metric: dict[str, Any], start: datetime, end: datetime) -> Wanted:
    start_ms, end_ms, period_s = _ms(start), _ms(end), metric["Period"]
    check_period(start_ms, end_ms, period_s)
    return Wanted(
        key=_key(call, metric.get("Namespace") or "", metric.get("MetricName") or "", metric.get("Dimensions")),
        start_ms=start_ms,
        end_ms=end_ms,
        period_s=period_s,
        unit=metric.get("Unit"),
    )


def _key(call: ApiCall, namespace: str, name: str, given: list[dict[str, str]] | None) -> MetricKey:
    dimensions: Dimensions = tuple(sorted((one["Name"], one["Value"]) for one in given or []))
    caller = call.caller
    return MetricKey(
        account=caller.account, region=caller.region, namespace=namespace, name=name, dimensions=dimensions
    )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
