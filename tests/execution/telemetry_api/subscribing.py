"""Subscriptions and listeners for tests of telemetry."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from lambdad.domain.telemetry_subscriptions import Api, Subscription, parse


def a_subscription(port: int = 1, *, api: Api = Api.TELEMETRY, tcp: bool = False, **changes: Any) -> Subscription:
    http = {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{port}/in"}
    body: dict[str, Any] = {
        "types": ["platform", "function", "extension"],
        "destination": {"protocol": "TCP", "port": port} if tcp else http,
    }
    if api is Api.TELEMETRY:
        body["schemaVersion"] = "2022-12-13"
    return parse(api, body | changes)


class Listener:
    """An HTTP listener that keeps what it gets, and answers what it is told to."""

    def __init__(self) -> None:
        self.batches: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()
        self.heads: list[str] = []
        self.status = 200
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.arrived = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self, port: int = 0) -> Listener:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return self

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def next(self) -> list[dict[str, Any]]:
        return await asyncio.wait_for(self.batches.get(), 5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("Content-Length"))
        body = json.loads(await reader.readexactly(length))
        self.arrived.set()
        await self.may_answer.wait()
        writer.write(f"HTTP/1.0 {self.status} Fine\r\n\r\n".encode())
        if self.status == 200:
            self.batches.put_nowait(body)
        writer.close()


class LineListener(Listener):
    """The same over TCP: every line is a batch of its own."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.batches.put_nowait([json.loads(line)])
        writer.close()
