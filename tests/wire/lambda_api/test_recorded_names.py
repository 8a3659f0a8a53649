"""Names, qualifiers and ARNs, replayed against what AWS answered."""

from __future__ import annotations

import re

import pytest

from tests.control.building import ACCOUNT, REGION, ROLE
from tests.recordings import Recording, paths
from tests.wire.lambda_api.conftest import CODE, Lambda

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
CASES: dict[str, tuple[str, str | None]] = {
    "full_arn_with_multiple_qualifiers": (f"{ARN}:my-function:1:2", None),
    "function_name_too_long": ("a" * 65, None),
    "function_name_too_long_and_invalid_region": (
        f"arn:aws:lambda:invalid-region:{ACCOUNT}:function:my-function{'a' * 170}",
        None,
    ),
    "incomplete_arn": (ARN, None),
    "invalid_account_id_in_partial_arn": ("invalid-account:function:my-function", None),
    "invalid_characters_in_qualifier": ("my-function", "invalid!"),
    "lowercase_latest_qualifier": (f"{ARN}:my-function", "$latest"),
    "missing_account_id_in_arn": (f"arn:aws:lambda:{REGION}::function:my-function", None),
    "missing_region_in_arn": (f"arn:aws:lambda::{ACCOUNT}:function:my-function", None),
    "partial_arn_with_extra_qualifier": ("function:my-function:$LATEST:extra", None),
    "qualifier_too_long": ("my-function", "a" * 129),
}
_TEST = "TestLambdaFunction::test_function_name_and_qualifier_validation"
RECORDED = [
    match.groups()
    for test in paths()
    if (match := re.fullmatch(re.escape(_TEST) + r"\[(\w+)-(create|get|delete)_function\]", test))
]


def test_there_are_recordings_of_every_case() -> None:
    assert {case for case, _ in RECORDED} == set(CASES)


@pytest.mark.parametrize(("case", "operation"), RECORDED)
async def test_a_name_is_refused_as_recorded(aws: Lambda, case: str, operation: str) -> None:
    name, qualifier = CASES[case]
    if operation == "create":
        params = {
            "FunctionName": f"{name}:{qualifier}" if qualifier else name,
            "Runtime": "python3.12",
            "Role": ROLE,
            "Handler": "index.handler",
            "Code": {"ZipFile": CODE},
        }
    else:
        params = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
    error = await aws.refused(f"{operation}_function", **params)
    recording = Recording.find(f"{_TEST}[{case}-{operation}_function]", region=REGION)
    recording.check(f"{operation}_function_exception", error)


@pytest.mark.parametrize(
    "operation",
    [
        "delete_function",
        "get_function",
        "get_function_code_signing_config",
        "get_function_concurrency",
        "get_function_configuration",
        "get_function_event_invoke_config",
    ],
)
async def test_a_function_of_another_region_is_out_of_reach(aws: Lambda, operation: str) -> None:
    elsewhere = f"arn:aws:lambda:eu-north-1:{ACCOUNT}:function:f"
    error = await aws.refused(operation, FunctionName=elsewhere)
    recording = Recording.find(
        f"TestLambdaFunction::test_get_function_wrong_region[{operation}]", region=REGION, wrong_region="eu-north-1"
    )
    recording.check("wrong_region_exception", error)


@pytest.mark.parametrize(
    "operation", ["get_function", "get_function_configuration", "get_function_event_invoke_config"]
)
async def test_a_version_that_does_not_exist(aws: Lambda, operation: str) -> None:
    await aws.create()
    error = await aws.refused(operation, FunctionName="f", Qualifier="1221")
    recording = Recording.find(
        f"TestLambdaFunction::test_ops_on_nonexisting_version[{operation}]", region=REGION, fn_name="f"
    )
    recording.check("version_not_found_exception", error)
