"""What follows an attempt, case by case, and over random lives of events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdad.domain.events import (
    Attempt,
    Event,
    FunctionFailed,
    FunctionGone,
    NotCapable,
    Overdue,
    Recursive,
    RetrySettings,
    Returned,
    SystemFailed,
    Throttled,
)
from lambdad.domain.retries import (
    Condition,
    Decision,
    Finish,
    PutBack,
    RetryAt,
    SetBack,
    after_attempt,
    back_off_ms,
    expiry_ms,
    is_recursive,
)

NOW = 1_000_000_000
RETURNED = Returned(executed_version="$LATEST", payload=b"1")
FAILED = FunctionFailed(executed_version="$LATEST", payload=b"{}")
AGE_MS = 21_600_000


def an_event(*, age_ms: int = 10, attempts: int = 0, setbacks: int = 0) -> Event:
    return Event(
        request_id="id",
        account="000000000000",
        region="us-east-1",
        function="f",
        payload=b"{}",
        accepted_ms=NOW - age_ms,
        attempts=attempts,
        setbacks=setbacks,
    )


SUCCESS = Condition.SUCCESS
EXHAUSTED = Condition.RETRIES_EXHAUSTED
TOO_OLD = Condition.EVENT_AGE_EXCEEDED

CASES: list[tuple[str, Event, Attempt, RetrySettings, Decision]] = [
    ("success", an_event(), RETURNED, RetrySettings(), Finish(SUCCESS, 1)),
    ("success after failures", an_event(attempts=2), RETURNED, RetrySettings(), Finish(SUCCESS, 1)),
    ("success after the age", an_event(age_ms=AGE_MS), RETURNED, RetrySettings(), Finish(SUCCESS, 1)),
    ("first failure", an_event(), FAILED, RetrySettings(), RetryAt(NOW + 60_000, 1)),
    ("second failure", an_event(attempts=1), FAILED, RetrySettings(), RetryAt(NOW + 120_000, 2)),
    ("third failure", an_event(attempts=2), FAILED, RetrySettings(), Finish(EXHAUSTED, 3)),
    ("failure, no retries", an_event(), FAILED, RetrySettings(maximum_retry_attempts=0), Finish(EXHAUSTED, 1)),
    (
        "retries lowered meanwhile",
        an_event(attempts=2),
        FAILED,
        RetrySettings(maximum_retry_attempts=0),
        Finish(EXHAUSTED, 3),
    ),
    ("gone", an_event(), FunctionGone(), RetrySettings(), RetryAt(NOW + 60_000, 1)),
    ("gone, no retries", an_event(), FunctionGone(), RetrySettings(maximum_retry_attempts=0), Finish(EXHAUSTED, 1)),
    (
        "gone, last retry",
        an_event(attempts=1),
        FunctionGone(),
        RetrySettings(maximum_retry_attempts=1),
        Finish(EXHAUSTED, 2),
    ),
    ("age 60, first failure", an_event(), FAILED, RetrySettings(maximum_event_age_s=60), Finish(TOO_OLD, 1)),
    (
        "age 60, failure in the same millisecond",
        an_event(age_ms=0),
        FAILED,
        RetrySettings(maximum_event_age_s=60),
        Finish(TOO_OLD, 1),
    ),
    ("age 90, first failure", an_event(), FAILED, RetrySettings(maximum_event_age_s=90), RetryAt(NOW + 60_000, 1)),
    (
        "age 90, second failure",
        an_event(age_ms=60_020, attempts=1),
        FAILED,
        RetrySettings(maximum_event_age_s=90),
        Finish(TOO_OLD, 2),
    ),
    ("throttle", an_event(), Throttled(), RetrySettings(), PutBack(NOW + 1000)),
    ("throttle after failures", an_event(attempts=2), Throttled(), RetrySettings(), PutBack(NOW + 1000)),
    (
        "throttle near the end of the age",
        an_event(age_ms=AGE_MS - 400),
        Throttled(),
        RetrySettings(),
        PutBack(NOW + 400),
    ),
    ("throttle at the end of the age", an_event(age_ms=AGE_MS), Throttled(), RetrySettings(), Finish(TOO_OLD, 0)),
    ("overdue", an_event(age_ms=AGE_MS, attempts=1), Overdue(), RetrySettings(), Finish(TOO_OLD, 1)),
    ("failure of the service", an_event(), SystemFailed(), RetrySettings(), SetBack(NOW + 1000, 1)),
    ("fourth in a row", an_event(setbacks=3), SystemFailed(), RetrySettings(), SetBack(NOW + 8000, 4)),
    (
        "failure of the service at the end of the age",
        an_event(age_ms=AGE_MS, attempts=1, setbacks=9),
        SystemFailed(),
        RetrySettings(),
        Finish(TOO_OLD, 1),
    ),
    ("reservation 0", an_event(), NotCapable(), RetrySettings(), Finish(Condition.ZERO_RESERVED_CONCURRENCY, 0)),
    ("recursion", an_event(), Recursive(), RetrySettings(), Finish(Condition.RECURSIVE_INVOCATION, 0)),
]


@pytest.mark.parametrize(
    ("event", "attempt", "settings", "decision"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_what_follows(event: Event, attempt: Attempt, settings: RetrySettings, decision: Decision) -> None:
    assert after_attempt(event, attempt, settings, NOW) == decision


def test_throttles_in_a_row_double_the_wait_up_to_five_minutes() -> None:
    waits = [back_off_ms(before) // 1000 for before in range(11)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert back_off_ms(10_000) == 300_000
    assert after_attempt(an_event(), Throttled(), RetrySettings(), NOW, throttles=5) == PutBack(NOW + 32_000)


def test_delays_can_be_set_and_the_last_one_goes_on() -> None:
    assert after_attempt(an_event(), FAILED, RetrySettings(), NOW, retry_delays_s=(0.5,)) == RetryAt(NOW + 500, 1)
    later = after_attempt(an_event(attempts=1), FAILED, RetrySettings(), NOW, retry_delays_s=(0.5,))
    assert later == RetryAt(NOW + 500, 2)


@pytest.mark.parametrize(
    ("trace", "recursive"),
    [
        ("", False),
        ("Root=1-2-3;Parent=4;Sampled=0", False),
        ("Root=1-2-3;Lineage=15:abcdef01:14", False),
        ("Root=1-2-3;Lineage=16:abcdef01:15", True),
        ("Lineage=x:abcdef01:15", False),
    ],
)
def test_the_seventeenth_call_of_a_chain_is_one_too_many(trace: str, recursive: bool) -> None:
    assert is_recursive(trace) is recursive


ATTEMPTS: list[Attempt] = [RETURNED, FAILED, FunctionGone(), Throttled(), SystemFailed(), NotCapable(), Recursive()]


@given(
    retries=st.integers(0, 2),
    age_s=st.integers(60, 21_600),
    history=st.lists(st.tuples(st.sampled_from(ATTEMPTS), st.integers(0, 900_000)), max_size=60),
)
def test_every_life_keeps_the_promises(retries: int, age_s: int, history: list[tuple[Attempt, int]]) -> None:
    """Whatever happens to an event: it runs no more often and no longer than it may, and ends for the right reason."""
    settings = RetrySettings(maximum_retry_attempts=retries, maximum_event_age_s=age_s)
    event, now, throttles, failures = an_event(age_ms=0), NOW, 0, 0
    for what, duration_ms in history:
        attempt = Overdue() if now >= expiry_ms(event, settings) else what
        ran = isinstance(attempt, FunctionFailed | FunctionGone)
        if ran:
            failures += 1
            now += duration_ms
        decision = after_attempt(event, attempt, settings, now, throttles=throttles)
        throttles = throttles + 1 if isinstance(attempt, Throttled) else 0
        match decision:
            case Finish(condition, count):
                assert (condition is SUCCESS) == isinstance(attempt, Returned)
                assert count == (1 if condition is SUCCESS else failures)
                assert failures <= retries + 1
                if condition is EXHAUSTED:
                    assert ran
                    assert failures == retries + 1
                if condition is TOO_OLD and not ran:
                    assert now >= expiry_ms(event, settings)
                return
            case RetryAt(due_ms, attempts):
                assert attempts == failures <= retries
                assert now + 60_000 <= due_ms < expiry_ms(event, settings)
                event = _with(event, attempts=attempts)
                now = due_ms
            case PutBack(resume_ms):
                assert now < resume_ms <= min(now + 300_000, expiry_ms(event, settings))
                now = resume_ms
            case SetBack(due_ms, setbacks):
                assert now < due_ms <= min(now + 300_000, expiry_ms(event, settings))
                assert setbacks == event.setbacks + 1
                event = _with(event, attempts=event.attempts, setbacks=setbacks)
                now = due_ms


def _with(event: Event, *, attempts: int, setbacks: int = 0) -> Event:
    return an_event(age_ms=NOW - event.accepted_ms, attempts=attempts, setbacks=setbacks)
