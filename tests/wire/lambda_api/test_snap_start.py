"""SnapStart on the control plane, replayed against what AWS answered and beyond."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.recordings import Recording
from tests.wire.lambda_api.conftest import Lambda, code_of, message_of

ACCESS_POINT = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0"


@pytest.mark.parametrize("runtime", ["python3.12", "python3.13"])
async def test_the_life_of_a_function(aws: Lambda, runtime: str) -> None:
    recording = Recording.find(f"TestLambdaSnapStart::test_snapstart_lifecycle[{runtime}]")
    settings = {"Runtime": runtime, "Handler": "handler.handler", "MemorySize": 1024, "Timeout": 5}
    created = await aws.create(**settings, SnapStart={"ApplyOn": "None"})
    recording.check("create_function_response", created)
    recording.check("get_function_response_latest", await aws.get_function(FunctionName="f"))
    await aws.publish_version(FunctionName="f", Description="version1")
    await aws.bench.settle()
    shown = await aws.get_function(FunctionName="f", Qualifier="1")
    recording.check("get_function_response_version_1", shown)


async def test_a_version_is_pending_until_its_snapshot_is_there(aws: Lambda) -> None:
    created = await aws.create(SnapStart={"ApplyOn": "PublishedVersions"})
    assert created["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    aws.bench.preparation.hold()
    published = await aws.publish_version(FunctionName="f")
    assert (published["State"], published["StateReasonCode"]) == ("Pending", "Creating")
    aws.bench.preparation.release()
    await aws.bench.settle()
    shown = await aws.get_function_configuration(FunctionName="f", Qualifier="1")
    assert shown["State"] == "Active"
    assert shown["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    latest = await aws.get_function_configuration(FunctionName="f")
    assert latest["SnapStart"]["OptimizationStatus"] == "Off"


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"EphemeralStorage": {"Size": 513}}, "Ephemeral storage of more than 512 MB"),
        ({"FileSystemConfigs": [{"Arn": ACCESS_POINT, "LocalMountPath": "/mnt/x"}]}, "Amazon EFS"),
    ],
)
async def test_what_does_not_go_with_snapshots(aws: Lambda, settings: dict[str, Any], refused: str) -> None:
    text = f"{refused} is not supported for SnapStart enabled functions."
    snap_start = {"ApplyOn": "PublishedVersions"}
    with pytest.raises(ClientError) as error:
        await aws.create(SnapStart=snap_start, **settings)
    assert (code_of(error.value), message_of(error.value)) == ("InvalidParameterValueException", text)
    await aws.create("g", SnapStart=snap_start)
    assert message_of(await aws.refused("update_function_configuration", FunctionName="g", **settings)) == text
    await aws.create("h", **settings)
    changed = {"FunctionName": "h", "SnapStart": snap_start}
    assert message_of(await aws.refused("update_function_configuration", **changed)) == text
