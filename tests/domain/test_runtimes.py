"""The table of runtime identifiers."""

from __future__ import annotations

from lambdad.domain.runtimes import FUNCTION_VALUE_SET, LAYER_VALUE_SET, RETIRED, RUNTIMES, Family


def test_everything_the_recorded_refusal_lists_is_accepted() -> None:
    assert set(FUNCTION_VALUE_SET) <= set(RUNTIMES)
    assert len(set(FUNCTION_VALUE_SET)) == 25


def test_the_layer_list_is_the_recorded_one() -> None:
    assert len(set(LAYER_VALUE_SET)) == 56
    assert LAYER_VALUE_SET[0] == "ruby3.5"
    assert LAYER_VALUE_SET[-1] == "python2.7"


def test_retired_identifiers_are_not_accepted() -> None:
    assert not RETIRED & set(RUNTIMES)
    # Recorded refusals of January 2026.
    assert {"java8", "go1.x", "provided", "ruby2.7", "nodejs12.x", "nodejs14.x", "python3.7"} <= RETIRED
    assert "dotnetcore3.1" in RETIRED


def test_identifiers_come_apart_into_family_and_version() -> None:
    parts = {name: (RUNTIMES[name].family, RUNTIMES[name].version) for name in RUNTIMES}
    assert parts["python3.12"] == (Family.PYTHON, "3.12")
    assert parts["nodejs22.x"] == (Family.NODEJS, "22")
    assert parts["provided.al2023"] == (Family.PROVIDED, "al2023")
    assert parts["java8.al2"] == (Family.JAVA, "8.al2")
