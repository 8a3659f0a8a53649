"""Bodies that are too large, and early refusals, in a way that the client can read."""

from __future__ import annotations

import json

import pytest

from lambdad.http import BodyPolicy, HttpLimits, Response
from tests.http.conftest import Connect, RawClient, Recorder, chunked, get, post


class TestBodyLimit:
    @pytest.fixture(autouse=True)
    def policy(self, application: Recorder) -> None:
        application.policy = BodyPolicy(
            limit=10, on_too_large=lambda request, size: Response(413, [("X-Path", request.path)], str(size).encode())
        )

    async def test_the_limit_itself_is_allowed(self, client: RawClient) -> None:
        assert (await client.exchange(post(b"a" * 10))).status == 200
        assert (await client.exchange(chunked(b"a" * 5, b"a" * 5))).status == 200

    async def test_an_announced_size_is_refused_before_the_body(self, client: RawClient, application: Recorder) -> None:
        client.send(b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\n")

        reply = await client.reply()
        assert (reply.status, reply.body, reply.headers["x-path"]) == (413, b"11", "/a")
        assert application.requests == []

    async def test_a_chunked_body_is_refused_when_it_has_grown_too_large(self, client: RawClient) -> None:
        client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n")

        reply = await client.reply()
        assert (reply.status, reply.body) == (413, b"11")

    async def test_a_client_that_expects_continue_need_not_send_it(self, client: RawClient) -> None:
        reply = await client.exchange(post(b"a" * 11, "Expect: 100-continue")[:-11])

        assert reply.status == 413

    async def test_the_answer_says_the_limit_when_the_application_says_nothing(
        self, client: RawClient, application: Recorder
    ) -> None:
        application.policy = BodyPolicy(limit=10)
        reply = await client.exchange(post(b"a" * 11))

        assert reply.status == 413
        assert "10 bytes" in json.loads(reply.body)["message"]

    async def test_a_client_that_sends_everything_first_can_still_read_the_answer(self, client: RawClient) -> None:
        body = b"a" * 20_000_000
        client.send(post(body))
        await client.writer.drain()  # far more than the buffers between hold

        reply = await client.reply()
        assert (reply.status, reply.body) == (413, b"20000000")
        assert await client.rest() == b""


class TestLingering:
    @pytest.fixture
    def limits(self) -> HttpLimits:
        return HttpLimits(linger_bytes=1_000_000)

    async def test_what_is_read_after_a_refusal_is_bounded(self, client: RawClient, application: Recorder) -> None:
        application.policy = BodyPolicy(limit=10)
        client.send(post(b"a" * 20_000_000))
        with pytest.raises(ConnectionError):
            await client.writer.drain()


async def test_the_application_may_refuse_at_the_head(client: RawClient, application: Recorder) -> None:
    application.decide = lambda _: Response(403, [], b"no")
    client.send(post(b"hello")[:-1])

    reply = await client.reply()
    assert (reply.status, reply.body, reply.headers["connection"]) == (403, b"no", "close")
    client.send(b"o")
    assert await client.rest() == b""
    assert application.requests == []


async def test_a_refusal_at_the_head_keeps_the_connection_when_nothing_is_left_unread(
    connect: Connect, application: Recorder
) -> None:
    application.decide = lambda request: Response(403) if request.path == "/no" else application.policy
    client = await connect()
    for data in (get("/no"), get("/no"), post(b"hello", path="/no")):
        reply = await client.exchange(data)
        assert (reply.status, reply.headers["connection"]) == (403, "keep-alive")

    assert (await client.exchange(get("/yes"))).status == 200
