"""Removes what a reset has left of events and ledger, in small steps, so that others can write in between."""

from __future__ import annotations

from lambdad.loops import Loop
from lambdad.storage import events
from lambdad.storage.engine import Engine

SLICE = 500
STEP_PAUSE_S = 0.005


class Sweep(Loop):
    """Sleeps until it is woken, by a reset; at the start it goes on with what an earlier server did not finish."""

    name = "event sweep"

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    async def run_once(self) -> float | None:
        """One step. Returns the seconds until the next, None when nothing is left."""
        return STEP_PAUSE_S if await self._engine.write(lambda tx: events.remove_garbage(tx, SLICE)) else None
