"""Event patterns: a table of every operator, the refusals, and a comparison with a plain reading of the rules."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdad.domain.event_patterns import InvalidPattern, compile_document, compile_pattern

EVENT: dict[str, Any] = {
    "source": "aws.ec2",
    "detail-type": "State change",
    "resources": ["arn:1", "arn:2"],
    "detail": {
        "state": "running",
        "Count": 5,
        "price": 2.5,
        "ok": True,
        "nothing": None,
        "empty": "",
        "none": [],
        "ip": "10.0.0.7",
        "ip6": "2001:db8::1",
        "file": "dir/image.PNG",
        "star": "a*b",
        "numbers": [1, 7, 12],
        "items": [{"kind": "a", "n": 1}, {"kind": "b", "n": 2, "extra": 0}],
        "deep": [[["x"], "y"]],
    },
}

TABLE: list[tuple[object, bool]] = [
    # exact values: types are told apart
    ({"state": ["running"]}, True),
    ({"state": ["stopped", "running"]}, True),
    ({"state": ["Running"]}, False),
    ({"Count": [5]}, True),
    ({"Count": [5.0]}, True),
    ({"Count": ["5"]}, False),
    ({"count": [5]}, False),
    ({"ok": [True]}, True),
    ({"ok": [1]}, False),
    ({"Count": [True]}, False),
    ({"nothing": [None]}, True),
    ({"absent": [None]}, False),
    ({"empty": [""]}, True),
    ({"nothing": [""]}, False),
    ({"state": [{"exactly": "running"}]}, True),
    # several fields: all of them
    ({"state": ["running"], "Count": [6]}, False),
    # arrays: any element; arrays in arrays too
    ({"numbers": [7]}, True),
    ({"numbers": [8]}, False),
    ({"deep": ["x"]}, True),
    ({"none": [None]}, False),
    # one element of an array has to fit as a whole
    ({"items": {"kind": ["b"], "n": [2]}}, True),
    ({"items": {"kind": ["a"], "n": [2]}}, False),
    # exists looks at leaves
    ({"state": [{"exists": True}]}, True),
    ({"nothing": [{"exists": True}]}, True),
    ({"none": [{"exists": True}]}, False),
    ({"none": [{"exists": False}]}, True),
    ({"items": [{"exists": True}]}, False),
    ({"absent": [{"exists": True}]}, False),
    ({"absent": [{"exists": False}]}, True),
    ({"absent": {"below": [{"exists": False}]}}, True),
    ({"state": [{"exists": False}]}, False),
    ({"state": [{"exists": False}, "running"]}, True),
    ({"items": {"extra": [{"exists": False}]}}, False),  # the second element has it
    # prefix, suffix
    ({"state": [{"prefix": "run"}]}, True),
    ({"state": [{"prefix": ""}]}, True),
    ({"state": [{"prefix": "Run"}]}, False),
    ({"Count": [{"prefix": "5"}]}, False),
    ({"state": [{"prefix": {"equals-ignore-case": "RUN"}}]}, True),
    ({"file": [{"suffix": ".PNG"}]}, True),
    ({"file": [{"suffix": ".png"}]}, False),
    ({"file": [{"suffix": {"equals-ignore-case": ".png"}}]}, True),
    ({"state": [{"equals-ignore-case": "RUNNING"}]}, True),
    ({"state": [{"equals-ignore-case": "RUN"}]}, False),
    # anything-but
    ({"state": [{"anything-but": "stopped"}]}, True),
    ({"state": [{"anything-but": "running"}]}, False),
    ({"state": [{"anything-but": ["stopped", "running"]}]}, False),
    ({"Count": [{"anything-but": [4, 6]}]}, True),
    ({"Count": [{"anything-but": 5}]}, False),
    ({"absent": [{"anything-but": "x"}]}, False),
    ({"numbers": [{"anything-but": [1, 7]}]}, True),
    ({"state": [{"anything-but": {"prefix": "run"}}]}, False),
    ({"state": [{"anything-but": {"prefix": ["sto", "x"]}}]}, True),
    ({"file": [{"anything-but": {"suffix": ".PNG"}}]}, False),
    ({"file": [{"anything-but": {"wildcard": "*/x"}}]}, True),
    ({"file": [{"anything-but": {"wildcard": ["*/x", "dir/*"]}}]}, False),
    ({"state": [{"anything-but": {"equals-ignore-case": ["RUNNING"]}}]}, False),
    # numeric
    ({"Count": [{"numeric": ["=", 5]}]}, True),
    ({"Count": [{"numeric": [">", 0, "<=", 5]}]}, True),
    ({"Count": [{"numeric": [">=", 0, "<", 5]}]}, False),
    ({"price": [{"numeric": ["<", 2.6]}]}, True),
    ({"price": [{"numeric": [">", 2.5]}]}, False),
    ({"state": [{"numeric": [">", 0]}]}, False),
    ({"ok": [{"numeric": ["=", 1]}]}, False),
    # cidr
    ({"ip": [{"cidr": "10.0.0.0/24"}]}, True),
    ({"ip": [{"cidr": "10.0.1.0/24"}]}, False),
    ({"ip6": [{"cidr": "2001:db8::/32"}]}, True),
    ({"ip6": [{"cidr": "10.0.0.0/8"}]}, False),
    ({"state": [{"cidr": "10.0.0.0/8"}]}, False),
    # wildcard
    ({"file": [{"wildcard": "dir/*.PNG"}]}, True),
    ({"file": [{"wildcard": "*image*"}]}, True),
    ({"file": [{"wildcard": "*"}]}, True),
    ({"empty": [{"wildcard": "*"}]}, True),
    ({"file": [{"wildcard": "dir*dir*"}]}, False),
    ({"star": [{"wildcard": "a\\*b"}]}, True),
    ({"state": [{"wildcard": "runn\\*"}]}, False),
    ({"state": [{"wildcard": "running*ng"}]}, False),
    # one of several
    ({"$or": [{"state": ["x"]}, {"Count": [5]}]}, True),
    ({"$or": [{"state": ["x"]}, {"Count": [6]}]}, False),
    ({"$or": [{"state": ["x"]}, {"Count": [5]}], "ok": [False]}, False),
    ({"$or": [{"state": ["x"]}, {"$or": [{"ok": [True]}, {"ok": ["y"]}]}]}, True),
    ({"$or": [{"absent": [{"exists": False}]}, {"state": ["x"]}]}, True),
    # `$or` with operators is a field of this name
    ({"$or": [{"prefix": "x"}, {"suffix": "y"}]}, False),
]  # fmt: skip


@pytest.mark.parametrize(("detail", "expected"), TABLE, ids=lambda value: json.dumps(value)[:60])
def test_the_operators(detail: object, expected: bool):
    assert compile_pattern(json.dumps({"detail": detail})).matches(EVENT) is expected


def test_nesting_and_arrays_at_the_top():
    assert compile_pattern('{"resources": ["arn:2"], "source": [{"prefix": "aws."}]}').matches(EVENT)
    assert not compile_pattern('{"source": {"x": ["aws.ec2"]}}').matches(EVENT)


def test_a_dot_in_a_name_is_nesting():
    nested, dotted = {"detail": {"a": {"b": 1}}}, {"detail": {"a.b": 1}}
    for pattern in ('{"detail": {"a": {"b": [1]}}}', '{"detail.a.b": [1]}', '{"detail": {"a.b": [1]}}'):
        assert compile_pattern(pattern).matches(nested)
        assert compile_pattern(pattern).matches(dotted)
    both = {"a": {"c": 2}, "a.b": 1}
    assert compile_pattern('{"a": {"b": [1], "c": [2]}}').matches(both)


REFUSED = [
    ("[]", "Filter is not an object"),
    ("{", "Filter is not valid JSON"),
    ("{}", "Empty objects are not allowed"),
    ('{"a": {}}', "Empty objects are not allowed"),
    ('{"a": []}', "Empty arrays are not allowed"),
    ('{"string": "x"}', '"string" must be an object or an array'),
    ('{"int": 1}', '"int" must be an object or an array'),
    ('{"a": [[1]]}', "Match value must be String, number, true, false, or null"),
    ('{"a": [{"EXISTS": true}]}', "Unrecognized match type EXISTS"),
    ('{"a": [{"NUMERIC": ["=", 1]}]}', "Unrecognized match type NUMERIC"),
    ('{"a": [{"prefix": "x", "suffix": "y"}]}', "Only one key allowed in match expression"),
    ('{"a": [{"prefix": 1}]}', "prefix match pattern must be a string"),
    ('{"a": [{"suffix": ["x"]}]}', "suffix match pattern must be a string"),
    ('{"a": [{"equals-ignore-case": ["x"]}]}', "equals-ignore-case match pattern must be a string"),
    ('{"a": [{"wildcard": 5}]}', "wildcard match pattern must be a string"),
    ('{"a": [{"wildcard": "a**b"}]}', "Consecutive wildcard characters at pos 2"),
    ('{"a": [{"wildcard": "a\\\\b"}]}', "Invalid escape character at pos 2"),
    ('{"a": [{"exists": "true"}]}', "exists match pattern must be either true or false."),
    ('{"a": [{"cidr": "10.0.0.0"}]}', "Malformed CIDR, one '/' required"),
    ('{"a": [{"cidr": "10.0.0.0/x"}]}', "Malformed CIDR, mask bits must be an integer"),
    ('{"a": [{"cidr": "10.0.0.0/64"}]}', "IPv4 mask bits must be < 32"),
    ('{"a": [{"cidr": "10.0/8"}]}', "Nonstandard IP address: 10.0"),
    ('{"a": [{"cidr": 8}]}', "prefix match pattern must be a string"),
    ('{"a": [{"numeric": 5}]}', "Value of numeric must be an array."),
    ('{"a": [{"numeric": []}]}', "Invalid member in numeric match: ]"),
    ('{"a": [{"numeric": ["<", "5"]}]}', "Value of < must be numeric."),
    ('{"a": [{"numeric": ["=", null]}]}', "Value of equals must be numeric."),
    ('{"a": [{"numeric": [">", 1, ">", 2]}]}', "Bad numeric range operator: >"),
    ('{"a": [{"numeric": [">", 2, "<", 1]}]}', "Bottom must be less than top"),
    ('{"a": [{"numeric": ["!", 2]}]}', "Unrecognized numeric range operator: !"),
    ('{"a": [6000000000]}', "Value must be between -5.0E9 and 5.0E9, inclusive"),
    ('{"a": [{"anything-but": null}]}', "Value of anything-but must be an array or single string/number value."),
    ('{"a": [{"anything-but": ["x", 1]}]}',
     "Inside anything but list, either all values are number or string, mixed type is not supported"),
    ('{"a": [{"anything-but": [true]}]}', "Inside anything but list, start|null|boolean is not supported."),
    ('{"a": [{"anything-but": {"prefix": [1]}}]}',
     "Inside anything-but/prefix list, number|start|null|boolean is not supported."),
    ('{"a": [{"anything-but": {"cidr": "x"}}]}', "Unsupported anything-but pattern: cidr"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_what_is_refused(text: str, reason: str):
    with pytest.raises(InvalidPattern) as refused:
        compile_pattern(text)
    assert refused.value.message == reason


def test_depth_is_limited_and_depth_of_events_is_not():
    too_deep = '{"a":' * 300 + "[1]" + "}" * 300
    with pytest.raises(InvalidPattern):
        compile_pattern(too_deep)
    alternatives: object = {"a": [1]}
    for _ in range(150):
        alternatives = {"$or": [alternatives, {"b": [1]}]}
    with pytest.raises(InvalidPattern):
        compile_document(alternatives)
    event: object = 1
    for _ in range(5000):
        event = [event]
    assert compile_pattern('{"a": [1]}').matches({"a": event})


@settings(max_examples=300, deadline=None)
@given(
    st.text("ab*\\", max_size=8).map(lambda text: "".join("\\" + c if c in "*\\" else c for c in text)),
    st.lists(st.text("ab", max_size=3), min_size=1, max_size=4),
    st.text("ab*\\", max_size=12),
)
def test_wildcards_do_what_a_regular_expression_would(escaped: str, parts: list[str], value: str):
    stars = "*".join(part or "b" for part in parts)
    expected = re.fullmatch(".*".join(re.escape(part or "b") for part in parts), value) is not None
    assert compile_document({"a": [{"wildcard": stars}]}).matches({"a": value}) is expected
    plain = re.sub(r"\\(.)", r"\1", escaped)
    assert compile_document({"a": [{"wildcard": escaped}]}).matches({"a": plain})


leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)
events = st.dictionaries(st.sampled_from("xyz"), leaves | st.lists(leaves, max_size=3), max_size=3)
conditions = st.dictionaries(st.sampled_from("xyz"), st.lists(leaves, min_size=1, max_size=3), min_size=1, max_size=3)


@settings(max_examples=300, deadline=None)
@given(conditions, events)
def test_exact_values_against_a_plain_reading(pattern: dict[str, list[Any]], event: dict[str, Any]):
    def as_listed(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [value]

    expected = all(
        any(json.dumps(have) == json.dumps(want) for want in wanted for have in as_listed(event.get(name, [])))
        for name, wanted in pattern.items()
    )
    assert compile_document(pattern).matches(event) is expected


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["a", "$or", "prefix", "numeric", "anything-but", "exists", "cidr", "wildcard", "a.b", ""]), inner
), max_leaves=12).map(json.dumps))  # fmt: skip
def test_any_text_is_compiled_or_refused(text: str):
    with contextlib.suppress(InvalidPattern):
        compile_pattern(text).matches(EVENT)
