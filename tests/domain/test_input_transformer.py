"""What targets get: paths, templates, and the names that need no path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdad.domain.input_transformer import (
    InputTransformer,
    InvalidPath,
    InvalidTemplate,
    TemplateContext,
    check_transformer,
    find,
    select,
    transform,
)

EVENT: dict[str, Any] = {
    "id": "1",
    "source": "shop",
    "detail": {"state": 'say "hi"', "n": 5, "items": [{"a b": 1}, {"a b": 2}], "none": None, "o": {"k": ["v"]}},
}
CONTEXT = TemplateContext(
    rule_arn="arn:aws:events:us-east-1:000000000000:rule/r",
    rule_name="r",
    event_json='{"id":"1"}',
    ingestion_time="2026-01-31T12:00:00Z",
)
PATHS = {
    "state": "$.detail.state", "n": "$.detail.n", "o": "$.detail.o", "none": "$.detail.none", "gone": "$.detail.x",
    "items": "$.detail.items",
}  # fmt: skip

FOUND = [
    ("$", EVENT),
    ("$.detail.n", 5),
    ("$.detail['n']", 5),
    ('$["detail"].n', 5),
    ("$.detail.items[1]['a b']", 2),
    ("$.detail.items[-1]['a b']", 2),
    ("$.detail.items[*]['a b']", [1, 2]),
    ("$.detail.o.*", [["v"]]),
    ("$.detail.none", None),
]


@pytest.mark.parametrize(("path", "expected"), FOUND)
def test_paths_that_lead_somewhere(path: str, expected: object):
    assert find(path, EVENT) == (True, expected)
    assert json.loads(select(path, EVENT)) == expected


@pytest.mark.parametrize("path", ["$.x", "$.detail.n.x", "$.detail.items[2]", "$.detail[0]", "$.detail.items.a"])
def test_paths_that_lead_nowhere(path: str):
    assert find(path, EVENT) == (False, None)
    assert select(path, EVENT) == "null"


@pytest.mark.parametrize("path", ["", "detail", "$detail", "$.", "$..n", "$.a[", "$.a[x]", "$.a['b", "$.a b"])
def test_what_is_no_path(path: str):
    with pytest.raises(InvalidPath):
        find(path, EVENT)


TEMPLATES = [
    ('{"s": <state>, "n": <n>}', '{"s": "say \\"hi\\"", "n": 5}'),
    ('{"text": "it is <n> and <state>"}', '{"text": "it is 5 and say \\"hi\\""}'),
    ('"<n> of <o>"', '"5 of {k:[v]}"'),
    ('{"o": <o>, "i": <items>}', '{"o": {"k":["v"]}, "i": [{"a b":1},{"a b":2}]}'),
    ('{"none": <none>, "t": "<none>"}', '{"none": null, "t": "null"}'),
    ('{"gone": <gone>, "t": "<gone>", "u": <unknown>}', '{"gone": "", "t": "", "u": ""}'),
    ('"a \\"<n>\\" b"', '"a \\"5\\" b"'),
    ('{"arn": "<aws.events.rule-arn>"}', f'{{"arn": "{CONTEXT.rule_arn}"}}'),
    ('{"name": <aws.events.rule-name>}', '{"name": "r"}'),
    ('{"t": <aws.events.event.ingestion-time>}', '{"t": "2026-01-31T12:00:00Z"}'),
    ('{"e": <aws.events.event.json>}', '{"e": {"id":"1"}}'),
    ('{"e": <aws.events.event>}', '{"e": {"id":"1","source":"shop"}}'),
    ('"1 < 2 and <not a name>"', '"1 < 2 and <not a name>"'),
    ('"first <n>"\n"second <n>"', '"first 5"\n"second 5"'),
]


@pytest.mark.parametrize(("template", "expected"), TEMPLATES)
def test_templates(template: str, expected: str):
    transformer = InputTransformer(template=template, paths=PATHS)
    check_transformer(transformer)
    assert transform(transformer, EVENT, CONTEXT) == expected


@pytest.mark.parametrize("template", ["plain <n>", '{"a": <n>', '{"a": <n> <n>}', "<n> text"])
def test_templates_that_are_never_json(template: str):
    with pytest.raises(InvalidTemplate):
        check_transformer(InputTransformer(template=template, paths=PATHS))


def test_a_path_of_a_transformer_is_checked():
    with pytest.raises(InvalidPath):
        check_transformer(InputTransformer(template='"x"', paths={"x": "detail"}))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=200, deadline=None)
@given(values)
def test_what_is_filled_in_leaves_the_json_valid(value: Any):
    template = '{"plain": <x>, "text": "<< <x> >", "e": <aws.events.event>}'
    filled = transform(InputTransformer(template=template, paths={"x": "$.detail"}), {"detail": value}, CONTEXT)
    document = json.loads(filled)
    assert document["plain"] == value
    if isinstance(value, str):
        assert document["text"] == f"<< {value} >"
