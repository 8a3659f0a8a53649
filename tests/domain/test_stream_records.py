"""Records of streams as functions get them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lambdad.domain.stream_positions import window_of, window_time
from lambdad.domain.stream_records import dynamodb_record, failure_key, kinesis_record

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
KINESIS = "arn:aws:kinesis:eu-west-1:000000000000:stream/s"
TABLE = "arn:aws:dynamodb:eu-west-1:000000000000:table/t/stream/2026"


def test_a_record_of_kinesis() -> None:
    read = {"SequenceNumber": "7", "ApproximateArrivalTimestamp": AT, "PartitionKey": "k", "Data": b"x"}
    record = kinesis_record(read, "shardId-0", KINESIS, "arn:role")
    assert (record.sequence_number, record.order_key, record.data) == ("7", "k", b"x")
    assert record.document == {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "k",
            "sequenceNumber": "7",
            "data": "eA==",
            "approximateArrivalTimestamp": 1767323045.678,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "shardId-0:7",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:role",
        "awsRegion": "eu-west-1",
        "eventSourceARN": KINESIS,
    }


def a_change(**images: Any) -> dict[str, Any]:
    change = {
        "ApproximateCreationDateTime": AT,
        "SequenceNumber": "7",
        "SizeBytes": 1,
        "StreamViewType": "NEW_IMAGE",
        **images,
    }
    return {"eventID": "e", "eventName": "MODIFY", "dynamodb": change}


def test_bytes_inside_of_items_are_base64() -> None:
    image = {"b": {"B": b"x"}, "s": {"BS": [b"x"]}, "m": {"M": {"l": {"L": [{"B": b"x"}, {"N": "1"}]}}}}
    shown = dynamodb_record(a_change(Keys={"k": {"S": "1"}}, NewImage=image), TABLE).document["dynamodb"]
    assert shown["NewImage"] == {
        "b": {"B": "eA=="},
        "s": {"BS": ["eA=="]},
        "m": {"M": {"l": {"L": [{"B": "eA=="}, {"N": "1"}]}}},
    }
    assert shown["ApproximateCreationDateTime"] == 1767323045.0


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "ü"}, 2),
        ({"N": "42"}, 2),
        ({"N": "-1.5"}, 2),
        ({"N": "100"}, 2),
        ({"N": "12345"}, 4),
        ({"B": b"foobar"}, 6),
        ({"SS": ["a", "bc"]}, 3),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"L": [{"S": "a"}]}, 5),
        ({"M": {"a": {"S": "b"}}}, 6),
    ],
)
def test_sizes_of_attributes(value: dict[str, Any], size: int) -> None:
    shown = dynamodb_record(a_change(Keys={"k": value}), TABLE).document["dynamodb"]
    assert shown["SizeBytes"] == 1 + size


def test_items_with_the_same_key_keep_their_order() -> None:
    first = dynamodb_record(a_change(Keys={"a": {"S": "1"}, "b": {"N": "2"}}), TABLE)
    second = dynamodb_record(a_change(Keys={"b": {"N": "2"}, "a": {"S": "1"}}), TABLE)
    assert first.order_key == second.order_key


def test_the_key_of_a_failed_batch() -> None:
    assert failure_key("m", "shard-1", "u", AT) == "aws/lambda/m/shard-1/2026/01/02/2026-01-02T03.04.05-u"


def test_windows_begin_at_whole_multiples() -> None:
    window = window_of(AT, 120)
    assert (window_time(window.start), window_time(window.end)) == ("2026-01-02T03:04:00Z", "2026-01-02T03:06:00Z")
    assert window.holds(AT)
    assert not window.holds(window.end)
