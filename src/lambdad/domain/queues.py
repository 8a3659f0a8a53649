"""Queues and messages as values: settings with their defaults, what is sent, what is received."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_MESSAGE_BYTES: Final = 1_048_576
"""Of one message with its attributes, and of all messages of a batch (AWS: since August 2025)."""
MAX_VISIBILITY_S: Final = 43_200
MAX_IN_FLIGHT: Final = 120_000
"""Messages of one queue that are received and not deleted yet (SQS quotas)."""
DEDUPLICATION_MS: Final = 300_000
FIFO_SUFFIX: Final = ".fifo"


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """A queue by name."""

    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:{self.region}:{self.account}:{self.name}"


def parse_queue_arn(arn: str) -> QueueAddress | None:
    """The queue of an ARN; None for anything that is not the ARN of a queue."""
    parts = arn.split(":")
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "sqs" or not all(parts[3:]) or not arn.isascii():
        return None
    return QueueAddress(account=parts[4], region=parts[3], name=parts[5])


@dataclass(frozen=True, slots=True, kw_only=True)
class RedrivePolicy:
    """Where messages go that were received too often."""

    dead_letter_arn: str
    max_receives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveAllowPolicy:
    """Which queues may use this one as their dead-letter queue."""

    permission: str = "allowAll"
    """`allowAll`, `denyAll` or `byQueue`."""
    source_arns: tuple[str, ...] = ()

    def allows(self, source_arn: str) -> bool:
        return self.permission == "allowAll" or (self.permission == "byQueue" and source_arn in self.source_arns)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What SetQueueAttributes sets, and the type of the queue. Defaults are those of AWS."""

    visibility_timeout_s: int = 30
    maximum_message_size: int = MAX_MESSAGE_BYTES
    retention_s: int = 345_600
    delay_s: int = 0
    wait_s: int = 0
    policy: str = ""
    """A JSON text; empty for none."""
    redrive: RedrivePolicy | None = None
    redrive_allow: RedriveAllowPolicy | None = None
    kms_key: str = ""
    kms_reuse_s: int = 300
    managed_sse: bool = True
    is_fifo: bool = False
    content_based_deduplication: bool = False
    deduplication_scope: str = "queue"
    """`queue` or `messageGroup`."""
    throughput_limit: str = "perQueue"
    """`perQueue` or `perMessageGroupId`; kept for clients, it limits nothing here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue as it is stored."""

    id: int
    bucket: int
    """Holds the messages. A purge gives the queue a new one, so that it takes no longer for a million messages."""
    address: QueueAddress
    settings: QueueSettings
    tags: Mapping[str, str]
    created_ms: int
    modified_ms: int
    purged_ms: int | None

    @property
    def arn(self) -> str:
        return self.address.arn


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """How many messages a queue has, by state."""

    visible: int = 0
    in_flight: int = 0
    delayed: int = 0


@dataclass(frozen=True, slots=True)
class MessageAttribute:
    """An attribute that the sender gave; one of the two values is set."""

    data_type: str
    """`String`, `Number` or `Binary`, maybe with `.label`."""
    string_value: str | None = None
    binary_value: bytes | None = None


@dataclass(slots=True, kw_only=True)
class NewMessage:
    """A message that passed all checks and is to be stored. Its id and the rest that every message has come later."""

    message_id: str
    body: str
    sender_id: str
    attributes: Mapping[str, MessageAttribute] = field(default_factory=dict)
    trace_header: str | None = None
    group_id: str | None = None
    """Orders the messages of a FIFO queue; on a standard queue only handed on."""
    deduplication_id: str | None = None
    delay_s: int | None = None
    """None for the delay of the queue."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """What became of a sent message."""

    message_id: str
    sequence_number: str | None
    """Of FIFO queues: 20 digits, growing."""
    due_ms: int | None
    """When it can be received at the earliest; None for a duplicate, which is not delivered."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt of one message: later receipts of the same message have another count."""

    bucket: int
    row: int
    receives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """A message as it was handed to a receiver."""

    receipt: Receipt
    message_id: str
    body: str
    attributes: Mapping[str, MessageAttribute]
    sender_id: str
    sent_ms: int
    first_received_ms: int
    receive_count: int
    """Of this receipt, from 1; goes on counting in a dead-letter queue."""
    trace_header: str | None
    group_id: str | None
    deduplication_id: str | None
    sequence_number: str | None
    dead_letter_source_arn: str | None


_FIRST_SEQUENCE: Final = 18_849_496_460_467_696_128


def sequence_number(row: int) -> str:
    """The sequence number of a FIFO message, from the number of its row: 20 digits that grow, not one by one."""
    return str(_FIRST_SEQUENCE + row * 256)


class MoveStatus(StrEnum):
    """The state of a move task. A cancelled one is so at once: its steps are transactions, none is under way then."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTask:
    """A task that moves messages out of a dead-letter queue."""

    id: str
    source_arn: str
    destination_arn: str | None
    """None: each message goes back to the queue that it came from."""
    rate: int | None
    """Messages a second; None for as fast as it goes."""
    status: MoveStatus
    started_ms: int
    to_move: int
    """Messages in the source when the task began."""
    moved: int
    failure: str | None
