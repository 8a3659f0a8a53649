"""The content coding `aws-chunked`: pieces with their sizes, perhaps signed, and trailers behind them (AWS: S3 user
guide, "Signature calculations… multiple chunks")."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lambdad.domain.errors import ServiceError

_HEAD_BYTES = 1024
_HEAD = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]*))?")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece."""

    data: bytes
    signature: str
    """Empty where chunks are not signed."""


@dataclass(frozen=True, slots=True)
class Chunked:
    """A whole body. The last chunk is empty, and signed like the others."""

    chunks: tuple[Chunk, ...]
    trailers: dict[str, str]
    """Names are in lower case."""

    @property
    def content(self) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks)


def read(body: bytes) -> Chunked:
    """Raises ServiceError for a body that is not in this coding."""
    chunks: list[Chunk] = []
    place = 0
    while True:
        end = body.find(b"\r\n", place, place + _HEAD_BYTES)
        head = _HEAD.fullmatch(body, place, end) if end >= 0 else None
        if head is None:
            raise _broken()
        size, signature, place = int(head[1], 16), (head[2] or b"").decode("ascii"), end + 2
        if size == 0:
            return Chunked((*chunks, Chunk(b"", signature)), _trailers(body[place:]))
        if body[place + size : place + size + 2] != b"\r\n":
            raise _broken()
        chunks.append(Chunk(body[place : place + size], signature))
        place += size + 2


def _trailers(rest: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in rest.split(b"\r\n"):
        name, colon, text = line.partition(b":")
        if colon:
            # Some clients end the last trailer with a bare line feed.
            found[name.decode("latin-1").strip().lower()] = text.decode("latin-1").strip()
    return found


def _broken() -> ServiceError:
    return ServiceError(
        "InvalidChunkSizeError", "The body is not in the content coding aws-chunked, which was announced."
    )
