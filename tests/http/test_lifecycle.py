"""Clients that go away, and servers that stop."""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path

import pytest

from lambdad.http import BodyPolicy, Exchange, HttpServer, Response
from lambdad.http.connection import HttpConnection
from tests.http.conftest import Connect, RawClient, Recorder, a_turn, chunked, get, post, until


def fail() -> None:
    raise RuntimeError


class TestClientsThatGoAway:
    @pytest.mark.parametrize("how", ["end", "reset"])
    async def test_the_application_is_told(self, client: RawClient, application: Recorder, how: str) -> None:
        gone: list[str] = []

        def answer(exchange: Exchange) -> None:
            exchange.on_disconnect(lambda: gone.append("first"))
            exchange.on_disconnect(fail)
            exchange.on_disconnect(lambda: gone.append("last"))

        application.answer = answer
        client.send(get())
        await until(lambda: application.exchanges)
        assert gone == []
        getattr(client, how)()
        await until(lambda: gone)

        exchange = application.exchanges[0]
        assert gone == ["first", "last"]
        assert exchange.closed
        exchange.send(Response(200))  # to nobody
        exchange.on_disconnect(lambda: gone.append("late"))
        await until(lambda: gone[-1] == "late")

    async def test_a_client_that_only_ends_its_sending_is_answered(
        self, client: RawClient, application: Recorder
    ) -> None:
        application.hold()
        client.send(get("/a") + get("/b"))
        client.end()
        await until(lambda: application.exchanges)
        await a_turn()
        application.answer = lambda exchange: exchange.send(Response(200, [], b"b"))
        application.exchanges[0].send(Response(200, [], b"a"))

        assert [(await client.reply()).body for _ in range(2)] == [b"a", b"b"]
        assert await client.rest() == b""

    async def test_a_callback_set_after_that_is_called_too(self, client: RawClient, application: Recorder) -> None:
        application.hold()
        client.send(get())
        client.end()
        await until(lambda: application.exchanges and application.exchanges[0].closed)
        gone = asyncio.Event()
        application.exchanges[0].on_disconnect(gone.set)
        async with asyncio.timeout(5):
            await gone.wait()
        assert await client.rest() == b""

    async def test_nobody_is_told_after_the_answer(self, client: RawClient, application: Recorder) -> None:
        gone: list[int] = []

        def answer(exchange: Exchange) -> None:
            exchange.on_disconnect(lambda: gone.append(1))
            exchange.send(Response(200))
            exchange.on_disconnect(lambda: gone.append(2))

        application.answer = answer
        assert (await client.exchange(get())).status == 200
        client.reset()
        await a_turn()
        await a_turn()
        assert gone == []

    async def test_a_stream_to_nobody_is_harmless(self, client: RawClient, application: Recorder) -> None:
        application.hold()
        client.send(get())
        await until(lambda: application.exchanges)
        stream = application.exchanges[0].start_stream(200)
        client.reset()
        await until(lambda: stream.closed)
        stream.write(b"more")
        await stream.drain()
        stream.end()
        stream.abort()

    async def test_a_stream_begun_for_nobody_is_closed(self, client: RawClient, application: Recorder) -> None:
        application.hold()
        client.send(get())
        await until(lambda: application.exchanges)
        client.reset()
        await until(lambda: application.exchanges[0].closed)
        stream = application.exchanges[0].start_stream(200)
        stream.write(b"more")
        assert stream.closed

    @pytest.mark.parametrize("data", [b"GET / HT", post(b"hello")[:-1], chunked(b"hello")[:-1]])
    @pytest.mark.parametrize("how", ["end", "reset"])
    async def test_half_a_request_reaches_nobody(
        self, client: RawClient, application: Recorder, server: HttpServer, data: bytes, how: str
    ) -> None:
        client.send(data)
        await until(lambda: server.statistics().busy)
        getattr(client, how)()
        await until(lambda: not server.statistics().connections)
        assert application.requests == []

    @pytest.mark.parametrize(
        "data", [get("/", "X: 1"), chunked(b"a"), b"nonsense\r\n\r\n", post(b"a" * 10)[:-1]], ids=range(4)
    )
    async def test_a_connection_leaves_nothing_behind_for_the_garbage_collector(
        self, client: RawClient, application: Recorder, server: HttpServer, data: bytes
    ) -> None:
        await until(lambda: server.statistics().connections)
        (connection,) = server._connections
        number = id(connection)
        del connection
        gc.collect()
        gc.disable()
        try:
            client.send(data)
            await until(lambda: server.statistics().busy or application.exchanges or server.statistics().refused)
            assert number in connections()
            application.exchanges.clear()
            client.reset()
            await until(lambda: not server.statistics().connections)
            await a_turn()
            assert number not in connections()
        finally:
            gc.enable()


def connections() -> list[int]:
    return [id(each) for each in gc.get_objects() if isinstance(each, HttpConnection)]


class SinkRecorder:
    def __init__(self) -> None:
        self.events: list[object] = []

    def data(self, data: bytes) -> None:
        if self.events and isinstance(self.events[-1], bytes):
            self.events[-1] += data
        else:
            self.events.append(data)

    def end(self, trailers: dict[str, str]) -> None:
        self.events.append(trailers)

    def aborted(self) -> None:
        self.events.append("aborted")


class TestSinks:
    @pytest.fixture
    def sink(self, application: Recorder) -> SinkRecorder:
        sink = SinkRecorder()
        application.policy = BodyPolicy(limit=1000, sink=sink)
        application.hold()
        return sink

    @pytest.mark.parametrize(
        ("data", "events"),
        [
            (post(b"hello"), [b"hello", {}]),
            (chunked(b"he", b"llo"), [b"hello", {}]),
            (chunked(b"hello", trailers="X-A: 1\r\nx-b: 2\r\nX-A: 3\r\n"), [b"hello", {"x-a": "1,3", "x-b": "2"}]),
            (chunked(trailers="X-A: 1\r\n"), [{"x-a": "1"}]),
            (get(), [{}]),
        ],
    )
    async def test_a_sink_gets_the_body_and_its_trailers(
        self, client: RawClient, application: Recorder, sink: SinkRecorder, data: bytes, events: list[object]
    ) -> None:
        for turn in range(3):
            client.send(data)
            await until(lambda: len(application.exchanges) > turn and isinstance(sink.events[-1], dict))  # noqa: B023
            assert sink.events == events
            assert application.requests[-1].body == b""
            sink.events.clear()
            application.exchanges[-1].send(Response(200, [], b"thanks"))
            assert (await client.reply()).body == b"thanks"

    async def test_the_exchange_begins_before_the_body(
        self, client: RawClient, application: Recorder, sink: SinkRecorder
    ) -> None:
        client.send(post(b"hello", "Expect: 100-continue")[:-5])
        await until(lambda: application.exchanges)
        assert (await client.head()).status == 100
        client.send(b"he")
        await until(lambda: sink.events)
        assert sink.events == [b"he"]

    async def test_an_early_answer_ends_the_body(
        self, client: RawClient, application: Recorder, sink: SinkRecorder
    ) -> None:
        client.send(post(b"a" * 900)[:-100])
        await until(lambda: sink.events)
        application.exchanges[0].send(Response(413))
        reply = await client.reply()
        assert (reply.status, reply.headers["connection"]) == (413, "close")
        client.send(b"a" * 100)
        assert await client.rest() == b""
        assert sink.events == [b"a" * 800]

    async def test_answering_while_taking_the_body_is_fine(
        self, client: RawClient, application: Recorder, sink: SinkRecorder
    ) -> None:
        def data(piece: bytes) -> None:
            application.exchanges[-1].send(Response(200, [], piece))

        sink.data = data  # type: ignore[method-assign,assignment]
        for _ in range(2):
            assert (await client.exchange(post(b"hello"))).body == b"hello"
        assert sink.events == []

    async def test_a_stream_may_answer_while_the_body_arrives(
        self, client: RawClient, application: Recorder, sink: SinkRecorder
    ) -> None:
        client.send(post(b"hello")[:-2])
        await until(lambda: sink.events)
        stream = application.exchanges[0].start_stream(200)
        stream.write(b"early")
        client.send(b"lo")
        await until(lambda: sink.events[-1] == {})
        stream.write(b" and late")
        stream.end()
        assert (await client.reply()).body == b"early and late"

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (chunked(b"a" * 600, b"a" * 600)[:-5], 413),
            (chunked(b"hello")[:-5] + b"nonsense\r\n", 400),
        ],
    )
    async def test_a_broken_body_is_aborted_and_refused(
        self, client: RawClient, application: Recorder, sink: SinkRecorder, data: bytes, status: int
    ) -> None:
        gone: list[int] = []
        application.answer = lambda exchange: exchange.on_disconnect(lambda: gone.append(1))
        client.send(data)
        assert (await client.reply()).status == status
        assert sink.events[-1] == "aborted"
        assert gone == [1]
        application.exchanges[0].send(Response(200))  # too late, and harmless
        assert await client.rest() == b""

    async def test_a_client_that_goes_away_aborts_the_body(
        self, client: RawClient, application: Recorder, sink: SinkRecorder
    ) -> None:
        client.send(post(b"hello")[:-1])
        await until(lambda: sink.events)
        client.reset()
        await until(lambda: len(sink.events) > 1)
        assert sink.events == [b"hell", "aborted"]

    async def test_a_sink_that_fails_is_answered_for(
        self, client: RawClient, application: Recorder, sink: SinkRecorder, server: HttpServer
    ) -> None:
        def data(piece: bytes) -> None:
            raise RuntimeError

        sink.data = data  # type: ignore[method-assign,assignment]
        client.send(post(b"hello"))
        assert (await client.reply()).status == 500
        assert server.statistics().failures == 1


class TestStopping:
    async def test_idle_connections_are_closed_at_once(self, connect: Connect, server: HttpServer) -> None:
        clients = [await connect() for _ in range(3)]
        await clients[0].exchange(get())
        async with asyncio.timeout(5):
            await server.stop(grace_s=60)

        for client in clients:
            assert await client.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await connect()

    async def test_running_requests_are_answered_and_the_connection_closed(
        self, client: RawClient, application: Recorder, server: HttpServer
    ) -> None:
        application.hold()
        client.send(get("/running") + get("/queued"))
        await until(lambda: application.exchanges)
        stopping = asyncio.create_task(server.stop(grace_s=60))
        await a_turn()
        assert not stopping.done()
        application.exchanges[0].send(Response(200, [], b"answer"))

        reply = await client.reply()
        assert (reply.body, reply.headers["connection"]) == (b"answer", "close")
        assert await client.rest() == b""
        client.reset()
        async with asyncio.timeout(5):
            await stopping
        assert len(application.exchanges) == 1

    async def test_a_request_that_is_arriving_is_answered_too(
        self, connect: Connect, application: Recorder, server: HttpServer
    ) -> None:
        in_head, in_body = await connect(), await connect()
        in_head.send(get()[:-5])
        in_body.send(post(b"hello")[:-1])
        await until(lambda: server.statistics().busy == 2)
        stopping = asyncio.create_task(server.stop(grace_s=60))
        await a_turn()
        in_head.send(get()[-5:])
        in_body.send(b"o")
        for client in (in_head, in_body):
            reply = await client.reply()
            assert (reply.status, reply.headers["connection"]) == (200, "close")
        async with asyncio.timeout(5):
            await stopping

    async def test_what_outlasts_the_grace_is_cut(
        self, client: RawClient, application: Recorder, server: HttpServer
    ) -> None:
        gone: list[int] = []
        application.answer = lambda exchange: exchange.on_disconnect(lambda: gone.append(1))
        client.send(get())
        await until(lambda: application.exchanges)
        async with asyncio.timeout(5):
            await server.stop(grace_s=0.01)

        assert gone == [1]
        assert server.statistics().connections == 0
        assert await client.rest() == b""
        await server.stop()  # again, and harmless


class TestStarting:
    async def test_a_bound_socket_can_be_given(self, application: Recorder) -> None:
        bound = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(application)
        await server.start(sock=bound)
        assert server.port == bound.getsockname()[1]
        client = RawClient(*await asyncio.open_connection("127.0.0.1", server.port))
        assert (await client.exchange(get())).status == 200
        client.reset()
        await server.stop()

    async def test_a_unix_socket_can_be_given(
        self, application: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bound = socket.socket(socket.AF_UNIX)
        monkeypatch.chdir(tmp_path)  # paths of sockets are short
        bound.bind("socket")
        server = HttpServer(application)
        await server.start(sock=bound)
        client = RawClient(*await asyncio.open_unix_connection("socket"))
        assert (await client.exchange(get())).status == 200
        assert (application.requests[0].peer_host, application.requests[0].local_port, server.port) == ("", 0, 0)
        client.reset()
        await server.stop()

    async def test_a_name_with_several_addresses_gets_one_port(self, application: Recorder) -> None:
        server = HttpServer(application)
        await server.start("localhost")
        for host in {str(address[4][0]) for address in socket.getaddrinfo("localhost", None)}:
            try:
                client = RawClient(*await asyncio.open_connection(host, server.port))
            except OSError:
                assert host != "127.0.0.1"
                continue
            assert (await client.exchange(get())).status == 200
            client.reset()
        await server.stop()

    async def test_a_port_in_use_is_an_error(self, server: HttpServer, application: Recorder) -> None:
        with pytest.raises(OSError, match="in use"):
            await HttpServer(application).start("127.0.0.1", server.port)

    async def test_statistics_count(self, client: RawClient, server: HttpServer, application: Recorder) -> None:
        await client.exchange(get())
        await client.exchange(get())
        application.hold()
        client.send(get())
        await until(lambda: len(application.exchanges) == 3)
        found = server.statistics()
        assert (found.connections, found.busy, found.accepted, found.requests) == (1, 1, 1, 2)
        client.reset()
        await until(lambda: not server.statistics().connections)
        assert server.statistics().requests == 2
