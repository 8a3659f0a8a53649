"""Functions, their updates and states, replayed against what AWS answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.control.building import ROLE, zipped
from tests.recordings import Recording, paths
from tests.wire.lambda_api.conftest import CODE, OTHER_CODE, Lambda

EMPTY: dict[str, Any] = {"Variables": {}}


async def test_lifecycle(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaFunction::test_function_lifecycle")
    created = await aws.create(Handler="handler.handler", MemorySize=256, Timeout=5, Environment=EMPTY)
    recording.check("create_response", created)
    recording.check("get_function_response", await aws.get_function(FunctionName="f"))
    updated = await aws.update_function_configuration(
        FunctionName="f",
        Runtime="python3.11",
        Description="Changed-Description",
        MemorySize=512,
        Timeout=10,
        Environment={"Variables": {"ENV_A": "a"}},
    )
    recording.check("update_func_conf_response", updated)
    await aws.bench.settle()
    recording.check("get_function_response_postupdate", await aws.get_function(FunctionName="f"))
    recording.check("update_code_response", await aws.update_function_code(FunctionName="f", ZipFile=OTHER_CODE))
    await aws.bench.settle()
    recording.check("get_function_response_postcodeupdate", await aws.get_function(FunctionName="f"))
    deleted = await aws.delete_function(FunctionName="f")
    deleted.setdefault("StatusCode", 204)
    recording.check("delete_response", deleted)
    recording.check("delete_postdelete", await aws.refused("delete_function", FunctionName="f"))


async def test_redundant_updates(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaFunction::test_redundant_updates")
    created = await aws.create(
        Handler="handler.handler", Timeout=30, Environment=EMPTY, Description="Initial description"
    )
    recording.check("create_response", created)
    for update, readings in (
        ("first_update_result", ("get_fn_config_result", "get_fn_result")),
        ("redundant_update_result", ("", "get_fn_result_after_redundant_update")),
    ):
        answer = await aws.update_function_configuration(FunctionName="f", Description="1st update description")
        recording.check(update, answer)
        await aws.bench.settle()
        if readings[0]:
            recording.check(readings[0], await aws.get_function_configuration(FunctionName="f"))
        recording.check(readings[1], await aws.get_function(FunctionName="f"))


async def test_states(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaBaseFeatures::test_function_state")
    recording.check("create-fn-response", await aws.create(Handler="handler.handler"))
    recording.check("get-fn-response", await aws.get_function(FunctionName="f"))


async def test_refused_updates(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaFunction::test_update_lambda_exceptions")
    await aws.create()
    for step, change in (
        ("invalid_role_arn_exc", {"Role": "r1"}),
        ("invalid_runtime_exc", {"Runtime": "non-existent-runtime"}),
        ("uppercase_runtime_exc", {"Runtime": "PYTHON3.9"}),
    ):
        recording.check(step, await aws.refused("update_function_configuration", FunctionName="f", **change))


async def test_an_update_of_the_handler(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaVersions::test_lambda_handler_update")
    await aws.create(Handler="handler.handler", Timeout=30, Environment=EMPTY)
    updated = await aws.update_function_configuration(FunctionName="f", Handler="handler.handler_two")
    recording.check("update_function_configuration_result", updated)
    await aws.bench.settle()
    recording.check("get_function_result", await aws.get_function(FunctionName="f"))


async def test_a_second_update_during_the_first(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaFunction::test_lambda_concurrent_code_updates")
    recording.check("create-function-response", await aws.create(Handler="handler.handler"))
    aws.bench.preparation.hold()
    await aws.update_function_code(FunctionName="f", ZipFile=OTHER_CODE)
    error = await aws.refused("update_function_code", FunctionName="f", ZipFile=CODE)
    recording.check("update-during-in-progress-update-exc", error)
    aws.bench.preparation.release()


async def test_revisions(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaRevisions::test_function_revisions_basic")
    settings: dict[str, Any] = {"Handler": "index.handler", "Timeout": 30, "Environment": EMPTY}
    created = await aws.create(**settings)
    recorded = recording.steps["create_function_response_rev1"]["CreateFunctionResponse"]
    for member in ("Handler", "Timeout"):  # what the recorded function happened to have
        recorded[member] = created[member]
    for step in recording.steps.values():
        for shown in (step, step.get("Configuration", {})):
            shown.update({member: settings[member] for member in ("Handler", "Timeout") if member in shown})
    recording.check("create_function_response_rev1", created)
    first = await aws.get_function(FunctionName="f")
    recording.check("get_function_response_rev2", first)
    stale = {"FunctionName": "f", "RevisionId": created["RevisionId"]}
    error = await aws.refused("update_function_code", **stale, ZipFile=CODE)
    recording.check("update_function_revision_exception", error)
    fresh = {"FunctionName": "f", "RevisionId": first["Configuration"]["RevisionId"]}
    recording.check("update_function_code_response_rev3", await aws.update_function_code(**fresh, ZipFile=CODE))
    await aws.bench.settle()
    second = await aws.get_function(FunctionName="f")
    recording.check("get_function_response_rev4", second)
    runtime = recording.steps["update_function_configuration_response_rev5"]["Runtime"]
    error = await aws.refused("update_function_configuration", **stale, Runtime=runtime)
    recording.check("update_function_configuration_revision_exception", error)
    fresh["RevisionId"] = second["Configuration"]["RevisionId"]
    answer = await aws.update_function_configuration(**fresh, Runtime=runtime)
    recording.check("update_function_configuration_response_rev5", answer)
    await aws.bench.settle()
    recording.check("get_function_response_rev6", await aws.get_function(FunctionName="f"))


async def test_the_largest_environment(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaSizeLimits::test_lambda_envvars_near_limit_succeeds")
    recorded = recording.steps["successful_create_fn_result"]["CreateFunctionResponse"]
    created = await aws.create(
        Environment=recorded["Environment"], Handler=recorded["Handler"], Timeout=recorded["Timeout"]
    )
    recording.check("successful_create_fn_result", created)


async def test_an_environment_of_one_byte_more(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaSizeLimits::test_large_environment_fails_multiple_keys")
    (step, recorded), *_ = recording.steps.items()
    variables = json.loads(recorded["message"].partition("String measured: ")[2])
    with pytest.raises(ClientError, match="4KB limit") as error:
        await aws.create(Environment={"Variables": variables})
    recording.check(step, error.value)


async def test_a_zip_file_over_50_mb(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaSizeLimits::test_oversized_zipped_create_lambda")
    with pytest.raises(ClientError, match="Zipped size") as error:
        await aws.create(Code={"ZipFile": b"P" * 52_428_801})
    recording.check("invalid_param_exc", error.value)


async def test_a_bad_snap_start(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaSnapStart::test_snapstart_exceptions")
    with pytest.raises(ClientError, match="snapStart") as error:
        await aws.create(SnapStart={"ApplyOn": "invalidOption"})
    recording.check("create_function_invalid_snapstart_apply", error.value)


@pytest.mark.parametrize("test", [test for test in paths() if test.startswith("TestRuntimeValidation::")])
async def test_a_retired_runtime(aws: Lambda, test: str) -> None:
    runtime = test.partition("[")[2].rstrip("]")
    with pytest.raises(ClientError, match="no longer supported") as error:
        await aws.create(Runtime=runtime)
    Recording.find(test).check("deprecation_error", error.value)


@pytest.mark.parametrize(
    ("test", "change"),
    [
        ("[partial_config0]", {"LogFormat": "JSON"}),
        ("[partial_config1]", {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"}),
        ("[partial_config2]", {"LogFormat": "JSON", "SystemLogLevel": "DEBUG"}),
        ("[partial_config3]", {"LogGroup": "cool_lambda"}),
        ("", {"LogGroup": "cool_lambda"}),
    ],
)
async def test_logging(aws: Lambda, test: str, change: dict[str, str]) -> None:
    name = "test_function_partial_advanced_logging_configuration_update" if test else ""
    recording = Recording.find(f"TestLoggingConfig::{name or 'test_function_advanced_logging_configuration'}{test}")
    recorded = recording.steps["create_response"]["CreateFunctionResponse"]
    settings: dict[str, Any] = {
        member: recorded[member] for member in ("Handler", "Timeout", "MemorySize", "Environment")
    }
    logging: dict[str, Any] = {} if test else {"LoggingConfig": {"LogFormat": "JSON"}}
    recording.check("create_response", await aws.create(**settings, **logging))
    recording.check("get_function_response", await aws.get_function(FunctionName="f"))
    recording.check("function_config", await aws.get_function_configuration(FunctionName="f"))
    updated = await aws.update_function_configuration(FunctionName="f", LoggingConfig=change)
    recording.check("updated_config", updated)
    await aws.bench.settle()
    recording.check("received_config", await aws.get_function_configuration(FunctionName="f"))


async def test_a_dead_letter_target_stays_when_the_update_is_empty(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaDLQ::test_dead_letter_queue")
    target = {"TargetArn": f"arn:aws:sqs:us-east-1:{ROLE.split(':')[4]}:queue"}
    settings: dict[str, Any] = {
        "Handler": "handler.handler",
        "Timeout": 30,
        "Environment": EMPTY,
        "DeadLetterConfig": target,
    }
    recording.check("create_lambda_with_dlq", await aws.create(**settings))
    answer = await aws.update_function_configuration(FunctionName="f", DeadLetterConfig={})
    recording.check("delete_dlq", answer)


async def test_account_settings(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaAccountSettings::test_account_settings")
    answer = await aws.get_account_settings()
    shown = {member: sorted(answer[member]) for member in ("AccountLimit", "AccountUsage")}
    recording.check("acc_settings_modded", {**shown, "ResponseMetadata": answer["ResponseMetadata"]})
    assert answer["AccountLimit"]["ConcurrentExecutions"] == 1000


async def test_total_code_size(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaAccountSettings::test_account_settings_total_code_size_config_update")

    async def used() -> int:
        return int((await aws.get_account_settings())["AccountUsage"]["TotalCodeSize"])

    code = zipped({"index.py": "", "data": bytes(range(256))})
    await aws.create(Code={"ZipFile": code})
    created = await used()
    await aws.update_function_configuration(FunctionName="f", Description="d")
    await aws.bench.settle()
    updated = await used()
    await aws.publish_version(FunctionName="f")
    recording.check("is_total_code_size_diff_create_function_more_than_200", created > 200)
    recording.check("total_code_size_diff_update_function_configuration", updated - created)
    published = await used() - updated
    recording.check("is_total_code_size_diff_publish_version_after_config_update_more_than_200", published > 200)


async def test_recursion(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaRecursion::test_put_function_recursion_config_allow")
    await aws.create()
    answer = await aws.put_function_recursion_config(FunctionName="f", RecursiveLoop="Allow")
    recording.check("put_recursion_config_response", answer)
    recording.check("get_recursion_config_response", await aws.get_function_recursion_config(FunctionName="f"))
