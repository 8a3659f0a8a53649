"""Delivery policies of SNS: when a failed delivery over HTTP is tried again, and how fast.

Phases, back-off functions and bounds are those of the SNS developer guide (message delivery retries).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

MAX_TOTAL_S: Final = 3600
"""All delays of one policy together."""
BACK_OFF: Final = ("arithmetic", "exponential", "geometric", "linear")
_MEMBERS: Final = {
    "minDelayTarget": "min_delay_s",
    "maxDelayTarget": "max_delay_s",
    "numRetries": "retries",
    "numMaxDelayRetries": "max_delay_retries",
    "numNoDelayRetries": "no_delay_retries",
    "numMinDelayRetries": "min_delay_retries",
    "backoffFunction": "back_off",
}


class BadDeliveryPolicy(ValueError):
    """The policy cannot be; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """What is in force for one subscription. Defaults are those of AWS."""

    min_delay_s: int = 20
    max_delay_s: int = 20
    retries: int = 3
    max_delay_retries: int = 0
    no_delay_retries: int = 0
    min_delay_retries: int = 0
    back_off: str = "linear"
    max_per_second: int | None = None
    content_type: str = "text/plain; charset=UTF-8"
    disables_overrides: bool = False
    """The policy of the topic is in force for subscriptions that have their own, too."""

    def delay_s(self, retry: int) -> float | None:
        """Seconds before a retry, counted from 1; None when there is no such retry.

        First those without delay, then some with the shortest, then the back-off from the shortest to the longest,
        at last some with the longest.
        """
        if retry > self.retries:
            return None
        retry -= self.no_delay_retries
        if retry <= 0:
            return 0.0
        retry -= self.min_delay_retries
        if retry <= 0:
            return float(self.min_delay_s)
        steps = self.retries - self.no_delay_retries - self.min_delay_retries - self.max_delay_retries
        return float(self.max_delay_s) if retry > steps else self._back_off_s(retry, steps)

    def _back_off_s(self, step: int, steps: int) -> float:
        low, high = self.min_delay_s, self.max_delay_s
        if steps == 1 or low == high:
            return float(low)
        part = (step - 1) / (steps - 1)
        if self.back_off == "linear":
            return low + (high - low) * part
        if self.back_off == "arithmetic":  # each delay grows by more than the one before
            return low + (high - low) * part * (step / steps)
        if self.back_off == "geometric":
            return float(max(low, 1) * (high / max(low, 1)) ** part)
        return float(low + (high - low) * math.expm1(3 * part) / math.expm1(3))

    def document(self) -> dict[str, Any]:
        """`http` of an effective delivery policy, without what is of the topic alone."""
        healthy = {name: getattr(self, member) for name, member in _MEMBERS.items()}
        found: dict[str, Any] = {"defaultHealthyRetryPolicy": healthy}
        found["disableSubscriptionOverrides"] = self.disables_overrides
        if self.max_per_second is not None:
            found["defaultThrottlePolicy"] = {"maxReceivesPerSecond": self.max_per_second}
        found["defaultRequestPolicy"] = {"headerContentType": self.content_type}
        return {"http": found}

    def subscription_document(self) -> dict[str, Any]:
        """The effective delivery policy of a subscription."""
        healthy = {name: getattr(self, member) for name, member in _MEMBERS.items()}
        throttle = None if self.max_per_second is None else {"maxReceivesPerSecond": self.max_per_second}
        return {
            "healthyRetryPolicy": healthy,
            "sicklyRetryPolicy": None,
            "throttlePolicy": throttle,
            "requestPolicy": {"headerContentType": self.content_type},
            "guaranteed": False,
        }


DEFAULT: Final = DeliveryPolicy()


def of_topic(text: str) -> DeliveryPolicy:
    """The policy of a topic's attribute; empty for the default. Raises BadDeliveryPolicy."""
    if not text:
        return DEFAULT
    http = _object(_document(text).get("http", {}), "http")
    policy = _with_retries(DEFAULT, _object(http.get("defaultHealthyRetryPolicy") or {}, "defaultHealthyRetryPolicy"))
    policy = _with_rest(policy, http, "defaultThrottlePolicy", "defaultRequestPolicy")
    overrides = http.get("disableSubscriptionOverrides", False)
    if not isinstance(overrides, bool):
        raise BadDeliveryPolicy("disableSubscriptionOverrides must be true or false")
    return replace(policy, disables_overrides=overrides)


def of_subscription(text: str, topic: DeliveryPolicy = DEFAULT) -> DeliveryPolicy:
    """The policy of a subscription's attribute, over that of its topic. Raises BadDeliveryPolicy."""
    if not text:
        return topic
    document = _document(text)
    base = topic
    if document.get("healthyRetryPolicy"):
        retries = {
            field.name: getattr(DEFAULT, field.name) for field in fields(topic) if field.name in _MEMBERS.values()
        }
        base = replace(topic, **retries)
    policy = _with_retries(base, _object(document.get("healthyRetryPolicy") or {}, "healthyRetryPolicy"))
    policy = _with_rest(policy, document, "throttlePolicy", "requestPolicy")
    return topic if topic.disables_overrides else policy


def _document(text: str) -> Mapping[str, Any]:
    try:
        return _object(json.loads(text), "DeliveryPolicy")
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadDeliveryPolicy):
            raise
        raise BadDeliveryPolicy("failed to parse JSON.") from None


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadDeliveryPolicy(f"{name} must be a JSON object")
    return value


def _with_retries(policy: DeliveryPolicy, given: Mapping[str, Any]) -> DeliveryPolicy:
    changes: dict[str, Any] = {}
    for name, value in given.items():
        member = _MEMBERS.get(name)
        if member is None:
            raise BadDeliveryPolicy(f"Unexpected JSON member: {name}")
        if name == "backoffFunction":
            if value not in BACK_OFF:
                raise BadDeliveryPolicy(f"backoffFunction must be one of {', '.join(BACK_OFF)}")
        elif value is None:
            continue
        elif isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise BadDeliveryPolicy(f"{name} must be a whole number")
        changes[member] = value
    policy = replace(policy, **changes)
    if policy.retries > 100:
        raise BadDeliveryPolicy("numRetries must be less than or equal to 100")
    if not 1 <= policy.min_delay_s <= policy.max_delay_s <= MAX_TOTAL_S:
        raise BadDeliveryPolicy("maxDelayTarget must be greater than or equal to minDelayTarget")
    if policy.no_delay_retries + policy.min_delay_retries + policy.max_delay_retries > policy.retries:
        raise BadDeliveryPolicy("numRetries must be at least the sum of the other numbers of retries")
    total_s = sum(policy.delay_s(retry) or 0.0 for retry in range(1, policy.retries + 1))
    if total_s > MAX_TOTAL_S:
        raise BadDeliveryPolicy(f"All delays together must not exceed {MAX_TOTAL_S} seconds")
    return policy


def _with_rest(policy: DeliveryPolicy, given: Mapping[str, Any], throttle: str, request: str) -> DeliveryPolicy:
    rate = _object(given.get(throttle) or {}, throttle).get("maxReceivesPerSecond")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int) or rate < 1):
        raise BadDeliveryPolicy("maxReceivesPerSecond must be greater than or equal to 1")
    content_type = _object(given.get(request) or {}, request).get("headerContentType")
    if content_type is not None and (
        not isinstance(content_type, str)
        or not 0 < len(content_type) <= 100
        or not (content_type.isascii() and content_type.isprintable())
    ):
        raise BadDeliveryPolicy("headerContentType is not a content type")
    if rate is not None:
        policy = replace(policy, max_per_second=rate)
    return replace(policy, content_type=content_type) if content_type is not None else policy
