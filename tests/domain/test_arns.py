"""Names, qualifiers and ARNs."""

from __future__ import annotations

import pytest

from lambdad.domain.arns import (
    FunctionReference,
    NameKind,
    is_alias_name,
    parse_function_reference,
    parse_new_function_name,
    unqualified,
)
from lambdad.domain.errors import (
    AccessDenied,
    InvalidParameterValue,
    LambdadError,
    ResourceNotFound,
    ValidationFailed,
)
from lambdad.domain.identity import Caller

ACCOUNT = "111111111111"
REGION = "us-east-1"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
CALLER = Caller(
    account=ACCOUNT, region=REGION, access_key_id="test", arn=f"arn:aws:iam::{ACCOUNT}:root", user_id=ACCOUNT
)


def parse(text: str, qualifier: str | None = None, kind: NameKind = NameKind.NAMESPACED) -> FunctionReference:
    return parse_function_reference(text, qualifier, account=ACCOUNT, region=REGION, kind=kind)


def refusal(text: str, qualifier: str | None = None, kind: NameKind = NameKind.NAMESPACED) -> LambdadError:
    with pytest.raises(LambdadError) as error:
        parse(text, qualifier, kind)
    return error.value


@pytest.mark.parametrize(
    ("text", "name", "qualifier"),
    [
        ("f", "f", None),
        ("f:prod", "f", "prod"),
        ("f:3", "f", "3"),
        ("f:$LATEST", "f", "$LATEST"),
        ("f:$LATEST.PUBLISHED", "f", "$LATEST.PUBLISHED"),
        ("my.f", "my.f", None),
        ("function:f", "f", None),
        (f"{ACCOUNT}:function:f", "f", None),
        (f"{ACCOUNT}:f", "f", None),
        (f"{ACCOUNT}:function:f:prod", "f", "prod"),
        (f"{REGION}:{ACCOUNT}:function:f", "f", None),
        (f"{ARN}:f", "f", None),
        (f"{ARN}:f:$LATEST", "f", "$LATEST"),
        (f"arn:aws-us-gov:lambda:{REGION}:{ACCOUNT}:function:f", "f", None),
        ("function", "function", None),
        (ARN, "function", None),
        ("function:function", "function", None),
        (ACCOUNT, ACCOUNT, None),
        ("123", "123", None),
        ("-_", "-_", None),
        ("a" * 256, "a" * 256, None),
    ],
)
def test_forms_of_a_name(text: str, name: str, qualifier: str | None) -> None:
    assert parse(text) == FunctionReference(ACCOUNT, REGION, name, qualifier)


@pytest.mark.parametrize("kind", list(NameKind))
def test_every_kind_takes_name_and_arn(kind: NameKind) -> None:
    assert parse("f", kind=kind) == parse(f"{ARN}:f", kind=kind) == FunctionReference(ACCOUNT, REGION, "f")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("f!", NameKind.NAMESPACED),
        ("f:prod:1", NameKind.NAMESPACED),
        ("f:", NameKind.NAMESPACED),
        ("f\n", NameKind.NAMESPACED),
        ("é", NameKind.NAMESPACED),
        ("f:prod!", NameKind.NAMESPACED),
        (f"{ACCOUNT[:-1]}:function:f", NameKind.NAMESPACED),
        ("١٢٣٤٥٦٧٨٩٠١٢:function:f", NameKind.NAMESPACED),
        ("arn:aws:lambda:somewhere:111111111111:function:f", NameKind.NAMESPACED),
        ("arn:aws:sqs:us-east-1:111111111111:function:f", NameKind.NAMESPACED),
        ("my.f", NameKind.FUNCTION),
        ("f:$LATEST.PUBLISHED", NameKind.FUNCTION),
        ("f:1", NameKind.UNQUALIFIED),
    ],
)
def test_a_broken_pattern_is_shown(text: str, kind: NameKind) -> None:
    error = refusal(text, kind=kind)
    assert isinstance(error, ValidationFailed)
    assert error.message == (
        f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {kind.pattern}"
    )


@pytest.mark.parametrize(("kind", "maximum"), [(NameKind.NAMESPACED, 256), (NameKind.FUNCTION, 140)])
def test_a_long_name(kind: NameKind, maximum: int) -> None:
    text = "a" * (maximum + 1)
    assert refusal(text, kind=kind).message == (
        f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
        f"Member must have length less than or equal to {maximum}"
    )


def test_several_violations_are_joined() -> None:
    error = refusal("", "é" * 129)
    assert isinstance(error, ValidationFailed)
    assert len(error.violations) == 4
    assert error.message.startswith("4 validation errors detected: Value '' at 'functionName' failed")
    assert error.message.count("; Value ") == 3


def test_an_empty_qualifier() -> None:
    assert "Member must have length greater than or equal to 1" in refusal("f", "").message


def test_a_region_that_is_not_this_one() -> None:
    error = refusal("arn:aws:lambda:eu-west-1:111111111111:function:f")
    assert isinstance(error, ResourceNotFound)
    assert error.message == "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"


def test_an_account_that_is_not_the_callers() -> None:
    with pytest.raises(AccessDenied) as error:
        parse_function_reference("222222222222:function:f", account=ACCOUNT, region=REGION, action="GetFunction")
    assert error.value.message == (
        "User: arn:aws:iam::111111111111:root is not authorized to perform: lambda:GetFunction on resource: "
        "arn:aws:lambda:us-east-1:222222222222:function:f "
        "because no resource-based policy allows the lambda:GetFunction action"
    )


def test_two_qualifiers_have_to_agree() -> None:
    assert parse("f:prod", "prod").qualifier == "prod"
    error = refusal("f:prod", "1")
    assert isinstance(error, InvalidParameterValue)
    assert error.message == "The derived qualifier from the function name does not match the specified qualifier."


def test_arns() -> None:
    reference = parse("f", "prod")
    assert reference.unqualified_arn == f"{ARN}:f"
    assert reference.arn == f"{ARN}:f:prod"
    assert parse("f").arn == f"{ARN}:f"


def test_only_functions() -> None:
    assert unqualified(parse("f")) == parse("f")
    assert unqualified(parse("f:$LATEST"), latest_allowed=True) == parse("f")
    for text, latest_allowed in (("f:$LATEST", False), ("f:1", True)):
        with pytest.raises(InvalidParameterValue, match="permitted on Lambda functions only"):
            unqualified(parse(text), latest_allowed=latest_allowed)


@pytest.mark.parametrize("text", ["a" * 64, f"{ARN}:{'a' * 64}", f"{'a' * 64}:$LATEST"])
def test_the_longest_new_name(text: str) -> None:
    assert parse_new_function_name(text, caller=CALLER).name == "a" * 64


def test_a_new_name_that_is_too_long_is_refused_without_its_arn() -> None:
    with pytest.raises(InvalidParameterValue) as error:
        parse_new_function_name(f"{ARN}:{'a' * 65}", caller=CALLER)
    assert error.value.message == (
        f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 64"
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("prod", True), ("v1", True), ("1", False), ("1a", True), ("$LATEST", False), ("", False)]
)
def test_names_of_aliases(text: str, expected: bool) -> None:
    assert is_alias_name(text) is expected
