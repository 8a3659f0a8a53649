"""From bytes to requests: llhttp's strict parser (through httptools) with limits and the checks that it leaves out.

The parser only records. What it records is worked through afterwards, outside its callbacks, by the connection.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import httptools

from lambdad.http.limits import HttpLimits
from lambdad.http.messages import Request

_UNKNOWN_METHOD = re.compile(rb"(?:\r?\n)*[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64} [!-~]+ HTTP/1\.[01]\r?\n")
_ABSOLUTE_TARGET = re.compile(r"https?://([^/?@]+)(/[^?]*)?(?:\?(.*))?", re.IGNORECASE | re.DOTALL)
_NEEDS_CARE = frozenset({"connection", "content-length", "expect", "transfer-encoding", "upgrade"})
_ONLY_ONCE = frozenset({"authorization", "content-length", "host", "transfer-encoding"})
_NOT_FOR_SERVERS = frozenset({b"CONNECT", b"SOURCE"})
_LINE_OVERHEAD = 4  # colon, space, CR, LF
_MOST_NAMES = 2048
_MOST_PARTS = 1024

_names: dict[bytes, str] = {}
_methods: dict[bytes, str] = {}


class Failure(NamedTuple):
    """Why the input cannot be read any further."""

    status: int
    message: str


class Incoming:
    """One request while it arrives."""

    __slots__ = ("_gathered", "complete", "connection", "expects_continue", "keep_alive", "length", "parts",
                 "request", "size", "trailers")  # fmt: skip

    def __init__(self, connection: Any, request: Request, keep_alive: bool, length: int, complete: bool) -> None:
        self.connection = connection
        self.request = request
        self.keep_alive = keep_alive
        self.length = length
        """Content-Length; -1 for a chunked body."""
        self.complete = complete
        self.size = length if complete else 0
        """Bytes of the body so far, including those already taken."""
        self.parts: list[bytes] | None = None
        """The body so far; None while there is none or when it is in the request already."""
        self.expects_continue = False
        self.trailers: dict[str, str] | None = None
        self._gathered: bytearray | None = None

    def take(self) -> bytes:
        """What has arrived since the last call; a single part is not copied."""
        parts = self.parts
        if not parts:
            return b""
        self.parts = None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def gather(self) -> None:
        """Keeps a body that is still arriving; each small packet or chunk would otherwise stay an object of its own."""
        if self.parts is not None and len(self.parts) > _MOST_PARTS:
            if self._gathered is None:
                self._gathered = bytearray()
            self._gathered += self.take()

    def body(self) -> bytes:
        """The whole body, once complete."""
        if self._gathered is None:
            return self.take()
        self._gathered += self.take()
        return bytes(self._gathered)


class _Refused(Exception):
    """Stops the parser; `failure` says why."""


M = TypeVar("M", bound=Incoming)


class RequestParser(Generic[M]):
    """Reads requests into `messages`, in order; only the last may be incomplete. After `failure` it reads nothing."""

    __slots__ = ("_connection", "_floor_bytes", "_headers", "_http", "_incoming", "_limits", "_local_port", "_make",
                 "_now", "_peer_host", "_peer_port", "_quiet_bytes", "_quiet_size", "_repeats", "_same_head", "_url",
                 "_window_bytes", "failure", "final", "head_begun", "is_between", "messages", "surplus")  # fmt: skip

    def __init__(
        self,
        limits: HttpLimits,
        now: Callable[[], float],
        peer: tuple[str, int] = ("", 0),
        local_port: int = 0,
        *,
        make: Callable[[Any, Request, bool, int, bool], M],
        connection: object = None,
    ) -> None:
        self.messages: deque[M] = deque()
        self.failure: Failure | None = None
        self.final = False
        """The client wants no answer beyond that to the last request read."""
        self.surplus = False
        """Bytes followed the final request; they were dropped."""
        self.head_begun = False
        """A request has begun and its head is not complete."""
        self.is_between = True
        """All that was read are whole requests, and another may follow."""
        self._limits = limits
        self._now = now
        self._peer_host, self._peer_port = peer
        self._local_port = local_port
        self._make = make
        self._connection = connection
        self._url = b""
        self._headers: dict[str, str] = {}
        self._repeats = 0
        self._incoming: M | None = None
        # Bounds of the size of the head in progress: llhttp does not tell where in the data a head begins.
        self._window_bytes = 0
        self._floor_bytes = 0
        self._same_head = False
        self._quiet_bytes = 0
        self._quiet_size = 0
        self._http = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Reads the next bytes; never raises for what a client sends."""
        if self.failure is not None or self.surplus:
            return
        if self.final and self._incoming is None and not self.head_begun:
            self.surplus = True
            return
        self._window_bytes = len(data) + (self._window_bytes if self.head_begun else 0)
        self._same_head = self.head_begun
        try:
            self._http.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrades(data, upgrade.args[0])
        except httptools.HttpParserError as error:
            self._fail(error, data)
        if self.failure is None:
            if self.head_begun:
                self._account_head(len(data))
            elif self._incoming is not None and self._incoming.length == -1:
                self._account_chunked(self._incoming, len(data))
        self.is_between = not (self.head_begun or self._incoming is not None or self.final or self.failure is not None)

    def close(self) -> None:
        """Cuts the ties that would keep this object alive until the garbage collector's next round."""
        del self._http
        self._connection = self._incoming = None

    # The callbacks of httptools, on the way of every request.

    def on_message_begin(self) -> None:
        self.head_begun = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key = _names.get(name)
        if key is None:
            key = _name(name)
        text = value.decode("latin-1").rstrip(" \t")
        if key in self._headers:
            self._repeat(key, text)
        else:
            self._headers[key] = text

    def on_headers_complete(self) -> None:
        http = self._http
        headers = self._headers
        url = self._url
        self._headers = {}
        self._url = b""
        self.head_begun = self._same_head = False
        if self._window_bytes > self._limits.target_bytes:
            self._check_sizes(url, headers)
        if len(headers) + self._repeats > self._limits.header_count:
            self._too_many_headers()
        self._repeats = 0
        path, _, query = url.decode("latin-1").partition("?")
        keep_alive = http.should_keep_alive()
        method = http.get_method()
        if method in _NOT_FOR_SERVERS:
            self._refuse(501, f"{method.decode()} is not supported: this is no proxy. Send requests to it directly.")
        request = Request(
            _methods.get(method) or _method(method),
            path,
            query,
            headers,
            b"",
            # Only 1.1 stays open without being asked.
            "1.1" if keep_alive and "connection" not in headers else http.get_http_version(),
            self._peer_host,
            self._peer_port,
            self._local_port,
            self._now(),
        )
        if path[:1] != "/" or b"#" in url:
            self._read_unusual_target(request, url.decode("latin-1"))
        incoming = self._make(self._connection, request, keep_alive, 0, False)
        if not keep_alive or not _NEEDS_CARE.isdisjoint(headers):
            self._read_framing(incoming)
        if "host" not in headers and request.http_version == "1.1":
            self._refuse(400, "The request has no Host header, which HTTP/1.1 requires. Send one.")
        self._incoming = incoming
        self.messages.append(incoming)

    def on_body(self, data: bytes) -> None:
        incoming = self._incoming
        assert incoming is not None
        incoming.size += len(data)
        if incoming.parts is None:
            incoming.parts = [data]
        else:
            incoming.parts.append(data)

    def on_message_complete(self) -> None:
        incoming = self._incoming
        assert incoming is not None
        if self._headers:
            self._read_trailers(incoming)
        incoming.complete = True
        self._incoming = None

    # What only some requests need.

    def _refuse(self, status: int, message: str) -> None:
        self.failure = Failure(status, message)
        raise _Refused

    def _repeat(self, name: str, value: str) -> None:
        if name in _ONLY_ONCE:
            self._refuse(400, f"The header {name} was sent more than once. Send it once.")
        self._repeats += 1
        if self._repeats > self._limits.header_count:  # here, since joining takes time in the square of their number
            self._too_many_headers()
        separator = "; " if name == "cookie" else ","
        self._headers[name] = f"{self._headers[name]}{separator}{value}"

    def _check_sizes(self, url: bytes, headers: dict[str, str]) -> None:
        if len(url) > self._limits.target_bytes:
            self._target_too_long()
        size = sum(len(name) + len(value) + _LINE_OVERHEAD for name, value in headers.items())
        if size > self._limits.header_bytes:
            self._headers_too_large()

    def _target_too_long(self) -> None:
        most = self._limits.target_bytes
        self._refuse(414, f"The path and query of the request are longer than {most} bytes. Shorten them.")

    def _headers_too_large(self) -> None:
        most = self._limits.header_bytes
        self._refuse(431, f"The headers of the request are larger than {most} bytes together. Send fewer.")

    def _too_many_headers(self) -> None:
        most = self._limits.header_count
        self._refuse(431, f"The request has more than {most} header lines. Send fewer.")

    def _read_unusual_target(self, request: Request, target: str) -> None:
        """Absolute form (as sent to proxies) and `*`; the authority in a target goes before Host (RFC 9112, 3.2.2)."""
        if "#" in target:
            self._refuse(400, "The request target contains a fragment. Leave out what follows the #.")
        if target == "*" and request.method == "OPTIONS":
            return
        absolute = _ABSOLUTE_TARGET.fullmatch(target)
        if absolute is None:
            self._refuse(400, "The request target is neither a path nor an http URL. Send a path that begins with a /.")
            return
        request.headers["host"] = absolute[1]
        request.path = absolute[2] or "/"
        request.query = absolute[3] or ""

    def _read_framing(self, incoming: Incoming) -> None:
        """Version, body framing and expectation. llhttp has already refused what is ambiguous inside one header."""
        request = incoming.request
        headers = request.headers
        if request.http_version not in {"1.1", "1.0"}:
            self._refuse(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here. Use one of them.")
        length = headers.get("content-length")
        if length is not None:
            if not (length.isascii() and length.isdigit() and len(length) < 20):
                self._refuse(400, "Content-Length is not a number of bytes. Correct it.")
            incoming.length = int(length)
        coding = headers.get("transfer-encoding")
        if coding is not None:
            if length is not None or request.http_version == "1.0":
                self._refuse(400, "Transfer-Encoding is not allowed here. Send either Content-Length or, in HTTP/1.1, "
                                  "a chunked body.")  # fmt: skip
            if coding.lower() != "chunked":
                self._refuse(501, "Of the transfer codings only chunked is supported. Send the body chunked or whole.")
            incoming.length = -1
            self._quiet_bytes = self._quiet_size = 0
        expectation = headers.get("expect")
        if expectation is not None and request.http_version == "1.1":
            if expectation.lower() != "100-continue":
                self._refuse(417, "Of the expectations only 100-continue is supported. Leave out the Expect header.")
            incoming.expects_continue = True
        self.final = not incoming.keep_alive

    def _read_trailers(self, incoming: Incoming) -> None:
        incoming.trailers = self._headers
        self._headers = {}
        if len(incoming.trailers) + self._repeats > self._limits.header_count:
            self._too_many_headers()
        self._repeats = 0
        self._check_sizes(b"", incoming.trailers)

    def _account_head(self, fed: int) -> None:
        """Bounds what llhttp and httptools gather inside: one header value may come in any number of pieces."""
        self._floor_bytes = self._floor_bytes + fed if self._same_head else 0
        try:
            if len(self._url) > self._limits.target_bytes:
                self._target_too_long()
            if self._floor_bytes > self._limits.target_bytes + self._limits.header_bytes:
                self._headers_too_large()
        except _Refused:
            return

    def _account_chunked(self, incoming: Incoming, fed: int) -> None:
        """Chunk extensions and trailers are no part of the body; a client may not send them without end."""
        self._quiet_bytes = self._quiet_bytes + fed if incoming.size == self._quiet_size else 0
        self._quiet_size = incoming.size
        if self._quiet_bytes > self._limits.header_bytes:
            self.failure = Failure(431, "Chunk extensions or trailers are too large. Send them shorter or not at all.")

    def _ignore_upgrades(self, data: bytes, offset: int) -> None:
        """Reads on as if no upgrade had been asked for (RFC 9110, 7.8 allows that).

        llhttp stops behind the head of such a request and takes its body for the other protocol; so a fresh parser is
        led to the same point with a head that asks for nothing.
        """
        rest = memoryview(data)
        while True:
            incoming = self.messages[-1]
            if incoming.length:
                coding = f"Content-Length: {incoming.length}" if incoming.length > 0 else "Transfer-Encoding: chunked"
                self._http = httptools.HttpRequestParser(self)
                self._http.feed_data(f"POST / HTTP/1.1\r\nHost: a\r\n{coding}\r\n\r\n".encode())
                self.messages.pop()
                incoming.complete = False
                self._incoming = incoming
                self.final = not incoming.keep_alive
            rest = rest[offset:]
            try:
                self._http.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                offset = upgrade.args[0]
            except httptools.HttpParserError as error:
                self._fail(error, bytes(rest[:256]))
                return

    def _fail(self, error: httptools.HttpParserError, data: bytes) -> None:
        if self.failure is not None:  # refused by one of the checks above
            return
        if self.final and self._incoming is None:  # llhttp stops at the first byte after it
            self.surplus = True
            return
        reason = str(error)
        is_first = self.is_between and not self.messages  # `data` begins with it
        if reason == "Invalid HTTP version" or "PRI" in reason:
            self.failure = Failure(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here. Use one of them.")
        elif not is_first or not isinstance(error, httptools.HttpParserInvalidMethodError):
            self.failure = Failure(400, f"The request is not valid HTTP/1.1 ({reason}). Correct the client.")
        elif data[:2] == b"\x16\x03":
            self.failure = Failure(400, "This port speaks plain HTTP, not TLS. Use an http:// URL.")
        elif _UNKNOWN_METHOD.match(data):
            self.failure = Failure(501, "The method of the request is not known here. Use one that HTTP defines.")
        else:
            self.failure = Failure(400, f"The request is not valid HTTP/1.1 ({reason}). Correct the client.")


def _name(raw: bytes) -> str:
    name = raw.decode("latin-1").lower()
    if len(_names) < _MOST_NAMES:  # clients choose the names: the table must not grow for ever
        _names[raw] = name
    return name


def _method(raw: bytes) -> str:
    # llhttp knows a fixed list of methods, so the table stays small.
    method = _methods[raw] = raw.decode("ascii")
    return method
