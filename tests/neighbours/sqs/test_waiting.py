"""Long polling: who is woken, by what, and that nobody is forgotten."""

from __future__ import annotations

import asyncio
import json

import pytest

from lambdad.clock import SystemClock
from lambdad.domain.errors import ServiceError
from lambdad.neighbours.sqs import receipts
from lambdad.neighbours.sqs.messages import Draft
from lambdad.neighbours.sqs.waiting import Line
from tests.neighbours.sqs.conftest import Queues, StillClock, an_address


async def waiting(sqs: Queues, count: int = 1, name: str = "q") -> None:
    """Returns when so many receivers are in the line of a queue."""
    async with asyncio.timeout(5):
        while True:
            line = sqs.service._waiting._lines.get(an_address(name))
            if line is not None and len(line._waiters) == count:
                return
            await asyncio.sleep(0)


def receiver(sqs: Queues, name: str = "q", **options: object) -> asyncio.Task[list[str]]:
    return asyncio.create_task(sqs.bodies(name, **{"wait_s": 20, **options}))


async def stored_unnoticed(sqs: Queues, *bodies: str) -> None:
    """Stores messages of which no receiver is told yet."""
    for body in bodies:
        await sqs.engine.write(lambda tx, body=body: sqs.service.put_in(tx, an_address().arn, body, sender_id="me"))


async def test_a_receiver_is_woken_by_a_message(sqs: Queues):
    await sqs.create()
    task = receiver(sqs)
    await waiting(sqs)
    await sqs.send("a")
    assert await asyncio.wait_for(task, 5) == ["a"]


async def test_the_queue_says_how_long_receivers_wait(sqs: Queues):
    await sqs.create(ReceiveMessageWaitTimeSeconds=20)
    task = asyncio.create_task(sqs.bodies())
    await waiting(sqs)
    assert await sqs.bodies(wait_s=0) == []
    await sqs.send("a")
    assert await asyncio.wait_for(task, 5) == ["a"]


async def test_each_message_wakes_one_receiver(sqs: Queues):
    await sqs.create()
    tasks = [receiver(sqs, limit=1) for _ in range(3)]
    await waiting(sqs, 3)
    await sqs.send("a")
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=5)
    assert [task.done() for task in tasks].count(True) == 1
    await sqs.service.messages.send_batch(an_address(), [Draft(body="b"), Draft(body="c")], sender_id="me")
    bodies = [await asyncio.wait_for(task, 5) for task in tasks]
    assert sorted(body for answer in bodies for body in answer) == ["a", "b", "c"]


async def test_waiting_ends_with_its_time(sqs: Queues, clock: StillClock):
    await sqs.create()
    task = receiver(sqs, wait_s=7)
    await waiting(sqs)
    clock.advance(6.9)
    await waiting(sqs)
    clock.advance(0.1)
    assert await asyncio.wait_for(task, 5) == []


@pytest.mark.parametrize("how", ["visibility", "delay"])
async def test_a_jump_of_the_clock_wakes_who_waits_for_hidden_messages(sqs: Queues, clock: StillClock, how: str):
    await sqs.create()
    await sqs.send("a", delay_s=10 if how == "delay" else 0)
    if how == "visibility":
        assert await sqs.bodies(visibility_s=10) == ["a"]
    task = receiver(sqs)
    await waiting(sqs)
    clock.advance(10)
    assert await asyncio.wait_for(task, 5) == ["a"]


async def test_giving_a_message_back_wakes_a_receiver(sqs: Queues):
    await sqs.create()
    await sqs.send("a")
    (message,) = await sqs.receive()
    task = receiver(sqs)
    await waiting(sqs)
    await sqs.service.messages.change_visibility(an_address(), receipts.encode(message.receipt), 0)
    assert await asyncio.wait_for(task, 5) == ["a"]


async def test_deleting_a_message_wakes_who_waits_for_its_group(sqs: Queues):
    await sqs.create("q.fifo", ContentBasedDeduplication="true")
    await sqs.send("1", "q.fifo", group_id="g")
    await sqs.send("2", "q.fifo", group_id="g")
    (message,) = await sqs.receive("q.fifo", limit=1)
    task = receiver(sqs, "q.fifo")
    await waiting(sqs, name="q.fifo")
    await sqs.service.messages.delete(an_address("q.fifo"), receipts.encode(message.receipt))
    assert await asyncio.wait_for(task, 5) == ["2"]


async def test_a_message_that_moves_wakes_who_waits_for_dead_letters(sqs: Queues):
    await sqs.create("dead")
    policy = json.dumps({"deadLetterTargetArn": an_address("dead").arn, "maxReceiveCount": 1})
    await sqs.create(RedrivePolicy=policy, VisibilityTimeout=0)
    task = receiver(sqs, "dead")
    await waiting(sqs, name="dead")
    await sqs.send("a")
    await sqs.receive()
    await sqs.receive()
    assert await asyncio.wait_for(task, 5) == ["a"]


async def test_a_receiver_that_leaves_as_it_is_woken_passes_the_message_on(sqs: Queues):
    await sqs.create()
    leaving = receiver(sqs)
    await waiting(sqs)
    staying = receiver(sqs)
    await waiting(sqs, 2)
    await stored_unnoticed(sqs, "a")
    sqs.service._waiting.notify(an_address())
    leaving.cancel()
    assert await asyncio.wait_for(staying, 5) == ["a"]


async def test_a_receiver_that_got_all_it_asked_for_wakes_the_next(sqs: Queues):
    await sqs.create()
    tasks = [receiver(sqs, limit=1) for _ in range(3)]
    await waiting(sqs, 3)
    await stored_unnoticed(sqs, "a", "b", "c")
    sqs.service._waiting.notify(an_address())  # as a timer does when messages become visible
    bodies = [await asyncio.wait_for(task, 5) for task in tasks]
    assert sorted(body for answer in bodies for body in answer) == ["a", "b", "c"]


async def test_a_receiver_that_left_takes_nothing(sqs: Queues):
    await sqs.create()
    task = receiver(sqs)
    await waiting(sqs)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sqs.send("a")
    assert await sqs.counts() == (1, 0, 0)
    assert sqs.service.statistics()["waiting"] == 0


async def test_a_deleted_queue_ends_waiting(sqs: Queues):
    await sqs.create()
    tasks = [receiver(sqs) for _ in range(2)]
    await waiting(sqs, 2)
    await sqs.service.queues.delete(an_address())
    for task in tasks:
        with pytest.raises(ServiceError, match="does not exist"):
            await asyncio.wait_for(task, 5)


async def test_stopping_ends_waiting(sqs: Queues):
    await sqs.create()
    task = receiver(sqs)
    await waiting(sqs)
    sqs.service.release_waiters()
    assert await asyncio.wait_for(task, 5) == []
    assert await asyncio.wait_for(receiver(sqs), 5) == []


async def test_a_message_stored_in_anothers_transaction_wakes_after_the_commit(sqs: Queues):
    await sqs.create()
    task = receiver(sqs)
    await waiting(sqs)
    delivery = await sqs.engine.write(lambda tx: sqs.service.put_in(tx, an_address().arn, "dead", sender_id="me"))
    sqs.service.delivered(delivery)
    assert await asyncio.wait_for(task, 5) == ["dead"]


async def test_nothing_is_stored_when_anothers_transaction_fails(sqs: Queues):
    await sqs.create()

    def job(tx: object) -> None:
        sqs.service.put_in(tx, an_address().arn, "dead", sender_id="me")  # type: ignore[arg-type]
        raise LookupError

    with pytest.raises(LookupError):
        await sqs.engine.write(job)
    assert await sqs.counts() == (0, 0, 0)


async def test_a_missing_queue_leaves_anothers_transaction_usable(sqs: Queues):
    await sqs.create()

    def job(tx: object) -> None:
        for arn in ("nonsense", an_address("none").arn):
            with pytest.raises(ServiceError):
                sqs.service.put_in(tx, arn, "dead", sender_id="me")  # type: ignore[arg-type]
        sqs.service.put_in(tx, an_address().arn, "kept", sender_id="me")  # type: ignore[arg-type]

    await sqs.engine.write(job)
    assert await sqs.bodies() == ["kept"]


async def test_a_line_notifies_when_a_message_becomes_visible():
    clock = SystemClock()
    line = Line(clock)
    line.notify_at(clock.time_ms() + 60_000)
    line.notify_at(clock.time_ms() + 20)  # the earlier one counts
    version = line.version
    await asyncio.wait_for(line.wait(version, 10), 5)
    assert line.version == version + 1


async def test_a_line_does_not_wait_when_something_has_happened():
    line = Line(SystemClock())
    version = line.version
    line.notify()
    await asyncio.wait_for(line.wait(version, 10), 1)


async def test_a_line_waits_no_longer_than_asked():
    line = Line(SystemClock())
    await asyncio.wait_for(line.wait(line.version, 0.01), 5)
    assert not line._waiters
