"""Rules of aliases: what they may point to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.functions import LATEST, FunctionVersion


def check_routing(function_version: str, routing: Mapping[str, float]) -> None:
    """Whether an alias may point to `function_version` with these further versions and their weights.

    Bounds of the weights and the form of version numbers are the service model's business. Raises
    InvalidParameterValue in AWS's words (AWS: recorded).
    """
    if len(routing) > 1:
        raise InvalidParameterValue("Number of items in AdditionalVersionWeights cannot be greater than 1")
    if routing and function_version == LATEST:
        raise InvalidParameterValue(
            "$LATEST is not supported for an alias pointing to more than 1 version", typed=False
        )
    if function_version in routing:
        raise InvalidParameterValue(
            f"Invalid function version {function_version}. "
            f"Function version {function_version} is already included in routing configuration."
        )


def check_versions(versions: Sequence[FunctionVersion]) -> None:
    """Whether calls may be split between these versions (AWS Lambda developer guide: what both have to share)."""
    for what, values in (
        ("execution role", {version.role for version in versions}),
        ("dead-letter queue, or have none", {version.dead_letter_target for version in versions}),
        ("package type", {version.package_type for version in versions}),
    ):
        if len(values) > 1:
            raise InvalidParameterValue(f"The versions that an alias splits calls between must have the same {what}.")
