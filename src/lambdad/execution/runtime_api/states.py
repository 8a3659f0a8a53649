"""The order in which a runtime may call: one table, with the names that AWS's emulator gives the states (RIE)."""

from __future__ import annotations

import enum
from typing import Final


class State(enum.Enum):
    """Where the runtime stands."""

    __hash__ = object.__hash__  # enum's own is written in Python; the table is looked up several times a call

    STARTED = "Started"
    RESTORING = "Restoring"
    READY = "Ready"
    """It waits for an invocation."""
    RUNNING = "Running"
    RESPONDING = "InvocationResponse"
    """A streamed response is arriving."""
    RESPONSE_SENT = "ResponseSent"
    INIT_ERROR = "InitError"
    RESTORE_ERROR = "RestoreError"
    CLOSED = "Closed"
    """The environment is gone; only a process that outlives it can still call."""


class Call(enum.Enum):
    """What may change the state."""

    __hash__ = object.__hash__

    NEXT = enum.auto()
    DELIVER = enum.auto()
    """The server's own: an invocation is handed over."""
    RESPONSE = enum.auto()
    STREAM = enum.auto()
    """A streamed response begins."""
    STREAM_END = enum.auto()
    ERROR = enum.auto()
    INIT_ERROR = enum.auto()
    RESTORE_NEXT = enum.auto()
    RESTORE_ERROR = enum.auto()


WANTED: Final[dict[Call, str]] = {
    Call.NEXT: "Ready",
    Call.RESPONSE: "InvocationResponse",
    Call.STREAM: "InvocationResponse",
    Call.ERROR: "InvocationErrorResponse",
    Call.INIT_ERROR: "InitError",
    Call.RESTORE_NEXT: "RestoreReady",
    Call.RESTORE_ERROR: "RestoreError",
}
"""The state that a refused call asked for, as the refusal names it."""

NEXT_STATE: Final[dict[State, dict[Call, State]]] = {
    State.STARTED: {
        Call.NEXT: State.READY,
        Call.INIT_ERROR: State.INIT_ERROR,
        Call.RESTORE_NEXT: State.RESTORING,
    },
    State.RESTORING: {
        Call.NEXT: State.READY,
        Call.INIT_ERROR: State.INIT_ERROR,
        Call.RESTORE_ERROR: State.RESTORE_ERROR,
    },
    # A client whose connection broke asks again.
    State.READY: {Call.NEXT: State.READY, Call.DELIVER: State.RUNNING},
    State.RUNNING: {
        Call.RESPONSE: State.RESPONSE_SENT,
        Call.ERROR: State.RESPONSE_SENT,
        Call.STREAM: State.RESPONDING,
    },
    State.RESPONDING: {Call.STREAM_END: State.RESPONSE_SENT},
    State.RESPONSE_SENT: {Call.NEXT: State.READY},
    State.INIT_ERROR: {},
    State.RESTORE_ERROR: {},
    State.CLOSED: {},
}
