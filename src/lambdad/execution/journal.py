"""What the service itself writes into an environment's log: INIT_START, START, END, REPORT, and why something broke.

One journal for each environment. It owns the log capture, so that lines of ours and output of the function stay in
the order in which they happened.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lambdad.clock import Clock
from lambdad.domain.functions import FunctionVersion
from lambdad.domain.invocations import Ending, Invocation, Outcome
from lambdad.execution.extensions.registry import Extension
from lambdad.execution.log_capture import LogCapture
from lambdad.execution.log_lines import SystemLines, environment_failed, iso_time, tracing_of
from lambdad.execution.telemetry_api.records import tracing
from lambdad.execution.telemetry_api.stream import TelemetryStream

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
    """Keeps the log of one environment; `capture` is where the runtimes' output is attached.

    Where extensions may want it, everything is told as telemetry, too.
    """

    def __init__(
        self,
        capture: LogCapture,
        lines: SystemLines,
        runtime_version: RuntimeVersion,
        clock: Clock,
        version: FunctionVersion,
        environment_id: str,
    ) -> None:
        self._capture = capture
        self._lines = lines
        self._runtime_version = runtime_version
        self._clock = clock
        self._version = version
        self._environment_id = environment_id
        self._initialization_type = ""
        self._started = 0.0
        self._response_started = 0.0
        self._response_ended = 0.0
        self._produced_bytes = 0
        self._runtime_done_told = True

    # --- init ---

    def init_started(self, phase: str, initialization_type: str) -> None:
        """`phase` is `init`, or `invoke` when init runs again inside an invocation: that has no INIT_START line."""
        time_ms = self._clock.time_ms()
        runtime, version = self._runtime_version, self._version
        self._initialization_type = initialization_type
        if phase == "init":
            self._capture.write(self._lines.init_start(time_ms, runtime.text, runtime.arn), time_ms)
        if self._capture.telemetry is not None:
            record = {
                "initializationType": initialization_type,
                "phase": phase,
                "runtimeVersion": runtime.text,
                "runtimeVersionArn": runtime.arn,
                "functionName": version.name,
                "functionVersion": version.version,
                "instanceId": self._environment_id,
                "instanceMaxMemory": version.memory_mb << 20,
            }
            self._capture.telemetry.add("platform.initStart", record, time_ms)

    def init_runtime_done(self, phase: str, status: str, error_type: str | None = None) -> None:
        time_ms = self._clock.time_ms()
        line = self._lines.init_runtime_done(time_ms, phase=phase, status=status, error_type=error_type)
        self._capture.write(line, time_ms)
        if self._capture.telemetry is not None:
            self._capture.telemetry.add("platform.initRuntimeDone", self._of_init(phase, status, error_type), time_ms)

    def init_succeeded(self, elapsed_ms: float, phase: str, extensions: Sequence[Extension]) -> None:
        """The runtime and the extensions wait for an invocation."""
        self._init_report(elapsed_ms, phase, "success", None, extensions)
        telemetry = self._capture.telemetry
        if telemetry is not None and not telemetry.is_wanted:
            self._capture.telemetry = None

    def init_ended(
        self, elapsed_ms: float, phase: str, status: str, error_type: str | None, extensions: Sequence[Extension]
    ) -> None:
        """Init came to no good."""
        self.init_runtime_done(phase, status, error_type)
        self._init_report(elapsed_ms, phase, status, error_type, extensions)

    def _init_report(
        self, elapsed_ms: float, phase: str, status: str, error_type: str | None, extensions: Sequence[Extension]
    ) -> None:
        time_ms = self._clock.time_ms()
        for one in extensions:
            self._extension(one, time_ms)
        line = self._lines.init_report(time_ms, elapsed_ms, phase=phase, status=status, error_type=error_type)
        self._capture.write(line, time_ms)
        if self._capture.telemetry is not None:
            record = self._of_init(phase, status, error_type)
            record["metrics"] = {"durationMs": round(elapsed_ms, 3)}
            self._capture.telemetry.add("platform.initReport", record, time_ms)

    def _of_init(self, phase: str, status: str, error_type: str | None) -> dict[str, object]:
        record: dict[str, object] = {
            "initializationType": self._initialization_type,
            "phase": phase,
            "status": status,
        }
        if error_type:
            record["errorType"] = error_type
        return record

    def _extension(self, extension: Extension, time_ms: int) -> None:
        name, state, error_type = extension.name, extension.state.value, extension.error_type
        events = [event.value for event in extension.events]
        self._capture.write(self._lines.extension(time_ms, name, state, events, error_type), time_ms)
        if self._capture.telemetry is not None:
            record = {"name": name, "state": state, "events": events}
            if error_type:
                record["errorType"] = error_type
            self._capture.telemetry.add("platform.extension", record, time_ms)

    # --- an invocation ---

    def invocation_started(self, time_ms: int, invocation: Invocation) -> None:
        line = self._lines.start(time_ms, invocation.request_id)
        self._capture.begin(tail=invocation.wants_tail, lines=line, time_ms=time_ms)
        if self._capture.telemetry is not None:
            self._started = time.monotonic()
            self._response_started = self._response_ended = 0.0
            self._produced_bytes = 0
            self._runtime_done_told = False
            record = {"requestId": invocation.request_id, "version": self._version.version}
            self._capture.telemetry.add("platform.start", record | tracing(invocation.trace_id), time_ms)

    def response_started(self) -> None:
        """A streamed response begins."""
        self._response_started = time.monotonic()

    def produced(self, size: int) -> None:
        """A piece of a streamed response."""
        self._produced_bytes += size

    def response_sent(self, outcome: Outcome) -> None:
        """The runtime has answered."""
        self._response_ended = time.monotonic()
        self._response_started = self._response_started or self._response_ended
        self._produced_bytes = self._produced_bytes or len(outcome.payload)

    def runtime_done(self, invocation: Invocation, ending: Ending, error_type: str) -> None:
        """The runtime asks for the next invocation, or will never do so."""
        telemetry = self._capture.telemetry
        if telemetry is None or self._runtime_done_told:
            return
        self._runtime_done_told = True
        now = time.monotonic()
        record: dict[str, object] = {"requestId": invocation.request_id, "status": ending.value}
        if error_type:
            record["errorType"] = error_type
        record["metrics"] = {
            "durationMs": round((now - self._started) * 1000, 3),
            "producedBytes": self._produced_bytes,
        }
        spans = []
        if self._response_started:
            spans = [
                self._span("responseLatency", self._started, self._response_started),
                self._span("responseDuration", self._response_started, self._response_ended),
                self._span("runtimeOverhead", self._response_ended, now),
            ]
        record["spans"] = spans
        telemetry.add("platform.runtimeDone", record | tracing(invocation.trace_id))

    def _span(self, name: str, start: float, end: float) -> dict[str, object]:
        """From monotonic seconds."""
        start_ms = self._clock.time_ms() - int((time.monotonic() - start) * 1000)
        return {"name": name, "start": iso_time(start_ms), "durationMs": round(max(end - start, 0.0) * 1000, 3)}

    def invocation_ended(self, invocation: Invocation, outcome: Outcome, ending: Ending, error_type: str) -> None:
        """END and REPORT, after what was printed before; fills in the log tail if it is wanted."""
        status = REPORT_STATUS[ending]
        time_ms = self._clock.time_ms()
        text = self._lines.end_and_report(
            time_ms,
            invocation.request_id,
            outcome.duration_ms,
            outcome.billed_duration_ms,
            outcome.max_memory_used_mb,
            outcome.init_duration_ms,
            status,
            error_type if status == "error" else None,
            tracing_of(invocation.trace_id),
        )
        self._capture.end(text, time_ms)
        if self._capture.telemetry is not None:
            self.runtime_done(invocation, ending, error_type)
            self._tell_report(self._capture.telemetry, invocation, outcome, ending, error_type)
        if invocation.wants_tail:
            outcome.log_tail = self._capture.tail()

    def _tell_report(
        self, telemetry: TelemetryStream, invocation: Invocation, outcome: Outcome, ending: Ending, error_type: str
    ) -> None:
        if ending is Ending.TIMEOUT:
            text = (
                f"RequestId: {invocation.request_id} Error: Task timed out after {self._version.timeout_s:.2f} seconds"
            )
            telemetry.add("platform.fault", {"text": text})
        telemetry.add("platform.end", {"requestId": invocation.request_id})
        metrics: dict[str, object] = {
            "durationMs": round(outcome.duration_ms, 3),
            "billedDurationMs": outcome.billed_duration_ms,
            "memorySizeMB": self._version.memory_mb,
            "maxMemoryUsedMB": outcome.max_memory_used_mb,
        }
        if outcome.init_duration_ms is not None:
            metrics["initDurationMs"] = round(outcome.init_duration_ms, 3)
        record: dict[str, object] = {"requestId": invocation.request_id, "status": ending.value}
        if error_type:
            record["errorType"] = error_type
        record["metrics"] = metrics
        overhead_ms = outcome.post_runtime_extensions_ms
        if overhead_ms is not None:
            now = time.monotonic()
            record["spans"] = [self._span("extensionOverhead", now - overhead_ms / 1000, now)]
        telemetry.add("platform.report", record | tracing(invocation.trace_id))

    def environment_failed(self, invocation: Invocation, reason: str, error_type: str) -> None:
        """The runtime or an extension is gone."""
        self._capture.write_record(environment_failed(invocation.request_id, reason, error_type))
        if self._capture.telemetry is not None:
            text = f"RequestId: {invocation.request_id} Error: {reason}\n{error_type}"
            self._capture.telemetry.add("platform.fault", {"text": text})
