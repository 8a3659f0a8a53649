"""What is not a request is refused, in a way that the client can read, and never reaches the application."""

from __future__ import annotations

import json

import pytest

from lambdad.http import HttpLimits, HttpServer
from tests.http.conftest import Connect, RawClient, Recorder, a_turn, chunked, get, post

LOOPS = ("asyncio",)  # what is refused does not depend on the event loop
POST = b"POST / HTTP/1.1\r\nHost: test\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"

HOSTILE = {
    # Two ways to say where the body ends (request smuggling).
    "length, then coding": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding, then length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
    "two equal lengths": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    "list of lengths": (POST + b"Content-Length: 5, 5\r\n\r\nhello", 400),
    "length with a plus": (POST + b"Content-Length: +5\r\n\r\nhello", 400),
    "negative length": (POST + b"Content-Length: -5\r\n\r\nhello", 400),
    "hexadecimal length": (POST + b"Content-Length: 0x5\r\n\r\nhello", 400),
    "length in parts": (POST + b"Content-Length: 1 0\r\n\r\nhello", 400),
    "empty length": (POST + b"Content-Length:\r\n\r\nhello", 400),
    "huge length": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    "length of many zeros": (POST + b"Content-Length: " + b"0" * 5000 + b"5\r\n\r\nhello", 400),
    "length in other digits": (POST + b"Content-Length: \xb2\r\n\r\nhello", 400),
    "length before a colon": (POST + b"Content-Length : 5\r\n\r\nhello", 400),
    "unknown coding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "misspelt coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "coding behind a control character": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "coding and identity": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "coding twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding, then another": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    "coding in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding in kept HTTP/1.0": (
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "supported coding behind another": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "length in the trailers": (CHUNKED + b"0\r\nContent-Length: 40\r\n\r\n", 400),
    "coding in the trailers": (CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    # Chunks.
    "chunk with a plus": (CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n", 400),
    "negative chunk": (CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk with a prefix": (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk with a space": (CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    "chunk without a size": (CHUNKED + b"\r\nabc\r\n0\r\n\r\n", 400),
    "chunk with a bare line feed": (CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    "chunk extension with a bare line feed": (CHUNKED + b"3;a\nabc\r\n0\r\n\r\n", 400),
    "chunk longer than it says": (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk ended by a line feed": (CHUNKED + b"3\r\nabc\n0\r\n\r\n", 400),
    "chunk of too many bytes": (CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n", 400),
    # Lines.
    "bare line feeds": (b"GET / HTTP/1.1\nHost: test\n\n", 400),
    "one bare line feed": (b"GET / HTTP/1.1\r\nHost: test\nX: 1\r\n\r\n", 400),
    "bare carriage return": (b"GET / HTTP/1.1\r\nHost: test\rX: 1\r\n\r\n", 400),
    "two carriage returns": (b"GET / HTTP/1.1\r\nHost: test\r\r\n\r\n", 400),
    "head ended by a line feed": (b"GET / HTTP/1.1\r\nHost: test\r\n\n", 400),
    "folded header": (b"GET / HTTP/1.1\r\nHost: test\r\nX: 1\r\n 2\r\n\r\n", 400),
    "space before the first header": (b"GET / HTTP/1.1\r\n Host: test\r\n\r\n", 400),
    "header without a colon": (b"GET / HTTP/1.1\r\nHost: test\r\nX\r\n\r\n", 400),
    "header without a name": (b"GET / HTTP/1.1\r\nHost: test\r\n: 1\r\n\r\n", 400),
    "bad character in a name": (b"GET / HTTP/1.1\r\nHost: test\r\nX(a): 1\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\nHost: test\r\nX: a\0b\r\n\r\n", 400),
    "control character in a value": (b"GET / HTTP/1.1\r\nHost: test\r\nX: a\x01b\r\n\r\n", 400),
    # Host.
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "two authorizations": (get("/", "Authorization: a", "Authorization: b"), 400),
    # Targets.
    "control character in the target": (b"GET /\x01 HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    "raw UTF-8 in the target": ("GET /\u00e9 HTTP/1.1\r\nHost: test\r\n\r\n".encode(), 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    "no slash": (b"GET a HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    "asterisk for GET": (b"GET * HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    "asterisk and more": (b"OPTIONS *x HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    "credentials in the target": (b"GET http://a:b@c/ HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    "other scheme": (b"GET ftp://a/ HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    # Methods and versions.
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "noise": (bytes(range(128, 256)), 400),
    "tab between the parts": (b"GET\t/\tHTTP/1.1\r\nHost: test\r\n\r\n", 400),
    "unknown method": (b"BREW /pot HTTP/1.1\r\nHost: test\r\n\r\n", 501),
    "method in lower case": (b"get / HTTP/1.1\r\nHost: test\r\n\r\n", 501),
    "CONNECT": (b"CONNECT test:443 HTTP/1.1\r\nHost: test\r\n\r\n", 501),
    "CONNECT to a path": (b"CONNECT / HTTP/1.1\r\nHost: test\r\n\r\n", 501),
    "no version": (b"GET /\r\n\r\n", 505),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\nHost: test\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: test\r\n\r\n", 505),
    "HTTP/2": (b"GET / HTTP/2.0\r\nHost: test\r\n\r\n", 505),
    "HTTP/2 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/3": (b"GET / HTTP/3.0\r\nHost: test\r\n\r\n", 505),
    "protocol in lower case": (b"GET / http/1.1\r\nHost: test\r\n\r\n", 400),
    "space behind the version": (b"GET / HTTP/1.1 \r\nHost: test\r\n\r\n", 400),
    "other expectation": (post(b"", "Expect: 200-ok"), 417),
}


@pytest.mark.parametrize(("data", "status"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_is_not_a_request_is_refused_and_the_connection_closed(
    client: RawClient, application: Recorder, server: HttpServer, data: bytes, status: int
) -> None:
    client.send(data + SMUGGLED)

    reply = await client.reply()
    assert reply.status == status
    assert reply.headers["connection"] == "close"
    assert reply.headers["content-type"] == "application/json"
    assert set(json.loads(reply.body)) == {"message"}
    assert await client.rest() == b""
    assert application.requests == []
    assert server.statistics().refused == 1


async def test_it_is_refused_just_so_behind_requests_that_are_fine(connect: Connect, application: Recorder) -> None:
    for name, (data, status) in HOSTILE.items():
        application.requests.clear()
        client = await connect()
        for _ in range(2):  # the second is read in the short way
            assert (await client.exchange(get("/before"))).status == 200
        client.send(get("/with") + data + SMUGGLED)

        assert (await client.reply()).status == 200, name
        # An unknown method is told from noise only at the beginning.
        assert (await client.reply()).status in {status, 400}, name
        assert await client.rest() == b"", name
        assert [request.path for request in application.requests] == ["/before", "/before", "/with"], name


async def test_plain_http_is_recommended_to_tls_clients(client: RawClient) -> None:
    reply = await client.exchange(HOSTILE["TLS"][0])

    assert b"http://" in reply.body


class TestSizes:
    @pytest.fixture
    def limits(self) -> HttpLimits:
        return HttpLimits(target_bytes=1000, header_bytes=2000, header_count=10)

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (get("/" + "a" * 999), 200),
            (get("/" + "a" * 1000), 414),
            (get("/a?" + "a" * 1000), 414),
            (get("/", "X: " + "a" * 1900), 200),
            (get("/", "X: " + "a" * 2000), 431),
            (get("/", "X: " + "a" * 1000, "Y: " + "a" * 1000), 431),
            (get("/", "x" * 2000 + ": 1"), 431),
            (get("/", *(f"X{number}: 1" for number in range(9))), 200),
            (get("/", *(f"X{number}: 1" for number in range(10))), 431),
            (get("/", *("X: 1" for _ in range(9))), 200),
            (get("/", *("X: 1" for _ in range(10))), 431),
            (get("/", *("X: 1" for _ in range(5000))), 431),
            (chunked(b"a", trailers="".join(f"X{number}: 1\r\n" for number in range(10))), 200),
            (chunked(b"a", trailers="".join(f"X{number}: 1\r\n" for number in range(11))), 431),
            (chunked(b"a", trailers=f"X: {'a' * 2500}\r\n"), 431),
        ],
    )
    @pytest.mark.parametrize("piece", [10**6, 700, 64])
    async def test_lines_and_headers_have_a_limit(
        self, client: RawClient, data: bytes, status: int, piece: int
    ) -> None:
        for start in range(0, len(data), piece):
            client.send(data[start : start + piece])
            await a_turn()

        assert (await client.reply()).status == status

    @pytest.mark.parametrize(
        ("beginning", "filler", "status"),
        [
            (b"GET /", b"a" * 100, 414),
            (b"GET / HTTP/1.1\r\nHost: test\r\nX: ", b"a" * 100, 431),
            (b"GET / HTTP/1.1\r\nHost: test\r\n", b"x" * 100, 431),
            (b"GET / HTTP/1.1\r\nHost: test\r\n", b"X: 1\r\n" * 20, 431),
            (CHUNKED + b"1;", b"a" * 100, 431),
            (CHUNKED + b"1\r\na\r\n0\r\nX: ", b"a" * 100, 431),
        ],
        ids=["target", "value", "name", "lines", "extension", "trailer"],
    )
    async def test_what_has_no_end_is_cut_off_in_time(
        self, client: RawClient, beginning: bytes, filler: bytes, status: int, server: HttpServer
    ) -> None:
        client.send(beginning)
        sent = 0
        while not server.statistics().refused:
            client.send(filler)
            sent += len(filler)
            await a_turn()
            assert sent < 100_000, "the server reads on and on"

        assert (await client.reply()).status == status

    async def test_heads_of_the_allowed_size_may_follow_each_other_without_end(self, client: RawClient) -> None:
        stream = (get("/" + "a" * 900, "X: " + "b" * 900) + chunked(b"c" * 900)) * 50
        for start in range(0, len(stream), 1000):
            client.send(stream[start : start + 1000])

        for _ in range(100):
            assert (await client.reply()).status == 200
