"""Clients that others wrote: Python's http.client and curl."""

from __future__ import annotations

import asyncio
import http.client
import shutil

import pytest

from lambdad.http import BodyPolicy, Exchange, HttpServer, Response
from tests.http.conftest import Recorder

BIG = bytes(range(256)) * 20_000  # 5 MB

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


async def test_http_client_keeps_its_connection(server: HttpServer, application: Recorder) -> None:
    def talk() -> list[tuple[int, bytes]]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        answers = []
        for method, body in [("GET", b""), ("POST", b"hello"), ("POST", BIG[:900_000]), ("PUT", b""), ("DELETE", b"x")]:
            connection.request(method, "/a?b", body or None)
            response = connection.getresponse()
            answers.append((response.status, response.read()))
        connection.request(
            "POST", "/", iter([b"one", b"two"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
        )
        answers.append((connection.getresponse().status, b""))
        connection.close()
        return answers

    answers = await asyncio.to_thread(talk)
    assert [status for status, _ in answers] == [200] * 6
    assert [body for _, body in answers[:5]] == [b"", b"hello", BIG[:900_000], b"", b"x"]
    assert application.requests[-1].body == b"onetwo"
    assert server.statistics().accepted == 1


async def test_http_client_reads_a_refusal_after_sending_everything(server: HttpServer, application: Recorder) -> None:
    application.policy = BodyPolicy(limit=1000)

    def talk() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", "/", BIG)
        response = connection.getresponse()
        return response.status, response.read()

    status, body = await asyncio.to_thread(talk)
    assert (status, b"1000 bytes" in body) == (413, True)


async def test_http_client_reads_streams(server: HttpServer, application: Recorder) -> None:
    def answer(exchange: Exchange) -> None:
        stream = exchange.start_stream(200, trailers=True)
        stream.write(BIG)
        stream.write(b"end")
        stream.end([("X-Sum", "1")])

    application.answer = answer

    def talk() -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/")
        return connection.getresponse().read()

    assert await asyncio.to_thread(talk) == BIG + b"end"


async def curl(server: HttpServer, *arguments: str, body: bytes = b"") -> tuple[int, bytes]:
    """Exit status and output."""
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--max-time", "10", "--noproxy", "*", f"http://127.0.0.1:{server.port}/", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate(body)
    assert process.returncode is not None
    return process.returncode, output


@needs_curl
@pytest.mark.parametrize(
    ("arguments", "body", "expected"),
    [
        (["--data-binary", "@-"], b"hello", b"hello"),
        (["--data-binary", "@-"], BIG, BIG),
        (["--data-binary", "@-", "-H", "Expect: 100-continue"], BIG, BIG),
        (["-T", "-"], BIG, BIG),
        (["-T", "-", "-H", "Expect:"], BIG, BIG),
        (["--data-binary", "@-", "--http1.0"], BIG, BIG),
        (["--data-binary", "@-", "--http2"], b"hello", b"hello"),
        (["--data-binary", "@-", "--request-target", "http://elsewhere/a"], b"hello", b"hello"),
        (["-X", "OPTIONS", "--request-target", "*"], b"", b""),
    ],
    ids=["small", "big", "expect", "chunked", "chunked without expect", "1.0", "upgrade to 2", "absolute", "asterisk"],
)
async def test_curl_gets_back_what_it_sends(
    server: HttpServer, application: Recorder, arguments: list[str], body: bytes, expected: bytes
) -> None:
    application.policy = BodyPolicy(limit=10**7)
    assert await curl(server, *arguments, body=body) == (0, expected)


@needs_curl
async def test_curl_sees_the_head_alone(server: HttpServer, application: Recorder) -> None:
    application.answer = lambda exchange: exchange.send(Response(200, [("X-A", "1")], b"hello"))
    status, output = await curl(server, "--head")
    assert status == 0
    assert b"X-A: 1\r\nContent-Length: 5\r\n" in output
    assert output.endswith(b"\r\n\r\n")


@needs_curl
@pytest.mark.parametrize("arguments", [["--data-binary", "@-", "-H", "Expect:"], ["-T", "-"]])
async def test_curl_reads_a_refusal(server: HttpServer, application: Recorder, arguments: list[str]) -> None:
    application.policy = BodyPolicy(limit=1000)
    status, output = await curl(server, *arguments, "--write-out", "%{http_code}", body=BIG)
    assert status == 0
    assert output.endswith(b"413")


@needs_curl
async def test_curl_notices_a_stream_that_was_cut(server: HttpServer, application: Recorder) -> None:
    def answer(exchange: Exchange) -> None:
        stream = exchange.start_stream(200)
        stream.write(b"hello")
        stream.abort()

    application.answer = answer
    status, output = await curl(server)
    assert output == b"hello"
    assert status in {18, 56}  # partial file, failure in receiving
