"""Requests as applications get them, responses as they give them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Request:
    """One request. The server makes it when the head is complete; `body` is filled in before `handle` is called."""

    method: str
    """As sent, such as `POST`."""
    path: str
    """Still percent-encoded, without the query; `*` for `OPTIONS *`."""
    query: str = ""
    """What follows the first `?`, still percent-encoded; empty if there is none."""
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case, values as latin-1. Repeated headers are joined with `,` (`cookie` with `; `); Host,
    Authorization and what frames the body may not be repeated."""
    body: bytes = b""
    """The whole body; stays empty when a `BodySink` takes it."""
    http_version: str = "1.1"
    """`1.1` or `1.0`."""
    peer_host: str = ""
    peer_port: int = 0
    local_port: int = 0
    received: float = 0.0
    """`time.monotonic()` at the end of the head."""


@dataclass(slots=True)
class Response:
    """A buffered answer.

    The server adds Content-Length, Date and Connection and frames the body itself: headers of these names, and
    Transfer-Encoding, Keep-Alive, Trailer and Upgrade, are left out of what an application gives.
    """

    status: int
    """200 to 999; 1xx are the server's own."""
    headers: Sequence[tuple[str, str]] = ()
    """In the order and case in which they are sent; latin-1, without control characters."""
    body: bytes = b""
    """Not sent to HEAD, nor with 204 and 304."""
    length: int | None = None
    """In answers to HEAD: the bytes that GET would send, where making them for `body` is not worth it."""


def message_response(status: int, message: str) -> Response:
    """The server's own short answer: `{"message": "..."}`."""
    return Response(status, (("Content-Type", "application/json"),), json.dumps({"message": message}).encode())


class BodySink(Protocol):
    """Takes a body as it arrives, without the server keeping it.

    `data` is called any number of times, then either `end` or `aborted`, unless the answer is sent before the end of
    the body: the rest is then dropped and the sink hears nothing more.
    """

    def data(self, data: bytes) -> None:
        """The next piece, never empty."""

    def end(self, trailers: dict[str, str]) -> None:
        """The body is complete. Trailer names are in lower case."""

    def aborted(self) -> None:
        """The client went away, broke the protocol, was too slow or sent more than the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyPolicy:
    """What to do with a request's body, decided when its head is complete and before a byte of it is read."""

    limit: int
    """The largest body in bytes, inclusive."""
    on_too_large: Callable[[Request, int], Response] | None = None
    """Makes the answer to a larger one, from the request and the bytes announced or seen so far; without it a plain
    413. The connection is closed afterwards, in a way that lets the client read the answer."""
    sink: BodySink | None = None
    """Takes the body as it arrives; `handle` is then called before the first byte of it."""
