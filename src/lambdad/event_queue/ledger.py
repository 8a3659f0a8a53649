"""The ledger of events: for people who ask what became of a call, and who let a dropped event run again."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from lambdad.clock import JumpingClock
from lambdad.domain.errors import ResourceConflict, ResourceNotFound
from lambdad.domain.events import Event
from lambdad.domain.ledger import EventState, LedgerEntry
from lambdad.loops import Loop
from lambdad.storage import events, ledger
from lambdad.storage.engine import Engine, Transaction
from lambdad.storage.functions import FunctionKey, FunctionTables
from lambdad.telemetry import EventAccepted, Telemetry

UPKEEP_S = 60.0
SLICE = 500
"""Events that one transaction forgets, so that others can write in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLimits:
    """How long ended events are kept, and how many bytes of them."""

    age_s: float = 604_800.0
    size_bytes: int = 268_435_456


class Ledger(Loop):
    """Reads what the queue writes, and forgets what is too old or too much."""

    name = "event ledger"

    def __init__(
        self,
        engine: Engine,
        clock: JumpingClock,
        telemetry: Telemetry,
        announce: Callable[[int, FunctionKey, int], None],
        limits: LedgerLimits,
    ) -> None:
        super().__init__()
        self._engine = engine
        self._clock = clock
        self._telemetry = telemetry
        self._announce = announce
        self._limits = limits
        clock.on_advance(self.wake)

    async def page(
        self,
        *,
        function: str | None = None,
        state: EventState | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[LedgerEntry]:
        """Events without their steps, the newest first, of all accounts; all of them accepted before place `before`."""
        return await ledger.page(self._engine, function=function, state=state, before=before, limit=limit)

    async def event(self, request_id: str) -> LedgerEntry:
        """One event with its steps. Raises ResourceNotFound."""
        entry = await ledger.find(self._engine, request_id)
        if entry is None:
            raise ResourceNotFound(f"The ledger has no event {request_id}: there was none, or it was forgotten.")
        return entry

    async def redrive(self, request_id: str) -> str:
        """Runs a dropped event again, as a new event with all its attempts; returns the request id of that one.

        Raises ResourceNotFound, also for a function that is gone, and ResourceConflict for an event that is not
        dropped.
        """
        entry = await self.event(request_id)
        if entry.state is not EventState.DROPPED or entry.payload is None:
            raise ResourceConflict(f"Event {request_id} is {entry.state.value}; only dropped events can run again.")
        payload, key = entry.payload, FunctionKey(entry.account, entry.region, entry.function)
        new_id, now_ms = str(uuid.uuid4()), self._clock.time_ms()

        def job(tx: Transaction) -> int:
            if FunctionTables(tx).function(key) is None:
                raise ResourceNotFound(f"The function {key.name} does not exist any more.")
            queue_id = events.put(
                tx,
                Event(
                    request_id=new_id,
                    account=key.account,
                    region=key.region,
                    function=key.name,
                    qualifier=entry.qualifier,
                    payload=payload,
                    accepted_ms=now_ms,
                ),
            )
            ledger.note_on_newest(tx, {"kind": "redrive of", "at_ms": now_ms, "event": request_id})
            ledger.add(tx, request_id, {"kind": "redriven as", "at_ms": now_ms, "event": new_id})
            return queue_id

        queue_id = await self._engine.write(job)
        self._announce(queue_id, key, now_ms)
        for listener in self._telemetry.event_accepted:
            listener(
                EventAccepted(
                    request_id=new_id,
                    account=key.account,
                    region=key.region,
                    function=key.name,
                    qualifier=entry.qualifier,
                )
            )
        return new_id

    async def run_once(self) -> float | None:
        """Forgets what is too old or too much."""
        before_ms = self._clock.time_ms() - int(self._limits.age_s * 1000)
        while await self._engine.write(lambda tx: ledger.forget_before(tx, before_ms, SLICE)) == SLICE:
            pass
        excess = await ledger.size(self._engine) - self._limits.size_bytes
        while excess > 0:
            excess -= await self._engine.write(lambda tx: ledger.forget_oldest(tx, SLICE))
        return UPKEEP_S
