"""Code signing through boto3, beyond what is recorded."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.telemetry import UnsignedCodeDeployed
from tests.control.building import ACCOUNT, REGION
from tests.wire.lambda_api.conftest import CODE, OTHER_CODE, Lambda, code_of, message_of

PROFILE = f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/test/0123456789"
PUBLISHERS = {"SigningProfileVersionArns": [PROFILE]}
ENFORCE = {"UntrustedArtifactOnDeployment": "Enforce"}


async def made(aws: Any, **members: Any) -> str:
    created = await aws.create_code_signing_config(AllowedPublishers=PUBLISHERS, **members)
    return str(created["CodeSigningConfig"]["CodeSigningConfigArn"])


async def test_life_of_a_configuration(aws: Lambda) -> None:
    arn = await made(aws)
    first = (await aws.get_code_signing_config(CodeSigningConfigArn=arn))["CodeSigningConfig"]
    assert first["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    assert first["Description"] == ""
    assert arn == f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:{first['CodeSigningConfigId']}"
    updated = await aws.update_code_signing_config(
        CodeSigningConfigArn=arn, Description="d", CodeSigningPolicies=ENFORCE
    )
    assert updated["CodeSigningConfig"]["AllowedPublishers"] == PUBLISHERS
    assert (await aws.get_code_signing_config(CodeSigningConfigArn=arn))["CodeSigningConfig"] == (
        updated["CodeSigningConfig"]
    )
    await aws.delete_code_signing_config(CodeSigningConfigArn=arn)
    assert (await aws.list_code_signing_configs())["CodeSigningConfigs"] == []


async def test_pages(aws: Lambda) -> None:
    arns = sorted([await made(aws) for _ in range(3)])
    first = await aws.list_code_signing_configs(MaxItems=2)
    second = await aws.list_code_signing_configs(MaxItems=2, Marker=first["NextMarker"])
    listed = [*first["CodeSigningConfigs"], *second["CodeSigningConfigs"]]
    assert [config["CodeSigningConfigArn"] for config in listed] == arns
    for name in ("a", "b", "c"):
        await aws.create(name, CodeSigningConfigArn=arns[0])
    first = await aws.list_functions_by_code_signing_config(CodeSigningConfigArn=arns[0], MaxItems=2)
    second = await aws.list_functions_by_code_signing_config(
        CodeSigningConfigArn=arns[0], MaxItems=2, Marker=first["NextMarker"]
    )
    assert [*first["FunctionArns"], *second["FunctionArns"]] == [
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}" for name in ("a", "b", "c")
    ]


async def test_other_accounts_and_regions_do_not_see_it(aws: Lambda) -> None:
    arn = await made(aws)
    for other in (aws.of(key="222222222222"), aws.of(region="eu-west-1")):
        with pytest.raises(ClientError, match=f"{arn} can not be found"):
            await other.get_code_signing_config(CodeSigningConfigArn=arn)


async def test_a_function_has_one_configuration(aws: Lambda) -> None:
    first, second = await made(aws), await made(aws)
    await aws.create(CodeSigningConfigArn=first)
    shown = await aws.get_function_code_signing_config(FunctionName="f")
    assert (shown["CodeSigningConfigArn"], shown["FunctionName"]) == (first, "f")
    put = await aws.put_function_code_signing_config(FunctionName="f", CodeSigningConfigArn=second)
    assert (put["CodeSigningConfigArn"], put["FunctionName"]) == (second, "f")
    await aws.delete_code_signing_config(CodeSigningConfigArn=first)
    error = await aws.refused("delete_code_signing_config", CodeSigningConfigArn=second)
    assert code_of(error) == "ResourceConflictException"
    await aws.delete_function_code_signing_config(FunctionName="f")
    assert "CodeSigningConfigArn" not in await aws.get_function_code_signing_config(FunctionName="f")
    await aws.delete_code_signing_config(CodeSigningConfigArn=second)


async def test_a_deleted_function_leaves_its_configuration_free(aws: Lambda) -> None:
    arn = await made(aws)
    await aws.create(CodeSigningConfigArn=arn)
    await aws.delete_function(FunctionName="f")
    assert (await aws.list_functions_by_code_signing_config(CodeSigningConfigArn=arn))["FunctionArns"] == []
    await aws.create()
    assert "CodeSigningConfigArn" not in await aws.get_function_code_signing_config(FunctionName="f")


async def test_enforced_signatures_refuse_every_deployment(aws: Lambda) -> None:
    arn = await made(aws, CodeSigningPolicies=ENFORCE)
    with pytest.raises(ClientError) as refused:
        await aws.create("other", CodeSigningConfigArn=arn)
    assert code_of(refused.value) == "CodeVerificationFailedException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert (await aws.list_functions())["Functions"] == []
    await aws.create()
    await aws.put_function_code_signing_config(FunctionName="f", CodeSigningConfigArn=arn)
    layer = await aws.publish_layer_version(LayerName="l", Content={"ZipFile": CODE})
    for operation, params in (
        ("update_function_code", {"ZipFile": OTHER_CODE}),
        ("update_function_code", {"ZipFile": OTHER_CODE, "DryRun": True}),
        ("update_function_configuration", {"Layers": [layer["LayerVersionArn"]]}),
    ):
        error = await aws.refused(operation, FunctionName="f", **params)
        assert code_of(error) == "CodeVerificationFailedException"
        assert message_of(error).startswith("Lambda cannot deploy the function.")
    await aws.update_function_configuration(FunctionName="f", Description="d")  # deploys nothing
    await aws.bench.settle()
    await aws.delete_function_code_signing_config(FunctionName="f")
    await aws.update_function_code(FunctionName="f", ZipFile=OTHER_CODE)


async def test_a_warning_is_counted(aws: Lambda) -> None:
    told: list[UnsignedCodeDeployed] = []
    aws.bench.telemetry.unsigned_code_deployed.append(told.append)
    await aws.create("free")
    assert told == []
    await aws.create(CodeSigningConfigArn=await made(aws))
    await aws.update_function_code(FunctionName="f", ZipFile=OTHER_CODE)
    await aws.bench.settle()
    await aws.update_function_configuration(FunctionName="f", Description="d")
    assert told == [UnsignedCodeDeployed(account=ACCOUNT, region=REGION, function="f")] * 2


async def test_tags(aws: Lambda) -> None:
    arn = await made(aws, Tags={"a": "1", "b": "2"})
    assert (await aws.list_tags(Resource=arn))["Tags"] == {"a": "1", "b": "2"}
    await aws.tag_resource(Resource=arn, Tags={"b": "3", "c": "4"})
    await aws.untag_resource(Resource=arn, TagKeys=["a", "absent"])
    assert (await aws.list_tags(Resource=arn))["Tags"] == {"b": "3", "c": "4"}
    many = {str(number): "" for number in range(49)}
    for params, text in (
        ({"Tags": many}, "Number of tags exceeds resource tag limit."),
        ({"Tags": {}}, "An error occurred and the request cannot be processed."),
    ):
        error = await aws.refused("tag_resource", Resource=arn, **params)
        assert message_of(error) == text
    with pytest.raises(ClientError, match="Number of tags exceeds"):
        await made(aws, Tags={**many, "x": "", "y": ""})
    await aws.delete_code_signing_config(CodeSigningConfigArn=arn)
    error = await aws.refused("list_tags", Resource=arn)
    assert message_of(error) == f"The Lambda code signing configuration {arn} can not be found."
