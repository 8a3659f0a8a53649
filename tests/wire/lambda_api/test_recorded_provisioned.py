"""Provisioned concurrency on the control plane, replayed against what AWS answered."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.recordings import Recording
from tests.wire.lambda_api.conftest import Lambda, code_of, message_of

PUT, GET, DELETE = (f"{verb}_provisioned_concurrency_config" for verb in ("put", "get", "delete"))


async def test_the_life_of_a_configuration(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaProvisionedConcurrency::test_lambda_provisioned_lifecycle")
    await aws.create(Handler="handler.handler", Timeout=30, Environment={"Variables": {}})
    recording.check("publish_version_result", await aws.publish_version(FunctionName="f"))
    alias = await aws.create_alias(FunctionName="f", FunctionVersion="1", Name="live")
    recording.check("create_alias_result", alias)
    version, alias = {"FunctionName": "f", "Qualifier": "1"}, {"FunctionName": "f", "Qualifier": "live"}
    put = await aws.put_provisioned_concurrency_config(**version, ProvisionedConcurrentExecutions=1)
    recording.check("put_provisioned_on_version", put)
    error = await aws.refused(PUT, **alias, ProvisionedConcurrentExecutions=1)
    recording.check("put_provisioned_on_alias_versionconflict", error)
    recording.check("delete_provisioned_version", await aws.delete_provisioned_concurrency_config(**version))
    recording.check("get_provisioned_version_postdelete", await aws.refused(GET, **version))
    put = await aws.put_provisioned_concurrency_config(**alias, ProvisionedConcurrentExecutions=1)
    recording.check("put_provisioned_on_alias", put)
    error = await aws.refused(PUT, **version, ProvisionedConcurrentExecutions=1)
    recording.check("put_provisioned_on_version_conflict", error)
    recording.check("delete_alias_result", await aws.delete_alias(FunctionName="f", Name="live"))
    recording.check("get_provisioned_alias_postaliasdelete", await aws.refused(GET, **alias))
    listed = await aws.list_provisioned_concurrency_configs(FunctionName="f")
    recording.check("list_response_postdeletes", listed)


async def test_refusals(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaProvisionedConcurrency::test_provisioned_concurrency_exceptions")
    await aws.create(Handler="handler.handler", Timeout=30, Environment={"Variables": {}})
    recording.check("publish_version_result", await aws.publish_version(FunctionName="f"))
    gone = {"FunctionName": "doesnotexist"}
    version, unknown = {"FunctionName": "f", "Qualifier": "1"}, {"FunctionName": "f", "Qualifier": "10"}
    no_alias, latest = {"FunctionName": "f", "Qualifier": "noalias"}, {"FunctionName": "f", "Qualifier": "$LATEST"}
    one = {"ProvisionedConcurrentExecutions": 1}
    for step, operation, params in (
        ("get_provisioned_config_doesnotexist", GET, version),
        ("get_provisioned_functionname_doesnotexist", GET, {**gone, "Qualifier": "noalias"}),
        ("get_provisioned_qualifier_doesnotexist", GET, no_alias),
        ("get_provisioned_version_doesnotexist", GET, unknown),
        ("get_provisioned_latest", GET, latest),
        ("list_provisioned_functionname_doesnotexist", "list_provisioned_concurrency_configs", gone),
        ("delete_provisioned_functionname_doesnotexist", DELETE, {**gone, "Qualifier": "1"}),
        ("delete_provisioned_qualifier_doesnotexist", DELETE, no_alias),
        ("delete_provisioned_version_doesnotexist", DELETE, unknown),
        ("delete_provisioned_latest", DELETE, latest),
        ("put_provisioned_functionname_doesnotexist_alias", PUT, {**gone, "Qualifier": "noalias", **one}),
        ("put_provisioned_functionname_doesnotexist_version", PUT, {**gone, "Qualifier": "1", **one}),
        ("put_provisioned_qualifier_doesnotexist", PUT, {"FunctionName": "f", "Qualifier": "doesnotexist", **one}),
        ("put_provisioned_version_doesnotexist", PUT, {**unknown, **one}),
        ("put_provisioned_latest", PUT, {**latest, **one}),
    ):
        recording.check(step, await aws.refused(operation, **params))
    recording.check(
        "delete_provisioned_config_doesnotexist", await aws.delete_provisioned_concurrency_config(**version)
    )
    listed = await aws.list_provisioned_concurrency_configs(FunctionName="f")
    recording.check("list_provisioned_noconfigs", listed)
    with pytest.raises(ClientError) as zero:
        await aws.of(validate=False).put_provisioned_concurrency_config(**version, ProvisionedConcurrentExecutions=0)
    recording.check("put_provisioned_invalid_param_0", zero.value)


async def test_limits_of_the_account(aws: Lambda) -> None:
    limits = (await aws.get_account_settings())["AccountLimit"]
    unreserved = limits["UnreservedConcurrentExecutions"]
    recording = Recording.find(
        "TestLambdaProvisionedConcurrency::test_provisioned_concurrency_limits",
        unreserved_concurrency=str(unreserved),
        min_unreserved_concurrency="100",
    )
    await aws.create(Publish=True)
    version = {"FunctionName": "f", "Qualifier": "1"}
    error = await aws.refused(PUT, **version, ProvisionedConcurrentExecutions=unreserved + 1)
    recording.check("put_provisioned_concurrency_account_limit_exceeded", error)
    error = await aws.refused(PUT, **version, ProvisionedConcurrentExecutions=unreserved - 99)
    recording.check("put_provisioned_concurrency_below_unreserved_min_value", error)


async def test_what_is_provisioned_is_taken_off_the_account(aws: Lambda) -> None:
    await aws.create(Publish=True)
    await aws.create("other", Publish=True)
    await aws.put_provisioned_concurrency_config(FunctionName="f", Qualifier="1", ProvisionedConcurrentExecutions=30)
    assert await _unreserved(aws) == 970
    await aws.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=40)  # the 30 are part of it
    assert await _unreserved(aws) == 960
    error = await aws.refused("put_function_concurrency", FunctionName="other", ReservedConcurrentExecutions=861)
    assert "below its minimum value of [100]" in str(error)
    await aws.delete_function(FunctionName="f")
    assert await _unreserved(aws) == 1000


async def test_a_list_by_qualifier(aws: Lambda) -> None:
    await aws.create(Publish=True)
    await aws.update_function_configuration(FunctionName="f", Description="second")
    await aws.bench.settle()
    await aws.publish_version(FunctionName="f")
    await aws.create_alias(FunctionName="f", FunctionVersion="2", Name="live")
    for qualifier in ("live", "1"):
        await aws.put_provisioned_concurrency_config(
            FunctionName="f", Qualifier=qualifier, ProvisionedConcurrentExecutions=2
        )
    first = await aws.list_provisioned_concurrency_configs(FunctionName="f", MaxItems=1)
    second = await aws.list_provisioned_concurrency_configs(FunctionName="f", Marker=first["NextMarker"])
    both = first["ProvisionedConcurrencyConfigs"] + second["ProvisionedConcurrencyConfigs"]
    assert [one["FunctionArn"].rpartition(":")[2] for one in both] == ["1", "live"]
    assert "NextMarker" not in second
    await aws.delete_alias(FunctionName="f", Name="live")
    await aws.delete_function(FunctionName="f", Qualifier="1")
    listed = await aws.list_provisioned_concurrency_configs(FunctionName="f")
    assert listed["ProvisionedConcurrencyConfigs"] == []


async def test_an_alias_of_latest_is_refused(aws: Lambda) -> None:
    await aws.create()
    await aws.create_alias(FunctionName="f", Name="dev", FunctionVersion="$LATEST")
    error = await aws.refused(PUT, FunctionName="f", Qualifier="dev", ProvisionedConcurrentExecutions=1)
    assert code_of(error) == "InvalidParameterValueException"
    text = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    assert message_of(error) == text


async def test_an_alias_with_weights_is_refused(aws: Lambda) -> None:
    await aws.create(Publish=True)
    await aws.update_function_configuration(FunctionName="f", Description="second")
    await aws.bench.settle()
    await aws.publish_version(FunctionName="f")
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    await aws.create_alias(FunctionName="f", FunctionVersion="1", Name="live", RoutingConfig=routing)
    error = await aws.refused(PUT, FunctionName="f", Qualifier="live", ProvisionedConcurrentExecutions=1)
    assert error.response["Error"]["Code"] == "InvalidParameterValueException"


async def test_a_version_with_snapstart_is_refused(aws: Lambda) -> None:
    await aws.create(Publish=True, SnapStart={"ApplyOn": "PublishedVersions"})
    error = await aws.refused(PUT, FunctionName="f", Qualifier="1", ProvisionedConcurrentExecutions=1)
    assert "SnapStart" in str(error)


async def _unreserved(aws: Lambda) -> int:
    settings = await aws.get_account_settings()
    return settings["AccountLimit"]["UnreservedConcurrentExecutions"]  # type: ignore[no-any-return]
