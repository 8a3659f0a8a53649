"""What `lambdad up` prints: slow steps of the start, the endpoint, one line for each invocation.

A thread of its own does the writing, because a terminal or pipe that is read slowly must not hold up the server. It
gets finished text, some ten times a second: a thread that does more, or more often, fights the event loop for the
interpreter (measured: a tenth of the server's time). For the same reason invocations are only noted when they end and
put into words a batch at a time.
"""

from __future__ import annotations

import contextlib
import json
import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from lambdad.domain.functions import FunctionVersion
from lambdad.domain.invocations import Ending, Outcome
from lambdad.telemetry import AttemptFinished, AttemptThrottled, Telemetry

if TYPE_CHECKING:
    import asyncio

SLOW_STEP_S = 0.7
BATCH_S = 0.1
MAX_WAITING_LINES = 10_000
"""Lines that wait for a slow reader; more are counted and left out."""
# Named once: on Python 3.11 each look at an enum's member is a call in Python.
_SUCCESS = Ending.SUCCESS

_COLOURS = {
    Ending.SUCCESS: "green",
    Ending.ERROR: "yellow",
    Ending.TIMEOUT: "red",
    Ending.FAILURE: "red",
}

_Note = tuple[FunctionVersion, str, float, int, float | None, str]
"""What the line of a success needs: version, qualifier, duration and memory, init duration, request id."""


class Console:
    """The terminal of a running server. Everything but `line` is for one thread, the event loop's."""

    def __init__(self, *, show_invocations: bool) -> None:
        self._show_invocations = show_invocations
        self._colour = sys.stdout.isatty()
        self._notes: list[_Note | str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._batches: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        # Each counter has one thread that writes it.
        self._handed_over = 0
        self._printed = 0
        self._left_out = 0
        self._thread = threading.Thread(target=self._print_all, name="lambdad-console", daemon=True)
        self._thread.start()

    def line(self, text: str = "") -> None:
        """Prints a line; returns at once. Lines are dropped while too many wait."""
        self._hand_over()
        self._print([text])

    def close(self) -> None:
        """Waits until everything is printed, but not for a reader that has stopped reading."""
        self._hand_over()
        if self._left_out:
            self._batches.put((1, self._notice() + "\n"))
        self._batches.put(None)
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
        import asyncio  # noqa: PLC0415 - not before the spawner is started

        if self._show_invocations:
            with contextlib.suppress(RuntimeError):
                self._loop = asyncio.get_running_loop()
            telemetry.attempt_finished.append(self._finished)
            telemetry.attempt_throttled.append(lambda event: self._note(self._throttled(event)))

    # --- invocations ---

    def _finished(self, event: AttemptFinished) -> None:
        outcome = event.outcome
        if outcome.ending is _SUCCESS:
            # Not the outcome itself: its payload may be large.
            self._note(
                (
                    event.version,
                    event.qualifier,
                    outcome.duration_ms,
                    outcome.max_memory_used_mb,
                    outcome.init_duration_ms,
                    event.request_id,
                )
            )
        else:
            self._note(self._failed(event))

    def _note(self, note: _Note | str) -> None:
        notes = self._notes
        notes.append(note)
        if len(notes) == 1:
            if self._loop is None:
                self._hand_over()
            else:
                self._loop.call_later(BATCH_S, self._hand_over)

    def _hand_over(self) -> None:
        if self._notes:
            notes, self._notes = self._notes, []
            now = _time()
            success = self._status("success", Ending.SUCCESS)
            self._print([one if isinstance(one, str) else _in_words(now, success, one) for one in notes])

    def _failed(self, event: AttemptFinished) -> str:
        outcome = event.outcome
        status = self._status(f"{outcome.ending.value} {_error_type(outcome)}", outcome.ending)
        taken = (event.version, event.qualifier, outcome.duration_ms, outcome.max_memory_used_mb)
        return _in_words(_time(), status, (*taken, outcome.init_duration_ms, event.request_id))

    def _throttled(self, event: AttemptThrottled) -> str:
        name = _addressed(event.function, event.qualifier)
        status = click.style("throttled", fg="yellow") if self._colour else "throttled"
        return f"{_time()}  {name:<24}  {status} {event.reason}  {event.request_id}"

    def _status(self, text: str, ending: Ending) -> str:
        text = f"{text:<8}"
        return click.style(text, fg=_COLOURS[ending]) if self._colour else text

    # --- the way to the terminal ---

    def _print(self, lines: list[str]) -> None:
        room = MAX_WAITING_LINES - (self._handed_over - self._printed)
        if room < len(lines):
            self._left_out += len(lines) - max(room, 0)
            del lines[max(room, 0) :]
            if not lines:
                return
        elif self._left_out:
            lines.append(self._notice())
            self._left_out = 0
        self._handed_over += len(lines)
        self._batches.put((len(lines), "\n".join(lines) + "\n"))

    def _notice(self) -> str:
        return f"({self._left_out} lines left out: this terminal is read too slowly)"

    def _print_all(self) -> None:
        """The thread."""
        while (batch := self._batches.get()) is not None:
            count, text = batch
            # Without its reader, as after `lambdad up | head`, the server goes on.
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.write(text)
                sys.stdout.flush()
            self._printed += count


def _in_words(now: str, status: str, note: _Note) -> str:
    version, qualifier, duration_ms, memory_mb, init_ms, request_id = note
    start = "warm       " if init_ms is None else f"{f'cold {init_ms:.0f} ms':<11}"
    return (
        f"{now}  {_addressed(version.name, qualifier):<24}  {version.version:<7}  {status}"
        f"  {duration_ms:>9.2f} ms  {memory_mb:>5} MB  {start}  {request_id}"
    )


def _error_type(outcome: Outcome) -> str:
    """As the caller sees it; `outcome.error_type` is Lambda's coarser word for it."""
    try:
        told = json.loads(outcome.payload)["errorType"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return outcome.error_type
    return told if isinstance(told, str) else outcome.error_type


def _addressed(function: str, qualifier: str) -> str:
    return f"{function}:{qualifier}" if qualifier else function


def _time() -> str:
    return time.strftime("%H:%M:%S")
