"""Layers through boto3, beyond what is recorded."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.domain import layers
from tests.control.building import ACCOUNT, REGION, zipped
from tests.wire.lambda_api.conftest import CODE, OTHER_CODE, Lambda, code_of, message_of

LAYER = zipped({"python/own.py": "value = 1\n"})
OTHER_ACCOUNT = "222222222222"


async def published(aws: Any, name: str = "l", content: bytes = LAYER, **members: Any) -> str:
    answer = await aws.publish_layer_version(LayerName=name, Content={"ZipFile": content}, **members)
    return str(answer["LayerVersionArn"])


async def test_members_that_were_not_given_are_not_shown(aws: Lambda) -> None:
    answer = await aws.publish_layer_version(LayerName="l", Content={"ZipFile": LAYER})
    assert answer.keys() - {"ResponseMetadata"} == {
        "Content", "LayerArn", "LayerVersionArn", "Description", "CreatedDate", "Version"
    }  # fmt: skip
    assert answer["Content"]["CodeSize"] == len(LAYER)
    assert answer["Content"]["Location"].endswith(answer["Content"]["CodeSha256"])


async def test_a_layer_can_be_named_by_its_arn(aws: Lambda) -> None:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l"
    assert await published(aws, arn) == f"{arn}:1"
    assert (await aws.get_layer_version(LayerName=arn, VersionNumber=1))["LayerVersionArn"] == f"{arn}:1"
    error = await aws.refused("get_layer_version", LayerName=arn.replace(REGION, "eu-west-1"), VersionNumber=1)
    assert code_of(error) == "ResourceNotFoundException"


async def test_listings_show_the_newest_version_that_matches(aws: Lambda) -> None:
    python: Any = {"CompatibleRuntimes": ["python3.12", "python3.13"]}
    await published(aws, "a", **python, CompatibleArchitectures=["x86_64"])
    await published(aws, "a", CompatibleRuntimes=["nodejs22.x"], CompatibleArchitectures=["arm64"])
    await published(aws, "b", **python)
    await published(aws, "c")

    async def found(**wanted: str) -> list[str]:
        listed = (await aws.list_layers(**wanted))["Layers"]
        return [layer["LatestMatchingVersion"]["LayerVersionArn"].partition(":layer:")[2] for layer in listed]

    assert await found() == ["a:2", "b:1", "c:1"]
    assert await found(CompatibleRuntime="python3.13") == ["a:1", "b:1"]
    assert await found(CompatibleRuntime="java17.al2023") == []
    assert await found(CompatibleArchitecture="arm64") == ["a:2"]
    assert await found(CompatibleRuntime="python3.13", CompatibleArchitecture="arm64") == []
    assert (await aws.list_layers())["Layers"][1] == {
        "LayerName": "b",
        "LayerArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:b",
        "LatestMatchingVersion": (await aws.list_layer_versions(LayerName="b"))["LayerVersions"][0],
    }
    versions = await aws.list_layer_versions(LayerName="a", CompatibleRuntime="python3.12")
    assert [version["Version"] for version in versions["LayerVersions"]] == [1]


async def test_pages(aws: Lambda) -> None:
    for name in ("a", "a", "a", "b", "c"):
        await published(aws, name)
    first = await aws.list_layers(MaxItems=2)
    second = await aws.list_layers(MaxItems=2, Marker=first["NextMarker"])
    assert [layer["LayerName"] for page in (first, second) for layer in page["Layers"]] == ["a", "b", "c"]
    assert "NextMarker" not in second
    first = await aws.list_layer_versions(LayerName="a", MaxItems=2)
    second = await aws.list_layer_versions(LayerName="a", MaxItems=2, Marker=first["NextMarker"])
    assert [version["Version"] for page in (first, second) for version in page["LayerVersions"]] == [3, 2, 1]
    error = await aws.refused("list_layers", Marker="of my own")
    assert code_of(error) == "InvalidParameterValueException"
    error = await aws.refused("list_layers", MaxItems=51)
    assert "Member must have value less than or equal to 50" in message_of(error)


async def test_another_accounts_layer_needs_its_permission(aws: Lambda) -> None:
    other = aws.of(key=OTHER_ACCOUNT)
    arn = await published(other)
    version = {"LayerName": arn.rpartition(":")[0], "VersionNumber": 1}
    await aws.create()
    use: Any = {"FunctionName": "f", "Layers": [arn]}

    async def refusals() -> list[str]:
        return [
            message_of(await aws.refused("get_layer_version_by_arn", Arn=arn)),
            message_of(await aws.refused("get_layer_version", **version)),
            message_of(await aws.refused("update_function_configuration", **use)),
        ]

    texts = await refusals()
    assert set(texts) == {
        f"User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: lambda:GetLayerVersion on resource: {arn} "
        "because no resource-based policy allows the lambda:GetLayerVersion action"
    }
    allow: Any = {"LayerName": "l", "VersionNumber": 1, "StatementId": "s", "Action": "lambda:GetLayerVersion"}
    await other.add_layer_version_permission(**allow, Principal="333333333333")
    assert await refusals() == texts
    await other.remove_layer_version_permission(LayerName="l", VersionNumber=1, StatementId="s")
    await other.add_layer_version_permission(**allow, Principal=ACCOUNT)
    assert (await aws.get_layer_version_by_arn(Arn=arn))["LayerVersionArn"] == arn
    assert (await aws.get_layer_version(**version))["LayerVersionArn"] == arn
    updated = await aws.update_function_configuration(**use)
    assert updated["Layers"] == [{"Arn": arn, "CodeSize": len(LAYER)}]


async def test_another_accounts_layer_that_is_not_there(aws: Lambda) -> None:
    arn = f"arn:aws:lambda:{REGION}:{OTHER_ACCOUNT}:layer:famous:7"
    with pytest.raises(ClientError, match="publish a copy of it with PublishLayerVersion") as error:
        await aws.create(Layers=[arn])
    assert code_of(error.value) == "AccessDeniedException"


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("publish_layer_version", {"Content": {"ZipFile": LAYER}}),
        ("delete_layer_version", {"VersionNumber": 1}),
        ("list_layer_versions", {}),
        ("get_layer_version_policy", {"VersionNumber": 1}),
        ("remove_layer_version_permission", {"VersionNumber": 1, "StatementId": "s"}),
        (
            "add_layer_version_permission",
            {"VersionNumber": 1, "StatementId": "t", "Action": "lambda:GetLayerVersion", "Principal": "*"},
        ),
    ],
)
async def test_a_layer_is_changed_by_its_owner_alone(aws: Lambda, operation: str, params: dict[str, Any]) -> None:
    other = aws.of(key=OTHER_ACCOUNT)
    arn = await published(other)
    await other.add_layer_version_permission(
        LayerName="l", VersionNumber=1, StatementId="s", Action="lambda:GetLayerVersion", Principal="*"
    )
    error = await aws.refused(operation, LayerName=arn.rpartition(":")[0], **params)
    assert code_of(error) == "AccessDeniedException"


async def test_removed_permissions_leave_no_policy(aws: Lambda) -> None:
    await published(aws)
    version = {"LayerName": "l", "VersionNumber": 1}
    allow: Any = {**version, "Action": "lambda:GetLayerVersion", "Principal": ACCOUNT}
    error = await aws.refused("remove_layer_version_permission", **version, StatementId="s1")
    assert message_of(error) == "No policy is associated with the given resource."
    first = await aws.add_layer_version_permission(**allow, StatementId="s1")
    second = await aws.add_layer_version_permission(**allow, StatementId="s2", RevisionId=first["RevisionId"])
    policy = await aws.get_layer_version_policy(**version)
    assert policy["RevisionId"] == second["RevisionId"] != first["RevisionId"]
    assert json.loads(policy["Policy"])["Statement"] == [json.loads(answer["Statement"]) for answer in (first, second)]
    for sid in ("s1", "s2"):
        await aws.remove_layer_version_permission(**version, StatementId=sid)
    error = await aws.refused("get_layer_version_policy", **version)
    assert message_of(error) == "No policy is associated with the given resource."


async def test_versions_keep_their_layers(aws: Lambda) -> None:
    first, second = await published(aws, "a"), await published(aws, "b")
    await aws.create(Layers=[first, second])
    await aws.publish_version(FunctionName="f")
    cleared = await aws.update_function_configuration(FunctionName="f", Layers=[])
    await aws.bench.settle()
    assert "Layers" not in cleared
    assert (await aws.publish_version(FunctionName="f"))["Version"] == "2"
    kept = await aws.get_function_configuration(FunctionName="f", Qualifier="1")
    assert [layer["Arn"] for layer in kept["Layers"]] == [first, second]
    listed = (await aws.list_versions_by_function(FunctionName="f"))["Versions"]
    assert [[layer["Arn"] for layer in version.get("Layers", [])] for version in listed] == [[], [first, second], []]


async def test_other_updates_keep_the_layers(aws: Lambda) -> None:
    arn = await published(aws)
    await aws.create(Layers=[arn])
    await aws.delete_layer_version(LayerName="l", VersionNumber=1)
    for operation, change in (
        ("update_function_configuration", {"Description": "d"}),
        ("update_function_code", {"ZipFile": OTHER_CODE}),
    ):
        updated = await getattr(aws, operation)(FunctionName="f", **change)
        await aws.bench.settle()
        assert updated["Layers"] == [{"Arn": arn, "CodeSize": len(LAYER)}]
    error = await aws.refused("update_function_configuration", FunctionName="f", Layers=[arn])
    assert message_of(error) == f"Layer version {arn} does not exist."


async def test_code_and_layers_are_measured_together(aws: Lambda, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = await published(aws, "s", zipped({"a": b"1"})), await published(aws, "l", zipped({"a": b"1" * 200}))
    monkeypatch.setattr(layers, "MAX_UNZIPPED_BYTES", 240)
    text = "Function code combined with layers exceeds the maximum allowed size of 240 bytes"
    with pytest.raises(ClientError, match=text):
        await aws.create(Layers=[large])
    await aws.create(Layers=[small])
    error = await aws.refused("update_function_configuration", FunctionName="f", Layers=[large])
    assert message_of(error).startswith(text)
    code = zipped({"index.py": b"#" * 250})
    for dry_run in (True, False):
        error = await aws.refused("update_function_code", FunctionName="f", ZipFile=code, DryRun=dry_run)
        assert message_of(error).startswith(text)
    more = [await published(aws, "m", zipped({"a": b"2" * 100})), large]
    error = await aws.refused("update_function_configuration", FunctionName="f", Layers=more)
    assert message_of(error) == "Layers consume more than the available size of 240 bytes"


async def test_layers_count_as_code_storage(aws: Lambda, monkeypatch: pytest.MonkeyPatch) -> None:
    async def used() -> int:
        return int((await aws.get_account_settings())["AccountUsage"]["TotalCodeSize"])

    await aws.create()
    assert await used() == len(CODE)
    arn = await published(aws)
    await published(aws)
    assert await used() == len(CODE) + 2 * len(LAYER)
    await aws.update_function_configuration(FunctionName="f", Layers=[arn])  # not counted once more
    await aws.delete_layer_version(LayerName="l", VersionNumber=2)
    assert await used() == len(CODE) + len(LAYER)
    monkeypatch.setattr("lambdad.control.code_source.CODE_STORAGE_BYTES", await used() + 1)
    with pytest.raises(ClientError) as error:
        await published(aws)
    assert code_of(error.value) == "CodeStorageExceededException"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"ZipFile": b"no zip"}, "Could not unzip uploaded file. Please check your file, then try to upload again."),
        ({"ZipFile": zipped({"../x": "1"})}, "has a path that does not stay in the package"),
        ({}, "Please provide a source"),
    ],
)
async def test_archives_that_are_refused(aws: Lambda, content: dict[str, Any], text: str) -> None:
    error = await aws.refused("publish_layer_version", LayerName="l", Content=content)
    assert code_of(error) == "InvalidParameterValueException"
    assert text in message_of(error)
    assert (await aws.list_layers())["Layers"] == []


async def test_what_functions_need_of_deleted_layers_is_not_collected(aws: Lambda) -> None:
    archives = [zipped({"python/a.py": "1"}), zipped({"python/b.py": "2"})]
    arns = [await published(aws, f"l{number}", archive) for number, archive in enumerate(archives)]
    await aws.create(Layers=arns)
    hashes = [(await aws.get_layer_version_by_arn(Arn=arn))["Content"]["CodeSha256"] for arn in arns]
    for number in range(2):
        await aws.delete_layer_version(LayerName=f"l{number}", VersionNumber=1)
    packages = aws.bench.packages
    merged = await packages.merged_tree(hashes)
    await aws.bench.plane.garbage.run_once()
    assert sorted(path.name for path in (merged / "python").iterdir()) == ["a.py", "b.py"]
    assert [await packages.read(code) for code in hashes] == archives
    await aws.delete_function(FunctionName="f")
    await aws.bench.plane.garbage.run_once()
    assert not merged.exists()
    with pytest.raises(FileNotFoundError):
        await packages.read(hashes[0])


async def test_the_archive_of_a_layer_version_is_not_collected(aws: Lambda) -> None:
    await published(aws)
    code = (await aws.get_layer_version(LayerName="l", VersionNumber=1))["Content"]["CodeSha256"]
    await aws.bench.plane.garbage.run_once()
    assert await aws.bench.packages.read(code) == LAYER


@pytest.mark.parametrize("number", ["01", "9" * 25])
async def test_numbers_that_no_layer_version_has(aws: Lambda, number: str) -> None:
    await published(aws)
    await aws.create()
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l:{number}"
    error = await aws.refused("get_layer_version_by_arn", Arn=arn)
    assert code_of(error) == "ResourceNotFoundException"
    error = await aws.refused("update_function_configuration", FunctionName="f", Layers=[arn])
    assert message_of(error) == f"Layer version {arn} does not exist."


async def test_markers_with_numbers_that_nothing_has(aws: Lambda) -> None:
    marker = base64.urlsafe_b64encode(json.dumps([1 << 70]).encode()).decode()
    error = await aws.refused("list_layer_versions", LayerName="l", Marker=marker)
    assert code_of(error) == "InvalidParameterValueException"
