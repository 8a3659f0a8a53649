"""How answers look on the wire."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from lambdad.http import Exchange, HttpServer, Response, rendering
from tests.http.conftest import RawClient, Recorder, get, post, until

POST_1_0 = b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi"


async def test_the_server_adds_length_date_and_connection(client: RawClient, application: Recorder) -> None:
    application.answer = lambda exchange: exchange.send(Response(200, [("X-A", "1"), ("X-B", "caf\xe9")], b"body"))
    client.send(get())
    async with asyncio.timeout(5):
        head = await client.reader.readuntil(b"\r\n\r\n")

    assert re.fullmatch(
        rb"HTTP/1\.1 200 OK\r\nX-A: 1\r\nX-B: caf\xe9\r\nContent-Length: 4\r\n"
        rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\nConnection: keep-alive\r\n\r\n",
        head,
    )


async def test_headers_that_are_the_servers_own_are_left_out_of_the_applications(
    client: RawClient, application: Recorder
) -> None:
    own = ["content-length", "Content-Length", "CONNECTION", "Transfer-Encoding", "Date", "Keep-Alive", "Trailer"]
    headers = [(name, "1") for name in own] + [("X-Mine", "1")]
    application.answer = lambda exchange: exchange.send(Response(200, headers, b"body"))

    for _ in range(2):
        reply = await client.exchange(get())
        assert set(reply.headers) == {"content-length", "date", "connection", "x-mine"}
        assert reply.body == b"body"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "1\r\nSet-Cookie: a=b"),
        ("X-A", "1\nX-B: 2"),
        ("X-A", "1\rX-B: 2"),
        ("X-A\r\nX-B", "1"),
        ("X-New\r\n", "1"),
        ("X A", "1"),
        ("X-A:", "1"),
        ("", "1"),
        ("X-A", "\u2713"),
    ],
)
async def test_headers_that_would_break_the_response_become_an_error(
    client: RawClient, application: Recorder, server: HttpServer, name: str, value: str
) -> None:
    application.answer = lambda exchange: exchange.send(Response(200, [("X-A", "1"), (name, value)], b"body"))

    reply = await client.exchange(get())
    assert reply.status == 500
    assert set(reply.headers) == {"content-type", "content-length", "date", "connection"}
    assert server.statistics().failures == 1
    assert (await client.exchange(get())).status == 500  # in step, still


@pytest.mark.parametrize("status", [100, 199, 0, -1, 1000])
async def test_a_status_that_is_none_becomes_an_error(client: RawClient, application: Recorder, status: int) -> None:
    application.answer = lambda exchange: exchange.send(Response(status))

    assert (await client.exchange(get())).status == 500


async def test_a_status_without_a_name_is_sent(client: RawClient, application: Recorder) -> None:
    application.answer = lambda exchange: exchange.send(Response(599))

    assert (await client.exchange(get())).status == 599


async def test_the_names_that_functions_choose_are_not_all_remembered() -> None:
    for number in range(5000):
        rendering.render_response(Response(200, [(f"X-{number}", "1")]), False, True)

    assert len(rendering._prefixes) <= 2048


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_body_has_no_length(client: RawClient, application: Recorder, status: int) -> None:
    application.answer = lambda exchange: exchange.send(Response(status, [], b"left out" * 20_000))

    for _ in range(2):
        reply = await client.exchange(get())
        assert (reply.status, "content-length" in reply.headers) == (status, False)


@pytest.mark.parametrize("size", [0, 5, 100_000])
async def test_head_is_answered_with_the_headers_only(client: RawClient, application: Recorder, size: int) -> None:
    application.answer = lambda exchange: exchange.send(Response(200, [], b"a" * size))
    for _ in range(2):
        client.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
        reply = await client.reply(to_head=True)
        assert (reply.status, reply.headers["content-length"]) == (200, str(size))

    assert (await client.exchange(get())).body == b"a" * size


@pytest.mark.parametrize("size", [1, 65_536, 65_537, 10_000_000])
async def test_bodies_of_any_size_arrive(client: RawClient, application: Recorder, size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    application.answer = lambda exchange: exchange.send(Response(200, [], body[:size]))

    for _ in range(2):
        assert (await client.exchange(get())).body == body[:size]


class TestKeepAlive:
    @pytest.mark.parametrize(
        ("request_", "kept"),
        [
            (get(), True),
            (get("/", "Connection: keep-alive"), True),
            (get("/", "Connection: close"), False),
            (get("/", "Connection: foo, Close"), False),
            (POST_1_0, False),
            (POST_1_0.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"), True),
        ],
    )
    async def test_the_connection_is_kept_as_the_client_wishes(
        self, client: RawClient, request_: bytes, kept: bool
    ) -> None:
        reply = await client.exchange(request_)
        assert reply.headers["connection"] == ("keep-alive" if kept else "close")
        if kept:
            assert (await client.exchange(request_)).status == 200
        else:
            assert await client.rest() == b""

    async def test_what_follows_the_last_request_is_not_answered(
        self, client: RawClient, application: Recorder
    ) -> None:
        client.send(get("/", "Connection: close") + get("/more") * 1000)

        assert (await client.reply()).status == 200
        assert await client.rest() == b""
        assert len(application.requests) == 1


class TestStreams:
    async def test_a_stream_is_chunked_and_the_connection_kept(self, client: RawClient, application: Recorder) -> None:
        def answer(exchange: Exchange) -> None:
            stream = exchange.start_stream(201, [("X-A", "1"), ("Content-Length", "7")])
            stream.write(b"one")
            stream.write(b"")
            stream.write(b"2" * 100_000)
            stream.end()
            assert stream.closed
            assert exchange.closed

        application.answer = answer
        for _ in range(2):
            reply = await client.exchange(get())
            assert (reply.status, reply.headers["x-a"], "content-length" in reply.headers) == (201, "1", False)
            assert reply.body == b"one" + b"2" * 100_000

    async def test_pieces_arrive_as_they_are_written(self, client: RawClient, application: Recorder) -> None:
        application.hold()
        client.send(get())
        await until(lambda: application.exchanges)
        stream = application.exchanges[0].start_stream(200)
        assert (await client.head()).headers["transfer-encoding"] == "chunked"
        stream.write(b"hello")
        assert await client.reader.readexactly(10) == b"5\r\nhello\r\n"
        stream.end()
        assert await client.reader.readexactly(5) == b"0\r\n\r\n"

    async def test_trailers_end_a_stream(self, client: RawClient, application: Recorder) -> None:
        def answer(exchange: Exchange) -> None:
            stream = exchange.start_stream(200, trailers=True)
            stream.write(b"body")
            stream.end([("X-Sum", "1"), ("Content-Length", "3")])

        application.answer = answer
        reply = await client.exchange(get())
        assert (reply.body, reply.trailers) == (b"body", {"x-sum": "1"})

    async def test_trailers_must_be_announced_and_sendable(self, client: RawClient, application: Recorder) -> None:
        def answer(exchange: Exchange) -> None:
            with pytest.raises(ValueError, match="line break"):
                exchange.start_stream(200, [("X-A", "a\nb")])
            with pytest.raises(ValueError, match="not the status"):
                exchange.start_stream(100)
            stream = exchange.start_stream(200, trailers=exchange.request.path == "/announced")
            with pytest.raises(ValueError, match=r"announced|line break"):
                stream.end([("X-Sum", "1\r\n")])
            stream.end()

        application.answer = answer
        assert (await client.exchange(get("/announced"))).status == 200
        assert (await client.exchange(get("/not"))).status == 200

    async def test_http_1_0_gets_the_plain_body_until_the_end(self, client: RawClient, application: Recorder) -> None:
        def answer(exchange: Exchange) -> None:
            stream = exchange.start_stream(200, trailers=True)
            stream.write(b"one")
            stream.write(b"two")
            stream.end([("X-Sum", "1")])

        application.answer = answer
        reply = await client.exchange(POST_1_0.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"))
        assert (reply.headers["connection"], reply.body) == ("close", b"onetwo")
        assert "transfer-encoding" not in reply.headers

    async def test_head_and_no_content_have_no_body(self, client: RawClient, application: Recorder) -> None:
        def answer(exchange: Exchange) -> None:
            stream = exchange.start_stream(204 if exchange.request.path == "/none" else 200)
            stream.write(b"left out")
            stream.end()

        application.answer = answer
        client.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n" + get("/none") + get("/none"))
        assert (await client.reply(to_head=True)).headers["transfer-encoding"] == "chunked"
        for _ in range(2):
            reply = await client.reply()
            assert (reply.status, "transfer-encoding" in reply.headers) == (204, False)

    async def test_an_aborted_stream_is_seen_to_be_incomplete(self, client: RawClient, application: Recorder) -> None:
        def answer(exchange: Exchange) -> None:
            stream = exchange.start_stream(200)
            stream.write(b"hello")
            stream.abort()
            stream.write(b"more")
            stream.end()

        application.answer = answer
        client.send(get())
        await client.head()
        assert await client.rest() == b"5\r\nhello\r\n"

    async def test_an_aborted_stream_of_http_1_0_ends_in_a_reset(
        self, client: RawClient, application: Recorder
    ) -> None:
        application.hold()
        client.send(POST_1_0)
        await until(lambda: application.exchanges)
        stream = application.exchanges[0].start_stream(200)
        stream.write(b"hello")
        await client.head()
        stream.abort()
        with pytest.raises(ConnectionResetError):
            await client.rest()


class TestMistakesOfTheApplication:
    async def test_an_exception_is_logged_and_becomes_500(
        self, client: RawClient, application: Recorder, server: HttpServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        def answer(exchange: Exchange) -> None:
            raise RuntimeError("the reason")

        application.answer = answer
        with caplog.at_level(logging.ERROR, "lambdad.http"):
            for _ in range(2):
                reply = await client.exchange(post(b"hello", path="/here"))
                assert (reply.status, reply.headers["connection"]) == (500, "keep-alive")

        assert "POST /here" in caplog.text
        assert "the reason" in caplog.text
        assert "Traceback" in caplog.text
        assert server.statistics().failures == 2

    async def test_an_exception_at_the_head_becomes_500(self, client: RawClient, application: Recorder) -> None:
        def decide(request: object) -> Response:
            raise RuntimeError

        application.decide = decide
        for _ in range(2):
            assert (await client.exchange(get())).status == 500
        client.send(post(b"hello")[:-1])
        assert (await client.reply()).headers["connection"] == "close"

    async def test_an_exception_after_the_answer_changes_nothing(
        self, client: RawClient, application: Recorder
    ) -> None:
        def answer(exchange: Exchange) -> None:
            exchange.send(Response(200, [], b"fine"))
            raise RuntimeError

        application.answer = answer
        for _ in range(2):
            assert (await client.exchange(get())).body == b"fine"

    async def test_an_exception_in_mid_stream_cuts_the_connection(
        self, client: RawClient, application: Recorder
    ) -> None:
        def answer(exchange: Exchange) -> None:
            exchange.start_stream(200).write(b"hello")
            raise RuntimeError

        application.answer = answer
        client.send(get())
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.reply()

    async def test_other_connections_do_not_notice(self, client: RawClient, application: Recorder) -> None:
        application.hold()
        client.send(get())
        await until(lambda: application.exchanges)
        other = RawClient(*await asyncio.open_connection("127.0.0.1", client.writer.get_extra_info("peername")[1]))

        def answer(exchange: Exchange) -> None:
            raise RuntimeError

        application.answer = answer
        assert (await other.exchange(get())).status == 500
        other.reset()
        application.exchanges[0].send(Response(200))
        assert (await client.reply()).status == 200

    async def test_a_second_answer_is_an_error(self, client: RawClient, application: Recorder) -> None:
        def answer(exchange: Exchange) -> None:
            exchange.send(Response(200))
            with pytest.raises(RuntimeError, match="already"):
                exchange.send(Response(200))
            with pytest.raises(RuntimeError, match="already"):
                exchange.start_stream(200)

        application.answer = answer
        for _ in range(2):
            assert (await client.exchange(get())).status == 200
