"""The life of events: attempts, retries, ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lambdad.domain.errors import (
    InvalidRequestContent,
    RequestEntityTooLarge,
    ResourceConflict,
    ResourceNotFound,
    TooManyRequests,
)
from lambdad.domain.functions import State
from lambdad.domain.traces import parse
from tests.event_queue.building import ACCOUNT, CALLER, DEAD, QUEUE, REGION, World, a_world, an_alias, raises, returns
from tests.execution.scripted import a_version


async def test_an_accepted_event_runs_once_with_the_id_of_the_answer(world: World) -> None:
    runs = await world.function(returns(1))
    await world.accept(b'{"a": 1}', request_id="the-id")
    assert await world.run_due() == 1
    assert (runs.payloads, runs.invocations[0].request_id) == ([b'{"a": 1}'], "the-id")
    assert await world.queued() == 0
    assert world.conditions == [("Success", 1)]


async def test_an_empty_event_is_an_empty_object(world: World) -> None:
    runs = await world.function()
    await world.accept(b"")
    await world.run_due()
    assert runs.payloads == [b"{}"]


async def test_attempts_come_one_and_two_minutes_after_failures(world: World) -> None:
    runs = await world.function(raises())
    await world.accept()
    assert await world.run_due() == 1
    assert await world.advance(59.999) == 0
    assert await world.advance(0.001) == 1
    assert await world.advance(119.999) == 0
    assert await world.advance(0.001) == 1
    assert world.conditions == [("RetriesExhausted", 3)]
    assert {invocation.request_id for invocation in runs.invocations} == {"id"}
    assert await world.queued() == 0


async def test_all_attempts_belong_to_one_trace(world: World) -> None:
    runs = await world.function(raises())
    await world.accept()
    await world.run_due()
    await world.advance(60)
    first, second = (parse(invocation.trace_id) for invocation in runs.invocations)
    assert first["Root"] == second["Root"]
    assert first["Lineage"].startswith("1:")


async def test_the_delays_can_be_set(tmp_path: Path) -> None:
    async with a_world(tmp_path, retry_delays_s=(1.0, 2.0)) as world:
        await world.function(raises())
        await world.accept()
        assert [await world.run_due(), await world.advance(1), await world.advance(2)] == [1, 1, 1]


async def test_a_run_that_succeeds_at_last_counts_as_one(world: World) -> None:
    await world.function(raises(), raises(), returns())
    await world.configure(success=QUEUE)
    await world.accept()
    for seconds in (0, 60, 120):
        await world.advance(seconds)
    assert world.conditions == [("Success", 1)]
    assert len(world.mailbox.records()) == 1


async def test_no_retries_when_none_are_wanted(world: World) -> None:
    await world.function(raises(), dead_letter_target=DEAD)
    await world.configure(retries=0)
    await world.accept()
    await world.run_due()
    assert world.conditions == [("RetriesExhausted", 1)]
    assert len(world.mailbox.to(DEAD)) == 1


@pytest.mark.parametrize(("age_s", "count"), [(60, 1), (90, 2)])
async def test_the_end_of_the_age_is_seen_ahead(world: World, age_s: int, count: int) -> None:
    await world.function(raises())
    await world.configure(age_s=age_s, failure=QUEUE)
    await world.accept()
    await world.run_due()
    await world.advance(60)
    assert world.conditions == [("EventAgeExceeded", count)]
    assert world.mailbox.records()[0]["responseContext"]["functionError"] == "Unhandled"


async def test_settings_apply_to_events_that_are_queued_already(world: World) -> None:
    await world.function(raises())
    await world.accept()
    await world.run_due()
    await world.configure(retries=1)
    await world.advance(60)
    assert world.conditions == [("RetriesExhausted", 2)]


async def test_an_alias_has_its_own_settings(world: World) -> None:
    versions = (a_version(), a_version(version="1"))
    await world.function(raises(), versions=versions, aliases=(an_alias("prod", "1"),))
    await world.configure(qualifier="prod", retries=0, failure=QUEUE)
    await world.accept(qualifier="prod")
    await world.accept()
    await world.run_due()
    assert world.conditions == [("RetriesExhausted", 1)]
    record = world.mailbox.records()[0]
    assert record["requestContext"]["functionArn"].endswith(":function:greet:prod")
    assert record["responseContext"]["executedVersion"] == "1"


async def test_an_alias_is_resolved_at_each_attempt(world: World) -> None:
    versions = (a_version(), a_version(version="1"), a_version(version="2", generation=2))
    runs = await world.function(raises(), versions=versions, aliases=(an_alias("prod", "1"),))
    await world.accept(qualifier="prod")
    await world.run_due()
    await world.function(returns(), versions=versions, aliases=(an_alias("prod", "2"),))
    await world.advance(60)
    assert runs.versions == ["1", "2"]


# --- throttles ---


async def test_a_throttled_event_waits_longer_and_longer_and_loses_no_attempt(world: World) -> None:
    runs = await world.function(raises(), reserved=1)
    runs.is_held = True
    target = await world.invoker.resolve(CALLER, "greet", "")
    world.invoker.start(target, world.invoker.version_of(target), request_id="sync", event=b"1", done=lambda _: None)
    throttled: list[object] = []
    world.telemetry.attempt_throttled.append(throttled.append)
    await world.accept()
    await world.run_due()
    for seconds in (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300):
        before = len(throttled)
        await world.advance(seconds - 0.001)
        assert len(throttled) == before
        await world.advance(0.001)
        assert len(throttled) == before + 1
    runs.is_held = False
    runs.release()
    assert await world.advance(300) == 1
    assert await world.advance(60) == 1
    assert await world.advance(120) == 1
    assert world.conditions == [("RetriesExhausted", 3)]


async def test_back_off_begins_anew_after_a_run(world: World) -> None:
    runs = await world.function(returns(), reserved=1)
    runs.is_held = True
    target = await world.invoker.resolve(CALLER, "greet", "")

    def occupy() -> None:
        world.invoker.start(target, world.invoker.version_of(target), request_id="s", event=b"1", done=lambda _: None)

    occupy()
    await world.accept()
    await world.run_due()
    await world.advance(1)
    runs.is_held = False
    runs.release()
    assert await world.advance(2) == 1
    runs.is_held = True
    occupy()
    await world.accept()
    await world.run_due()
    runs.is_held = False
    runs.release()
    assert await world.advance(1) == 1


async def test_a_throttled_event_ends_when_its_age_does(world: World) -> None:
    runs = await world.function(returns(), reserved=1, dead_letter_target=DEAD)
    runs.is_held = True
    target = await world.invoker.resolve(CALLER, "greet", "")
    world.invoker.start(target, world.invoker.version_of(target), request_id="sync", event=b"1", done=lambda _: None)
    await world.configure(age_s=60, failure=QUEUE)
    await world.accept()
    for _ in range(59):
        await world.advance(1)
    assert world.conditions == []
    await world.advance(1)
    assert world.conditions == [("EventAgeExceeded", 0)]
    record = world.mailbox.records()[0]
    assert record["responseContext"] == {"statusCode": 429}
    assert "responsePayload" not in record
    attributes = world.mailbox.to(DEAD)[0].attributes
    assert (attributes["ErrorCode"].value, attributes["ErrorMessage"].value) == ("429", "Rate Exceeded.")


async def test_a_reservation_of_0_ends_every_event_at_once(world: World) -> None:
    await world.function(reserved=0, dead_letter_target=DEAD)
    await world.configure(failure=QUEUE)
    for number in range(3):
        await world.accept(request_id=str(number))
    assert await world.run_due() == 0
    assert world.conditions == [("ZeroReservedConcurrency", 0)] * 3
    record = world.mailbox.records()[0]
    assert "responseContext" not in record
    assert list(world.mailbox.to(DEAD)[0].attributes) == ["RequestID", "ErrorMessage"]


async def test_own_events_wait_for_each_other_without_a_throttle(world: World) -> None:
    runs = await world.function(reserved=1)
    throttled: list[object] = []
    world.telemetry.attempt_throttled.append(throttled.append)
    for number in range(20):
        await world.accept(request_id=str(number))
    assert await world.run_due() == 20
    assert [invocation.request_id for invocation in runs.invocations] == [str(number) for number in range(20)]
    assert throttled == []


# --- deleted functions, recursion ---


@pytest.mark.parametrize(("retries", "count"), [(0, 1), (1, 2)])
async def test_a_deleted_function_counts_as_failures(world: World, retries: int, count: int) -> None:
    await world.function(dead_letter_target=DEAD)
    await world.configure(retries=retries, failure=QUEUE)
    await world.accept()
    await world.delete()
    await world.run_due()
    if retries:
        assert await world.queued() == 1
    await world.advance(60)
    assert world.conditions == [("RetriesExhausted", count)]
    record = world.mailbox.records()[0]
    assert record["responseContext"] == {"statusCode": 404}
    assert "responsePayload" not in record
    attributes = world.mailbox.to(DEAD)[0].attributes
    assert attributes["ErrorCode"].value == "404"
    assert attributes["ErrorMessage"].value == (
        f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:greet:$LATEST"
    )


async def test_a_chain_of_sixteen_calls_is_cut(world: World) -> None:
    runs = await world.function()
    await world.configure(failure=QUEUE)
    await world.accept(trace="Root=1-0-0;Lineage=15:b695919f:14")
    await world.accept(trace="Root=1-0-0;Lineage=16:b695919f:15")
    assert await world.run_due() == 1
    assert runs.invocations[0].trace_id.endswith("Lineage=16:" + runs.invocations[0].trace_id.split(":")[1] + ":15")
    assert ("RecursiveInvocation", 0) in world.conditions
    assert world.mailbox.records()[0]["requestContext"]["condition"] == "RecursiveInvocation"


# --- checks at acceptance ---


async def test_what_is_refused_at_acceptance(world: World) -> None:
    await world.function()
    await world.function(name="young", versions=(a_version(name="young", state=State.PENDING),))
    with pytest.raises(ResourceNotFound, match=r":function:nobody:\$LATEST$"):
        await world.accept(name="nobody")
    with pytest.raises(InvalidRequestContent, match="Unexpected end-of-input"):
        await world.accept(b"{")
    with pytest.raises(ResourceConflict, match="currently in the following state: Pending"):
        await world.accept(name="young")
    await world.accept(b'"' + b"x" * 1_048_574 + b'"')
    with pytest.raises(RequestEntityTooLarge) as error:
        await world.accept(b'"' + b"x" * 1_048_575 + b'"')
    assert error.value.message == (
        "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    )
    assert await world.queued() == 1


async def test_concurrency_is_not_asked_at_acceptance(world: World) -> None:
    await world.function(reserved=0)
    await world.accept()
    with pytest.raises(TooManyRequests):
        await world.invoker.invoke(await world.invoker.resolve(CALLER, "greet", ""), request_id="i", event=b"1")


async def test_a_version_that_is_not_active_any_more_is_tried_again(world: World) -> None:
    runs = await world.function()
    await world.accept()
    await world.function(versions=(a_version(state=State.INACTIVE),))
    assert await world.run_due() == 0
    await world.function()
    assert await world.advance(1) == 1
    assert json.loads(runs.payloads[0]) == {}
    assert replace(world.ended[0]).invoke_count == 1
