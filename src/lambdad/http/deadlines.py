"""What a connection waits for, and for how long: looked at from time to time, at no cost to requests."""

from __future__ import annotations

import enum
from math import inf
from typing import TYPE_CHECKING

from lambdad.http.messages import message_response
from lambdad.http.parser import Failure

if TYPE_CHECKING:
    from lambdad.http.connection import HttpConnection


class Phase(enum.Enum):
    """What a deadline is for."""

    IDLE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    BUSY = enum.auto()
    WRITING = enum.auto()
    CLOSING = enum.auto()


class Watch:
    """Compares what one connection does now with what it did at the last sweep."""

    __slots__ = ("_answered", "_connection", "_deadline", "_mark", "_phase")

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self._phase: Phase | None = None
        self._deadline = inf
        self._answered = 0
        self._mark = 0

    def sweep(self, now: float) -> None:
        """Sets the deadline of what the connection has begun to wait for, or acts when the deadline has passed."""
        connection = self._connection
        phase = self._find_phase()
        if phase is not self._phase or connection.answered != self._answered:
            self._phase = phase
            self._answered = connection.answered
            self._arm(now)
        elif now >= self._deadline:
            self._expire(now)

    def _find_phase(self) -> Phase:
        connection = self._connection
        exchange = connection.current
        if connection.is_ending:
            return Phase.WRITING if connection.transport.get_write_buffer_size() else Phase.CLOSING
        if connection.write_paused:
            return Phase.WRITING
        if exchange is None:
            return Phase.IDLE if connection.answered and not connection.parser.head_begun else Phase.HEAD
        if exchange.complete or exchange.body_paused:
            return Phase.BUSY
        return Phase.BODY

    def _arm(self, now: float) -> None:
        limits = self._connection.server.limits
        match self._phase:
            case Phase.IDLE:
                timeout_s = limits.idle_timeout_s
            case Phase.HEAD:
                timeout_s = limits.header_timeout_s
            case Phase.BODY:
                timeout_s = limits.body_timeout_s
            case Phase.WRITING:
                timeout_s = limits.write_timeout_s
            case Phase.CLOSING:
                timeout_s = limits.linger_timeout_s
            case _:
                timeout_s = inf  # how long an answer takes is the application's matter
        self._deadline = now + timeout_s
        self._mark = self._progress()

    def _progress(self) -> int:
        connection = self._connection
        if self._phase is Phase.BODY and connection.current is not None:
            return connection.current.size
        if self._phase is Phase.WRITING:
            return connection.streamed_bytes - connection.transport.get_write_buffer_size()
        return 0

    def _expire(self, now: float) -> None:
        connection = self._connection
        limits = connection.server.limits
        phase = self._phase
        if phase in {Phase.BODY, Phase.WRITING} and self._progress() - self._mark >= limits.progress_bytes:
            self._arm(now)
            return
        connection.server.timeouts += 1
        if phase is Phase.HEAD and connection.parser.head_begun:
            connection.refuse(
                Failure(408, f"The head of the request took more than {limits.header_timeout_s:g} s. Send it faster.")
            )
        elif phase is Phase.BODY and connection.current is not None:
            connection.cut(
                connection.current,
                message_response(408, "The body of the request stopped or came too slowly. Send it again."),
            )
        elif phase in {Phase.IDLE, Phase.HEAD} and not connection.transport.get_write_buffer_size():
            connection.close(unread=False)
        else:
            connection.abort()
