"""Rules of extensions."""

from __future__ import annotations

import pytest

from lambdad.domain.extensions import (
    NEXT_STATE,
    WANTED,
    Call,
    Event,
    Refused,
    State,
    checked_events,
    crash_reason,
    shutdown_budget_s,
    visible_variables,
    wrong_order,
)


def test_every_state_has_a_row_and_every_call_of_an_extension_a_word() -> None:
    assert set(NEXT_STATE) == set(State)
    assert {call for row in NEXT_STATE.values() for call in row} <= set(Call)
    assert set(WANTED) == {Call.REGISTER, Call.NEXT, Call.INIT_ERROR, Call.EXIT_ERROR}


def test_events_are_taken_once_and_in_order() -> None:
    assert checked_events(["SHUTDOWN", "INVOKE", "SHUTDOWN"], is_external=True) == (Event.SHUTDOWN, Event.INVOKE)
    assert checked_events([], is_external=True) == ()
    assert checked_events(None, is_external=False) == ()


@pytest.mark.parametrize(
    ("given", "is_external", "error_type"),
    [
        (["invoke"], True, "Extension.InvalidEventType"),
        ([1], True, "Extension.InvalidEventType"),
        (["SHUTDOWN"], False, "Extension.InvalidEventType"),
        ("INVOKE", True, "InvalidRequestFormat"),
        ({}, True, "InvalidRequestFormat"),
    ],
)
def test_other_events_are_refused(given: object, is_external: bool, error_type: str) -> None:
    with pytest.raises(Refused) as refusal:
        checked_events(given, is_external=is_external)
    assert refusal.value.error_type == error_type


def test_a_refusal_names_both_states() -> None:
    assert str(wrong_order("watcher", State.READY, Call.REGISTER)) == (
        "State transition from Ready to Registered failed for extension watcher. Error: State transition is not allowed"
    )


@pytest.mark.parametrize(
    ("external", "internal", "seconds"), [(False, False, 0), (False, True, 0.5), (True, False, 2), (True, True, 2)]
)
def test_the_time_to_end_in(external: bool, internal: bool, seconds: float) -> None:
    assert shutdown_budget_s(external=external, internal=internal) == seconds


def test_what_extensions_do_not_see() -> None:
    variables = {"_HANDLER": "h", "LAMBDA_TASK_ROOT": "/var/task", "AWS_LAMBDA_FUNCTION_NAME": "f", "MINE": "1"}
    assert visible_variables(variables) == {"AWS_LAMBDA_FUNCTION_NAME": "f", "MINE": "1"}


def test_the_words_for_a_crash() -> None:
    assert crash_reason(0, "") == "exit code 0"
    assert crash_reason(None, "killed") == "signal: killed"
