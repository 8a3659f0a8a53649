"""FIFO queues: order, groups, deduplication, attempts; and a model that random histories are compared with."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdad.domain.errors import ServiceError
from lambdad.domain.queues import ReceivedMessage
from lambdad.neighbours.sqs import receipts
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage.sqlite import SqliteEngine
from tests.neighbours.sqs.conftest import Queues, StillClock, an_address

Q = "q.fifo"


async def send(sqs: Queues, body: str, group: str = "g", deduplication: str | None = None) -> str:
    stored = await sqs.send(body, Q, group_id=group, deduplication_id=deduplication or f"{group}-{body}")
    assert stored.sequence_number is not None
    return stored.sequence_number


async def delete(sqs: Queues, message: ReceivedMessage) -> None:
    await sqs.service.messages.delete(an_address(Q), receipts.encode(message.receipt))


async def test_a_group_is_received_in_order_and_in_one_answer(sqs: Queues):
    await sqs.create(Q)
    for body, group in (("1", "a"), ("1", "b"), ("2", "a"), ("2", "b"), ("3", "a")):
        await send(sqs, body, group)
    messages = await sqs.receive(Q, limit=4)
    assert [(message.group_id, message.body) for message in messages] == [
        ("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"),
    ]  # fmt: skip


async def test_a_group_waits_while_one_of_its_messages_is_in_flight(sqs: Queues, clock: StillClock):
    await sqs.create(Q)
    for body in "123":
        await send(sqs, body, "a")
    await send(sqs, "1", "b")
    (first,) = await sqs.receive(Q, limit=1)
    assert await sqs.bodies(Q) == ["1"]  # of the other group
    assert await sqs.bodies(Q) == []
    await delete(sqs, first)
    assert await sqs.bodies(Q, limit=1) == ["2"]
    clock.advance(30)
    assert [message.body for message in await sqs.receive(Q) if message.group_id == "a"] == ["2", "3"]


async def test_a_group_is_free_when_the_last_of_its_messages_in_flight_is_gone(sqs: Queues):
    await sqs.create(Q)
    for body in "123":
        await send(sqs, body)
    first, second = await sqs.receive(Q, limit=2)
    await delete(sqs, first)
    assert await sqs.bodies(Q) == []
    await delete(sqs, second)
    assert await sqs.bodies(Q) == ["3"]


async def test_a_message_that_was_given_back_comes_first_again(sqs: Queues):
    await sqs.create(Q)
    for body in "123":
        await send(sqs, body)
    (message,) = await sqs.receive(Q, limit=1)
    await sqs.service.messages.change_visibility(an_address(Q), receipts.encode(message.receipt), 0)
    assert await sqs.bodies(Q) == ["1", "2", "3"]


async def test_a_group_stays_locked_when_only_one_of_two_messages_is_given_back(sqs: Queues, clock: StillClock):
    await sqs.create(Q)
    for body in "123":
        await send(sqs, body)
    first, _ = await sqs.receive(Q, limit=2)
    await sqs.service.messages.change_visibility(an_address(Q), receipts.encode(first.receipt), 0)
    assert await sqs.bodies(Q) == []
    clock.advance(30)
    assert await sqs.bodies(Q) == ["1", "2", "3"]


async def test_a_long_group_is_locked_by_its_head(sqs: Queues):
    await sqs.create(Q)
    for number in range(25):
        await send(sqs, str(number))
    messages = await sqs.receive(Q)
    await delete(sqs, messages[0])
    assert await sqs.bodies(Q) == []
    for message in messages[1:]:
        await delete(sqs, message)
    assert await sqs.bodies(Q) == [str(number) for number in range(10, 20)]


async def test_a_delayed_message_ends_what_is_received_of_its_group(sqs: Queues, clock: StillClock):
    await sqs.create(Q)
    await send(sqs, "1")
    await sqs.service.queues.set_attributes(an_address(Q), {"DelaySeconds": "10"})
    await send(sqs, "2")
    (first,) = await sqs.receive(Q)
    assert first.body == "1"
    await delete(sqs, first)
    assert await sqs.bodies(Q) == []
    clock.advance(10)
    assert await sqs.bodies(Q) == ["2"]


async def test_sequence_numbers_grow(sqs: Queues):
    await sqs.create(Q)
    numbers = [await send(sqs, str(body), f"g{body % 3}") for body in range(9)]
    assert numbers == sorted(set(numbers))
    assert {len(number) for number in numbers} == {20}
    received = {message.body: message.sequence_number for message in await sqs.receive(Q)}
    assert [received[str(body)] for body in range(9)] == numbers


async def test_a_duplicate_is_answered_like_the_first_and_not_delivered(sqs: Queues, clock: StillClock):
    await sqs.create(Q)
    first = await sqs.send("a", Q, group_id="g", deduplication_id="d")
    (message,) = await sqs.receive(Q)
    await delete(sqs, message)
    clock.advance(299.999)
    again = await sqs.send("another body", Q, group_id="h", deduplication_id="d")
    assert (again.message_id, again.sequence_number) == (first.message_id, first.sequence_number)
    assert await sqs.bodies(Q) == []
    clock.advance(0.001)
    later = await sqs.send("a", Q, group_id="g", deduplication_id="d")
    assert later.message_id != first.message_id
    assert await sqs.bodies(Q) == ["a"]


async def test_deduplication_by_content(sqs: Queues):
    await sqs.create(Q, ContentBasedDeduplication="true")
    for body in ("a", "b", "a"):
        await sqs.send(body, Q, group_id="g")
    messages = await sqs.receive(Q)
    assert [message.body for message in messages] == ["a", "b"]
    assert messages[0].deduplication_id == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    # An explicit id that is the same as a generated one is the same.
    await sqs.send("c", Q, group_id="g", deduplication_id=messages[0].deduplication_id)
    assert (await sqs.counts(Q))[0] == 0


async def test_deduplication_by_group(sqs: Queues):
    await sqs.create(Q, DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    for group in ("a", "b", "a"):
        await sqs.send("x", Q, group_id=group, deduplication_id="d")
    assert [message.group_id for message in await sqs.receive(Q)] == ["a", "b"]


async def test_the_delay_of_the_queue_keeps_the_order(sqs: Queues, clock: StillClock):
    await sqs.create(Q, DelaySeconds=10)
    await send(sqs, "1")
    await sqs.service.queues.set_attributes(an_address(Q), {"DelaySeconds": "0"})
    await send(sqs, "2")
    assert await sqs.bodies(Q) == []
    clock.advance(10)
    assert await sqs.bodies(Q) == ["1", "2"]


async def test_an_expired_message_does_not_hold_its_group(sqs: Queues, clock: StillClock):
    await sqs.create(Q, MessageRetentionPeriod=60)
    await send(sqs, "old")
    clock.advance(30)
    await send(sqs, "new")
    assert await sqs.bodies(Q, limit=1, visibility_s=1000) == ["old"]
    clock.advance(30)
    assert await sqs.counts(Q) == (1, 0, 0)
    assert await sqs.bodies(Q) == ["new"]


async def test_an_old_receipt_is_refused(sqs: Queues, clock: StillClock):
    await sqs.create(Q)
    await send(sqs, "1")
    (message,) = await sqs.receive(Q)
    clock.advance(30)
    with pytest.raises(ServiceError) as refused:
        await delete(sqs, message)
    handle = receipts.encode(message.receipt)
    assert refused.value.message == (
        f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
    )
    assert await sqs.bodies(Q) == ["1"]


async def test_the_same_attempt_gets_the_same_messages(sqs: Queues, clock: StillClock):
    await sqs.create(Q)
    for body in "123":
        await send(sqs, body)
    first = await sqs.receive(Q, limit=2, attempt_id="try")
    clock.advance(20)
    again = await sqs.receive(Q, limit=2, attempt_id="try")
    assert [message.receipt for message in again] == [message.receipt for message in first]
    assert [message.receive_count for message in again] == [1, 1]
    clock.advance(29)  # hidden anew
    assert await sqs.bodies(Q) == []
    third = await sqs.receive(Q, limit=2, attempt_id="try")
    await delete(sqs, third[0])
    assert await sqs.receive(Q, limit=2, attempt_id="try") == []


async def test_purging_frees_groups_and_deduplication_ids(sqs: Queues):
    await sqs.create(Q)
    await send(sqs, "1")
    await sqs.receive(Q)
    await sqs.service.queues.purge(an_address(Q))
    await send(sqs, "1")
    assert await sqs.bodies(Q) == ["1"]


INVALID = "InvalidParameterValueException"
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"deduplication_id": "d"}, "MissingRequiredParameterException",
     "The request must contain the parameter MessageGroupId."),
    ({"group_id": "g"}, INVALID, "The queue should either have ContentBasedDeduplication enabled or "
     "MessageDeduplicationId provided explicitly"),
    ({"group_id": "g", "deduplication_id": "d", "delay_s": 5}, INVALID,
     "Value 5 for parameter DelaySeconds is invalid. "
     "Reason: The request include parameter that is not valid for this queue type"),
    ({"group_id": "", "deduplication_id": "d"}, INVALID, "Value  for parameter MessageGroupId is invalid. "
     "Reason: MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length."),
    ({"group_id": "g", "deduplication_id": "a b"}, INVALID, "Value a b for parameter MessageDeduplicationId is "
     "invalid. Reason: MessageDeduplicationId can only include alphanumeric and punctuation characters. "
     "1 to 128 in length."),
]  # fmt: skip


@pytest.mark.parametrize(("members", "code", "message"), REFUSED)
async def test_what_a_fifo_queue_refuses(sqs: Queues, members: dict[str, Any], code: str, message: str):
    await sqs.create(Q)
    with pytest.raises(ServiceError) as refused:
        await sqs.send("a", Q, **members)
    assert (refused.value.code, refused.value.message) == (code, message)


# --- against a model: a list of messages, searched from its start for each receiver ---


@dataclass
class Stored:
    group: str
    body: str
    visible_ms: int
    in_flight: bool = False
    receives: int = 0


@dataclass
class Model:
    """A FIFO queue in the plainest way."""

    messages: list[Stored] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)

    def send(self, group: str, deduplication: str, body: str, now: int) -> bool:
        if deduplication in self.sent and self.sent[deduplication] > now - 300_000:
            return False
        self.sent[deduplication] = now
        self.messages.append(Stored(group, body, now))
        return True

    def locked(self, now: int) -> set[str]:
        return {stored.group for stored in self.messages if stored.receives and stored.visible_ms > now}

    def head(self, group: str, count: int) -> list[Stored]:
        return [stored for stored in self.messages if stored.group == group][:count]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from("ab"), st.integers(0, 15)),
        st.tuples(st.just("send"), st.just("a"), st.integers(0, 15)),
        st.tuples(st.just("receive"), st.integers(1, 4), st.integers(5, 20)),
        st.tuples(st.just("delete"), st.integers(0, 5), st.none()),
        st.tuples(st.just("visibility"), st.integers(0, 5), st.one_of(st.just(0), st.integers(0, 20))),
        st.tuples(st.just("advance"), st.sampled_from([1, 5, 20, 299]), st.none()),
    ),
    min_size=30,
    max_size=60,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS)
def test_random_histories_keep_order_locks_and_deduplication(operations: list[tuple[str, Any, Any]]):
    asyncio.run(_compare(operations))


async def _compare(operations: list[tuple[str, Any, Any]]) -> None:
    clock = StillClock()
    with tempfile.TemporaryDirectory() as folder:
        engine = await SqliteEngine.open(Path(folder))
        sqs = Queues(SqsService(engine, clock), engine)
        await sqs.create(Q)
        model = Model()
        held: list[ReceivedMessage] = []
        for number, (operation, first, second) in enumerate(operations):
            await _step(sqs, clock, model, held, operation, first, second, number)
            visible = sum(stored.visible_ms <= clock.time_ms() for stored in model.messages)
            assert await sqs.counts(Q) == (visible, len(model.messages) - visible, 0)
        await engine.close()


async def _step(
    sqs: Queues,
    clock: StillClock,
    model: Model,
    held: list[ReceivedMessage],
    operation: str,
    first: Any,
    second: Any,
    number: int,
) -> None:
    now = clock.time_ms()
    if operation == "advance":
        clock.advance(first)
    elif operation == "send":
        stored = await sqs.send(str(number), Q, group_id=first, deduplication_id=str(second))
        assert (stored.due_ms is not None) == model.send(first, str(second), str(number), now)
    elif operation == "receive":
        await _compare_receive(sqs, model, held, first, second, now)
    elif held:
        message = held[-1 - first % len(held)]  # rather a late one: old receipts tell little
        await _compare_receipt(sqs, model, message, operation, second, now)


async def _compare_receive(
    sqs: Queues, model: Model, held: list[ReceivedMessage], limit: int, visibility_s: int, now: int
) -> None:
    locked = model.locked(now)
    free = {stored.group for stored in model.messages} - locked
    messages = await sqs.receive(Q, limit=limit, visibility_s=visibility_s)
    by_group: dict[str, list[str]] = {}
    for message in messages:
        assert message.group_id is not None
        by_group.setdefault(message.group_id, []).append(message.body)
    assert set(by_group) <= free
    for group, bodies in by_group.items():
        heads = model.head(group, len(bodies))
        assert [stored.body for stored in heads] == bodies
        for stored in heads:
            stored.visible_ms = now + visibility_s * 1000
            stored.receives += 1
    available = sum(stored.group in free for stored in model.messages)
    assert len(messages) == min(limit, available)
    held += messages


async def _compare_receipt(
    sqs: Queues, model: Model, message: ReceivedMessage, operation: str, visibility_s: int, now: int
) -> None:
    handle = receipts.encode(message.receipt)
    stored = next((stored for stored in model.messages if stored.body == message.body), None)
    is_latest = stored is not None and stored.receives == message.receive_count and stored.visible_ms > now
    try:
        if operation == "delete":
            await sqs.service.messages.delete(an_address(Q), handle)
            if is_latest and stored is not None:
                model.messages.remove(stored)
            else:
                assert stored is None
        else:
            await sqs.service.messages.change_visibility(an_address(Q), handle, visibility_s)
            assert is_latest
            assert stored is not None
            stored.visible_ms = now + visibility_s * 1000
    except ServiceError:
        assert not is_latest
