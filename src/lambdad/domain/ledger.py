"""What became of one asynchronous event, step by step. Times are Unix milliseconds of the service's clock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lambdad.domain.events import (
    Attempt,
    Event,
    FunctionFailed,
    FunctionGone,
    NotCapable,
    Overdue,
    Recursive,
    Returned,
    SystemFailed,
    Throttled,
)
from lambdad.domain.retries import Decision, Finish, PutBack, RetryAt, SetBack

Step = Mapping[str, Any]
"""A JSON object with `kind` and `at_ms`; the other members depend on the kind."""

MAX_STEPS = 250
"""Beyond it the middle is left out: an event that is throttled for six hours has about 80 steps."""
KEPT_ENDS = 100
MESSAGE_CHARACTERS = 500
_ERROR_BYTES = 262_144

_REFUSALS: dict[type[Attempt], str] = {
    FunctionGone: "the function, version or alias does not exist any more",
    Throttled: "throttled",
    NotCapable: "the reserved concurrency is 0",
    SystemFailed: "the service failed, or was stopped in the middle of an attempt",
    Recursive: "recursion detection stopped the chain of calls",
    Overdue: "the age of the event ran out",
}


class EventState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is known of an attempt that ran, beside its answer."""

    started_ms: int
    ended_ms: int
    duration_ms: float
    error_type: str
    log_group: str
    log_stream: str
    """Its log lies between the two times in this stream, from START to REPORT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One event as the ledger shows it."""

    place: int
    """Grows with every accepted event; pages of the ledger are cut by it."""
    request_id: str
    account: str
    region: str
    function: str
    qualifier: str
    state: EventState
    accepted_ms: int
    due_ms: int | None = None
    """When a waiting event is due."""
    held_until_ms: int | None = None
    """Until when the whole function waits after throttles."""
    ended_ms: int | None = None
    condition: str = ""
    attempts: int = 0
    steps: Sequence[Step] = ()
    payload: bytes | None = None
    trace: str = ""


def steps_of(event: Event, attempt: Attempt, run: Run | None, decision: Decision, now_ms: int) -> list[Step]:
    """What one attempt and the decision after it add. Deliveries and the end come apart."""
    if isinstance(attempt, Returned | FunctionFailed):
        steps: list[Step] = [_attempt_step(event, attempt, run, now_ms)]
    else:
        steps = [{"kind": "refused", "at_ms": now_ms, "reason": _REFUSALS[type(attempt)]}]
    match decision:
        case RetryAt():
            steps.append({"kind": "wait", "at_ms": now_ms, "until_ms": decision.due_ms, "reason": "retry"})
        case PutBack():
            steps.append({"kind": "wait", "at_ms": now_ms, "until_ms": decision.resume_ms, "reason": "throttled"})
        case SetBack():
            steps.append({"kind": "wait", "at_ms": now_ms, "until_ms": decision.due_ms, "reason": "service failure"})
        case Finish():
            pass
    return steps


def end_step(finish: Finish, now_ms: int) -> Step:
    return {"kind": "end", "at_ms": now_ms, "condition": finish.condition.value, "invoke_count": finish.invoke_count}


def delivery_step(target_arn: str, now_ms: int, *, is_dead_letter: bool, result: str, reason: str = "") -> Step:
    """`result` is `delivered`, `queued` for a target outside of this server, or `failed`."""
    what = "dead letter" if is_dead_letter else "record"
    step = {"kind": "delivery", "at_ms": now_ms, "what": what, "target": target_arn, "result": result}
    return step | {"reason": reason} if reason else step


def shortened(steps: Sequence[Step]) -> list[Step]:
    """At most MAX_STEPS steps, the first and the last ones."""
    if len(steps) <= MAX_STEPS:
        return list(steps)
    left_out = {"kind": "left out", "at_ms": steps[KEPT_ENDS]["at_ms"], "steps": len(steps) - 2 * KEPT_ENDS}
    return [*steps[:KEPT_ENDS], left_out, *steps[-KEPT_ENDS:]]


def _attempt_step(event: Event, attempt: Returned | FunctionFailed, run: Run | None, now_ms: int) -> Step:
    step: dict[str, Any] = {
        "kind": "attempt",
        "at_ms": run.started_ms if run else now_ms,
        "number": event.attempts + 1,
        "outcome": "success" if isinstance(attempt, Returned) else "error",
        "version": attempt.executed_version,
    }
    if run is not None:
        step |= {
            "ended_ms": run.ended_ms,
            "duration_ms": round(run.duration_ms, 2),
            "log_group": run.log_group,
            "log_stream": run.log_stream,
        }
    if isinstance(attempt, FunctionFailed):
        error_type, message = _error(attempt.payload)
        step["error_type"] = error_type or (run.error_type if run else "")
        if message:
            step["error_message"] = message
    return step


def _error(payload: bytes) -> tuple[str, str]:
    """Type and message of an error's payload; empty when it has another form."""
    if len(payload) > _ERROR_BYTES:
        return "", ""
    try:
        members = json.loads(payload)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(members, dict):
        return "", ""
    error_type, message = members.get("errorType"), members.get("errorMessage")
    return (
        error_type[:MESSAGE_CHARACTERS] if isinstance(error_type, str) else "",
        message[:MESSAGE_CHARACTERS] if isinstance(message, str) else "",
    )
