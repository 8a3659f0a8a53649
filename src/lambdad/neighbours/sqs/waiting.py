"""Long polling: who waits for which queue, and who is woken when something may be there.

Nobody looks at the store again and again. A line of waiters is woken by what changes a queue (one waiter for each
message), by a timer at the moment when the next hidden message becomes visible, and by every jump of the clock. A
waiter that got all it asked for wakes the next, one that found nothing goes back into the line.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from lambdad.clock import Clock
from lambdad.domain.queues import QueueAddress

if TYPE_CHECKING:
    from collections.abc import Iterator


class JumpingClock(Clock, Protocol):
    """A clock that can be moved forward and says so."""

    def on_advance(self, listener: Callable[[], None]) -> None:
        """Calls `listener` after each jump."""


class Line:
    """The waiters of one queue. Only used on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due_ms: int | None = None
        self.users = 0
        self.version = 0
        """Counts what happened to the queue: whoever read the store at an older version looks again."""

    def notify(self, count: int = 1) -> None:
        """Something may be there for `count` receivers."""
        self.version += 1
        while count > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def notify_at(self, due_ms: int) -> None:
        """Something may be there at this time of the service's clock (Unix ms)."""
        delay_ms = due_ms - self._clock.time_ms()
        if delay_ms <= 0:
            self.notify()
        elif self._due_ms is None or due_ms < self._due_ms:
            self._stop_timer()
            self._due_ms = due_ms
            self._timer = asyncio.get_running_loop().call_later(delay_ms / 1000 + 0.001, self._fire)

    def notify_all(self) -> None:
        """Everybody looks again, and timers are set anew: the clock jumped, or the service stops."""
        self._stop_timer()
        self.notify(len(self._waiters))

    async def wait(self, version: int, timeout_s: float) -> None:
        """Returns when something may have happened since `version`, at the latest after `timeout_s` of real time."""
        if self.version != version:
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_later(timeout_s, self._give_up, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._waiters.remove(waiter)
            else:  # it was woken at the same moment: another one takes the message
                self.notify()
            raise
        finally:
            timer.cancel()

    def _give_up(self, waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            self._waiters.remove(waiter)
            waiter.set_result(None)

    def _fire(self) -> None:
        self._timer = self._due_ms = None
        self.notify()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._due_ms = None


class WaitingRoom:
    """The lines of all queues that somebody waits for."""

    def __init__(self, clock: JumpingClock) -> None:
        self._clock = clock
        self._lines: dict[QueueAddress, Line] = {}
        self.is_closing = False
        clock.on_advance(self.look_again)

    @contextmanager
    def line(self, address: QueueAddress) -> Iterator[Line]:
        """The line of a queue, for as long as somebody uses it."""
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = Line(self._clock)
        line.users += 1
        try:
            yield line
        finally:
            line.users -= 1
            if line.users == 0:
                line.notify_all()
                del self._lines[address]

    def notify(self, address: QueueAddress, count: int = 1) -> None:
        """Something may be there for `count` receivers of a queue."""
        line = self._lines.get(address)
        if line is not None:
            line.notify(count)

    def notify_at(self, address: QueueAddress, due_ms: int | None) -> None:
        """Something may be there at `due_ms`; None for never."""
        line = self._lines.get(address)
        if line is not None and due_ms is not None:
            line.notify_at(due_ms)

    def close(self) -> None:
        """The service stops: nobody waits any longer."""
        self.is_closing = True
        self.look_again()

    def statistics(self) -> dict[str, float]:
        return {"waiting": sum(line.users for line in self._lines.values())}

    def look_again(self) -> None:
        """Everybody looks again: the clock jumped, or queues have gone."""
        for line in list(self._lines.values()):
            line.notify_all()
