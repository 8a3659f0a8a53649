"""What an invocation came to: its times and its memory, told to the caller, the log and whoever measures."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lambdad.domain.invocations import Ending, Outcome
from lambdad.execution.boot import Boot
from lambdad.execution.calls import PendingCall
from lambdad.execution.journal import Journal
from lambdad.execution.log_capture import LogCapture


@dataclass(slots=True)
class HeldCall:
    """An invocation whose caller has the answer while extensions still work on it."""

    call: PendingCall
    outcome: Outcome
    runtime_duration_ms: float
    runtime_is_done: bool = False
    """The runtime has asked for the next invocation."""


class Accounts:
    """Ends the calls of one environment."""

    def __init__(self, journal: Journal, capture: LogCapture, stream_name: str) -> None:
        self.init_duration_ms: float | None = None
        """Of an init that the next call's cold start consists of."""
        self.boot: Boot | None = None
        """What runs."""
        self._journal = journal
        self._capture = capture
        self._stream_name = stream_name
        self._peak_kib = 0

    def finish(self, call: PendingCall, outcome: Outcome, duration_ms: float) -> None:
        """Answers the caller and ends the invocation's log, in one turn of the event loop: nobody can read the log in
        between, and the caller has the answer sooner."""
        self._measure(outcome, duration_ms)
        if call.invocation.wants_tail:
            self._report(call, outcome, outcome.ending, outcome.error_type)
            call.finish(outcome)
        else:
            try:
                call.finish(outcome)
            finally:
                self._report(call, outcome, outcome.ending, outcome.error_type)
        call.measured(outcome)

    def hold(self, call: PendingCall, outcome: Outcome, duration_ms: float) -> HeldCall:
        """Answers the caller; extensions work on. One who wants the log's tail waits until the log is complete."""
        self._measure(outcome, duration_ms)
        self._journal.response_sent(outcome)
        if not call.invocation.wants_tail:
            call.answer(outcome)
        return HeldCall(call, outcome, duration_ms)

    def finish_held(
        self, held: HeldCall, duration_ms: float, ending: Ending | None = None, error_type: str = ""
    ) -> None:
        """`ending` and `error_type` are set where extensions, or the runtime behind its answer, spoiled the rest of the
        invocation. The log tells of it; the answer stands."""
        outcome = held.outcome
        self.init_duration_ms = outcome.init_duration_ms
        self._measure(outcome, duration_ms)
        outcome.post_runtime_extensions_ms = max(duration_ms - held.runtime_duration_ms, 0.0)
        if ending is None:
            ending, error_type = outcome.ending, outcome.error_type
        self._report(held.call, outcome, ending, error_type)
        if held.call.invocation.wants_tail:
            held.call.answer(outcome)
        held.call.end()
        held.call.measured(outcome)

    def saw_peak(self, peak_kib: int) -> None:
        """Somebody has measured the environment's memory."""
        if peak_kib > self._peak_kib:  # noqa: PLR1730 - on the hot path, where a call of max() costs three times as much
            self._peak_kib = peak_kib

    def _measure(self, outcome: Outcome, duration_ms: float) -> None:
        init_ms, self.init_duration_ms = self.init_duration_ms, None
        outcome.duration_ms = duration_ms
        outcome.log_stream = self._stream_name
        outcome.init_duration_ms = init_ms
        # Since August 2025 a cold start bills init and duration together (AWS documentation).
        outcome.billed_duration_ms = math.ceil(duration_ms if init_ms is None else init_ms + duration_ms)

    def _report(self, call: PendingCall, outcome: Outcome, ending: Ending, error_type: str) -> None:
        """Ends the invocation's log, and fills in what is known only now."""
        self._capture.drain()
        if self.boot is not None:
            self.saw_peak(self.boot.measure())
        outcome.max_memory_used_mb = self._peak_kib // 1024
        self._journal.invocation_ended(call.invocation, outcome, ending, error_type)
