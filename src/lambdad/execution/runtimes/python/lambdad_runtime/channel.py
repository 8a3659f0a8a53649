"""The runtime's end of the frames channel: one read and one write for an invocation.

Frames and their numbers are described where the server speaks them. Strings are a u32 length and UTF-8 bytes.
"""

from __future__ import annotations

import os
import select
import struct
from resource import RUSAGE_SELF, getrusage

_READY = b"\x00\x00\x00\x01\x11"
_RESPONSE = 0x12
_ERROR = 0x13
_INIT_ERROR = 0x14
_INVOKE = 0x01

_READ_SIZE = 65_536
_JOIN_LIMIT = 262_144
"""A body above this is written by itself, not copied behind its head."""

_unpack_head = struct.Struct(">IBQI").unpack_from
_unpack_u32 = struct.Struct(">I").unpack_from
_pack_u32 = struct.Struct(">I").pack
_pack_head = struct.Struct(">IBI").pack


class ServerGone(Exception):
    """The server has closed the channel: there is nothing left to do."""


class Channel:
    """A blocking channel on an inherited descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # Who sleeps in a read of a Unix socket is woken once more, for nothing, when the other end takes what was
        # written before: the kernel wakes all sleepers when there is room again. Who polls is woken by input alone.
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        self._wait = waiting.poll

    def ready(self) -> None:
        """Init is over."""
        self._write(_READY)

    def next(self) -> tuple[int, list[str], bytes | memoryview]:
        """Waits for an invocation: deadline in Unix ms, the six strings of the frame, the event."""
        self._wait()
        data: bytes | bytearray = os.read(self._descriptor, _READ_SIZE)
        if len(data) < 17:
            data = self._complete(data, 17)
        length, kind, deadline_ms, size = _unpack_head(data)
        if len(data) < length + 4:
            data = self._complete(data, length + 4)
        if kind != _INVOKE:
            raise ServerGone
        texts = []
        position = 17
        while True:
            stop = position + size
            texts.append(str(data[position:stop], "utf-8") if size else "")
            if len(texts) == 6:
                break
            (size,) = _unpack_u32(data, stop)
            position = stop + 4
        if len(data) > _READ_SIZE:
            return deadline_ms, texts, memoryview(data)[stop:]
        return deadline_ms, texts, bytes(data[stop:])

    def _complete(self, data: bytes | bytearray, size: int) -> bytearray:
        """Reads on until `size` bytes are there."""
        if not data:
            raise ServerGone
        whole = bytearray(size)
        filled = len(data)
        whole[:filled] = data
        with memoryview(whole) as view:
            while filled < size:
                count = os.readv(self._descriptor, [view[filled:]])
                if count == 0:
                    raise ServerGone
                filled += count
        return whole

    def respond(self, content_type: bytes, body: bytes) -> None:
        """Answers the invocation; also says that the runtime waits for the next one."""
        self._answer(_RESPONSE, content_type, body)

    def fail(self, error_type: str, body: bytes) -> None:
        """Answers the invocation with an error payload."""
        self._answer(_ERROR, error_type.encode("utf-8", "replace"), body)

    def init_failed(self, error_type: str, body: bytes) -> None:
        """Init ended in an error; the process is to exit now."""
        self._answer(_INIT_ERROR, error_type.encode("utf-8", "replace"), body)

    def _answer(self, kind: int, text: bytes, body: bytes) -> None:
        size = len(text)
        head = _pack_head(9 + size + len(body), kind, size) + text + _pack_u32(getrusage(RUSAGE_SELF).ru_maxrss)
        if len(body) <= _JOIN_LIMIT:
            self._write(head + body)
        else:
            self._write(head)
            self._write(body)

    def _write(self, data: bytes) -> None:
        sent = os.write(self._descriptor, data)
        if sent < len(data):
            view = memoryview(data)
            while sent < len(data):
                sent += os.write(self._descriptor, view[sent:])
