"""Deadlines of many running invocations behind one timer of the event loop.

A timer for each invocation would cost more than the rest of the bookkeeping. Most invocations end long before their
deadline, so the one timer stays where it is and looks around only when it fires.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class HasDeadline(Protocol):
    """Something that is told when its deadline has passed."""

    deadline: float
    """In seconds of `time.monotonic`."""

    def deadline_passed(self) -> None: ...


class Deadlines:
    """Keeps a set of holders and calls those whose deadline has come, within a millisecond or so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._holders: set[HasDeadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def add(self, holder: HasDeadline) -> None:
        """Watches `holder` until `discard`; its deadline must be set before and must not come nearer after."""
        self._holders.add(holder)
        if self._timer is None or holder.deadline < self._timer_at:
            self._set_timer(holder.deadline)

    def discard(self, holder: HasDeadline) -> None:
        self._holders.discard(holder)

    def __len__(self) -> int:
        return len(self._holders)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(at - time.monotonic(), 0.0), self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        for holder in [holder for holder in self._holders if holder.deadline <= now]:
            if holder in self._holders:  # one that passed before may have ended another
                self._holders.discard(holder)
                holder.deadline_passed()
        if self._holders:
            self._set_timer(min(holder.deadline for holder in self._holders))
