"""Sending, receiving and what follows, on standard queues."""

import asyncio
from typing import Any

import pytest

from lambdad.domain.errors import ServiceError
from lambdad.domain.queues import MessageAttribute
from lambdad.neighbours.sqs import receipts
from lambdad.neighbours.sqs.messages import Draft, check_batch
from tests.neighbours.sqs.conftest import Queues, StillClock, a_caller, an_address, text

HANDLE = "ReceiptHandle"


async def handle_of(sqs: Queues, **options: Any) -> str:
    (message,) = await sqs.receive(**options)
    return receipts.encode(message.receipt)


async def test_a_message_is_received_as_it_was_sent(sqs: Queues, clock: StillClock):
    await sqs.create()
    sent = await sqs.send(
        "hello",
        attributes={"a": text("x", "String.label"), "b": MessageAttribute("Binary", None, b"\0\1")},
        system_attributes={"AWSTraceHeader": text("Root=1-2-3")},
        group_id="tenant",
    )
    clock.advance(2)
    (message,) = await sqs.receive()
    assert message.message_id == sent.message_id
    assert message.body == "hello"
    assert message.attributes == {"a": text("x", "String.label"), "b": MessageAttribute("Binary", None, b"\0\1")}
    assert (message.trace_header, message.group_id, message.sequence_number) == ("Root=1-2-3", "tenant", None)
    assert (message.sent_ms, message.first_received_ms) == (clock.time_ms() - 2000, clock.time_ms())
    assert message.receive_count == 1


async def test_messages_come_in_the_order_of_sending(sqs: Queues):
    await sqs.create()
    for number in range(15):
        await sqs.send(str(number))
    assert await sqs.bodies() == [str(number) for number in range(10)]
    assert await sqs.bodies() == [str(number) for number in range(10, 15)]
    assert await sqs.bodies() == []


async def test_a_received_message_is_hidden_for_the_visibility_timeout_of_the_queue(sqs: Queues, clock: StillClock):
    await sqs.create(VisibilityTimeout=7)
    await sqs.send("a")
    assert await sqs.bodies() == ["a"]
    clock.advance(6.999)
    assert await sqs.bodies() == []
    clock.advance(0.001)
    (message,) = await sqs.receive()
    assert message.receive_count == 2
    assert message.first_received_ms == clock.time_ms() - 7000


async def test_a_receiver_may_bring_its_own_visibility_timeout(sqs: Queues, clock: StillClock):
    await sqs.create()
    await sqs.send("a")
    await sqs.receive(visibility_s=2)
    clock.advance(2)
    assert await sqs.bodies(visibility_s=0) == ["a"]
    assert await sqs.bodies() == ["a"]


async def test_a_message_is_delayed_by_its_own_delay_or_that_of_the_queue(sqs: Queues, clock: StillClock):
    await sqs.create(DelaySeconds=10)
    await sqs.send("later")
    await sqs.send("soon", delay_s=5)
    await sqs.send("now", delay_s=0)
    assert await sqs.counts() == (1, 0, 2)
    assert await sqs.bodies() == ["now"]
    clock.advance(5)
    assert await sqs.bodies() == ["soon"]
    clock.advance(5)
    assert await sqs.bodies() == ["later"]


async def test_counts_follow_every_state(sqs: Queues, clock: StillClock):
    await sqs.create()
    for body in "abcd":
        await sqs.send(body)
    await sqs.send("e", delay_s=900)
    assert await sqs.counts() == (4, 0, 1)
    messages = await sqs.receive(limit=3)
    assert await sqs.counts() == (1, 3, 1)
    await sqs.service.messages.delete(an_address(), receipts.encode(messages[0].receipt))
    assert await sqs.counts() == (1, 2, 1)
    clock.advance(900)
    assert await sqs.counts() == (4, 0, 0)


async def test_a_deleted_message_does_not_come_back(sqs: Queues, clock: StillClock):
    await sqs.create()
    await sqs.send("a")
    handle = await handle_of(sqs)
    await sqs.service.messages.delete(an_address(), handle)
    await sqs.service.messages.delete(an_address(), handle)  # a second time is no error
    clock.advance(31)
    assert await sqs.bodies() == []
    assert await sqs.counts() == (0, 0, 0)


async def test_an_old_receipt_deletes_nothing(sqs: Queues, clock: StillClock):
    await sqs.create()
    await sqs.send("a")
    old = await handle_of(sqs)
    clock.advance(30)
    new = await handle_of(sqs)
    await sqs.service.messages.delete(an_address(), old)
    assert await sqs.counts() == (0, 1, 0)
    await sqs.service.messages.delete(an_address(), new)
    assert await sqs.counts() == (0, 0, 0)


async def test_the_latest_receipt_deletes_also_after_the_timeout(sqs: Queues, clock: StillClock):
    await sqs.create()
    await sqs.send("a")
    handle = await handle_of(sqs)
    clock.advance(31)
    await sqs.service.messages.delete(an_address(), handle)
    assert await sqs.bodies() == []


async def test_a_receipt_of_another_queue_deletes_nothing(sqs: Queues):
    await sqs.create()
    await sqs.create("other")
    await sqs.send("a")
    handle = await handle_of(sqs)
    await sqs.service.messages.delete(an_address("other"), handle)
    assert await sqs.counts() == (0, 1, 0)


async def test_visibility_is_changed_from_now(sqs: Queues, clock: StillClock):
    await sqs.create()
    await sqs.send("a")
    handle = await handle_of(sqs)
    clock.advance(20)
    await sqs.service.messages.change_visibility(an_address(), handle, 20)
    clock.advance(19)
    assert await sqs.bodies() == []
    clock.advance(1)
    assert await sqs.bodies() == ["a"]


async def test_visibility_0_gives_a_message_back(sqs: Queues):
    await sqs.create()
    await sqs.send("a")
    await sqs.service.messages.change_visibility(an_address(), await handle_of(sqs), 0)
    assert await sqs.bodies() == ["a"]


async def test_a_message_can_be_hidden_for_12_hours_after_its_receipt(sqs: Queues, clock: StillClock):
    await sqs.create()
    await sqs.send("a")
    handle = await handle_of(sqs)
    await sqs.service.messages.change_visibility(an_address(), handle, 43_200)
    clock.advance(10)
    with pytest.raises(ServiceError) as refused:
        await sqs.service.messages.change_visibility(an_address(), handle, 43_191)
    assert refused.value.message == (
        "Value 43191 for parameter VisibilityTimeout is invalid. Reason: "
        "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
    )
    await sqs.service.messages.change_visibility(an_address(), handle, 43_190)


async def test_visibility_of_a_message_that_is_not_in_flight(sqs: Queues, clock: StillClock):
    await sqs.create()
    await sqs.send("a")
    handle = await handle_of(sqs)
    clock.advance(30)
    with pytest.raises(ServiceError) as refused:
        await sqs.service.messages.change_visibility(an_address(), handle, 5)
    assert refused.value.code == "MessageNotInflight"
    await sqs.service.messages.delete(an_address(), handle)
    with pytest.raises(ServiceError) as refused:
        await sqs.service.messages.change_visibility(an_address(), handle, 5)
    assert refused.value.message == (
        f"Value {handle} for parameter ReceiptHandle is invalid. "
        "Reason: Message does not exist or is not available for visibility timeout change."
    )


async def test_a_message_expires_with_the_retention_period(sqs: Queues, clock: StillClock):
    await sqs.create(MessageRetentionPeriod=60)
    await sqs.send("a")
    clock.advance(59)
    await sqs.send("b")
    clock.advance(1)
    assert await sqs.counts() == (1, 0, 0)
    assert await sqs.bodies() == ["b"]


async def test_a_receiver_finds_what_is_behind_many_expired_messages(sqs: Queues, clock: StillClock):
    await sqs.create(MessageRetentionPeriod=60)
    for _ in range(60):
        await sqs.service.messages.send_batch(an_address(), [Draft(body="old")] * 10, sender_id="me")
    clock.advance(60)
    await sqs.send("new")
    assert await sqs.bodies() == ["new"]


async def test_a_shorter_retention_period_applies_to_messages_that_are_there(sqs: Queues, clock: StillClock):
    await sqs.create()
    await sqs.send("a")
    clock.advance(100)
    await sqs.service.queues.set_attributes(an_address(), {"MessageRetentionPeriod": "60"})
    assert await sqs.counts() == (0, 0, 0)
    assert await sqs.bodies() == []


async def test_messages_of_receivers_at_the_same_time_are_never_the_same(sqs: Queues):
    await sqs.create()
    for number in range(40):
        await sqs.send(str(number))
    answers = await asyncio.gather(*(sqs.bodies(limit=3) for _ in range(14)))
    assert sorted(body for answer in answers for body in answer) == sorted(str(number) for number in range(40))


async def test_each_entry_of_a_batch_has_its_own_result(sqs: Queues):
    await sqs.create(MaximumMessageSize=1024)
    drafts = [Draft(body="a"), Draft(body=""), Draft(body="x" * 1025), Draft(body="b", delay_s=901), Draft(body="c")]
    results = await sqs.service.messages.send_batch(an_address(), drafts, sender_id="me")
    assert [result.code if isinstance(result, ServiceError) else "" for result in results] == [
        "", "MissingRequiredParameterException", "InvalidParameterValueException", "InvalidParameterValueException", "",
    ]  # fmt: skip
    assert await sqs.bodies() == ["a", "c"]


async def test_a_batch_holds_1_mib_in_all(sqs: Queues):
    await sqs.create()
    half = 1_048_576 // 2
    results = await sqs.service.messages.send_batch(
        an_address(), [Draft(body="x" * half), Draft(body="x" * half)], sender_id="me"
    )
    assert not any(isinstance(result, ServiceError) for result in results)
    with pytest.raises(ServiceError) as refused:
        await sqs.service.messages.send_batch(
            an_address(), [Draft(body="x" * half), Draft(body="x" * half + "y")], sender_id="me"
        )
    assert refused.value.code == "BatchRequestTooLong"
    assert refused.value.message == ("Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.")


async def test_batches_of_receipts(sqs: Queues):
    await sqs.create()
    for body in "abc":
        await sqs.send(body)
    handles = [receipts.encode(message.receipt) for message in await sqs.receive()]
    changed = await sqs.service.messages.change_visibility_batch(
        an_address(), [(handles[0], 0), ("nonsense", 5), (handles[1], 43_201)]
    )
    assert [error.code if error else "" for error in changed] == [
        "", "ReceiptHandleIsInvalid", "InvalidParameterValueException",
    ]  # fmt: skip
    deleted = await sqs.service.messages.delete_batch(an_address(), [handles[1], "nonsense", handles[2]])
    assert [error.code if error else "" for error in deleted] == ["", "ReceiptHandleIsInvalid", ""]
    assert await sqs.counts() == (1, 0, 0)


BATCHES = [
    ([], "EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request."),
    ([str(n) for n in range(20)], "TooManyEntriesInBatchRequest",
     "Maximum number of entries per request are 10. You have sent 20."),
    (["a", "b.c"], "InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and "
     "underscores. It can be at most 80 letters long."),
    (["a" * 81], "InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and "
     "underscores. It can be at most 80 letters long."),
    (["a", "b", "a"], "BatchEntryIdsNotDistinct", "Id a repeated."),
]  # fmt: skip


@pytest.mark.parametrize(("ids", "code", "message"), BATCHES)
def test_ids_of_a_batch(ids: list[str], code: str, message: str):
    with pytest.raises(ServiceError) as refused:
        check_batch(ids, "SendMessageBatchRequestEntry")
    assert (refused.value.code, refused.value.message) == (code, message)


INVALID = "InvalidParameterValueException"
WRONG_TYPE = "The request include parameter that is not valid for this queue type"
SENDS = [
    ({"body": ""}, "MissingRequiredParameterException", "The request must contain the parameter MessageBody."),
    ({"body": "a\x00"}, "InvalidMessageContents", "Invalid characters found."),
    ({"body": "\ud800"}, "InvalidMessageContents", "Invalid characters found."),
    ({"body": "\ufffe"}, "InvalidMessageContents", "Invalid characters found."),
    ({"body": "x" * 1_048_577}, INVALID,
     "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."),
    ({"body": "\u00e9" * 524_288, "attributes": {"n": text("v")}}, INVALID,
     "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."),
    ({"body": "a", "delay_s": -1}, INVALID,
     "Value -1 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."),
    ({"body": "a", "deduplication_id": "d"}, INVALID,
     f"Value d for parameter MessageDeduplicationId is invalid. Reason: {WRONG_TYPE}"),
    ({"body": "a", "group_id": "\u00e9"}, INVALID, "Value \u00e9 for parameter MessageGroupId is invalid."),
    ({"body": "a", "group_id": "g" * 129}, INVALID, f"Value {'g' * 129} for parameter MessageGroupId is invalid."),
    ({"body": "a", "attributes": {"X": text("")}}, INVALID,
     "Message (user) attribute 'X' must contain a non-empty value of type 'String'."),
    ({"body": "a", "attributes": {"X": MessageAttribute("Binary", "text")}}, INVALID,
     "Message (user) attribute 'X' must contain a non-empty value of type 'Binary'."),
    ({"body": "a", "attributes": {"X": text("y", "Number")}}, INVALID,
     "Can't cast the value of message (user) attribute 'X' to a number."),
    ({"body": "a", "attributes": {"X": text("y", "Text")}}, INVALID,
     "The message attribute 'X' has an invalid message attribute type, the set of supported type prefixes is Binary, "
     "Number, and String."),
    ({"body": "a", "attributes": {"X": text("y", "")}}, INVALID,
     "The message attribute 'X' must contain non-empty message attribute type."),
    ({"body": "a", "attributes": {"AWS.x": text("y")}}, INVALID, "Message (user) attribute name 'AWS.x' is invalid"),
    ({"body": "a", "attributes": {"a..b": text("y")}}, INVALID, "Message (user) attribute name 'a..b' is invalid"),
    ({"body": "a", "attributes": {f"n{n}": text("y") for n in range(11)}}, INVALID,
     "Number of message attributes [11] exceeds the allowed maximum [10]."),
    ({"body": "a", "system_attributes": {"Other": text("y")}}, INVALID,
     "Message system attribute name 'Other' is invalid."),
    ({"body": "a", "system_attributes": {"AWSTraceHeader": text("1", "Number")}}, INVALID,
     "The message system attribute 'AWSTraceHeader' must contain a non-empty value of type 'String'."),
]  # fmt: skip


@pytest.mark.parametrize(("draft", "code", "message"), SENDS)
async def test_what_a_standard_queue_refuses(sqs: Queues, draft: dict[str, Any], code: str, message: str):
    await sqs.create()
    with pytest.raises(ServiceError) as refused:
        await sqs.send(**draft)
    assert refused.value.code == code
    assert refused.value.message.startswith(message)
    assert await sqs.counts() == (0, 0, 0)


ACCEPTED = [
    {"body": "x" * 1_048_576},
    {"body": "\t\n\r \ud7ff\ue000\ufffd\U0001f600"},
    {"body": "a", "delay_s": 900},
    {"body": "a", "attributes": {"a.b-c_D9": text("-1.5e3", "Number.float")}},
    {"body": "a", "attributes": {"myaws.x": text("x"), "n" * 256: text("x")}},
]


@pytest.mark.parametrize("draft", ACCEPTED)
async def test_what_a_standard_queue_takes(sqs: Queues, clock: StillClock, draft: dict[str, Any]):
    await sqs.create()
    await sqs.send(**draft)
    clock.advance(900)
    assert await sqs.bodies() == [draft["body"]]


RECEIVES = [
    ({"limit": 11}, "Value 11 for parameter MaxNumberOfMessages is invalid. "
     "Reason: Must be between 1 and 10, if provided."),
    ({"limit": 0}, "Value 0 for parameter MaxNumberOfMessages is invalid. "
     "Reason: Must be between 1 and 10, if provided."),
    ({"wait_s": 21}, "Value 21 for parameter WaitTimeSeconds is invalid. "
     "Reason: Must be >= 0 and <= 20, if provided."),
    ({"visibility_s": 43_201}, "Value 43201 for parameter VisibilityTimeout is invalid. "
     "Reason: Must be >= 0 and <= 43200, if provided."),
    ({"attempt_id": "a"}, f"Value a for parameter ReceiveRequestAttemptId is invalid. Reason: {WRONG_TYPE}"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), RECEIVES)
async def test_what_a_receiver_may_not_ask_for(sqs: Queues, options: dict[str, Any], message: str):
    await sqs.create()
    with pytest.raises(ServiceError) as refused:
        await sqs.receive(**options)
    assert (refused.value.code, refused.value.message) == (INVALID, message)


async def test_a_queue_that_does_not_exist(sqs: Queues):
    messages, address = sqs.service.messages, an_address("none")
    calls = [
        messages.send(address, Draft(body="a"), sender_id="me"),
        messages.send_batch(address, [Draft(body="a")], sender_id="me"),
        messages.receive(address),
        messages.delete(address, "h"),
        messages.change_visibility(address, "h", 1),
    ]
    for call in calls:
        with pytest.raises(ServiceError) as refused:
            await call
        assert (refused.value.code, refused.value.message) == (
            "QueueDoesNotExist", "The specified queue does not exist.",
        )  # fmt: skip


async def test_no_more_messages_in_flight_than_the_limit(sqs: Queues, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqs.service.messages._claimer, "_max_in_flight", 5)
    await sqs.create()
    for number in range(8):
        await sqs.send(str(number))
    messages = await sqs.receive()
    assert len(messages) == 5
    with pytest.raises(ServiceError) as refused:
        await sqs.receive()
    assert refused.value.code == "OverLimit"
    await sqs.service.messages.delete(an_address(), receipts.encode(messages[0].receipt))
    assert await sqs.bodies() == ["5"]


async def test_another_account_needs_a_statement_of_the_policy(sqs: Queues):
    await sqs.create()
    other = a_caller("111111111111")
    with pytest.raises(ServiceError) as refused:
        await sqs.service.messages.send(an_address(), Draft(body="a"), sender_id="x", caller=other)
    assert refused.value.code == "AccessDeniedException"
    await sqs.service.queues.add_permission(an_address(), "let", ["111111111111"], ["SendMessage"])
    await sqs.service.messages.send(an_address(), Draft(body="a"), sender_id="x", caller=other)
    with pytest.raises(ServiceError):
        await sqs.service.messages.receive(an_address(), caller=other)
    assert await sqs.bodies() == ["a"]
