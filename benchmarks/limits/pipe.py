"""limit-pipe: each request goes over a socketpair to a waiting worker process, whose answer goes back to the caller.

    python -m benchmarks.limits.pipe [--workers 2] [--json]

Frames are a u32 big-endian length and the body. The workers echo the bytes as they are; with --json they decode and
encode them, as the runtime of a Lambda function must do (*limit-json* in the tables).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable

from benchmarks.limits.serving import Front, run, serve

LENGTH = struct.Struct(">I")


class Worker(asyncio.Protocol):
    """The server's end of one worker: one request at a time."""

    def __init__(self, free: Callable[[Worker], None]) -> None:
        self._free = free
        self._front: Front | None = None
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def run(self, front: Front, body: bytes) -> None:
        self._front = front
        self._transport.write(LENGTH.pack(len(body)) + body)

    def data_received(self, data: bytes) -> None:
        received = self._received
        if received or len(data) < 4 or len(data) != 4 + LENGTH.unpack_from(data)[0]:
            received += data
            if len(received) < 4 or len(received) < 4 + LENGTH.unpack_from(received)[0]:
                return
            data = bytes(received)
            received.clear()
        self._front.answer(data[4:])
        self._free(self)


class Workers:
    """Hands requests to idle workers, most recently used first; what finds none waits its turn."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []
        self._waiting: deque[tuple[Front, bytes]] = deque()

    async def attach(self, channels: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for channel in channels:
            _, worker = await loop.create_unix_connection(lambda: Worker(self._free), sock=channel)
            self._idle.append(worker)

    def handle(self, front: Front, _url: bytes, body: bytes) -> None:
        if self._idle:
            self._idle.pop().run(front, body)
        else:
            self._waiting.append((front, body))

    def _free(self, worker: Worker) -> None:
        if self._waiting:
            worker.run(*self._waiting.popleft())
        else:
            self._idle.append(worker)


def work(channel: socket.socket, *, decode: bool) -> None:
    """A worker's whole life: blocking, ends when the server's end is closed."""
    while data := channel.recv(262_144):
        while len(data) < 4 or len(data) < 4 + LENGTH.unpack_from(data)[0]:
            data += channel.recv(1_048_576)
        if decode:
            result = json.dumps(json.loads(data[4:])).encode()
            data = LENGTH.pack(len(result)) + result
        channel.sendall(data)


def fork_workers(count: int, *, decode: bool) -> list[socket.socket]:
    """Starts the workers before the event loop exists; returns the server's ends."""
    ends: list[socket.socket] = []
    for _ in range(count):
        here, there = socket.socketpair()
        if os.fork() == 0:
            for end in [*ends, here]:
                end.close()
            work(there, decode=decode)
            os._exit(0)
        there.close()
        here.setblocking(False)
        ends.append(here)
    return ends


async def main(channels: list[socket.socket]) -> None:
    workers = Workers()
    await workers.attach(channels)
    await serve(workers.handle)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="limit-pipe")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    ends = fork_workers(arguments.workers, decode=arguments.json)
    run(lambda: main(ends))
