"""Publishing: the forms that queues and functions get, filters, dead letters, limits, FIFO topics, transactions."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from lambdad.domain.errors import ServiceError
from lambdad.domain.queues import MessageAttribute
from lambdad.domain.topics import Draft
from lambdad.neighbours.sns.publishing import Published, check_batch
from lambdad.storage.engine import Transaction
from lambdad.storage.sqlite import SqliteEngine
from tests.neighbours.sns.conftest import BASE_URL, Topics, a_topic, text
from tests.neighbours.sqs.conftest import StillClock

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
PNG = MessageAttribute("Binary", None, b"\x89PNG")


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as refused:
        await call
    return refused.value.code, refused.value.message


# --- forms ---


async def test_a_queue_gets_the_message_in_an_envelope(sns: Topics):
    await sns.create()
    subscription = await sns.subscribe()
    published = await sns.publish("hé\n", subject="s", attributes={"a": text("x"), "b": PNG})
    (message,) = await sns.received()
    assert message.body.startswith('{\n  "Type" : "Notification",\n  "MessageId" : "')
    document = json.loads(message.body)
    assert list(document) == ["Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "SignatureVersion",
                              "Signature", "SigningCertURL", "UnsubscribeURL", "MessageAttributes"]  # fmt: skip
    assert document["MessageId"] == published.message_id
    assert (document["Subject"], document["Message"]) == ("s", "hé\n")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["Timestamp"])
    assert document["MessageAttributes"] == {
        "a": {"Type": "String", "Value": "x"}, "b": {"Type": "Binary", "Value": "iVBORw=="},
    }  # fmt: skip
    assert (
        document["UnsubscribeURL"] == f"{BASE_URL}/_lambdad/sns?Action=Unsubscribe&SubscriptionArn={subscription.arn}"
    )
    assert message.attributes == {}


async def test_absent_members_are_left_out(sns: Topics):
    await sns.create()
    await sns.subscribe()
    await sns.publish()
    (document,) = await sns.envelopes()
    assert not {"Subject", "MessageAttributes", "SequenceNumber"} & set(document)


async def test_a_raw_message_brings_its_attributes(sns: Topics):
    await sns.create()
    await sns.subscribe(RawMessageDelivery="true")
    await sns.publish("hello", attributes={"a": text("x"), "b": PNG}, trace="Root=1")
    (message,) = await sns.received()
    assert (message.body, message.attributes) == ("hello", {"a": text("x"), "b": PNG})
    assert message.trace_header == "Root=1"


async def test_a_function_gets_a_record(sns: Topics):
    await sns.create()
    subscription = await sns.subscribe(FUNCTION, protocol="lambda")
    published = await sns.publish("hello", attributes={"a": text("1", "Number")})
    ((function, event),) = sns.functions.events
    (record,) = event["Records"]
    note = record.pop("Sns")
    assert function == FUNCTION
    assert record == {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": subscription.arn}
    assert list(note) == ["Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "SignatureVersion",
                          "Signature", "SigningCertUrl", "UnsubscribeUrl", "MessageAttributes"]  # fmt: skip
    assert (note["MessageId"], note["Subject"], note["Message"]) == (published.message_id, None, "hello")
    assert note["MessageAttributes"] == {"a": {"Type": "Number", "Value": "1"}}


async def test_each_protocol_gets_its_text(sns: Topics):
    await sns.create()
    await sns.subscribe(RawMessageDelivery="true")
    await sns.subscribe(FUNCTION, protocol="lambda")
    await sns.publish(json.dumps({"default": "d", "sqs": "q", "http": 1}), structure="json")
    assert await sns.bodies() == ["q"]
    assert sns.functions.events[0][1]["Records"][0]["Sns"]["Message"] == "d"


async def test_a_message_goes_to_all_subscribers(sns: Topics):
    await sns.create()
    for name in ("a", "b"):
        await sns.subscribe(await sns.queue(name))
    await sns.publish()
    assert len(await sns.bodies("a")) == len(await sns.bodies("b")) == 1


# --- filters ---


async def test_a_filter_on_attributes(sns: Topics):
    await sns.create()
    await sns.subscribe(FilterPolicy={"kind": [{"prefix": "order"}]}, RawMessageDelivery="true")
    await sns.publish("1", attributes={"kind": text("order-1")})
    await sns.publish("2", attributes={"kind": text("data")})
    await sns.publish("3")
    assert await sns.bodies() == ["1"]


async def test_a_filter_on_the_body(sns: Topics):
    await sns.create()
    await sns.subscribe(FilterPolicy={"a": {"b": [1]}}, FilterPolicyScope="MessageBody", RawMessageDelivery="true")
    for message in ('{"a":{"b":1}}', '{"a":{"b":2}}', "a"):
        await sns.publish(message)
    assert await sns.bodies() == ['{"a":{"b":1}}']


# --- what cannot be delivered ---


async def test_a_missing_queue_does_not_disturb_the_others(sns: Topics, caplog: pytest.LogCaptureFixture):
    await sns.create()
    await sns.subscribe(f"{QUEUE}gone")
    await sns.subscribe()
    with caplog.at_level(logging.WARNING):
        await sns.publish()
    assert len(await sns.bodies()) == 1
    assert f"could not be delivered to {QUEUE}gone" in caplog.text
    assert "so it is lost" in caplog.text


async def test_what_cannot_be_delivered_goes_to_the_dead_letter_queue(sns: Topics):
    await sns.create()
    redrive = {"deadLetterTargetArn": await sns.queue("dead")}
    await sns.subscribe(f"{QUEUE}gone", RedrivePolicy=redrive, RawMessageDelivery="true")
    await sns.subscribe(f"{FUNCTION[:-1]}missing", protocol="lambda", RedrivePolicy=redrive)
    published = await sns.publish("hello", attributes={"a": text("x")})
    raw, enveloped = await sns.received("dead")
    assert (raw.body, raw.attributes) == ("hello", {"a": text("x")})
    assert json.loads(enveloped.body)["MessageId"] == published.message_id


async def test_a_raw_message_with_too_many_attributes_is_a_dead_letter(sns: Topics):
    await sns.create()
    await sns.subscribe(RawMessageDelivery="true")
    await sns.publish(attributes={str(number): text("x") for number in range(11)})
    assert await sns.bodies() == []
    assert sns.service.statistics()["failed"] == 1


async def test_protocols_that_lambdad_does_not_speak_say_so(sns: Topics, caplog: pytest.LogCaptureFixture):
    await sns.create()
    await sns.subscribe("+1555123", protocol="sms", RedrivePolicy={"deadLetterTargetArn": await sns.queue("dead")})
    with caplog.at_level(logging.WARNING):
        await sns.publish()
    assert "not to sms" in caplog.text
    assert len(await sns.bodies("dead")) == 1


# --- limits ---


PUBLISH_REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    ({"message": ""}, "InvalidParameterException", "Invalid parameter: Empty message"),
    ({"message": "x" * 262_145}, "InvalidParameterException", "Invalid parameter: Message too long"),
    ({"message": "x" * 262_134, "attributes": {"name": text("x")}}, "InvalidParameterException",
     "Invalid parameter: Message too long"),
    ({"subject": ""}, "InvalidParameterException", "Invalid parameter: Subject"),
    ({"subject": "x" * 101}, "InvalidParameterException", "Invalid parameter: Subject"),
    ({"subject": "a\nb"}, "InvalidParameterException", "Invalid parameter: Subject"),
    ({"structure": "xml"}, "InvalidParameterException", "Invalid parameter: MessageStructure"),
    ({"structure": "json"}, "InvalidParameterException",
     "Invalid parameter: Message Structure - JSON message body failed to parse"),
    ({"structure": "json", "message": '{"sqs":"x"}'}, "InvalidParameterException",
     "Invalid parameter: Message Structure - No default entry in JSON message body"),
    ({"attributes": {"a": text("")}}, "InvalidParameterValueException",
     "The message attribute 'a' must contain non-empty message attribute value for message attribute type 'String'."),
    ({"attributes": {"a": text("x", "")}}, "ValidationError",
     "1 validation error detected: Value null at 'messageAttributes.a.member.dataType' failed to satisfy constraint: "
     "Member must not be null"),
    ({"attributes": {"a": text("x", "Text")}}, "InvalidParameterValueException",
     "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is Binary, "
     "Number, and String."),
    ({"attributes": {"a": text("x", "Number")}}, "InvalidParameterValueException",
     "Could not cast message attribute 'a' value to number."),
    ({"attributes": {"a b": text("x")}}, "InvalidParameterValueException",
     "Invalid non-alphanumeric character was found in the message attribute name 'a b'. Can only include alphanumeric "
     "characters, hyphens, underscores, or dots."),
    ({"deduplication_id": "x"}, "InvalidParameterException",
     "Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is "
     "not valid for this topic type"),
    ({"to": "none"}, "NotFoundException", "Topic does not exist"),
]  # fmt: skip


@pytest.mark.parametrize(("members", "code", "message"), PUBLISH_REFUSALS)
async def test_what_cannot_be_published(sns: Topics, members: dict[str, Any], code: str, message: str):
    await sns.create()
    await sns.subscribe()
    assert await refusal(sns.publish(**members)) == (code, message)
    assert await sns.bodies() == []


async def test_the_largest_message(sns: Topics):
    await sns.create()
    await sns.subscribe(RawMessageDelivery="true")
    await sns.publish("x" * 262_144)
    assert [len(body) for body in await sns.bodies()] == [262_144]


async def test_a_topic_may_take_larger_or_smaller_messages(sns: Topics):
    await sns.create(MaximumMessageSize="1024")
    assert (await refusal(sns.publish("x" * 1025)))[1] == "Invalid parameter: Message too long"
    await sns.service.topics.set_attribute(a_topic(), "MaximumMessageSize", "1048576")
    await sns.publish("x" * 1_048_576)


# --- batches ---


async def batch(sns: Topics, *drafts: Draft, to: str = "t") -> list[Published | ServiceError]:
    return await sns.service.publisher.publish_batch(a_topic(to), drafts)


async def test_the_good_ones_of_a_batch_are_published(sns: Topics):
    await sns.create()
    await sns.subscribe(RawMessageDelivery="true")
    good, bad = await batch(sns, Draft(message="a"), Draft(message=""))
    assert isinstance(good, Published)
    assert isinstance(bad, ServiceError)
    assert await sns.bodies() == ["a"]


async def test_a_batch_has_a_limit_in_all(sns: Topics):
    await sns.create()
    half = Draft(message="x" * 131_072)
    await batch(sns, half, half)
    code, message = await refusal(batch(sns, half, half, Draft(message="x")))
    assert code == "BatchRequestTooLongException"
    assert message == "The length of all the messages put together is more than the limit."


BATCHES = [
    ([], "EmptyBatchRequestException"),
    ([str(number) for number in range(11)], "TooManyEntriesInBatchRequestException"),
    (["a b"], "InvalidBatchEntryIdException"),
    (["a", "a"], "BatchEntryIdsNotDistinctException"),
]


@pytest.mark.parametrize(("ids", "code"), BATCHES)
def test_ids_of_a_batch(ids: list[str], code: str):
    with pytest.raises(ServiceError) as refused:
        check_batch(ids)
    assert refused.value.code == code


# --- FIFO ---


async def a_fifo_topic(sns: Topics, **attributes: str) -> None:
    await sns.create("t.fifo", **attributes)
    await sns.subscribe(await sns.queue("q.fifo"), "t.fifo", RawMessageDelivery="true")


async def test_a_fifo_queue_gets_groups_and_ids(sns: Topics):
    await a_fifo_topic(sns)
    published = await sns.publish("x", "t.fifo", group_id="g", deduplication_id="d")
    (message,) = await sns.received("q.fifo")
    assert (message.body, message.group_id, message.deduplication_id) == ("x", "g", "d")
    assert re.fullmatch(r"1\d{19}", published.sequence_number or "")


async def test_sequence_numbers_grow(sns: Topics):
    await a_fifo_topic(sns)
    numbers = [(await sns.publish(d, "t.fifo", group_id="g", deduplication_id=d)).sequence_number for d in "abc"]
    assert numbers == sorted(set(numbers), key=str)


async def test_a_duplicate_is_accepted_and_not_delivered(sns: Topics, clock: StillClock):
    await a_fifo_topic(sns, ContentBasedDeduplication="true")
    first = await sns.publish("x", "t.fifo", group_id="g")
    again = await sns.publish("x", "t.fifo", group_id="h")
    assert (again.message_id, again.sequence_number) == (first.message_id, first.sequence_number)
    assert await sns.bodies("q.fifo") == ["x"]
    clock.advance(300)
    assert (await sns.publish("x", "t.fifo", group_id="h")).message_id != first.message_id


async def test_deduplication_by_group(sns: Topics):
    await a_fifo_topic(sns, ContentBasedDeduplication="true", FifoThroughputScope="MessageGroup")
    published = [await sns.publish("x", "t.fifo", group_id=group) for group in "ghg"]
    assert len({each.message_id for each in published}) == 2


async def test_a_standard_queue_may_follow_a_fifo_topic(sns: Topics):
    await sns.create("t.fifo", ContentBasedDeduplication="true")
    await sns.subscribe(None, "t.fifo")
    await sns.publish("x", "t.fifo", group_id="g")
    (document,) = await sns.envelopes()
    assert list(document) == ["Type", "MessageId", "SequenceNumber", "TopicArn", "Message", "Timestamp",
                              "UnsubscribeURL"]  # fmt: skip


async def test_a_group_of_a_standard_topic_reaches_the_queue(sns: Topics):
    await sns.create()
    await sns.subscribe()
    await sns.publish(group_id="tenant")
    assert [message.group_id for message in await sns.received()] == ["tenant"]


FIFO_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({}, "The MessageGroupId parameter is required for FIFO topics"),
    ({"group_id": "g"}, "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId "
                        "provided explicitly"),
    ({"group_id": "a b", "deduplication_id": "d"}, "MessageGroupId Reason: MessageGroupId can only include "
                                                   "alphanumeric and punctuation characters. 1 to 128 in length"),
]  # fmt: skip


@pytest.mark.parametrize(("members", "reason"), FIFO_REFUSALS)
async def test_what_a_fifo_topic_refuses(sns: Topics, members: dict[str, Any], reason: str):
    await a_fifo_topic(sns)
    assert (await refusal(sns.publish("x", "t.fifo", **members)))[1] == f"Invalid parameter: {reason}"


async def test_old_deduplication_ids_are_forgotten(sns: Topics, clock: StillClock):
    await a_fifo_topic(sns, ContentBasedDeduplication="true")
    await sns.publish("x", "t.fifo", group_id="g")
    clock.advance(301)
    await sns.service.upkeep.run_once()
    assert await sns.engine.read("SELECT * FROM topic_deduplication") == []


# --- inside other transactions, and after a crash ---


async def test_a_message_of_a_transaction_that_fails_is_never_published(sns: Topics):
    await sns.create()
    await sns.subscribe()

    def job(tx: Transaction) -> None:
        sns.service.publish_in(tx, a_topic().arn, "x")
        raise LookupError

    with pytest.raises(LookupError):
        await sns.engine.write(job)
    assert await sns.bodies() == []


async def test_a_message_of_a_transaction(sns: Topics):
    await sns.create()
    await sns.subscribe()
    published = await sns.engine.write(
        lambda tx: sns.service.publish_in(tx, a_topic().arn, "x", {"a": text("1")}, "s", trace="Root=1")
    )
    sns.service.delivered(published)
    (document,) = await sns.envelopes()
    assert (document["Message"], document["Subject"]) == ("x", "s")


async def test_half_characters_do_not_keep_a_dead_letter_from_anybody(sns: Topics):
    await sns.create()
    await sns.subscribe()
    pending = await sns.subscribe("http://example.com/", protocol="http")
    await sns.service.subscriptions.confirm(a_topic(), pending.token, is_authenticated=True)
    await sns.engine.write(lambda tx: sns.service.publish_in(tx, a_topic().arn, "x\ud800", {"a": text("\udc00y")}))
    await sns.publish('{"default":"\\ud800z"}', structure="json")
    assert [document["Message"] for document in await sns.envelopes()] == ["x?", "?z"]
    await sns.service.posts.settle()
    notes = [json.loads(body) for _, headers, body in sns.endpoints.posts]
    assert [note["Message"] for note in notes if note["Type"] == "Notification"] == ["x?", "?z"]


@pytest.mark.parametrize("arn", ["arn:aws:sns:us-east-1:000000000000:none", "x"])
async def test_a_job_can_go_on_after_a_refusal(sns: Topics, arn: str):
    def job(tx: Transaction) -> str:
        try:
            sns.service.publish_in(tx, arn, "x")
        except ServiceError as error:
            return error.message
        return ""

    assert await sns.engine.write(job) == "Topic does not exist"


async def test_everything_is_there_after_a_crash(sns: Topics, clock: StillClock, tmp_path: Path):
    await sns.create()
    await sns.subscribe()
    pending = await sns.subscribe("http://example.com/", protocol="http")
    await sns.service.subscriptions.confirm(a_topic(), pending.token, is_authenticated=True)
    await sns.publish("x")
    await sns.engine.close()  # nothing else is stopped
    engine = await SqliteEngine.open(tmp_path)
    again = Topics(engine, clock)
    await again.service.posts.settle()
    assert [json.loads(body)["Message"] for _, headers, body in again.endpoints.posts
            if headers["x-amz-sns-message-type"] == "Notification"] == ["x"]  # fmt: skip
    assert [document["Message"] for document in await again.envelopes()] == ["x"]
    await again.publish("y")
    assert [document["Message"] for document in await again.envelopes()] == ["y"]
    await again.service.stop()
    await again.sqs.stop()
    await engine.close()


async def test_reset(sns: Topics):
    await sns.create()
    await sns.subscribe("http://example.com/", protocol="http")
    await sns.service.reset()
    assert (await refusal(sns.publish()))[0] == "NotFoundException"
    await sns.service.posts.settle()
    assert sns.endpoints.posts == []
