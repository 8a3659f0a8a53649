"""The append path: what is appended can be read, memory is bounded, nothing that was stored is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lambdad.neighbours.logs.service import LogService
from lambdad.neighbours.logs.writer import STORE_AGAIN_S, LogStreamHandle, LogWriter
from lambdad.storage.engine import StorageFull
from lambdad.storage.logs import LogStorage, StreamBatch, StreamIds
from lambdad.storage.sqlite import SqliteEngine
from tests.neighbours.logs.conftest import ACCOUNT, NOW_MS, REGION, SetClock


def a_stream(logs: LogService | LogWriter, name: str = "s", group: str = "/aws/lambda/f") -> LogStreamHandle:
    writer = logs.writer if isinstance(logs, LogService) else logs
    return writer.stream(ACCOUNT, REGION, group, name)


async def messages(logs: LogService, group: str = "/aws/lambda/f") -> list[str]:
    found = await logs.groups.find(ACCOUNT, REGION, group)
    page = await logs.events.filter(found)
    texts = [event.message for event in page.events]
    while page.next_token is not None:
        page = await logs.events.filter(found, token=page.next_token)
        texts += [event.message for event in page.events]
    return texts


async def test_what_was_appended_is_read_at_once(logs: LogService) -> None:
    stream = a_stream(logs)
    stream.append(NOW_MS, b"START\none\n")
    stream.append_event(NOW_MS, b"two\nlines\n")
    stream.append(NOW_MS + 1, b"another\rline\nTrace\xffback\n")
    assert await messages(logs) == ["START\n", "one\n", "two\nlines\n", "another\rline\n", "Trace\nback\n"]


async def test_group_and_stream_appear_with_the_first_line(logs: LogService) -> None:
    stream = a_stream(logs)
    assert await logs.groups.listing(ACCOUNT, REGION) == ([], None)
    stream.append(NOW_MS, b"x\n")
    group = await logs.groups.find(ACCOUNT, REGION, "/aws/lambda/f")
    found = (await logs.groups.streams(group))[0][0]
    assert (found.name, found.first_event_ms, found.last_event_ms) == ("s", NOW_MS, NOW_MS)


async def test_a_deleted_group_comes_back_with_the_next_line(logs: LogService) -> None:
    stream = a_stream(logs)
    stream.append(NOW_MS, b"before\n")
    await logs.groups.delete(ACCOUNT, REGION, "/aws/lambda/f")
    assert await logs.groups.listing(ACCOUNT, REGION) == ([], None)
    stream.append(NOW_MS, b"after\n")
    assert await messages(logs) == ["after\n"]


async def test_a_flush_stores_all_streams_in_one_transaction(logs: LogService, engine: SqliteEngine) -> None:
    streams = [a_stream(logs, f"s{number}", f"g{number % 3}") for number in range(30)]
    for stream in streams:
        for number in range(20):
            stream.append(NOW_MS, b"%d\n" % number)
    before = engine.statistics()["jobs"]
    await logs.writer.flush()
    assert engine.statistics()["jobs"] == before + 1
    assert await engine.read("SELECT count(*) FROM log_segment") == [(30,)]
    assert logs.writer.statistics()["unflushed_bytes"] == 0


async def test_the_loop_flushes_soon_after_a_line_and_rests_then(engine: SqliteEngine, clock: SetClock) -> None:
    stored = asyncio.Event()

    class Watched(LogStorage):
        async def append(self, batches: list[StreamBatch], now_ms: int) -> list[StreamIds]:  # type: ignore[override]
            ids = await super().append(batches, now_ms)
            stored.set()
            return ids

    writer = LogWriter(Watched(engine), clock, flush_interval_s=0.01)
    writer.start()
    stream = a_stream(writer)
    for _ in range(3):
        stored.clear()
        stream.append(NOW_MS, b"x\n")
        await asyncio.wait_for(stored.wait(), 5)
    await writer.stop()
    assert writer.statistics()["flushes"] == 3


async def test_stopping_stores_what_is_left(engine: SqliteEngine, clock: SetClock) -> None:
    writer = LogWriter(LogStorage(engine), clock, flush_interval_s=60)
    writer.start()
    stream = a_stream(writer)
    stream.append(NOW_MS, b"last words\n")
    stream.close()
    await writer.stop()
    assert await engine.read("SELECT count(*) FROM log_segment") == [(1,)]
    assert writer.statistics()["open_streams"] == 0


async def test_readers_wait_for_the_flush_that_is_under_way(logs: LogService) -> None:
    stream = a_stream(logs)
    for number in range(5):
        stream.append(NOW_MS, b"%d\n" % number)
        flushing = asyncio.ensure_future(logs.writer.flush())
        await asyncio.sleep(0)
        stream.append(NOW_MS, b"then %d\n" % number)
        assert f"then {number}\n" in await messages(logs)
        await flushing


async def test_a_reader_does_not_wait_for_lines_that_come_after_it(engine: SqliteEngine, clock: SetClock) -> None:
    class Busy(LogStorage):
        async def append(self, batches: list[StreamBatch], now_ms: int) -> list[StreamIds]:  # type: ignore[override]
            stream.append(NOW_MS, b"and another line\n")
            return await super().append(batches, now_ms)

    writer = LogWriter(Busy(engine), clock)
    stream = a_stream(writer)
    stream.append(NOW_MS, b"first\n")
    await asyncio.wait_for(asyncio.gather(writer.flush(), writer.flush(), writer.flush()), 5)
    assert writer.statistics()["flushes"] <= 3


class RefusingStorage(LogStorage):
    """A full disk, until it is made whole."""

    is_full = True

    async def append(self, batches: list[StreamBatch], now_ms: int) -> list[StreamIds]:  # type: ignore[override]
        if self.is_full:
            raise StorageFull("The disk is full.")
        return await super().append(batches, now_ms)


async def test_what_could_not_be_stored_is_kept_in_its_order(engine: SqliteEngine, clock: SetClock) -> None:
    storage = RefusingStorage(engine)
    writer = LogWriter(storage, clock)
    stream = a_stream(writer)
    stream.append(NOW_MS, b"1\n")
    with pytest.raises(StorageFull):
        await writer.flush()
    await writer.settle()  # readers go on
    stream.append(NOW_MS, b"2\n")
    storage.is_full = False
    await writer.flush()
    logs = LogService(engine, clock)
    assert await messages(logs) == ["1\n", "2\n"]
    assert writer.statistics()["unflushed_bytes"] == 0


async def test_a_full_disk_is_told_once_and_tried_again(
    engine: SqliteEngine, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    storage = RefusingStorage(engine)
    writer = LogWriter(storage, clock)
    a_stream(writer).append(NOW_MS, b"1\n")
    assert [await writer.run_once() for _ in range(3)] == [STORE_AGAIN_S] * 3
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "The disk is full." in caplog.text
    assert "Traceback" not in caplog.text
    storage.is_full = False
    assert await writer.run_once() is None
    assert caplog.messages[1:] == ["Function logs are stored again."]
    assert await messages(LogService(engine, clock)) == ["1\n"]


async def test_memory_is_bounded_and_the_noisiest_stream_loses_its_oldest(
    engine: SqliteEngine, clock: SetClock
) -> None:
    storage = RefusingStorage(engine)
    writer = LogWriter(storage, clock, unflushed_limit=1_000_000)
    quiet, noisy = a_stream(writer, "quiet"), a_stream(writer, "noisy")
    quiet.append(NOW_MS, b"still here\n")
    most = 0.0
    for number in range(50):
        noisy.append(NOW_MS, (b"%07d" % number + b"x" * 92 + b"\n") * 1_000)
        if number == 20:
            with pytest.raises(StorageFull):
                await writer.flush()
        most = max(most, writer.statistics()["unflushed_bytes"])
    assert writer.is_congested
    assert most <= 1_000_000
    assert writer.statistics()["most_unflushed_bytes"] <= 1_000_000
    storage.is_full = False
    await writer.flush()
    assert writer.statistics()["unflushed_bytes"] == 0
    logs = LogService(engine, clock)
    found = set(await messages(logs))
    assert "still here\n" in found
    assert f"0000049{'x' * 92}\n" in found
    assert f"0000000{'x' * 92}\n" not in found
    dropped = [message for message in found if "log events dropped" in message]
    assert len(dropped) == 1
    stored = await engine.read("SELECT sum(bytes) FROM log_segment")
    lost = int(dropped[0].split()[0])
    assert lost * 100 + stored[0][0] == 50 * 100_000 + len("still here\n") + len(dropped[0])


async def test_a_flood_from_one_function_stays_within_bounds(engine: SqliteEngine, clock: SetClock) -> None:
    writer = LogWriter(LogStorage(engine), clock, unflushed_limit=4_000_000)
    writer.start()
    stream = a_stream(writer)
    text = b"a line of output that is printed again and again and again\n" * 1_000
    most = 0.0
    for _ in range(1_000):  # 60 MB in 60 KB reads of a pipe
        stream.append(NOW_MS, text)
        most = max(most, writer.statistics()["unflushed_bytes"])
        await asyncio.sleep(0)
    await writer.stop()
    statistics = writer.statistics()
    assert most <= 4_000_000
    assert statistics["unflushed_bytes"] == 0
    assert statistics["stored_bytes"] + statistics["dropped_bytes"] >= 1_000 * len(text)


async def test_a_single_chunk_above_the_bound_is_dropped_with_a_notice(engine: SqliteEngine, clock: SetClock) -> None:
    writer = LogWriter(LogStorage(engine), clock, unflushed_limit=10_000)
    a_stream(writer).append(NOW_MS, b"x\n" * 10_000)
    assert writer.statistics()["unflushed_bytes"] == 0
    await writer.flush()
    assert await messages(LogService(engine, clock)) == [
        "10000 log events dropped: more was written than could be stored in time\n"
    ]


async def test_short_pieces_outlive_a_flood(engine: SqliteEngine, clock: SetClock) -> None:
    writer = LogWriter(LogStorage(engine), clock, unflushed_limit=10_000)
    stream = a_stream(writer)
    for _ in range(10):
        stream.append(NOW_MS, b"START\n")
        stream.append(NOW_MS, b"x\n" * 4_000)
        stream.append(NOW_MS, b"REPORT\n")
    await writer.flush()
    kept = await messages(LogService(engine, clock))
    assert kept.count("START\n") == kept.count("REPORT\n") == 10
    assert kept[0].endswith("log events dropped: more was written than could be stored in time\n")


async def _turns() -> None:
    """Some turns of the event loop, in which a flush that was asked for begins."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_short_pieces_neither_hurry_the_storage_nor_take_room_from_large_ones(
    engine: SqliteEngine, clock: SetClock
) -> None:
    writer = LogWriter(LogStorage(engine), clock, unflushed_limit=100_000, flush_interval_s=3600)
    writer.start()
    stream = a_stream(writer)
    await _turns()  # the loop looks once when it starts
    for _ in range(700):
        stream.append(NOW_MS, b"START\n")
    await _turns()
    assert writer._flushing is None
    assert writer.statistics()["flushes"] == 0
    await writer.flush()

    for _ in range(700):
        stream.append(NOW_MS, b"START\n")
    for _ in range(9):
        stream.append(NOW_MS, b"x" * 9_999 + b"\n")
    await writer.stop()
    assert writer.statistics()["dropped_bytes"] == 0
    assert len(await messages(LogService(engine, clock))) == 1409


async def test_short_pieces_too_are_dropped_in_the_end(engine: SqliteEngine, clock: SetClock) -> None:
    writer = LogWriter(LogStorage(engine), clock, unflushed_limit=10_000)
    stream = a_stream(writer)
    for _ in range(1_000):
        stream.append(NOW_MS, b"short\n")
        assert writer.statistics()["unflushed_bytes"] <= 20_200
    await writer.flush()
    assert writer.statistics()["unflushed_bytes"] == 0


CHILD = """
import asyncio, sys, pathlib
from lambdad.clock import SystemClock
from lambdad.neighbours.logs.service import LogService
from lambdad.storage.sqlite import SqliteEngine

async def main():
    engine = await SqliteEngine.open(pathlib.Path(sys.argv[1]))
    logs = LogService(engine, SystemClock())
    logs.start()
    stream = logs.writer.stream("111111111111", "us-east-1", "/aws/lambda/f", "s")
    number = 0
    while True:
        stream.append(1_790_000_000_000, b"%d\\n" % number)
        number += 1
        if number % 100 == 0:
            await logs.writer.flush()
            print(number, flush=True)

asyncio.run(main())
"""


def kill_while_it_writes(folder: Path) -> int:
    """Runs the child, kills it, and returns how many lines it was sure of."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = 0
    while acknowledged < 2_000:
        acknowledged = int(child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    rest = child.stdout.read().split()
    child.wait()
    child.stdout.close()
    return int(rest[-1]) if rest else acknowledged


async def test_what_was_flushed_survives_a_kill(tmp_path: Path, clock: SetClock) -> None:
    acknowledged = await asyncio.to_thread(kill_while_it_writes, tmp_path)
    engine = await SqliteEngine.open(tmp_path)
    try:
        found = await messages(LogService(engine, clock))
    finally:
        await engine.close()
    assert len(found) >= acknowledged
    assert found == [f"{number}\n" for number in range(len(found))]
