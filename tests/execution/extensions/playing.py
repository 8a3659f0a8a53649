"""Extensions that do what a test tells them, without HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from lambdad.execution.extensions.registry import Extension, Registry
from lambdad.http import Exchange, Response


class WaitingExchange:
    """A `next` that nobody has answered yet."""

    def __init__(self) -> None:
        self.closed = False
        self.answer: Response | None = None
        self.answered = asyncio.Event()

    def send(self, response: Response) -> None:
        assert self.answer is None
        self.answer = response
        self.answered.set()


class PlayedExtension:
    """One extension, seen from itself."""

    def __init__(self, registry: Registry, name: str, *events: str) -> None:
        self._registry = registry
        self.extension: Extension = registry.register(name, list(events))
        self._asked: list[WaitingExchange] = []

    def asks(self) -> PlayedExtension:
        self._asked.append(WaitingExchange())
        self._registry.wait(self.extension, cast("Exchange", self._asked[-1]))
        return self

    async def hears(self) -> dict[str, Any]:
        """The next event, which it has asked for."""
        await asyncio.wait_for(self._asked[-1].answered.wait(), 5)
        return self.told[-1]

    @property
    def told(self) -> list[dict[str, Any]]:
        """The events that it got so far."""
        return [json.loads(one.answer.body) for one in self._asked if one.answer is not None]
