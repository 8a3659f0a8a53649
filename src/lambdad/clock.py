"""Time: what is stored comes from `now()`, what is measured from `monotonic()`.

The service's time can be moved forward (`advance`), so that retries, ages and expiries follow; durations of running
functions stay on real time and use `time.monotonic()` directly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The service's time."""

    def now(self) -> datetime:
        """The moment to store, aware and in UTC."""

    def time_ms(self) -> int:
        """The same moment in milliseconds since 1970."""

    def monotonic(self) -> float:
        """Seconds that never run backwards and follow `advance`; for deadlines such as idle expiry."""


class JumpingClock(Clock, Protocol):
    """A clock that can be moved forward and says so."""

    def on_advance(self, listener: Callable[[], None]) -> None:
        """Calls `listener` after each jump."""


class SystemClock:
    """The machine's clock plus what `advance` has added."""

    def __init__(self) -> None:
        self._offset_s = 0.0
        self._listeners: list[Callable[[], None]] = []

    @property
    def advanced_s(self) -> float:
        """By how much the service's time is ahead of the machine's."""
        return self._offset_s

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._offset_s)

    def time_ms(self) -> int:
        return int((time.time() + self._offset_s) * 1000)

    def monotonic(self) -> float:
        return time.monotonic() + self._offset_s

    def advance(self, seconds: float) -> None:
        """Moves the service's time forward; sleepers that listen look at their deadlines again."""
        if seconds < 0:
            raise ValueError("time can only be moved forward")
        self._offset_s += seconds
        for listener in list(self._listeners):
            listener()

    def set_back(self) -> None:
        """Back to the machine's time. Only for a server that was emptied: what is stored would lie in the future."""
        self._offset_s = 0.0
        for listener in list(self._listeners):
            listener()

    def on_advance(self, listener: Callable[[], None]) -> None:
        """Calls `listener` after each jump of the clock."""
        self._listeners.append(listener)


class Sleeper:
    """Sleeps in the service's time: a jump of the clock ends a sleep that it has overtaken."""

    def __init__(self, clock: JumpingClock) -> None:
        self._clock = clock
        self._jumped: asyncio.Future[None] | None = None
        clock.on_advance(self._wake)

    async def sleep(self, seconds: float) -> None:
        """Returns once so many seconds have passed on the service's clock."""
        left, last = seconds, self._clock.monotonic()
        while left > 0:
            if self._jumped is None:
                self._jumped = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._jumped], timeout=left)
            now = self._clock.monotonic()
            left -= max(0.0, now - last)  # time that was set back does not make the sleep longer
            last = now

    def _wake(self) -> None:
        jumped, self._jumped = self._jumped, None
        if jumped is not None and not jumped.done():
            jumped.set_result(None)
