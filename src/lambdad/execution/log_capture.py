"""What a function prints: read from its pipe, cut into lines, sent to its log stream, and kept as a tail if wanted.

The pipe is always read, however much comes, so that no function hangs on a full pipe; the memory used does not depend
on how much is printed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios
from collections.abc import Callable

from lambdad.clock import Clock
from lambdad.domain.functions import LoggingConfig
from lambdad.domain.logs import RECORD_NEWLINE, RECORD_START
from lambdad.execution.log_lines import ApplicationFilter, LineBuffer, LogTail
from lambdad.execution.sandbox import LogStream
from lambdad.execution.telemetry_api.stream import TelemetryStream

READ_SIZE = 65_536
"""The capacity of a pipe: what was printed before an answer is in the pipe when the answer arrives."""
INVOCATION_LIMIT_BYTES = 64 << 20
"""What one invocation may print, or init before the first. AWS has no such limit and asks money for logs; here it keeps
a function in an endless loop from filling the disk. What is above is read, shown in the tail, and dropped."""
_NOTHING = bytes(4)


class LogCapture:
    """The output of one environment. One invocation at a time, so what comes between START and END is its own."""

    def __init__(self, stream: LogStream, clock: Clock, logging: LoggingConfig) -> None:
        self._stream = stream
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # Who writes newlines of records in this way marks the start of records too.
        start = RECORD_START if stream.record_newline == RECORD_NEWLINE else b""
        self._pipe = _Pipe(self._loop, lambda lines: self._keep("function", lines), record_start=start)
        self._extensions: _Pipe | None = None
        self.telemetry: TelemetryStream | None = None
        """Gets what is printed, too; None where nobody wants it."""
        self._left = INVOCATION_LIMIT_BYTES  # negative: so many bytes were dropped, or a line more
        self._tail: LogTail | None = None
        self._is_json = logging.log_format == "JSON"
        level = logging.application_log_level
        self._filter = ApplicationFilter(level) if self._is_json and level else None

    def attach(self, descriptor: int, extensions: int = -1) -> None:
        """Takes over the read ends of pipes (non-blocking), of the runtime's output and of its extensions', and reads
        them from now on."""
        self._pipe.attach(descriptor)
        if extensions >= 0:
            self._extensions = _Pipe(self._loop, lambda lines: self._keep("extension", lines))
            self._extensions.attach(extensions)

    def detach(self) -> None:
        """Closes the pipes. What was not read is lost, so drain first."""
        self._pipe.detach()
        if self._extensions is not None:
            self._extensions.detach()
            self._extensions = None

    def close(self) -> None:
        self.detach()
        self._stream.close()

    def begin(self, *, tail: bool, lines: bytes = b"", time_ms: int = 0) -> None:
        """An invocation begins, with `lines` of our own; the init output that came before belongs to the tail of a cold
        start."""
        if self._left < 0:
            self._tell_dropped()
        self._left = INVOCATION_LIMIT_BYTES
        if not tail:
            self._tail = None
        elif self._tail is None:
            self._tail = LogTail(whole_records=self._is_json)
        self.write(lines, time_ms)

    def end(self, lines: bytes = b"", time_ms: int = 0) -> None:
        """An invocation ends, or init: says what was dropped of it, then `lines` of our own."""
        if self._left < 0:
            self._tell_dropped()
        self._left = INVOCATION_LIMIT_BYTES
        self.write(lines, time_ms)

    def _tell_dropped(self) -> None:
        self.write(
            b"lambdad: %d bytes of log output were dropped; one invocation may print %d bytes\n"
            % (-self._left, INVOCATION_LIMIT_BYTES)
        )

    def write(self, lines: bytes, time_ms: int = 0) -> None:
        """Adds lines of our own, such as START and REPORT."""
        if lines:
            if self._tail is not None:
                self._tail.add(lines)
            self._stream.append(time_ms or self._clock.time_ms(), lines)

    def write_record(self, text: bytes) -> None:
        """Adds one record of ours that has several lines; it stays one log event."""
        self.write(text.rstrip(b"\n").replace(b"\n", self._stream.record_newline) + b"\n")

    def tail(self) -> bytes:
        """The last 4,096 bytes of the invocation that has just ended."""
        tail, self._tail = self._tail, None
        return tail.result(record_newline=self._stream.record_newline) if tail is not None else b""

    def drain(self) -> None:
        """Reads what is in the pipes now, up to their capacity: a thread that prints on does not hold up the answer."""
        self._pipe.drain()
        if self._extensions is not None:
            self._extensions.drain()

    def _keep(self, source: str, lines: bytes) -> None:
        # The tail is taken before levels are filtered (AWS: captured 2026).
        if self._tail is not None:
            self._tail.add(lines)
        left, self._left = self._left, self._left - len(lines)
        if self._left < 0:
            lines = lines[: lines.rfind(b"\n", 0, max(left, 0)) + 1]
        if self._filter is not None:
            lines = self._filter.keep(lines)
        if lines:
            self._stream.append(self._clock.time_ms(), lines)
            if self.telemetry is not None:
                self.telemetry.add_lines(source, lines, self._stream.record_newline)


class _Pipe:
    """The read end of one pipe."""

    __slots__ = ("_buffer", "_descriptor", "_keep", "_loop", "_waiting")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, keep: Callable[[bytes], None], *, record_start: bytes = b""
    ) -> None:
        """`keep` gets complete lines."""
        self._loop = loop
        self._keep = keep
        self._descriptor = -1
        self._waiting = bytearray(4)  # an int, for the kernel to fill in
        self._buffer = LineBuffer(record_start=record_start)

    def attach(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop.add_reader(descriptor, self._on_readable)

    def detach(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        self._flush_rest()

    def drain(self) -> None:
        if self._descriptor >= 0:
            # Asked first: most invocations print nothing, and an empty read costs an exception.
            fcntl.ioctl(self._descriptor, termios.FIONREAD, self._waiting)
            if self._waiting != _NOTHING:
                self._read(READ_SIZE)
        if self._buffer.rest:
            self._flush_rest()

    def _on_readable(self) -> None:
        if not self._read(READ_SIZE):
            # Every writer has closed its end; the descriptor is readable for ever, so look no more.
            self._loop.remove_reader(self._descriptor)

    def _read(self, size: int) -> bool:
        """False at the end of the output."""
        try:
            data = os.read(self._descriptor, size)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        lines = self._buffer.feed(data)
        if lines:
            self._keep(lines)
        return True

    def _flush_rest(self) -> None:
        rest = self._buffer.take_rest()
        if rest:
            self._keep(rest + b"\n")
