"""What `lambdad up` prints: slow steps of the start, the endpoint, one line for each invocation.

Lines go through a thread of their own, because a terminal or pipe that is read slowly must not hold up the server. It
takes them in batches: a thread that woke for every line would fight the server for the interpreter.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator

import click

from lambdad.domain.invocations import Ending, Outcome
from lambdad.telemetry import AttemptFinished, AttemptThrottled, Telemetry

SLOW_STEP_S = 0.7
BATCH_S = 0.05
MAX_WAITING_LINES = 10_000
"""Lines that wait for a slow reader; more are counted and left out."""

_COLOURS = {
    Ending.SUCCESS: "green",
    Ending.ERROR: "yellow",
    Ending.TIMEOUT: "red",
    Ending.FAILURE: "red",
}


class Console:
    """The terminal of a running server."""

    def __init__(self, *, show_invocations: bool) -> None:
        self._show_invocations = show_invocations
        self._colour = sys.stdout.isatty()
        self._lines: deque[str] = deque()
        self._left_out = 0
        self._wanted = threading.Event()
        self._is_wanted = False  # the same, without the price of asking an event
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="lambdad-console", daemon=True)
        self._thread.start()

    def line(self, text: str = "") -> None:
        """Prints a line; returns at once. Lines are dropped while too many wait."""
        if len(self._lines) >= MAX_WAITING_LINES:
            self._left_out += 1
            return
        self._lines.append(text)
        if not self._is_wanted:
            self._is_wanted = True
            self._wanted.set()

    def close(self) -> None:
        """Waits until everything is printed, but not for a reader that has stopped reading."""
        self._closing.set()
        self._wanted.set()
        self._thread.join(timeout=2)

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A part of the start: its text is printed only when it takes long."""
        timer = threading.Timer(SLOW_STEP_S, self.line, (f"{text}…",))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def watch(self, telemetry: Telemetry) -> None:
        """Prints a line for each invocation from now on, if invocations are to be shown."""
        if self._show_invocations:
            telemetry.attempt_finished.append(lambda event: self.line(self._finished(event)))
            telemetry.attempt_throttled.append(lambda event: self.line(self._throttled(event)))

    # --- lines ---

    def _finished(self, event: AttemptFinished) -> str:
        outcome = event.outcome
        start = "warm" if outcome.init_duration_ms is None else f"cold {outcome.init_duration_ms:.0f} ms"
        status = "success"
        if outcome.is_function_error:
            status = f"{outcome.ending.value} {_error_type(outcome)}"
        if self._colour:
            status = click.style(f"{status:<8}", fg=_COLOURS[outcome.ending])
        return (
            f"{_time()}  {_addressed(event.version.name, event.qualifier):<24}  {event.version.version:<7}  {status:<8}"
            f"  {outcome.duration_ms:>9.2f} ms  {outcome.max_memory_used_mb:>5} MB  {start:<11}  {event.request_id}"
        )

    def _throttled(self, event: AttemptThrottled) -> str:
        name = _addressed(event.function, event.qualifier)
        status = self._styled("throttled", "yellow")
        return f"{_time()}  {name:<24}  {status} {event.reason}  {event.request_id}"

    def _styled(self, text: str, colour: str) -> str:
        return click.style(text, fg=colour) if self._colour else text

    # --- the thread ---

    def _write_all(self) -> None:
        while not self._closing.is_set():
            self._wanted.wait()
            self._closing.wait(BATCH_S)
            self._wanted.clear()
            self._is_wanted = False  # before the lines are taken: one that comes after asks again
            self._write(self._taken())
        self._write(self._taken())

    def _taken(self) -> list[str]:
        lines: list[str] = []
        while self._lines:
            lines.append(self._lines.popleft())
        left_out, self._left_out = self._left_out, 0
        if left_out:
            lines.append(f"({left_out} lines left out: this terminal is read too slowly)")
        return lines

    @staticmethod
    def _write(lines: list[str]) -> None:
        # Without its reader, as after `lambdad up | head`, the server goes on.
        with contextlib.suppress(OSError, ValueError):
            if lines:
                sys.stdout.write("\n".join(lines) + "\n")
                sys.stdout.flush()


def _error_type(outcome: Outcome) -> str:
    """As the caller sees it; `outcome.error_type` is Lambda's coarser word for it."""
    try:
        told = json.loads(outcome.payload)["errorType"]
    except (ValueError, KeyError, TypeError):
        return outcome.error_type
    return told if isinstance(told, str) else outcome.error_type


def _addressed(function: str, qualifier: str) -> str:
    return f"{function}:{qualifier}" if qualifier else function


def _time() -> str:
    return time.strftime("%H:%M:%S")
