"""Filter policies of subscriptions: every operator in both scopes, what they refuse, and their limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdad.domain.filter_policies import (
    MESSAGE_ATTRIBUTES,
    MESSAGE_BODY,
    BadFilterPolicy,
    ParsedBody,
    compile_policy,
    wildcard_pattern,
)
from lambdad.domain.queues import MessageAttribute


def text(value: str) -> MessageAttribute:
    return MessageAttribute("String", value)


def number(value: str) -> MessageAttribute:
    return MessageAttribute("Number", value)


def array(*values: object) -> MessageAttribute:
    return MessageAttribute("String.Array", json.dumps(values))


def passes(policy: Any, attributes: dict[str, MessageAttribute]) -> bool:
    return compile_policy(json.dumps(policy), MESSAGE_ATTRIBUTES).matches(attributes, ParsedBody(""))


def passes_body(policy: Any, body: Any) -> bool:
    message = body if isinstance(body, str) else json.dumps(body)
    return compile_policy(json.dumps(policy), MESSAGE_BODY).matches({}, ParsedBody(message))


RULES: list[tuple[Any, MessageAttribute, bool]] = [
    ("x", text("x"), True),
    ("x", text("X"), False),
    ("1", number("1"), False),
    (1, number("1.0"), True),
    (1, text("1"), False),
    (True, text("true"), False),
    (True, array(True), True),
    (1, array(True), False),
    (None, array(None), True),
    ("a", array("b", "a"), True),
    ("a", MessageAttribute("String.Array", "a"), True),
    ("a", MessageAttribute("String.mine", "a"), True),
    (2, MessageAttribute("Number.int", "2"), True),
    ("a", MessageAttribute("Binary", None, b"a"), False),
    ({"prefix": "ab"}, text("abc"), True),
    ({"prefix": "ab"}, text("xab"), False),
    ({"prefix": "1"}, number("12"), False),
    ({"suffix": ".png"}, text("a.png"), True),
    ({"suffix": ".png"}, text("a.PNG"), False),
    ({"equals-ignore-case": "Tennis"}, text("TENNIS"), True),
    ({"equals-ignore-case": "Tennis"}, text("TENNIS "), False),
    ({"wildcard": "a*c"}, text("abbc"), True),
    ({"wildcard": "a*c"}, text("abbcd"), False),
    ({"anything-but": "a"}, text("b"), True),
    ({"anything-but": "a"}, text("a"), False),
    ({"anything-but": ["a", "b"]}, text("b"), False),
    ({"anything-but": [100, 500]}, number("100"), False),
    ({"anything-but": [100, 500]}, number("101"), True),
    ({"anything-but": ["rugby", "tennis"]}, array("rugby", "baseball"), True),
    ({"anything-but": ["rugby", "tennis"]}, array("rugby"), False),
    ({"anything-but": {"prefix": "order-"}}, text("order-1"), False),
    ({"anything-but": {"prefix": "order-"}}, text("data"), True),
    ({"anything-but": {"suffix": ["1", "2"]}}, text("x2"), False),
    ({"anything-but": {"wildcard": "*.p*"}}, text("a.png"), False),
    ({"anything-but": {"wildcard": "*.p*"}}, text("a.gif"), True),
    ({"anything-but": {"equals-ignore-case": "A"}}, text("a"), False),
    ({"numeric": ["=", 301.5]}, number("301.5"), True),
    ({"numeric": ["=", 3.015e2]}, number("301.5"), True),
    ({"numeric": ["<", 0]}, number("-1"), True),
    ({"numeric": ["<", 0]}, number("0"), False),
    ({"numeric": [">", 0, "<=", 150]}, number("150"), True),
    ({"numeric": [">", 0, "<=", 150]}, number("0"), False),
    ({"numeric": [">=", 0, "<", 150]}, number("150"), False),
    ({"numeric": [">", 0]}, text("1"), False),
    ({"numeric": [">", 5]}, array(1, 9), True),
    ({"exists": True}, text("x"), True),
    ({"exists": False}, text("x"), False),
    ({"exists": True}, MessageAttribute("Binary", None, b"x"), False),
    ({"cidr": "10.0.0.0/24"}, text("10.0.0.255"), True),
    ({"cidr": "10.0.0.0/24"}, text("10.0.1.0"), False),
    ({"cidr": "2001:db8::/32"}, text("2001:db8:1::1"), True),
    ({"cidr": "2001:db8::/32"}, text("10.0.0.1"), False),
    ({"cidr": "10.0.0.0/24"}, text("nonsense"), False),
]


@pytest.mark.parametrize(("rule", "attribute", "expected"), RULES)
def test_a_rule_on_an_attribute(rule: Any, attribute: MessageAttribute, expected: bool):
    assert passes({"key": [rule]}, {"key": attribute}) is expected


ABSENT = [("x", False), ({"anything-but": "x"}, False), ({"exists": True}, False), ({"exists": False}, True),
          ({"prefix": ""}, False), (None, False)]  # fmt: skip


@pytest.mark.parametrize(("rule", "expected"), ABSENT)
def test_a_rule_on_an_absent_key(rule: Any, expected: bool):
    assert passes({"key": [rule]}, {}) is expected
    assert passes_body({"key": [rule]}, {}) is expected


def test_every_key_must_match_and_any_rule_of_it():
    policy = {"store": ["a", "b"], "price": [{"numeric": [">=", 100]}]}
    assert passes(policy, {"store": text("b"), "price": number("100"), "other": text("x")})
    assert not passes(policy, {"store": text("b"), "price": number("99")})
    assert not passes(policy, {"store": text("b")})


OR = {"source": ["s"], "$or": [{"metric": ["cpu"]}, {"space": ["ec2"], "count": [{"numeric": [">", 5]}]}]}


@pytest.mark.parametrize(("attributes", "expected"), [
    ({"source": text("s"), "metric": text("cpu")}, True),
    ({"source": text("s"), "space": text("ec2"), "count": number("6")}, True),
    ({"source": text("s"), "space": text("ec2"), "count": number("5")}, False),
    ({"metric": text("cpu")}, False),
    ({"source": text("s")}, False),
])  # fmt: skip
def test_or(attributes: dict[str, MessageAttribute], expected: bool):
    assert passes(OR, attributes) is expected


def test_or_without_two_objects_is_a_key_like_any_other():
    assert passes({"$or": ["a"]}, {"$or": text("a")})
    assert passes({"$or": [{"prefix": "a"}, {"suffix": "b"}]}, {"$or": text("xb")})


NESTED = {"store": {"address": {"city": ["Rome"], "zip": [{"prefix": "00"}]}}}

BODIES: list[tuple[Any, Any, bool]] = [
    ({"a": ["x"]}, {"a": "x"}, True),
    ({"a": [1]}, {"a": 1.0}, True),
    ({"a": [1]}, {"a": True}, False),
    ({"a": ["1"]}, {"a": 1}, False),
    ({"a": [None]}, {"a": None}, True),
    ({"a": [False]}, {"a": False}, True),
    ({"a": ["x"]}, {"a": ["y", ["x"]]}, True),
    ({"a": ["x"]}, {"a": {"x": 1}}, False),
    ({"a": [{"exists": True}]}, {"a": None}, True),
    ({"a": [{"exists": True}]}, {"a": {"b": 1}}, False),
    ({"a": [{"exists": True}]}, {"a": []}, False),
    ({"a": {"b": [{"exists": False}]}}, {}, True),
    ({"a": {"b": [{"exists": False}]}}, {"a": {"b": 1}}, False),
    ({"a": [{"numeric": [">", 1]}]}, {"a": "2"}, False),
    (NESTED, {"store": {"address": {"city": "Rome", "zip": "00100"}}}, True),
    (NESTED, {"store": {"address": {"city": "Rome"}}}, False),
    (NESTED, {"store": "Rome"}, False),
    (NESTED, {"store": [{"address": {"city": "Rome", "zip": "9"}}, {"address": {"city": "Oslo", "zip": "00"}}]}, False),
    (NESTED, {"store": [{"address": {"city": "Oslo"}}, {"address": [{"city": "Rome", "zip": "00"}]}]}, True),
    ({"a": {"$or": [{"b": ["x"]}, {"c": ["y"]}]}}, {"a": {"c": "y"}}, True),
    ({"a": {"$or": [{"b": ["x"]}, {"c": ["y"]}]}}, {"c": "y"}, False),
    ({"a": ["x"]}, "no JSON", False),
    ({"a": [{"exists": False}]}, "no JSON", False),
    ({"a": [{"exists": False}]}, [{"b": 1}], False),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "body", "expected"), BODIES)
def test_a_policy_on_the_body(policy: Any, body: Any, expected: bool):
    assert passes_body(policy, body) is expected


REFUSED: list[tuple[Any, str]] = [
    ({"a": "x"}, '"a" must be an object or an array'),
    ({"a": []}, "Empty arrays are not allowed"),
    ({"a": {"b": ["x"]}}, "Filter policy scope MessageAttributes does not support nested filter policy"),
    ({"a": [["x"]]}, "Match value must be String, number, true, false, or null"),
    ({"a": [{"prefix": "x", "suffix": "y"}]}, "Only one key allowed in match expression"),
    ({"a": [{"likes": "x"}]}, "Unrecognized match type likes"),
    ({"a": [{"prefix": 1}]}, "prefix match pattern must be a string"),
    ({"a": [{"suffix": ["x"]}]}, "suffix match pattern must be a string"),
    ({"a": [{"exists": "true"}]}, "exists match pattern must be either true or false."),
    ({"a": [{"anything-but": {"numeric": ["=", 1]}}]}, "Unsupported anything-but pattern: numeric"),
    ({"a": [{"anything-but": [True]}]}, "Inside anything but list, start|null|boolean is not supported."),
    ({"a": [{"anything-but": []}]}, "Empty arrays are not allowed"),
    ({"a": [{"numeric": 1}]}, "Value of numeric must be an array."),
    ({"a": [{"numeric": []}]}, "Invalid member in numeric match: ]"),
    ({"a": [{"numeric": [1]}]}, "Invalid member in numeric match: 1"),
    ({"a": [{"numeric": ["<>", 1]}]}, "Unrecognized numeric range operator: <>"),
    ({"a": [{"numeric": ["<", "1"]}]}, "Value of < must be numeric"),
    ({"a": [{"numeric": ["<"]}]}, "Value of < must be numeric"),
    ({"a": [{"numeric": [">", 1, ">", 2]}]}, "Bad numeric range operator: >"),
    ({"a": [{"numeric": [">", 2, "<", 2]}]}, "Bottom must be less than top"),
    ({"a": [{"numeric": ["=", 1, "<", 2]}]}, "Too many elements in numeric expression"),
    ({"a": [{"numeric": [">", 2000000000]}]}, "Value of > must be between -1.0E9 and 1.0E9, inclusive"),
    ({"a": [{"cidr": "10.0.0.0"}]}, "Malformed CIDR, one '/' required"),
    ({"a": [{"cidr": "10.0.0.0/x"}]}, "Malformed CIDR, mask bits must be an integer"),
    ({"a": [{"cidr": "10.0.0/8"}]}, "Nonstandard IP address: 10.0.0"),
    ({"a": [{"wildcard": "a**"}]}, "Consecutive wildcard characters at pos 1"),
    ({"a": [{"wildcard": "a\\b"}]}, "Invalid escape character at pos 1"),
    ({name: ["x"] for name in "abcdef"}, "Filter policy can not have more than 5 keys"),
    ({"a": [*range(15)], "b": [*range(11)]}, "Filter policy is too complex"),
    (["x"], "failed to parse JSON."),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "message"), REFUSED)
def test_what_a_policy_cannot_be(policy: Any, message: str):
    with pytest.raises(BadFilterPolicy) as refused:
        compile_policy(json.dumps(policy), MESSAGE_ATTRIBUTES)
    assert str(refused.value) == message


def test_limits_are_inclusive():
    compile_policy(json.dumps({name: ["x"] for name in "abcde"}), MESSAGE_ATTRIBUTES)
    compile_policy(json.dumps({"a": [*range(15)], "b": [*range(10)]}), MESSAGE_ATTRIBUTES)


def test_levels_count_in_the_body():
    compile_policy(json.dumps({"a": {"b": [*range(75)]}}), MESSAGE_BODY)
    with pytest.raises(BadFilterPolicy, match="too complex"):
        compile_policy(json.dumps({"a": {"b": [*range(76)]}}), MESSAGE_BODY)


def test_a_policy_without_end_is_refused():
    with pytest.raises(BadFilterPolicy):
        compile_policy('{"a":' * 100_000, MESSAGE_BODY)
    with pytest.raises(BadFilterPolicy):
        compile_policy('{"a":' * 100 + "[1]" + "}" * 100, MESSAGE_BODY)


WILDCARDS = [("*", "", True), ("a*", "a", True), ("*a", "ba", True), ("a*a", "a", False), ("*a*b*", "xaxbx", True),
             ("*a*b*", "xbxa", False), ("a\\*", "a*", True), ("a\\*", "ab", False), ("\\\\*", "\\x", True),
             ("\\**", "*x", True), ("", "", True), ("", "x", False)]  # fmt: skip


@pytest.mark.parametrize(("pattern", "value", "expected"), WILDCARDS)
def test_wildcards(pattern: str, value: str, expected: bool):
    assert wildcard_pattern(pattern)(value) is expected


@given(st.text("ab", max_size=8), st.lists(st.integers(0, 8), max_size=3))
@settings(max_examples=200, deadline=None)
def test_a_text_has_the_form_of_itself_with_stars(value: str, places: list[int]):
    pattern = value
    for place in sorted(set(places), reverse=True):
        pattern = f"{pattern[:place]}*{pattern[place + 1 :]}"
    if "**" not in pattern:
        assert wildcard_pattern(pattern)(value)
