"""What an application sees of requests that are fine."""

from __future__ import annotations

import pytest

from lambdad.http import HttpServer
from tests.http.conftest import ManualTime, RawClient, Recorder, chunked, get, post


async def test_a_request_is_described_in_full(
    client: RawClient, application: Recorder, server: HttpServer, now: ManualTime
) -> None:
    await client.exchange(post(b"hello", "X-Name:  caf\xe9 \t", path="/a%2Fb?c=%20&d"))

    request = application.requests[0]
    assert (request.method, request.path, request.query) == ("POST", "/a%2Fb", "c=%20&d")
    assert request.headers == {"host": "test", "content-length": "5", "x-name": "caf\xe9"}
    assert request.body == b"hello"
    assert request.http_version == "1.1"
    assert (request.peer_host, request.peer_port) == client.writer.get_extra_info("sockname")
    assert request.local_port == server.port
    assert request.received == now.seconds


async def test_the_body_is_not_there_yet_when_the_head_is_decided_upon(
    client: RawClient, application: Recorder
) -> None:
    client.send(post(b"")[:-2])  # not even the head is complete
    await client.exchange(b"\r\n")
    client.send(post(b"hello")[:-1])
    await client.exchange(b"o")

    assert [request.headers["content-length"] for request in application.heads] == ["0", "5"]
    assert [request.body for request in application.requests] == [b"", b"hello"]


@pytest.mark.parametrize(
    ("lines", "name", "value"),
    [
        (["X-A: 1", "X-A: 2", "x-a: 3"], "x-a", "1,2,3"),
        (["Cookie: a=1", "Cookie: b=2"], "cookie", "a=1; b=2"),
        (["X-Empty:"], "x-empty", ""),
        (["X-Empty:", "X-Empty: 1"], "x-empty", ",1"),
        (["X-Colon: a:b: c"], "x-colon", "a:b: c"),
    ],
)
async def test_header_lines_become_a_dictionary(
    client: RawClient, application: Recorder, lines: list[str], name: str, value: str
) -> None:
    for _ in range(2):
        await client.exchange(get("/", *lines))

    assert [request.headers[name] for request in application.requests] == [value, value]


@pytest.mark.parametrize(
    ("first_line", "method", "path", "query", "host"),
    [
        ("GET http://other:1234/a?b=c HTTP/1.1", "GET", "/a", "b=c", "other:1234"),
        ("GET http://other HTTP/1.1", "GET", "/", "", "other"),
        ("GET HTTP://other?b HTTP/1.1", "GET", "/", "b", "other"),
        ("GET http://[::1]:80/ HTTP/1.1", "GET", "/", "", "[::1]:80"),
        ("OPTIONS * HTTP/1.1", "OPTIONS", "*", "", "test"),
        ("GET //a//b?c?d HTTP/1.1", "GET", "//a//b", "c?d", "test"),
        ("GET /a? HTTP/1.1", "GET", "/a", "", "test"),
        ("PATCH / HTTP/1.1", "PATCH", "/", "", "test"),
        ("PROPFIND / HTTP/1.1", "PROPFIND", "/", "", "test"),
    ],
)
async def test_all_forms_of_targets_are_understood(
    client: RawClient, application: Recorder, first_line: str, method: str, path: str, query: str, host: str
) -> None:
    await client.exchange(f"{first_line}\r\nHost: test\r\n\r\n".encode())

    request = application.requests[0]
    assert (request.method, request.path, request.query, request.headers["host"]) == (method, path, query, host)


async def test_chunked_bodies_are_put_together(client: RawClient, application: Recorder) -> None:
    reply = await client.exchange(chunked(b"one", b"two", b"three", trailers="X-Sum: 1\r\n"))

    assert reply.body == b"onetwothree"
    assert "x-sum" not in application.requests[0].headers


async def test_a_body_in_thousands_of_chunks_arrives_whole(client: RawClient) -> None:
    pieces = [b"%d," % number for number in range(20_000)]
    client.send(chunked(*pieces))

    assert (await client.reply()).body == b"".join(pieces)


async def test_chunk_extensions_are_ignored(client: RawClient) -> None:
    reply = await client.exchange(
        b'POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=1;b="x"\r\nabc\r\n0;end\r\n\r\n'
    )

    assert reply.body == b"abc"


async def test_empty_lines_before_a_request_are_skipped(client: RawClient) -> None:
    assert (await client.exchange(b"\r\n\r\n" + post(b"a"))).body == b"a"
    assert (await client.exchange(b"\r\n" + post(b"b"))).body == b"b"


@pytest.mark.parametrize(
    "request_",
    [
        post(b"hello", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        chunked(b"hel", b"lo").replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 1),
    ],
    ids=["length", "chunked"],
)
async def test_a_wish_to_upgrade_is_ignored(client: RawClient, request_: bytes) -> None:
    client.send(request_ * 3 + post(b"next"))
    replies = [await client.reply() for _ in range(4)]

    assert [reply.body for reply in replies] == [b"hello", b"hello", b"hello", b"next"]
    assert {reply.status for reply in replies} == {200}


async def test_upgrades_without_a_body_are_ignored_by_the_thousand(client: RawClient, application: Recorder) -> None:
    wish = get("/", "Connection: upgrade", "Upgrade: h2c")
    client.send(wish * 2000)
    for _ in range(2000):
        assert (await client.reply()).status == 200

    assert len(application.requests) == 2000


async def test_expect_continue_is_answered_before_the_body(client: RawClient) -> None:
    client.send(post(b"hello", "Expect: 100-Continue")[:-5])
    assert (await client.head()).status == 100

    assert (await client.exchange(b"hello")).body == b"hello"


async def test_expect_continue_is_not_answered_when_the_body_is_there_already(client: RawClient) -> None:
    assert (await client.exchange(post(b"hello", "Expect: 100-continue"))).status == 200
    assert (await client.exchange(get("/", "Expect: 100-continue"))).status == 200


async def test_http_1_0_has_no_expectations(client: RawClient) -> None:
    head, body = b"POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", b"hello"
    client.send(head)
    client.send(body)

    assert (await client.reply()).status == 200


async def test_identical_requests_do_not_share_their_headers(client: RawClient, application: Recorder) -> None:
    for _ in range(3):
        await client.exchange(get("/same"))
        assert application.requests[-1].headers == {"host": "test"}
        application.requests[-1].headers.clear()
