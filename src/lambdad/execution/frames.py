"""The frames channel: length-prefixed messages on a socketpair, spoken by our own bootstraps.

A frame is a big-endian u32 (length of what follows), a u8 (kind) and the payload; a string inside a payload is a u32
length and UTF-8 bytes. One frame each way per invocation, no header parsing: about half the latency of HTTP over
loopback, which matters because the overhead of a warm call is mostly this exchange.

    server to runtime
      0x01 INVOKE        u64 deadline in Unix ms; strings: request id, invoked function ARN, trace id, client context,
                         Cognito identity, tenant id (absent ones empty); the rest is the event
      0x02 TURN          empty; there are extensions: the event loop has to turn between invocations, too. Node.js alone
      0x03 BIND          strings NAME=value: all variables of the function whose code is there now; only for a runtime
                         that was started ahead of its function, and before anything else
    runtime to server
      0x11 READY         empty; init is over
      0x12 RESPONSE      string content type, u32 peak memory in KiB (0: unknown), the rest is the body
      0x13 ERROR         string error type, u32 peak, the rest is the error as JSON
      0x14 INIT_ERROR    like ERROR; the process exits afterwards
      0x15 STREAM_START  string content type
      0x16 STREAM_CHUNK  bytes
      0x17 STREAM_END    string error type (empty: none), u32 peak, the rest is the error as JSON
      0x18 FATAL         like ERROR, or like STREAM_END with an error while a stream is open; the process exits
                         afterwards, so the runtime must not be handed another invocation

The other end is a function, so nothing it sends is trusted: a frame out of order, an unknown kind or a length that
does not fit ends the channel, as if the runtime had gone.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import socket
import struct
from collections.abc import Mapping
from typing import Final

from lambdad.domain.failures import RESPONSE_LIMIT_BYTES
from lambdad.domain.invocations import Invocation
from lambdad.execution.channel import ChannelEvents
from lambdad.execution.error_types import declared_error_type

FRAMES_FD_VARIABLE: Final = "_LAMBDAD_FRAMES_FD"
"""The environment variable that names the runtime's descriptor; the bootstrap removes it before user code runs."""

_RECEIVE_SIZE = 65536
_HEAD = struct.Struct(">IB")
_INVOKE_HEAD = struct.Struct(">IBQI")
_U32 = struct.Struct(">I")
_RESPONSE_HEAD = struct.Struct(">IBI")
_KIND_SIZE = 1
_FIXED_SIZE = _KIND_SIZE + 8 + 4 + 4
"""Of an INVOKE frame, behind its length: kind, deadline, and the lengths of request id and trace id."""
_INVOKE = 0x01
_RESPONSE = 0x12
_TURN = _HEAD.pack(_KIND_SIZE, 0x02)
_BIND = 0x03
UNBOUND_VARIABLE: Final = "_LAMBDAD_UNBOUND"
"""Set for a runtime that is to wait for BIND before it looks at anything of its function."""
_THREE_EMPTY = bytes(12)
_SMALL_FRAME_LIMIT = 1 << 20
"""For frames that carry no result: far more than any honest bootstrap sends."""
_RESULT_HEAD_LIMIT = 4096
"""Content type or error type and their lengths, on top of a result of the largest size allowed."""


class Kind(enum.IntEnum):
    """What a frame is."""

    INVOKE = 0x01
    TURN = 0x02
    READY = 0x11
    RESPONSE = 0x12
    ERROR = 0x13
    INIT_ERROR = 0x14
    STREAM_START = 0x15
    STREAM_CHUNK = 0x16
    STREAM_END = 0x17
    FATAL = 0x18


class State(enum.Enum):
    """Where the runtime stands, seen from the server."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    STREAMING = "streaming"
    ANSWERED = "answered"
    """The answer is being told; `next_requested` follows within the same tick."""
    ENDING = "ending"
    """The runtime has told its last word; its process exits."""
    CLOSED = "closed"


# What the runtime may send in which state, and where that leads. Anything else breaks the protocol.
NEXT_STATE: Final[dict[State, dict[int, State]]] = {
    State.STARTING: {Kind.READY: State.ANSWERED, Kind.INIT_ERROR: State.ENDING},
    State.IDLE: {},
    State.BUSY: {
        Kind.RESPONSE: State.ANSWERED,
        Kind.ERROR: State.ANSWERED,
        Kind.STREAM_START: State.STREAMING,
        Kind.FATAL: State.ENDING,
    },
    State.STREAMING: {
        Kind.STREAM_CHUNK: State.STREAMING,
        Kind.STREAM_END: State.ANSWERED,
        Kind.FATAL: State.ENDING,
    },
    State.ANSWERED: {},
    State.ENDING: {},
    State.CLOSED: {},
}

_LENGTH_LIMIT: Final[dict[int, int]] = {
    Kind.READY: _KIND_SIZE,
    Kind.INIT_ERROR: _SMALL_FRAME_LIMIT,
    Kind.STREAM_START: _SMALL_FRAME_LIMIT,
    Kind.STREAM_END: _SMALL_FRAME_LIMIT,
    Kind.FATAL: _SMALL_FRAME_LIMIT,
}


class _BrokenProtocol(Exception):
    """The runtime's bytes make no sense; the channel is given up."""


# Named once: on Python 3.11 each look at an enum's member is a call in Python.
_IDLE = State.IDLE
_BUSY = State.BUSY
_ANSWERED = State.ANSWERED


def open_pair() -> tuple[socket.socket, socket.socket]:
    """A fresh channel: the server's end (non-blocking) and the runtime's (blocking, to be inherited)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    for end in (ours, theirs):
        # The kernel cuts this to its own maximum. Fewer, larger pieces: a 6 MB payload passes in half the time.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return ours, theirs


def bind_frame(environ: Mapping[str, str]) -> bytes:
    """What makes a waiting runtime that of a function."""
    texts = [f"{name}={value}".encode("utf-8", "surrogateescape") for name, value in environ.items()]
    payload = b"".join(_U32.pack(len(text)) + text for text in texts)
    return _HEAD.pack(_KIND_SIZE + len(payload), _BIND) + payload


class FramesChannel:
    """The server's end of one socketpair; owns `sock`.

    Must be made on a running event loop. `deliver` writes at once when the runtime waits, and most invocations fit
    into one `send`; answers are parsed where they were received.
    """

    def __init__(self, sock: socket.socket, events: ChannelEvents, *, blocks: bool = False) -> None:
        """`blocks`: a runtime whose event loop stands still while it waits, unless it is told to let it turn."""
        sock.setblocking(False)
        self._sock = sock
        self._events = events
        self._blocks = blocks
        self._loop = asyncio.get_running_loop()
        self._state = State.STARTING
        self._pending: Invocation | None = None
        self._received = b""  # the beginning of a frame that is not complete yet
        self._large: bytearray | None = None  # a frame longer than one receive, being filled
        self._large_filled = 0
        self._passing = 0  # bytes of a stream chunk still to come; they are handed on as they arrive
        self._dropping = 0  # bytes of a response that is too large
        self._unsent: list[memoryview] = []
        self._loop.add_reader(sock, self._on_readable)

    @property
    def state(self) -> State:
        """For the environment's reports and the tests."""
        return self._state

    def deliver(self, invocation: Invocation) -> None:
        if self._state is _IDLE:
            self._send_invocation(invocation)
        elif self._state in {State.STARTING, _ANSWERED} and self._pending is None:
            self._pending = invocation
        elif self._state is not State.CLOSED:
            raise RuntimeError(f"the runtime is {self._state.value}: it cannot take another invocation")

    def silence(self) -> None:
        if self._state is not State.CLOSED:
            self._state = State.ENDING
            self._pending = None
            self._loop.remove_reader(self._sock)
            self._stop_writing()

    def close(self) -> None:
        if self._state is State.CLOSED:
            return
        self._state = State.CLOSED
        self._pending = None
        self._loop.remove_reader(self._sock)
        self._stop_writing()
        self._sock.close()

    def keep_turning(self) -> None:
        if self._blocks:
            self._send([_TURN])

    def pause(self) -> None:
        if self._state is not State.CLOSED:
            self._loop.remove_reader(self._sock)

    def resume(self) -> None:
        if self._state is not State.CLOSED:
            self._loop.add_reader(self._sock, self._on_readable)

    # Sending

    def _send_invocation(self, invocation: Invocation) -> None:
        self._state = _BUSY
        event = invocation.event
        request_id = invocation.request_id.encode()
        trace_id = invocation.trace_id.encode()
        if invocation.client_context or invocation.cognito_identity or invocation.tenant_id:
            rest = b"".join(
                [
                    _string(invocation.client_context),
                    _string(invocation.cognito_identity),
                    _string(invocation.tenant_id),
                ]
            )
        else:
            rest = _THREE_EMPTY
        arn = _known_string(invocation.invoked_function_arn)
        length = _FIXED_SIZE + len(request_id) + len(arn) + len(trace_id) + len(rest) + len(event)
        head = b"".join(
            (
                _INVOKE_HEAD.pack(length, _INVOKE, invocation.deadline_ms, len(request_id)),
                request_id,
                arn,
                _U32.pack(len(trace_id)),
                trace_id,
                rest,
            )
        )
        if len(event) > _RECEIVE_SIZE:  # copying megabytes together costs more than a second system call
            self._send([head, event])
            return
        frame = head + event
        try:
            sent = self._sock.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the runtime is gone; the reader sees the end of the stream and tells
        if sent != len(frame):
            self._send([frame[sent:]])

    def _send(self, pieces: list[bytes]) -> None:
        parts = [memoryview(piece) for piece in pieces]
        try:
            while parts:
                sent = self._sock.send(parts[0])
                if sent == len(parts[0]):
                    parts.pop(0)
                else:
                    parts[0] = parts[0][sent:]
        except BlockingIOError:
            pass
        except OSError:
            return  # the runtime is gone; the reader sees the end of the stream and tells
        if parts:
            self._unsent = parts
            self._loop.add_writer(self._sock, self._on_writable)

    def _on_writable(self) -> None:
        try:
            sent = self._sock.send(self._unsent[0])
        except BlockingIOError:
            return
        except OSError:
            self._stop_writing()
            return
        if sent < len(self._unsent[0]):
            self._unsent[0] = self._unsent[0][sent:]
            return
        self._unsent.pop(0)
        if not self._unsent:
            self._stop_writing()

    def _stop_writing(self) -> None:
        if self._unsent:
            self._unsent = []
        self._loop.remove_writer(self._sock)

    # Receiving

    def _on_readable(self) -> None:
        try:
            if self._large is not None:
                self._fill_large(self._large)
            else:
                data = self._sock.recv(_RECEIVE_SIZE)
                if not data:
                    raise _BrokenProtocol
                if self._state is not _BUSY or self._received or not self._take_whole_response(data):
                    self._take(self._received + data if self._received else data)
        except (BlockingIOError, InterruptedError):
            return
        except (_BrokenProtocol, OSError, struct.error):
            self._give_up()

    def _give_up(self) -> None:
        if self._state is State.CLOSED:
            return
        self.close()
        self._events.channel_closed()

    def _fill_large(self, large: bytearray) -> None:
        with memoryview(large) as view:
            count = self._sock.recv_into(view[self._large_filled :])
        if count == 0:
            raise _BrokenProtocol
        self._large_filled += count
        if self._large_filled == len(large):
            self._large = None
            self._on_frame(large[0], bytes(memoryview(large)[1:]))

    def _take_whole_response(self, data: bytes) -> bool:
        """The usual case, cut short: `data` is exactly one RESPONSE frame. Everything else is left to `_take`."""
        if len(data) < _RESPONSE_HEAD.size:
            return False
        length, kind, text_length = _RESPONSE_HEAD.unpack_from(data)
        body = _RESPONSE_HEAD.size + text_length + _U32.size
        if kind != _RESPONSE or len(data) != length + _U32.size or body > len(data):
            return False
        content_type = data[_RESPONSE_HEAD.size : body - _U32.size].decode("utf-8", "replace")
        (peak_kib,) = _U32.unpack_from(data, body - _U32.size)
        self._state = _ANSWERED
        self._events.responded(data[body:], content_type, peak_kib)
        self._free()
        return True

    def _take(self, data: bytes) -> None:
        """Works through `data`, which begins at a frame or inside one that is passed on or dropped."""
        self._received = b""
        offset = 0
        end = len(data)
        while offset < end and self._state is not State.CLOSED:
            if self._passing or self._dropping:
                offset = self._take_part(data, offset)
                continue
            if end - offset < _HEAD.size:
                self._received = data[offset:]
                return
            length, kind = _HEAD.unpack_from(data, offset)
            if length < _KIND_SIZE or kind not in NEXT_STATE[self._state]:
                raise _BrokenProtocol
            body = offset + _HEAD.size
            stop = body + length - _KIND_SIZE
            if kind == Kind.STREAM_CHUNK:
                self._passing = length - _KIND_SIZE
                offset = body
            elif length > _LENGTH_LIMIT.get(kind, RESPONSE_LIMIT_BYTES + _RESULT_HEAD_LIMIT):
                self._begin_dropping(kind, length - _KIND_SIZE)
                offset = body
            elif stop <= end:
                offset = stop
                self._on_frame(kind, data[body:stop])
            else:
                self._begin_large(data[body - _KIND_SIZE :], length)
                return

    def _take_part(self, data: bytes, offset: int) -> int:
        stop = min(len(data), offset + (self._passing or self._dropping))
        if self._passing:
            self._passing -= stop - offset
            self._events.stream_chunk(data[offset:stop])
        else:
            self._dropping -= stop - offset
            if self._dropping == 0:
                self._too_large()
        return stop

    def _begin_large(self, beginning: bytes, length: int) -> None:
        self._large = bytearray(length)
        self._large[: len(beginning)] = beginning
        self._large_filled = len(beginning)

    def _begin_dropping(self, kind: int, size: int) -> None:
        if kind not in {Kind.RESPONSE, Kind.ERROR}:
            raise _BrokenProtocol
        self._dropping = size

    def _too_large(self) -> None:
        self._state = State.ANSWERED
        self._events.response_too_large()
        self._free()

    def _on_frame(self, kind: int, payload: bytes) -> None:
        following = NEXT_STATE[self._state].get(kind)
        if following is None:
            raise _BrokenProtocol
        if kind == Kind.READY:
            self._state = following
            self._events.ready()
        elif kind == Kind.STREAM_START:
            content_type, _ = _text(payload, 0)
            self._state = following
            self._events.stream_started(content_type)
        else:
            text, position = _text(payload, 0)
            (peak_kib,) = _U32.unpack_from(payload, position)
            body = payload[position + _U32.size :]
            if len(body) > RESPONSE_LIMIT_BYTES:
                self._too_large()
                return
            streaming = self._state is State.STREAMING
            self._state = following
            self._tell(kind, text, body, peak_kib, streaming=streaming)
        if following is State.ANSWERED:
            self._free(first=kind == Kind.READY)

    def _tell(self, kind: int, text: str, body: bytes, peak_kib: int, *, streaming: bool) -> None:
        if kind == Kind.RESPONSE:
            self._events.responded(body, text, peak_kib)
        elif kind == Kind.INIT_ERROR:
            self._events.init_failed(declared_error_type(text), body)
        elif streaming:
            error_type = declared_error_type(text) if text else ""
            self._events.stream_ended(error_type, body, peak_kib)
        else:
            self._events.failed(declared_error_type(text), body, peak_kib)

    def _free(self, *, first: bool = False) -> None:
        """The runtime waits. A listener of the event before may have closed the channel meanwhile."""
        if self._state is not _ANSWERED:
            return
        self._state = _IDLE
        if not first:
            self._events.next_requested()
        pending, self._pending = self._pending, None
        if pending is not None and self._state is _IDLE:
            self._send_invocation(pending)


def _text(payload: bytes, position: int) -> tuple[str, int]:
    (length,) = _U32.unpack_from(payload, position)
    start = position + _U32.size
    if start + length > len(payload):
        raise _BrokenProtocol
    return payload[start : start + length].decode("utf-8", "replace"), start + length


def _string(text: str) -> bytes:
    encoded = text.encode()
    return _U32.pack(len(encoded)) + encoded


_known_string = functools.lru_cache(maxsize=4096)(_string)
"""For texts that come again and again, such as ARNs."""
