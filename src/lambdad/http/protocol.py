"""The seam between the server and the application behind it: an exchange is one request and its answer.

Everything here is called on the event loop and returns at once; an application that needs to wait starts its own task
and answers the exchange from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from lambdad.http.messages import BodyPolicy, Request, Response
from lambdad.http.parser import Incoming
from lambdad.http.rendering import JOIN_BYTES

if TYPE_CHECKING:
    from lambdad.http.connection import HttpConnection


class Application(Protocol):
    """What a server serves. An exception from either method is logged and answered with 500."""

    def head(self, request: Request) -> BodyPolicy | Response:
        """The head is complete and no byte of the body has been looked at. A Response refuses the request at once."""

    def handle(self, exchange: Exchange) -> None:
        """The whole request is there (with a sink: its head). Answers now or later through the exchange."""


class Exchange(Incoming):
    """One request and its answer, which is given once: by `send` or by `start_stream`.

    After the client has gone everything here does nothing.
    """

    # What is not described, and what it inherits, is for the connection, which drives the exchange.
    __slots__ = ("answered", "body_paused", "callbacks", "closed", "gone", "policy")

    def __init__(
        self, connection: HttpConnection, request: Request, keep_alive: bool, length: int, complete: bool
    ) -> None:
        # The parent's own, written out: there is one such object per request.
        self.connection: HttpConnection = connection
        self.request = request
        self.keep_alive = keep_alive
        self.length = length
        self.complete = complete
        self.size = length if complete else 0
        self.parts = None
        self.expects_continue = False
        self.trailers = None
        self._gathered = None

        self.closed = False
        """The client has gone (or has closed its sending side), the exchange was cut, or the answer is complete."""
        self.policy: BodyPolicy | None = None
        self.answered = False
        self.gone = False
        self.body_paused = False
        self.callbacks: list[Callable[[], None]] | None = None

    def send(self, response: Response) -> None:
        """Answers. Raises RuntimeError when there is an answer already; a response that cannot be sent (a line break in
        a header) is logged and replaced by a 500. With a sink whose body is not complete, the rest is dropped."""
        if self.answered:
            self._complain()
            return
        self.answered = True
        self.connection.send_response(self, response)

    def start_stream(
        self, status: int, headers: Sequence[tuple[str, str]] = (), trailers: bool = False
    ) -> ResponseStream:
        """Sends the head and returns the stream for the body: chunked, or until the connection's end for HTTP/1.0.

        `trailers` announces that `end` may bring some. Raises RuntimeError when there is an answer already, ValueError
        for headers that cannot be sent (then there is no answer yet).
        """
        if self.answered:
            self._complain()
        return self.connection.start_stream(self, status, headers, trailers)

    def _complain(self) -> None:
        if not self.gone:  # else the server has answered for the application, or nobody is there
            raise RuntimeError("the exchange has its answer already")

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Calls `callback` once when the client goes away before its answer is complete; soon, if it has already gone.

        A client that only closes its sending side looks the same as one that goes. Where a callback is set it counts
        as gone; otherwise the answer is still sent.
        """
        self.connection.add_disconnect_callback(self, callback)

    def pause_body(self) -> None:
        """For sinks: asks the client, through TCP, to stop sending. Body timeouts rest meanwhile."""
        self.body_paused = True
        self.connection.update_reading()

    def resume_body(self) -> None:
        """Takes the body again."""
        self.body_paused = False
        self.connection.update_reading()


class ResponseStream:
    """The body of a streamed answer. After the client has gone, or was cut off, everything here does nothing."""

    __slots__ = ("_chunked", "_connection", "_exchange", "_muted", "_trailers", "closed")

    def __init__(
        self, connection: HttpConnection, exchange: Exchange, *, chunked: bool, muted: bool, trailers: bool
    ) -> None:
        self.closed = False
        """Ended, cut, or the client has gone: writing is useless."""
        self._connection = connection
        self._exchange = exchange
        self._chunked = chunked
        self._muted = muted
        self._trailers = trailers

    def write(self, data: bytes) -> None:
        """Sends a piece of the body. What a slow client does not take is kept: `drain` before the next piece."""
        if self.closed or not data or self._muted:
            return
        if not self._chunked:
            self._connection.write_piece(data)
        elif len(data) <= JOIN_BYTES:
            self._connection.write_piece(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._connection.write_piece(b"%x\r\n" % len(data))
            self._connection.write_piece(data)
            self._connection.write_piece(b"\r\n")

    @property
    def is_full(self) -> bool:
        """The client takes less than is written: `drain` would wait."""
        return not self.closed and self._connection.write_paused

    async def drain(self) -> None:
        """Waits until the client has taken enough for more to be written. Returns when it has gone, too."""
        if self.closed:
            await asyncio.sleep(0)  # a producer that does not look at `closed` must not hold up the event loop
            return
        await self._connection.wait_writable()

    def end(self, trailers: Sequence[tuple[str, str]] = ()) -> None:
        """Completes the answer. HTTP/1.0 has no trailers, they are left out there.

        Raises ValueError for trailers that were not announced or cannot be sent.
        """
        if self.closed:
            return
        if trailers and not self._trailers:
            raise ValueError("trailers must be announced when the stream is started")
        self._connection.end_stream(self._exchange, trailers if self._chunked and not self._muted else None)

    def abort(self) -> None:
        """Cuts the connection, so that the client sees that the answer is not complete."""
        if not self.closed:
            self._connection.abort_stream(self._exchange, chunked=self._chunked)
