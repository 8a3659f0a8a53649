"""Points of metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lambdad.domain.metrics import Dimensions, MetricKey, Point, Statistics
from lambdad.storage.engine import Engine, Row, Transaction


def put(tx: Transaction, points: Sequence[Point]) -> None:
    """Stores points; series that are new come to be."""
    ids: dict[MetricKey, int] = {}
    for point in points:
        if point.key not in ids:
            ids[point.key] = _series_id(tx, point)
    tx.run_many(
        "INSERT INTO metric_point (series_id, at_ms, unit, count, sum, minimum, maximum, samples)"
        " VALUES (:series_id, :at_ms, :unit, :count, :sum, :minimum, :maximum, :samples)",
        [_columns(ids[point.key], point) for point in points],
    )


async def values(
    engine: Engine, key: MetricKey, start_ms: int, end_ms: int, unit: str | None
) -> list[tuple[int, str, Statistics]]:
    """Moment, unit and values of the points from `start_ms` to before `end_ms`, in the order of time."""
    rows = await engine.read(
        "SELECT at_ms, unit, count, sum, minimum, maximum, samples FROM metric_point"
        " WHERE series_id = (SELECT id FROM metric_series WHERE account = :account AND region = :region"
        " AND namespace = :namespace AND name = :name AND dimensions = :dimensions)"
        " AND at_ms >= :start_ms AND at_ms < :end_ms AND (:unit IS NULL OR unit = :unit) ORDER BY at_ms",
        {**_key(key), "start_ms": start_ms, "end_ms": end_ms, "unit": unit},
    )
    return [(row[0], row[1], _statistics(row[2:])) for row in rows]


async def series(engine: Engine, account: str, region: str, since_ms: int) -> list[MetricKey]:
    """The series that have points since some moment, by namespace, name and dimensions."""
    rows = await engine.read(
        "SELECT namespace, name, dimensions FROM metric_series"
        " WHERE account = :account AND region = :region AND last_ms >= :since_ms ORDER BY namespace, name, dimensions",
        {"account": account, "region": region, "since_ms": since_ms},
    )
    return [
        MetricKey(account=account, region=region, namespace=row[0], name=row[1], dimensions=_dimensions(row[2]))
        for row in rows
    ]


def forget_before(tx: Transaction, at_ms: int, limit: int) -> int:
    """Removes old points, `limit` at most; how many. Series go with the last of theirs."""
    tx.run("DELETE FROM metric_series WHERE last_ms < :at_ms", {"at_ms": at_ms})
    return tx.run(
        "DELETE FROM metric_point WHERE rowid IN (SELECT rowid FROM metric_point WHERE at_ms < :at_ms LIMIT :limit)",
        {"at_ms": at_ms, "limit": limit},
    )


def delete_everything(tx: Transaction) -> None:
    """For a reset."""
    tx.run("DELETE FROM metric_point")
    tx.run("DELETE FROM metric_series")


def _series_id(tx: Transaction, point: Point) -> int:
    row = tx.one(
        "INSERT INTO metric_series (account, region, namespace, name, dimensions, last_ms)"
        " VALUES (:account, :region, :namespace, :name, :dimensions, :at_ms)"
        " ON CONFLICT (account, region, namespace, name, dimensions)"
        " DO UPDATE SET last_ms = MAX(last_ms, excluded.last_ms) RETURNING id",
        {**_key(point.key), "at_ms": point.at_ms},
    )
    assert row is not None
    series_id: int = row[0]
    return series_id


def _key(key: MetricKey) -> dict[str, object]:
    return {
        "account": key.account,
        "region": key.region,
        "namespace": key.namespace,
        "name": key.name,
        "dimensions": json.dumps(key.dimensions, separators=(",", ":")),
    }


def _columns(series_id: int, point: Point) -> dict[str, object]:
    values = point.values
    is_plain = len(values.samples) == 1
    return {
        "series_id": series_id,
        "at_ms": point.at_ms,
        "unit": point.unit,
        "count": values.count,
        "sum": values.sum,
        "minimum": values.minimum,
        "maximum": values.maximum,
        "samples": None if is_plain or not values.samples else json.dumps(list(values.samples.items())),
    }


def _statistics(row: Row) -> Statistics:
    count, total, minimum, maximum, samples = row
    known = {minimum: count} if samples is None and minimum == maximum else {}
    if samples is not None:
        known = {float(value): float(often) for value, often in json.loads(samples)}
    return Statistics(count=count, sum=total, minimum=minimum, maximum=maximum, samples=known)


def _dimensions(document: str) -> Dimensions:
    return tuple((name, value) for name, value in json.loads(document))
