"""A response that is sent while the function writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from lambdad.domain.invocations import Ending, Outcome
from lambdad.http.protocol import ResponseStream
from lambdad.invocation.invoker import Flow
from lambdad.wire.function_urls.answers import (
    HTTP_INTEGRATION,
    MAX_PRELUDE_BYTES,
    PRELUDE_END,
    BadAnswer,
    Headers,
    UrlAnswer,
    prelude_of,
)

STREAM_LIMIT_BYTES = 209_715_200
"""A streamed response has at most 200 MiB (AWS documentation 2025)."""


class StreamOpener(Protocol):
    """Begins and refuses answers."""

    def open(self, status: int, headers: Headers) -> ResponseStream:
        """Sends the head of an answer."""

    def fail(self, reason: str) -> None:
        """Answers that the function failed."""


class StreamedUrlAnswer:
    """The sink of one streamed invocation."""

    def __init__(self, opener: StreamOpener, ended: Callable[[], None]) -> None:
        """`ended` is called when the answer is complete."""
        self._opener = opener
        self._ended = ended
        self._stream: ResponseStream | None = None
        self._flow: Flow | None = None
        self._drain: asyncio.Task[None] | None = None
        self._prelude: bytearray | None = None
        self._head: UrlAnswer | None = None
        """What the answer will begin with: it is not begun before there is something to send, so that a function that
        fails at once can still be answered with 502."""
        self._has_failed = False
        self._sent = 0

    def started(self, content_type: str, flow: Flow) -> None:
        self._flow = flow
        if content_type.startswith(HTTP_INTEGRATION):
            self._prelude = bytearray()
        else:
            self._head = _plain(content_type)

    def chunk(self, data: bytes) -> None:
        if self._has_failed:
            return
        if self._prelude is None:
            self._write(data)
            return
        self._prelude += data
        prelude, separator, body = bytes(self._prelude).partition(PRELUDE_END)
        if separator:
            self._prelude = None
            try:
                self._head = prelude_of(prelude)
                self._opened()
            except BadAnswer as error:
                self._fail(str(error))
            else:
                self._write(body)
        elif len(self._prelude) > MAX_PRELUDE_BYTES:
            self._fail(f"the prelude is longer than {MAX_PRELUDE_BYTES} bytes")

    def done(self, outcome: Outcome) -> None:
        """A function that fails in the middle of its stream leaves an answer that is cut off. What a function returns
        that does not stream is sent as it is: nothing in it becomes a status or headers."""
        if outcome.ending is not Ending.SUCCESS:
            if self._stream is not None:
                self._stream.abort()
            elif not self._has_failed:
                self._fail("")
        elif self._prelude is not None and not self._has_failed:
            self._fail("the stream ended before its prelude did")
        elif not self._has_failed:
            if self._flow is None:
                self._head = _plain(outcome.content_type)
                self._write(outcome.payload)
            self._opened().end()
        self._ended()

    def _opened(self) -> ResponseStream:
        if self._stream is None:
            head = self._head or _plain("")
            self._stream = self._opener.open(head.status, head.headers)
        return self._stream

    def _write(self, data: bytes) -> None:
        left = STREAM_LIMIT_BYTES - self._sent
        if not data or left <= 0:
            return
        stream = self._opened()
        self._sent += len(data)
        stream.write(data[:left])
        if self._flow is not None and self._drain is None and stream.is_full:
            self._flow.pause_stream()
            self._drain = asyncio.get_running_loop().create_task(self._wait_for_reader(stream, self._flow))

    async def _wait_for_reader(self, stream: ResponseStream, flow: Flow) -> None:
        await stream.drain()
        self._drain = None
        flow.resume_stream()

    def _fail(self, reason: str) -> None:
        self._has_failed = True
        self._opener.fail(reason)


def _plain(content_type: str) -> UrlAnswer:
    return UrlAnswer(status=200, headers=[("content-type", content_type or "application/octet-stream")])
