"""After an attempt: the rule decides, and one transaction stores the decision with all that is delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lambdad.clock import Clock
from lambdad.domain.events import Attempt, Event, FunctionGone, RetrySettings
from lambdad.domain.ledger import Run, end_step, steps_of
from lambdad.domain.retries import RETRY_DELAYS_S, Decision, Finish, PutBack, RetryAt, SetBack, after_attempt
from lambdad.event_queue.delivery import Deliveries, Delivery
from lambdad.storage import event_configs, events, ledger
from lambdad.storage.engine import Transaction
from lambdad.storage.events import ClaimedEvent
from lambdad.storage.functions import FunctionKey
from lambdad.telemetry import EventEnded, Telemetry


@dataclass(slots=True)
class Concluded:
    """What was decided; `tell` it once the transaction is committed."""

    event: Event
    decision: Decision
    deliveries: Deliveries = field(default_factory=Deliveries)

    def tell(self, telemetry: Telemetry) -> None:
        """Wakes receivers of deliveries and tells how the event ended. On the event loop."""
        self.deliveries.tell(telemetry)
        if isinstance(self.decision, Finish):
            event = self.event
            for listener in telemetry.event_ended:
                listener(
                    EventEnded(
                        request_id=event.request_id,
                        account=event.account,
                        region=event.region,
                        function=event.function,
                        qualifier=event.qualifier,
                        condition=self.decision.condition.value,
                        invoke_count=self.decision.invoke_count,
                    )
                )


class Conclusion:
    """Used by the worker after attempts, and by the rescue for attempts that nobody will finish."""

    def __init__(self, delivery: Delivery, clock: Clock, retry_delays_s: Sequence[float] = RETRY_DELAYS_S) -> None:
        self._delivery = delivery
        self._clock = clock
        self._retry_delays_s = retry_delays_s

    def conclude_in(
        self,
        tx: Transaction,
        claimed: ClaimedEvent,
        attempt: Attempt,
        *,
        throttles: int = 0,
        dead_letter_arn: str | None = None,
        run: Run | None = None,
    ) -> Concluded:
        """Decides with the settings of this moment and stores what follows, on the writer's thread.

        `dead_letter_arn` is that of the version that ran, or would have; `run` is for the ledger, when one did.
        """
        event = claimed.event
        now_ms = self._clock.time_ms()
        settings = _settings(tx, event, attempt)
        decision = after_attempt(
            event,
            attempt,
            settings,
            now_ms,
            throttles=throttles,
            retry_delays_s=self._retry_delays_s,
        )
        concluded = Concluded(event, decision)
        steps = steps_of(event, attempt, run, decision, now_ms)
        match decision:
            case Finish():
                if events.remove(tx, claimed.id):
                    concluded.deliveries = self._delivery.deliver_in(
                        tx, event, attempt, decision, settings, dead_letter_arn
                    )
                    steps += [*concluded.deliveries.steps, end_step(decision, now_ms)]
                    ledger.close(tx, claimed.id, event, decision, steps, now_ms)
                return concluded
            case RetryAt():
                events.retry(tx, claimed.id, decision.due_ms, decision.attempts)
            case PutBack():
                events.put_back(tx, [claimed.id])
            case SetBack():
                events.set_back(tx, claimed.id, decision.due_ms, decision.setbacks)
        ledger.note(tx, claimed.id, steps)
        return concluded


def _settings(tx: Transaction, event: Event, attempt: Attempt) -> RetrySettings:
    config = event_configs.find(tx, FunctionKey(event.account, event.region, event.function), event.settings_qualifier)
    if config is None and isinstance(attempt, FunctionGone) and event.accepted_settings is not None:
        # Deleting a function deletes its settings, yet its queued events still reach their destinations (AWS:
        # captured 2026).
        return event.accepted_settings
    return RetrySettings.of(config)
