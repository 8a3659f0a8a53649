"""VPC settings, replayed against what AWS answered."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.recordings import Recording
from tests.wire.lambda_api.conftest import Lambda

SETTINGS: dict[str, Any] = {
    "Handler": "handler.handler",
    "MemorySize": 256,
    "Timeout": 5,
    "Environment": {"Variables": {}},
}


async def test_life_in_a_vpc(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaFunction::test_vpc_config")
    places: list[Any] = [
        {"SubnetIds": [f"subnet-0123456789abcdef{digit}"], "SecurityGroupIds": [f"sg-0123456789abcdef{digit}"]}
        for digit in "01"
    ]
    recording.check("create_response", await aws.create(**SETTINGS, VpcConfig=places[0]))
    recording.check("get_function_response", await aws.get_function(FunctionName="f"))
    for step, place in (("update", places[1]), ("delete", {"SubnetIds": [], "SecurityGroupIds": []})):
        updated = await aws.update_function_configuration(FunctionName="f", VpcConfig=place)
        recording.check(f"{step}_vpcconfig_update_response", updated)
        await aws.bench.settle()
        shown = await aws.get_function(FunctionName="f")
        recording.check(f"{step}_vpcconfig_get_function_response", shown)


async def test_subnets_that_do_not_exist(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaFunction::test_invalid_vpc_config_subnet")
    for step, subnet in (
        ("create-response-non-existent-subnet-id", "subnet-1a2b3c4d"),
        ("create-response-invalid-format-subnet-id", "bad-format-1a2b3c4d"),
    ):
        place = {"SubnetIds": [subnet], "SecurityGroupIds": ["sg-0123456789abcdef0"]}
        with pytest.raises(ClientError) as refused:
            await aws.create(**SETTINGS, VpcConfig=place)
        recording.check(step, refused.value)
