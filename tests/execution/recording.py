"""A listener that remembers what a channel told, and lets a test wait for the next thing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

Told = tuple[Any, ...]


class RecordedEvents:
    """ChannelEvents as a list of tuples: (name, arguments...); consecutive stream chunks are kept apart."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.hooks: dict[str, Callable[[], None]] = {}
        self._news = asyncio.Event()
        self._taken = 0

    def _tell(self, *what: Any) -> None:
        self.told.append(what)
        self._news.set()
        hook = self.hooks.get(what[0])
        if hook is not None:
            hook()

    async def next(self, timeout_s: float = 10.0) -> Told:
        """What was told next; each is handed out once."""
        async with asyncio.timeout(timeout_s):
            while len(self.told) == self._taken:
                self._news.clear()
                await self._news.wait()
        self._taken += 1
        return self.told[self._taken - 1]

    async def until(self, name: str, timeout_s: float = 10.0) -> list[Told]:
        """Everything told up to and including the first `name`."""
        seen = []
        while True:
            seen.append(await self.next(timeout_s))
            if seen[-1][0] == name:
                return seen

    def ready(self) -> None:
        self._tell("ready")

    def responded(self, body: bytes, content_type: str, peak_kib: int) -> None:
        self._tell("responded", body, content_type, peak_kib)

    def failed(self, error_type: str, body: bytes, peak_kib: int) -> None:
        self._tell("failed", error_type, body, peak_kib)

    def init_failed(self, error_type: str, body: bytes) -> None:
        self._tell("init_failed", error_type, body)

    def stream_started(self, content_type: str) -> None:
        self._tell("stream_started", content_type)

    def stream_chunk(self, data: bytes) -> None:
        self._tell("stream_chunk", data)

    def stream_ended(self, error_type: str, error_body: bytes, peak_kib: int) -> None:
        self._tell("stream_ended", error_type, error_body, peak_kib)

    def response_too_large(self) -> None:
        self._tell("response_too_large")

    def next_requested(self) -> None:
        self._tell("next_requested")

    def channel_closed(self) -> None:
        self._tell("channel_closed")
