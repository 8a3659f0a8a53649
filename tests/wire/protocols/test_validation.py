"""Texts of the generic constraints, as AWS printed them (recorded 2025-11 to 2026-01)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from lambdad.domain.errors import ValidationFailed
from lambdad.wire.protocols import model, validation

NAMESPACED = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
FUNCTION = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
QUALIFIER = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
PATTERN = "Member must satisfy regular expression pattern: "
ARN = "arn:aws:lambda:us-east-1:111111111111:function:my-function"
LONG = "arn:aws:lambda:invalid-region:111111111111:function:my-function" + "a" * 170
ROLE = "arn:aws:iam::111111111111:role/r"


@cache
def service(name: str) -> model.ServiceModel:
    return model.load(name)


def violations(operation: str, params: dict[str, Any], name: str = "lambda") -> tuple[str, ...]:
    try:
        validation.check(service(name).operations[operation], params)
    except ValidationFailed as error:
        return error.violations
    return ()


def violation(value: str, path: str, constraint: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"


@pytest.mark.parametrize("operation", ["Invoke", "GetFunction", "DeleteFunction"])
@pytest.mark.parametrize(
    "name",
    [
        f"{ARN}:1:2",
        LONG,
        "invalid-account:function:my-function",
        "arn:aws:lambda:us-east-1::function:my-function",
        "arn:aws:lambda::111111111111:function:my-function",
        "function:my-function:$LATEST:extra",
    ],
)
def test_names_of_functions(operation: str, name: str):
    assert violations(operation, {"FunctionName": name}) == (violation(name, "functionName", PATTERN + NAMESPACED),)


@pytest.mark.parametrize("name", [f"{ARN}:1:2", f"{ARN}:$latest", "my-function:invalid!", "invalid-account:function:f"])
def test_names_of_new_functions(name: str):
    params = {"FunctionName": name, "Role": ROLE, "Code": {}}
    assert violations("CreateFunction", params) == (violation(name, "functionName", PATTERN + FUNCTION),)


def test_a_value_that_breaks_two_constraints_is_named_twice():
    too_long = violation(LONG, "functionName", "Member must have length less than or equal to 140")
    wrong = violation(LONG, "functionName", PATTERN + FUNCTION)
    assert violations("CreateFunction", {"FunctionName": LONG, "Role": ROLE, "Code": {}}) == (too_long, wrong)
    with pytest.raises(
        ValidationFailed, match=r"^2 validation errors detected: Value 'arn:.* or equal to 140; Value 'arn:"
    ):
        validation.check(
            service("lambda").operations["CreateFunction"], {"FunctionName": LONG, "Role": ROLE, "Code": {}}
        )


RECORDED: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("Invoke", {"Qualifier": "a" * 129}, "a" * 129, "qualifier", "Member must have length less than or equal to 128"),
    ("GetFunction", {"Qualifier": "invalid!"}, "invalid!", "qualifier", PATTERN + QUALIFIER),
    (
        "CreateFunction",
        {"Role": "r1", "Code": {}},
        "r1",
        "role",
        PATTERN + r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
    ),
    (
        "CreateFunction",
        {"Role": ROLE, "Code": {}, "SnapStart": {"ApplyOn": "invalidOption"}},
        "invalidOption",
        "snapStart.applyOn",
        "Member must satisfy enum value set: [PublishedVersions, None]",
    ),
    (
        "CreateFunction",
        {"Role": ROLE, "Code": {}, "Architectures": ["x86_64", "arm64"]},
        "[x86_64, arm64]",
        "architectures",
        "Member must have length less than or equal to 1",
    ),
    (
        "CreateFunction",
        {"Role": ROLE, "Code": {}, "VpcConfig": {"SubnetIds": ["bad"]}},
        "[bad]",
        "vpcConfig.subnetIds",
        "Member must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length "
        f"greater than or equal to 0, {PATTERN}subnet-[0-9a-z]*]",
    ),
    (
        "CreateFunction",
        {"Role": ROLE, "Code": {}, "Layers": ["arn:aws:lambda:us-east-1:111111111111:layer:l"]},
        "[arn:aws:lambda:us-east-1:111111111111:layer:l]",
        "layers",
        "Member must satisfy constraint: [Member must have length less than or equal to 2048, Member must have length "
        f"greater than or equal to 1, {PATTERN}(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{{2}}((-gov)|(-iso([a-z]?)))?"
        r"-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+), "
        "Member must not be null]",
    ),
    (
        "UpdateAlias",
        {"Name": "a", "RoutingConfig": {"AdditionalVersionWeights": {"2": 2.0}}},
        "{2=2.0}",
        "routingConfig.additionalVersionWeights",
        "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value "
        "greater than or equal to 0.0, Member must not be null]",
    ),
    (
        "PutProvisionedConcurrencyConfig",
        {"Qualifier": "1", "ProvisionedConcurrentExecutions": 0},
        "0",
        "provisionedConcurrentExecutions",
        "Member must have value greater than or equal to 1",
    ),
    (
        "CreateEventSourceMapping",
        {"StartingPosition": "invalid"},
        "invalid",
        "startingPosition",
        "Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]",
    ),
    (
        "UpdateFunctionUrlConfig",
        {"InvokeMode": "UNKNOWN"},
        "UNKNOWN",
        "invokeMode",
        "Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]",
    ),
    (
        "PutFunctionRecursionConfig",
        {"RecursiveLoop": "invalid"},
        "invalid",
        "recursiveLoop",
        "Member must satisfy enum value set: [Terminate, Allow]",
    ),
    ("AddPermission",
     {"StatementId": "example.com", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"},
     "example.com", "statementId", PATTERN + "([a-zA-Z0-9-_]+)"),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "params", "value", "path", "constraint"), RECORDED)
def test_recorded_texts(operation: str, params: dict[str, Any], value: str, path: str, constraint: str):
    found = violations(operation, {"FunctionName": "f", **params})
    assert found == (violation(value, path, constraint),)


def test_tags():
    arn = "arn:aws:something"
    (found,) = violations("TagResource", {"Resource": arn, "Tags": {"a": "b"}})
    assert found.startswith(f"Value '{arn}' at 'resource' failed to satisfy constraint: {PATTERN}arn:(aws[a-zA-Z-]*):")
    assert found.endswith("|capacity-provider:[a-zA-Z0-9-_]+)")
    assert violations("UntagResource", {"Resource": ARN}) == (
        "Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
    )
    assert violations("TagResource", {"Resource": ARN, "Tags": {"k.l": "Grüße aus Köln"}}) == ()


def test_lists_of_enums():
    params = {
        "LayerName": "l",
        "Content": {},
        "CompatibleRuntimes": ["invalidruntime", "nodejs20.x"],
        "CompatibleArchitectures": ["invalidarch", "x86_64"],
    }
    runtimes, architectures = violations("PublishLayerVersion", params)
    assert runtimes.startswith(
        "Value '[invalidruntime, nodejs20.x]' at 'compatibleRuntimes' failed to satisfy constraint: "
        "Member must satisfy enum value set: [nodejs20.x, python3.14, "
    )
    assert architectures == (
        "Value '[invalidarch, x86_64]' at 'compatibleArchitectures' failed to satisfy constraint: Member must satisfy "
        "constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
    )


def test_values_that_the_model_calls_sensitive_are_not_repeated():
    params = {"FunctionName": "f", "Role": ROLE, "Code": {}, "Environment": {"Variables": {"1secret": "hidden"}}}
    assert violations("CreateFunction", params) == (
        "Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: "
        "[Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
    )


def test_the_runtime_of_a_function_is_left_to_the_service():
    assert violations("CreateFunction", {"FunctionName": "f", "Role": ROLE, "Code": {}, "Runtime": "cobol"}) == ()
    assert violations("UpdateFunctionConfiguration", {"FunctionName": "f", "Runtime": "cobol"}) == ()


def test_paths_into_lists_and_maps_of_structures():
    filters = {"FunctionName": "f", "FilterCriteria": {"Filters": [{"Pattern": "ok"}, {"Pattern": "x" * 4097}]}}
    (found,) = violations("CreateEventSourceMapping", filters)
    assert "at 'filterCriteria.filters.2.member.pattern'" in found
    message = {"Message": "m", "TopicArn": "t", "MessageAttributes": {"a": {}}}
    assert violations("Publish", message, "sns") == (
        "Value null at 'messageAttributes.a.member.dataType' failed to satisfy constraint: Member must not be null",
    )


def test_nulls_inside_lists_and_maps():
    assert violations("TagResource", {"Resource": ARN, "Tags": {"a": None}}) != ()
    assert violations("UntagResource", {"Resource": ARN, "TagKeys": [None]}) != ()


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.0, "2.0"), (0.5, "0.5"), (0.001, "0.001"), (1e7, "1.0E7"), (1.5e-7, "1.5E-7"),
     (123456789.125, "1.23456789125E8"),
     (-2e10, "-2.0E10"), (float("inf"), "Infinity"), (float("nan"), "NaN")],
)  # fmt: skip
def test_doubles_are_printed_as_java_does(value: float, text: str):
    assert validation._java_double(value) == text


def test_rendering_of_whole_structures():
    entries = service("events").operations["PutEvents"].input
    assert entries is not None
    shape = entries.members["Entries"].shape
    value = [{"Source": "s", "Time": datetime(2026, 11, 23, 10, 5, tzinfo=UTC), "Resources": ["r"]}]
    assert validation.render(shape, value) == (
        "[PutEventsRequestEntry(time=Mon Nov 23 10:05:00 UTC 2026, source=s, resources=[r], detailType=null, "
        "detail=null, eventBusName=null, traceHeader=null)]"
    )


def test_a_huge_value_is_not_repeated_in_full():
    (found,) = violations("CreateFunction", {"FunctionName": "f", "Role": "r" * 9_999, "Code": {}})
    assert "r" * 9_999 in found
    first, *_ = violations(
        "CreateFunction", {"FunctionName": "f", "Role": ROLE, "Code": {}, "Handler": "h" * 1_000_000}
    )
    assert len(first) < 70_000
    assert "..." in first
