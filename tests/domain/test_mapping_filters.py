"""Which records the filters of a mapping let pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.mapping_filters import Filters


def filters(*patterns: object) -> Filters:
    return Filters([json.dumps(pattern) for pattern in patterns])


def message(body: object, **members: Any) -> dict[str, Any]:
    return {"body": body if isinstance(body, str) else json.dumps(body), "eventSource": "aws:sqs", **members}


def test_without_filters_everything_passes() -> None:
    assert filters().pass_message(message("x"))
    assert not filters()


@pytest.mark.parametrize(
    ("pattern", "passes", "fails"),
    [
        ({"body": {"a": ["x"]}}, {"a": "x"}, {"a": "y"}),
        ({"body": {"a": [{"prefix": "x"}]}}, {"a": "xy"}, {"a": "yx"}),
        ({"body": {"a": [{"suffix": "x"}]}}, {"a": "yx"}, {"a": "xy"}),
        ({"body": {"a": [{"equals-ignore-case": "X"}]}}, {"a": "x"}, {"a": "y"}),
        ({"body": {"a": [{"anything-but": ["x"]}]}}, {"a": "y"}, {"a": "x"}),
        ({"body": {"a": [{"numeric": [">", 1, "<=", 5]}]}}, {"a": 5}, {"a": 1}),
        ({"body": {"a": [{"exists": False}]}}, {"b": 1}, {"a": 1}),
        ({"body": {"a": {"b": [None]}}}, {"a": {"b": None}}, {"a": {"b": ""}}),
        ({"body": {"a": ["x"], "b": ["y"]}}, {"a": "x", "b": "y"}, {"a": "x"}),
        ({"body": ["text"]}, "text", "other"),
    ],
)
def test_operators(pattern: object, passes: object, fails: object) -> None:
    assert filters(pattern).pass_message(message(passes))
    assert not filters(pattern).pass_message(message(fails))


def test_one_filter_of_several_is_enough() -> None:
    found = filters({"body": {"a": [1]}}, {"body": {"a": [2]}})
    assert [found.pass_message(message({"a": n})) for n in (1, 2, 3)] == [True, True, False]


def test_text_and_json_do_not_meet() -> None:
    assert not filters({"body": {"a": ["x"]}}).pass_message(message("plain"))
    assert not filters({"body": ['{"a": 1}']}).pass_message(message('{"a": 1}'))


def test_other_members_of_a_record_can_be_filtered() -> None:
    found = filters({"messageAttributes": {"kind": {"stringValue": ["new"]}}})
    assert found.pass_message(message("x", messageAttributes={"kind": {"stringValue": "new"}}))
    assert not found.pass_message(message("x", messageAttributes={}))


def test_data_of_a_stream_is_filtered_decoded_beside_its_metadata() -> None:
    record = {"kinesis": {"partitionKey": "p", "data": "eyJhIjoxfQ=="}, "eventSource": "aws:kinesis"}
    assert filters({"data": {"a": [1]}, "partitionKey": ["p"]}).pass_kinesis(record, b'{"a":1}')
    assert not filters({"data": {"a": [2]}}).pass_kinesis(record, b'{"a":1}')
    assert not filters({"data": {"a": [1]}}).pass_kinesis(record, b"\xff\x00")


def test_a_change_of_a_table_is_filtered_as_it_is() -> None:
    record = {"eventName": "INSERT", "dynamodb": {"NewImage": {"id": {"S": "1"}}}}
    assert filters({"eventName": ["INSERT"]}).pass_dynamodb(record)
    # Objects are no leaves: a member with a value is absent as far as `exists` goes (AWS: recorded 2025-11).
    assert filters({"dynamodb": {"NewImage": {"id": [{"exists": False}]}}}).pass_dynamodb(record)
    assert not filters({"dynamodb": {"NewImage": {"id": {"S": [{"exists": False}]}}}}).pass_dynamodb(record)


@pytest.mark.parametrize("pattern", ["", "x", "{", "[]", "{}", '{"body": "x"}', '{"body": [{"nope": 1}]}'])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidParameterValue) as error:
        Filters([pattern])
    assert error.value.message == "Invalid filter pattern definition."
