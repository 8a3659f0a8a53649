"""Raw connections to a server in the same event loop: what is sent and what comes back is bytes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import pytest

from lambdad.http import BodyPolicy, Exchange, HttpLimits, HttpServer, Request, Response

PATIENCE_S = 10.0


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Each test of this folder runs on asyncio's own loop and on uvloop, unless its module sets `LOOPS`."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    module = getattr(item, "module", None)
    if "uvloop" in getattr(module, "LOOPS", ("uvloop",)):
        with contextlib.suppress(ImportError):
            import uvloop

            factories["uvloop"] = uvloop.new_event_loop
    return factories


@dataclass
class Reply:
    """One response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)


class RawClient:
    """A client that sends exactly the bytes it is given."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def end(self) -> None:
        """Closes the sending side."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Goes away without a word: the system answers for it with a reset."""
        if not self.writer.transport.is_closing():
            opened = self.writer.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()

    async def head(self) -> Reply:
        async with asyncio.timeout(PATIENCE_S):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
        assert re.fullmatch(r"HTTP/1\.1 \d{3} [ -~]*", first), first
        names = [line.partition(": ")[0].lower() for line in lines]
        assert len(names) == len(set(names)), text
        return Reply(
            int(first.split(" ")[1]), dict(zip(names, (line.partition(": ")[2] for line in lines), strict=True))
        )

    async def reply(self, *, to_head: bool = False) -> Reply:
        """The next response, whole."""
        reply = await self.head()
        async with asyncio.timeout(PATIENCE_S):
            if to_head or reply.status in {100, 204, 304}:
                return reply
            if reply.headers.get("transfer-encoding") == "chunked":
                while size := int((await self.reader.readuntil(b"\r\n"))[:-2], 16):
                    reply.body += await self.reader.readexactly(size)
                    assert await self.reader.readexactly(2) == b"\r\n"
                while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
                    name, _, value = line.decode().strip().partition(": ")
                    reply.trailers[name.lower()] = value
            elif "content-length" in reply.headers:
                reply.body = await self.reader.readexactly(int(reply.headers["content-length"]))
            else:
                reply.body = await self.reader.read()
        return reply

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()

    async def exchange(self, data: bytes) -> Reply:
        self.send(data)
        return await self.reply()


class Recorder:
    """An application that keeps what it sees and answers as told: at once, or when the test does."""

    def __init__(self) -> None:
        self.policy = BodyPolicy(limit=1024 * 1024)
        self.heads: list[Request] = []
        self.requests: list[Request] = []
        self.exchanges: list[Exchange] = []
        self.decide: Callable[[Request], BodyPolicy | Response] = lambda _: self.policy
        self.answer: Callable[[Exchange], object] = lambda exchange: exchange.send(
            Response(200, [], exchange.request.body)
        )

    def head(self, request: Request) -> BodyPolicy | Response:
        self.heads.append(request)
        return self.decide(request)

    def handle(self, exchange: Exchange) -> None:
        self.requests.append(exchange.request)
        self.exchanges.append(exchange)
        self.answer(exchange)

    def hold(self) -> None:
        """From now on exchanges stay unanswered."""
        self.answer = lambda _: None


class ManualTime:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def application() -> Recorder:
    return Recorder()


@pytest.fixture
def now() -> ManualTime:
    return ManualTime()


@pytest.fixture
def limits() -> HttpLimits:
    """Overridden by the tests that need others."""
    return HttpLimits()


@pytest.fixture
async def server(application: Recorder, limits: HttpLimits, now: ManualTime) -> AsyncIterator[HttpServer]:
    server = HttpServer(application, limits, now=now)
    await server.start()
    yield server
    await server.stop()
    assert server.statistics().connections == 0


Connect = Callable[[], Awaitable[RawClient]]


@pytest.fixture
async def connect(server: HttpServer) -> AsyncIterator[Connect]:
    clients: list[RawClient] = []

    async def connect() -> RawClient:
        client = RawClient(*await asyncio.open_connection("127.0.0.1", server.port))
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.reset()


@pytest.fixture
async def client(connect: Connect) -> RawClient:
    return await connect()


async def a_turn() -> None:
    """Lets the event loop pass on what was sent. Nothing may depend on that: it only makes packets likely."""
    for _ in range(2):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Lets the event loop run until the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in sockets, which set no Event
            await asyncio.sleep(0)


def get(path: str = "/", *headers: str) -> bytes:
    return "".join([f"GET {path} HTTP/1.1\r\nHost: test\r\n", *(f"{line}\r\n" for line in headers), "\r\n"]).encode(
        "latin-1"
    )


def post(body: bytes, *headers: str, path: str = "/") -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode("latin-1") + body


def chunked(*chunks: bytes, trailers: str = "") -> bytes:
    """A chunked POST."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return (
        b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
        + body
        + b"0\r\n"
        + trailers.encode()
        + b"\r\n"
    )
