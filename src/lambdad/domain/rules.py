"""Event buses, rules and targets as values, and the event that goes from a bus to a target."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from lambdad.domain.input_transformer import InputTransformer
from lambdad.domain.retries import back_off_ms

DEFAULT_BUS: Final = "default"
MAX_REQUEST_BYTES: Final = 1_048_576
"""Of all entries of one PutEvents (AWS: since January 2026)."""
MAX_RETRIES: Final = 185
MAX_EVENT_AGE_S: Final = 86_400
SCHEDULED_DETAIL_TYPE: Final = "Scheduled Event"

_BUS_ARN = re.compile(r"arn:aws[a-z-]*:events:([a-z0-9-]+):([0-9]{12}):event-bus/([/.\-_A-Za-z0-9]+)")
_SPACE_OR_TEXT = re.compile(r'("(?:[^"\\]|\\.)*")|\s+')


@dataclass(frozen=True, slots=True)
class BusAddress:
    """An event bus by name."""

    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        return f"arn:aws:events:{self.region}:{self.account}:event-bus/{self.name}"

    def rule_arn(self, rule: str) -> str:
        bus = "" if self.name == DEFAULT_BUS else f"{self.name}/"
        return f"arn:aws:events:{self.region}:{self.account}:rule/{bus}{rule}"


def parse_bus_arn(arn: str) -> BusAddress | None:
    """The bus of an ARN; None for anything that is not the ARN of a bus."""
    match = _BUS_ARN.fullmatch(arn)
    return None if match is None else BusAddress(match[2], match[1], match[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """What CreateEventBus and UpdateEventBus set; the last three are kept and shown, nothing follows from them."""

    description: str | None = None
    kms_key: str | None = None
    dead_letter_arn: str | None = None
    log_config: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """A bus as it is stored."""

    id: int
    address: BusAddress
    settings: BusSettings
    policy: str
    """A JSON text; empty for none."""
    tags: Mapping[str, str]
    rules_version: str
    """Another one after each change of its rules; targets do not count."""
    created_ms: int
    modified_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """What PutRule sets."""

    pattern: str | None = None
    schedule: str | None = None
    state: str = "ENABLED"
    description: str | None = None
    role_arn: str | None = None

    @property
    def is_enabled(self) -> bool:
        return self.state != "DISABLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule as it is stored."""

    id: int
    bus: BusAddress
    name: str
    settings: RuleSettings
    tags: Mapping[str, str]
    anchor_ms: int
    """From when a rate is counted: when the schedule was set or the rule enabled."""
    next_ms: int | None
    """When the schedule fires next."""

    @property
    def arn(self) -> str:
        return self.bus.rule_arn(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A target of a rule. `document` is the whole of it as PutTargets was given it, for listing."""

    id: str
    arn: str
    document: Mapping[str, Any]

    @property
    def input(self) -> str | None:
        return self.document.get("Input")

    @property
    def input_path(self) -> str | None:
        return self.document.get("InputPath")

    @property
    def transformer(self) -> InputTransformer | None:
        given = self.document.get("InputTransformer")
        if given is None:
            return None
        return InputTransformer(template=given["InputTemplate"], paths=given.get("InputPathsMap") or {})

    @property
    def message_group(self) -> str | None:
        group: str | None = (self.document.get("SqsParameters") or {}).get("MessageGroupId")
        return group

    @property
    def dead_letter_arn(self) -> str | None:
        arn: str | None = (self.document.get("DeadLetterConfig") or {}).get("Arn")
        return arn

    @property
    def maximum_retries(self) -> int:
        return _or_default(self.document, "MaximumRetryAttempts", MAX_RETRIES)

    @property
    def maximum_age_s(self) -> int:
        return _or_default(self.document, "MaximumEventAgeInSeconds", MAX_EVENT_AGE_S)


def _or_default(document: Mapping[str, Any], member: str, default: int) -> int:
    value: int | None = (document.get("RetryPolicy") or {}).get(member)
    return default if value is None else value


@dataclass(frozen=True, kw_only=True)
class BusEvent:
    """An event as rules see it and targets get it."""

    id: str
    detail_type: str
    source: str
    account: str
    time: datetime
    region: str
    resources: tuple[str, ...] = ()
    detail: str
    """A JSON object, compact."""
    trace: str = field(default="", compare=False)
    """The trace header of the sender; not part of the event."""

    @cached_property
    def json(self) -> str:
        """As it is delivered (order of keys, whole seconds; AWS: recorded 2024)."""
        head = {
            "version": "0",
            "id": self.id,
            "detail-type": self.detail_type,
            "source": self.source,
            "account": self.account,
            "time": event_time(self.time),
            "region": self.region,
            "resources": list(self.resources),
        }
        return f'{json.dumps(head, separators=(",", ":"), ensure_ascii=False)[:-1]},"detail":{self.detail}}}'

    @cached_property
    def document(self) -> dict[str, Any]:
        """The parsed event, for patterns and paths."""
        document: dict[str, Any] = json.loads(self.json)
        return document

    def is_readable(self) -> bool:
        """Whether it can be parsed: not when it is nested hundreds of levels deep."""
        try:
            return bool(self.document)
        except RecursionError:
            return False


def event_time(moment: datetime) -> str:
    """`2026-01-31T12:00:00Z`"""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def compact(text: str) -> str:
    """A JSON text without the white space between its values."""
    return _SPACE_OR_TEXT.sub(lambda match: match[1] or "", text)


def retry_at(target: Target, created_ms: int, retries: int, now_ms: int) -> int | str:
    """When a delivery that has just failed is tried again, after `retries` retries so far; or why it is not.

    The wait is doubled from a second to five minutes; retries and age are limited by the target's retry policy.
    """
    if retries >= target.maximum_retries:
        return "MaximumRetryAttempts"
    due_ms = now_ms + back_off_ms(retries)
    return due_ms if due_ms < created_ms + target.maximum_age_s * 1000 else "MaximumEventAgeInSeconds"
