"""Slow and silent clients, in time that the tests move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf

import pytest

from lambdad.http import NO_TIMEOUTS, Exchange, HttpLimits, HttpServer, Response
from lambdad.http.sweep import Sweeper
from tests.http.conftest import Connect, ManualTime, RawClient, Recorder, get, post, until

LIMITS = HttpLimits(
    header_timeout_s=10,
    body_timeout_s=20,
    idle_timeout_s=30,
    write_timeout_s=40,
    linger_timeout_s=5,
    progress_bytes=100,
)


class Passing:
    """Time that passes with the server looking at its connections, as its timer makes it do."""

    def __init__(self, server: HttpServer, now: ManualTime) -> None:
        self.server = server
        self.now = now
        server.sweep()

    def seconds(self, seconds: float) -> None:
        self.now.seconds += seconds
        self.server.sweep()


@pytest.fixture
def limits() -> HttpLimits:
    return LIMITS


async def test_a_connection_without_a_request_is_closed(client: RawClient, server: HttpServer, now: ManualTime) -> None:
    await until(lambda: server.statistics().connections)
    time = Passing(server, now)
    time.seconds(9.9)
    assert server.statistics().timeouts == 0
    time.seconds(0.2)
    assert await client.rest() == b""
    assert server.statistics().timeouts == 1


@pytest.mark.parametrize("beginning", [b"G", b"GET /", b"GET / HTTP/1.1\r\nHost: te", get()[:-1]])
@pytest.mark.parametrize("earlier", [0, 2])
async def test_a_head_that_does_not_end_is_refused(
    client: RawClient, server: HttpServer, now: ManualTime, beginning: bytes, earlier: int
) -> None:
    for _ in range(earlier):
        await client.exchange(get())
    client.send(beginning)
    await until(lambda: server.statistics().busy)
    time = Passing(server, now)
    time.seconds(9.9)
    assert server.statistics().timeouts == 0
    time.seconds(0.2)
    assert (await client.reply()).status == 408
    assert await client.rest() == b""


async def test_a_head_that_trickles_in_gains_no_time(client: RawClient, server: HttpServer, now: ManualTime) -> None:
    client.send(b"GET / HTTP/1.1\r\n")
    await until(lambda: server.statistics().busy)
    time = Passing(server, now)
    for _ in range(11):
        client.send(b"X: 1\r\n")
        for _ in range(5):
            await asyncio.sleep(0)
        time.seconds(1)

    assert (await client.reply()).status == 408


async def test_an_idle_connection_is_closed(client: RawClient, server: HttpServer, now: ManualTime) -> None:
    time = Passing(server, now)
    for _ in range(3):
        await client.exchange(get())
        time.seconds(0)
        time.seconds(29)  # each request begins the time anew
    assert server.statistics().timeouts == 0
    time.seconds(2)
    assert await client.rest() == b""


async def test_a_body_that_stops_is_refused(
    client: RawClient, application: Recorder, server: HttpServer, now: ManualTime
) -> None:
    client.send(post(b"a" * 1000)[:-500])
    await until(lambda: application.heads)
    time = Passing(server, now)
    time.seconds(19)
    assert server.statistics().timeouts == 0
    time.seconds(2)
    assert (await client.reply()).status == 408
    assert await client.rest() == b""
    assert application.requests == []


async def test_a_body_must_grow_enough_in_each_span_of_time(
    client: RawClient, application: Recorder, server: HttpServer, now: ManualTime
) -> None:
    client.send(post(b"a" * 1000)[:-1000])
    await until(lambda: application.heads)
    time = Passing(server, now)
    exchange = server_exchange(server)
    for received in (100, 200, 300):
        client.send(b"a" * 100)
        await until(lambda: exchange.size == received)  # noqa: B023  # awaited within the turn
        time.seconds(21)
    assert server.statistics().timeouts == 0
    client.send(b"a" * 99)
    await until(lambda: exchange.size == 399)
    time.seconds(21)
    assert (await client.reply()).status == 408


async def test_an_answer_may_take_any_time(
    client: RawClient, application: Recorder, server: HttpServer, now: ManualTime
) -> None:
    application.hold()
    client.send(get())
    await until(lambda: application.exchanges)
    time = Passing(server, now)
    for _ in range(10):
        time.seconds(1000)
    application.exchanges[0].send(Response(200))

    assert (await client.reply()).status == 200


async def test_a_client_that_stays_after_a_refusal_is_cut_off(
    client: RawClient, server: HttpServer, now: ManualTime
) -> None:
    assert (await client.exchange(b"nonsense\r\n\r\n")).status == 400
    assert await client.rest() == b""
    assert server.statistics().connections == 1  # the client's side is still open
    time = Passing(server, now)
    time.seconds(6)
    await until(lambda: not server.statistics().connections)


async def test_a_client_that_leaves_its_answer_unread_is_cut_off(
    client: RawClient, application: Recorder, server: HttpServer, now: ManualTime
) -> None:
    application.answer = lambda exchange: exchange.send(Response(200, [], b"a" * 30_000_000))
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a reading transport
    client.send(get("/", "Connection: close"))
    await until(lambda: application.exchanges)
    time = Passing(server, now)
    time.seconds(39)
    assert server.statistics().connections == 1
    time.seconds(2)
    await until(lambda: not server.statistics().connections)


class TestWithoutTimeouts:
    @pytest.fixture
    def limits(self) -> HttpLimits:
        return HttpLimits(**NO_TIMEOUTS)  # type: ignore[arg-type]  # the other members are no times

    async def test_times_can_be_without_end(
        self, connect: Connect, server: HttpServer, now: ManualTime, application: Recorder
    ) -> None:
        silent, idle, slow = await connect(), await connect(), await connect()
        await idle.exchange(get())
        slow.send(post(b"hello")[:-1])
        await until(lambda: len(application.heads) == 2)
        time = Passing(server, now)
        time.seconds(1e9)

        slow.send(b"o")
        for client in (silent, idle):
            client.send(get())
        for client in (silent, idle, slow):
            assert (await client.reply()).status == 200


class TestTheTimer:
    @pytest.fixture
    def limits(self) -> HttpLimits:
        return HttpLimits(header_timeout_s=0.02)

    @pytest.fixture
    async def server(self, application: Recorder, limits: HttpLimits) -> AsyncIterator[HttpServer]:
        server = HttpServer(application, limits)
        await server.start()
        yield server
        await server.stop()

    async def test_it_runs_by_itself(self, client: RawClient) -> None:
        client.send(b"GET")
        assert (await client.reply()).status == 408

    async def test_it_rests_when_nobody_is_connected(self) -> None:
        sweeper = Sweeper()

        class Once:
            sweeps = 0

            def sweep(self) -> bool:
                self.sweeps += 1
                return self.sweeps < 2

        patient, hasty = Once(), Once()
        sweeper.watch(patient, 1.0)
        sweeper.watch(hasty, 0.001)
        await until(lambda: sweeper._timer is None)
        assert (patient.sweeps, hasty.sweeps) == (2, 2)


@pytest.mark.parametrize(
    ("limits", "tick_s"),
    [(HttpLimits(), 1.0), (HttpLimits(idle_timeout_s=0.4), 0.1), (HttpLimits(body_timeout_s=0.001), 0.01)],
)
def test_the_ticks_follow_the_shortest_time(limits: HttpLimits, tick_s: float) -> None:
    assert limits.tick_s == tick_s
    assert HttpLimits(**NO_TIMEOUTS, linger_timeout_s=inf).tick_s == 1.0  # type: ignore[arg-type]


def server_exchange(server: HttpServer) -> Exchange:
    (connection,) = server._connections
    assert connection.current is not None
    return connection.current
