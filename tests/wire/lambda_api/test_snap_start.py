"""SnapStart on the control plane, replayed against what AWS answered and beyond."""

from __future__ import annotations

import pytest

from tests.recordings import Recording
from tests.wire.lambda_api.conftest import Lambda


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
