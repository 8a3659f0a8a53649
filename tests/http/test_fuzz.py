"""Properties that hold for any bytes, in any packets."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdad.http import BodyPolicy, Exchange, HttpLimits, HttpServer, Request, Response, quick
from lambdad.http.connection import HttpConnection
from lambdad.http.parser import Incoming, RequestParser
from lambdad.http.quick import QuickReader

LIMITS = HttpLimits()
FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

token = st.text("abcdefXYZ-_0189", min_size=1, max_size=12)
value = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20).map(
    lambda text: text.strip()
)
target = st.text("abc/%20=&?.~", max_size=20).map(lambda text: "/" + text)
headers = st.lists(st.tuples(token.map(lambda name: "x-" + name), value), max_size=5)
SPECIAL = [
    "connection: keep-alive",
    "connection: upgrade\r\nupgrade: h2c",
    "expect: 100-continue",
    "cookie: a\r\ncookie: b",
]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One valid request that leaves the connection open."""
    lines = [f"{draw(st.sampled_from(['GET', 'POST', 'PUT', 'DELETE']))} {draw(target)} HTTP/1.1", "Host: a"]
    lines += [f"{name}: {text}" for name, text in draw(headers)]
    lines += draw(st.lists(st.sampled_from(SPECIAL), max_size=1))
    match draw(st.sampled_from(["none", "length", "chunked"])):
        case "none":
            end = b""
        case "length":
            end = draw(st.binary(max_size=60))
            lines.append(f"Content-Length: {len(end)}")
        case _:
            chunks = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4))
            trailers = "".join(f"t-{name}: {text}\r\n" for name, text in draw(headers))
            extension = draw(st.sampled_from([b"", b";a=b"]))
            end = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
            end += b"0\r\n" + trailers.encode("latin-1") + b"\r\n"
            lines.append("Transfer-Encoding: chunked")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + end


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Requests of which some bytes were changed, taken out or put in."""
    data = bytearray(b"".join(draw(st.lists(requests(), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(data)))
        piece = draw(
            st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b":", b"\0", b"0", b"\xff", b"Content-Length: 3\r\n"])
        )
        data[position : position + draw(st.integers(0, 3))] = piece
    return bytes(data)


def cut(data: bytes, positions: list[int]) -> list[bytes]:
    ends = sorted({position % (len(data) + 1) for position in positions} | {len(data)})
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [piece for piece in pieces if piece]


def seen(incoming: Incoming) -> dict[str, Any]:
    request = incoming.request
    return {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": request.headers,
        "version": request.http_version,
        "body": request.body or incoming.body(),
        "size": incoming.size,
        "length": incoming.length,
        "trailers": incoming.trailers,
        "keep_alive": incoming.keep_alive,
        "expects": incoming.expects_continue,
        "complete": incoming.complete,
    }


def parsed(pieces: list[bytes]) -> tuple[list[dict[str, Any]], int]:
    parser: RequestParser[Incoming] = RequestParser(LIMITS, lambda: 1.0, make=Incoming)
    for piece in pieces:
        parser.feed(piece)
    status = parser.failure.status if parser.failure else 0
    return [seen(incoming) for incoming in parser.messages], 400 if status == 501 else status


@FUZZ
@given(st.lists(requests(), min_size=1, max_size=5), st.lists(st.integers(0, 10_000), max_size=30))
def test_the_same_requests_are_read_from_any_packets(stream: list[bytes], positions: list[int]) -> None:
    data = b"".join(stream)
    whole, failure = parsed([data])

    assert failure == 0
    assert [request["complete"] for request in whole] == [True] * len(stream)
    assert parsed(cut(data, positions)) == (whole, 0)
    assert parsed([data[index : index + 1] for index in range(len(data))]) == (whole, 0)


@FUZZ
@given(damaged(), st.lists(st.integers(0, 10_000), max_size=30))
def test_the_same_is_refused_in_any_packets(data: bytes, positions: list[int]) -> None:
    whole, failure = parsed([data])
    again, failure_again = parsed(cut(data, positions))

    assert failure_again == failure
    assert again == whole


def read_quickly(data: bytes) -> dict[str, Any] | None:
    reader: QuickReader[Incoming] = QuickReader(LIMITS, lambda: 1.0, ("", 0), 0, make=Incoming)
    first, second = reader.read(data), reader.read(data)
    assert (first is None) == (second is None)
    if first is None or second is None:
        return None
    found = seen(first)
    assert seen(second) == found
    return found


@FUZZ
@given(st.one_of(requests(), damaged(), st.binary(max_size=60)))
def test_the_short_way_comes_to_the_same_requests(data: bytes) -> None:
    quick = read_quickly(data)
    if quick is not None:
        assert parsed([data]) == ([quick], 0)


@FUZZ
@given(target, headers, st.binary(max_size=50))
def test_plain_requests_do_take_the_short_way(where: str, lines: list[tuple[str, str]], body: bytes) -> None:
    names = {name.lower() for name, _ in lines}
    if len(names) < len(lines):
        lines = []
    head = f"POST {where} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {text}\r\n" for name, text in lines) + "\r\n"

    assert read_quickly(head.encode("latin-1") + body) is not None


def test_the_short_way_knows_the_limits_of_its_listener() -> None:
    data = b"GET /limits HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 2\r\n\r\n"
    assert read_quickly(data) is not None  # twice, and is known from now on
    for limits in (HttpLimits(header_count=2), HttpLimits(header_bytes=20), HttpLimits(target_bytes=5)):
        reader: QuickReader[Incoming] = QuickReader(limits, lambda: 1.0, ("", 0), 0, make=Incoming)
        assert reader.read(data) is None


def test_heads_whose_paths_come_once_do_not_push_out_others() -> None:
    reader: QuickReader[Incoming] = QuickReader(LIMITS, lambda: 1.0, ("", 0), 0, make=Incoming)
    polling = b"GET /runtime/invocation/next HTTP/1.1\r\nHost: a\r\n\r\n"
    for number in range(300):
        assert reader.read(polling) is not None
        assert (
            reader.read(f"POST /runtime/invocation/once-{number}/response HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            is not None
        )

    assert polling in quick._known
    assert not any(b"/once-" in head for head in quick._known)  # other tests' may be there


def test_the_tables_of_the_short_way_stay_small() -> None:
    for number in range(5000):
        assert read_quickly(f"GET /{number} HTTP/1.1\r\nHost: a\r\nX-{number}: {number}\r\n\r\n".encode()) is not None
        assert read_quickly(f"GET / HTTP/1.1\r\nHost: a\r\nX-{number}: {number}\r\n\r\n".encode()) is not None

    assert len(quick._known) <= 256
    assert len(quick._lines) <= 2048
    assert len(quick._targets) <= 2048


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_over = False

    def write(self, data: bytes) -> None:  # type: ignore[override]  # only bytes are written
        assert not self.is_over, "written after the end"
        self.written += data

    def write_eof(self) -> None:
        self.is_over = True

    def close(self) -> None:
        self.is_over = True

    abort = close

    def is_closing(self) -> bool:
        return self.is_over

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def get_write_buffer_size(self) -> int:
        return 0


class Echo:
    def head(self, request: Request) -> BodyPolicy | Response:
        return BodyPolicy(limit=50)

    def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        exchange.send(Response(200, [("X-Path", request.path)], request.body))


def served(pieces: list[bytes]) -> bytes:
    """What a server writes to a client that sends these packets."""

    async def serve() -> bytes:
        transport = FakeTransport()
        connection = HttpConnection(HttpServer(Echo()))
        connection.connection_made(transport)
        for piece in pieces:
            connection.data_received(piece)
            await asyncio.sleep(0)
        if not connection.eof_received():
            transport.close()
        connection.connection_lost(None)
        return bytes(transport.written)

    with asyncio.Runner() as runner:
        answers = runner.run(serve()).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    return re.sub(rb"Date: [ \w,:]+", b"Date: now", answers)


@settings(FUZZ, max_examples=40)
@given(st.lists(requests(), min_size=1, max_size=5), st.lists(st.integers(0, 10_000), max_size=30))
def test_the_same_answers_are_given_to_any_packets(stream: list[bytes], positions: list[int]) -> None:
    answers = served([b"".join(stream)])

    assert answers.count(b"HTTP/1.1 ") == len(stream) or b" 413 " in answers
    assert served(stream) == answers
    assert served(cut(b"".join(stream), positions)) == answers


@settings(FUZZ, max_examples=40)
@given(st.one_of(damaged(), st.binary(max_size=200)), st.lists(st.integers(0, 10_000), max_size=30))
def test_no_bytes_upset_the_server(data: bytes, positions: list[int]) -> None:
    answers = served(cut(data, positions))

    assert answers == b"" or answers.startswith(b"HTTP/1.1 ")
