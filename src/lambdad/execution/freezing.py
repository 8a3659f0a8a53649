"""Freezes environments that have had nothing to do for a while; all of them behind one timer.

AWS freezes an environment as soon as it has answered and asked for the next invocation. Doing so lazily keeps the cost
away from functions that are called again and again: an invocation notes nothing here, and thaws only what was frozen.
The timer runs while any environment is awake, and looks twice in the time after which they are frozen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

DEFAULT_FREEZE_AFTER_S = 0.1


class Freezable(Protocol):
    """An environment, as this module sees it."""

    def idle_mark(self) -> float | None:
        """Which idle time it is in, a value that no earlier idle time had; None while it must not be frozen."""

    def freeze(self) -> None: ...


class Freezing:
    """Those that are awake."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        after_s: float | None = DEFAULT_FREEZE_AFTER_S,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`after_s` None: nothing is ever frozen."""
        self._loop = loop
        self._now = now
        self._after_s = after_s
        self._awake: dict[Freezable, tuple[float | None, float]] = {}
        """For each the idle time it was last seen in, and since when that is known."""
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, environment: Freezable) -> None:
        """It runs from now on; once it is frozen it is forgotten."""
        if self._after_s is None:
            return
        self._awake[environment] = (None, 0.0)
        if self._timer is None:
            self._timer = self._loop.call_later(self._after_s / 2, self._look)

    def discard(self, environment: Freezable) -> None:
        """It has ended."""
        self._awake.pop(environment, None)

    def __len__(self) -> int:
        return len(self._awake)

    def _look(self) -> None:
        self._timer = None
        assert self._after_s is not None
        now = self._now()
        for environment, (seen, since) in list(self._awake.items()):
            mark = environment.idle_mark()
            if mark is None or mark != seen:
                self._awake[environment] = (mark, now)
            elif now - since >= self._after_s:
                del self._awake[environment]
                environment.freeze()
        if self._awake:
            self._timer = self._loop.call_later(self._after_s / 2, self._look)
