"""One timer per event loop for all servers on it, instead of one per request."""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary

from lambdad.http.rendering import refresh_date


class Swept(Protocol):
    """Something with deadlines to look at from time to time."""

    def sweep(self) -> bool:
        """Looks at the deadlines; False when there is nothing left to watch."""


class Sweeper:
    """Sweeps what it watches every `tick_s`; without anything to watch there is no timer."""

    def __init__(self) -> None:
        self._watched: set[Swept] = set()
        self._tick_s = 1.0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, swept: Swept, tick_s: float) -> None:
        """Sweeps `swept` from now on, at least every `tick_s`, until it says that nothing is left."""
        self._watched.add(swept)
        if self._timer is not None and tick_s < self._tick_s:
            self._timer.cancel()
            self._timer = None
        self._tick_s = min(self._tick_s, tick_s)
        if self._timer is None:
            refresh_date()
            self._schedule()

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._run)

    def _run(self) -> None:
        self._timer = None
        refresh_date()
        for swept in list(self._watched):
            if not swept.sweep():
                self._watched.discard(swept)
        if self._watched:
            self._schedule()
        else:
            self._tick_s = 1.0


_sweepers: WeakKeyDictionary[asyncio.AbstractEventLoop, Sweeper] = WeakKeyDictionary()


def sweeper() -> Sweeper:
    """The running loop's sweeper."""
    loop = asyncio.get_running_loop()
    found = _sweepers.get(loop)
    if found is None:
        found = _sweepers[loop] = Sweeper()
    return found
