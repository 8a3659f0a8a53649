"""Attributes of topics and subscriptions: what may be set, and what is shown.

Texts of errors are AWS's where they were recorded. The attributes of a creation are refused with `Attributes Reason:`
before the text, those that are set later without.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from lambdad.domain import delivery_policies
from lambdad.domain.delivery_policies import BadDeliveryPolicy
from lambdad.domain.errors import ServiceError
from lambdad.domain.filter_policies import MESSAGE_ATTRIBUTES, SCOPES, BadFilterPolicy, compile_policy
from lambdad.domain.queues import parse_queue_arn
from lambdad.domain.topics import HTTP_PROTOCOLS, Subscription, Topic
from lambdad.neighbours.sns import policy
from lambdad.neighbours.sns.errors import invalid_parameter

_CREATION: Final = "Attributes Reason: "
_FEEDBACK: Final = ("HTTP", "SQS", "Lambda", "Firehose", "Application")
_SURROGATE = re.compile("[\ud800-\udfff]")
_FIFO_ONLY: Final = ("ContentBasedDeduplication", "FifoThroughputScope", "ArchivePolicy")
_RAW_PROTOCOLS: Final = (*HTTP_PROTOCOLS, "sqs", "firehose")

Check = Callable[[str], str | None]
"""What is wrong with the value of an attribute; None when nothing is."""


# --- topics ---


def check_topic_attributes(given: Mapping[str, str], *, is_fifo: bool, is_new: bool) -> dict[str, str]:
    """The attributes as they are kept; an empty text takes one away. Raises InvalidParameter."""
    before = _CREATION if is_new else ""
    kept: dict[str, str] = {}
    for name, value in given.items():
        if name == "FifoTopic" and is_new:
            continue  # the name of the topic says it too
        check = _TOPIC_CHECKS.get(name)
        if check is None or _SURROGATE.search(value):
            raise invalid_parameter(f"{before}AttributeName" if check is None else f"{before}{name}")
        if name in _FIFO_ONLY and not is_fifo:
            raise invalid_parameter(f"{before}{name} is only supported for FIFO topics")
        reason = check(value) if value else None
        if reason is not None:
            raise invalid_parameter(f"{before}{reason}")
        kept[name] = value
    return kept


def render_topic(topic: Topic, confirmed: int, pending: int) -> dict[str, str]:
    """What GetTopicAttributes shows."""
    shown = {
        "TopicArn": topic.arn,
        "Owner": topic.address.account,
        "DisplayName": "",
        "Policy": policy.default_policy(topic.address),
        "EffectiveDeliveryPolicy": _compact(
            delivery_policies.of_topic(topic.attributes.get("DeliveryPolicy", "")).document()
        ),
        "SubscriptionsConfirmed": str(confirmed),
        "SubscriptionsPending": str(pending),
        "SubscriptionsDeleted": str(topic.unsubscribed),
    }
    if topic.is_fifo:
        shown |= {"FifoTopic": "true", "ContentBasedDeduplication": "false"}
    return {**shown, **topic.attributes}


def _one_of(name: str, *choices: str) -> Check:
    return lambda value: None if value in choices else f"{name} Reason: must be one of {', '.join(choices)}"


def _between(name: str, low: int, high: int) -> Check:
    def check(value: str) -> str | None:
        good = value.isascii() and value.isdigit() and low <= int(value[:12]) <= high
        return None if good else f"{name} Reason: must be between {low} and {high}"

    return check


def _check_delivery_policy(value: str) -> str | None:
    try:
        delivery_policies.of_topic(value)
    except BadDeliveryPolicy as error:
        return f"DeliveryPolicy: {error}"
    return None


def _any_text(_: str) -> str | None:
    return None


_TOPIC_CHECKS: Final[dict[str, Check]] = {
    "DisplayName": lambda value: None if len(value) <= 100 else "DisplayName",
    "Policy": lambda value: None if policy.check_document(value) else "Policy Error: null",
    "DeliveryPolicy": _check_delivery_policy,
    "KmsMasterKeyId": _any_text,
    "SignatureVersion": _one_of("SignatureVersion", "1", "2"),
    "TracingConfig": _one_of("TracingConfig", "PassThrough", "Active"),
    "MaximumMessageSize": _between("MaximumMessageSize", 1024, 1_048_576),
    "ContentBasedDeduplication": _one_of("ContentBasedDeduplication", "true", "false"),
    "FifoThroughputScope": _one_of("FifoThroughputScope", "Topic", "MessageGroup"),
    "ArchivePolicy": lambda _: "ArchivePolicy Reason: lambdad keeps no archive of published messages",
    **{f"{protocol}SuccessFeedbackRoleArn": _any_text for protocol in _FEEDBACK},
    **{f"{protocol}FailureFeedbackRoleArn": _any_text for protocol in _FEEDBACK},
    **{
        f"{protocol}SuccessFeedbackSampleRate": _between(f"{protocol}SuccessFeedbackSampleRate", 0, 100)
        for protocol in _FEEDBACK
    },
}


# --- subscriptions ---


def check_subscription_attributes(
    given: Mapping[str, str],
    *,
    topic: Topic,
    protocol: str,
    endpoint: str,
    kept: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The attributes of a subscription with the given ones put over `kept` (None: it is new).

    An empty text, and an empty object where one is asked for, takes an attribute away. Raises InvalidParameter.
    """
    before = _CREATION if kept is None else ""
    attributes = dict(kept or {})
    for name, value in given.items():
        check = _SUBSCRIPTION_CHECKS.get(name)
        if check is None or _SURROGATE.search(value):
            raise invalid_parameter(f"{before}AttributeName" if check is None else f"{before}{name}")
        reason = check(value, topic, protocol, endpoint) if value else None
        if reason is not None:
            raise invalid_parameter(f"{before}{reason}")
        if not value or (name in _OBJECTS and json.loads(value) == {}):
            attributes.pop(name, None)
        else:
            attributes[name] = value.lower() if name == "RawMessageDelivery" else value
    _check_filter(attributes, before, "FilterPolicy" if "FilterPolicy" in given else "FilterPolicyScope")
    return attributes


def _check_filter(attributes: Mapping[str, str], before: str, name: str) -> None:
    if "FilterPolicy" not in attributes:
        return
    try:
        compile_policy(attributes["FilterPolicy"], attributes.get("FilterPolicyScope", MESSAGE_ATTRIBUTES))
    except BadFilterPolicy as error:
        raise invalid_parameter(f"{before}{name}: {error}") from None


def render_subscription(subscription: Subscription, topic_delivery_policy: str) -> dict[str, str]:
    """What GetSubscriptionAttributes shows."""
    shown = {
        "SubscriptionArn": subscription.arn,
        "TopicArn": subscription.topic.arn,
        "Protocol": subscription.protocol,
        "Endpoint": subscription.endpoint,
        "Owner": subscription.owner,
        "SubscriptionPrincipal": subscription.principal,
        "ConfirmationWasAuthenticated": _boolean_text(subscription.was_authenticated),
        "PendingConfirmation": _boolean_text(not subscription.is_confirmed),
        "RawMessageDelivery": "false",
    }
    attributes = dict(subscription.attributes)
    if "FilterPolicy" in attributes:
        attributes.setdefault("FilterPolicyScope", MESSAGE_ATTRIBUTES)
    if subscription.protocol in HTTP_PROTOCOLS:
        in_force = effective_policy(subscription, topic_delivery_policy)
        shown["EffectiveDeliveryPolicy"] = _compact(in_force.subscription_document())
    return {**shown, **attributes}


def effective_policy(subscription: Subscription, topic_delivery_policy: str) -> delivery_policies.DeliveryPolicy:
    """The delivery policy in force for a subscription; the arguments were checked when they were set."""
    return delivery_policies.of_subscription(
        subscription.attributes.get("DeliveryPolicy", ""), delivery_policies.of_topic(topic_delivery_policy)
    )


def difference(existing: Subscription, wanted: Mapping[str, str], given: Mapping[str, str]) -> bool:
    """Whether an existing subscription has other values of the given attributes."""
    return any(_value(existing.attributes, name) != _value(wanted, name) for name in given)


def _value(attributes: Mapping[str, str], name: str) -> str | None:
    default = {"RawMessageDelivery": "false", "FilterPolicyScope": MESSAGE_ATTRIBUTES}.get(name)
    return attributes.get(name, default)


def dead_letter_arn(subscription: Subscription) -> str | None:
    """The queue that gets what cannot be delivered."""
    text = subscription.attributes.get("RedrivePolicy")
    if not text:
        return None
    arn: str = json.loads(text)["deadLetterTargetArn"]
    return arn


SubscriptionCheck = Callable[[str, Topic, str, str], str | None]
"""Takes value, topic, protocol and endpoint; what is wrong, or None."""


def _check_policy_text(value: str, _: Topic, __: str, ___: str) -> str | None:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return "FilterPolicy: failed to parse JSON."
    return None  # its rules are checked together with the scope


def _check_scope(value: str, _: Topic, __: str, ___: str) -> str | None:
    if value in SCOPES:
        return None
    return f"FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or MessageAttributes"


def _check_raw(value: str, _: Topic, protocol: str, __: str) -> str | None:
    if value.lower() not in ("true", "false"):
        return f"RawMessageDelivery: Invalid value [{value}]. Must be true or false."
    if value.lower() == "true" and protocol not in _RAW_PROTOCOLS:
        return f"Delivery protocol [{protocol}] does not support raw message delivery."
    return None


def _check_redrive(value: str, topic: Topic, _: str, endpoint: str) -> str | None:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return "RedrivePolicy: failed to parse JSON."
    if not document:
        return None
    arn = document.get("deadLetterTargetArn")
    target = parse_queue_arn(arn) if isinstance(arn, str) else None
    if target is None:
        return "RedrivePolicy: deadLetterTargetArn is an invalid arn"
    if topic.is_fifo and endpoint.endswith(".fifo") and not target.name.endswith(".fifo"):
        return "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."
    return None


def _check_subscription_delivery(value: str, _: Topic, protocol: str, __: str) -> str | None:
    if protocol not in HTTP_PROTOCOLS:
        return f"DeliveryPolicy: Delivery protocol [{protocol}] does not support delivery policies."
    try:
        delivery_policies.of_subscription(value)
    except BadDeliveryPolicy as error:
        return f"DeliveryPolicy: {error}"
    return None


def _any_role(_: str, __: Topic, ___: str, ____: str) -> str | None:
    return None


def _no_replay(_: str, __: Topic, ___: str, ____: str) -> str | None:
    return "ReplayPolicy: lambdad keeps no archive of published messages"


_SUBSCRIPTION_CHECKS: Final[dict[str, SubscriptionCheck]] = {
    "RawMessageDelivery": _check_raw,
    "FilterPolicy": _check_policy_text,
    "FilterPolicyScope": _check_scope,
    "RedrivePolicy": _check_redrive,
    "DeliveryPolicy": _check_subscription_delivery,
    "SubscriptionRoleArn": _any_role,
    "ReplayPolicy": _no_replay,
}
_OBJECTS: Final = ("FilterPolicy", "RedrivePolicy", "DeliveryPolicy")


def tag_limit_exceeded() -> ServiceError:
    return ServiceError("TagLimitExceededException", "Could not complete request: tag quota of per resource exceeded")


def _boolean_text(value: bool) -> str:
    return "true" if value else "false"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
