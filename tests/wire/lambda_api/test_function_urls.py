"""Function URLs in the API: as recorded, and what else AWS answers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.control.building import ACCOUNT, REGION
from tests.recordings import Recording
from tests.wire.lambda_api.conftest import Lambda, code_of, message_of

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
MISSING = "The resource you requested does not exist."
ADDRESS = re.compile(rf"http://[a-z0-9]{{32}}\.lambda-url\.{REGION}\.localhost:4566/")


async def test_urls_of_a_function_and_of_an_alias(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaUrl::test_url_config_deletion_without_qualifier")
    await aws.create()
    await aws.create_alias(FunctionName="f", Name="test-alias", FunctionVersion="$LATEST")

    def check(step: str, answer: dict[str, Any]) -> None:
        address = answer.pop("FunctionUrl")
        assert ADDRESS.fullmatch(address)
        recording.check(step, {**answer, "FunctionUrl": "lambda-url"})

    alias = {"FunctionName": "f", "Qualifier": "test-alias"}
    check("url_creation", await aws.create_function_url_config(FunctionName="f", AuthType="NONE"))
    check("url_with_alias_creation", await aws.create_function_url_config(**alias, AuthType="NONE"))
    check("get_url_config", await aws.get_function_url_config(FunctionName="f"))
    check("get_url_config_with_alias", await aws.get_function_url_config(**alias))
    recording.check("delete_function_url_config", await aws.delete_function_url_config(FunctionName="f"))
    error = await aws.refused("get_function_url_config", FunctionName="f")
    recording.check("get_url_config_after_deletion", error)
    check("get_url_config_with_alias_after_deletion", await aws.get_function_url_config(**alias))


async def test_a_function_of_another_region(aws: Lambda) -> None:
    recording = Recording.find(
        "TestLambdaFunction::test_get_function_wrong_region[get_function_url_config]",
        region=REGION,
        wrong_region="eu-west-1",
    )
    name = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:f"
    recording.check("wrong_region_exception", await aws.refused("get_function_url_config", FunctionName=name))


async def test_a_second_url_is_refused(aws: Lambda) -> None:
    await aws.create()
    await aws.create_function_url_config(FunctionName="f", AuthType="NONE")
    error = await aws.refused("create_function_url_config", FunctionName="f", AuthType="AWS_IAM")
    assert code_of(error) == "ResourceConflictException"
    assert message_of(error) == (
        f"Failed to create function url config for [functionArn = {ARN}:f]. Error message:  "
        "FunctionUrlConfig exists for this Lambda function"
    )


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        ("create_function_url_config", "Function does not exist"),
        ("update_function_url_config", "Function does not exist"),
        ("list_function_url_configs", "Function does not exist"),
        ("get_function_url_config", MISSING),
        ("delete_function_url_config", MISSING),
    ],
)
async def test_a_function_that_does_not_exist(aws: Lambda, operation: str, text: str) -> None:
    given = {"AuthType": "NONE"} if operation.startswith("create") else {}
    error = await aws.refused(operation, FunctionName="missing", **given)
    assert (code_of(error), message_of(error)) == ("ResourceNotFoundException", text)


async def test_an_alias_or_url_that_does_not_exist(aws: Lambda) -> None:
    await aws.create()
    alias = {"FunctionName": "f", "Qualifier": "a"}
    error = await aws.refused("create_function_url_config", **alias, AuthType="NONE")
    assert message_of(error) == "Function does not exist"
    assert message_of(await aws.refused("update_function_url_config", **alias)) == "Function does not exist"
    for operation in ("get_function_url_config", "delete_function_url_config"):
        assert message_of(await aws.refused(operation, **alias)) == MISSING
    for operation in ("update_function_url_config", "get_function_url_config", "delete_function_url_config"):
        assert message_of(await aws.refused(operation, FunctionName="f")) == MISSING


@pytest.mark.parametrize("qualifier", ["42", "$LATEST"])
async def test_only_aliases_have_urls(aws: Lambda, qualifier: str) -> None:
    await aws.create()
    error = await aws.refused("create_function_url_config", FunctionName="f", Qualifier=qualifier, AuthType="NONE")
    assert code_of(error) == "ValidationException"
    assert message_of(error) == (
        f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)"
    )


async def test_an_invoke_mode_that_does_not_exist(aws: Lambda) -> None:
    await aws.create()
    error = await aws.refused("create_function_url_config", FunctionName="f", AuthType="NONE", InvokeMode="UNKNOWN")
    assert code_of(error) == "ValidationException"
    assert "Value 'UNKNOWN' at 'invokeMode' failed to satisfy constraint" in message_of(error)


async def test_settings_are_changed_one_by_one(aws: Lambda) -> None:
    await aws.create()
    cors = {"AllowOrigins": ["https://example.com"], "AllowMethods": ["GET"], "MaxAge": 5, "AllowCredentials": True}
    created = await aws.create_function_url_config(
        FunctionName="f", AuthType="AWS_IAM", Cors=cors, InvokeMode="RESPONSE_STREAM"
    )
    assert (created["Cors"], created["InvokeMode"]) == (cors, "RESPONSE_STREAM")
    assert "LastModifiedTime" not in created
    updated = await aws.update_function_url_config(FunctionName="f", AuthType="NONE")
    assert (updated["AuthType"], updated["Cors"], "InvokeMode" in updated) == ("NONE", cors, False)
    assert updated["LastModifiedTime"] > updated["CreationTime"] == created["CreationTime"]
    assert updated["FunctionUrl"] == created["FunctionUrl"]
    await aws.update_function_url_config(FunctionName="f", Cors={"AllowOrigins": ["*"]}, InvokeMode="BUFFERED")
    shown = await aws.get_function_url_config(FunctionName="f")
    assert (shown["Cors"], shown["InvokeMode"]) == ({"AllowOrigins": ["*"]}, "BUFFERED")
    await aws.update_function_url_config(FunctionName="f", Cors={})
    assert "Cors" not in await aws.get_function_url_config(FunctionName="f")


async def test_urls_are_listed(aws: Lambda) -> None:
    await aws.create()
    for name in ("a", "b"):
        await aws.create_alias(FunctionName="f", Name=name, FunctionVersion="$LATEST")
        await aws.create_function_url_config(FunctionName=f"f:{name}", AuthType="NONE")
    await aws.create_function_url_config(FunctionName="f", AuthType="NONE")
    first = await aws.list_function_url_configs(FunctionName="f", MaxItems=2)
    rest = await aws.list_function_url_configs(FunctionName="f", Marker=first["NextMarker"])
    assert "NextMarker" not in rest
    found = [config["FunctionArn"] for config in first["FunctionUrlConfigs"] + rest["FunctionUrlConfigs"]]
    assert found == [f"{ARN}:f", f"{ARN}:f:a", f"{ARN}:f:b"]


async def test_a_tag_names_the_id(aws: Lambda) -> None:
    await aws.create(Tags={"_custom_id_": "my-Custom-id"})
    await aws.create_alias(FunctionName="f", Name="live", FunctionVersion="$LATEST")
    below = f"lambda-url.{REGION}.localhost:4566/"
    made = await aws.create_function_url_config(FunctionName="f", AuthType="NONE")
    assert made["FunctionUrl"] == f"http://my-custom-id.{below}"
    made = await aws.create_function_url_config(FunctionName="f", Qualifier="live", AuthType="NONE")
    assert made["FunctionUrl"] == f"http://my-custom-id-live.{below}"
    await aws.create("g", Tags={"_custom_id_": "my-custom-id"})
    error = await aws.refused("create_function_url_config", FunctionName="g", AuthType="NONE")
    assert code_of(error) == "ResourceConflictException"
    assert message_of(error) == f"The id my-custom-id, which the tag _custom_id_ names, is that of the URL of {ARN}:f."
    await aws.delete_function(FunctionName="f")
    made = await aws.create_function_url_config(FunctionName="g", AuthType="NONE")
    assert made["FunctionUrl"] == f"http://my-custom-id.{below}"


@pytest.mark.parametrize("asked", ["", "no.dots", "_custom_", "-dash", "dash-", "x" * 64])
async def test_a_tag_that_cannot_be_part_of_a_host_name(aws: Lambda, asked: str) -> None:
    await aws.create(Tags={"_custom_id_": asked})
    made = await aws.create_function_url_config(FunctionName="f", AuthType="NONE")
    assert ADDRESS.fullmatch(made["FunctionUrl"])


async def test_a_url_outlives_its_alias_but_not_its_function(aws: Lambda) -> None:
    await aws.create()
    await aws.create_alias(FunctionName="f", Name="a", FunctionVersion="$LATEST")
    made = await aws.create_function_url_config(FunctionName="f:a", AuthType="NONE")
    await aws.delete_alias(FunctionName="f", Name="a")
    assert (await aws.get_function_url_config(FunctionName="f:a"))["FunctionUrl"] == made["FunctionUrl"]
    await aws.delete_function(FunctionName="f")
    await aws.create()
    assert message_of(await aws.refused("get_function_url_config", FunctionName="f:a")) == MISSING
