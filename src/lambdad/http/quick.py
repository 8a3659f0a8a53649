"""The short way for requests that arrive whole, in one piece and without anything unusual: nearly all of them.

Here llhttp only says whether the bytes are valid; what they mean is taken from the lines, most of which have been seen
before. What is not plain is left untouched to `RequestParser`, which comes to the same requests from the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import httptools

from lambdad.http.limits import HttpLimits
from lambdad.http.messages import Request
from lambdad.http.parser import M

T = TypeVar("T")

_PLAIN_REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[^ #?]*)(?:\?([^ #]*))? HTTP/1\.1\r")
_NOT_PLAIN = frozenset({"connection", "expect", "proxy-connection", "transfer-encoding", "upgrade"})
_MOST_KNOWN = 256
_LONGEST_KNOWN = 512
_MOST_LINES = 2048
_LONGEST_LINE = 256
_ALWAYS_NEW = frozenset({"authorization", "amz-sdk-invocation-id"})
"""Headers whose lines never come again."""

_Head = tuple[bytes, str, str, str, dict[str, str], int]
"""The bytes of a head, its method, path, query and headers, and the size of the whole request."""
_NO_HEAD: _Head = (b"\n", "", "", "", {}, 0)  # no request begins so
_known: dict[bytes, _Head] = {}
"""Heads that were valid, and would be again. Signed ones differ each time and are not kept."""
_targets: dict[bytes, tuple[str, str, str]] = {}
"""Method, path and query of request lines."""
_lines: dict[bytes, tuple[str, str]] = {}
"""Name and value of header lines. Whether these lines are valid, llhttp says for each head anew."""


class QuickReader(Generic[M]):
    """Reads whole requests for one connection."""

    __slots__ = ("_completion", "_connection", "_feed", "_last_known", "_limits", "_local_port", "_longest", "_make",
                 "_now", "_peer_host", "_peer_port")  # fmt: skip

    def __init__(
        self,
        limits: HttpLimits,
        now: Callable[[], float],
        peer: tuple[str, int],
        local_port: int,
        *,
        make: Callable[[Any, Request, bool, int, bool], M],
        connection: object = None,
    ) -> None:
        self._limits = limits
        self._longest = min(limits.target_bytes, limits.header_bytes)
        self._now = now
        self._peer_host, self._peer_port = peer
        self._local_port = local_port
        self._make = make
        self._connection = connection
        self._last_known = _NO_HEAD
        self._completion = _Completion()
        self._feed: Callable[[bytes], None] | None = None

    def read(self, data: bytes) -> M | None:
        """The request, if `data` is exactly one whole and plain one; otherwise nothing has happened."""
        head = self._last_known
        if not data.startswith(head[0]):
            end = data.find(b"\r\n\r\n") + 4
            if not 4 < end <= self._longest:
                return None
            known = _known.get(data[:end]) if end <= _LONGEST_KNOWN else None
            if known is None:
                return self._read_new(data, end)
            if len(known[4]) > self._limits.header_count:  # the table serves listeners with other limits too
                return None
            self._last_known = head = known
        raw, method, path, query, headers, size = head
        return self._request(data, len(raw), method, path, query, headers.copy()) if len(data) == size else None

    def _request(self, data: bytes, end: int, method: str, path: str, query: str, headers: dict[str, str]) -> M:
        request = Request(
            method,
            path,
            query,
            headers,
            data[end:],
            "1.1",
            self._peer_host,
            self._peer_port,
            self._local_port,
            self._now(),
        )
        return self._make(self._connection, request, True, len(data) - end, True)

    def _read_new(self, data: bytes, end: int) -> M | None:
        lines = data[: end - 3].split(b"\n")  # one byte is found several times faster than two; each line keeps its CR
        target = _targets.get(lines[0])
        comes_again = target is not None  # paths with an id in them do not
        if target is None:
            target = _read_request_line(lines[0])
            if target is None:
                return None
        del lines[0]
        headers: dict[str, str] = {}
        for line in lines:
            name, value = _lines.get(line) or _read_line(line)
            headers[name] = value
        if (
            len(headers) != len(lines)  # repeated ones are to be joined
            or len(headers) > self._limits.header_count
            or "host" not in headers
            or not _NOT_PLAIN.isdisjoint(headers)
        ):
            return None
        length = headers.get("content-length", "0")
        if len(length) > 15 or not length.isdecimal():
            return None
        size = end + int(length)
        if len(data) != size or not self._is_valid(data):
            return None
        if comes_again and end <= _LONGEST_KNOWN and "authorization" not in headers:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            raw = data[:end]
            _known[raw] = (raw, *target, headers.copy(), size)
        return self._request(data, end, *target, headers)

    def _is_valid(self, data: bytes) -> bool:
        """Whether llhttp, in the same strict mode as everywhere, finds one request in `data`, ending at its end."""
        feed = self._feed
        if feed is None:
            feed = self._feed = httptools.HttpRequestParser(self._completion).feed_data
        completion = self._completion
        completion.reached = False
        try:
            feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._feed = None
            return False
        if not completion.reached:  # it now waits for more, and must not be asked again
            self._feed = None
        return completion.reached


class _Completion:
    """All that is asked of llhttp here: whether the message is over."""

    __slots__ = ("reached",)

    def __init__(self) -> None:
        self.reached = False

    def on_message_complete(self) -> None:
        self.reached = True


def _read_request_line(line: bytes) -> tuple[str, str, str] | None:
    found = _PLAIN_REQUEST_LINE.fullmatch(line)
    if found is None:
        return None
    method, path, query = found.groups(b"")
    target = (method.decode(), path.decode("latin-1"), query.decode("latin-1"))
    _keep(_targets, line, target)
    return target


def _read_line(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").partition(":")
    pair = (name.lower(), value.strip(" \t\r"))
    if pair[0] not in _ALWAYS_NEW:
        _keep(_lines, line, pair)
    return pair


def _keep(table: dict[bytes, T], line: bytes, meaning: T) -> None:
    if len(line) <= _LONGEST_LINE:
        if len(table) >= _MOST_LINES:
            table.clear()
        table[line] = meaning
