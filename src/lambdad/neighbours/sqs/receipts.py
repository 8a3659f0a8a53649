"""Receipt handles: opaque texts that name one receipt of one message."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

from lambdad.domain.queues import Receipt

_LAYOUT = struct.Struct(">3sQQI")
_MARK = b"\x01\x01\x01"
_CHECK_BYTES = 10  # makes 33 bytes, so that the text has no padding and each handle one spelling


def encode(receipt: Receipt) -> str:
    """The handle of a receipt; it begins with `AQEB`, as those of AWS do."""
    data = _LAYOUT.pack(_MARK, receipt.bucket, receipt.row, receipt.receives)
    return base64.b64encode(data + _check(data)).decode("ascii")


def decode(handle: str) -> Receipt | None:
    """The receipt of a handle; None for a text that is no handle, or one that was cut or changed."""
    try:
        data = base64.b64decode(handle, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(data) != _LAYOUT.size + _CHECK_BYTES or _check(data[: _LAYOUT.size]) != data[_LAYOUT.size :]:
        return None
    mark, bucket, row, receives = _LAYOUT.unpack_from(data)
    return Receipt(bucket, row, receives) if mark == _MARK else None


def _check(data: bytes) -> bytes:
    # Against mix-ups, not against forgery: who may call may delete anyway.
    return hashlib.blake2b(data, digest_size=_CHECK_BYTES).digest()
