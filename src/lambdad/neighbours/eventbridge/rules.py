"""Rules and their targets: put, describe, list, enable, disable, delete, tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from lambdad.clock import Clock
from lambdad.domain.event_patterns import InvalidPattern, compile_pattern
from lambdad.domain.identity import Caller
from lambdad.domain.input_transformer import InvalidPath, InvalidTemplate, check_transformer, parse_path
from lambdad.domain.json_syntax import is_json
from lambdad.domain.queues import FIFO_SUFFIX
from lambdad.domain.rules import DEFAULT_BUS, Bus, Rule, RuleSettings, Target
from lambdad.domain.schedules import InvalidSchedule, parse_schedule
from lambdad.neighbours.eventbridge import paging
from lambdad.neighbours.eventbridge.buses import check_tags, require
from lambdad.neighbours.eventbridge.errors import invalid, invalid_pattern, limit_exceeded, no_such_rule, not_found
from lambdad.neighbours.eventbridge.loops import first_firing_ms
from lambdad.storage import rules as storage
from lambdad.storage.engine import Engine, Transaction

T = TypeVar("T")
MAX_RULES: Final = 300
"""Of one bus (EventBridge quotas)."""
MAX_TARGETS: Final = 5
"""Of one rule (EventBridge quotas)."""
_RULE_ARN = re.compile(r"arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:rule/(?:(.+)/)?([^/]+)")
_TARGET_ARN = re.compile(r"arn:[\w+=,.@-]+:[\w+=,.@-]+:[\w+=,.@-]*:[0-9]*:[\w+=,.@\-/:$*|?]+", re.ASCII)
_INPUTS: Final = ("Input", "InputPath", "InputTransformer")


@dataclass(frozen=True, slots=True)
class FailedTarget:
    """A target of PutTargets that was refused; the others are stored all the same."""

    id: str
    code: str
    message: str


class RuleControl:
    """What is done to rules and targets."""

    def __init__(self, engine: Engine, clock: Clock, wake_scheduler: Callable[[], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._wake_scheduler = wake_scheduler

    async def put(
        self, caller: Caller, bus_name: str | None, name: str, settings: RuleSettings, tags: Mapping[str, str]
    ) -> str:
        """Makes a rule, or replaces one; its ARN. Tags count for new rules only (EventBridge API reference).

        Raises ValidationException, InvalidEventPatternException, ResourceNotFoundException, LimitExceededException.
        """
        _check_settings(settings)
        check_tags(tags)

        def step(tx: Transaction, bus: Bus) -> str:
            if settings.schedule is not None and bus.address.name != DEFAULT_BUS:
                raise invalid("ScheduleExpression is supported only on the default event bus.")
            existing = storage.find_rule(tx, bus, name)
            if existing is None and storage.count_rules(tx, bus) >= MAX_RULES:
                raise limit_exceeded()
            self._store(tx, bus, name, existing, settings, tags)
            return bus.address.rule_arn(name)

        arn = await self._with_bus(caller, bus_name, "PutRule", step)
        self._wake_scheduler()
        return arn

    def _store(
        self,
        tx: Transaction,
        bus: Bus,
        name: str,
        existing: Rule | None,
        settings: RuleSettings,
        tags: Mapping[str, str],
    ) -> None:
        anchor_ms = self._clock.time_ms()
        if existing is not None and _keeps_time(existing.settings, settings):
            anchor_ms = existing.anchor_ms
        schedule = settings.schedule if settings.is_enabled else None
        next_ms = first_firing_ms(schedule, self._clock.now(), anchor_ms)
        storage.put_rule(tx, bus, name, settings, anchor_ms=anchor_ms, next_ms=next_ms, tags=tags)

    async def describe(self, caller: Caller, bus_name: str | None, name: str) -> Rule:
        """Raises ResourceNotFoundException."""
        return await self._with_rule(caller, bus_name, name, "DescribeRule", lambda _tx, _bus, rule: rule)

    async def listing(
        self,
        caller: Caller,
        bus_name: str | None,
        *,
        prefix: str = "",
        limit: int | None = None,
        token: str | None = None,
    ) -> tuple[list[Rule], str | None]:
        """Rules of a bus by name, and the token of the next page."""
        after, count = paging.after(token), (limit or paging.PAGE) + 1
        found = await self._with_bus(
            caller,
            bus_name,
            "ListRules",
            lambda tx, bus: storage.list_rules(tx, bus, prefix=prefix, after=after, limit=count),
        )
        return paging.cut(found, limit, lambda rule: rule.name)

    async def set_state(self, caller: Caller, bus_name: str | None, name: str, state: str) -> None:
        """Enables or disables a rule. Raises ResourceNotFoundException."""

        def step(tx: Transaction, bus: Bus, rule: Rule) -> None:
            self._store(tx, bus, name, rule, replace(rule.settings, state=state), rule.tags)

        action = "DisableRule" if state == "DISABLED" else "EnableRule"
        await self._with_rule(caller, bus_name, name, action, step)
        self._wake_scheduler()

    async def delete(self, caller: Caller, bus_name: str | None, name: str) -> None:
        """Deletes a rule, if there is one. Raises ValidationException for a rule with targets."""

        def step(tx: Transaction, bus: Bus) -> None:
            rule = storage.find_rule(tx, bus, name)
            if rule is None:
                return
            if storage.list_targets(tx, rule, limit=1):
                raise invalid("Rule can't be deleted since it has targets.")
            storage.delete_rule(tx, bus, rule)

        await self._with_bus(caller, bus_name, "DeleteRule", step)

    # --- targets ---

    async def put_targets(
        self, caller: Caller, bus_name: str | None, rule_name: str, targets: Sequence[Target]
    ) -> list[FailedTarget]:
        """Adds targets, or replaces those of the same id; what was refused.

        Raises ResourceNotFoundException, LimitExceededException, and ValidationException for wrong inputs.
        """
        for target in targets:
            _check_input(target)
        failed = [failure for failure in map(_failure, targets) if failure is not None]
        refused = {failure.id for failure in failed}
        good = [target for target in targets if target.id not in refused]

        def step(tx: Transaction, _: Bus, rule: Rule) -> None:
            ids = {target.id for target in storage.list_targets(tx, rule)} | {target.id for target in good}
            if len(ids) > MAX_TARGETS:
                raise limit_exceeded()
            storage.put_targets(tx, rule, good)

        await self._with_rule(caller, bus_name, rule_name, "PutTargets", step)
        return failed

    async def remove_targets(self, caller: Caller, bus_name: str | None, rule_name: str, ids: Sequence[str]) -> None:
        """Removes targets; ids without one do not matter. Raises ResourceNotFoundException for the rule."""
        await self._with_rule(
            caller, bus_name, rule_name, "RemoveTargets", lambda tx, _, rule: storage.remove_targets(tx, rule, ids)
        )

    async def targets(
        self,
        caller: Caller,
        bus_name: str | None,
        rule_name: str,
        *,
        limit: int | None = None,
        token: str | None = None,
    ) -> tuple[list[Target], str | None]:
        """Targets of a rule by id, and the token of the next page. Raises ResourceNotFoundException."""
        after, count = paging.after(token), (limit or paging.PAGE) + 1
        found = await self._with_rule(
            caller,
            bus_name,
            rule_name,
            "ListTargetsByRule",
            lambda tx, _, rule: storage.list_targets(tx, rule, after=after, limit=count),
        )
        return paging.cut(found, limit, lambda target: target.id)

    async def names_by_target(
        self,
        caller: Caller,
        bus_name: str | None,
        target_arn: str,
        *,
        limit: int | None = None,
        token: str | None = None,
    ) -> tuple[list[str], str | None]:
        """Names of the rules that have a target of this ARN, and the token of the next page."""
        after, count = paging.after(token), (limit or paging.PAGE) + 1
        found = await self._with_bus(
            caller,
            bus_name,
            "ListRuleNamesByTarget",
            lambda tx, bus: storage.rule_names_by_target(tx, bus, target_arn, after=after, limit=count),
        )
        return paging.cut(found, limit, lambda name: name)

    # --- tags ---

    async def tags(self, caller: Caller, arn: str) -> Mapping[str, str]:
        return (await self._at_arn(caller, arn, "ListTagsForResource", lambda _tx, _bus, rule: rule)).tags

    async def tag(self, caller: Caller, arn: str, tags: Mapping[str, str]) -> None:
        def step(tx: Transaction, _: Bus, rule: Rule) -> None:
            merged = {**rule.tags, **tags}
            check_tags(merged)
            storage.update_rule_tags(tx, rule, merged)

        await self._at_arn(caller, arn, "TagResource", step)

    async def untag(self, caller: Caller, arn: str, keys: Sequence[str]) -> None:
        def step(tx: Transaction, _: Bus, rule: Rule) -> None:
            left = {key: value for key, value in rule.tags.items() if key not in keys}
            storage.update_rule_tags(tx, rule, left)

        await self._at_arn(caller, arn, "UntagResource", step)

    async def _at_arn(self, caller: Caller, arn: str, action: str, step: Callable[[Transaction, Bus, Rule], T]) -> T:
        match = _RULE_ARN.fullmatch(arn)
        parts = arn.split(":")
        if match is None or (parts[3], parts[4]) != (caller.region, caller.account):
            raise not_found(f"Resource {arn} does not exist.")  # our words
        return await self._with_rule(caller, match[1], match[2], action, step)

    async def _with_bus(
        self, caller: Caller, bus_name: str | None, action: str, step: Callable[[Transaction, Bus], T]
    ) -> T:
        now_ms = self._clock.time_ms()
        return await self._engine.write(lambda tx: step(tx, require(tx, caller, bus_name, action, now_ms)))

    async def _with_rule(
        self,
        caller: Caller,
        bus_name: str | None,
        name: str,
        action: str,
        step: Callable[[Transaction, Bus, Rule], T],
    ) -> T:
        def with_rule(tx: Transaction, bus: Bus) -> T:
            rule = storage.find_rule(tx, bus, name)
            if rule is None:
                raise no_such_rule(name, bus.address.name)
            return step(tx, bus, rule)

        return await self._with_bus(caller, bus_name, action, with_rule)


def _keeps_time(before: RuleSettings, after: RuleSettings) -> bool:
    """Whether a rate goes on being counted from where it began."""
    return before.schedule == after.schedule and before.is_enabled and after.is_enabled


def _check_settings(settings: RuleSettings) -> None:
    if settings.pattern is None and settings.schedule is None:
        raise invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")
    if settings.pattern is not None:
        try:
            compile_pattern(settings.pattern)
        except InvalidPattern as error:
            raise invalid_pattern(error.message) from None
    if settings.schedule is not None:
        try:
            parse_schedule(settings.schedule)
        except InvalidSchedule:
            raise invalid("Parameter ScheduleExpression is not valid.") from None


def _check_input(target: Target) -> None:
    if sum(1 for name in _INPUTS if target.document.get(name) is not None) > 1:
        raise invalid(f"Only one of Input, InputPath, or InputTransformer must be provided for target {target.id}.")
    if target.input is not None and not is_json(target.input.encode("utf-8", "replace")):
        raise invalid(f"JSON syntax error in input for target {target.id}.")
    try:
        if target.input_path is not None:
            parse_path(target.input_path)
        if target.transformer is not None:
            check_transformer(target.transformer)
    except InvalidPath as error:
        raise invalid(f"Invalid InputPath for target {target.id} : {error.message}.") from None  # our words
    except InvalidTemplate:
        raise invalid(f"Invalid InputTemplate for target {target.id} : it is not valid JSON when filled.") from None


def _failure(target: Target) -> FailedTarget | None:
    if not _TARGET_ARN.fullmatch(target.arn):
        reason = f"Parameter {target.arn} is not valid. Reason: Provided Arn is not in correct format."
        return FailedTarget(target.id, "ValidationException", reason)
    if ":sqs:" in target.arn and target.arn.endswith(FIFO_SUFFIX) and target.message_group is None:
        reason = f"Parameter(s) SqsParameters must be specified for target: {target.id}."
        return FailedTarget(target.id, "ValidationException", reason)
    return None
