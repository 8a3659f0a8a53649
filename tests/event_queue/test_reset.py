"""A reset takes no time, whatever was queued; what it leaves is removed afterwards and found by nobody."""

from __future__ import annotations

from lambdad.event_queue.sweep import Sweep
from lambdad.storage.functions import FunctionKey
from tests.event_queue.building import DEAD, QUEUE, World, raises, returns


async def rows(world: World) -> dict[str, int]:
    tables = ("event", "event_content", "ledger_pending", "ledger_event", "event_garbage")
    return {table: (await world.engine.read(f"SELECT COUNT(*) FROM {table}"))[0][0] for table in tables}


async def swept(world: World) -> dict[str, int]:
    sweep = Sweep(world.engine)
    while await sweep.run_once() is not None:
        pass
    return await rows(world)


async def test_nothing_of_before_runs_and_everything_is_removed(world: World) -> None:
    runs = await world.function(raises(), returns())
    await world.accept(b"1", request_id="failed")
    await world.run_due()
    await world.accept(b"2", request_id="succeeded")
    await world.run_due()
    for number in range(3):
        await world.accept(b"3", request_id=f"waits-{number}")
    await world.queue.reset()
    assert await world.queued() == 0
    assert await world.queue.ledger.page() == []
    assert (await rows(world))["event"] == 4
    assert await world.advance(3600) == 0
    assert [invocation.request_id for invocation in runs.invocations] == ["failed", "succeeded"]
    assert set((await swept(world)).values()) == {0}


async def test_what_comes_after_a_reset_is_not_swept(world: World) -> None:
    runs = await world.function(raises())
    await world.accept(b"1", request_id="before")
    await world.queue.reset()
    await world.accept(b"2", request_id="after")
    await world.run_due()
    assert runs.payloads == [b"2"]
    assert (await swept(world))["event"] == 1
    assert await world.advance(60) == 1
    assert [entry.request_id for entry in await world.queue.ledger.page()] == ["after"]


async def test_an_announcement_of_before_brings_nothing(world: World) -> None:
    runs = await world.function()
    await world.accept(b"1")
    (row,) = await world.engine.read("SELECT id, account, region, function FROM event_queue")
    await world.queue.reset()
    world.queue.worker.announce(row[0], FunctionKey(*row[1:]), world.clock.time_ms())
    assert await world.run_due() == 0
    assert runs.invocations == []


async def test_what_ran_during_a_reset_delivers_nothing(world: World) -> None:
    runs = await world.function(raises(), dead_letter_target=DEAD)
    await world.configure(retries=0, failure=QUEUE)
    runs.is_held = True
    await world.accept(b"1")
    await world.queue.worker.run_once()
    await world.queue.reset()
    runs.release()
    await world.queue.worker.wait_idle()
    assert world.mailbox.messages == []
    assert set((await swept(world)).values()) == {0}
