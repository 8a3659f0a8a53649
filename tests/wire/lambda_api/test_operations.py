"""Every operation that AWS's clients can call is answered by something deliberate."""

from __future__ import annotations

from typing import Any

import pytest

from lambdad.wire.lambda_api import operations
from tests.control.building import ACCOUNT, REGION, ROLE
from tests.docs.test_fidelity import offered
from tests.wire.lambda_api.conftest import Lambda, code_of, message_of
from tests.wire.protocols import samples

EXECUTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:1/durable-execution/name/id"
PROVIDER: dict[str, Any] = {"CapacityProviderName": "p"}
INSTANCES: dict[str, Any] = {
    "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
}
SCALING: dict[str, Any] = {"FunctionName": "f", "Qualifier": "1"}
NOT_FOUND, INVALID = "ResourceNotFoundException", "InvalidParameterValueException"

ALWAYS_REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "CreateCapacityProvider": ("create_capacity_provider", {**PROVIDER, **INSTANCES}, INVALID),
    "DeleteCapacityProvider": ("delete_capacity_provider", PROVIDER, NOT_FOUND),
    "GetCapacityProvider": ("get_capacity_provider", PROVIDER, NOT_FOUND),
    "UpdateCapacityProvider": ("update_capacity_provider", PROVIDER, NOT_FOUND),
    "ListFunctionVersionsByCapacityProvider": (
        "list_function_versions_by_capacity_provider",
        PROVIDER,
        NOT_FOUND,
    ),
    "GetFunctionScalingConfig": ("get_function_scaling_config", SCALING, INVALID),
    "PutFunctionScalingConfig": ("put_function_scaling_config", SCALING, INVALID),
    "CheckpointDurableExecution": (
        "checkpoint_durable_execution",
        {"DurableExecutionArn": EXECUTION, "CheckpointToken": "YQ=="},
        INVALID,
    ),
    "GetDurableExecutionState": (
        "get_durable_execution_state",
        {"DurableExecutionArn": EXECUTION, "CheckpointToken": "YQ=="},
        INVALID,
    ),
    **{
        operation: (method, {"DurableExecutionArn": EXECUTION}, NOT_FOUND)
        for operation, method in (
            ("DeleteDurableExecution", "delete_durable_execution"),
            ("GetDurableExecution", "get_durable_execution"),
            ("GetDurableExecutionHistory", "get_durable_execution_history"),
            ("PauseDurableExecution", "pause_durable_execution"),
            ("ResumeDurableExecution", "resume_durable_execution"),
            ("StopDurableExecution", "stop_durable_execution"),
        )
    },
    **{
        f"SendDurableExecutionCallback{word}": (
            f"send_durable_execution_callback_{word.lower()}",
            {"CallbackId": "YQ=="},
            NOT_FOUND,
        )
        for word in ("Failure", "Heartbeat", "Success")
    },
}


def test_every_operation_of_the_model_is_handled() -> None:
    handled = offered("Lambda") | operations.REFUSED
    assert set(samples.service("lambda").operation_names) == handled


def test_refused_operations_are_those_that_are_tried_here() -> None:
    assert ALWAYS_REFUSED.keys() == operations.REFUSED


@pytest.mark.parametrize("operation", ALWAYS_REFUSED)
async def test_what_cannot_be_here_is_refused_with_an_error_of_the_model(aws: Lambda, operation: str) -> None:
    method, params, code = ALWAYS_REFUSED[operation]
    await aws.create(Publish=True)
    error = await aws.refused(method, **params)
    assert code_of(error) == code
    assert code in [shape.name for shape in samples.service("lambda").operation_model(operation).error_shapes]
    assert message_of(error)


async def test_listings_of_what_cannot_be_here_are_empty(aws: Lambda) -> None:
    await aws.create()
    assert (await aws.list_capacity_providers())["CapacityProviders"] == []
    assert (await aws.list_durable_executions_by_function(FunctionName="f"))["DurableExecutions"] == []
    error = await aws.refused("list_durable_executions_by_function", FunctionName="missing")
    assert message_of(error) == f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:missing"


async def test_a_scaling_configuration_is_one_of_a_function(aws: Lambda) -> None:
    error = await aws.refused("get_function_scaling_config", FunctionName="missing", Qualifier="1")
    assert message_of(error) == f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:missing:1"


@pytest.mark.parametrize("name", ["p", f"arn:aws:lambda:{REGION}:{ACCOUNT}:capacity-provider:p"])
async def test_a_capacity_provider_is_named_by_its_arn(aws: Lambda, name: str) -> None:
    error = await aws.refused("get_capacity_provider", CapacityProviderName=name)
    assert message_of(error) == (f"Capacity provider not found: arn:aws:lambda:{REGION}:{ACCOUNT}:capacity-provider:p")
