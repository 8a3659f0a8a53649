"""What aliases may point to."""

from __future__ import annotations

import pytest

from lambdad.domain.aliases import check_routing
from lambdad.domain.errors import InvalidParameterValue


@pytest.mark.parametrize(
    ("version", "routing", "text"),
    [
        ("1", {"2": 0.1, "3": 0.1}, "Number of items in AdditionalVersionWeights cannot be greater than 1"),
        ("$LATEST", {"1": 0.1}, "$LATEST is not supported for an alias pointing to more than 1 version"),
        (
            "1",
            {"1": 0.5},
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
        ),
    ],
)
def test_refused_routing(version: str, routing: dict[str, float], text: str) -> None:
    with pytest.raises(InvalidParameterValue) as error:
        check_routing(version, routing)
    assert error.value.message == text
    assert error.value.typed is not version.startswith("$")


@pytest.mark.parametrize(("version", "routing"), [("$LATEST", {}), ("1", {"2": 1.0}), ("1", {})])
def test_routing(version: str, routing: dict[str, float]) -> None:
    check_routing(version, routing)
