"""What happens without a call: schedules fire, failed deliveries are tried again. Both follow the service's time."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime
from typing import Final

from lambdad.clock import JumpingClock
from lambdad.domain.rules import SCHEDULED_DETAIL_TYPE, BusEvent, Rule
from lambdad.domain.schedules import last_until, next_after, parse_schedule
from lambdad.loops import Loop
from lambdad.neighbours.eventbridge.dispatch import Dispatcher, input_of
from lambdad.neighbours.eventbridge.targets import Delivered, RemoteTargets, TargetRefused
from lambdad.storage import rule_deliveries, rules
from lambdad.storage.engine import Engine, Transaction
from lambdad.storage.rule_deliveries import RuleDelivery

logger = logging.getLogger(__name__)

AT_ONCE: Final = 50
"""Schedules fired, or deliveries tried, in one step."""


class Scheduler(Loop):
    """Fires schedules: the event, what its targets get, and the next firing are one transaction.

    Firings that were missed, because the server was down or the clock was moved, come as one, with the time of the
    last of them: nobody is flooded, and nobody is forgotten.
    """

    name = "rule schedules"

    def __init__(self, engine: Engine, dispatcher: Dispatcher, clock: JumpingClock) -> None:
        super().__init__()
        self._engine = engine
        self._dispatcher = dispatcher
        self._clock = clock
        self._fired = 0
        clock.on_advance(self.wake)

    async def run_once(self) -> float | None:
        """Fires what is due. Returns the seconds until the next firing, None if there is none."""

        def job(tx: Transaction) -> tuple[int, list[Delivered]]:
            due = rules.due_rules(tx, self._clock.time_ms(), AT_ONCE)
            return len(due), [delivered for rule in due for delivered in self._fire(tx, rule)]

        next_ms = await rules.next_firing_ms(self._engine)
        while next_ms is not None and next_ms <= self._clock.time_ms():
            count, made = await self._engine.write(job)
            self._fired += count
            for delivered in made:
                delivered()
            next_ms = await rules.next_firing_ms(self._engine)
        return None if next_ms is None else max(0.0, (next_ms - self._clock.time_ms()) / 1000)

    def statistics(self) -> dict[str, float]:
        """Schedules fired since the start."""
        return {"fired": self._fired}

    def _fire(self, tx: Transaction, rule: Rule) -> list[Delivered]:
        now = self._clock.now()
        rules.set_next_firing(tx, rule, first_firing_ms(rule.settings.schedule, now, rule.anchor_ms))
        assert rule.settings.schedule is not None
        assert rule.next_ms is not None
        schedule = parse_schedule(rule.settings.schedule)
        planned = last_until(schedule, now, _moment(rule.anchor_ms)) or _moment(rule.next_ms)
        event = BusEvent(
            id=str(uuid.uuid4()),
            detail_type=SCHEDULED_DETAIL_TYPE,
            source="aws.events",
            account=rule.bus.account,
            time=planned,
            region=rule.bus.region,
            resources=(rule.arn,),
            detail="{}",
        )
        return self._dispatcher.fire_in(tx, rule, event)


class Redelivery(Loop):
    """Tries deliveries again that failed for a while, and makes those that leave the server."""

    name = "rule deliveries"

    def __init__(self, engine: Engine, dispatcher: Dispatcher, remote: RemoteTargets, clock: JumpingClock) -> None:
        super().__init__()
        self._engine = engine
        self._dispatcher = dispatcher
        self._remote = remote
        self._clock = clock
        clock.on_advance(self.wake)

    async def run_once(self) -> float | None:
        """Tries every delivery that is due. Returns the seconds until another is."""
        while due := await rule_deliveries.due(self._engine, self._clock.time_ms(), AT_ONCE):
            for delivery in due:
                await self._try(delivery)
        next_ms = await rule_deliveries.next_due_ms(self._engine)
        return None if next_ms is None else max(0.0, (next_ms - self._clock.time_ms()) / 1000)

    async def _try(self, delivery: RuleDelivery) -> None:
        dispatcher = self._dispatcher
        if self._remote.sends_to(delivery.target.arn):
            try:
                await self._remote.send(input_of(delivery))
            except Exception as failure:
                # Whatever a client library raises: the target may be up again later.
                logger.debug("%s cannot be reached", delivery.target.arn, exc_info=failure)
                error, may_retry = failure, not isinstance(failure, TargetRefused)
                made = await self._engine.write(
                    lambda tx: dispatcher.failed_in(tx, delivery, error, may_retry=may_retry)
                )
            else:
                await self._engine.write(lambda tx: rule_deliveries.remove(tx, delivery.id))
                return
        else:
            made = await self._engine.write(lambda tx: dispatcher.attempt_in(tx, delivery))
        for delivered in made:
            delivered()


def first_firing_ms(schedule: str | None, now: datetime, anchor_ms: int) -> int | None:
    """When a schedule fires next; None without one, and when it has come to its end."""
    if schedule is None:
        return None
    following = next_after(parse_schedule(schedule), now, _moment(anchor_ms))
    return None if following is None else round(following.timestamp() * 1000)


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
