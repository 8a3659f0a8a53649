"""Which settings a mapping can have: defaults by kind of source, and checks in AWS's order and words.

Texts are AWS's as far as they were recorded or are known from reports of users; where neither is so, the text is ours
and says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.mapping_filters import compile_filter
from lambdad.domain.mappings import FOREVER, MappingSettings, SourceKind
from lambdad.domain.queues import FIFO_SUFFIX

DEFAULT_BATCH_SIZE: Final = {SourceKind.SQS: 10, SourceKind.KINESIS: 100, SourceKind.DYNAMODB: 100}
FIFO_BATCH_SIZE: Final = 10
BATCH_WITHOUT_WINDOW: Final = 10
MAX_FILTERS: Final = 10
"""Five, or ten on request (AWS Lambda quotas)."""
SHORTEST_RECORD_AGE_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChange:
    """What a call gives; None where it says nothing."""

    batch_size: int | None = None
    batching_window_s: int | None = None
    filters: tuple[str | None, ...] | None = None
    """Empty to take them away; None in place of a pattern that was left out."""
    response_types: tuple[str, ...] | None = None
    scaling: Mapping[str, Any] | None = None
    """ScalingConfig; without MaximumConcurrency it takes the limit away."""
    metrics: tuple[str, ...] | None = None
    log_level: str | None = None
    kms_key_arn: str | None = None
    destinations: Mapping[str, Any] | None = None
    """DestinationConfig."""
    starting_position: str | None = None
    starting_timestamp: datetime | None = None
    parallelization_factor: int | None = None
    maximum_record_age_s: int | None = None
    maximum_retry_attempts: int | None = None
    bisects: bool | None = None
    tumbling_window_s: int | None = None
    pollers: Mapping[str, Any] | None = None
    """ProvisionedPollerConfig."""
    others: Sequence[str] = ()
    """Names of given parameters that no kind of source here has."""


def check_before_source(change: SettingsChange, *, is_self_managed: bool) -> None:
    """What is wrong with a new mapping whatever its source is, which AWS says first. Raises InvalidParameterValue."""
    _refuse_success(change.destinations)
    if is_self_managed and "SourceAccessConfigurations" not in change.others:
        raise InvalidParameterValue("Required 'sourceAccessConfigurations' parameter is missing.")


def new_settings(kind: SourceKind, source_arn: str, change: SettingsChange) -> MappingSettings:
    """The settings of a new mapping. Raises InvalidParameterValue."""
    _check_destinations(kind, change)
    if kind.is_stream:
        _check_starting_position(kind, source_arn, change)
    elif change.starting_position is not None:
        raise InvalidParameterValue("StartingPosition is not valid for SQS event sources.")
    start = MappingSettings(
        batch_size=DEFAULT_BATCH_SIZE[kind],
        starting_position=change.starting_position,
        starting_timestamp=change.starting_timestamp,
    )
    return changed_settings(kind, start, change, is_fifo=source_arn.endswith(FIFO_SUFFIX))


def changed_settings(
    kind: SourceKind, settings: MappingSettings, change: SettingsChange, *, is_fifo: bool
) -> MappingSettings:
    """The settings after an update. Raises InvalidParameterValue."""
    _check_destinations(kind, change)
    _check_parameters(kind, change)
    wanted = replace(
        settings,
        batch_size=_kept(change.batch_size, settings.batch_size),
        batching_window_s=_kept(change.batching_window_s, settings.batching_window_s),
        filters=settings.filters if change.filters is None else _filters(change.filters),
        response_types=_kept(change.response_types, settings.response_types),
        maximum_concurrency=settings.maximum_concurrency
        if change.scaling is None
        else change.scaling.get("MaximumConcurrency"),
        metrics=_kept(change.metrics, settings.metrics),
        log_level=_kept(change.log_level, settings.log_level),
        kms_key_arn=settings.kms_key_arn if change.kms_key_arn is None else change.kms_key_arn or None,
        on_failure=settings.on_failure if change.destinations is None else _on_failure(change.destinations),
        parallelization_factor=_kept(change.parallelization_factor, settings.parallelization_factor),
        maximum_record_age_s=_kept(change.maximum_record_age_s, settings.maximum_record_age_s),
        maximum_retry_attempts=_kept(change.maximum_retry_attempts, settings.maximum_retry_attempts),
        bisects=_kept(change.bisects, settings.bisects),
        tumbling_window_s=_kept(change.tumbling_window_s, settings.tumbling_window_s),
        pollers=settings.pollers if change.pollers is None else _pollers(change.pollers),
    )
    _check_batches(kind, wanted, is_fifo=is_fifo)
    _check_limits(wanted)
    return wanted


def _kept(given: Any, current: Any) -> Any:
    return current if given is None else given


def _on_failure(destinations: Mapping[str, Any]) -> str | None:
    return (destinations.get("OnFailure") or {}).get("Destination") or None


def _pollers(config: Mapping[str, Any]) -> tuple[int | None, int | None, str | None] | None:
    if not config:
        return None
    return config.get("MinimumPollers"), config.get("MaximumPollers"), config.get("PollerGroupName")


def _filters(given: Sequence[str | None]) -> tuple[str, ...]:
    if len(given) > MAX_FILTERS:
        raise InvalidParameterValue(f"A mapping can have {MAX_FILTERS} filters, not {len(given)}.")
    for pattern in given:
        compile_filter(pattern or "")
    return tuple(pattern for pattern in given if pattern is not None)


# --- checks ---


def _check_destinations(kind: SourceKind, change: SettingsChange) -> None:
    destinations = change.destinations
    if not destinations:
        return
    _refuse_success(destinations)
    arn = _on_failure(destinations)
    if arn is None:
        return
    if not kind.is_stream:
        raise _unsupported("DestinationConfig")
    service = arn.split(":")[2] if arn.count(":") >= 5 else ""
    if service not in ("sqs", "sns", "s3") or arn.endswith(".fifo"):
        raise InvalidParameterValue(
            f"The provided destination {arn} is not supported. Failed batches can go to a standard SQS queue, a "
            "standard SNS topic or an S3 bucket."
        )


def _refuse_success(destinations: Mapping[str, Any] | None) -> None:
    if destinations and (destinations.get("OnSuccess") or {}).get("Destination"):
        raise _unsupported("DestinationConfig")


def _check_starting_position(kind: SourceKind, source_arn: str, change: SettingsChange) -> None:
    position = change.starting_position
    if position is None:
        raise InvalidParameterValue(
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
            "Member must not be null."
        )
    if position == "AT_TIMESTAMP":
        if kind is SourceKind.DYNAMODB:
            raise InvalidParameterValue(f"Unsupported starting position for arn type: {source_arn}")
        if change.starting_timestamp is None:
            raise InvalidParameterValue(
                "StartingPositionTimestamp is required when StartingPosition is set to AT_TIMESTAMP."
            )
    elif change.starting_timestamp is not None:
        raise InvalidParameterValue("StartingPositionTimestamp can only be set for StartingPosition AT_TIMESTAMP.")


def _check_parameters(kind: SourceKind, change: SettingsChange) -> None:
    """Settings of other kinds of sources; those that say nothing but the default are let through."""
    of_streams = {
        "ParallelizationFactor": (change.parallelization_factor, 1),
        "MaximumRecordAgeInSeconds": (change.maximum_record_age_s, FOREVER),
        "MaximumRetryAttempts": (change.maximum_retry_attempts, FOREVER),
        "BisectBatchOnFunctionError": (change.bisects, False),
        "TumblingWindowInSeconds": (change.tumbling_window_s, 0),
    }
    of_queues = {"ScalingConfig": (change.scaling or None, None), "ProvisionedPollerConfig": (change.pollers, None)}
    for name, (given, default) in (of_queues if kind.is_stream else of_streams).items():
        if given is not None and given != default:
            raise _unsupported(name)
    for name in change.others:
        raise _unsupported(name)


def _check_batches(kind: SourceKind, settings: MappingSettings, *, is_fifo: bool) -> None:
    if kind.is_stream:
        return
    if is_fifo:
        if settings.batch_size > FIFO_BATCH_SIZE:
            raise InvalidParameterValue(
                f"The batch size of a FIFO queue can be {FIFO_BATCH_SIZE} at most, not {settings.batch_size}."
            )
        if settings.batching_window_s:
            raise InvalidParameterValue("Batching window is not supported for FIFO queues")
    elif settings.batch_size > BATCH_WITHOUT_WINDOW and not settings.batching_window_s:
        raise InvalidParameterValue(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )
    if settings.maximum_concurrency is not None and settings.pollers is not None:
        raise InvalidParameterValue("ScalingConfig and ProvisionedPollerConfig cannot be set together.")


def _check_limits(settings: MappingSettings) -> None:
    age_s = settings.maximum_record_age_s
    if age_s != FOREVER and age_s < SHORTEST_RECORD_AGE_S:
        raise InvalidParameterValue(
            f"MaximumRecordAgeInSeconds has to be {FOREVER}, for no limit, or {SHORTEST_RECORD_AGE_S} and more."
        )
    if settings.tumbling_window_s and settings.parallelization_factor > 1:
        raise InvalidParameterValue("TumblingWindowInSeconds cannot be used with a ParallelizationFactor beyond 1.")


def _unsupported(name: str) -> InvalidParameterValue:
    """AWS: recorded for DestinationConfig."""
    return InvalidParameterValue(f"Unsupported {name} parameter for given event source mapping type.")
