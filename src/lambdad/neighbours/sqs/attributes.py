"""Queue attributes: from the texts of a request to settings, and from settings to texts.

Bounds are those of the SQS API reference, the texts of errors were recorded from AWS where they are known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from lambdad.domain.errors import ServiceError
from lambdad.domain.queues import (
    MAX_MESSAGE_BYTES,
    MAX_VISIBILITY_S,
    Queue,
    QueueCounts,
    QueueSettings,
    RedriveAllowPolicy,
    RedrivePolicy,
    parse_queue_arn,
)
from lambdad.neighbours.sqs.errors import invalid_attribute, invalid_value, unknown_attribute

_NUMBERS: Final[dict[str, tuple[str, int, int]]] = {
    "VisibilityTimeout": ("visibility_timeout_s", 0, MAX_VISIBILITY_S),
    "MaximumMessageSize": ("maximum_message_size", 1024, MAX_MESSAGE_BYTES),
    "MessageRetentionPeriod": ("retention_s", 60, 1_209_600),
    "DelaySeconds": ("delay_s", 0, 900),
    "ReceiveMessageWaitTimeSeconds": ("wait_s", 0, 20),
    "KmsDataKeyReusePeriodSeconds": ("kms_reuse_s", 60, 86_400),
}
_FIFO_ONLY: Final = ("FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
_READ_ONLY: Final = (
    "QueueArn", "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed", "CreatedTimestamp", "LastModifiedTimestamp",
)  # fmt: skip
_SETTABLE: Final = (
    "VisibilityTimeout", "MaximumMessageSize", "MessageRetentionPeriod", "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds", "Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds", *_FIFO_ONLY, "SqsManagedSseEnabled",
)  # fmt: skip
NAMES: Final = (*_READ_ONLY, *_SETTABLE)
"""Every attribute, in the order of AWS's answer to `All` (recorded 2025-11 for those of a new standard queue)."""


_SURROGATE = re.compile("[\ud800-\udfff]")


def apply(settings: QueueSettings, given: Mapping[str, str], *, is_new: bool = False) -> QueueSettings:
    """The settings with the given attributes put over them. `is_new`: of a queue that is being created.

    Raises InvalidAttributeName and InvalidAttributeValue; InvalidParameterValue for policies that are no policies.
    """
    if is_new and given.get("FifoQueue") == "true":
        settings = replace(settings, is_fifo=True)
    for name, text in given.items():
        if name not in _SETTABLE or (name in _FIFO_ONLY and not settings.is_fifo):
            raise unknown_attribute(name)
        if _SURROGATE.search(text):  # nothing that UTF-8 cannot hold gets into the store
            raise invalid_attribute(name)
        settings = _SETTERS[name](settings, name, text)
    if settings.throughput_limit == "perMessageGroupId" and settings.deduplication_scope != "messageGroup":
        raise invalid_attribute(
            "FifoThroughputLimit",
            "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.",
        )
    return settings


def difference(existing: QueueSettings, given: Mapping[str, str], wanted: QueueSettings) -> str | None:
    """The first given attribute that an existing queue has another value of."""
    ours, theirs = _texts(existing), _texts(wanted)
    return next((name for name in given if ours.get(name) != theirs.get(name)), None)


def render(queue: Queue, counts: QueueCounts, names: Collection[str]) -> dict[str, str]:
    """The attributes of these names (`All` for every one), those that the queue has not set left out."""
    values = {
        "QueueArn": queue.arn,
        "ApproximateNumberOfMessages": str(counts.visible),
        "ApproximateNumberOfMessagesNotVisible": str(counts.in_flight),
        "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
        "CreatedTimestamp": str(queue.created_ms // 1000),
        "LastModifiedTimestamp": str(queue.modified_ms // 1000),
        **_texts(queue.settings),
    }
    return values if "All" in names else {name: values[name] for name in values if name in names}


def check_names(names: Collection[str]) -> None:
    """Raises InvalidAttributeName for a name that no queue attribute has."""
    for name in names:
        if name != "All" and name not in NAMES:
            raise unknown_attribute(name)


def _texts(settings: QueueSettings) -> dict[str, str]:
    values = {
        "VisibilityTimeout": str(settings.visibility_timeout_s),
        "MaximumMessageSize": str(settings.maximum_message_size),
        "MessageRetentionPeriod": str(settings.retention_s),
        "DelaySeconds": str(settings.delay_s),
        "ReceiveMessageWaitTimeSeconds": str(settings.wait_s),
    }
    if settings.policy:
        values["Policy"] = settings.policy
    if settings.redrive is not None:
        values["RedrivePolicy"] = _compact(
            {"deadLetterTargetArn": settings.redrive.dead_letter_arn, "maxReceiveCount": settings.redrive.max_receives}
        )
    if settings.redrive_allow is not None:
        allow: dict[str, Any] = {"redrivePermission": settings.redrive_allow.permission}
        if settings.redrive_allow.source_arns:
            allow["sourceQueueArns"] = list(settings.redrive_allow.source_arns)
        values["RedriveAllowPolicy"] = _compact(allow)
    if settings.kms_key:
        values["KmsMasterKeyId"] = settings.kms_key
        values["KmsDataKeyReusePeriodSeconds"] = str(settings.kms_reuse_s)
    if settings.is_fifo:
        values["FifoQueue"] = "true"
        values["ContentBasedDeduplication"] = _boolean_text(settings.content_based_deduplication)
        values["DeduplicationScope"] = settings.deduplication_scope
        values["FifoThroughputLimit"] = settings.throughput_limit
    values["SqsManagedSseEnabled"] = _boolean_text(settings.managed_sse)
    return values


# --- one attribute each ---


def _set_number(settings: QueueSettings, name: str, text: str) -> QueueSettings:
    member, low, high = _NUMBERS[name]
    value = _whole(text)
    if value is None or not low <= value <= high:
        raise invalid_attribute(name)
    change: dict[str, Any] = {member: value}
    return replace(settings, **change)


def _set_policy(settings: QueueSettings, name: str, text: str) -> QueueSettings:
    if text and not isinstance(_json(text), dict):
        raise invalid_attribute(name)
    return replace(settings, policy=text)


def _set_redrive(settings: QueueSettings, name: str, text: str) -> QueueSettings:
    if not text:
        return replace(settings, redrive=None)
    document = _json(text)
    if not isinstance(document, dict):
        raise invalid_value(text, name, "Redrive policy is not a valid JSON map.")
    if not document:
        return replace(settings, redrive=None)
    for key in document:
        if key not in ("deadLetterTargetArn", "maxReceiveCount"):
            raise invalid_value(text, name, f"Redrive policy contains unknown attribute: {key}.")
    arn, count = document.get("deadLetterTargetArn"), document.get("maxReceiveCount")
    for key, value in (("deadLetterTargetArn", arn), ("maxReceiveCount", count)):
        if value is None:
            raise invalid_value(text, name, f"Redrive policy does not contain mandatory attribute: {key}.")
    max_receives = _whole(count)
    if max_receives is None or not 1 <= max_receives <= 1000:
        raise invalid_value(
            text, name, f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive."
        )
    if not isinstance(arn, str) or parse_queue_arn(arn) is None:
        raise invalid_value(text, name, "Invalid value for deadLetterTargetArn.")
    return replace(settings, redrive=RedrivePolicy(dead_letter_arn=arn, max_receives=max_receives))


def _set_redrive_allow(settings: QueueSettings, name: str, text: str) -> QueueSettings:
    if not text:
        return replace(settings, redrive_allow=None)
    document = _json(text)
    if not isinstance(document, dict):
        raise invalid_value(text, name, "Amazon SQS can't create the redrive allow policy, as it's not a JSON map.")
    permission = document.get("redrivePermission", "allowAll")
    arns = document.get("sourceQueueArns", [])
    if permission not in ("allowAll", "denyAll", "byQueue"):
        raise invalid_value(text, name, f"Invalid value for redrivePermission: {permission}.")
    if not isinstance(arns, list) or not all(isinstance(arn, str) and parse_queue_arn(arn) for arn in arns):
        raise invalid_value(text, name, "Invalid value for sourceQueueArns.")
    if (permission == "byQueue") != bool(arns) or len(arns) > 10:
        raise invalid_value(text, name, "byQueue takes 1 to 10 sourceQueueArns, other permissions none.")
    return replace(settings, redrive_allow=RedriveAllowPolicy(permission=permission, source_arns=tuple(arns)))


def _set_kms_key(settings: QueueSettings, _: str, text: str) -> QueueSettings:
    # Only one of the two ways to encrypt is in force (SQS API reference).
    return replace(settings, kms_key=text, managed_sse=settings.managed_sse and not text)


def _set_managed_sse(settings: QueueSettings, name: str, text: str) -> QueueSettings:
    enabled = _boolean(name, text)
    return replace(settings, managed_sse=enabled, kms_key="" if enabled else settings.kms_key)


def _set_fifo(settings: QueueSettings, name: str, text: str) -> QueueSettings:
    if not _boolean(name, text):
        raise invalid_attribute(name, "Modifying queue type is not supported.")
    return settings


def _set_content_deduplication(settings: QueueSettings, name: str, text: str) -> QueueSettings:
    return replace(settings, content_based_deduplication=_boolean(name, text))


def _set_scope(settings: QueueSettings, name: str, text: str) -> QueueSettings:
    return replace(settings, deduplication_scope=_choice(name, text, ("queue", "messageGroup")))


def _set_throughput(settings: QueueSettings, name: str, text: str) -> QueueSettings:
    return replace(settings, throughput_limit=_choice(name, text, ("perQueue", "perMessageGroupId")))


_SETTERS: Final[dict[str, Callable[[QueueSettings, str, str], QueueSettings]]] = {
    **dict.fromkeys(_NUMBERS, _set_number),
    "Policy": _set_policy,
    "RedrivePolicy": _set_redrive,
    "RedriveAllowPolicy": _set_redrive_allow,
    "KmsMasterKeyId": _set_kms_key,
    "SqsManagedSseEnabled": _set_managed_sse,
    "FifoQueue": _set_fifo,
    "ContentBasedDeduplication": _set_content_deduplication,
    "DeduplicationScope": _set_scope,
    "FifoThroughputLimit": _set_throughput,
}


def _boolean(name: str, text: str) -> bool:
    return _choice(name, text.lower(), ("true", "false")) == "true"


def _choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise invalid_attribute(name)
    return text


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _boolean_text(value: bool) -> str:
    return "true" if value else "false"


def check_dead_letter_queue(queue_arn: str, settings: QueueSettings, target: Queue | None) -> None:
    """Whether a queue may have this target as its dead-letter queue. Raises InvalidParameterValue."""
    assert settings.redrive is not None
    text = _texts(settings)["RedrivePolicy"]

    def refused(reason: str) -> ServiceError:
        return invalid_value(text, "RedrivePolicy", reason)

    if target is None:
        raise refused("Dead letter target does not exist.")
    own = parse_queue_arn(queue_arn)
    assert own is not None
    if own.account != target.address.account:
        raise refused("Dead-letter target owner should be same as the source.")
    if own.region != target.address.region:
        raise refused("Dead-letter target must be in same region as the source.")
    if settings.is_fifo != target.settings.is_fifo:
        raise refused("Dead-letter queue must be same type of queue as the source.")
    allow = target.settings.redrive_allow
    if allow is not None and not allow.allows(queue_arn):
        raise refused("The redrive allow policy of the dead-letter queue does not permit this source queue.")
