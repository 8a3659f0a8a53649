"""Layers, replayed against what AWS answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.control.building import ACCOUNT, REGION, zipped
from tests.recordings import Recording
from tests.wire.lambda_api.conftest import Lambda

LAYER = zipped({"python/own.py": "value = 1\n"})
SETTINGS: dict[str, Any] = {"Handler": "handler.handler", "Timeout": 30, "Environment": {"Variables": {}}}


async def published(aws: Lambda, name: str = "l", **members: Any) -> dict[str, Any]:
    return await aws.publish_layer_version(LayerName=name, Content={"ZipFile": LAYER}, **members)  # type: ignore[no-any-return]


async def test_lifecycle(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaLayer::test_layer_lifecycle", description="d", license_info="MIT")
    members: dict[str, Any] = {
        "CompatibleRuntimes": ["python3.12"],
        "CompatibleArchitectures": ["x86_64"],
        "Description": "d",
        "LicenseInfo": "MIT",
    }
    await aws.create(**SETTINGS)
    recording.check("get_fn_result", await aws.get_function(FunctionName="f"))
    recording.check("get_fn_config_result", await aws.get_function_configuration(FunctionName="f"))
    first = await published(aws, **members)
    recording.check("publish_result", first)
    recording.check("publish_result_2", await published(aws, **members))
    updated = await aws.update_function_configuration(FunctionName="f", Layers=[first["LayerVersionArn"]])
    recording.check("update_fn_config", updated)
    await aws.bench.settle()
    recording.check("get_fn_config", await aws.get_function_configuration(FunctionName="f"))
    found = await aws.get_layer_version(LayerName="l", VersionNumber=1)
    recording.check("get_layer_ver_result", found)
    found = await aws.get_layer_version_by_arn(Arn=first["LayerVersionArn"])
    recording.check("get_layer_by_arn_version", found)
    recording.check("list_layer_versions_predelete", await aws.list_layer_versions(LayerName="l"))
    recording.check("delete_layer_1", await aws.delete_layer_version(LayerName="l", VersionNumber=1))
    recording.check("get_fn_config_postdelete", await aws.get_function_configuration(FunctionName="f"))
    recording.check("delete_layer_2", await aws.delete_layer_version(LayerName="l", VersionNumber=2))
    recording.check("list_layer_versions_postdelete", await aws.list_layer_versions(LayerName="l"))
    recording.check("publish_result_3", await published(aws, **members))


async def test_refusals(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaLayer::test_layer_exceptions")
    first = await published(aws, CompatibleRuntimes=["python3.12"], CompatibleArchitectures=["x86_64"])
    recording.check("publish_result", first)
    for step, params in (
        ("list_layers_exc_compatibleruntime_invalid", {"CompatibleRuntime": "runtimedoesnotexist"}),
        ("list_layers_exc_compatiblearchitecture_invalid", {"CompatibleArchitecture": "archdoesnotexist"}),
    ):
        recording.check(step, await aws.refused("list_layers", **params))
    recording.check("list_nonexistent_layer", await aws.list_layer_versions(LayerName="layerdoesnotexist"))
    for step, name, number in (
        ("get_layer_version_exc_layer_doesnotexist", "layerdoesnotexist", 1),
        ("get_layer_version_exc_layer_version_doesnotexist_negative", "l", -1),
        ("get_layer_version_exc_layer_version_doesnotexist_zero", "l", 0),
        ("get_layer_version_exc_layer_version_doesnotexist_2", "l", 2),
    ):
        recording.check(step, await aws.refused("get_layer_version", LayerName=name, VersionNumber=number))
    for step, arn in (
        ("get_layer_version_by_arn_exc_invalidarn", first["LayerArn"]),
        ("get_layer_version_by_arn_exc_nonexistentversion", f"{first['LayerArn']}:2"),
    ):
        recording.check(step, await aws.refused("get_layer_version_by_arn", Arn=arn))
    for step, name, number in (
        ("delete_nonexistent_response", "layerdoesnotexist", 1),
        ("delete_nonexistent_version_response", "l", 2),
        ("delete_layer_response", "l", 1),
        ("delete_layer_again_response", "l", 1),
    ):
        recording.check(step, await aws.delete_layer_version(LayerName=name, VersionNumber=number))
    error = await aws.refused("delete_layer_version", LayerName="l", VersionNumber=-1)
    recording.check("delete_layer_version_exc_layerversion_invalid_version", error)
    empty = await published(aws, "other", CompatibleRuntimes=[], CompatibleArchitectures=[])
    recording.check("publish_empty_result", empty)
    for step, runtimes, architectures in (
        ("publish_layer_version_exc_invalid_runtime_arch", ["invalidruntime"], ["invalidarch"]),
        (
            "publish_layer_version_exc_partially_invalid_values",
            ["invalidruntime", "invalidruntime2", "nodejs20.x"],
            ["invalidarch", "x86_64"],
        ),
    ):
        with pytest.raises(ClientError, match="validation errors") as refused:
            await published(aws, CompatibleRuntimes=runtimes, CompatibleArchitectures=architectures)
        recording.check(step, refused.value)


async def test_refused_layers_of_functions(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaLayer::test_layer_function_exceptions", region=REGION)
    for step in ("publish_result", "publish_result_2", "publish_result_3"):
        answer = await published(aws, CompatibleRuntimes=[], CompatibleArchitectures=["x86_64"])
        recording.check(step, answer)
    arn = answer["LayerArn"]
    await aws.create(**SETTINGS)
    recording.check("get_fn_result", await aws.get_function(FunctionName="f"))
    for step, layers in (
        ("two_layer_versions_single_function_exc", [f"{arn}:1", f"{arn}:2"]),
        ("three_layer_versions_single_function_exc", [f"{arn}:1", f"{arn}:2", f"{arn}:3"]),
        ("two_identical_layer_versions_single_function_exc", [f"{arn}:1", f"{arn}:1"]),
        ("add_nonexistent_layer_exc", [f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:doesnotexist:1"]),
        ("add_nonexistent_layer_version_exc", [f"{arn}:9"]),
        ("add_layer_arn_without_version_exc", [arn]),
    ):
        error = await aws.refused("update_function_configuration", FunctionName="f", Layers=layers)
        recording.check(step, error)
    with pytest.raises(ClientError, match="same region") as refused:
        await aws.create("g", Layers=[f"{arn}:1".replace(REGION, "eu-central-1")])
    recording.check("create_function_with_layer_in_different_region", refused.value)


async def test_six_layers(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaLayer::test_layer_function_quota_exception")
    arns = [(await published(aws, f"l{number}"))["LayerVersionArn"] for number in range(6)]
    with pytest.raises(ClientError, match="5 layers") as refused:
        await aws.create(Layers=arns)
    recording.check("create_function_with_six_layers", refused.value)


async def test_policies(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaLayer::test_layer_policy_exceptions")
    answer = await published(aws, CompatibleRuntimes=["python3.12"], CompatibleArchitectures=["x86_64"])
    recording.check("publish_result", answer)
    version = {"LayerName": "l", "VersionNumber": 1}
    error = await aws.refused("get_layer_version_policy", **version)
    recording.check("layer_permission_nopolicy_get", error)
    allow = {"Action": "lambda:GetLayerVersion", "Principal": "*"}
    added = await aws.add_layer_version_permission(**version, **allow, StatementId="s1")
    added["Statement"] = json.loads(added["Statement"])
    recording.check("add_layer_permission_result", added)
    for step, change in (
        ("layer_permission_action_invalid", {"Action": "*"}),
        ("layer_permission_duplicate_statement", {}),
        ("layer_permission_wrong_revision", {"StatementId": "s2", "RevisionId": "wrong"}),
        ("layer_permission_layername_doesnotexist_add", {"LayerName": "l-doesnotexist"}),
        ("layer_permission_layerversion_doesnotexist_add", {"VersionNumber": 2}),
    ):
        params: dict[str, Any] = {**version, **allow, "StatementId": "s1", **change}
        recording.check(step, await aws.refused("add_layer_version_permission", **params))
    for step, change in (
        ("layer_permission_layername_doesnotexist_get", {"LayerName": "l-doesnotexist"}),
        ("layer_permission_layerversion_doesnotexist_get", {"VersionNumber": 2}),
    ):
        recording.check(step, await aws.refused("get_layer_version_policy", **{**version, **change}))
    for step, change in (
        ("layer_permission_layername_doesnotexist_remove", {"LayerName": "l-doesnotexist"}),
        ("layer_permission_layerversion_doesnotexist_remove", {"VersionNumber": 2}),
        ("layer_permission_statementid_doesnotexist_remove", {"StatementId": "doesnotexist"}),
        ("layer_permission_wrong_revision_remove", {"RevisionId": "wrong"}),
    ):
        params = {**version, "StatementId": "s1", **change}
        recording.check(step, await aws.refused("remove_layer_version_permission", **params))
