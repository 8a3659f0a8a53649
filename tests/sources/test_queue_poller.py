"""A poller on a queue: what a function is called with, and what becomes of the messages."""

from __future__ import annotations

import asyncio
import random

import pytest

from lambdad.sources.queue_poller import FIRST_PAUSE_S
from tests.sources.conftest import Bench, Call

REPORTS = ("ReportBatchItemFailures",)


async def test_a_message_wakes_the_poller_and_is_deleted_once_the_function_is_done(bench: Bench) -> None:
    await bench.queues.create()
    bench.poll()
    await bench.queues.send("hello")
    call = await bench.function.next()
    assert call.bodies == ["hello"]
    assert await bench.queues.counts() == (0, 1, 0)
    call.returns()
    await bench.settle("q", 0, 0, 0)


async def test_messages_that_are_there_come_together(bench: Bench) -> None:
    await bench.queues.create()
    for n in range(7):
        await bench.queues.send(str(n))
    bench.poll(batch_size=5)
    assert (await bench.function.next()).bodies == ["0", "1", "2", "3", "4"]
    assert (await bench.function.next()).bodies == ["5", "6"]


async def test_a_window_collects_until_it_is_over(bench: Bench) -> None:
    await bench.queues.create(VisibilityTimeout=100)
    poller = bench.poll(batch_size=100, batching_window_s=20)
    await bench.queues.send("a")
    await bench.collected(poller, 1)
    bench.clock.advance(19)
    await bench.queues.send("b")
    await bench.collected(poller, 2)
    assert bench.function.started.empty()
    bench.clock.advance(1)
    assert (await bench.function.next()).bodies == ["a", "b"]


async def test_a_full_batch_does_not_wait_for_its_window(bench: Bench) -> None:
    await bench.queues.create()
    bench.poll(batch_size=12, batching_window_s=300)
    for n in range(12):
        await bench.queues.send(str(n))
    assert len((await bench.function.next()).bodies) == 12


async def test_a_window_ends_before_its_messages_come_again(bench: Bench) -> None:
    await bench.queues.create(VisibilityTimeout=30)
    poller = bench.poll(batch_size=100, batching_window_s=300)
    await bench.queues.send("a")
    await bench.collected(poller, 1)
    bench.clock.advance(27)
    assert (await bench.function.next()).bodies == ["a"]


async def test_no_message_is_twice_in_a_batch_however_far_the_clock_jumps(bench: Bench) -> None:
    await bench.queues.create(VisibilityTimeout=30)
    poller = bench.poll(batch_size=100, batching_window_s=300)
    await bench.queues.send("a")
    await bench.collected(poller, 1)
    bench.clock.advance(1000)
    call = await bench.function.next()
    assert call.bodies == ["a"]
    call.returns()
    await bench.settle("q", 0, 0, 0)


async def test_an_event_has_6_mb_at_most(bench: Bench) -> None:
    await bench.queues.create()
    for n in range(8):
        await bench.queues.send(str(n) * 1_000_000)
    bench.poll(batch_size=10)
    sizes = [len((await bench.function.next()).bodies) for _ in range(2)]
    assert sizes == [6, 2]


async def test_what_the_filters_do_not_let_pass_is_deleted(bench: Bench) -> None:
    await bench.queues.create()
    for text in ('{"a": 1}', '{"a": 2}', "text"):
        await bench.queues.send(text)
    bench.poll(filters=('{"body": {"a": [2]}}',))
    call = await bench.function.next()
    assert call.bodies == ['{"a": 2}']
    call.returns()
    await bench.settle("q", 0, 0, 0)
    assert bench.counted == {
        "PolledEventCount": 3, "FilteredOutEventCount": 2, "InvokedEventCount": 1, "DeletedEventCount": 1,
    }  # fmt: skip


async def test_after_an_error_messages_come_back_after_their_visibility_timeout(bench: Bench) -> None:
    await bench.queues.create(VisibilityTimeout=30)
    poller = bench.poll()
    await bench.queues.send("a")
    (await bench.function.next()).fails()
    await bench.idle(poller)
    bench.clock.advance(29)
    assert await bench.queues.counts() == (0, 1, 0)
    bench.clock.advance(1)
    again = await bench.function.next()
    assert again.event["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"
    again.returns()
    await bench.settle("q", 0, 0, 0)
    assert bench.counted["FailedInvokeEventCount"] == 1


async def test_the_redrive_policy_of_the_queue_works(bench: Bench) -> None:
    dead = await bench.queues.create("dead")
    policy = f'{{"deadLetterTargetArn": "{dead.arn}", "maxReceiveCount": 2}}'
    await bench.queues.create(VisibilityTimeout=10, RedrivePolicy=policy)
    bench.function.answer = Call.fails
    poller = bench.poll()
    await bench.queues.send("a")
    for _ in range(2):
        await bench.function.next()
        await bench.idle(poller)
        bench.clock.advance(10)
    await bench.settle("dead", 1, 0, 0)
    assert bench.function.started.empty()


async def test_only_what_has_failed_stays(bench: Bench) -> None:
    await bench.queues.create()
    ids = [(await bench.queues.send(str(n))).message_id for n in range(3)]
    bench.poll(response_types=REPORTS)
    (await bench.function.next()).returns({"batchItemFailures": [{"itemIdentifier": ids[1]}]})
    await bench.settle("q", 0, 1, 0)
    bench.clock.advance(30)
    assert (await bench.function.next()).bodies == ["1"]


async def test_an_answer_that_names_unknown_items_keeps_all(bench: Bench) -> None:
    await bench.queues.create()
    for n in range(3):
        await bench.queues.send(str(n))
    poller = bench.poll(response_types=REPORTS)
    (await bench.function.next()).returns({"batchItemFailures": [{"itemIdentifier": "unknown"}]})
    await bench.idle(poller)
    bench.clock.advance(30)
    assert sorted((await bench.function.next()).bodies) == ["0", "1", "2"]


async def test_answers_mean_nothing_without_report_batch_item_failures(bench: Bench) -> None:
    await bench.queues.create()
    id_ = (await bench.queues.send("a")).message_id
    bench.poll()
    (await bench.function.next()).returns({"batchItemFailures": [{"itemIdentifier": id_}]})
    await bench.settle("q", 0, 0, 0)


async def test_no_more_batches_at_once_than_the_mapping_allows(bench: Bench) -> None:
    await bench.queues.create()
    for n in range(4):
        await bench.queues.send(str(n))
    bench.poll(batch_size=1, maximum_concurrency=2)
    first, second = await bench.function.next(), await bench.function.next()
    assert await bench.queues.counts() == (2, 2, 0)  # the others are not even received
    first.returns()
    third = await bench.function.next()
    second.returns()
    third.returns()
    (await bench.function.next()).returns()
    await bench.settle("q", 0, 0, 0)


async def test_five_batches_at_first(bench: Bench) -> None:
    await bench.queues.create()
    for n in range(8):
        await bench.queues.send(str(n))
    bench.poll(batch_size=1)
    for _ in range(5):
        await bench.function.next()
    assert await bench.queues.counts() == (3, 5, 0)


async def test_a_throttled_batch_is_tried_again_within_its_visibility_timeout(bench: Bench) -> None:
    await bench.queues.create(VisibilityTimeout=30)
    bench.function.is_throttled = True
    bench.poll(batch_size=1)
    await bench.queues.send("a")
    await bench.function.refused.wait()
    await bench.queues.send("b")
    assert await bench.queues.counts() == (1, 1, 0)  # nothing more is received meanwhile
    bench.function.is_throttled = False
    bench.clock.advance(FIRST_PAUSE_S)
    first = await bench.function.next()
    assert first.event["Records"][0]["attributes"]["ApproximateReceiveCount"] == "1"
    assert first.bodies == ["a"]
    assert (await bench.function.next()).bodies == ["b"]


async def test_a_batch_that_is_throttled_for_too_long_goes_back_to_the_queue(bench: Bench) -> None:
    await bench.queues.create(VisibilityTimeout=30)
    bench.function.is_throttled = True
    bench.poll()
    await bench.queues.send("a")
    await bench.function.refused.wait()
    bench.function.is_throttled = False
    bench.clock.advance(60)
    call = await bench.function.next()
    call.returns()
    await bench.settle("q", 0, 0, 0)


async def test_nothing_is_received_for_a_function_that_is_gone(bench: Bench) -> None:
    await bench.queues.create()
    bench.function.is_gone = True
    bench.poll()
    await bench.queues.send("a")
    await bench.function.refused.wait()
    assert await bench.queues.counts() == (1, 0, 0)
    bench.function.is_gone = False
    bench.clock.advance(60)
    assert (await bench.function.next()).bodies == ["a"]


async def test_a_queue_that_is_made_again_is_read_again(bench: Bench) -> None:
    address = await bench.queues.create()
    bench.poll()
    await bench.queues.send("a")
    (await bench.function.next()).returns()
    await bench.sqs.queues.delete(address)
    bench.clock.advance(61)
    await bench.queues.create()
    await bench.queues.send("b")
    bench.clock.advance(60)
    assert (await bench.function.next()).bodies == ["b"]


async def test_a_poller_that_stops_lets_its_batches_end_and_gives_back_the_rest(bench: Bench) -> None:
    await bench.queues.create()
    poller = bench.poll(batch_size=2, batching_window_s=300)
    for text in "abc":
        await bench.queues.send(text)
    call = await bench.function.next()
    await bench.collected(poller, 1)
    await poller.stop_reading()
    assert await bench.queues.counts() == (1, 2, 0)
    stopping = asyncio.create_task(poller.stop())
    call.returns()
    await stopping
    assert await bench.queues.counts() == (1, 0, 0)


async def test_the_trace_of_a_message_goes_on(bench: Bench) -> None:
    await bench.queues.create()
    from lambdad.domain.queues import MessageAttribute

    await bench.queues.send("a", system_attributes={"AWSTraceHeader": MessageAttribute("String", "Root=1-a")})
    bench.poll()
    assert (await bench.function.next()).trace == "Root=1-a"


# --- FIFO ---


async def test_a_group_has_one_batch_at_a_time(bench: Bench) -> None:
    await bench.queues.create("q.fifo", ContentBasedDeduplication="true")
    for n in range(2):
        for group in "ab":
            await bench.queues.send(f"{group}{n}", "q.fifo", group_id=group)
    bench.poll("q.fifo", batch_size=1)
    running = {(call := await bench.function.next()).bodies[0]: call for _ in range(2)}
    assert running.keys() == {"a0", "b0"}
    running["a0"].returns()
    assert (await bench.function.next()).bodies == ["a1"]
    assert bench.function.started.empty()


async def test_a_batch_that_had_to_be_cut_runs_in_order(bench: Bench) -> None:
    await bench.queues.create("q.fifo", ContentBasedDeduplication="true")
    for n in range(8):
        await bench.queues.send(str(n) * 1_000_000, "q.fifo", group_id="g")
    poller = bench.poll("q.fifo")
    first = await bench.function.next()
    assert len(first.bodies) == 6
    assert bench.function.started.empty()
    first.fails()
    await bench.idle(poller)
    bench.clock.advance(30)
    again = await bench.function.next()
    assert again.bodies[0][0] == "0"
    again.returns()
    assert [body[0] for body in (await bench.function.next()).bodies] == ["6", "7"]


@pytest.mark.parametrize("seed", range(5))
async def test_groups_keep_their_order_whatever_fails(bench: Bench, seed: int) -> None:
    """Against a model: each group is a list, of which the function deals with a beginning each time."""
    rolls = random.Random(seed)
    sent = {group: [f"{group}{n}" for n in range(8)] for group in "abc"}
    done: dict[str, list[str]] = {group: [] for group in sent}

    def answer(call: Call) -> None:
        if rolls.random() < 0.2:
            call.fails()
            return
        failures = []
        failed: set[str] = set()
        for record in call.event["Records"]:
            group = record["body"][0]
            if group not in failed and rolls.random() < 0.3:
                failed.add(group)
                failures.append({"itemIdentifier": record["messageId"]})
            elif group not in failed:
                done[group].append(record["body"])
        call.returns({"batchItemFailures": failures})

    bench.function.answer = answer
    await bench.queues.create("q.fifo", ContentBasedDeduplication="true")
    for n in range(8):
        for group, bodies in sent.items():
            await bench.queues.send(bodies[n], "q.fifo", group_id=group)
    poller = bench.poll("q.fifo", batch_size=4, response_types=REPORTS)
    async with asyncio.timeout(20):
        while done != sent:
            await bench.idle(poller)
            bench.clock.advance(30)
            for group, bodies in done.items():
                assert bodies == sent[group][: len(bodies)]
    await bench.settle("q.fifo", 0, 0, 0)
