"""Pipelining, and what happens when one side is faster than the other."""

from __future__ import annotations

import asyncio

import pytest

from lambdad.http import BodyPolicy, Exchange, HttpLimits, HttpServer, Response
from tests.http.conftest import Connect, ManualTime, RawClient, Recorder, a_turn, chunked, get, post, until


class TestPipelining:
    async def test_requests_sent_at_once_are_answered_in_their_order(self, client: RawClient) -> None:
        bodies = [b"%d" % number for number in range(1000)]
        client.send(b"".join(post(body) if len(body) % 2 else chunked(body) for body in bodies))

        assert [(await client.reply()).body for _ in bodies] == bodies

    async def test_the_next_one_begins_when_the_first_is_answered(
        self, client: RawClient, application: Recorder
    ) -> None:
        application.hold()
        client.send(post(b"a") + post(b"b") + post(b"c"))
        for number in range(3):
            await until(lambda: len(application.exchanges) > number)  # noqa: B023  # awaited within the turn
            await a_turn()
            assert len(application.exchanges) == len(application.heads) == number + 1
            application.exchanges[number].send(Response(200, [], application.requests[number].body))

        assert [(await client.reply()).body for _ in range(3)] == [b"a", b"b", b"c"]

    async def test_a_head_behind_a_running_request_is_not_judged_before_its_turn(
        self, client: RawClient, application: Recorder
    ) -> None:
        application.hold()
        client.send(get("/slow") + post(b"a" * 100, "Expect: 100-continue")[:-100])
        await until(lambda: application.exchanges)
        await a_turn()
        assert len(application.heads) == 1
        application.exchanges[0].send(Response(200))

        assert (await client.reply()).status == 200
        assert (await client.head()).status == 100

    async def test_a_client_that_sends_more_and_more_is_not_read_meanwhile(
        self, client: RawClient, application: Recorder
    ) -> None:
        application.hold()
        client.send(get("/slow"))
        await until(lambda: application.exchanges)
        for _ in range(200):
            client.send(post(b"a" * 100_000))
        await a_turn()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):  # nothing is to happen: there is no signal to wait for
                await client.writer.drain()
        assert len(application.exchanges) == 1

        application.answer = lambda exchange: exchange.send(Response(200))
        application.exchanges[0].send(Response(200))
        for _ in range(201):
            assert (await client.reply()).status == 200

    async def test_one_client_with_many_requests_does_not_hold_up_the_others(
        self, connect: Connect, application: Recorder
    ) -> None:
        greedy, modest = await connect(), await connect()
        order: list[str] = []

        def answer(exchange: Exchange) -> None:
            order.append(exchange.request.path)
            exchange.send(Response(200))

        application.answer = answer
        greedy.send(get("/greedy") * 1000)
        modest.send(get("/modest"))
        await modest.reply()
        for _ in range(1000):
            await greedy.reply()

        assert order.index("/modest") < 900

    async def test_answers_given_from_inside_do_not_grow_the_stack(
        self, client: RawClient, application: Recorder
    ) -> None:
        application.hold()
        client.send(get() * 3000)
        await until(lambda: application.exchanges)
        application.answer = lambda exchange: exchange.send(Response(200))
        application.exchanges[0].send(Response(200))

        for _ in range(3000):
            assert (await client.reply()).status == 200


class TestSlowReaders:
    @pytest.fixture
    def limits(self) -> HttpLimits:
        return HttpLimits(write_timeout_s=30, progress_bytes=1000)

    async def test_drain_waits_for_the_client(self, client: RawClient, application: Recorder) -> None:
        written = 0
        done = asyncio.Event()

        async def produce(exchange: Exchange) -> None:
            nonlocal written
            stream = exchange.start_stream(200)
            for _ in range(150):
                stream.write(b"a" * 100_000)
                written += 100_000
                await stream.drain()
            stream.end()
            done.set()

        tasks = []
        application.answer = lambda exchange: tasks.append(asyncio.create_task(produce(exchange)))
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a reading transport
        client.send(get())
        await until(lambda: tasks)
        previous = -1
        while previous != written:
            previous = written
            for _ in range(10):
                await asyncio.sleep(0)
        assert not done.is_set()
        assert written < 12_000_000, "written far beyond what the client takes"

        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await client.reply()).body) == 15_000_000
        await done.wait()

    async def test_a_client_that_does_not_read_its_answers_gets_no_more(
        self, client: RawClient, application: Recorder
    ) -> None:
        application.answer = lambda exchange: exchange.send(Response(200, [], b"a" * 1_000_000))
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(get() * 100)
        previous = -1
        while previous != len(application.exchanges):
            previous = len(application.exchanges)
            for _ in range(10):
                await asyncio.sleep(0)
        assert len(application.exchanges) < 50

        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(100):
            assert len((await client.reply()).body) == 1_000_000

    async def test_a_client_that_does_not_read_is_cut_off(
        self, client: RawClient, application: Recorder, server: HttpServer, now: ManualTime
    ) -> None:
        application.hold()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(get())
        await until(lambda: application.exchanges)
        stream = application.exchanges[0].start_stream(200)
        stream.write(b"a" * 30_000_000)
        waiting = asyncio.create_task(stream.drain())
        await a_turn()
        server.sweep()
        now.seconds += 29
        server.sweep()
        assert not waiting.done()
        now.seconds += 2
        server.sweep()
        async with asyncio.timeout(5):
            await waiting
        assert stream.closed
        assert server.statistics().timeouts == 1

    async def test_a_client_that_reads_slowly_but_steadily_is_not(
        self, client: RawClient, application: Recorder, server: HttpServer, now: ManualTime
    ) -> None:
        application.answer = lambda exchange: exchange.send(Response(200, [], b"a" * 30_000_000))
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(get("/", "Connection: close"))
        await until(lambda: application.exchanges)
        await a_turn()
        server.sweep()
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await client.head()
        for _ in range(10):
            await client.reader.readexactly(2_000_000)
            await a_turn()
            now.seconds += 31
            server.sweep()

        assert len(await client.rest()) == 10_000_000


class TestSlowSinks:
    async def test_a_sink_can_stop_the_client(self, client: RawClient, application: Recorder) -> None:
        received = bytearray()

        class Sink:
            def data(self, data: bytes) -> None:
                received.extend(data)
                application.exchanges[0].pause_body()

            def end(self, trailers: dict[str, str]) -> None:
                application.exchanges[0].send(Response(200, [], b"%d" % len(received)))

            def aborted(self) -> None:
                raise AssertionError

        application.hold()
        application.policy = BodyPolicy(limit=10**9, sink=Sink())
        client.send(post(b"a" * 30_000_000))
        await until(lambda: received)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(received) < 2_000_000

        reply = asyncio.create_task(client.reply())
        while not reply.done():
            application.exchanges[0].resume_body()
            await asyncio.sleep(0)
        assert (await reply).body == b"30000000"
