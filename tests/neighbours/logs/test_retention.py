"""Retention follows the service's time; what was deleted is cleared away."""

import asyncio

from lambdad.neighbours.logs.service import LogService, RetentionLoop
from lambdad.storage.logs import LogStorage
from lambdad.storage.sqlite import SqliteEngine
from tests.neighbours.logs.conftest import ACCOUNT, REGION, SetClock


async def test_events_go_when_the_retention_is_over(logs: LogService, engine: SqliteEngine, clock: SetClock) -> None:
    for name in ("kept", "short"):
        stream = logs.writer.stream(ACCOUNT, REGION, name, "s")
        stream.append(clock.ms, b"old\n")
        stream.append(clock.ms + 3_600_000, b"new\n")
    await logs.groups.set_retention(ACCOUNT, REGION, "short", 1)
    assert await logs.retention.run_once() == 3600
    clock.advance(hours=24)
    assert await logs.retention.run_once() == 3600
    assert await engine.read("SELECT count(*) FROM log_segment") == [(4,)]
    clock.advance(hours=0.9)
    await logs.retention.run_once()  # not due
    assert await engine.read("SELECT count(*) FROM log_segment") == [(4,)]
    clock.advance(hours=0.1)
    await logs.retention.run_once()
    rows = await engine.read("SELECT g.name FROM log_segment JOIN log_group g ON g.id = group_id ORDER BY g.name")
    assert rows == [("kept",), ("kept",), ("short",)]
    assert logs.statistics()["removed_segments"] == 1


async def test_many_expired_segments_are_removed_in_steps(engine: SqliteEngine, clock: SetClock) -> None:
    logs = LogService(engine, clock)
    stream = logs.writer.stream(ACCOUNT, REGION, "g", "s")
    for number in range(1_100):
        stream.append(clock.ms - number * 10_000, b"x\n")
    await logs.groups.set_retention(ACCOUNT, REGION, "g", 1)
    clock.advance(days=2)
    before = engine.statistics()["jobs"]
    assert await logs.retention.remove_expired() == 1_100
    assert engine.statistics()["jobs"] == before + 3


async def test_deleting_a_group_wakes_the_loop_that_removes_its_events(engine: SqliteEngine, clock: SetClock) -> None:
    removed = asyncio.Event()

    class Watched(LogStorage):
        async def remove_garbage(self) -> int:
            count = await super().remove_garbage()
            if count:
                removed.set()
            return count

    logs = LogService(engine, clock)
    logs.retention._storage = Watched(engine)
    logs.retention.start()
    logs.writer.stream(ACCOUNT, REGION, "g", "s").append(clock.ms, b"x\n")
    await logs.groups.delete(ACCOUNT, REGION, "g")
    await asyncio.wait_for(removed.wait(), 5)
    await logs.stop()
    assert await engine.read("SELECT count(*) FROM log_segment") == [(0,)]
    assert isinstance(logs.retention, RetentionLoop)
