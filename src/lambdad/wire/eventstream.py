"""AWS's event stream framing, as far as streamed invocations need it.

A message: u32 total length, u32 length of the headers, u32 CRC-32 of those eight bytes, headers, payload, u32 CRC-32 of
everything before; all big-endian. A header: u8 length, name, u8 type (7: string), u16 length, value.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_PRELUDE = struct.Struct(">II")
_CHECKSUM = struct.Struct(">I")
_STRING_TYPE = 7


def _headers(headers: Mapping[str, str]) -> bytes:
    encoded = bytearray()
    for name, value in headers.items():
        encoded += bytes([len(name)]) + name.encode("ascii")
        encoded += bytes([_STRING_TYPE]) + struct.pack(">H", len(value)) + value.encode("utf-8")
    return bytes(encoded)


_CHUNK_HEADERS = _headers(
    {":message-type": "event", ":event-type": "PayloadChunk", ":content-type": "application/octet-stream"}
)
_COMPLETE_HEADERS = _headers(
    {":message-type": "event", ":event-type": "InvokeComplete", ":content-type": "application/json"}
)


def _message(headers: bytes, payload: bytes) -> bytes:
    prelude = _PRELUDE.pack(16 + len(headers) + len(payload), len(headers))
    prelude += _CHECKSUM.pack(zlib.crc32(prelude))
    checksum = zlib.crc32(payload, zlib.crc32(headers, zlib.crc32(prelude)))
    return b"".join((prelude, headers, payload, _CHECKSUM.pack(checksum)))


def payload_chunk(data: bytes) -> bytes:
    """A piece of the response."""
    return _message(_CHUNK_HEADERS, data)


def invoke_complete(error_code: str = "", error_details: str = "", log_result: str = "") -> bytes:
    """The end of a streamed invocation; members that are empty are left out."""
    members = {"ErrorCode": error_code, "ErrorDetails": error_details, "LogResult": log_result}
    payload = json.dumps({name: value for name, value in members.items() if value}, separators=(",", ":"))
    return _message(_COMPLETE_HEADERS, payload.encode("utf-8"))
