"""Posts to HTTP(S) endpoints: one connection for each, of which only the status counts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

USER_AGENT: Final = "Amazon Simple Notification Service Agent"
TIMEOUT_S: Final = 15.0
"""Of one delivery (SNS developer guide)."""
_MAX_ANSWER: Final = 65_536


class PostFailed(Exception):
    """There was no answer."""


class Poster(Protocol):
    """Makes requests."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer. Raises PostFailed."""


class HttpPoster:
    """Makes requests over the network. Certificates are checked; redirects are not followed, as on AWS."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """`url` and headers have been checked to be printable ASCII. Raises PostFailed."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await _post(url, headers, body)
        except TimeoutError:
            raise PostFailed(f"no answer within {self._timeout_s:g} s") from None
        except (OSError, EOFError, ValueError) as error:
            raise PostFailed(str(error) or type(error).__name__) from error


async def _post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    parts = urlsplit(url)
    is_tls = parts.scheme.lower() == "https"
    host, port = parts.hostname or "", parts.port or (443 if is_tls else 80)
    reader, writer = await asyncio.open_connection(host, port, ssl=_tls() if is_tls else None)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}"]
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            lines.append(f"Authorization: Basic {base64.b64encode(credentials).decode('ascii')}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"User-Agent: {USER_AGENT}", f"Content-Length: {len(body)}", "Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode("ascii") + body)
        await writer.drain()
        status, length = await _head(reader)
        while 100 <= status < 200:
            status, length = await _head(reader)
        with contextlib.suppress(asyncio.IncompleteReadError):  # so that the endpoint need not see a reset
            await reader.readexactly(min(length, _MAX_ANSWER))
        return status
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> tuple[int, int]:
    """Status and length of an answer, 0 if it does not say."""
    line = await reader.readline()
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("the answer is not HTTP")
    length = 0
    for _ in range(200):
        header = await reader.readline()
        if not header.strip():
            return int(words[1]), length
        name, _, value = header.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
    raise ValueError("the answer has too many headers")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
