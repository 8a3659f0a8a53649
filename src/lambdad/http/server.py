"""The listener: accepts connections, watches their deadlines, ends them in order."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from lambdad.http.connection import HttpConnection
from lambdad.http.limits import HttpLimits
from lambdad.http.protocol import Application
from lambdad.http.sweep import sweeper

logger = logging.getLogger("lambdad.http")

_BACKLOG = 1024
_DEFAULT_LIMITS = HttpLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpStatistics:
    """Counted since the start, but for the first two."""

    connections: int
    """Open now."""
    busy: int
    """Of these, with a request that is being received or answered."""
    accepted: int
    """Connections."""
    requests: int
    """Answered by the application."""
    refused: int
    """Refused by the server: malformed, over a limit."""
    timeouts: int
    """Connections ended because the client was too slow or idle."""
    failures: int
    """Exceptions from the application, and responses that could not be sent."""


class HttpServer:
    """Serves one application on one address. Cheap: there may be hundreds on one event loop."""

    __slots__ = ("_closed", "_connections", "_listeners", "_past_requests", "_stopping", "accepted", "application",
                 "failures", "gate", "limits", "now", "port", "refused", "timeouts")  # fmt: skip

    def __init__(
        self,
        application: Application,
        limits: HttpLimits | None = None,
        *,
        gate: Callable[[tuple[str, int]], Application | None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`gate` is asked once for each connection, with the client's address, for another application that is to
        serve it. `now` is what deadlines are measured with, in seconds, above 0."""
        self.application = application
        self.gate = gate
        self.limits = limits or _DEFAULT_LIMITS
        self.now = now
        self.port = 0
        """The port in use once started; 0 on sockets that have none."""
        self.accepted = self.refused = self.timeouts = self.failures = 0
        self._past_requests = 0  # of connections that are gone; the others count their own
        self._connections: set[HttpConnection] = set()
        self._listeners: list[asyncio.Server] = []
        self._stopping = False
        self._closed: asyncio.Future[None] | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, sock: socket.socket | None = None) -> None:
        """Listens on every address of `host`, on one port (0: any free one), or on a bound stream socket, which the
        server then owns. Raises OSError when it cannot."""
        loop = asyncio.get_running_loop()
        sockets = [sock] if sock is not None else await _bind(host, port)
        try:
            for each in sockets:
                self._listeners.append(await loop.create_server(self._connection, sock=each, backlog=_BACKLOG))
        except BaseException:
            self._close_listeners()
            for each in sockets:
                each.close()
            raise
        self.port = _port(sockets[0])

    async def stop(self, grace_s: float = 0.0) -> None:
        """Accepts no more, closes idle connections, lets running requests be answered for up to `grace_s` seconds and
        cuts what is left. When it returns all connections are gone; it cannot be started again."""
        self._stopping = True
        self._close_listeners()
        for connection in list(self._connections):
            connection.shut_down()
        if grace_s > 0:
            await self._wait_closed(grace_s)
        for connection in list(self._connections):
            connection.abort()
        await self._wait_closed(None)

    def statistics(self) -> HttpStatistics:
        """What it has served so far."""
        return HttpStatistics(
            connections=len(self._connections),
            busy=sum(connection.is_busy for connection in self._connections),
            accepted=self.accepted,
            requests=self._past_requests + sum(connection.answered for connection in self._connections),
            refused=self.refused,
            timeouts=self.timeouts,
            failures=self.failures,
        )

    def sweep(self) -> bool:
        """Looks at the deadlines of all connections; the loop's sweeper calls it. False when there are none left."""
        now = self.now()
        for connection in list(self._connections):
            try:
                connection.sweep(now)
            except Exception:
                logger.exception("watching a connection failed; it is closed")
                connection.abort()
        return bool(self._connections)

    # Called by connections.

    def connection_made(self, connection: HttpConnection) -> None:
        """A client has connected."""
        if not self._connections:
            sweeper().watch(self, self.limits.tick_s)
        self._connections.add(connection)
        self.accepted += 1
        if self._stopping:
            connection.abort()

    def connection_lost(self, connection: HttpConnection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self._past_requests += connection.answered
        if not self._connections and self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def _connection(self) -> HttpConnection:
        return HttpConnection(self)

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def _wait_closed(self, timeout_s: float | None) -> None:
        if self._connections:
            self._closed = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._closed], timeout=timeout_s)


async def _bind(host: str, port: int) -> list[socket.socket]:
    """Sockets on all addresses of `host`; those after the first share its port."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:  # a name: not to be looked up on the event loop
        addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = sorted(dict.fromkeys(addresses), key=lambda address: address[0] != socket.AF_INET)
    sockets: list[socket.socket] = []
    for family, kind, protocol, _, address in addresses:
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind((address[0], _port(sockets[0]) if sockets else port, *address[2:]))
        except OSError:
            opened.close()
            if not sockets:
                raise
            continue  # such as ::1 for localhost on a machine without IPv6
        sockets.append(opened)
    return sockets


def _port(bound: socket.socket) -> int:
    name = bound.getsockname()
    return int(name[1]) if isinstance(name, tuple) else 0
