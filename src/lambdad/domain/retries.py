"""What follows an attempt of an event: one pure rule.

Function errors use up attempts and come back after one minute, then two. Throttles and failures of the service use up
nothing and come back after one second to five minutes, until the event's age runs out (AWS Lambda developer guide).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

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
from lambdad.domain.traces import lineage_depth, parse

RETRY_DELAYS_S: tuple[float, ...] = (60.0, 120.0)
"""Before the second and the third attempt (AWS: measured 60.2 s and 114.2 s)."""
FIRST_BACK_OFF_S = 1.0
LONGEST_BACK_OFF_S = 300.0
LONGEST_CHAIN = 16
"""So many invocations of a recursive chain run (AWS: captured 2026)."""


class Condition(StrEnum):
    """How an event ended; the words of invocation records."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    ZERO_RESERVED_CONCURRENCY = "ZeroReservedConcurrency"
    RECURSIVE_INVOCATION = "RecursiveInvocation"


@dataclass(frozen=True, slots=True)
class Finish:
    """The event ends."""

    condition: Condition
    invoke_count: int
    """What the record tells as `approximateInvokeCount`."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """The function runs it again; one attempt more is used up."""

    due_ms: int
    attempts: int


@dataclass(frozen=True, slots=True)
class PutBack:
    """Back to its old place in the queue; the whole function waits until `resume_ms`."""

    resume_ms: int


@dataclass(frozen=True, slots=True)
class SetBack:
    """Back to its old place in the queue at `due_ms`; other events of the function go on."""

    due_ms: int
    setbacks: int


Decision = Finish | RetryAt | PutBack | SetBack


def after_attempt(  # noqa: PLR0911 - one rule, a line for each of its cases
    event: Event,
    attempt: Attempt,
    settings: RetrySettings,
    now_ms: int,
    *,
    throttles: int = 0,
    retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
) -> Decision:
    """What becomes of an event. `throttles` counts the refusals in a row that its function has met before this one."""
    expires_ms = expiry_ms(event, settings)
    match attempt:
        case Returned():
            # 1 also when earlier attempts failed (AWS: captured 2026).
            return Finish(Condition.SUCCESS, 1)
        case FunctionFailed() | FunctionGone():
            ran = event.attempts + 1
            if ran > settings.maximum_retry_attempts:
                return Finish(Condition.RETRIES_EXHAUSTED, ran)
            due_ms = now_ms + _retry_delay_ms(ran, retry_delays_s)
            # Decided before the wait, not after it (AWS: recorded 2025-11). An attempt at the very end of the age
            # would come too late as well: AWS's delay of 60 s never fits into an age of 60 s.
            if due_ms >= expires_ms:
                return Finish(Condition.EVENT_AGE_EXCEEDED, ran)
            return RetryAt(due_ms, ran)
        case NotCapable():
            return Finish(Condition.ZERO_RESERVED_CONCURRENCY, event.attempts)
        case Recursive():
            return Finish(Condition.RECURSIVE_INVOCATION, event.attempts)
        case Overdue():
            return Finish(Condition.EVENT_AGE_EXCEEDED, event.attempts)
        case Throttled():
            if now_ms >= expires_ms:
                return Finish(Condition.EVENT_AGE_EXCEEDED, event.attempts)
            # No look ahead: the event may run up to the end of its age, and ends exactly there if it could not.
            return PutBack(min(now_ms + back_off_ms(throttles), expires_ms))
        case SystemFailed():
            if now_ms >= expires_ms:
                return Finish(Condition.EVENT_AGE_EXCEEDED, event.attempts)
            return SetBack(min(now_ms + back_off_ms(event.setbacks), expires_ms), event.setbacks + 1)


def expiry_ms(event: Event, settings: RetrySettings) -> int:
    """The moment from which on no attempt of the event begins."""
    return event.accepted_ms + settings.maximum_event_age_s * 1000


def back_off_ms(before: int) -> int:
    """The wait after a throttle or failure of the service with so many before it: 1 s, doubled up to 5 min."""
    return int(min(FIRST_BACK_OFF_S * 2.0 ** min(before, 30), LONGEST_BACK_OFF_S) * 1000)


def is_recursive(trace: str) -> bool:
    """Whether a call with this trace header would be one too many of a recursive chain."""
    return bool(trace) and lineage_depth(parse(trace).get("Lineage", "")) >= LONGEST_CHAIN


def _retry_delay_ms(ran: int, delays_s: Sequence[float]) -> int:
    return int(delays_s[min(ran, len(delays_s)) - 1] * 1000)
