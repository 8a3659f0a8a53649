"""Streamed answers, with a function and a reader that the test plays."""

from __future__ import annotations

import asyncio
import json

from lambdad.domain.invocations import Ending, Outcome
from lambdad.wire.function_urls.answers import HTTP_INTEGRATION, MAX_PRELUDE_BYTES, PRELUDE_END, Headers
from lambdad.wire.function_urls.streams import StreamedUrlAnswer

DONE = Outcome(payload=b"")
FAILED = Outcome(payload=b"{}", ending=Ending.ERROR)


class Stream:
    """What the client gets; `is_full` until `take`."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.end_kind = ""
        self.is_full = False
        self._taken = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    async def drain(self) -> None:
        await self._taken.wait()

    def take(self) -> None:
        self.is_full = False
        self._taken.set()

    def end(self) -> None:
        self.end_kind = "end"

    def abort(self) -> None:
        self.end_kind = "abort"


class Client:
    """The answer's other side."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.head: tuple[int, Headers] | None = None
        self.failure: str | None = None
        self.ended = 0
        self.flow: list[str] = []
        self.resumed = asyncio.Event()
        self.answer = StreamedUrlAnswer(self, self._ended)  # type: ignore[arg-type]

    def open(self, status: int, headers: Headers) -> Stream:
        assert self.head is None
        self.head = (status, headers)
        return self.stream

    def fail(self, reason: str) -> None:
        assert self.failure is None
        self.failure = reason

    def pause_stream(self) -> None:
        self.flow.append("pause")

    def resume_stream(self) -> None:
        self.flow.append("resume")
        self.resumed.set()

    def _ended(self) -> None:
        self.ended += 1


def prelude(**members: object) -> bytes:
    return json.dumps(members).encode() + PRELUDE_END


def test_a_plain_stream() -> None:
    client = Client()
    client.answer.started("text/plain", client)
    assert client.head is None
    client.answer.chunk(b"a")
    assert client.head == (200, [("content-type", "text/plain")])
    client.answer.chunk(b"b")
    client.answer.done(DONE)
    assert (client.stream.pieces, client.stream.end_kind, client.ended) == ([b"a", b"b"], "end", 1)


def test_a_prelude_may_come_in_pieces() -> None:
    client = Client()
    client.answer.started(HTTP_INTEGRATION, client)
    for byte in prelude(statusCode=201, headers={"X-A": "b"}):
        assert client.head is None
        client.answer.chunk(bytes([byte]))
    assert client.head == (201, [("content-type", "application/octet-stream"), ("x-a", "b")])
    client.answer.chunk(b"\0" * 9)
    client.answer.done(DONE)
    assert (client.stream.pieces, client.stream.end_kind) == ([b"\0" * 9], "end")


def test_preludes_that_are_none() -> None:
    for chunk, ends in (
        (b"{" + PRELUDE_END, False),
        (prelude(statusCode=7), False),
        (b"x" * (MAX_PRELUDE_BYTES + 1), False),
        (b"{}", True),
    ):
        client = Client()
        client.answer.started(HTTP_INTEGRATION, client)
        client.answer.chunk(chunk)
        assert (client.failure is None) == ends
        client.answer.chunk(b"more")
        client.answer.done(DONE)
        assert client.failure
        assert (client.head, client.ended) == (None, 1)


def test_a_failure_before_and_after_the_first_piece() -> None:
    early, late = Client(), Client()
    for client in (early, late):
        client.answer.started("text/plain", client)
    late.answer.chunk(b"a")
    for client in (early, late):
        client.answer.done(FAILED)
    assert (early.failure, early.head) == ("", None)
    assert (late.failure, late.stream.end_kind) == (None, "abort")


def test_a_stream_of_nothing() -> None:
    client = Client()
    client.answer.started("text/plain", client)
    client.answer.done(DONE)
    assert (client.head, client.stream.end_kind) == ((200, [("content-type", "text/plain")]), "end")


def test_a_function_that_does_not_stream() -> None:
    client = Client()
    client.answer.done(Outcome(payload=b'{"statusCode": 201}'))
    assert client.head == (200, [("content-type", "application/json")])
    assert client.stream.pieces == [b'{"statusCode": 201}']


async def test_the_function_waits_for_a_slow_reader() -> None:
    client = Client()
    client.answer.started("text/plain", client)
    client.stream.is_full = True
    client.answer.chunk(b"a")
    client.answer.chunk(b"b")
    assert client.flow == ["pause"]
    client.stream.take()
    await asyncio.wait_for(client.resumed.wait(), 5)
    assert client.flow == ["pause", "resume"]
