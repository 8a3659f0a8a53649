"""What nobody asks for: old deduplication ids, and subscriptions that were never confirmed, are removed."""

from __future__ import annotations

from typing import Final

from lambdad.clock import JumpingClock
from lambdad.domain.topics import DEDUPLICATION_MS, TOKEN_MS
from lambdad.loops import Loop
from lambdad.storage import topics as storage
from lambdad.storage.engine import Engine

PAUSE_S: Final = 60.0
_STEP_PAUSE_S: Final = 0.005


class TopicUpkeep(Loop):
    """Removes what is no longer needed, in small steps. Correct answers do not wait for it."""

    name = "topic upkeep"

    def __init__(self, engine: Engine, clock: JumpingClock) -> None:
        super().__init__()
        self._engine = engine
        self._clock = clock
        clock.on_advance(self.wake)

    async def run_once(self) -> float | None:
        """One step of removing. Returns the seconds until the next is due."""
        now_ms = self._clock.time_ms()
        has_more = await self._engine.write(
            lambda tx: storage.forget(
                tx, deduplication_before_ms=now_ms - DEDUPLICATION_MS, pending_before_ms=now_ms - TOKEN_MS
            )
        )
        return _STEP_PAUSE_S if has_more else PAUSE_S
