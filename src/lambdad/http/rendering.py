"""Heads of responses: status line, headers, framing, date."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from time import time

from lambdad.http.messages import Response

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SET_BY_SERVER = frozenset(
    {"connection", "content-length", "date", "keep-alive", "trailer", "transfer-encoding", "upgrade"}
)
_MOST_PREFIXES = 2048

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

JOIN_BYTES = 64 * 1024
"""Up to this size copying a body behind its head is cheaper than a second system call and packet."""
WITHOUT_BODY = frozenset({204, 304})
"""Statuses whose responses end with the head."""

_status_lines = {s.value: f"HTTP/1.1 {s.value} {s.phrase}" for s in HTTPStatus if s.value >= 200}
_prefixes: dict[str, str] = {}
"""Header name to what precedes its value on the wire; without the names that the server sets itself."""


class _Ends:
    """The last lines of heads, which change once a second."""

    keep_alive: str
    close: str


_ends = _Ends()


def refresh_date() -> None:
    """To be called about once a second while there are connections."""
    date = formatdate(time(), usegmt=True)
    _ends.keep_alive = f"\r\nDate: {date}\r\nConnection: keep-alive\r\n\r\n"
    _ends.close = f"\r\nDate: {date}\r\nConnection: close\r\n\r\n"


refresh_date()


def render_response(response: Response, is_head: bool, keep_alive: bool) -> bytes:
    """A buffered response as it is sent; without the body if that is larger than JOIN_BYTES.

    Raises ValueError for a status out of range and for names and values that cannot be sent: header injection through
    a function's own headers ends here.
    """
    status = response.status
    body = response.body
    end = _ends.keep_alive if keep_alive else _ends.close
    try:
        text = _status_lines[status]
        for name, value in response.headers:
            if "\n" in value or "\r" in value:
                raise ValueError(f"the value of the header {name} contains a line break")
            text = f"{text}{_prefixes[name]}{value}"
    except KeyError:
        text = _status_line(status) + _render_lines(response.headers)
    if status in WITHOUT_BODY:
        return f"{text}{end}".encode("latin-1")
    length = response.length if is_head and response.length is not None else len(body)
    head = f"{text}\r\nContent-Length: {length}{end}".encode("latin-1")
    return head if is_head or len(body) > JOIN_BYTES else head + body


def render_stream_head(status: int, headers: Sequence[tuple[str, str]], chunked: bool, keep_alive: bool) -> bytes:
    """The head of a response whose body follows in pieces. Raises ValueError as `render_response` does."""
    coding = "\r\nTransfer-Encoding: chunked" if chunked else ""
    end = _ends.keep_alive if keep_alive else _ends.close
    return f"{_status_line(status)}{_render_lines(headers)}{coding}{end}".encode("latin-1")


def render_trailers(trailers: Sequence[tuple[str, str]]) -> bytes:
    """The end of a chunked body. Raises ValueError as `render_response` does."""
    return f"0{_render_lines(trailers)}\r\n\r\n".encode("latin-1")


def _render_lines(headers: Sequence[tuple[str, str]]) -> str:
    """The lines, each with a line break before it; the way of all names that are not in the table (yet)."""
    text = ""
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not a header name")
        if "\n" in value or "\r" in value:
            raise ValueError(f"the value of the header {name} contains a line break")
        if name.lower() in _SET_BY_SERVER:
            continue
        if len(_prefixes) < _MOST_PREFIXES:  # functions choose names too: the table must not grow for ever
            _prefixes[name] = f"\r\n{name}: "
        text = f"{text}\r\n{name}: {value}"
    return text


def _status_line(status: int) -> str:
    if not 200 <= status <= 999:
        raise ValueError(f"{status} is not the status of a final response")
    return _status_lines.get(status) or f"HTTP/1.1 {status} "
