"""The server's end of the frames channel in its simplest form, for tests of bootstraps without a server."""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

READY, RESPONSE, ERROR, INIT_ERROR = 0x11, 0x12, 0x13, 0x14


@dataclass(frozen=True, slots=True)
class Answer:
    """One frame of a runtime."""

    kind: int
    text: str = ""
    """Content type or error type."""
    peak_kib: int = 0
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def invoke_frame(
    event: bytes,
    *,
    request_id: str = "8f5e3ad4-0d0f-4c11-9d39-5f1a0a1b2c3d",
    deadline_ms: int | None = None,
    arn: str = "arn:aws:lambda:us-east-1:000000000000:function:f",
    trace_id: str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
    client_context: str = "",
    identity: str = "",
    tenant_id: str = "",
) -> bytes:
    """An INVOKE frame."""
    if deadline_ms is None:
        deadline_ms = int(time.time() * 1000) + 3000
    texts = b"".join(
        struct.pack(">I", len(text.encode())) + text.encode()
        for text in (request_id, arn, trace_id, client_context, identity, tenant_id)
    )
    payload = b"\x01" + struct.pack(">Q", deadline_ms) + texts + event
    return struct.pack(">I", len(payload)) + payload


def read_frame(sock: socket.socket) -> Answer | None:
    """Waits for one frame on a blocking socket; None at its end."""
    head = _read(sock, 4)
    if head is None:
        return None
    data = _read(sock, struct.unpack(">I", head)[0])
    if data is None:
        return None
    if data[0] == READY:
        return Answer(READY)
    (size,) = struct.unpack_from(">I", data, 1)
    (peak,) = struct.unpack_from(">I", data, 5 + size)
    return Answer(data[0], data[5 : 5 + size].decode(), peak, data[9 + size :])


def _read(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        try:
            piece = sock.recv(size - len(data))
        except ConnectionResetError:
            return None
        if not piece:
            return None
        data += piece
    return bytes(data)
