"""One client's connection: works through its requests in their order and closes it so that answers arrive.

There is no task per request. Data that arrives is parsed, then `_advance` opens, receives and hands over requests until
it has to wait for the client or for the application.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

from lambdad.http.deadlines import Watch
from lambdad.http.messages import BodyPolicy, Request, Response, message_response
from lambdad.http.parser import Failure, RequestParser
from lambdad.http.protocol import Exchange, ResponseStream
from lambdad.http.quick import QuickReader
from lambdad.http.rendering import (
    CONTINUE,
    JOIN_BYTES,
    WITHOUT_BODY,
    render_response,
    render_stream_head,
    render_trailers,
)

if TYPE_CHECKING:
    from lambdad.http.server import HttpServer

logger = logging.getLogger("lambdad.http")

_BATCH = 32
"""Pipelined requests begun in one turn of the event loop, so that one client does not hold it up for the others."""
_INTERNAL_ERROR = message_response(500, "The server failed to answer this request. Its log says why.")

# What becomes of the connection.
_OPEN: Final = 0
_LINGERING: Final = 1  # answered for the last time; what still arrives is dropped
_CLOSING: Final = 2
_LOST: Final = 3


class HttpConnection(asyncio.Protocol):
    """The server's end of one connection. Names without underscore are for the other files of this package."""

    __slots__ = ("_advancing", "_application", "_draining", "_dropped_bytes", "_eof", "_mode", "_quick_reader",
                 "_reading_paused", "_stream", "_stream_keeps", "_waiters", "answered", "current", "parser", "server",
                 "streamed_bytes", "sweep", "transport", "write_paused")  # fmt: skip

    parser: RequestParser[Exchange]
    _quick_reader: QuickReader[Exchange]
    transport: asyncio.Transport

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.current: Exchange | None = None
        self.answered = 0
        """Requests answered in full."""
        self.streamed_bytes = 0
        self.write_paused = False
        self.sweep: Callable[[float], None] = Watch(self).sweep
        self._application = server.application
        self._mode = _OPEN
        self._advancing = False
        self._draining = False
        self._eof = False
        self._reading_paused = False
        self._waiters: list[asyncio.Future[None]] = []
        self._stream: ResponseStream | None = None
        self._stream_keeps = False
        self._dropped_bytes = 0

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        server = self.server
        peer = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else ("", 0)
        port = int(local[1]) if isinstance(local, tuple) else 0
        if server.gate is not None:
            self._application = server.gate(client) or server.application
        limits, now = server.limits, server.now
        self.parser = RequestParser(limits, now, client, port, make=Exchange, connection=self)
        self._quick_reader = QuickReader(limits, now, client, port, make=Exchange, connection=self)
        server.connection_made(self)

    def data_received(self, data: bytes) -> None:
        if self._mode != _OPEN:
            self._drop(len(data))
            return
        parser = self.parser
        if parser.is_between and self.current is None and not self.write_paused and not parser.messages:
            exchange = self._quick_reader.read(data)
            if exchange is not None:
                self.current = exchange
                self._advancing = True
                self._open(exchange)
                self._advancing = False
                if self._draining:
                    self._settle()
                return
        parser.feed(data)
        self._advance()

    def eof_received(self) -> bool:
        self._eof = True
        if self._mode != _OPEN:
            return False
        exchange = self.current
        if exchange is None:
            # With unanswered requests the client reads slowly; without, it is done or gave up in the middle of a head.
            return bool(self.parser.messages)
        if exchange.callbacks or not exchange.complete:
            self._end_half_closed()
            return False
        exchange.closed = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the cause makes no difference
        self._mode = _LOST
        if self.current is not None:
            self._disconnect(self.current)
        self._wake_writers()
        self.parser.messages.clear()
        self.parser.close()
        del self._quick_reader
        del self.sweep  # no cycle is left for the garbage collector
        self.server.connection_lost(self)

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        self._wake_writers()
        if self._mode == _OPEN:
            self._advance()

    # The way of a request.

    def _advance(self) -> None:
        if self._advancing:  # an answer given from inside; the loop below goes on by itself
            return
        self._advancing = True
        parser = self.parser
        messages = parser.messages
        budget = _BATCH
        while True:
            exchange = self.current
            if exchange is None:
                if not messages or self.write_paused or self._mode != _OPEN:
                    break
                if not budget:
                    asyncio.get_running_loop().call_soon(self._advance)
                    break
                budget -= 1
                exchange = self.current = messages.popleft()
                self._open(exchange)
            elif exchange.policy is not None:
                self._receive(exchange, exchange.policy)
            if self.current is exchange:
                break
        self._advancing = False
        if messages or self._reading_paused or self._eof or self._draining or parser.failure is not None:
            self._settle()

    def _open(self, exchange: Exchange) -> None:
        request = exchange.request
        try:
            verdict = self._application.head(request)
        except Exception:
            self._log_failure(request)
            verdict = _INTERNAL_ERROR
        if isinstance(verdict, Response):
            exchange.answered = True
            self.send_response(exchange, verdict)
        elif exchange.complete and exchange.size <= verdict.limit and verdict.sink is None:
            if exchange.parts is not None:
                request.body = exchange.body()
            try:
                self._application.handle(exchange)
            except Exception:
                self._handle_failed(exchange)
        elif exchange.length > verdict.limit:
            self._refuse_too_large(exchange, verdict, exchange.length)
        else:
            self._open_body(exchange, verdict)

    def _open_body(self, exchange: Exchange, policy: BodyPolicy) -> None:
        exchange.policy = policy
        if exchange.request.body:  # it came whole and is to be handed over none the less
            exchange.parts = [exchange.request.body]
            exchange.request.body = b""
        if exchange.expects_continue and not exchange.complete and not exchange.size:
            self.transport.write(CONTINUE)
        if policy.sink is not None:
            self._handle(exchange)
        if exchange.policy is not None:
            self._receive(exchange, policy)

    def _receive(self, exchange: Exchange, policy: BodyPolicy) -> None:
        if exchange.size > policy.limit:
            self._refuse_too_large(exchange, policy, exchange.size)
        elif policy.sink is not None:
            self._pass_on(exchange, policy)
        elif exchange.complete:
            exchange.policy = None
            exchange.request.body = exchange.body()
            self._handle(exchange)
        else:
            exchange.gather()

    def _pass_on(self, exchange: Exchange, policy: BodyPolicy) -> None:
        sink = policy.sink
        assert sink is not None
        try:
            if exchange.parts:
                sink.data(exchange.take())
            if exchange.complete and exchange.policy is not None:  # else it was answered while it took the data
                exchange.policy = None
                sink.end(exchange.trailers or {})
        except Exception:
            self._log_failure(exchange.request)
            if exchange is self.current:
                self.cut(exchange, _INTERNAL_ERROR)

    def _handle(self, exchange: Exchange) -> None:
        try:
            self._application.handle(exchange)
        except Exception:
            self._handle_failed(exchange)

    def _handle_failed(self, exchange: Exchange) -> None:
        self._log_failure(exchange.request)
        if exchange is not self.current:
            return
        if exchange.answered:
            self.cut(exchange, None)
        else:
            exchange.answered = True
            self.send_response(exchange, _INTERNAL_ERROR)

    def _settle(self) -> None:
        """What remains when no request can be taken further."""
        if self._mode != _OPEN:
            return
        parser = self.parser
        exchange = self.current
        if not parser.messages:
            if exchange is None:
                if parser.failure is not None:
                    self.refuse(parser.failure)
                    return
                if self._eof or (self._draining and not parser.head_begun):
                    self.close(unread=False)
                    return
            elif parser.failure is not None and not exchange.complete:
                self.server.refused += 1
                self.cut(exchange, message_response(*parser.failure))
                return
        self.update_reading()

    def update_reading(self) -> None:
        """Reads on only when what is read can be worked on."""
        exchange = self.current
        parser = self.parser
        pause = (
            self._mode == _OPEN
            and (bool(parser.messages) or parser.failure is not None or (exchange is not None and exchange.body_paused))
        )  # fmt: skip
        if pause != self._reading_paused and not self._eof and self._mode <= _LINGERING:
            self._reading_paused = pause
            if pause:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # Answers.

    def send_response(self, exchange: Exchange, response: Response) -> None:
        """Answers, if the exchange still is the one in progress."""
        if exchange is not self.current:
            return
        keep_alive = exchange.keep_alive and exchange.complete and not self._draining
        is_head = exchange.request.method == "HEAD"
        try:
            data = render_response(response, is_head, keep_alive)
        except Exception:
            self._write_substitute(response.status, is_head, keep_alive)
        else:
            self.transport.write(data)
            if len(response.body) > JOIN_BYTES:
                self._write_body(response, is_head)
        exchange.closed = True
        exchange.policy = None
        exchange.callbacks = None
        self.current = None
        self.answered += 1
        if not keep_alive:
            self.close(unread=not exchange.complete)
        elif not self._advancing and (self.parser.messages or self._reading_paused or self._eof or self._draining
                                      or self.parser.failure is not None):  # fmt: skip
            self._advance()

    def _write_body(self, response: Response, is_head: bool) -> None:
        if not is_head and response.status not in WITHOUT_BODY:
            self.transport.write(response.body)

    def _write_substitute(self, status: int, is_head: bool, keep_alive: bool) -> None:
        self.server.failures += 1
        logger.exception("a response with status %r cannot be sent; 500 is sent instead", status)  # noqa: LOG004
        self.transport.write(render_response(_INTERNAL_ERROR, is_head, keep_alive))

    def _write_last(self, response: Response, is_head: bool) -> None:
        try:
            self.transport.write(render_response(response, is_head, False))
        except Exception:
            self._write_substitute(response.status, is_head, False)
        else:
            if len(response.body) > JOIN_BYTES:
                self._write_body(response, is_head)

    def start_stream(
        self, exchange: Exchange, status: int, headers: Sequence[tuple[str, str]], trailers: bool
    ) -> ResponseStream:
        """Sends the head of a streamed answer."""
        request = exchange.request
        chunked = request.http_version == "1.1" and status not in WITHOUT_BODY
        muted = request.method == "HEAD" or status in WITHOUT_BODY
        keep_alive = exchange.keep_alive and exchange.complete and not self._draining and (chunked or muted)
        head = render_stream_head(status, headers, chunked, keep_alive)
        exchange.answered = True
        stream = ResponseStream(self, exchange, chunked=chunked, muted=muted, trailers=trailers)
        if exchange is self.current:
            self._stream = stream
            self._stream_keeps = keep_alive
            self.write_piece(head)
        else:
            stream.closed = True
        return stream

    def write_piece(self, data: bytes) -> None:
        """A part of a streamed answer, framed."""
        self.streamed_bytes += len(data)
        if not self.transport.is_closing():  # the client may have gone in this very turn of the event loop
            self.transport.write(data)

    async def wait_writable(self) -> None:
        """Returns when the transport's buffer has room again, or the connection is lost."""
        while self.write_paused and self._mode != _LOST:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def end_stream(self, exchange: Exchange, trailers: Sequence[tuple[str, str]] | None) -> None:
        """Ends a streamed answer; None for one without a terminator."""
        if trailers is not None:
            self.write_piece(render_trailers(trailers))
        self._end(exchange)
        self.answered += 1
        if not self._stream_keeps:
            self.close(unread=not exchange.complete)
        elif not self._advancing:
            self._advance()

    def abort_stream(self, exchange: Exchange, *, chunked: bool) -> None:
        """Cuts the connection in the middle of an answer."""
        self._end(exchange)
        if chunked:  # what was written may still arrive: without its last chunk the body is seen to be incomplete
            self.close(unread=not exchange.complete)
        else:
            self._cut_off()

    def _end(self, exchange: Exchange) -> None:
        exchange.closed = True
        exchange.policy = None
        exchange.callbacks = None
        self.current = None
        if self._stream is not None:
            self._stream.closed = True
            self._stream = None

    # Refusals and failures.

    def refuse(self, failure: Failure) -> None:
        """Answers what is not a request, and closes."""
        logger.debug("refused what a client sent: %d %s", failure.status, failure.message)
        self.server.refused += 1
        self._write_last(message_response(*failure), False)
        self.close(unread=True)

    def _refuse_too_large(self, exchange: Exchange, policy: BodyPolicy, size: int) -> None:
        response = message_response(413, f"The body of the request is larger than {policy.limit} bytes. Send less.")
        if policy.on_too_large is not None:
            try:
                response = policy.on_too_large(exchange.request, size)
            except Exception:
                self._log_failure(exchange.request)
                response = _INTERNAL_ERROR
        self.server.refused += 1
        self.cut(exchange, response)

    def cut(self, exchange: Exchange, response: Response | None) -> None:
        """Ends the exchange in progress and its connection, with `response` if it has no answer yet."""
        if exchange.answered:
            self._disconnect(exchange)
            self._cut_off()
            return
        exchange.answered = True
        if response is not None:
            self._write_last(response, exchange.request.method == "HEAD")
        self._disconnect(exchange)
        self.close(unread=True)

    def _disconnect(self, exchange: Exchange) -> None:
        """Tells everyone who waits that nothing more will come from, or go to, this client."""
        policy, callbacks = exchange.policy, exchange.callbacks
        self._end(exchange)
        exchange.gone = True
        calls = list(callbacks or ())
        if policy is not None and policy.sink is not None:
            calls.insert(0, policy.sink.aborted)
        for call in calls:
            try:
                call()
            except Exception:
                self._log_failure(exchange.request)

    def add_disconnect_callback(self, exchange: Exchange, callback: Callable[[], None]) -> None:
        """Keeps `callback` until the answer is complete."""
        if exchange.gone:
            asyncio.get_running_loop().call_soon(callback)
        elif exchange is self.current:
            if exchange.callbacks is None:
                exchange.callbacks = []
            exchange.callbacks.append(callback)
            if self._eof:
                asyncio.get_running_loop().call_soon(self._end_half_closed)

    def _end_half_closed(self) -> None:
        if self.current is not None and self._mode == _OPEN:
            self._disconnect(self.current)
            self.close(unread=False)

    def _log_failure(self, request: Request) -> None:
        self.server.failures += 1
        logger.exception("%s %s: the application failed", request.method, request.path)  # noqa: LOG004  # in handlers

    # The end of the connection.

    def close(self, *, unread: bool) -> None:
        """Closes when everything is sent. With unread input the system would answer it with a reset, which can reach
        the client before it has read the answer; so that input is read and dropped first, up to a bound."""
        if self._mode != _OPEN:
            return
        parser = self.parser
        unread = unread or self._reading_paused or parser.surplus or bool(parser.messages) or parser.failure is not None
        parser.messages.clear()
        if not unread or self._eof:
            self._mode = _CLOSING
            self.transport.close()
            return
        self._mode = _LINGERING
        try:
            self.transport.write_eof()
        except OSError:
            self.transport.abort()
        else:
            self.update_reading()

    def _cut_off(self) -> None:
        """Closes in a way that a client can tell from the end of a complete answer."""
        self._mode = _CLOSING
        if not self.transport.is_closing():
            opened = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _drop(self, size: int) -> None:
        self._dropped_bytes += size
        if self._dropped_bytes > self.server.limits.linger_bytes:
            self.transport.abort()

    def _wake_writers(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def shut_down(self) -> None:
        """Closes after the request in progress, at once if there is none."""
        self._draining = True
        if not self._advancing:
            self._settle()

    def abort(self) -> None:
        """Closes now."""
        self.transport.abort()

    @property
    def is_busy(self) -> bool:
        """Whether a request is being received or answered."""
        return self.current is not None or self.parser.head_begun

    @property
    def is_ending(self) -> bool:
        """Whether it only waits to be closed."""
        return self._mode != _OPEN
