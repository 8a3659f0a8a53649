"""What ended events leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lambdad.domain.destinations import OutgoingMessage
from lambdad.domain.invocations import Outcome
from lambdad.event_queue.targets import TargetRefused
from tests.event_queue.building import (
    ACCOUNT,
    DEAD,
    QUEUE,
    REGION,
    World,
    a_world,
    raises,
    returns,
)
from tests.recordings import Recording

OTHER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:other"


@pytest.mark.parametrize("number", [0, 1])
async def test_the_recorded_records(world: World, number: int) -> None:
    recording = Recording.find(
        f"TestLambdaDestinationSqs::test_assess_lambda_destination_invocation[payload{number}]", region=REGION
    )
    expected = recording.steps["receive_message_result"]["Messages"][0]["Body"]
    failed = expected["responseContext"].get("functionError")
    await world.function(raises() if failed else returns({"event": {}}))
    await world.configure(retries=0, success=QUEUE, failure=QUEUE)
    await world.accept(json.dumps(expected["requestPayload"]).encode())
    await world.run_due()
    record = world.mailbox.records()[0]
    assert list(record) == list(expected)
    assert list(record["requestContext"]) == list(expected["requestContext"])
    assert record["requestContext"]["condition"] == expected["requestContext"]["condition"]
    assert record["requestContext"]["approximateInvokeCount"] == expected["requestContext"]["approximateInvokeCount"]
    assert record["requestPayload"] == expected["requestPayload"]
    assert record["responseContext"] == expected["responseContext"]
    assert list(record["responseContext"]) == list(expected["responseContext"])


async def test_the_event_and_the_answer_are_pasted_in_as_they_were(world: World) -> None:
    await world.function(Outcome(payload=b'{ "x" :\t1.50 }'))
    await world.configure(success=QUEUE)
    await world.accept(b'{"a": "\\u00e4",  "b":1e3}')
    await world.run_due()
    body = world.mailbox.to(QUEUE)[0].body
    assert b'"requestPayload":{"a": "\\u00e4",  "b":1e3},"responseContext"' in body
    assert body.endswith(b'"responsePayload":{ "x" :\t1.50 }}')


async def test_destination_and_dead_letter_queue_both_get_theirs(world: World) -> None:
    await world.function(raises("boom"), dead_letter_target=DEAD)
    await world.configure(retries=0, failure=QUEUE)
    await world.accept(b'{"a": 1}')
    await world.run_due()
    assert world.mailbox.records()[0]["requestContext"]["condition"] == "RetriesExhausted"
    letter = world.mailbox.to(DEAD)[0]
    assert letter.body == b'{"a": 1}'
    assert {name: one.value for name, one in letter.attributes.items()} == {
        "RequestID": "id",
        "ErrorCode": "200",
        "ErrorMessage": "boom",
    }


async def test_success_reaches_neither_the_dead_letter_queue_nor_on_failure(world: World) -> None:
    await world.function(dead_letter_target=DEAD)
    await world.configure(failure=QUEUE)
    await world.accept()
    await world.run_due()
    assert world.mailbox.messages == []


async def test_a_record_carries_the_trace_of_the_run(world: World) -> None:
    runs = await world.function()
    await world.configure(success=QUEUE)
    await world.accept(trace="Root=1-65a0b1c2-000000000000000000000001;Sampled=1")
    await world.run_due()
    assert world.mailbox.to(QUEUE)[0].trace == runs.invocations[0].trace_id
    assert "Root=1-65a0b1c2-000000000000000000000001" in world.mailbox.to(QUEUE)[0].trace


async def test_a_function_as_destination_gets_the_record_as_its_event(world: World) -> None:
    await world.function(raises())
    other = await world.function(name="other")
    await world.configure(retries=0, failure=OTHER)
    await world.accept(b'{"a": 1}')
    await world.run_due()
    await world.run_due()
    record = json.loads(other.payloads[0])
    assert record["requestPayload"] == {"a": 1}
    assert other.invocations[0].request_id != "id"
    assert await world.queued() == 0


async def test_two_functions_that_send_each_other_records_are_stopped(world: World) -> None:
    greet, other = await world.function(), await world.function(name="other")
    await world.configure(success=OTHER)
    await world.configure(name="other", success=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:greet")
    await world.accept()
    for _ in range(40):
        await world.run_due()
    assert len(greet.payloads) + len(other.payloads) == 16
    assert world.conditions[-1] == ("RecursiveInvocation", 0)
    assert await world.queued() == 0


@pytest.mark.parametrize("arn", [OTHER, "arn:aws:sns:us-east-1:000000000000:topic", QUEUE])
async def test_what_cannot_be_delivered_is_told_and_the_event_ends(world: World, arn: str) -> None:
    world.mailbox.refuses = True
    await world.function(raises(), dead_letter_target=DEAD)
    await world.configure(retries=0, failure=arn)
    await world.accept()
    await world.run_due()
    assert [(one.target_arn, one.is_dead_letter) for one in world.lost] == [(arn, False), (DEAD, True)]
    assert await world.queued() == 0


# --- remote targets ---


class Remote:
    """Another endpoint that is up or down."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, OutgoingMessage]] = []
        self.error: Exception | None = None

    def sends_to(self, arn: str) -> bool:
        return arn == QUEUE

    async def send(self, arn: str, message: OutgoingMessage) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((arn, message))


async def test_a_remote_target_that_is_down_gets_its_message_later(tmp_path: Path) -> None:
    remote = Remote()
    async with a_world(tmp_path, remote=remote) as world:
        await world.function(returns(5), dead_letter_target=DEAD)
        await world.configure(success=QUEUE)
        await world.accept()
        await world.run_due()
        remote.error = ConnectionError("down")
        await world.queue.outbox.run_once()
        for seconds in (1, 2, 4, 8):
            world.clock.advance(seconds)
            await world.queue.outbox.run_once()
        assert remote.sent == []
        remote.error = None
        assert await world.queue.outbox.run_once() == pytest.approx(16)
        world.clock.advance(16)
        assert await world.queue.outbox.run_once() is None
        (arn, message), *more = remote.sent
        assert (arn, json.loads(message.body)["responsePayload"], more) == (QUEUE, 5, [])
        assert world.lost == []


@pytest.mark.parametrize("error", [TargetRefused("no such queue"), ConnectionError("down")])
async def test_a_remote_message_is_given_up_in_the_end(tmp_path: Path, error: Exception) -> None:
    remote = Remote()
    remote.error = error
    async with a_world(tmp_path, remote=remote) as world:
        await world.function()
        await world.configure(success=QUEUE)
        await world.accept()
        await world.run_due()
        for _ in range(100):
            await world.queue.outbox.run_once()
            world.clock.advance(300)
        assert [one.target_arn for one in world.lost] == [QUEUE]
        assert await world.queue.outbox.run_once() is None
