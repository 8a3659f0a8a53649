"""Messages as records, and which of them stay in the queue."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lambdad.domain.queue_records import QueueMessage, batch_trace, left_in_queue, message_attribute, queue_record

ARN = "arn:aws:sqs:eu-west-1:000000000000:q"


def a_message(id_: str = "id", **values: Any) -> QueueMessage:
    members: dict[str, Any] = {
        "message_id": id_,
        "receipt_handle": "handle",
        "body": "body",
        "md5_of_body": "md5",
        "attributes": {},
        "message_attributes": {},
        "md5_of_attributes": None,
    }
    return QueueMessage(**members | values)


def test_a_record() -> None:
    attributes = {"n": message_attribute("Number", text="1"), "b": message_attribute("Binary", binary_base64="eA==")}
    message = a_message(attributes={"SenderId": "me"}, message_attributes=attributes, md5_of_attributes="m")
    assert queue_record(message, ARN, has_window=False) == {
        "messageId": "id",
        "receiptHandle": "handle",
        "body": "body",
        "attributes": {"SenderId": "me"},
        "messageAttributes": {
            "n": {"stringValue": "1", "stringListValues": [], "binaryListValues": [], "dataType": "Number"},
            "b": {"binaryValue": "eA==", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
        },
        "md5OfMessageAttributes": "m",
        "md5OfBody": "md5",
        "eventSource": "aws:sqs",
        "eventSourceARN": ARN,
        "awsRegion": "eu-west-1",
    }


def test_the_digest_of_no_attributes_is_null_with_a_window_and_absent_without() -> None:
    assert queue_record(a_message(), ARN, has_window=True)["md5OfMessageAttributes"] is None
    assert "md5OfMessageAttributes" not in queue_record(a_message(), ARN, has_window=False)


def test_a_batch_goes_on_with_its_longest_chain() -> None:
    headers = ["", "Root=1-a;Lineage=2:aa:1", "Root=1-b;Lineage=11:bb:10", "Root=1-c"]
    messages = [a_message(attributes={"AWSTraceHeader": header} if header else {}) for header in headers]
    assert batch_trace(messages) == headers[2]
    assert batch_trace([a_message()]) == ""


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.booleans()), min_size=1, max_size=20))
def test_in_a_fifo_queue_nothing_overtakes_what_failed(given_: list[tuple[str, bool]]) -> None:
    messages = [a_message(str(n), attributes={"MessageGroupId": group}) for n, (group, _) in enumerate(given_)]
    failed = frozenset(str(n) for n, (_, has_failed) in enumerate(given_) if has_failed)
    left = left_in_queue(messages, failed, is_fifo=True)
    assert failed <= left
    for group in "xyz":
        ids = [message.message_id for message in messages if message.group_id == group]
        kept = [id_ in left for id_ in ids]
        assert kept == sorted(kept)  # what stays is the end of the group
        if any(kept):
            assert ids[kept.index(True)] in failed
    assert left_in_queue(messages, failed, is_fifo=False) == failed
