"""Brings back what nobody works on any more: events that a killed server had claimed, and events that were set back.

A server that dies in the middle of an attempt counts as a failure of the service: the event returns to its old place
after a back-off, without using up an attempt, until its age runs out.
"""

from __future__ import annotations

from collections.abc import Callable

from lambdad.clock import JumpingClock
from lambdad.domain.events import SystemFailed
from lambdad.event_queue.conclusion import Concluded, Conclusion
from lambdad.event_queue.worker import LEASE_MS, Worker
from lambdad.loops import Loop
from lambdad.storage import events
from lambdad.storage.engine import Engine, Transaction
from lambdad.storage.functions import FunctionKey
from lambdad.telemetry import Telemetry

SLICE = 200
"""Events in one transaction, so that others can write in between."""


class Rescue(Loop):
    """Sleeps until the first lease or wait ends."""

    name = "event rescue"

    def __init__(
        self, engine: Engine, worker: Worker, conclusion: Conclusion, clock: JumpingClock, telemetry: Telemetry
    ) -> None:
        super().__init__()
        self._engine = engine
        self._worker = worker
        self._conclusion = conclusion
        self._clock = clock
        self._telemetry = telemetry
        self._rescued = 0
        worker.on_set_back(self.wake)
        clock.on_advance(self.wake)

    async def recover(self) -> int:
        """Before the worker starts: whatever is claimed was claimed by a server that is gone. Returns how many."""
        before = self._rescued
        while await self._rescue(None):
            pass
        return self._rescued - before

    async def run_once(self) -> float | None:
        """Rescues what is due. Returns the seconds until something else is."""
        while await self._rescue(self._clock.time_ms()):
            pass
        while await self._return_set_back():
            pass
        next_ms = await events.next_rescue(self._engine)
        return None if next_ms is None else max(0.0, (next_ms - self._clock.time_ms()) / 1000)

    def statistics(self) -> dict[str, float]:
        """Events whose attempt was never finished, since the start."""
        return {"rescued": self._rescued}

    async def _rescue(self, now_ms: int | None) -> bool:
        """One slice; False when there is nothing left to look at."""
        held = frozenset(self._worker.held)

        def job(tx: Transaction) -> tuple[int, list[Concluded]]:
            found = events.claimed_until(tx, now_ms, SLICE)
            # The clock may have been moved beyond the lease of what still runs.
            events.extend(tx, [one.id for one in found if one.id in held], self._clock.time_ms() + LEASE_MS)
            lost = [one for one in found if one.id not in held]
            return len(found), [
                self._conclusion.conclude_in(tx, one, SystemFailed(), dead_letter_arn=one.event.dead_letter_arn)
                for one in lost
            ]

        found, concluded = await self._engine.write(job)
        self._rescued += len(concluded)
        for one in concluded:
            one.tell(self._telemetry)
        return found == SLICE

    async def _return_set_back(self) -> bool:
        now_ms = self._clock.time_ms()

        def job(tx: Transaction) -> list[tuple[int, FunctionKey, int]]:
            return events.return_set_back(tx, now_ms, SLICE)

        returned = await self._engine.write(job)
        announce: Callable[[int, FunctionKey, int], None] = self._worker.announce
        for queue_id, key, place_ms in returned:
            announce(queue_id, key, place_ms)
        return len(returned) == SLICE
