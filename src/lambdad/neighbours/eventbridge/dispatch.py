"""From an event on a bus to the targets of the rules that match it, all inside one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from lambdad.clock import Clock
from lambdad.domain import input_transformer
from lambdad.domain.errors import LambdadError
from lambdad.domain.event_patterns import EventPattern, compile_pattern
from lambdad.domain.input_transformer import TemplateContext
from lambdad.domain.rules import Bus, BusAddress, BusEvent, Rule, Target, event_time, parse_bus_arn, retry_at
from lambdad.neighbours.eventbridge import policy
from lambdad.neighbours.eventbridge.targets import (
    Delivered,
    EmbeddedTargets,
    QueueTarget,
    RemoteTargets,
    TargetBusy,
    TargetInput,
    TargetRefused,
    error_code,
)
from lambdad.storage import rule_deliveries, rules
from lambdad.storage.engine import Transaction
from lambdad.storage.rule_deliveries import RuleDelivery

logger = logging.getLogger(__name__)

MOST_BUSES: Final = 5
"""So many buses an event goes through at most, and through none twice. The number is ours."""
MOST_KEPT: Final = 1000
"""Buses whose rules are kept in memory."""


class Dispatcher:
    """Matches and delivers. Everything here runs on the writer's thread; the results are for after the commit."""

    def __init__(
        self,
        targets: EmbeddedTargets,
        dead_letters: QueueTarget | None,
        remote: RemoteTargets,
        clock: Clock,
        wake_redelivery: Callable[[], None],
    ) -> None:
        self._targets = targets
        self._dead_letters = dead_letters
        self._remote = remote
        self._clock = clock
        self._wake_redelivery = wake_redelivery
        self._patterns: dict[int, tuple[str, list[tuple[Rule, EventPattern]]]] = {}
        """By bus id, with the version of its rules."""
        self._matched = 0
        self._delivered = 0
        self._failed = 0

    def statistics(self) -> dict[str, float]:
        """Since the start: rules that matched, inputs that targets took, inputs that were given up."""
        return {"matched": self._matched, "delivered": self._delivered, "failed": self._failed}

    def event_in(
        self, tx: Transaction, address: BusAddress, event: BusEvent, came_through: tuple[BusAddress, ...] = ()
    ) -> list[Delivered]:
        """Delivers an event of a bus. A bus that does not exist has no rules: the event is gone (AWS: recorded)."""
        bus = rules.find_bus(tx, address)
        if bus is None:
            return []
        made: list[Delivered] = []
        for rule, pattern in self._patterns_of(tx, bus):
            if pattern.matches(event.document):
                made += self.fire_in(tx, rule, event, (*came_through, address))
        return made

    def _patterns_of(self, tx: Transaction, bus: Bus) -> list[tuple[Rule, EventPattern]]:
        """The rules that are enabled and have a pattern; read again when they have changed."""
        known = self._patterns.get(bus.id)
        if known is not None and known[0] == bus.rules_version:
            return known[1]
        found = [
            (rule, compile_pattern(rule.settings.pattern))
            for rule in rules.list_rules(tx, bus)
            if rule.settings.is_enabled and rule.settings.pattern is not None
        ]
        if len(self._patterns) >= MOST_KEPT:
            self._patterns.clear()
        self._patterns[bus.id] = (bus.rules_version, found)
        return found

    def fire_in(
        self, tx: Transaction, rule: Rule, event: BusEvent, came_through: tuple[BusAddress, ...] = ()
    ) -> list[Delivered]:
        """Delivers an event to all targets of a rule."""
        self._matched += 1
        made: list[Delivered] = []
        for target in rules.list_targets(tx, rule):
            bus = parse_bus_arn(target.arn)
            if bus is not None and not self._remote.sends_to(target.arn):
                made += self._forward(tx, rule, target, bus, event, came_through)
            else:
                made += self._deliver(tx, rule, target, event)
        return made

    def _forward(
        self,
        tx: Transaction,
        rule: Rule,
        target: Target,
        bus: BusAddress,
        event: BusEvent,
        came_through: tuple[BusAddress, ...],
    ) -> list[Delivered]:
        """An event arrives on another bus as it is; inputs are for other targets (EventBridge guide)."""
        if bus in came_through or len(came_through) >= MOST_BUSES:
            logger.warning("%s: event %s is not sent on to %s, it went in a circle", rule.arn, event.id, bus.arn)
            return []
        found = rules.find_bus(tx, bus)
        if bus.account != rule.bus.account and not policy.allows(
            found.policy if found else "", rule.bus.account, "PutEvents"
        ):
            refused = TargetRefused("NO_PERMISSIONS", f"The policy of {bus.arn} does not let {rule.bus.account} in.")
            return self._give_up(tx, self._delivery(rule, target, event, event.json), refused, None)
        self._delivered += 1
        return self.event_in(tx, bus, event, came_through)

    def _deliver(self, tx: Transaction, rule: Rule, target: Target, event: BusEvent) -> list[Delivered]:
        try:
            text = self._input(rule, target, event)
        except (LambdadError, RecursionError) as error:
            return self._give_up(tx, self._delivery(rule, target, event, event.json), error, None)
        delivery = self._delivery(rule, target, event, text)
        if self._remote.sends_to(target.arn):
            rule_deliveries.put(tx, delivery)
            return [self._wake_redelivery]
        return self.attempt_in(tx, delivery)

    def attempt_in(self, tx: Transaction, delivery: RuleDelivery) -> list[Delivered]:
        """Hands an input to its target; if that fails, keeps it for another time or gives it up."""
        try:
            delivered = self._targets.put_in(tx, input_of(delivery))
        except LambdadError as error:
            return self.failed_in(tx, delivery, error, may_retry=isinstance(error, TargetBusy))
        if delivery.id:
            rule_deliveries.remove(tx, delivery.id)
        self._delivered += 1
        return [delivered]

    def failed_in(
        self, tx: Transaction, delivery: RuleDelivery, error: BaseException, *, may_retry: bool
    ) -> list[Delivered]:
        """A try has failed."""
        exhausted: str | None = None
        if may_retry:
            now_ms = self._clock.time_ms()
            decision = retry_at(delivery.target, delivery.created_ms, delivery.tries, now_ms)
            if isinstance(decision, int):
                if delivery.id:
                    rule_deliveries.postpone(tx, delivery.id, decision)
                else:
                    rule_deliveries.put(tx, _postponed(delivery, decision))
                return [self._wake_redelivery]
            exhausted = decision
        return self._give_up(tx, delivery, error, exhausted)

    def _give_up(
        self, tx: Transaction, delivery: RuleDelivery, error: BaseException, exhausted: str | None
    ) -> list[Delivered]:
        if delivery.id:
            rule_deliveries.remove(tx, delivery.id)
        self._failed += 1
        message = error.message if isinstance(error, LambdadError) else str(error)
        arn = delivery.target.dead_letter_arn
        if arn is None or self._dead_letters is None:
            logger.warning("%s: %s does not get its event: %s", delivery.rule_arn, delivery.target.arn, message)
            return []
        attributes = {
            "RULE_ARN": delivery.rule_arn,
            "TARGET_ARN": delivery.target.arn,
            "ERROR_CODE": error_code(error),
            "ERROR_MESSAGE": message or "unknown",
            "RETRY_ATTEMPTS": str(delivery.tries),
        }
        if exhausted is not None:
            attributes["EXHAUSTED_RETRY_CONDITION"] = exhausted
        try:
            return [self._dead_letters.dead_letter_in(tx, arn, delivery.event, attributes)]
        except LambdadError as refused:
            logger.warning(
                "%s: %s does not get its event: %s. Nor does its dead-letter queue: %s",
                delivery.rule_arn, delivery.target.arn, message, refused.message,
            )  # fmt: skip
            return []

    def _delivery(self, rule: Rule, target: Target, event: BusEvent, text: str) -> RuleDelivery:
        now_ms = self._clock.time_ms()
        return RuleDelivery(
            due_ms=now_ms,
            created_ms=now_ms,
            rule_arn=rule.arn,
            target=target,
            event=event.json,
            input=text,
            trace=event.trace,
        )

    def _input(self, rule: Rule, target: Target, event: BusEvent) -> str:
        if target.input is not None:
            return target.input
        if target.input_path is not None:
            return input_transformer.select(target.input_path, event.document)
        transformer = target.transformer
        if transformer is None:
            return event.json
        context = TemplateContext(
            rule_arn=rule.arn,
            rule_name=rule.name,
            event_json=event.json,
            ingestion_time=event_time(self._clock.now()),
        )
        return input_transformer.transform(transformer, event.document, context)


def input_of(delivery: RuleDelivery) -> TargetInput:
    """What the target of a delivery gets."""
    return TargetInput(rule_arn=delivery.rule_arn, target=delivery.target, text=delivery.input, trace=delivery.trace)


def _postponed(delivery: RuleDelivery, due_ms: int) -> RuleDelivery:
    return RuleDelivery(
        due_ms=due_ms,
        created_ms=delivery.created_ms,
        tries=delivery.tries + 1,
        rule_arn=delivery.rule_arn,
        target=delivery.target,
        event=delivery.event,
        input=delivery.input,
        trace=delivery.trace,
    )
