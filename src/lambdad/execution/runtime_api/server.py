"""The listener of one environment."""

from __future__ import annotations

import asyncio
import logging
import socket
from math import inf
from typing import Final, Self

from lambdad.domain.invocations import Invocation
from lambdad.execution.channel import ChannelEvents
from lambdad.execution.extensions.session import ExtensionSession
from lambdad.execution.runtime_api import answers, routes
from lambdad.execution.runtime_api.peers import Peers
from lambdad.execution.runtime_api.session import Session
from lambdad.execution.runtime_api.states import State
from lambdad.http import BodyPolicy, Exchange, HttpLimits, HttpServer, Request, Response

logger = logging.getLogger(__name__)

# A frozen function may be silent for hours. AWS's clients send an error's X-Ray cause, up to 1 MiB, as a header.
_LIMITS: Final = HttpLimits(
    header_bytes=2 << 20, header_timeout_s=inf, body_timeout_s=inf, write_timeout_s=inf, idle_timeout_s=inf
)

_tasks: set[asyncio.Task[None]] = set()


def bound_listener() -> socket.socket:
    """A free port of 127.0.0.1. Whoever connects waits until it is served."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    return sock


def address_of(listener: socket.socket) -> str:
    """`host:port`, for AWS_LAMBDA_RUNTIME_API."""
    host, port = listener.getsockname()
    return f"{host}:{port}"


class _Stranger:
    """Serves connections of other users of the machine (Application)."""

    def head(self, request: Request) -> Response:  # noqa: ARG002
        return answers.STRANGER

    def handle(self, exchange: Exchange) -> None:
        exchange.send(answers.STRANGER)


_STRANGER: Final = _Stranger()
_peers: Peers | None = None


def _peer_uid(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    global _peers  # noqa: PLW0603 - one netlink socket for all listeners, made when the first needs it
    if _peers is None:
        _peers = Peers()
    return _peers.uid(client, server)


class RuntimeApi:
    """The HTTP Runtime API of one runtime (RuntimeChannel); made by `open`.

    A connection that ends is no news: a client may open a new one. So `channel_closed` is never told; that the runtime
    is gone shows in its process.
    """

    def __init__(self, events: ChannelEvents, extensions: ExtensionSession, peer_uid: int = 0) -> None:
        """`peer_uid`: the only user whose connections are served; 0 for anybody on this machine."""
        self._session = Session(events, extensions)
        self._is_closed = False
        self._peer_uid = peer_uid
        self._server = HttpServer(self, _LIMITS, gate=self._gate if peer_uid else None)
        # Between head and handle nearly nothing ever comes: the route need not be found twice.
        self._last: tuple[Request, routes.Found] | None = None

    @classmethod
    async def open(
        cls,
        events: ChannelEvents,
        extensions: ExtensionSession,
        sock: socket.socket | None = None,
        *,
        peer_uid: int = 0,
    ) -> Self:
        """Serves a free port of 127.0.0.1, or `sock`, which may be bound in the environment's own network."""
        api = cls(events, extensions, peer_uid)
        await api.serve(sock)
        return api

    async def serve(self, sock: socket.socket | None) -> None:
        """Begins to listen."""
        await self._server.start("127.0.0.1", 0, sock=sock)
        if self._is_closed:  # meanwhile
            await self._server.stop()

    def _gate(self, client: tuple[str, int]) -> _Stranger | None:
        """Asked once for each connection."""
        try:
            uid = _peer_uid(client, ("127.0.0.1", self._server.port))
        except OSError as error:
            logger.error("a connection to the Runtime API is refused, its owner cannot be told: %s", error)
            return _STRANGER
        return None if uid == self._peer_uid else _STRANGER

    @property
    def address(self) -> str:
        """`host:port`, for AWS_LAMBDA_RUNTIME_API."""
        return f"127.0.0.1:{self._server.port}"

    @property
    def state(self) -> State:
        """For the environment's reports and the tests."""
        return self._session.state

    def deliver(self, invocation: Invocation) -> None:
        self._session.deliver(invocation)

    def keep_turning(self) -> None:
        """Clients of HTTP wait as they like; nothing stands still for us."""

    def pause(self) -> None:
        if self._session.streaming is not None:
            self._session.streaming.pause_body()

    def resume(self) -> None:
        if self._session.streaming is not None:
            self._session.streaming.resume_body()

    def silence(self) -> None:
        self._session.close()

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._session.close()
        task = asyncio.get_running_loop().create_task(self._server.stop())
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    def head(self, request: Request) -> BodyPolicy | Response:
        """Finds the route, which refuses the call or says how to take its body (Application)."""
        found = routes.find(request.path)
        if found is None:
            return answers.NOT_FOUND
        method, route, request_id = found
        if request.method != method:
            return answers.METHOD_NOT_ALLOWED
        self._last = (request, found)
        return route.head(self._session, request, request_id)

    def handle(self, exchange: Exchange) -> None:
        """Hands the call to its route (Application)."""
        last, self._last = self._last, None
        found = last[1] if last and last[0] is exchange.request else routes.find(exchange.request.path)
        assert found is not None  # `head` let it through
        _, route, request_id = found
        route.handle(self._session, exchange, request_id)


class ExtensionsApi:
    """The same listener for an environment whose runtime speaks frames: for extensions and the Extensions API alone.

    Most environments have no extension, so it is no more than a bound socket until somebody connects.
    """

    def __init__(
        self, events: ChannelEvents, extensions: ExtensionSession, listener: socket.socket, *, peer_uid: int = 0
    ) -> None:
        """Owns `listener` from now on; `peer_uid` as for RuntimeApi."""
        self._loop = asyncio.get_running_loop()
        self._api = RuntimeApi(events, extensions, peer_uid)
        self._api.silence()  # the runtime itself does not speak HTTP
        self._sock: socket.socket | None = listener
        self._loop.add_reader(listener, self._wake)

    def _wake(self) -> None:
        """The first connection waits: from now on there is a server."""
        sock, self._sock = self._sock, None
        assert sock is not None
        self._loop.remove_reader(sock)
        task = self._loop.create_task(self._api.serve(sock))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    def close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.remove_reader(sock)
            sock.close()
        else:
            self._api.close()
