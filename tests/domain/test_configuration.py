"""What a configuration may be, what stays and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lambdad.domain.configuration import (
    ConfigurationChange,
    LoggingChange,
    changed,
    changed_logging,
    check_environment,
    check_runtime,
    check_tags,
)
from lambdad.domain.errors import InvalidParameterValue, LambdadError
from lambdad.domain.functions import AttachedLayer, FunctionVersion, LoggingConfig, VpcConfig
from lambdad.domain.runtimes import RESERVED_VARIABLES, RETIRED, RUNTIMES

TEXT = LoggingConfig(log_format="Text", log_group="/aws/lambda/f")
LAYER = "arn:aws:lambda:us-east-1:111111111111:layer"


def a_version(**members: Any) -> FunctionVersion:
    return FunctionVersion(
        **{
            "account": "111111111111",
            "region": "us-east-1",
            "name": "f",
            "generation": 1,
            "role": "arn:aws:iam::111111111111:role/r",
            "runtime": "python3.12",
            "handler": "app.handler",
            "code_sha256": "x",
            "code_size": 1,
            "logging": TEXT,
            "revision_id": "r1",
            "last_modified": "now",
            **members,
        }
    )


FULL = a_version(
    description="d",
    timeout_s=9,
    memory_mb=256,
    ephemeral_mb=600,
    environment={"A": "b"},
    tracing_mode="Active",
    layers=(AttachedLayer(arn=f"{LAYER}:a:1", code_sha256="y", code_size=1, unzipped_size=2),),
    dead_letter_target="arn:aws:sqs:us-east-1:111111111111:q",
    kms_key_arn="arn:aws:kms:us-east-1:111111111111:key/k",
    vpc=VpcConfig(subnet_ids=("subnet-0123456789abcdef0",), security_group_ids=("sg-0123456789abcdef0",)),
    extra={"FileSystemConfigs": ["x"]},
)


def test_an_empty_change_keeps_everything() -> None:
    assert changed(FULL, ConfigurationChange()) == FULL


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"description": ""}, {"description": ""}),
        ({"environment": {}}, {"environment": {}}),
        ({"layers": (f"{LAYER}:b:1",)}, {}),  # only checked: what they stand for is looked up elsewhere
        ({"dead_letter_target": ""}, {"dead_letter_target": None}),
        ({"kms_key_arn": ""}, {"kms_key_arn": None}),
        ({"timeout_s": 900}, {"timeout_s": 900}),
        ({"memory_mb": 10_240}, {"memory_mb": 10_240}),
        ({"extra": {"FileSystemConfigs": []}}, {"extra": {"FileSystemConfigs": []}}),
    ],
)
def test_a_change_touches_its_members_only(change: dict[str, Any], expected: dict[str, Any]) -> None:
    assert changed(FULL, ConfigurationChange(**change)) == replace(FULL, **expected)


@pytest.mark.parametrize(
    ("change", "path", "maximum"),
    [
        ({"timeout_s": 901}, "timeout", 900),
        ({"memory_mb": 10_241}, "memorySize", 10_240),
        ({"ephemeral_mb": 10_241}, "ephemeralStorage.size", 10_240),
    ],
)
def test_numbers_beyond_the_limits(change: dict[str, Any], path: str, maximum: int) -> None:
    with pytest.raises(LambdadError) as error:
        changed(FULL, ConfigurationChange(**change))
    assert error.value.message == (
        f"1 validation error detected: Value '{maximum + 1}' at '{path}' failed to satisfy constraint: "
        f"Member must have value less than or equal to {maximum}"
    )


def test_every_runtime_that_is_known_is_taken() -> None:
    for identifier in RUNTIMES:
        check_runtime(identifier)


@pytest.mark.parametrize("identifier", sorted(RETIRED))
def test_retired_runtimes(identifier: str) -> None:
    with pytest.raises(InvalidParameterValue, match=f"The runtime parameter of {identifier} is no longer supported"):
        check_runtime(identifier)


@pytest.mark.parametrize("identifier", ["python3.99", "PYTHON3.12", "", "python"])
def test_unknown_runtimes(identifier: str) -> None:
    with pytest.raises(InvalidParameterValue) as error:
        check_runtime(identifier)
    assert error.value.message.startswith(f"Value {identifier} at 'runtime' failed to satisfy constraint: Member must")
    assert error.value.message.endswith("] or be a valid ARN")


@pytest.mark.parametrize("name", sorted(RESERVED_VARIABLES))
def test_reserved_variables(name: str) -> None:
    with pytest.raises(InvalidParameterValue) as error:
        check_environment({"MINE": "", name: ""})
    assert error.value.message.endswith(f"for modification. Reserved keys used in this request: {name}")


def test_several_reserved_variables_in_one_text() -> None:
    with pytest.raises(InvalidParameterValue, match=r"AWS_REGION, LAMBDA_TASK_ROOT$"):
        check_environment({"AWS_REGION": "", "LAMBDA_TASK_ROOT": ""})


def test_the_size_of_an_environment_is_that_of_its_compact_json_in_bytes() -> None:
    fits = {"A": "x" * (4096 - len('{"A":""}'))}
    check_environment(fits)
    for variables in ({"A": fits["A"] + "x"}, {"A": fits["A"][:-1] + "é"}):
        with pytest.raises(InvalidParameterValue) as error:
            check_environment(variables)
        assert error.value.message.endswith(
            f'you have provided exceeded the 4KB limit. String measured: {{"A":"{variables["A"]}"}}'
        )


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([f"{LAYER}:l{number}:1" for number in range(6)], "Cannot reference more than 5 layers."),
        (
            [f"{LAYER}:a:1", f"{LAYER}:a:2"],
            "Two different versions of the same layer are not allowed to be referenced in the same function. "
            f"{LAYER}:a:1 and {LAYER}:a:2 are versions of the same layer.",
        ),
        (
            [LAYER.replace("us-east-1", "eu-west-1") + ":a:1"],
            "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
        ),
    ],
)
def test_refused_layers(layers: list[str], text: str) -> None:
    with pytest.raises(InvalidParameterValue) as error:
        changed(a_version(), ConfigurationChange(layers=tuple(layers)))
    assert error.value.message == text


@pytest.mark.parametrize(
    ("runtime", "allowed"),
    [("python3.12", True), ("python3.11", False), ("java11", True), ("java8.al2", False), ("java17.al2023", True),
     ("dotnet8", True), ("dotnet6", False), ("nodejs22.x", False), ("provided.al2023", False), ("python3.9", False)],
)  # fmt: skip
def test_runtimes_with_snap_start(runtime: str, allowed: bool) -> None:
    change = ConfigurationChange(snap_start="PublishedVersions", runtime=runtime)
    if allowed:
        assert changed(a_version(), change).snap_start == "PublishedVersions"
    else:
        with pytest.raises(InvalidParameterValue, match=f"{runtime} is not supported for SnapStart enabled functions."):
            changed(a_version(), change)


JSON = LoggingConfig(log_format="JSON", log_group="g", application_log_level="DEBUG", system_log_level="WARN")


@pytest.mark.parametrize(
    ("current", "change", "expected"),
    [
        (TEXT, {}, TEXT),
        (TEXT, {"log_group": "g"}, replace(TEXT, log_group="g")),
        (
            TEXT,
            {"log_format": "JSON"},
            replace(TEXT, log_format="JSON", application_log_level="INFO", system_log_level="INFO"),
        ),
        (JSON, {"system_log_level": "DEBUG"}, replace(JSON, system_log_level="DEBUG")),
        (JSON, {"log_format": "Text"}, replace(TEXT, log_group="g")),
    ],
)
def test_logging_changes(current: LoggingConfig, change: dict[str, str], expected: LoggingConfig) -> None:
    assert changed_logging(current, LoggingChange(**change)) == expected


def test_levels_need_json() -> None:
    with pytest.raises(InvalidParameterValue):
        changed_logging(TEXT, LoggingChange(application_log_level="DEBUG"))


def test_tags() -> None:
    check_tags({str(number): "" for number in range(50)})
    with pytest.raises(InvalidParameterValue, match=r"Number of tags exceeds resource tag limit\."):
        check_tags({str(number): "" for number in range(51)})
    with pytest.raises(InvalidParameterValue, match="aws:mine"):
        check_tags({"aws:mine": ""})
