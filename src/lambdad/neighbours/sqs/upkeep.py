"""What nobody asks for: expired messages, old deduplication ids, and the messages of purged queues are removed."""

from __future__ import annotations

from typing import Final

from lambdad.domain.queues import DEDUPLICATION_MS
from lambdad.loops import Loop
from lambdad.neighbours.sqs.queues import QueueControl
from lambdad.neighbours.sqs.waiting import JumpingClock
from lambdad.storage import queues as storage
from lambdad.storage.engine import Engine, Transaction

LONGEST_PAUSE_S: Final = 60.0
_STEP_PAUSE_S: Final = 0.005
"""Between two steps, so that the messages of a large purged queue do not take the writer from everybody."""
_NAMES_KEPT_MS: Final = 3_600_000


class Upkeep(Loop):
    """Removes what is no longer needed, in small steps. Correct answers do not wait for it: expired messages are not
    received and not counted, whether they are still stored or not."""

    name = "queue upkeep"

    def __init__(self, engine: Engine, clock: JumpingClock, control: QueueControl) -> None:
        super().__init__()
        self._engine = engine
        self._clock = clock
        self._control = control
        clock.on_advance(self.wake)

    async def run_once(self) -> float | None:
        """One step of removing. Returns the seconds until the next is due."""
        now_ms = self._clock.time_ms()

        def step(tx: Transaction) -> bool:
            has_garbage = storage.remove_garbage(tx)
            has_old = storage.forget(
                tx, deduplication_before_ms=now_ms - DEDUPLICATION_MS, deleted_before_ms=now_ms - _NAMES_KEPT_MS
            )
            return has_garbage or has_old

        if await self._engine.write(step):
            return _STEP_PAUSE_S
        pause_s = LONGEST_PAUSE_S
        for address, expires_ms in await storage.oldest_messages(self._engine):
            if expires_ms <= self._clock.time_ms():
                await self._control.expire(address)
            else:
                pause_s = min(pause_s, (expires_ms - self._clock.time_ms()) / 1000 + 0.001)
        return max(pause_s, 0.0)
