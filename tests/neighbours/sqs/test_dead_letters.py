"""Dead-letter queues, and the tasks that move messages out of them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from lambdad.domain.errors import ServiceError
from lambdad.domain.queues import MoveStatus, MoveTask
from lambdad.neighbours.sqs import receipts
from lambdad.neighbours.sqs.service import SqsService
from tests.neighbours.sqs.conftest import Queues, StillClock, an_address


def redrive(count: object = 2, name: str = "dead") -> str:
    return json.dumps({"deadLetterTargetArn": an_address(name).arn, "maxReceiveCount": count})


async def with_dead_letter_queue(sqs: Queues, suffix: str = "", **attributes: object) -> None:
    await sqs.create(f"dead{suffix}")
    await sqs.create(f"q{suffix}", RedrivePolicy=redrive(2, f"dead{suffix}"), VisibilityTimeout=0, **attributes)


async def test_a_message_moves_when_it_was_received_too_often(sqs: Queues, clock: StillClock):
    await with_dead_letter_queue(sqs)
    sent = await sqs.send("a")
    clock.advance(5)
    assert await sqs.bodies() == ["a"]
    assert await sqs.bodies() == ["a"]
    assert await sqs.counts("dead") == (0, 0, 0)
    assert await sqs.bodies() == []
    assert await sqs.counts() == (0, 0, 0)
    assert await sqs.counts("dead") == (1, 0, 0)
    (message,) = await sqs.receive("dead")
    assert (message.body, message.message_id) == ("a", sent.message_id)
    assert message.dead_letter_source_arn == an_address().arn
    assert message.sent_ms == clock.time_ms() - 5000
    assert message.receive_count == 3


async def test_the_next_message_is_received_while_one_moves(sqs: Queues):
    await with_dead_letter_queue(sqs)
    await sqs.send("a")
    await sqs.receive()
    await sqs.receive()
    await sqs.send("b")
    assert await sqs.bodies() == ["b"]
    assert await sqs.bodies("dead") == ["a"]


async def test_a_chain_of_dead_letter_queues_counts_anew_in_each(sqs: Queues):
    await sqs.create("last")
    await sqs.create("dead", RedrivePolicy=redrive(1, "last"), VisibilityTimeout=0)
    await sqs.create(RedrivePolicy=redrive(1), VisibilityTimeout=0)
    await sqs.send("a")
    assert await sqs.bodies() == ["a"]
    assert await sqs.bodies() == []
    assert await sqs.bodies("dead") == ["a"]
    assert await sqs.bodies("dead") == []
    (message,) = await sqs.receive("last")
    assert (message.receive_count, message.dead_letter_source_arn) == (3, an_address("dead").arn)


async def test_a_fifo_message_moves_with_its_group_and_frees_it(sqs: Queues):
    await with_dead_letter_queue(sqs, ".fifo")
    for body in ("1", "2"):
        await sqs.send(body, "q.fifo", group_id="g", deduplication_id=body)
    for _ in range(2):
        assert await sqs.bodies("q.fifo", limit=1) == ["1"]
    assert await sqs.bodies("q.fifo", limit=2) == ["2"]
    (message,) = await sqs.receive("dead.fifo")
    assert (message.body, message.group_id, message.deduplication_id) == ("1", "g", "1")


async def test_a_message_stays_when_the_dead_letter_queue_is_gone(sqs: Queues):
    await with_dead_letter_queue(sqs)
    await sqs.send("a")
    await sqs.service.queues.delete(an_address("dead"))
    for _ in range(4):
        assert await sqs.bodies() == ["a"]


async def test_the_age_goes_on_in_a_dead_letter_queue(sqs: Queues, clock: StillClock):
    await with_dead_letter_queue(sqs, MessageRetentionPeriod=120)
    await sqs.service.queues.set_attributes(an_address("dead"), {"MessageRetentionPeriod": "60"})
    await sqs.send("a")
    clock.advance(59)
    for _ in range(3):
        await sqs.receive()
    assert await sqs.counts("dead") == (1, 0, 0)
    clock.advance(1)
    assert await sqs.counts("dead") == (0, 0, 0)


async def test_sources_of_a_dead_letter_queue(sqs: Queues):
    await with_dead_letter_queue(sqs)
    await sqs.create("another", RedrivePolicy=redrive())
    await sqs.create("none")
    control = sqs.service.queues
    assert await control.dead_letter_sources(an_address("dead")) == ([an_address("another"), an_address()], None)
    page, token = await control.dead_letter_sources(an_address("dead"), limit=1)
    assert page == [an_address("another")]
    assert await control.dead_letter_sources(an_address("dead"), limit=1, token=token) == ([an_address()], None)
    await control.set_attributes(an_address(), {"RedrivePolicy": ""})
    assert await control.dead_letter_sources(an_address("dead")) == ([an_address("another")], None)


REASONS: list[tuple[str, str]] = [
    ("nonsense", "Redrive policy is not a valid JSON map."),
    ('"text"', "Redrive policy is not a valid JSON map."),
    (json.dumps({"maxReceiveCount": 1}),
     "Redrive policy does not contain mandatory attribute: deadLetterTargetArn."),
    (json.dumps({"deadLetterTargetArn": an_address("dead").arn}),
     "Redrive policy does not contain mandatory attribute: maxReceiveCount."),
    (redrive(0), "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive."),
    (redrive(1001), "Invalid value for maxReceiveCount: 1001, valid values are from 1 to 1000 both inclusive."),
    (redrive("x"), "Invalid value for maxReceiveCount: x, valid values are from 1 to 1000 both inclusive."),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "reason"), REASONS)
async def test_redrive_policies_that_are_refused(sqs: Queues, policy: str, reason: str):
    await sqs.create("dead")
    with pytest.raises(ServiceError) as refused:
        await sqs.create(RedrivePolicy=policy)
    assert refused.value.message == f"Value {policy} for parameter RedrivePolicy is invalid. Reason: {reason}"


async def test_a_dead_letter_queue_must_exist_be_of_the_same_type_and_allow_it(sqs: Queues):
    with pytest.raises(ServiceError, match="Dead letter target does not exist"):
        await sqs.create(RedrivePolicy=redrive())
    await sqs.create("dead.fifo")
    with pytest.raises(ServiceError, match="must be same type of queue as the source"):
        await sqs.create(RedrivePolicy=redrive(2, "dead.fifo"))
    await sqs.create("dead", RedriveAllowPolicy='{"redrivePermission":"denyAll"}')
    with pytest.raises(ServiceError, match="does not permit"):
        await sqs.create(RedrivePolicy=redrive())
    allow = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [an_address().arn]})
    await sqs.service.queues.set_attributes(an_address("dead"), {"RedriveAllowPolicy": allow})
    await sqs.create(RedrivePolicy=redrive())
    with pytest.raises(ServiceError, match="does not permit"):
        await sqs.create("other", RedrivePolicy=redrive())


# --- move tasks ---


async def dead_messages(sqs: Queues, *bodies: str) -> None:
    for body in bodies:
        await sqs.send(body)
    for _ in range(3 * len(bodies)):
        await sqs.receive()
    assert (await sqs.counts("dead"))[0] == len(bodies)


async def the_task(service: SqsService) -> MoveTask:
    (task,) = await service.moves.listing(an_address("dead").arn)
    return task


async def test_a_task_brings_messages_back_to_where_they_came_from(sqs: Queues, clock: StillClock):
    await with_dead_letter_queue(sqs)
    sent = await sqs.send("a")
    for _ in range(3):
        await sqs.receive()
    clock.advance(10)
    await sqs.service.moves.begin(an_address("dead").arn)
    assert await sqs.service.moves.run_once() is None
    (message,) = await sqs.receive()
    assert message.message_id != sent.message_id  # they become new messages
    assert (message.receive_count, message.sent_ms) == (1, clock.time_ms())
    assert message.dead_letter_source_arn is None
    task = await the_task(sqs.service)
    assert (task.status, task.moved, task.to_move, task.failure) == (MoveStatus.COMPLETED, 1, 1, None)
    assert await sqs.counts("dead") == (0, 0, 0)


async def test_a_task_may_have_another_destination(sqs: Queues):
    await with_dead_letter_queue(sqs)
    await sqs.create("other")
    await dead_messages(sqs, "a", "b")
    await sqs.service.moves.begin(an_address("dead").arn, an_address("other").arn)
    await sqs.service.moves.run_once()
    assert sorted(await sqs.bodies("other")) == ["a", "b"]


async def test_a_task_keeps_its_rate(sqs: Queues, clock: StillClock):
    await with_dead_letter_queue(sqs)
    await dead_messages(sqs, *"abcde")
    await sqs.service.moves.begin(an_address("dead").arn, None, 2)
    moved = []
    pauses = []
    for _ in range(4):
        pauses.append(await sqs.service.moves.run_once())
        pauses.append(await sqs.service.moves.run_once())
        moved.append((await the_task(sqs.service)).moved)
        clock.advance(0.5)
    assert moved == [1, 2, 3, 4]
    assert pauses[1] == 0.5
    clock.advance(100)
    await sqs.service.moves.run_once()
    assert (await the_task(sqs.service)).status is MoveStatus.COMPLETED


async def test_a_task_fails_at_a_message_that_came_from_nowhere(sqs: Queues):
    await with_dead_letter_queue(sqs)
    await sqs.send("direct", "dead")
    await sqs.service.moves.begin(an_address("dead").arn)
    await sqs.service.moves.run_once()
    task = await the_task(sqs.service)
    assert (task.status, task.failure) == (MoveStatus.FAILED, "CouldNotDetermineMessageSource")
    assert await sqs.bodies("dead") == ["direct"]


async def test_a_task_fails_when_the_source_of_a_message_is_gone(sqs: Queues):
    await with_dead_letter_queue(sqs)
    await sqs.create("another", RedrivePolicy=redrive())
    await dead_messages(sqs, "a")
    await sqs.service.queues.delete(an_address())
    await sqs.service.moves.begin(an_address("dead").arn)
    await sqs.service.moves.run_once()
    task = await the_task(sqs.service)
    assert (task.status, task.failure) == (MoveStatus.FAILED, "AWS.SimpleQueueService.NonExistentQueue")


async def test_a_fifo_task_keeps_the_order_of_groups(sqs: Queues):
    await with_dead_letter_queue(sqs, ".fifo")
    for body in "123":
        await sqs.send(body, "q.fifo", group_id="g", deduplication_id=body)
    for _ in range(3):
        await sqs.receive("q.fifo")
    await sqs.service.moves.begin(an_address("dead.fifo").arn)
    await sqs.service.moves.run_once()
    assert await sqs.bodies("q.fifo") == ["1", "2", "3"]
    assert await sqs.bodies("dead.fifo") == []


async def test_a_running_task_is_cancelled(sqs: Queues, clock: StillClock):
    await with_dead_letter_queue(sqs)
    await dead_messages(sqs, *"abc")
    handle = await sqs.service.moves.begin(an_address("dead").arn, None, 1)
    await sqs.service.moves.run_once()
    assert await sqs.service.moves.cancel(handle) == 1
    clock.advance(100)
    assert await sqs.service.moves.run_once() is None
    task = await the_task(sqs.service)
    assert (task.status, task.moved) == (MoveStatus.CANCELLED, 1)
    with pytest.raises(ServiceError, match="Only active tasks can be cancelled"):
        await sqs.service.moves.cancel(handle)


async def test_a_task_goes_on_after_a_restart(sqs: Queues, clock: StillClock):
    await with_dead_letter_queue(sqs)
    await dead_messages(sqs, "a")
    await sqs.service.moves.begin(an_address("dead").arn)
    restarted = SqsService(sqs.engine, clock)
    await restarted.moves.run_once()
    assert await sqs.bodies() == ["a"]


async def test_the_last_ten_tasks_are_listed(sqs: Queues, clock: StillClock):
    await with_dead_letter_queue(sqs)
    for _ in range(12):
        clock.advance(1)
        await sqs.service.moves.begin(an_address("dead").arn)
        await sqs.service.moves.run_once()
    tasks = await sqs.service.moves.listing(an_address("dead").arn, 10)
    assert [task.started_ms for task in tasks] == [clock.time_ms() - 1000 * age for age in range(10)]
    assert len(await sqs.engine.read("SELECT 1 FROM queue_move_task")) == 10


DEAD = an_address("dead").arn
BEGINS: list[tuple[tuple[Any, ...], str, str]] = [
    ((an_address("none").arn,), "ResourceNotFoundException",
     "The resource that you specified for the SourceArn parameter doesn't exist."),
    (("nonsense",), "ResourceNotFoundException",
     "The resource that you specified for the SourceArn parameter doesn't exist."),
    ((DEAD, an_address("none").arn), "ResourceNotFoundException",
     "The resource that you specified for the DestinationArn parameter doesn't exist."),
    ((an_address().arn,), "InvalidParameterValueException",
     "Source queue must be configured as a Dead Letter Queue."),
    ((DEAD, DEAD), "InvalidParameterValueException",
     "Source queue arn and destination queue arn cannot be the same."),
    ((DEAD, None, 501), "InvalidParameterValueException", "Value 501 for parameter MaxNumberOfMessagesPerSecond is "
     "invalid. Reason: Must be an integer between 1 and 500, if provided."),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), BEGINS)
async def test_tasks_that_are_refused(sqs: Queues, arguments: tuple[Any, ...], code: str, message: str):
    await with_dead_letter_queue(sqs)
    with pytest.raises(ServiceError) as refused:
        await sqs.service.moves.begin(*arguments)
    assert (refused.value.code, refused.value.message) == (code, message)


async def test_a_queue_has_one_active_task(sqs: Queues):
    await with_dead_letter_queue(sqs)
    await sqs.service.moves.begin(DEAD)
    with pytest.raises(ServiceError) as refused:
        await sqs.service.moves.begin(DEAD)
    assert refused.value.code == "UnsupportedOperation"
    await sqs.service.moves.run_once()
    await sqs.service.moves.begin(DEAD)


@pytest.mark.parametrize("handle", ["x", base64.b64encode(b"[]").decode(), base64.b64encode(b'{"taskId":1}').decode()])
async def test_a_handle_that_is_none(sqs: Queues, handle: str):
    with pytest.raises(ServiceError) as refused:
        await sqs.service.moves.cancel(handle)
    assert refused.value.message == f"Value {handle} for parameter TaskHandle is invalid."


async def test_a_receipt_of_before_the_move_has_no_effect(sqs: Queues):
    await with_dead_letter_queue(sqs)
    await sqs.send("a")
    await sqs.receive()
    (message,) = await sqs.receive()
    await sqs.receive()
    await sqs.service.messages.delete(an_address(), receipts.encode(message.receipt))
    assert await sqs.bodies("dead") == ["a"]
