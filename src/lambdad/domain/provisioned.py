"""Provisioned concurrency: environments of a version that are kept initialised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.functions import LATEST, Alias

INITIALIZATION_TYPE = "provisioned-concurrency"
"""What such environments read in AWS_LAMBDA_INITIALIZATION_TYPE (AWS Lambda developer guide)."""
INIT_FAILED = "FUNCTION_ERROR_INIT_FAILURE"
"""StatusReason when init does not end well (AWS: recorded 2026-02)."""


class ProvisionedStatus(StrEnum):
    """AWS's words (botocore model)."""

    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedConfig:
    """What was asked for one qualifier of a function, which is the number of a version or the name of an alias."""

    account: str
    region: str
    function: str
    qualifier: str
    requested: int
    last_modified: str
    """As AWS prints it: `2026-11-21T19:32:12+0000`."""

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.function}:{self.qualifier}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """How far the environments of a configuration have come."""

    status: ProvisionedStatus = ProvisionedStatus.IN_PROGRESS
    allocated: int = 0
    """Environments that stand ready for its calls or run them; the same as are available, because one that breaks is
    let go of at once."""
    reason: str | None = None


def last_modified(moment: datetime) -> str:
    """`moment` is in UTC (AWS CLI reference, example of put-provisioned-concurrency-config)."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}+0000"


def shares(requested: int, qualifier: str, alias: Alias | None) -> dict[str, int]:
    """Environments by version. What an alias has goes to the versions it leads to, by its weights (AWS Lambda
    developer guide: the amount fluctuates while an alias shifts; how it is rounded is our choice)."""
    if alias is None:
        return {qualifier: requested}
    shared: dict[str, int] = {}
    for version, weight in alias.routing.items():
        shared[version] = round(requested * weight)
    shared[alias.function_version] = requested - sum(shared.values())
    return {version: number for version, number in shared.items() if number > 0}


def all_shares(
    requested: Mapping[str, int], aliases: Mapping[str, Alias], versions: Iterable[str]
) -> dict[str, dict[str, int]]:
    """By qualifier, then version. A qualifier that stands for nothing any more has no shares."""
    known = set(versions)
    found: dict[str, dict[str, int]] = {}
    for qualifier, number in requested.items():
        alias = aliases.get(qualifier)
        if alias is not None or qualifier in known:
            found[qualifier] = shares(number, qualifier, alias)
    return found


def unpublished() -> InvalidParameterValue:
    """`$LATEST` cannot have provisioned concurrency (AWS: recorded 2025-11), nor an alias of it."""
    return InvalidParameterValue("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")


def check_alias(alias: Alias) -> None:
    """Raises InvalidParameterValue for an alias of `$LATEST`, and for one with weights: that cannot be given
    provisioned concurrency, while one that has it may get weights (AWS Lambda developer guide; the text was seen in
    public reports)."""
    if alias.function_version == LATEST:
        raise unpublished()
    if alias.routing:
        raise InvalidParameterValue("Alias with weights can not be used with Provisioned Concurrency")
