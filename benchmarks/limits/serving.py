"""What the limits share: an HTTP/1.1 front of a few lines on httptools, and the life of the process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import httptools

try:
    import uvloop
except ImportError:
    uvloop = None

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Front(asyncio.Protocol):
    """One connection; hands each complete request to `handle(front, url, body)`, which calls `answer` once."""

    def __init__(self, handle: Callable[[Front, bytes, bytes], None]) -> None:
        self._handle = handle
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._parts: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._parts.clear()

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        parts = self._parts
        self._handle(self, self._url, parts[0] if len(parts) == 1 else b"".join(parts))

    def answer(self, body: bytes) -> None:
        self.write(HEAD % len(body) + body)

    def write(self, data: bytes) -> None:
        self._transport.write(data)


async def serve(handle: Callable[[Front, bytes, bytes], None], ready: asyncio.Event | None = None) -> None:
    """Serves on a free loopback port until SIGTERM; says so on standard output once `ready` is set (None: at once)."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, stopping.set)
    server = await loop.create_server(lambda: Front(handle), "127.0.0.1", 0)
    if ready is not None:
        await ready.wait()
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await stopping.wait()
    server.close()


def run(main: Callable[[], object]) -> None:
    """Runs the coroutine function on uvloop where it is installed, as lambdad does."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        runner.run(main())
