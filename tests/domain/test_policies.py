"""What resource policies say to requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdad.domain.policies import (
    AccessRequest,
    Decision,
    ServiceCaller,
    by_principal,
    by_service,
    decide,
    has_deny,
    problem_of,
)

FUNCTION = "arn:aws:lambda:us-east-1:111111111111:function:f"
TOPIC = "arn:aws:sns:us-east-1:111111111111:t"
OTHER = "arn:aws:iam::222222222222:root"
INVOKE = "lambda:InvokeFunction"


def a_statement(**members: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": "*", "Action": INVOKE, "Resource": FUNCTION, **members}


def a_policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def from_sns(source_arn: str = TOPIC, account: str = "111111111111") -> AccessRequest:
    caller = ServiceCaller(service="sns.amazonaws.com", source_arn=source_arn, source_account=account)
    return by_service(caller, INVOKE, FUNCTION)


def asked(**context: str) -> AccessRequest:
    return AccessRequest(action=INVOKE, resource=FUNCTION, context=context)


def is_allowed(statement: dict[str, Any], request: AccessRequest) -> bool:
    return decide(a_policy(statement), request) is Decision.ALLOW


@pytest.mark.parametrize("policy", [None, "", "no JSON", "[]", "{}", '{"Statement": 1}', a_policy()])
def test_what_is_no_policy_says_nothing(policy: str | None) -> None:
    assert decide(policy, from_sns()) is Decision.SILENT


@pytest.mark.parametrize(
    ("principal", "sns", "other_account", "anybody"),
    [
        ("*", True, True, True),
        ({"AWS": "*"}, True, True, True),
        ({"Service": "sns.amazonaws.com"}, True, False, False),
        ({"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}, True, False, False),
        ({"Service": "events.amazonaws.com"}, False, False, False),
        ({"AWS": "222222222222"}, False, True, False),
        ({"AWS": OTHER}, False, True, False),
        ({"AWS": ["333333333333", OTHER]}, False, True, False),
        ({"AWS": "333333333333"}, False, False, False),
        ({"AWS": "arn:aws:iam::222222222222:user/u"}, False, False, False),
        ("222222222222", False, False, False),
        (None, False, False, False),
    ],
)
def test_principals(principal: Any, sns: bool, other_account: bool, anybody: bool) -> None:
    statement = a_statement(Principal=principal)
    assert is_allowed(statement, from_sns()) == sns
    assert is_allowed(statement, by_principal(OTHER, INVOKE, FUNCTION)) == other_account
    assert is_allowed(statement, asked()) == anybody


def test_a_role_stands_for_its_sessions() -> None:
    session = by_principal("arn:aws:sts::222222222222:assumed-role/worker/s-1", INVOKE, FUNCTION)
    assert is_allowed(a_statement(Principal={"AWS": "arn:aws:iam::222222222222:role/team/worker"}), session)
    assert not is_allowed(a_statement(Principal={"AWS": "arn:aws:iam::222222222222:role/other"}), session)
    assert not is_allowed(a_statement(Principal={"AWS": "arn:aws:iam::333333333333:role/worker"}), session)
    role_only = {"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::222222222222:role/worker"}}
    assert is_allowed(a_statement(Condition=role_only), session)


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        (INVOKE, True), ("LAMBDA:invokefunction", True), ("lambda:*", True), ("*", True), ("lambda:Invoke*", True),
        (["lambda:GetFunction", INVOKE], True), ("lambda:InvokeFunctio?", True), ("lambda:InvokeFunctionUrl", False),
        ("lambda:GetFunction", False), ("lambda:[I]nvokeFunction", False),
    ],
)  # fmt: skip
def test_actions(action: Any, allowed: bool) -> None:
    assert is_allowed(a_statement(Action=action), from_sns()) == allowed


@pytest.mark.parametrize(
    ("resource", "allowed"),
    [(FUNCTION, True), ("*", True), (f"{FUNCTION}*", True), (f"{FUNCTION}:1", False), (FUNCTION.upper(), False)],
)
def test_resources(resource: str, allowed: bool) -> None:
    assert is_allowed(a_statement(Resource=resource), from_sns()) == allowed


def test_opposites() -> None:
    nobody_else = {"Effect": "Allow", "NotPrincipal": {"AWS": OTHER}, "Action": "*", "Resource": "*"}
    assert not is_allowed(nobody_else, by_principal(OTHER, INVOKE, FUNCTION))
    assert is_allowed(nobody_else, from_sns())
    assert not is_allowed({"Effect": "Allow", "Principal": "*", "NotAction": INVOKE, "Resource": "*"}, from_sns())
    assert not is_allowed({"Effect": "Allow", "Principal": "*", "Action": "*", "NotResource": FUNCTION}, from_sns())


def test_deny_wins_in_either_order() -> None:
    deny = a_statement(Effect="Deny", Principal={"Service": "sns.amazonaws.com"})
    for statements in ([a_statement(), deny], [deny, a_statement()]):
        assert decide(a_policy(*statements), from_sns()) is Decision.DENY
        assert decide(a_policy(*statements), asked()) is Decision.ALLOW
    assert has_deny(a_policy(a_statement(), deny))
    assert not has_deny(a_policy(a_statement()))


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"ArnLike": {"AWS:SourceArn": TOPIC}}, True),
        ({"ArnLike": {"aws:sourcearn": "arn:aws:sns:*:111111111111:t*"}}, True),
        ({"ArnLike": {"AWS:SourceArn": "arn:aws:sns:*:t"}}, False),
        ({"ArnLike": {"AWS:SourceArn": "arn:aws:sns:us-east-1:111111111111:other"}}, False),
        ({"ArnEquals": {"AWS:SourceArn": ["arn:aws:sns:::x", TOPIC]}}, True),
        ({"StringEquals": {"AWS:SourceAccount": "111111111111"}}, True),
        ({"StringEquals": {"AWS:SourceAccount": "222222222222"}}, False),
        ({"StringLike": {"AWS:SourceArn": "*:t"}}, True),
        ({"StringNotEquals": {"AWS:SourceAccount": ["111111111111", "x"]}}, False),
        ({"StringNotEquals": {"aws:PrincipalOrgID": "o-1234567890"}}, True),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}, False),
        ({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1234567890"}}, True),
        ({"Null": {"aws:PrincipalOrgID": "true"}}, True),
        ({"Null": {"aws:PrincipalOrgID": True, "AWS:SourceArn": False}}, True),
        ({"Null": {"AWS:SourceArn": "true"}}, False),
        ({"Bool": {"aws:PrincipalIsAWSService": True}}, True),
        ({"Bool": {"aws:PrincipalIsAWSService": "false"}}, False),
        ({"ForAnyValue:StringEquals": {"AWS:SourceAccount": ["111111111111"]}}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}, True),
        ({"StringEquals": {"AWS:SourceAccount": "111111111111"}, "ArnLike": {"AWS:SourceArn": "arn:x"}}, False),
        ({"StringSounds": {"AWS:SourceAccount": "111111111111"}}, False),
        ("always", False),
    ],
)  # fmt: skip
def test_conditions(condition: Any, allowed: bool) -> None:
    assert is_allowed(a_statement(Condition=condition), from_sns()) == allowed


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"NumericLessThan": {"n": "10"}}, True), ({"NumericGreaterThanEquals": {"n": 9}}, True),
        ({"NumericEquals": {"n": "8"}}, False), ({"NumericNotEquals": {"n": 8}}, True),
        ({"NumericLessThan": {"n": "many"}}, False),
        ({"DateGreaterThan": {"d": "2026-01-01T00:00:00Z"}}, True), ({"DateLessThan": {"d": "2026-01-01"}}, False),
        ({"IpAddress": {"ip": "10.0.0.0/8"}}, True), ({"NotIpAddress": {"ip": ["10.1.2.3"]}}, False),
        ({"StringEqualsIgnoreCase": {"s": "TEXT"}}, True), ({"StringNotLike": {"s": "t*"}}, False),
    ],
)  # fmt: skip
def test_numbers_dates_and_addresses(condition: Any, allowed: bool) -> None:
    context = {"n": "9", "d": "2026-06-01T12:00:00Z", "ip": "10.1.2.3", "s": "text"}
    assert is_allowed(a_statement(Condition=condition), asked(**context)) == allowed


def test_an_unknown_operator_does_not_lift_a_deny() -> None:
    deny = a_statement(Effect="Deny", Condition={"StringSounds": {"a": "b"}})
    assert decide(a_policy(a_statement(), deny), from_sns()) is Decision.DENY


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ("{", "not JSON"), ("[]", "no Statement"), ('{"Statement": []}', "no Statement"),
        ('{"Statement": [1]}', "Statement 1 is not an object"),
        (a_policy(a_statement(), a_statement(Effect="Maybe")), "Statement 2 needs the Effect"),
        (a_policy({"Effect": "Allow", "Action": "*", "Resource": "*"}), "either Principal or NotPrincipal"),
        (a_policy(a_statement(NotAction="*")), "either Action or NotAction"),
        (a_policy(a_statement(Resource=f"{FUNCTION}2")), "another Resource"),
        (a_policy(a_statement(Condition={"StringSounds": {}})), "operator StringSounds"),
        (a_policy(a_statement(Condition=[])), "Condition that is not an object"),
    ],
)  # fmt: skip
def test_policies_that_are_refused(policy: str, problem: str) -> None:
    assert problem in (problem_of(policy, FUNCTION) or "")


def test_a_policy_that_is_taken() -> None:
    condition = {"ForAnyValue:StringLikeIfExists": {"a": "b"}, "Null": {"c": "true"}}
    assert problem_of(a_policy(a_statement(Condition=condition), a_statement(Effect="Deny")), FUNCTION) is None
