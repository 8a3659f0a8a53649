"""Event source mappings on the wire."""

from __future__ import annotations

from typing import Any

from lambdad.control.mappings import CreateMapping, Mappings, UpdateMapping
from lambdad.domain.arns import FunctionReference, parse_function_reference
from lambdad.domain.mapping_rules import SettingsChange
from lambdad.domain.mappings import EventSourceMapping, SourceKind
from lambdad.wire.service import Answer, ApiCall, Handler

_OTHER_SOURCES = (
    "Topics",
    "Queues",
    "SourceAccessConfigurations",
    "AmazonManagedKafkaEventSourceConfig",
    "SelfManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
)
"""Parameters of sources that this server does not read."""
_REASONS = {SourceKind.SQS: "USER_INITIATED", SourceKind.KINESIS: "User action", SourceKind.DYNAMODB: "User action"}


class EventSourceMappingsApi:
    """CreateEventSourceMapping to ListEventSourceMappings."""

    def __init__(self, mappings: Mappings) -> None:
        self._mappings = mappings

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreateEventSourceMapping": self.create,
            "GetEventSourceMapping": self.get,
            "UpdateEventSourceMapping": self.update,
            "DeleteEventSourceMapping": self.delete,
            "ListEventSourceMappings": self.list,
        }

    async def create(self, call: ApiCall) -> Answer:
        params = call.params
        enabled = params.get("Enabled")
        command = CreateMapping(
            account=call.caller.account,
            region=call.caller.region,
            source_arn=params.get("EventSourceArn"),
            function=_function(call, params["FunctionName"]),
            settings=_settings(params),
            is_enabled=enabled is None or enabled,
            is_self_managed=bool(params.get("SelfManagedEventSource")),
            tags=params.get("Tags") or {},
        )
        return Answer(members=show(await self._mappings.create(command)))

    async def get(self, call: ApiCall) -> Answer:
        return Answer(members=show(await self._mappings.find(*_place(call))))

    async def update(self, call: ApiCall) -> Answer:
        params = call.params
        account, region, uuid = _place(call)
        name = params.get("FunctionName")
        command = UpdateMapping(
            account=account,
            region=region,
            uuid=uuid,
            settings=_settings(params),
            function=None if name is None else _function(call, name),
            is_enabled=params.get("Enabled"),
        )
        return Answer(members=show(await self._mappings.update(command)))

    async def delete(self, call: ApiCall) -> Answer:
        return Answer(members=show(await self._mappings.delete(*_place(call))))

    async def list(self, call: ApiCall) -> Answer:
        params = call.params
        name = params.get("FunctionName")
        page = await self._mappings.list(
            call.caller.account,
            call.caller.region,
            source_arn=params.get("EventSourceArn"),
            function=None if name is None else _function(call, name),
            marker=params.get("Marker"),
            max_items=params.get("MaxItems"),
        )
        next_marker = {"NextMarker": page.next_marker} if page.next_marker else {}
        return Answer(members={"EventSourceMappings": [show(mapping) for mapping in page.items], **next_marker})


def show(mapping: EventSourceMapping) -> dict[str, Any]:
    """EventSourceMappingConfiguration, with the members of the kind of source (AWS: recorded 2025-11)."""
    settings = mapping.settings
    shown: dict[str, Any] = {
        "UUID": mapping.uuid,
        "BatchSize": settings.batch_size,
        "MaximumBatchingWindowInSeconds": settings.batching_window_s,
        "EventSourceArn": mapping.source_arn,
        "EventSourceMappingArn": mapping.arn,
        "FunctionArn": mapping.function_arn,
        "FunctionResponseTypes": list(settings.response_types),
        "LastModified": mapping.last_modified,
        "State": mapping.state.value,
        "StateTransitionReason": _REASONS[mapping.kind],
    }
    if mapping.kind.is_stream:
        shown |= _of_streams(mapping)
    if settings.filters:
        shown["FilterCriteria"] = {"Filters": [{"Pattern": pattern} for pattern in settings.filters]}
    if settings.maximum_concurrency is not None:
        shown["ScalingConfig"] = {"MaximumConcurrency": settings.maximum_concurrency}
    if settings.metrics is not None:
        shown["MetricsConfig"] = {"Metrics": list(settings.metrics)}
    if settings.log_level is not None:
        shown["LoggingConfig"] = {"SystemLogLevel": settings.log_level}
    if settings.kms_key_arn is not None:
        shown["KMSKeyArn"] = settings.kms_key_arn
    if settings.pollers is not None:
        names = ("MinimumPollers", "MaximumPollers", "PollerGroupName")
        given = zip(names, settings.pollers, strict=True)
        shown["ProvisionedPollerConfig"] = {name: value for name, value in given if value is not None}
    return shown


def _of_streams(mapping: EventSourceMapping) -> dict[str, Any]:
    settings = mapping.settings
    shown: dict[str, Any] = {
        "StartingPosition": settings.starting_position,
        "ParallelizationFactor": settings.parallelization_factor,
        "BisectBatchOnFunctionError": settings.bisects,
        "DestinationConfig": {"OnFailure": {"Destination": settings.on_failure} if settings.on_failure else {}},
        "LastProcessingResult": mapping.last_result,
        "MaximumRecordAgeInSeconds": settings.maximum_record_age_s,
        "MaximumRetryAttempts": settings.maximum_retry_attempts,
        "TumblingWindowInSeconds": settings.tumbling_window_s,
    }
    if settings.starting_timestamp is not None:
        shown["StartingPositionTimestamp"] = settings.starting_timestamp
    return shown


def _place(call: ApiCall) -> tuple[str, str, str]:
    return call.caller.account, call.caller.region, call.params["UUID"]


def _function(call: ApiCall, name: str) -> FunctionReference:
    caller = call.caller
    return parse_function_reference(
        name, account=caller.account, region=caller.region, action=call.operation, caller_arn=caller.arn
    )


def _settings(params: dict[str, Any]) -> SettingsChange:
    criteria, metrics, logging = params.get("FilterCriteria"), params.get("MetricsConfig"), params.get("LoggingConfig")
    types = params.get("FunctionResponseTypes")
    return SettingsChange(
        batch_size=params.get("BatchSize"),
        batching_window_s=params.get("MaximumBatchingWindowInSeconds"),
        filters=None if criteria is None else tuple(item.get("Pattern") for item in criteria.get("Filters") or ()),
        response_types=None if types is None else tuple(types),
        scaling=params.get("ScalingConfig"),
        metrics=None if metrics is None else tuple(metrics.get("Metrics") or ()),
        log_level=None if logging is None else logging.get("SystemLogLevel"),
        kms_key_arn=params.get("KMSKeyArn"),
        destinations=params.get("DestinationConfig"),
        starting_position=params.get("StartingPosition"),
        starting_timestamp=params.get("StartingPositionTimestamp"),
        parallelization_factor=params.get("ParallelizationFactor"),
        maximum_record_age_s=params.get("MaximumRecordAgeInSeconds"),
        maximum_retry_attempts=params.get("MaximumRetryAttempts"),
        bisects=params.get("BisectBatchOnFunctionError"),
        tumbling_window_s=params.get("TumblingWindowInSeconds"),
        pollers=params.get("ProvisionedPollerConfig"),
        others=[name for name in _OTHER_SOURCES if params.get(name)],
    )
