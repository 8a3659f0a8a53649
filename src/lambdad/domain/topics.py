"""Topics and subscriptions as values: what is published, what is delivered to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from lambdad.domain.queues import MessageAttribute

DEFAULT_MESSAGE_BYTES: Final = 262_144
DEDUPLICATION_MS: Final = 300_000
TOKEN_MS: Final = 172_800_000
"""Confirmation tokens are valid for two days (botocore model)."""
FIFO_SUFFIX: Final = ".fifo"
HTTP_PROTOCOLS: Final = ("http", "https")
PROTOCOLS: Final = (*HTTP_PROTOCOLS, "email", "email-json", "sms", "sqs", "application", "lambda", "firehose")
"""Every protocol of SNS. lambdad delivers to HTTP(S), SQS and Lambda."""
DELIVERED_PROTOCOLS: Final = (*HTTP_PROTOCOLS, "sqs", "lambda")


@dataclass(frozen=True, slots=True)
class TopicAddress:
    """A topic by name."""

    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        return f"arn:aws:sns:{self.region}:{self.account}:{self.name}"


def parse_topic_arn(arn: str) -> TopicAddress | None:
    """The topic of an ARN; None for anything that is not the ARN of a topic."""
    parts = arn.split(":")
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "sns" or not all(parts[3:]) or not arn.isascii():
        return None
    return TopicAddress(account=parts[4], region=parts[3], name=parts[5])


def parse_subscription_arn(arn: str) -> tuple[TopicAddress, str] | None:
    """The topic and the unique part of a subscription's ARN; None for anything else."""
    topic_arn, _, unique = arn.rpartition(":")
    topic = parse_topic_arn(topic_arn)
    return None if topic is None or not unique else (topic, unique)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as it is stored."""

    id: int
    address: TopicAddress
    attributes: Mapping[str, str]
    """Those that were set, by AWS's names."""
    tags: Mapping[str, str]
    created_ms: int
    unsubscribed: int = 0
    """Subscriptions that were deleted."""

    @property
    def arn(self) -> str:
        return self.address.arn

    @property
    def is_fifo(self) -> bool:
        return self.address.name.endswith(FIFO_SUFFIX)

    @property
    def has_content_deduplication(self) -> bool:
        return self.attributes.get("ContentBasedDeduplication") == "true"

    @property
    def deduplicates_by_group(self) -> bool:
        return self.attributes.get("FifoThroughputScope") == "MessageGroup"

    @property
    def max_message_bytes(self) -> int:
        return int(self.attributes.get("MaximumMessageSize") or DEFAULT_MESSAGE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription as it is stored."""

    id: int
    topic: TopicAddress
    unique: str
    """The last part of its ARN, a UUID."""
    protocol: str
    endpoint: str
    owner: str
    principal: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Those that were set, by AWS's names."""
    is_confirmed: bool = True
    was_authenticated: bool = True
    """The confirmation was signed, or none was needed."""
    protects_deletion: bool = False
    """Only signed calls of the owners may unsubscribe."""
    token: str = ""
    created_ms: int = 0
    """From when its token counts."""

    @property
    def arn(self) -> str:
        return f"{self.topic.arn}:{self.unique}"

    @property
    def is_raw(self) -> bool:
        return self.attributes.get("RawMessageDelivery") == "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message as a publisher gave it, not checked yet."""

    message: str
    subject: str | None = None
    structure: str | None = None
    """`json`: the message is an object of texts by protocol."""
    attributes: Mapping[str, MessageAttribute] = field(default_factory=dict)
    group_id: str | None = None
    deduplication_id: str | None = None
    trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A published message on its way to subscribers."""

    message_id: str
    topic: TopicAddress
    texts: Mapping[str, str]
    """By protocol; `default` for all others."""
    subject: str | None
    attributes: Mapping[str, MessageAttribute]
    published: datetime
    signature_version: str = "1"
    group_id: str | None = None
    deduplication_id: str | None = None
    sequence_number: str | None = None
    """Of FIFO topics."""
    trace: str = ""

    def text_for(self, protocol: str) -> str:
        return self.texts.get(protocol, self.texts["default"])


_FIRST_SEQUENCE: Final = 10_000_000_000_000_000_000


def sequence_number(count: int) -> str:
    """The sequence number of the message of a FIFO topic with this count: 20 digits that grow, not one by one."""
    return str(_FIRST_SEQUENCE + count * 1000)
