"""Event source mappings: which source feeds which function, with what settings, and the states of a mapping."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from lambdad.domain.arns import FunctionReference, function_arn
from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.queues import FIFO_SUFFIX

MAX_PAYLOAD_BYTES: Final = 6 * 1024 * 1024
"""Of the event with all records of a batch (AWS Lambda quotas)."""
REPORT_ITEM_FAILURES: Final = "ReportBatchItemFailures"
FOREVER: Final = -1
"""Of MaximumRetryAttempts and MaximumRecordAgeInSeconds: no limit."""


class SourceKind(StrEnum):
    """The services that this server reads."""

    SQS = "sqs"
    KINESIS = "kinesis"
    DYNAMODB = "dynamodb"

    @property
    def is_stream(self) -> bool:
        return self is not SourceKind.SQS


class MappingState(StrEnum):
    """AWS's words for what a mapping is doing."""

    CREATING = "Creating"
    ENABLING = "Enabling"
    ENABLED = "Enabled"
    DISABLING = "Disabling"
    DISABLED = "Disabled"
    UPDATING = "Updating"
    DELETING = "Deleting"

    @property
    def is_settled(self) -> bool:
        return self in (MappingState.ENABLED, MappingState.DISABLED)


class LastResult:
    """The words of LastProcessingResult, which mappings of streams have. Those of a stream that is gone are ours."""

    NONE = "No records processed"
    OK = "OK"
    FAILED = "PROBLEM: Function call failed"
    NOT_FOUND = "PROBLEM: Stream not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """What users set. What a kind of source does not have keeps its default and is not shown."""

    batch_size: int
    batching_window_s: int = 0
    filters: tuple[str, ...] = ()
    """Patterns, as JSON texts."""
    response_types: tuple[str, ...] = ()
    maximum_concurrency: int | None = None
    metrics: tuple[str, ...] | None = None
    log_level: str | None = None
    kms_key_arn: str | None = None
    on_failure: str | None = None
    starting_position: str | None = None
    starting_timestamp: datetime | None = None
    parallelization_factor: int = 1
    maximum_record_age_s: int = FOREVER
    maximum_retry_attempts: int = FOREVER
    bisects: bool = False
    tumbling_window_s: int = 0
    pollers: tuple[int | None, int | None, str | None] | None = None
    """ProvisionedPollerConfig: the least, the most, and the name of their group."""

    @property
    def reports_item_failures(self) -> bool:
        return REPORT_ITEM_FAILURES in self.response_types

    @property
    def counts_events(self) -> bool:
        return "EventCount" in (self.metrics or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSourceMapping:
    """A mapping as it is stored."""

    uuid: str
    account: str
    region: str
    source_arn: str
    function: FunctionReference
    settings: MappingSettings
    state: MappingState
    is_enabled: bool
    """Where it is once it is settled."""
    last_modified: datetime
    last_result: str = LastResult.NONE
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:event-source-mapping:{self.uuid}"

    @property
    def function_arn(self) -> str:
        """With the qualifier that the mapping was made with, if there was one."""
        return function_arn(self.region, self.account, self.function.name, self.function.qualifier)

    @property
    def kind(self) -> SourceKind:
        kind = kind_of(self.source_arn)
        assert kind is not None
        return kind

    @property
    def is_fifo(self) -> bool:
        return self.kind is SourceKind.SQS and self.source_arn.endswith(FIFO_SUFFIX)


def kind_of(source_arn: str) -> SourceKind | None:
    """The kind of a source; None for one that this server does not read."""
    parts = source_arn.split(":", 5)
    if len(parts) != 6:
        return None
    service, resource = parts[2], parts[5]
    if service == "sqs" and resource and ":" not in resource:
        return SourceKind.SQS
    if service == "kinesis" and resource.startswith("stream/"):
        return SourceKind.KINESIS
    if service == "dynamodb" and resource.startswith("table/") and "/stream/" in resource:
        return SourceKind.DYNAMODB
    return None


def require_kind(source_arn: str | None, *, is_self_managed: bool) -> SourceKind:
    """The kind of a new mapping's source. Raises InvalidParameterValue (AWS: recorded for no source at all)."""
    if is_self_managed:
        raise _not_offered("Self-managed Apache Kafka")
    if not source_arn:
        raise InvalidParameterValue("Unrecognized event source.")
    kind = kind_of(source_arn)
    if kind is None:
        service = source_arn.split(":")[2]
        raise _not_offered(_ELSEWHERE.get(service, service or "This ARN"))
    return kind


_ELSEWHERE: Final = {"kafka": "Amazon MSK", "mq": "Amazon MQ", "rds": "Amazon DocumentDB"}


def _not_offered(name: str) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"Unrecognized event source. {name} is not a source that this server reads; it reads Amazon SQS queues, "
        "Kinesis data streams and DynamoDB streams."
    )


# --- states ---

SETTLES_IN: Final[dict[MappingState, MappingState | None]] = {
    MappingState.CREATING: MappingState.ENABLED,
    MappingState.ENABLING: MappingState.ENABLED,
    MappingState.DISABLING: MappingState.DISABLED,
    MappingState.DELETING: None,
}
"""Where a transition ends; None is the end of the mapping. An update ends where the mapping was, or is to be."""


def settled_state(mapping: EventSourceMapping) -> MappingState | None:
    """The state after the transition that the mapping is in; None when it is to be removed."""
    if mapping.state is MappingState.UPDATING:
        return MappingState.ENABLED if mapping.is_enabled else MappingState.DISABLED
    return SETTLES_IN.get(mapping.state, mapping.state)


def state_after_update(*, was_enabled: bool, is_enabled: bool) -> MappingState:
    """What an update begins."""
    if was_enabled == is_enabled:
        return MappingState.UPDATING
    return MappingState.ENABLING if is_enabled else MappingState.DISABLING
