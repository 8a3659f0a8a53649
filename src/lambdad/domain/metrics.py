"""Metrics as values: what a series is, and the statistics of the values that fell into some time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LAMBDA_NAMESPACE = "AWS/Lambda"
MINUTE_MS = 60_000
MAX_SAMPLES = 500
"""More different values than that are rounded to three digits before they are stored."""

Dimensions = tuple[tuple[str, str], ...]
"""Sorted by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricKey:
    """A series: every combination of dimensions is one of its own."""

    account: str
    region: str
    namespace: str
    name: str
    dimensions: Dimensions = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Some values. `samples` tells how often each was there; empty when only the rest is known."""

    count: float
    sum: float
    minimum: float
    maximum: float
    samples: Mapping[float, float]

    @staticmethod
    def of(samples: Mapping[float, float]) -> Statistics:
        """Of at least one value."""
        if len(samples) > MAX_SAMPLES:
            rounded: dict[float, float] = {}
            for value, count in samples.items():
                short = float(f"{value:.3g}")
                rounded[short] = rounded.get(short, 0) + count
        else:
            rounded = dict(samples)
        return Statistics(
            count=sum(samples.values()),
            sum=math.fsum(value * count for value, count in samples.items()),
            minimum=min(samples),
            maximum=max(samples),
            samples=rounded,
        )

    def percentile(self, percent: float) -> float | None:
        """The smallest value that so many per cent are not above; None when the values are not known."""
        if not self.samples:
            return None
        wanted = self.count * percent / 100
        seen = 0.0
        for value in sorted(self.samples):
            seen += self.samples[value]
            if seen >= wanted:
                return value
        return self.maximum


def merged(parts: Iterable[Statistics]) -> Statistics:
    """All values of at least one part together."""
    every = list(parts)
    samples: dict[float, float] = {}
    for part in every:
        for value, count in part.samples.items():
            samples[value] = samples.get(value, 0) + count
    return Statistics(
        count=sum(part.count for part in every),
        sum=math.fsum(part.sum for part in every),
        minimum=min(part.minimum for part in every),
        maximum=max(part.maximum for part in every),
        samples=samples if all(part.samples for part in every) else {},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Values of one series around one moment; Unix milliseconds."""

    key: MetricKey
    at_ms: int
    unit: str
    values: Statistics


def function_dimensions(function: str, qualifier: str, version: str = "") -> list[Dimensions]:
    """The series that one call of a function counts for (AWS Lambda developer guide).

    `qualifier` is as addressed; `version` is what ran, which is a dimension for aliases and an explicit `$LATEST`.
    """
    name = ("FunctionName", function)
    resource = ("Resource", f"{function}:{qualifier}" if qualifier else function)
    found: list[Dimensions] = [(), (name,), (name, resource)]
    if version and qualifier and not qualifier.isdigit():
        found.append((("ExecutedVersion", version), name, resource))
    return found
