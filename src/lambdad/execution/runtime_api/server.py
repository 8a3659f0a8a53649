"""The listener of one environment."""

from __future__ import annotations

import asyncio
import socket
from math import inf
from typing import Final, Self

from lambdad.domain.invocations import Invocation
from lambdad.execution.channel import ChannelEvents
from lambdad.execution.runtime_api import answers, routes
from lambdad.execution.runtime_api.session import Session
from lambdad.execution.runtime_api.states import State
from lambdad.http import BodyPolicy, Exchange, HttpLimits, HttpServer, Request, Response

# A frozen function may be silent for hours. AWS's clients send an error's X-Ray cause, up to 1 MiB, as a header.
_LIMITS: Final = HttpLimits(
    header_bytes=2 << 20, header_timeout_s=inf, body_timeout_s=inf, write_timeout_s=inf, idle_timeout_s=inf
)

_stopping: set[asyncio.Task[None]] = set()


class RuntimeApi:
    """The HTTP Runtime API of one runtime (RuntimeChannel); made by `open`.

    A connection that ends is no news: a client may open a new one. So `channel_closed` is never told; that the runtime
    is gone shows in its process.
    """

    def __init__(self, events: ChannelEvents) -> None:
        self._session = Session(events)
        self._server = HttpServer(self, _LIMITS)
        # Between head and handle nearly nothing ever comes: the route need not be found twice.
        self._last: tuple[Request, routes.Found] | None = None

    @classmethod
    async def open(cls, events: ChannelEvents, sock: socket.socket | None = None) -> Self:
        """Listens on a free port of 127.0.0.1, or on `sock`, bound for it in the environment's own network."""
        api = cls(events)
        await api._server.start("127.0.0.1", 0, sock=sock)
        return api

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

    def pause(self) -> None:
        if self._session.streaming is not None:
            self._session.streaming.pause_body()

    def resume(self) -> None:
        if self._session.streaming is not None:
            self._session.streaming.resume_body()

    def close(self) -> None:
        if self._session.state is State.CLOSED:
            return
        self._session.close()
        task = asyncio.get_running_loop().create_task(self._server.stop())
        _stopping.add(task)
        task.add_done_callback(_stopping.discard)

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
