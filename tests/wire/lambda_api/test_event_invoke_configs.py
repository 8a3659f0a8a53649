"""Settings of asynchronous invocation through boto3."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.control.building import ACCOUNT, REGION
from tests.recordings import Recording
from tests.wire.lambda_api.conftest import Lambda, code_of, message_of

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"


async def test_the_recorded_life_of_settings(aws: Lambda) -> None:
    await aws.create()
    recording = Recording.find("TestLambdaEventInvokeConfig::test_lambda_eventinvokeconfig_lifecycle", region=REGION)

    put, update = aws.put_function_event_invoke_config, aws.update_function_event_invoke_config
    recording.check("put_invokeconfig_retries_0", await put(FunctionName="f", MaximumRetryAttempts=0))
    recording.check("put_invokeconfig_eventage_60", await put(FunctionName="f", MaximumEventAgeInSeconds=60))
    recording.check(
        "update_invokeconfig_eventage_nochange", await update(FunctionName="f", MaximumEventAgeInSeconds=60)
    )
    recording.check("update_invokeconfig_retries", await update(FunctionName="f", MaximumRetryAttempts=1))
    recording.check("get_invokeconfig", await aws.get_function_event_invoke_config(FunctionName="f"))
    latest = await aws.get_function_event_invoke_config(FunctionName="f", Qualifier="$LATEST")
    recording.check("get_invokeconfig_latest", latest)
    recording.check("list_single_invokeconfig", await aws.list_function_event_invoke_configs(FunctionName="f"))
    version = await aws.publish_version(FunctionName="f")
    assert version["Version"] == "1"
    error = await aws.refused("get_function_event_invoke_config", FunctionName="f", Qualifier="1")
    recording.check("get_invokeconfig_postpublish", error)
    published = await put(FunctionName="f", Qualifier="1", MaximumEventAgeInSeconds=120)
    recording.check("put_published_invokeconfig", published)
    found = await aws.get_function_event_invoke_config(FunctionName="f", Qualifier="1")
    recording.check("get_published_invokeconfig", found)
    await aws.delete_function_event_invoke_config(FunctionName="f")
    left = await aws.list_function_event_invoke_configs(FunctionName="f")
    recording.check("list_paging_nolimit_postdelete", left)


async def test_pages_of_settings(aws: Lambda) -> None:
    await aws.create()
    await aws.publish_version(FunctionName="f")
    for qualifier in ("1", "$LATEST"):
        await aws.put_function_event_invoke_config(FunctionName="f", Qualifier=qualifier, MaximumRetryAttempts=1)
    first = await aws.list_function_event_invoke_configs(FunctionName="f", MaxItems=1)
    second = await aws.list_function_event_invoke_configs(FunctionName="f", MaxItems=1, Marker=first["NextMarker"])
    shown = first["FunctionEventInvokeConfigs"] + second["FunctionEventInvokeConfigs"]
    assert [config["FunctionArn"] for config in shown] == [f"{ARN}:$LATEST", f"{ARN}:1"]
    assert "NextMarker" not in second


async def test_the_time_is_a_number_on_the_wire(aws: Lambda) -> None:
    await aws.create()
    await aws.put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=0)
    bodies: list[bytes] = []
    client = aws.of()
    client.client.meta.events.register("after-call", lambda http_response, **_: bodies.append(http_response.content))
    await client.get_function_event_invoke_config(FunctionName="f")
    modified = json.loads(bodies[-1])["LastModified"]
    assert isinstance(modified, float | int)
    assert abs(datetime.fromtimestamp(modified, UTC) - datetime.now(UTC)) < timedelta(minutes=1)


async def test_destinations_are_set_changed_one_by_one_and_cleared(aws: Lambda) -> None:
    await aws.create()
    other = f"{QUEUE}2"
    both = {"OnSuccess": {"Destination": QUEUE}, "OnFailure": {"Destination": other}}
    made = await aws.put_function_event_invoke_config(FunctionName="f", DestinationConfig=both)
    assert made["DestinationConfig"] == both
    changed = await aws.update_function_event_invoke_config(
        FunctionName="f", DestinationConfig={"OnSuccess": {"Destination": other}}
    )
    assert changed["DestinationConfig"] == {"OnSuccess": {"Destination": other}, "OnFailure": {"Destination": other}}
    cleared = await aws.update_function_event_invoke_config(
        FunctionName="f", DestinationConfig={"OnSuccess": {}, "OnFailure": {"Destination": ""}}
    )
    assert cleared["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}


@pytest.mark.parametrize("operation", ["put_function_event_invoke_config", "update_function_event_invoke_config"])
@pytest.mark.parametrize("settings", [{}, {"DestinationConfig": {}}])
async def test_something_has_to_be_set(aws: Lambda, operation: str, settings: dict[str, Any]) -> None:
    await aws.create()
    error = await aws.refused(operation, FunctionName="f", **settings)
    assert code_of(error) == "InvalidParameterValueException"
    assert message_of(error) == "You must specify at least one of error handling or destination setting."


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("put_function_event_invoke_config", {"FunctionName": "nobody", "MaximumRetryAttempts": 1}),
        ("put_function_event_invoke_config", {"FunctionName": "f", "Qualifier": "7", "MaximumRetryAttempts": 1}),
        ("put_function_event_invoke_config", {"FunctionName": "f", "Qualifier": "prod", "MaximumRetryAttempts": 1}),
        ("update_function_event_invoke_config", {"FunctionName": "nobody", "MaximumRetryAttempts": 1}),
        ("list_function_event_invoke_configs", {"FunctionName": "nobody"}),
    ],
)
async def test_functions_that_do_not_exist(aws: Lambda, operation: str, params: dict[str, Any]) -> None:
    await aws.create()
    error = await aws.refused(operation, **params)
    assert (code_of(error), message_of(error)) == ("ResourceNotFoundException", "The function doesn't exist.")


@pytest.mark.parametrize(
    ("operation", "params", "qualifier"),
    [
        ("get_function_event_invoke_config", {"FunctionName": "nobody"}, "$LATEST"),
        ("get_function_event_invoke_config", {"FunctionName": "f", "Qualifier": "prod"}, "prod"),
        ("delete_function_event_invoke_config", {"FunctionName": "f"}, "$LATEST"),
        ("update_function_event_invoke_config", {"FunctionName": "f", "MaximumRetryAttempts": 1}, "$LATEST"),
    ],
)
async def test_settings_that_do_not_exist(aws: Lambda, operation: str, params: dict[str, Any], qualifier: str) -> None:
    await aws.create()
    error = await aws.refused(operation, **params)
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{params['FunctionName']}:{qualifier}"
    assert code_of(error) == "ResourceNotFoundException"
    assert message_of(error) == f"The function {arn} doesn't have an EventInvokeConfig"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"OnSuccess": {"Destination": ARN}}, "You can't specify the function as a destination for itself."),
        (
            {"OnFailure": {"Destination": f"{ARN}nobody"}},
            f"The destination ARN {ARN}nobody is invalid.",
        ),
        (
            {"OnSuccess": {"Destination": f"arn:aws:iam:{REGION}:{ACCOUNT}:role"}},
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination="
            f"arn:aws:iam:{REGION}:{ACCOUNT}:role), onFailure=null) is invalid.",
        ),
    ],
)
async def test_destinations_that_are_refused(aws: Lambda, config: dict[str, Any], message: str) -> None:
    await aws.create()
    error = await aws.refused("put_function_event_invoke_config", FunctionName="f", DestinationConfig=config)
    assert (code_of(error), message_of(error)) == ("InvalidParameterValueException", message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"MaximumRetryAttempts": 3},
            "1 validation error detected: Value '3' at 'maximumRetryAttempts' failed to satisfy constraint: "
            "Member must have value less than or equal to 2",
        ),
        (
            {"MaximumEventAgeInSeconds": 59},
            "1 validation error detected: Value '59' at 'maximumEventAgeInSeconds' failed to satisfy constraint: "
            "Member must have value greater than or equal to 60",
        ),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "not an arn"}}},
            "1 validation error detected: Value 'not an arn' at 'destinationConfig.onFailure.destination' failed to "
            r"satisfy constraint: Member must satisfy regular expression pattern: $|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))"
            r"|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?"
            r":(\d{12})?:(.*)",
        ),
    ],
)
async def test_values_out_of_range(aws: Lambda, settings: dict[str, Any], message: str) -> None:
    await aws.create()
    error = await aws.refused("put_function_event_invoke_config", FunctionName="f", **settings)
    assert (code_of(error), message_of(error)) == ("ValidationException", message)


async def test_qualifiers_have_to_agree_and_listings_have_none(aws: Lambda) -> None:
    await aws.create()
    error = await aws.refused(
        "put_function_event_invoke_config", FunctionName="f:1", Qualifier="2", MaximumRetryAttempts=1
    )
    assert message_of(error) == "The derived qualifier from the function name does not match the specified qualifier."
    error = await aws.refused("list_function_event_invoke_configs", FunctionName="f:1")
    assert message_of(error) == "The function name must not include a version number or alias."


async def test_deleting_a_function_deletes_its_settings(aws: Lambda) -> None:
    await aws.create()
    await aws.put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=1)
    await aws.delete_function(FunctionName="f")
    await aws.create()
    await aws.refused("get_function_event_invoke_config", FunctionName="f")


async def test_dead_letter_queues_are_checked_kept_and_cleared(aws: Lambda) -> None:
    made = await aws.create(DeadLetterConfig={"TargetArn": QUEUE})
    assert made["DeadLetterConfig"] == {"TargetArn": QUEUE}
    kept = await aws.update_function_configuration(FunctionName="f", DeadLetterConfig={})
    assert kept["DeadLetterConfig"] == {"TargetArn": QUEUE}
    await aws.bench.settle()
    error = await aws.refused(
        "update_function_configuration", FunctionName="f", DeadLetterConfig={"TargetArn": f"{QUEUE}.fifo"}
    )
    assert message_of(error) == (
        "Invalid dead letter queue ARN: FIFO SQS queue is not supported for dead letter configuration"
    )
    cleared = await aws.update_function_configuration(FunctionName="f", DeadLetterConfig={"TargetArn": ""})
    assert "DeadLetterConfig" not in cleared
