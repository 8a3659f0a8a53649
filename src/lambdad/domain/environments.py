"""States of an execution environment, and the one table that says what may follow what.

Integers, because their hash is computed in C: each warm call looks into the table three times.
"""

from __future__ import annotations

from enum import IntEnum, auto


class State(IntEnum):
    """Where an execution environment is in its life."""

    STARTING = auto()
    """The extensions start; the runtime boots and runs the function's module code."""
    READY = auto()
    """Initialised and free."""
    BUSY = auto()
    """One invocation runs."""
    ANSWERED = auto()
    """The caller has its answer; the runtime has not asked for the next invocation yet."""
    FINISHING = auto()
    """The caller has its answer, but there are extensions, and runtime or extensions still work on the invocation."""
    BROKEN = auto()
    """The runtime's process is gone or being killed. The environment (its /tmp, its log stream) stays, and the next
    invocation starts the runtime again (AWS: reset after timeout, crash or exit)."""
    STOPPED = auto()
    """Gone for good."""


class Signal(IntEnum):
    """What happens to an execution environment."""

    READY = auto()
    """The runtime, and every extension, asked for an invocation for the first time."""
    INVOKE = auto()
    RESPONSE = auto()
    """A result, an error or the end of a stream from the runtime."""
    RESPONSE_BEFORE_EXTENSIONS = auto()
    """The same where there are extensions, whose work counts as part of the invocation."""
    NEXT = auto()
    """The runtime, and every extension that was told of the invocation, asked for another one."""
    BREAK = auto()
    """Timeout, exit, crash, failed init; of the runtime or of an extension."""
    RESTART = auto()
    """The runtime is started again inside the same environment."""
    STOP = auto()


class IllegalTransition(Exception):
    """The table lacks this step: a defect of ours, or a runtime that breaks the protocol."""

    def __init__(self, state: State, signal: Signal) -> None:
        super().__init__(f"an environment that is {state.name} cannot take {signal.name}")


NEXT_STATE: dict[State, dict[Signal, State]] = {
    State.STARTING: {Signal.READY: State.READY, Signal.BREAK: State.BROKEN, Signal.STOP: State.STOPPED},
    State.READY: {Signal.INVOKE: State.BUSY, Signal.BREAK: State.BROKEN, Signal.STOP: State.STOPPED},
    State.BUSY: {
        Signal.RESPONSE: State.ANSWERED,
        Signal.RESPONSE_BEFORE_EXTENSIONS: State.FINISHING,
        Signal.BREAK: State.BROKEN,
        Signal.STOP: State.STOPPED,
    },
    State.FINISHING: {Signal.NEXT: State.READY, Signal.BREAK: State.BROKEN, Signal.STOP: State.STOPPED},
    State.ANSWERED: {Signal.NEXT: State.READY, Signal.BREAK: State.BROKEN, Signal.STOP: State.STOPPED},
    State.BROKEN: {Signal.RESTART: State.STARTING, Signal.BREAK: State.BROKEN, Signal.STOP: State.STOPPED},
    State.STOPPED: {},
}
