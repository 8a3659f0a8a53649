"""Lambda extensions: their states, what they may subscribe to, what they see, how long they may take to end.

An external extension is a program of its own in /opt/extensions; an internal one runs inside the runtime's process.
Sources are the AWS Lambda developer guide and RIE. Neither tells the text of a failure that an extension reports
itself, so those two sentences are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum, auto
from typing import Final

MAX_EXTENSIONS: Final = 10
"""Of one environment (AWS Lambda developer guide)."""
DIRECTORY: Final = "/opt/extensions"

HIDDEN_VARIABLES: Final = frozenset(
    {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "_AWS_XRAY_DAEMON_ADDRESS",
        "_AWS_XRAY_DAEMON_PORT",
        "_HANDLER",
    }
)
"""What external extensions do not find in their environment (AWS Lambda developer guide)."""


class Event(StrEnum):
    """What an extension may be told of."""

    INVOKE = "INVOKE"
    SHUTDOWN = "SHUTDOWN"


class ShutdownReason(StrEnum):
    """Why an environment ends; lower case, as captured."""

    SPINDOWN = "spindown"
    TIMEOUT = "timeout"
    FAILURE = "failure"


class State(StrEnum):
    """Where an extension is, in the words of EXTENSION log lines and of refusals (RIE)."""

    STARTED = "Started"
    """Its process runs; it has not registered."""
    REGISTERED = "Registered"
    READY = "Ready"
    """It waits for an event."""
    RUNNING = "Running"
    LAUNCH_ERROR = "LaunchError"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"
    EXITED = "Exited"
    """Its process is gone."""


class Call(IntEnum):
    """What moves an extension."""

    REGISTER = auto()
    NEXT = auto()
    EVENT = auto()
    """The server's own: an event is handed over."""
    LAUNCH_ERROR = auto()
    INIT_ERROR = auto()
    EXIT_ERROR = auto()
    EXIT = auto()


WANTED: Final[dict[Call, State]] = {
    Call.REGISTER: State.REGISTERED,
    Call.NEXT: State.READY,
    Call.INIT_ERROR: State.INIT_ERROR,
    Call.EXIT_ERROR: State.EXIT_ERROR,
}
"""The state that a refused call asked for, as the refusal names it."""

NEXT_STATE: Final[dict[State, dict[Call, State]]] = {
    State.STARTED: {
        Call.REGISTER: State.REGISTERED,
        Call.LAUNCH_ERROR: State.LAUNCH_ERROR,
        Call.EXIT: State.EXITED,
    },
    State.REGISTERED: {
        Call.NEXT: State.READY,
        Call.INIT_ERROR: State.INIT_ERROR,
        Call.EXIT_ERROR: State.EXIT_ERROR,
        Call.EXIT: State.EXITED,
    },
    # A client whose connection broke asks again.
    State.READY: {
        Call.NEXT: State.READY,
        Call.EVENT: State.RUNNING,
        Call.EXIT_ERROR: State.EXIT_ERROR,
        Call.EXIT: State.EXITED,
    },
    State.RUNNING: {Call.NEXT: State.READY, Call.EXIT_ERROR: State.EXIT_ERROR, Call.EXIT: State.EXITED},
    State.LAUNCH_ERROR: {},
    State.INIT_ERROR: {Call.EXIT: State.EXITED},
    State.EXIT_ERROR: {Call.EXIT: State.EXITED},
    State.EXITED: {},
}


class Refused(Exception):
    """A call that an extension may not make; `error_type` and text are the Extensions API's answer."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


def wrong_order(name: str, state: State, call: Call) -> Refused:
    """A call that the extension's state does not allow."""
    return Refused(
        "Extension.InvalidExtensionState",
        f"State transition from {state} to {WANTED[call]} failed for extension {name}. "
        "Error: State transition is not allowed",
    )


def checked_events(given: object, *, is_external: bool) -> tuple[Event, ...]:
    """The events of a registration, without repetitions. Raises Refused."""
    if given is None:
        return ()
    if not isinstance(given, list):
        raise Refused("InvalidRequestFormat", "events must be a list of INVOKE and SHUTDOWN")
    events: list[Event] = []
    for name in given:
        if name not in tuple(Event):
            raise Refused("Extension.InvalidEventType", f"{name}: events are INVOKE and SHUTDOWN")
        event = Event(name)
        if event is Event.SHUTDOWN and not is_external:
            raise Refused("Extension.InvalidEventType", "SHUTDOWN: internal extensions may only register for INVOKE")
        if event not in events:
            events.append(event)
    return tuple(events)


EXTERNAL_BUDGET_S: Final = 2.0
INTERNAL_BUDGET_S: Final = 0.5
RUNTIME_SHARE_S: Final = 0.3
"""What the runtime may use of the external budget after its SIGTERM."""


def shutdown_budget_s(*, external: bool, internal: bool) -> float:
    """How long an environment may take to end before SIGKILL (AWS Lambda developer guide)."""
    return EXTERNAL_BUDGET_S if external else INTERNAL_BUDGET_S if internal else 0.0


def visible_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of external extensions, from the runtime's."""
    return {name: value for name, value in variables.items() if name not in HIDDEN_VARIABLES}


def crash_reason(status: int | None, signal_text: str) -> str:
    """The words for an extension that ended by itself (AWS: public logs, `exit code 0`)."""
    return f"signal: {signal_text}" if status is None else f"exit code {status}"


def reported_reason(name: str, call: Call, error_type: str) -> str:
    """The words for an extension that told that it failed."""
    what = "init" if call is Call.INIT_ERROR else "exit"
    return f"extension {name} reported an {what} error: {error_type}"
