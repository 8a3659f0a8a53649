"""What the service itself writes into an environment's log: INIT_START, START, END, REPORT, and why something broke.

One journal for each environment. It owns the log capture, so that lines of ours and output of the function stay in
the order in which they happened.
"""

from __future__ import annotations

from dataclasses import dataclass

from lambdad.clock import Clock
from lambdad.domain.invocations import Ending, Invocation, Outcome
from lambdad.execution.log_capture import LogCapture
from lambdad.execution.log_lines import SystemLines, runtime_exit

REPORT_STATUS = {
    Ending.SUCCESS: "success",
    Ending.ERROR: "success",  # what the runtime answers is an answer; only the environment's failures are told here
    Ending.TIMEOUT: "timeout",
    Ending.FAILURE: "error",
}


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    """What INIT_START tells of the runtime."""

    text: str
    arn: str


class Journal:
    """Keeps the log of one environment; `capture` is where the runtimes' output is attached."""

    def __init__(self, capture: LogCapture, lines: SystemLines, runtime_version: RuntimeVersion, clock: Clock) -> None:
        self.capture = capture
        self._lines = lines
        self._runtime_version = runtime_version
        self._clock = clock

    # --- init ---

    def init_started(self) -> None:
        time_ms = self._clock.time_ms()
        version = self._runtime_version
        self.capture.write(self._lines.init_start(time_ms, version.text, version.arn), time_ms)

    def init_ended(self, elapsed_ms: float, phase: str, status: str, error_type: str | None) -> None:
        """Init came to no good; `phase` is `init`, or `invoke` when it ran inside an invocation."""
        time_ms = self._clock.time_ms()
        line = self._lines.init_report(time_ms, elapsed_ms, phase=phase, status=status, error_type=error_type)
        self.capture.write(line, time_ms)

    # --- an invocation ---

    def invocation_started(self, time_ms: int, invocation: Invocation) -> None:
        self.capture.begin(tail=invocation.wants_tail)
        self.capture.write(self._lines.start(time_ms, invocation.request_id), time_ms)

    def invocation_ended(self, invocation: Invocation, outcome: Outcome) -> None:
        """END and REPORT, after what was printed before; fills in the log tail if it is wanted."""
        request_id = invocation.request_id
        status = REPORT_STATUS[outcome.ending]
        error_type = outcome.error_type if status == "error" else None
        time_ms = self._clock.time_ms()
        duration_ms = outcome.duration_ms
        lines = self._lines
        text = lines.end(time_ms, request_id, duration_ms, status, error_type) + lines.report(
            time_ms,
            request_id,
            duration_ms,
            outcome.billed_duration_ms,
            outcome.max_memory_used_mb,
            init_duration_ms=outcome.init_duration_ms,
            status=status,
            error_type=error_type,
        )
        self.capture.write(text, time_ms)
        if invocation.wants_tail:
            outcome.log_tail = self.capture.tail()

    def runtime_exited(self, invocation: Invocation, reason: str) -> None:
        self.capture.write_record(runtime_exit(invocation.request_id, reason))
