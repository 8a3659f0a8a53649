"""The ledger tells the life of events, forgets in time, and lets dropped events run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lambdad.domain.errors import ResourceConflict, ResourceNotFound
from lambdad.domain.ledger import MAX_STEPS, EventState, shortened
from lambdad.event_queue.ledger import LedgerLimits
from tests.event_queue.building import DEAD, QUEUE, World, a_world, raises, returns


async def steps(world: World, request_id: str = "id") -> list[Any]:
    return list((await world.queue.ledger.event(request_id)).steps)


async def kinds(world: World, request_id: str = "id") -> list[str]:
    return [step["kind"] for step in await steps(world, request_id)]


async def test_a_waiting_event_is_in_the_ledger_without_a_step(world: World) -> None:
    await world.function()
    await world.accept()
    entry = await world.queue.ledger.event("id")
    assert (entry.state, entry.function, list(entry.steps)) == (EventState.WAITING, "greet", [])


async def test_a_success(world: World) -> None:
    await world.function(returns(1))
    await world.accept(qualifier="$LATEST")
    await world.run_due()
    entry = await world.queue.ledger.event("id")
    assert (entry.state, entry.condition, entry.payload) == (EventState.SUCCEEDED, "Success", None)
    attempt, end = entry.steps
    assert (attempt["kind"], attempt["outcome"], attempt["version"]) == ("attempt", "success", "$LATEST")
    assert attempt["log_group"] == "/aws/lambda/greet"
    assert (end["kind"], end["condition"]) == ("end", "Success")


async def test_retries_waits_deliveries_and_the_end(world: World) -> None:
    await world.function(raises("broken"), dead_letter_target=DEAD)
    await world.configure(failure=QUEUE)
    await world.accept(b'{"n":1}')
    await world.run_due()
    assert await kinds(world) == ["attempt", "wait"]
    waiting = await world.queue.ledger.event("id")
    assert (waiting.state, waiting.attempts) == (EventState.WAITING, 1)
    assert waiting.due_ms == (await steps(world))[1]["until_ms"] == world.clock.time_ms() + 60_000
    await world.advance(60)
    await world.advance(120)
    found = await steps(world)
    assert [step["kind"] for step in found] == ["attempt", "wait"] * 2 + ["attempt", "delivery", "delivery", "end"]
    assert [step["number"] for step in found if step["kind"] == "attempt"] == [1, 2, 3]
    assert (found[0]["error_type"], found[0]["error_message"]) == ("Exception", "broken")
    assert [(step["what"], step["target"], step["result"]) for step in found if step["kind"] == "delivery"] == [
        ("record", QUEUE, "delivered"),
        ("dead letter", DEAD, "delivered"),
    ]
    entry = await world.queue.ledger.event("id")
    assert (entry.state, entry.condition, entry.payload) == (EventState.DROPPED, "RetriesExhausted", b'{"n":1}')


async def test_a_delivery_that_fails_tells_why(world: World) -> None:
    world.mailbox.refuses = True
    await world.function(returns())
    await world.configure(success=QUEUE)
    await world.accept()
    await world.run_due()
    delivery = (await steps(world))[1]
    assert (delivery["result"], delivery["reason"]) == ("failed", "The queue is not there.")


async def test_throttles_are_told_with_their_waits(world: World) -> None:
    await world.function(returns(), reserved=1)
    world.admission.function("000000000000", "us-east-1", "greet").set_reserved(1)
    taken = world.admission.function("000000000000", "us-east-1", "greet")
    unreserved = taken.take()
    await world.accept()
    await world.run_due()
    refused, wait = await steps(world)
    assert (refused["reason"], wait["reason"], wait["until_ms"]) == (
        "throttled",
        "throttled",
        world.clock.time_ms() + 1000,
    )
    taken.give(unreserved)
    await world.advance(1)
    assert await kinds(world) == ["refused", "wait", "attempt", "end"]


async def test_pages_are_cut_by_place_and_filtered(world: World) -> None:
    await world.function(returns())
    await world.function(raises(), name="fails")
    await world.configure("fails", retries=0)
    for number in range(3):
        await world.accept(request_id=f"a{number}")
        await world.accept(request_id=f"b{number}", name="fails")
    await world.run_due()
    await world.accept(request_id="last")
    ledger = world.queue.ledger
    first = await ledger.page(limit=4)
    rest = await ledger.page(limit=4, before=first[-1].place)
    assert [one.request_id for one in [*first, *rest]] == ["last", "b2", "a2", "b1", "a1", "b0", "a0"]
    assert [one.request_id for one in await ledger.page(function="fails")] == ["b2", "b1", "b0"]
    assert [one.request_id for one in await ledger.page(state=EventState.WAITING)] == ["last"]
    assert [one.request_id for one in await ledger.page(state=EventState.DROPPED, limit=2)] == ["b2", "b1"]
    assert len(await ledger.page(state=EventState.SUCCEEDED)) == 3


async def test_a_dropped_event_runs_again(world: World) -> None:
    runs = await world.function(raises(), returns())
    await world.configure(retries=0)
    await world.accept(b'{"n":1}')
    await world.run_due()
    again = await world.queue.ledger.redrive("id")
    assert again != "id"
    await world.run_due()
    assert runs.payloads == [b'{"n":1}'] * 2
    assert await kinds(world, again) == ["redrive of", "attempt", "end"]
    assert (await steps(world))[-1]["event"] == again
    with pytest.raises(ResourceConflict):
        await world.queue.ledger.redrive(again)


async def test_what_cannot_run_again(world: World) -> None:
    with pytest.raises(ResourceNotFound):
        await world.queue.ledger.redrive("nothing")
    await world.function(raises())
    await world.configure(retries=0)
    await world.accept()
    with pytest.raises(ResourceConflict):
        await world.queue.ledger.redrive("id")
    await world.run_due()
    await world.delete()
    with pytest.raises(ResourceNotFound):
        await world.queue.ledger.redrive("id")
    assert await world.queued() == 0


async def test_old_events_are_forgotten(tmp_path: Path) -> None:
    async with a_world(tmp_path, ledger_limits=LedgerLimits(age_s=100)) as world:
        await world.function()
        await world.accept(request_id="old")
        await world.run_due()
        world.clock.advance(60)
        await world.accept(request_id="young")
        await world.run_due()
        world.clock.advance(60)
        await world.queue.ledger.run_once()
        assert [one.request_id for one in await world.queue.ledger.page()] == ["young"]


async def test_too_much_is_forgotten(tmp_path: Path) -> None:
    async with a_world(tmp_path, ledger_limits=LedgerLimits(size_bytes=1)) as world:
        await world.function()
        await world.accept()
        await world.run_due()
        await world.queue.ledger.run_once()
        assert await world.queue.ledger.page() == []


async def test_a_reset_empties_it(world: World) -> None:
    await world.function(raises())
    await world.accept(request_id="ended")
    await world.run_due()
    await world.queue.reset()
    assert await world.queue.ledger.page() == []


def test_very_long_lives_keep_their_beginning_and_their_end() -> None:
    many = [{"kind": "wait", "at_ms": number} for number in range(MAX_STEPS + 50)]
    short = shortened(many)
    assert len(short) <= MAX_STEPS
    assert (short[0], short[-1]) == (many[0], many[-1])
    assert sum(step["steps"] for step in short if step["kind"] == "left out") + len(short) - 1 == len(many)
    assert shortened(short) == short
