"""Servers that die, and functions that keep others from nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lambdad.storage.engine import StorageFull
from tests.event_queue.building import CALLER, DEAD, ManualClock, World, a_world, raises, returns


async def die_in_the_middle(folder: Path, clock: ManualClock, count: int = 1, **settings: int) -> None:
    """A server accepts events, begins to run them and is gone."""
    async with a_world(folder, clock) as world:
        runs = await world.function(dead_letter_target=DEAD)
        runs.is_held = True
        await world.configure(**settings)
        for number in range(count):
            await world.accept(request_id=str(number))
        await world.queue.worker.run_once()
        await asyncio.sleep(0)


async def test_an_attempt_that_was_cut_off_is_made_again_after_a_second(tmp_path: Path) -> None:
    clock = ManualClock()
    await die_in_the_middle(tmp_path, clock)
    async with a_world(tmp_path, clock) as world:
        runs = await world.function(raises())
        assert await world.queue.rescue.recover() == 1
        assert await world.run_due() == 0
        assert await world.advance(1) == 1
        await world.advance(60)
        await world.advance(120)
        assert [invocation.request_id for invocation in runs.invocations] == ["0"] * 3
        assert world.conditions == [("RetriesExhausted", 3)]  # the cut off attempt used up none


async def test_an_event_that_kills_every_server_ends_with_its_age(tmp_path: Path) -> None:
    clock = ManualClock()
    await die_in_the_middle(tmp_path, clock, age_s=60)
    for _ in range(6):
        async with a_world(tmp_path, clock) as world:
            runs = await world.function(dead_letter_target=DEAD)
            runs.is_held = True
            await world.queue.rescue.recover()
            clock.advance(33)
            await world.queue.rescue.run_once()
            await world.queue.worker.run_once()
            await asyncio.sleep(0)
            if world.ended:
                break
    assert world.conditions == [("EventAgeExceeded", 0)]
    assert len(world.mailbox.to(DEAD)) == 1


async def test_rescued_events_keep_their_place(tmp_path: Path) -> None:
    clock = ManualClock()
    await die_in_the_middle(tmp_path, clock)
    async with a_world(tmp_path, clock) as world:
        runs = await world.function(reserved=1)
        await world.queue.rescue.recover()
        await world.queue.worker.load()
        runs.is_held = True
        clock.advance(0.5)
        for number in range(200):
            await world.accept(request_id=f"later {number}")
        await world.queue.worker.run_once()
        await asyncio.sleep(0)
        clock.advance(0.5)
        await world.queue.rescue.run_once()
        runs.is_held = False
        runs.release()
        await world.run_due()
        place = [invocation.request_id for invocation in runs.invocations].index("0")
        assert place <= 100, "behind what had been claimed, before the rest of the backlog"


async def test_what_runs_is_not_rescued_by_its_own_server(world: World) -> None:
    runs = await world.function()
    runs.is_held = True
    await world.accept()
    await world.queue.worker.run_once()
    await asyncio.sleep(0)
    world.clock.advance(10_000)
    await world.queue.rescue.run_once()
    runs.is_held = False
    runs.release()
    await world.run_due()
    assert len(runs.invocations) == 1
    assert world.conditions == [("Success", 1)]


async def test_stopping_gives_back_what_was_not_started(tmp_path: Path) -> None:
    clock = ManualClock()
    async with a_world(tmp_path, clock) as world:
        runs = await world.function(reserved=1)
        runs.is_held = True
        for number in range(10):
            await world.accept(request_id=str(number))
        await world.queue.worker.run_once()
        await asyncio.sleep(0)
        stopping = asyncio.create_task(world.queue.stop())
        await asyncio.sleep(0)
        runs.is_held = False
        runs.release()
        await asyncio.wait_for(stopping, 5)
        assert world.conditions == [("Success", 1)]
    async with a_world(tmp_path, clock) as world:
        runs = await world.function()
        assert await world.queue.rescue.recover() == 0
        await world.queue.worker.load()
        assert await world.run_due() == 9


async def test_a_full_disk_loses_no_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = await world.function(returns())
    runs.is_held = True
    await world.accept()
    await world.queue.worker.run_once()
    await asyncio.sleep(0)
    write, refused = world.engine.write, asyncio.Event()

    async def full(job: object) -> None:
        refused.set()
        raise StorageFull("The disk is full.")

    monkeypatch.setattr("lambdad.event_queue.worker.STORE_AGAIN_S", 0.001)
    monkeypatch.setattr(world.engine, "write", full)
    runs.is_held = False
    runs.release()
    await refused.wait()
    with pytest.raises(StorageFull):
        await world.accept()
    monkeypatch.setattr(world.engine, "write", write)
    await asyncio.wait_for(world.queue.worker.wait_idle(), 5)
    assert world.conditions == [("Success", 1)]
    assert await world.queued() == 0


async def test_a_reset_leaves_nothing_behind(world: World) -> None:
    runs = await world.function(reserved=1, dead_letter_target=DEAD)
    runs.is_held = True
    runs.outcomes = [raises()]
    for number in range(10):
        await world.accept(request_id=str(number))
    await world.queue.worker.run_once()
    await asyncio.sleep(0)
    await world.queue.reset()
    runs.release()
    await asyncio.wait_for(world.queue.worker.wait_idle(), 5)
    assert await world.advance(3600) == 0
    assert world.mailbox.messages == []
    runs.is_held = False
    await world.accept(request_id="new")
    await world.run_due()
    assert [invocation.request_id for invocation in runs.invocations] == ["0", "new"]


# --- fairness ---


async def test_a_backlog_of_one_function_does_not_delay_another(world: World) -> None:
    slow, quick = await world.function(name="slow"), await world.function(name="quick")
    slow.is_held = True
    for number in range(1000):
        await world.accept(name="slow", request_id=str(number))
    await world.queue.worker.run_once()
    await asyncio.sleep(0)
    await world.accept(name="quick")
    await world.queue.worker.run_once()
    await asyncio.sleep(0.01)
    assert len(quick.invocations) == 1


async def test_functions_take_turns_when_the_server_is_full(tmp_path: Path) -> None:
    async with a_world(tmp_path, concurrency=4) as world:
        first, second = await world.function(name="first"), await world.function(name="second")
        first.is_held = second.is_held = True
        for number in range(50):
            await world.accept(name="first", request_id=str(number))
            await world.accept(name="second", request_id=str(number))
        for _ in range(3):
            await world.queue.worker.run_once()
            await asyncio.sleep(0)
        assert len(first.held) + len(second.held) <= 6
        assert min(len(first.held), len(second.held)) >= 2
        while first.held or second.held:
            (first if len(first.held) >= len(second.held) else second).release(1)
            for _ in range(5):
                await asyncio.sleep(0)
            await world.queue.worker.run_once()
        assert (len(first.invocations), len(second.invocations)) == (50, 50)


async def test_throttled_events_are_not_touched(world: World) -> None:
    """A function that waits costs nothing, however many events it has."""
    runs = await world.function(reserved=1)
    runs.is_held = True
    target = await world.invoker.resolve(CALLER, "greet", "")
    world.invoker.start(target, world.invoker.version_of(target), request_id="s", event=b"1", done=lambda _: None)
    for number in range(300):
        await world.accept(request_id=str(number))
    await world.run_due()
    claimed = await world.engine.read("SELECT COUNT(*) FROM event WHERE state <> 0 OR setbacks + attempts > 0")
    assert claimed == [(0,)]
    assert world.queue.worker.statistics()["claimed"] == 0
