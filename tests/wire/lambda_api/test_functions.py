"""The control plane through boto3, where no recording tells."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.control.building import ACCOUNT, REGION, ROLE, zipped
from tests.wire.lambda_api.conftest import OTHER_CODE, Lambda, code_of, message_of

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"


async def test_the_waiters_of_boto3_end(aws: Lambda) -> None:
    await aws.create(wait=False)
    config = {"Delay": 0.01, "MaxAttempts": 100}
    for update, waiter in (
        ({}, "function_exists"),
        ({}, "function_active"),
        ({}, "function_active_v2"),
        ({"Description": "d"}, "function_updated"),
        ({"Description": "e"}, "function_updated_v2"),
    ):
        if update:
            await aws.update_function_configuration(FunctionName="f", **update)
        waiting = await aws.get_waiter(waiter_name=waiter)
        await asyncio.to_thread(waiting.wait, FunctionName="f", WaiterConfig=config)
    assert (await aws.get_function_configuration(FunctionName="f"))["LastUpdateStatus"] == "Successful"


async def test_the_same_function_by_every_form_of_its_name(aws: Lambda) -> None:
    await aws.create()
    for name in ("f", f"{ARN}:f", f"{ACCOUNT}:function:f", f"{ACCOUNT}:f", "function:f"):
        answer = await aws.update_function_configuration(FunctionName=name, Description=name)
        await aws.bench.settle()
        assert answer["FunctionArn"] == f"{ARN}:f"
        assert (await aws.get_function_configuration(FunctionName=name))["Description"] == name


async def test_an_alias_shows_its_version_and_neither_tags_nor_concurrency(aws: Lambda) -> None:
    await aws.create(Tags={"a": "b"}, Publish=True)
    await aws.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=1)
    await aws.create_alias(FunctionName="f", Name="prod", FunctionVersion="1")
    whole = await aws.get_function(FunctionName="f")
    assert (whole["Tags"], whole["Concurrency"]) == ({"a": "b"}, {"ReservedConcurrentExecutions": 1})
    for qualifier in ("prod", "1", "$LATEST"):
        part = await aws.get_function(FunctionName="f", Qualifier=qualifier)
        assert part["Configuration"]["FunctionArn"] == f"{ARN}:f:{qualifier}"
        assert part["Configuration"]["Version"] == ("$LATEST" if qualifier == "$LATEST" else "1")
        assert part.keys() == {"Configuration", "Code", "ResponseMetadata"}
    assert whole["Code"]["Location"] == f"http://localhost:4566/code/{whole['Configuration']['CodeSha256']}"


async def test_qualifiers_that_lead_nowhere(aws: Lambda) -> None:
    await aws.create()
    for qualifier, text in (
        ("prod", f"Function not found: {ARN}:f:prod"),
        ("7", f"Function not found: {ARN}:f:7"),
        ("$latest", f"Function not found: {ARN}:f:$latest"),
    ):
        error = await aws.refused("get_function", FunctionName="f", Qualifier=qualifier)
        assert (code_of(error), message_of(error)) == ("ResourceNotFoundException", text)
        error = await aws.refused("get_function", FunctionName="missing", Qualifier=qualifier)
        assert message_of(error) == f"Function not found: {ARN}:missing:{qualifier}"


async def test_a_version_that_aliases_use_cannot_be_deleted(aws: Lambda) -> None:
    await aws.create(Publish=True)
    await aws.update_function_code(FunctionName="f", ZipFile=OTHER_CODE)
    await aws.bench.settle()
    await aws.publish_version(FunctionName="f")
    weights = {"AdditionalVersionWeights": {"1": 0.5}}
    await aws.create_alias(FunctionName="f", Name="prod", FunctionVersion="1")
    await aws.create_alias(FunctionName="f", Name="test", FunctionVersion="2", RoutingConfig=weights)
    error = await aws.refused("delete_function", FunctionName="f", Qualifier="1")
    assert code_of(error) == "ResourceConflictException"
    text = "Unable to delete version because the following aliases reference it: "
    assert message_of(error) == f"{text}[prod, test]"
    error = await aws.refused("delete_function", FunctionName="f", Qualifier="2")
    assert message_of(error) == f"{text}[test]"


async def test_other_accounts_are_closed(aws: Lambda) -> None:
    await aws.create()
    other = aws.of(key="222222222222")
    with pytest.raises(ClientError, match="is not authorized to perform: lambda:GetFunction on resource") as error:
        await other.get_function(FunctionName=f"{ARN}:f")
    assert code_of(error.value) == "AccessDeniedException"
    assert (await other.list_functions())["Functions"] == []


async def test_two_qualifiers(aws: Lambda) -> None:
    error = await aws.refused("get_function", FunctionName="f:1", Qualifier="2")
    assert message_of(error) == "The derived qualifier from the function name does not match the specified qualifier."


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("update_function_code", {"ZipFile": OTHER_CODE}),
        ("update_function_configuration", {}),
        ("publish_version", {}),
        ("create_alias", {"Name": "a", "FunctionVersion": "1"}),
        ("get_function_concurrency", {}),
    ],
)
async def test_versions_cannot_be_changed(aws: Lambda, operation: str, params: dict[str, Any]) -> None:
    await aws.create(Publish=True)
    error = await aws.refused(operation, FunctionName="f:1", **params)
    assert code_of(error) == "InvalidParameterValueException"
    assert message_of(error).startswith("This operation is permitted on Lambda functions only.")


async def test_listings_come_in_pages_of_fifty(aws: Lambda) -> None:
    for number in range(60):
        await aws.create(f"f{number:02}", wait=False)
    await aws.bench.settle()
    first = await aws.list_functions(MaxItems=1000)
    second = await aws.list_functions(Marker=first["NextMarker"])
    names = [function["FunctionName"] for page in (first, second) for function in page["Functions"]]
    assert names == [f"f{number:02}" for number in range(60)]
    assert (len(first["Functions"]), "NextMarker" in second) == (50, False)
    shown = first["Functions"][0]
    assert not {"State", "LastUpdateStatus", "RuntimeVersionConfig"} & shown.keys()
    assert shown["FunctionArn"] == f"{ARN}:f00"
    assert shown["RevisionId"]


async def test_listing_every_version(aws: Lambda) -> None:
    await aws.create("b", Publish=True)
    await aws.create("a")
    listed = (await aws.list_functions(FunctionVersion="ALL"))["Functions"]
    assert [function["FunctionArn"] for function in listed] == [
        f"{ARN}:a:$LATEST",
        f"{ARN}:b:$LATEST",
        f"{ARN}:b:1",
    ]
    error = await aws.refused("list_functions", FunctionVersion="SOME")
    assert message_of(error) == (
        "1 validation error detected: Value 'SOME' at 'functionVersion' failed to satisfy constraint: "
        "Member must satisfy enum value set: [ALL]"
    )
    marker = (await aws.list_functions(MaxItems=1))["NextMarker"]
    error = await aws.refused("list_functions", FunctionVersion="ALL", Marker=marker)
    assert code_of(error) == "InvalidParameterValueException"


async def test_what_an_update_keeps_and_clears(aws: Lambda) -> None:
    await aws.create(
        Environment={"Variables": {"AA": "b"}},
        DeadLetterConfig={"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"},
        KMSKeyArn=f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k",
        TracingConfig={"Mode": "Active"},
        EphemeralStorage={"Size": 1024},
        Description="d",
    )
    created = await aws.get_function_configuration(FunctionName="f")

    async def updated(**change: Any) -> dict[str, Any]:
        await aws.update_function_configuration(FunctionName="f", **change)
        await aws.bench.settle()
        return dict(await aws.get_function_configuration(FunctionName="f"))

    volatile = {"RevisionId", "LastModified", "ResponseMetadata"}

    def stable(shown: dict[str, Any]) -> dict[str, Any]:
        return {member: value for member, value in shown.items() if member not in volatile}

    assert stable(await updated()) == stable(created)
    cleared = await updated(
        Environment={"Variables": {}}, DeadLetterConfig={"TargetArn": ""}, KMSKeyArn="", Layers=[], Description=""
    )
    assert cleared["Environment"] == {"Variables": {}}
    assert cleared["Description"] == ""
    assert not {"DeadLetterConfig", "KMSKeyArn", "Layers"} & cleared.keys()
    assert (cleared["TracingConfig"], cleared["EphemeralStorage"]) == ({"Mode": "Active"}, {"Size": 1024})


async def test_creation_needs_runtime_and_handler(aws: Lambda) -> None:
    error = await aws.refused(
        "create_function", FunctionName="f", Role=ROLE, Runtime="python3.12", Code={"ZipFile": OTHER_CODE}
    )
    assert message_of(error) == (
        "Runtime and Handler are mandatory parameters for functions created with deployment packages."
    )


@pytest.mark.parametrize(
    ("settings", "code", "text"),
    [
        (
            {"Code": {"ZipFile": b"x"}},
            "InvalidParameterValueException",
            "^Could not unzip uploaded file. Please check your file, then try to upload again.$",
        ),
        ({"Code": {"ZipFile": zipped({"../x": ""})}}, "InvalidParameterValueException", "does not stay in the package"),
        ({"Code": {"S3Bucket": "bucket", "S3Key": "k"}}, "InvalidParameterValueException", r"lambdad\[aws\]"),
        ({"Code": {"ImageUri": "i"}, "PackageType": "Image"}, "InvalidParameterValueException", "container images"),
        ({"Handler": "a b"}, "ValidationException", "at 'handler' failed to satisfy constraint"),
        ({"Handler": "a" * 129}, "ValidationException", "length less than or equal to 128"),
        ({"Timeout": 0}, "ValidationException", "at 'timeout'.*greater than or equal to 1$"),
        ({"Timeout": 901}, "ValidationException", "^1 validation error detected: Value '901' at 'timeout'"),
        ({"MemorySize": 127}, "ValidationException", "at 'memorySize'.*greater than or equal to 128$"),
        ({"EphemeralStorage": {"Size": 511}}, "ValidationException", "at 'ephemeralStorage.size'"),
        ({"Description": "d" * 257}, "ValidationException", "at 'description'"),
        (
            {"Architectures": ["x86_64", "arm64"]},
            "ValidationException",
            r"Value '\[x86_64, arm64\]' at 'architectures'.*Member must have length less than or equal to 1",
        ),
        ({"Role": "r"}, "ValidationException", "at 'role' failed to satisfy constraint"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException", "AWS_REGION$"),
        ({"DurableConfig": {"ExecutionTimeout": 60}}, "InvalidParameterValueException", "DurableConfig is not offered"),
        ({"Tags": {"aws:x": ""}}, "InvalidParameterValueException", "aws:x"),
    ],
)
async def test_functions_that_are_refused(aws: Lambda, settings: dict[str, Any], code: str, text: str) -> None:
    with pytest.raises(ClientError) as error:
        await aws.create(**settings)
    assert code_of(error.value) == code
    assert re.search(text, message_of(error.value))
    assert (await aws.list_functions())["Functions"] == []


async def test_an_existing_name(aws: Lambda) -> None:
    await aws.create()
    with pytest.raises(ClientError, match=r"Function already exist: f$") as error:
        await aws.create()
    assert code_of(error.value) == "ResourceConflictException"


@pytest.mark.parametrize(
    ("params", "code", "text"),
    [
        ({"Name": "123"}, "ValidationException", "at 'name' failed to satisfy constraint"),
        (
            {"RoutingConfig": {"AdditionalVersionWeights": {"2": 2.0}}},
            "ValidationException",
            "Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: "
            "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
            "Member must have value greater than or equal to 0.0, Member must not be null]",
        ),
        (
            {"RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.5}}},
            "ValidationException",
            "Map keys must satisfy constraint",
        ),
        (
            {"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5, "3": 0.1}}},
            "InvalidParameterValueException",
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ),
        (
            {"FunctionVersion": "$LATEST", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}},
            "InvalidParameterValueException",
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        ({"FunctionVersion": "10"}, "ResourceNotFoundException", f"Function not found: {ARN}:f:10"),
    ],
)
async def test_refused_aliases(aws: Lambda, params: dict[str, Any], code: str, text: str) -> None:
    await aws.create(Publish=True)
    error = await aws.refused("create_alias", **{"FunctionName": "f", "Name": "a", "FunctionVersion": "1", **params})
    assert code_of(error) == code
    assert text in message_of(error)


async def test_aliases(aws: Lambda) -> None:
    await aws.create(Publish=True)
    await aws.update_function_code(FunctionName="f", ZipFile=OTHER_CODE, Publish=True)
    await aws.bench.settle()
    routing = {"AdditionalVersionWeights": {"2": 0.2}}
    made = await aws.create_alias(FunctionName="f", Name="a", FunctionVersion="1", RoutingConfig=routing)
    assert made["RoutingConfig"] == routing
    assert (await aws.get_alias(FunctionName="f", Name="a"))["AliasArn"] == f"{ARN}:f:a"
    await aws.create_alias(FunctionName="f", Name="b", FunctionVersion="$LATEST")
    listed = await aws.list_aliases(FunctionName="f", FunctionVersion="2")
    assert [alias["Name"] for alias in listed["Aliases"]] == ["a"]
    page = await aws.list_aliases(FunctionName="f", MaxItems=1)
    assert [alias["Name"] for alias in page["Aliases"]] == ["a"]
    page = await aws.list_aliases(FunctionName="f", Marker=page["NextMarker"])
    assert [alias["Name"] for alias in page["Aliases"]] == ["b"]
    cleared = await aws.update_alias(FunctionName="f", Name="a", RoutingConfig={})
    assert "RoutingConfig" not in cleared
    error = await aws.refused("create_alias", FunctionName="f", Name="a", FunctionVersion="1")
    assert (code_of(error), message_of(error)) == ("ResourceConflictException", f"Alias already exists: {ARN}:f:a")
    await aws.delete_alias(FunctionName="f", Name="a")
    error = await aws.refused("get_alias", FunctionName="f", Name="a")
    assert message_of(error) == f"Cannot find alias arn: {ARN}:f:a"


async def test_too_much_reserved(aws: Lambda) -> None:
    await aws.create()
    error = await aws.refused("put_function_concurrency", FunctionName="f", ReservedConcurrentExecutions=901)
    assert message_of(error) == (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
        "below its minimum value of [100]."
    )
    assert "Type" not in error.response


async def test_runtime_management(aws: Lambda) -> None:
    await aws.create()
    answer = await aws.get_runtime_management_config(FunctionName="f")
    assert (answer["UpdateRuntimeOn"], answer["FunctionArn"]) == ("Auto", f"{ARN}:f")
    build = f"arn:aws:lambda:{REGION}::runtime:{'0' * 64}"
    await aws.put_runtime_management_config(
        FunctionName="f", UpdateRuntimeOn="Manual", RuntimeVersionArn=build, Qualifier="$LATEST"
    )
    answer = await aws.get_runtime_management_config(FunctionName="f")
    assert (answer["UpdateRuntimeOn"], answer["RuntimeVersionArn"]) == ("Manual", build)


async def test_recursion_is_stopped_unless_told_otherwise(aws: Lambda) -> None:
    await aws.create()
    assert (await aws.get_function_recursion_config(FunctionName="f"))["RecursiveLoop"] == "Terminate"


@pytest.mark.parametrize(
    ("resource", "text"),
    [
        ("event-source-mapping:12345678-1234-1234-1234-123456789012", "Event source mapping not found: {arn}"),
        ("capacity-provider:c", "Capacity provider not found: {arn}"),
    ],
)
async def test_tags_of_resources_that_do_not_exist(aws: Lambda, resource: str, text: str) -> None:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:{resource}"
    error = await aws.refused("list_tags", Resource=arn)
    assert message_of(error) == text.format(arn=arn)


async def test_weights_are_for_versions_with_the_same_role_and_dead_letter_queue(aws: Lambda) -> None:
    await aws.create(Publish=True)
    await aws.update_function_configuration(
        FunctionName="f", DeadLetterConfig={"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}
    )
    await aws.bench.settle()
    await aws.publish_version(FunctionName="f")
    await aws.update_function_configuration(FunctionName="f", Role=f"{ROLE}-2", DeadLetterConfig={"TargetArn": ""})
    await aws.bench.settle()
    await aws.publish_version(FunctionName="f")
    await aws.create_alias(FunctionName="f", Name="prod", FunctionVersion="1")
    for version, what in (("2", "dead-letter queue"), ("3", "execution role")):
        error = await aws.refused(
            "update_alias",
            FunctionName="f",
            Name="prod",
            RoutingConfig={"AdditionalVersionWeights": {version: 0.5}},
        )
        assert what in message_of(error)


@pytest.mark.parametrize("number", ["0", "01", "9" * 25])
async def test_numbers_that_no_version_has(aws: Lambda, number: str) -> None:
    await aws.create(Publish=True)
    for operation, params in (
        ("get_function", {"Qualifier": number}),
        ("get_function_configuration", {"Qualifier": number}),
        ("create_alias", {"Name": "a", "FunctionVersion": number}),
        ("put_runtime_management_config", {"Qualifier": number, "UpdateRuntimeOn": "Auto"}),
        (
            "put_provisioned_concurrency_config",
            {"Qualifier": number, "ProvisionedConcurrentExecutions": 1},
        ),
    ):
        error = await aws.refused(operation, FunctionName="f", **params)
        assert message_of(error) == f"Function not found: {ARN}:f:{number}"
    await aws.delete_function(FunctionName="f", Qualifier=number)
    listed = await aws.list_versions_by_function(FunctionName="f")
    assert [version["Version"] for version in listed["Versions"]] == ["$LATEST", "1"]


async def test_the_key_of_an_archive_is_shown_with_the_code(aws: Lambda) -> None:
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k"
    await aws.create(Code={"ZipFile": OTHER_CODE, "SourceKMSKeyArn": key})
    assert (await aws.get_function(FunctionName="f"))["Code"]["SourceKMSKeyArn"] == key
    await aws.update_function_code(FunctionName="f", ZipFile=OTHER_CODE)
    assert "SourceKMSKeyArn" not in (await aws.get_function(FunctionName="f"))["Code"]


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("publish_version", {"PublishTo": "LATEST_PUBLISHED"}),
        ("update_function_code", {"ZipFile": OTHER_CODE, "PublishTo": "LATEST_PUBLISHED"}),
        ("update_function_configuration", {"DurableConfig": {"ExecutionTimeout": 60}}),
        ("update_function_configuration", {"ImageConfig": {"Command": ["x"]}}),
    ],
)
async def test_members_of_other_kinds_of_functions_are_refused(
    aws: Lambda, operation: str, params: dict[str, Any]
) -> None:
    await aws.create()
    error = await aws.refused(operation, FunctionName="f", **params)
    assert message_of(error).endswith(" is not offered by this server.")


async def test_a_dry_run(aws: Lambda) -> None:
    created = await aws.create()
    answer = await aws.update_function_code(FunctionName="f", ZipFile=OTHER_CODE, DryRun=True)
    assert answer["CodeSha256"] != created["CodeSha256"]
    assert (await aws.get_function_configuration(FunctionName="f"))["CodeSha256"] == created["CodeSha256"]


async def test_functions_of_two_regions(aws: Lambda) -> None:
    await aws.create()
    with pytest.raises(ClientError, match="Function not found: arn:aws:lambda:eu-west-1:"):
        await aws.of(region="eu-west-1").get_function(FunctionName="f")
