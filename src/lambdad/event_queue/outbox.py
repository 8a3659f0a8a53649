"""Sends messages to targets outside of this server, again and again until they arrive or are given up."""

from __future__ import annotations

import asyncio
import logging

from lambdad.clock import JumpingClock
from lambdad.domain.ledger import Step, delivery_step
from lambdad.domain.retries import back_off_ms
from lambdad.event_queue.delivery import failure_of, report_failure
from lambdad.event_queue.targets import RemoteSender, TargetRefused
from lambdad.loops import Loop
from lambdad.storage import event_outbox, ledger
from lambdad.storage.engine import Engine, Transaction
from lambdad.storage.event_outbox import OutboxEntry
from lambdad.telemetry import Telemetry

logger = logging.getLogger(__name__)

GIVE_UP_MS = 21_600_000
"""A message that could not be delivered for six hours, an event's own longest age, is lost."""
AT_ONCE = 16


class Outbox(Loop):
    """At least once: a message is deleted after the target has taken it."""

    name = "event outbox"

    def __init__(self, engine: Engine, sender: RemoteSender, clock: JumpingClock, telemetry: Telemetry) -> None:
        super().__init__()
        self._engine = engine
        self._sender = sender
        self._clock = clock
        self._telemetry = telemetry
        clock.on_advance(self.wake)

    async def run_once(self) -> float | None:
        """Tries every message that is due. Returns the seconds until another is."""
        while entries := await event_outbox.due(self._engine, self._clock.time_ms(), AT_ONCE):
            await asyncio.gather(*(self._try(entry) for entry in entries))
        next_ms = await event_outbox.next_due(self._engine)
        return None if next_ms is None else max(0.0, (next_ms - self._clock.time_ms()) / 1000)

    async def _try(self, entry: OutboxEntry) -> None:
        try:
            await self._sender.send(entry.target_arn, entry.message)
        except TargetRefused as error:
            await self._give_up(entry, error.message)
        except Exception as error:
            # Whatever a client library raises: the target may be up again later.
            logger.debug("%s cannot be reached", entry.target_arn, exc_info=error)
            due_ms = self._clock.time_ms() + back_off_ms(entry.tries)
            if due_ms >= entry.created_ms + GIVE_UP_MS:
                await self._give_up(entry, str(error))
            else:
                await self._engine.write(lambda tx: event_outbox.postpone(tx, entry.id, due_ms))
        else:
            await self._finish(entry, "delivered")

    async def _give_up(self, entry: OutboxEntry, reason: str) -> None:
        await self._finish(entry, "failed", reason)
        report_failure(failure_of(entry.message, entry.target_arn, reason), self._telemetry)

    async def _finish(self, entry: OutboxEntry, result: str, reason: str = "") -> None:
        """The message leaves the outbox, and the ledger tells what came of it."""
        message = entry.message
        step: Step = delivery_step(
            entry.target_arn,
            self._clock.time_ms(),
            is_dead_letter=message.is_dead_letter,
            result=result,
            reason=reason,
        )

        def job(tx: Transaction) -> None:
            event_outbox.remove(tx, entry.id)
            ledger.add(tx, message.request_id, step)

        await self._engine.write(job)
