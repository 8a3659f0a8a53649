"""Event source mappings through boto3, without anything that reads the sources."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.control.building import ACCOUNT, REGION
from tests.recordings import Recording, paths
from tests.wire.lambda_api.conftest import Lambda, code_of, message_of

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
STREAM = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"
TABLE_STREAM = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/2026-01-01T00:00:00.000"


async def a_mapping(aws: Lambda, source: str = QUEUE, **settings: Any) -> dict[str, Any]:
    """Settled."""
    settings.setdefault("FunctionName", "f")
    made = await aws.create_event_source_mapping(EventSourceArn=source, **settings)
    await aws.bench.plane.mappings.wait_settled()
    return made  # type: ignore[no-any-return]


async def refusal(aws: Lambda, source: str | None = QUEUE, **settings: Any) -> str:
    given = {"FunctionName": "f"} if source is None else {"FunctionName": "f", "EventSourceArn": source}
    error = await aws.refused("create_event_source_mapping", **{**given, **settings})
    assert code_of(error) == "InvalidParameterValueException"
    return message_of(error)


async def test_function_name_variations(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaEventSourceMappings::test_function_name_variations", region=REGION)
    await aws.create()
    await aws.publish_version(FunctionName="f")
    await aws.create_alias(FunctionName="f", Name="myalias", FunctionVersion="1")
    partial, full = f"{ACCOUNT}:function:f", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
    names = {
        "name_only": "f",
        "partial_arn_latest": f"{partial}:$LATEST",
        "partial_arn_version": f"{partial}:1",
        "partial_arn_alias": f"{partial}:myalias",
        "full_arn_latest": full,
        "full_arn_version": f"{full}:1",
        "full_arn_alias": f"{full}:myalias",
    }
    for step, name in names.items():
        made = await a_mapping(aws, FunctionName=name)
        recording.check(f"{step}_create_esm", made)
        await aws.delete_event_source_mapping(UUID=made["UUID"])
        await aws.bench.plane.mappings.wait_settled()


async def test_create_tag_on_esm_create(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaTag::test_create_tag_on_esm_create")
    await aws.create()
    made = await a_mapping(aws, Tags={"testtag": "tagged"})
    arn = made["EventSourceMappingArn"]
    recording.check("list_tags_result", await aws.list_tags(Resource=arn))
    await aws.tag_resource(Resource=arn, Tags={"other": "x"})
    await aws.untag_resource(Resource=arn, TagKeys=["testtag"])
    assert (await aws.list_tags(Resource=arn))["Tags"] == {"other": "x"}


async def test_tags_of_a_mapping_that_is_not_there(aws: Lambda) -> None:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:6cf6bcbc-39e0-4d8c-8c93-0d0a0e8a8f6e"
    error = await aws.refused("list_tags", Resource=arn)
    assert (code_of(error), message_of(error)) == (
        "ResourceNotFoundException",
        f"Event source mapping not found: {arn}",
    )


async def test_the_defaults_of_a_queue(aws: Lambda) -> None:
    await aws.create()
    made = await a_mapping(aws)
    del made["ResponseMetadata"], made["UUID"], made["LastModified"], made["EventSourceMappingArn"]
    assert made == {
        "BatchSize": 10,
        "EventSourceArn": QUEUE,
        "FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f",
        "FunctionResponseTypes": [],
        "MaximumBatchingWindowInSeconds": 0,
        "State": "Creating",
        "StateTransitionReason": "USER_INITIATED",
    }


@pytest.mark.parametrize("source", [STREAM, TABLE_STREAM])
async def test_the_defaults_of_a_stream(aws: Lambda, source: str) -> None:
    await aws.create()
    made = await a_mapping(aws, source, StartingPosition="TRIM_HORIZON")
    assert made["StateTransitionReason"] == "User action"
    assert made["BatchSize"] == 100
    assert made["DestinationConfig"] == {"OnFailure": {}}
    assert made["LastProcessingResult"] == "No records processed"
    assert (made["MaximumRetryAttempts"], made["MaximumRecordAgeInSeconds"]) == (-1, -1)
    assert (made["ParallelizationFactor"], made["TumblingWindowInSeconds"]) == (1, 0)
    assert made["BisectBatchOnFunctionError"] is False


async def test_everything_that_is_set_is_shown(aws: Lambda) -> None:
    await aws.create()
    of_a_queue = {
        "BatchSize": 500,
        "MaximumBatchingWindowInSeconds": 30,
        "FilterCriteria": {"Filters": [{"Pattern": '{"body": {"a": [1]}}'}, {"Pattern": '{"body": ["x"]}'}]},
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 7},
        "MetricsConfig": {"Metrics": ["EventCount"]},
        "KMSKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k",
    }
    of_a_stream = {
        "StartingPosition": "AT_TIMESTAMP",
        "StartingPositionTimestamp": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "ParallelizationFactor": 3,
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": 5,
        "MaximumRecordAgeInSeconds": 600,
        "DestinationConfig": {"OnFailure": {"Destination": QUEUE}},
    }
    for source, settings in ((QUEUE, of_a_queue), (STREAM, of_a_stream)):
        made = await a_mapping(aws, source, **settings)
        shown = await aws.get_event_source_mapping(UUID=made["UUID"])
        for name, value in settings.items():
            assert shown[name] == value


async def test_the_states_of_a_life(aws: Lambda) -> None:
    await aws.create()
    mappings = aws.bench.plane.mappings
    uuid = (await a_mapping(aws))["UUID"]
    states = []

    async def state() -> str:
        await mappings.wait_settled()
        return (await aws.get_event_source_mapping(UUID=uuid))["State"]  # type: ignore[no-any-return]

    states.append(await state())
    for change in ({"Enabled": False}, {"BatchSize": 3}, {"Enabled": True}, {"BatchSize": 4}):
        states.append((await aws.update_event_source_mapping(UUID=uuid, **change))["State"])
        states.append(await state())
    assert states == [
        "Enabled", "Disabling", "Disabled", "Updating", "Disabled", "Enabling", "Enabled", "Updating", "Enabled",
    ]  # fmt: skip
    assert (await aws.delete_event_source_mapping(UUID=uuid))["State"] == "Deleting"
    await mappings.wait_settled()
    error = await aws.refused("get_event_source_mapping", UUID=uuid)
    assert (code_of(error), message_of(error)) == (
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )


async def test_a_mapping_in_transition_cannot_be_changed(aws: Lambda) -> None:
    await aws.create()
    made = await aws.create_event_source_mapping(EventSourceArn=QUEUE, FunctionName="f")
    for operation, word in (("update_event_source_mapping", "update"), ("delete_event_source_mapping", "delete")):
        error = await aws.refused(operation, UUID=made["UUID"])
        assert code_of(error) == "ResourceInUseException"
        assert message_of(error) == f"Cannot {word} the event source mapping because it is in use."


async def test_a_source_has_one_mapping_to_a_function(aws: Lambda) -> None:
    await aws.create()
    await aws.create("g")
    first = await a_mapping(aws)
    error = await aws.refused("create_event_source_mapping", EventSourceArn=QUEUE, FunctionName="f")
    assert code_of(error) == "ResourceConflictException"
    assert message_of(error) == (
        f'An event source mapping with SQS arn (" {QUEUE} ") and function (" f ") already exists. '
        f"Please update or delete the existing mapping with UUID {first['UUID']}"
    )
    other = await a_mapping(aws, FunctionName="g")
    error = await aws.refused("update_event_source_mapping", UUID=other["UUID"], FunctionName="f")
    assert code_of(error) == "ResourceConflictException"


async def test_settings_that_cannot_be(aws: Lambda) -> None:
    await aws.create()
    fifo = f"{QUEUE}.fifo"
    assert await refusal(aws, None) == "Unrecognized event source."
    assert await refusal(aws, FunctionName="nothing") == "Function does not exist"
    assert await refusal(aws, FunctionName="f:9") == "Function does not exist"
    assert await refusal(aws, FunctionName="f:alias") == "Function does not exist"
    assert await refusal(aws, BatchSize=11) == (
        "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
    )
    assert "FIFO" in await refusal(aws, fifo, BatchSize=11)
    assert "FIFO" in await refusal(aws, fifo, MaximumBatchingWindowInSeconds=1)
    destination = {"OnFailure": {"Destination": f"{QUEUE}2"}}
    unsupported = "Unsupported DestinationConfig parameter for given event source mapping type."
    assert await refusal(aws, DestinationConfig=destination) == unsupported
    on_success = {"OnSuccess": destination["OnFailure"]}
    assert await refusal(aws, STREAM, StartingPosition="LATEST", DestinationConfig=on_success) == unsupported
    assert await refusal(aws, None, FunctionName="nothing", DestinationConfig=on_success) == unsupported
    kafka = {"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["kafka:9092"]}}, "Topics": ["topic"]}
    assert await refusal(aws, None, **kafka) == "Required 'sourceAccessConfigurations' parameter is missing."
    assert await refusal(aws, StartingPosition="LATEST") == "StartingPosition is not valid for SQS event sources."
    assert await refusal(aws, STREAM) == (
        "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
        "Member must not be null."
    )
    assert "starting position" in await refusal(
        aws, TABLE_STREAM, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=datetime.now(UTC)
    )
    assert "MaximumRetryAttempts" in await refusal(aws, MaximumRetryAttempts=1)
    assert "ScalingConfig" in await refusal(
        aws, STREAM, StartingPosition="LATEST", ScalingConfig={"MaximumConcurrency": 2}
    )


INVALID_FILTERS = [name for name in paths() if "::test_dynamodb_invalid_event_filter[" in name]


@pytest.mark.parametrize("name", INVALID_FILTERS)
async def test_dynamodb_invalid_event_filter(aws: Lambda, name: str) -> None:
    await aws.create()
    pattern = name.partition("[")[2].removesuffix("]")
    error = await aws.refused(
        "create_event_source_mapping",
        EventSourceArn=TABLE_STREAM,
        FunctionName="f",
        StartingPosition="TRIM_HORIZON",
        FilterCriteria={"Filters": [{"Pattern": pattern}]},
    )
    recording = Recording.find(name)
    recording.check("exception_event_source_creation", error)


@pytest.mark.parametrize("service", ["kafka", "mq", "rds", "sns"])
async def test_other_sources_are_refused_by_name(aws: Lambda, service: str) -> None:
    await aws.create()
    message = await refusal(aws, f"arn:aws:{service}:{REGION}:{ACCOUNT}:some/thing")
    assert message.startswith("Unrecognized event source. ")


async def test_values_out_of_range_are_the_models_refusal(aws: Lambda) -> None:
    await aws.create()
    error = await aws.refused(
        "create_event_source_mapping", EventSourceArn=QUEUE, FunctionName="f", ScalingConfig={"MaximumConcurrency": 1}
    )
    assert code_of(error) == "ValidationException"
    assert "scalingConfig.maximumConcurrency" in message_of(error)


async def test_an_update_changes_what_it_names_and_can_take_away(aws: Lambda) -> None:
    await aws.create()
    made = await a_mapping(
        aws, ScalingConfig={"MaximumConcurrency": 5}, FilterCriteria={"Filters": [{"Pattern": '{"body": ["x"]}'}]}
    )
    uuid = made["UUID"]
    await aws.update_event_source_mapping(UUID=uuid, BatchSize=2)
    await aws.bench.plane.mappings.wait_settled()
    shown = await aws.get_event_source_mapping(UUID=uuid)
    assert (shown["BatchSize"], shown["ScalingConfig"]) == (2, {"MaximumConcurrency": 5})
    await aws.update_event_source_mapping(UUID=uuid, ScalingConfig={}, FilterCriteria={})
    await aws.bench.plane.mappings.wait_settled()
    shown = await aws.get_event_source_mapping(UUID=uuid)
    assert "ScalingConfig" not in shown
    assert "FilterCriteria" not in shown


async def test_lists_by_source_and_function_in_pages(aws: Lambda) -> None:
    await aws.create()
    await aws.create("g")
    made = [await a_mapping(aws, f"{QUEUE}{n}", FunctionName=name) for n, name in enumerate("ffg")]
    found: list[str] = []
    marker: dict[str, str] = {}
    while True:
        page = await aws.list_event_source_mappings(MaxItems=1, **marker)
        found += [mapping["UUID"] for mapping in page["EventSourceMappings"]]
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert sorted(found) == sorted(mapping["UUID"] for mapping in made)

    async def uuids(**filters: str) -> set[str]:
        page = await aws.list_event_source_mappings(**filters)
        return {mapping["UUID"] for mapping in page["EventSourceMappings"]}

    assert await uuids(FunctionName="f") == {made[0]["UUID"], made[1]["UUID"]}
    assert await uuids(EventSourceArn=f"{QUEUE}2") == {made[2]["UUID"]}
    assert await uuids(EventSourceArn=f"{QUEUE}2", FunctionName="f") == set()


async def test_a_mapping_outlives_its_function(aws: Lambda) -> None:
    await aws.create()
    made = await a_mapping(aws)
    await aws.delete_function(FunctionName="f")
    assert (await aws.get_event_source_mapping(UUID=made["UUID"]))["State"] == "Enabled"


async def test_mappings_of_others_are_not_seen(aws: Lambda) -> None:
    await aws.create()
    made = await a_mapping(aws)
    stranger = aws.of(key="222222222222")
    assert (await stranger.list_event_source_mappings())["EventSourceMappings"] == []
    with pytest.raises(stranger.client.exceptions.ResourceNotFoundException):
        await stranger.get_event_source_mapping(UUID=made["UUID"])


async def test_the_time_is_a_number_on_the_wire(aws: Lambda) -> None:
    await aws.create()
    bodies: list[bytes] = []
    client = aws.of()
    client.client.meta.events.register("after-call", lambda http_response, **_: bodies.append(http_response.content))
    await client.create_event_source_mapping(EventSourceArn=QUEUE, FunctionName="f")
    assert isinstance(json.loads(bodies[-1])["LastModified"], int | float)
