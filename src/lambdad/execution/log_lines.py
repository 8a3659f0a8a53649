"""The lines that the service itself writes into a function's log, and the log tail that a caller may ask for.

Text format has INIT_START, START, END and REPORT; JSON format has the `platform.*` records of the Telemetry API.
Pure: numbers go in, bytes come out, every result ends with a newline. One set of lines is made for each function
version, so that a warm call formats little more than its request id and its numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

TAIL_LIMIT: Final = 4096
"""Bytes of the log tail (AWS: model of Invoke, LogResult)."""

_SYSTEM_LEVELS: Final = {"DEBUG": 0, "INFO": 1, "WARN": 2}
_APPLICATION_LEVELS: Final = {
    "TRACE": 0, "DEBUG": 1, "INFO": 2, "WARN": 3, "WARNING": 3, "ERROR": 4, "FATAL": 5, "CRITICAL": 5,
}  # fmt: skip
"""AWS's words, and the two that Python's logging uses instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """The trace of an invocation that was sampled."""

    trace_id: str
    segment_id: str


def tracing_of(trace_header: str) -> Tracing | None:
    """From the header that the function sees, if the invocation was sampled. Its Parent is the service's segment."""
    if "Sampled=1" not in trace_header:
        return None
    parts = dict(part.partition("=")[::2] for part in trace_header.split(";"))
    return Tracing(trace_id=parts.get("Root", ""), segment_id=parts.get("Parent", ""))


class SystemLines(Protocol):
    """The service's own lines of one function version. A line that the format or the level leaves out is empty."""

    def init_start(self, time_ms: int, runtime_version: str, runtime_version_arn: str) -> bytes:
        """A cold start begins; `runtime_version` is such as `python:3.13.v40`."""

    def init_runtime_done(self, time_ms: int, *, phase: str, status: str, error_type: str | None) -> bytes:
        """The runtime has finished its init, or failed."""

    def init_report(
        self, time_ms: int, duration_ms: float, *, phase: str, status: str, error_type: str | None
    ) -> bytes:
        """What init came to; `phase` is `init`, or `invoke` when init was done again inside an invocation."""

    def extension(self, time_ms: int, name: str, state: str, events: Sequence[str], error_type: str) -> bytes:
        """An extension at the end of init; `error_type` is empty unless it failed."""

    def start(self, time_ms: int, request_id: str) -> bytes:
        """An invocation begins."""

    def end(self, time_ms: int, request_id: str, duration_ms: float, status: str, error_type: str | None) -> bytes:
        """The invocation is over."""

    def report(
        self,
        time_ms: int,
        request_id: str,
        duration_ms: float,
        billed_duration_ms: int,
        max_memory_used_mb: int,
        *,
        init_duration_ms: float | None = None,
        status: str = "success",
        error_type: str | None = None,
        tracing: Tracing | None = None,
    ) -> bytes:
        """What the invocation took. `status` is `success` (also after an exception of the handler), `error` for a
        failure of the environment, or `timeout`. One event: with tracing it has two lines."""

    def end_and_report(
        self,
        time_ms: int,
        request_id: str,
        duration_ms: float,
        billed_duration_ms: int,
        max_memory_used_mb: int,
        init_duration_ms: float | None,
        status: str,
        error_type: str | None,
        tracing: Tracing | None,
    ) -> bytes:
        """`end` and `report`, which nearly always come together."""


def system_lines(
    log_format: str,
    *,
    function_name: str,
    version: str,
    memory_mb: int,
    system_level: str | None = None,
    initialization_type: str = "on-demand",
) -> SystemLines:
    """The lines of one function version; `log_format` is `Text` or `JSON`, the level counts in JSON alone."""
    if log_format == "JSON":
        return JsonLines(function_name, version, memory_mb, system_level or "INFO", initialization_type)
    return TextLines(version, memory_mb)


class TextLines:
    """Text format (AWS: recorded 2025-11; failures after public logs of 2025)."""

    __slots__ = ("_memory_mb", "_version")

    def __init__(self, version: str, memory_mb: int) -> None:
        self._version = version
        self._memory_mb = memory_mb

    def init_start(self, time_ms: int, runtime_version: str, runtime_version_arn: str) -> bytes:  # noqa: ARG002
        return f"INIT_START Runtime Version: {runtime_version}\tRuntime Version ARN: {runtime_version_arn}\n".encode()

    def init_runtime_done(self, time_ms: int, *, phase: str, status: str, error_type: str | None) -> bytes:  # noqa: ARG002
        return b""

    def init_report(
        self,
        time_ms: int,  # noqa: ARG002
        duration_ms: float,
        *,
        phase: str,
        status: str,
        error_type: str | None,
    ) -> bytes:
        if status == "success":  # Init Duration of REPORT tells it
            return b""
        error = f"\tError Type: {error_type}" if error_type and status != "timeout" else ""
        return f"INIT_REPORT Init Duration: {duration_ms:.2f} ms\tPhase: {phase}\tStatus: {status}{error}\n".encode()

    def extension(self, time_ms: int, name: str, state: str, events: Sequence[str], error_type: str) -> bytes:  # noqa: ARG002
        line = f"EXTENSION\tName: {name}\tState: {state}\tEvents: [{', '.join(events)}]"
        return f"{line}\tError Type: {error_type}\n".encode() if error_type else f"{line}\n".encode()

    def start(self, time_ms: int, request_id: str) -> bytes:  # noqa: ARG002
        return f"START RequestId: {request_id} Version: {self._version}\n".encode()

    def end(
        self,
        time_ms: int,  # noqa: ARG002
        request_id: str,
        duration_ms: float,  # noqa: ARG002
        status: str,  # noqa: ARG002
        error_type: str | None,  # noqa: ARG002
    ) -> bytes:
        return f"END RequestId: {request_id}\n".encode()

    def report(
        self,
        time_ms: int,  # noqa: ARG002
        request_id: str,
        duration_ms: float,
        billed_duration_ms: int,
        max_memory_used_mb: int,
        *,
        init_duration_ms: float | None = None,
        status: str = "success",
        error_type: str | None = None,
        tracing: Tracing | None = None,
    ) -> bytes:
        line = (
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\tBilled Duration: {billed_duration_ms} ms"
            f"\tMemory Size: {self._memory_mb} MB\tMax Memory Used: {max_memory_used_mb} MB"
        )
        if init_duration_ms is not None:
            line += f"\tInit Duration: {init_duration_ms:.2f} ms"
        if status == "success":
            line += "\t\n"
        elif status == "timeout" or not error_type:
            line += f"\tStatus: {status}\n"
        else:
            line += f"\tStatus: {status}\tError Type: {error_type}\n"
        if tracing is not None:
            line += f"XRAY TraceId: {tracing.trace_id}\tSegmentId: {tracing.segment_id}\tSampled: true\t\n"
        return line.encode()

    def end_and_report(
        self,
        time_ms: int,
        request_id: str,
        duration_ms: float,
        billed_duration_ms: int,
        max_memory_used_mb: int,
        init_duration_ms: float | None,
        status: str,
        error_type: str | None,
        tracing: Tracing | None,
    ) -> bytes:
        if init_duration_ms is None and tracing is None and status == "success":  # a warm call: both in one piece
            return (
                f"END RequestId: {request_id}\nREPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms"
                f"\tBilled Duration: {billed_duration_ms} ms\tMemory Size: {self._memory_mb} MB"
                f"\tMax Memory Used: {max_memory_used_mb} MB\t\n"
            ).encode()
        return self.end(time_ms, request_id, duration_ms, status, error_type) + self.report(
            time_ms,
            request_id,
            duration_ms,
            billed_duration_ms,
            max_memory_used_mb,
            init_duration_ms=init_duration_ms,
            status=status,
            error_type=error_type,
            tracing=tracing,
        )


class JsonLines:
    """JSON format: one object a line, filtered by the system log level (AWS Lambda developer guide, Telemetry API)."""

    __slots__ = ("_function_name", "_initialization_type", "_level", "_memory_mb", "_version")

    def __init__(self, function_name: str, version: str, memory_mb: int, level: str, initialization_type: str) -> None:
        self._function_name = function_name
        self._version = version
        self._memory_mb = memory_mb
        self._level = _SYSTEM_LEVELS[level]
        self._initialization_type = initialization_type

    def init_start(self, time_ms: int, runtime_version: str, runtime_version_arn: str) -> bytes:
        record = {
            "initializationType": self._initialization_type,
            "phase": "init",
            "runtimeVersion": runtime_version,
            "runtimeVersionArn": runtime_version_arn,
            "functionName": self._function_name,
            "functionVersion": self._version,
        }
        return self._line("INFO" if runtime_version else "DEBUG", time_ms, "platform.initStart", record)

    def init_runtime_done(self, time_ms: int, *, phase: str, status: str, error_type: str | None) -> bytes:
        record = {"initializationType": self._initialization_type, "phase": phase, "status": status}
        if error_type:
            record["errorType"] = error_type
        return self._line(_level_of(status, "DEBUG"), time_ms, "platform.initRuntimeDone", record)

    def init_report(
        self, time_ms: int, duration_ms: float, *, phase: str, status: str, error_type: str | None
    ) -> bytes:
        record: dict[str, object] = {
            "initializationType": self._initialization_type,
            "phase": phase,
            "status": status,
        }
        if error_type:
            record["errorType"] = error_type
        record["metrics"] = {"durationMs": round(duration_ms, 3)}
        usual = "DEBUG" if self._initialization_type == "on-demand" else "INFO"
        return self._line(_level_of(status, usual), time_ms, "platform.initReport", record)

    def extension(self, time_ms: int, name: str, state: str, events: Sequence[str], error_type: str) -> bytes:
        record: dict[str, object] = {"name": name, "state": state, "events": list(events)}
        if error_type:
            record["errorType"] = error_type
        return self._line("WARN" if error_type else "DEBUG", time_ms, "platform.extension", record)

    def start(self, time_ms: int, request_id: str) -> bytes:
        record = {"requestId": request_id, "version": self._version}
        return self._line("INFO", time_ms, "platform.start", record)

    def end(self, time_ms: int, request_id: str, duration_ms: float, status: str, error_type: str | None) -> bytes:
        record: dict[str, object] = {"requestId": request_id, "status": status}
        if error_type:
            record["errorType"] = error_type
        record["metrics"] = {"durationMs": round(duration_ms, 3)}
        return self._line(_level_of(status, "DEBUG"), time_ms, "platform.runtimeDone", record)

    def report(
        self,
        time_ms: int,
        request_id: str,
        duration_ms: float,
        billed_duration_ms: int,
        max_memory_used_mb: int,
        *,
        init_duration_ms: float | None = None,
        status: str = "success",
        error_type: str | None = None,
        tracing: Tracing | None = None,
    ) -> bytes:
        record: dict[str, object] = {"requestId": request_id, "status": status}
        if error_type:
            record["errorType"] = error_type
        metrics: dict[str, float] = {
            "durationMs": round(duration_ms, 3),
            "billedDurationMs": billed_duration_ms,
            "memorySizeMB": self._memory_mb,
            "maxMemoryUsedMB": max_memory_used_mb,
        }
        if init_duration_ms is not None:
            metrics["initDurationMs"] = round(init_duration_ms, 3)
        record["metrics"] = metrics
        if tracing is not None:
            record["tracing"] = {
                "spanId": tracing.segment_id,
                "type": "X-Amzn-Trace-Id",
                "value": f"Root={tracing.trace_id};Parent={tracing.segment_id};Sampled=1",
            }
        return self._line(_level_of(status, "INFO"), time_ms, "platform.report", record)

    def end_and_report(
        self,
        time_ms: int,
        request_id: str,
        duration_ms: float,
        billed_duration_ms: int,
        max_memory_used_mb: int,
        init_duration_ms: float | None,
        status: str,
        error_type: str | None,
        tracing: Tracing | None,
    ) -> bytes:
        return self.end(time_ms, request_id, duration_ms, status, error_type) + self.report(
            time_ms,
            request_id,
            duration_ms,
            billed_duration_ms,
            max_memory_used_mb,
            init_duration_ms=init_duration_ms,
            status=status,
            error_type=error_type,
            tracing=tracing,
        )

    def _line(self, level: str, time_ms: int, kind: str, record: object) -> bytes:
        if _SYSTEM_LEVELS[level] < self._level:
            return b""
        return b'{"time":"%s","type":"%s","record":%s}\n' % (
            iso_time(time_ms).encode(),
            kind.encode(),
            _compact(record).encode(),
        )


def _level_of(status: str, usual: str) -> str:
    return usual if status == "success" else "WARN"


_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def iso_time(time_ms: int) -> str:
    """`2026-01-31T12:00:00.123Z`."""
    seconds, milliseconds = divmod(time_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def environment_failed(request_id: str, reason: str, error_type: str = "Runtime.ExitError") -> bytes:
    """One event: a process ended; `reason` is such as `Runtime exited with error: exit status 1`."""
    return f"RequestId: {request_id} Error: {reason}\n{error_type}\n".encode()


def timed_out(time_ms: int, request_id: str, timeout_s: float) -> bytes:
    """One event: the line of older runtimes, absent where REPORT says `Status: timeout`."""
    return f"{iso_time(time_ms)} {request_id} Task timed out after {timeout_s:.2f} seconds\n\n".encode()


class ApplicationFilter:
    """Leaves out records below the function's application log level (JSON format alone).

    Only JSON objects with a known `level` are judged; anything else is kept as it is.
    """

    __slots__ = ("_threshold",)

    def __init__(self, level: str) -> None:
        self._threshold = _APPLICATION_LEVELS[level]

    def keep(self, lines: bytes) -> bytes:
        """Those of the complete lines that the level lets pass."""
        if self._threshold == 0 or b'"level"' not in lines:
            return lines
        # Not splitlines: that would also cut at carriage returns.
        return b"\n".join(line for line in lines.split(b"\n") if self._passes(line))

    def _passes(self, line: bytes) -> bool:
        if not line.startswith(b"{"):
            return True
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return True
        level = record.get("level") if isinstance(record, dict) else None
        known = _APPLICATION_LEVELS.get(level.upper()) if isinstance(level, str) else None
        return known is None or known >= self._threshold


class LogTail:
    """The last 4,096 bytes of what was added, for the LogResult of one invocation; memory is bounded."""

    __slots__ = ("_pieces", "_size", "_whole_records")

    def __init__(self, *, whole_records: bool = False) -> None:
        """`whole_records` for JSON format, where a record that does not fit as a whole is left out."""
        self._pieces: list[bytes] = []
        self._size = 0
        self._whole_records = whole_records

    def add(self, data: bytes) -> None:
        """Adds text of this invocation, in order."""
        if len(data) > 4 * TAIL_LIMIT:
            data = data[-TAIL_LIMIT - 1 :]  # a copy, so that a megabyte is not kept for its last 4 KB
        self._pieces.append(data)
        self._size += len(data)
        if self._size > 16 * TAIL_LIMIT:  # now and then, so that a call that logs much costs little
            # One byte more than the tail: it tells whether the tail begins at a record's start.
            tail = b"".join(self._pieces)[-TAIL_LIMIT - 1 :]
            self._pieces = [tail]
            self._size = len(tail)

    def result(self, record_newline: bytes = b"") -> bytes:
        """The tail as it goes into LogResult, before base64; `record_newline` is shown as a newline."""
        data = b"".join(self._pieces)
        if record_newline:
            data = data.replace(record_newline, b"\n")
        return cut_tail(data, whole_records=self._whole_records)


def cut_tail(data: bytes, *, whole_records: bool = False) -> bytes:
    """The last 4,096 bytes, valid UTF-8.

    Each byte of a character that the cut has broken becomes U+FFFD, so the result can have up to 4,102 bytes (AWS:
    captured 2026). With `whole_records` the tail begins at the start of a line.
    """
    tail = data[-TAIL_LIMIT:]
    if whole_records and len(data) > TAIL_LIMIT and data[-TAIL_LIMIT - 1 : -TAIL_LIMIT] != b"\n":
        tail = tail[tail.find(b"\n") + 1 :] if b"\n" in tail else b""
    try:
        tail.decode()
    except UnicodeDecodeError:
        return tail.decode("utf-8", "replace").encode()
    return tail


class LineBuffer:
    """Puts what a pipe delivers together to complete lines; a line without end is cut at `limit` bytes.

    `record_start` is a byte with which records begin, if they do: a line that has begun is continued behind them.
    """

    __slots__ = ("_limit", "_record_start", "rest")

    def __init__(self, limit: int = 1_048_576 - 26, *, record_start: bytes = b"") -> None:
        self._limit = limit
        self._record_start = record_start
        self.rest = bytearray()
        """The beginning of a line that has not come to its end. For looking at alone."""

    def feed(self, data: bytes) -> bytes:
        """The complete lines that this piece has brought, empty if none."""
        rest = self.rest
        start = self._record_start
        if start and (start in data or start in rest):
            if not rest and data.startswith(start) and data.endswith(b"\n"):
                lines = data[1:].replace(b"\n" + start, b"\n")
                if start not in lines:  # nearly always: a record, or some
                    return lines
            data = self._continued(bytes(rest) + data)
            rest.clear()
        if not rest and data.endswith(b"\n"):  # nearly always: runtimes write whole lines
            return data
        end = data.rfind(b"\n") + 1
        if end:
            lines = bytes(rest) + data[:end]
            rest[:] = data[end:]
        else:
            lines = b""
            rest += data
        while len(rest) > self._limit:
            # The event ends here although the line does not: the text as it came, without a newline of ours, would
            # run into what follows, so it gets one.
            cut = whole_characters(rest, self._limit)
            with memoryview(rest) as view:
                lines = b"".join((lines, view[:cut], b"\n"))
            del rest[:cut]
        return lines

    def _continued(self, text: bytes) -> bytes:
        """The text with records before the lines in which they came, if these are complete or have yet to end."""
        *lines, last = text.split(b"\n")
        moved = []
        begun = b""
        for line in lines:
            before, start, record = line.partition(self._record_start)
            begun += before
            if start:
                moved.append(record.replace(self._record_start, b""))
            else:
                moved.append(begun)
                begun = b""
        return b"\n".join([*moved, begun + last])

    def take_rest(self) -> bytes:
        """What has come since the last newline; the buffer is empty afterwards."""
        rest = bytes(self.rest)
        self.rest.clear()
        if self._record_start and self._record_start in rest:  # the end of the record will not come any more
            rest = rest.lstrip(self._record_start).replace(self._record_start, b"\n")
        return rest


def whole_characters(data: bytes | bytearray, size: int) -> int:
    """The largest size up to `size` at which a cut does not break a UTF-8 character."""
    for back in range(min(4, size)):
        if data[size - back] & 0xC0 != 0x80:
            return size - back
    return size
