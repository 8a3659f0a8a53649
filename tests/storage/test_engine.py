"""The engine: group commit, failures, refusals, and what survives a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambdad.storage import migrations
from lambdad.storage.engine import DataFolderInUse, Job, SchemaTooNew, StorageError, StorageFull, Transaction
from lambdad.storage.sqlite import DATABASE_NAME, SqliteEngine

PUT = "INSERT INTO setting (name, value) VALUES (:name, :value)"
COUNT = "SELECT COUNT(*) FROM setting"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path)
    yield engine
    await engine.close()


def put(name: str, value: str = "") -> Job[int]:
    return lambda tx: tx.run(PUT, {"name": name, "value": value})


class Gate:
    """A job that holds the writer's thread, so that others queue behind it."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, tx: Transaction) -> None:
        self._entered.set()
        self._open.wait(10)

    def open(self) -> None:
        self._open.set()

    async def hold(self, engine: SqliteEngine) -> asyncio.Task[None]:
        """Returns once the writer is held."""
        task = asyncio.create_task(engine.write(self))
        assert await asyncio.to_thread(self._entered.wait, 10)
        return task


async def test_a_write_is_seen_by_a_later_read(engine: SqliteEngine) -> None:
    assert await engine.write(put("a", "1")) == 1
    assert await engine.read("SELECT name, value FROM setting") == [("a", "1")]


async def test_jobs_that_queue_share_a_commit(engine: SqliteEngine) -> None:
    gate = Gate()
    first = await gate.hold(engine)
    others = [asyncio.create_task(engine.write(put(str(number)))) for number in range(100)]
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(first, *others)
    assert engine.statistics() == {"commits": 2, "jobs": 101, "failed_commits": 0, "queued": 0}


async def test_nothing_is_answered_or_read_before_the_commit(engine: SqliteEngine) -> None:
    entered, leave = threading.Event(), threading.Event()

    def job(tx: Transaction) -> None:
        tx.run(PUT, {"name": "a", "value": ""})
        entered.set()
        leave.wait(10)

    task = asyncio.create_task(engine.write(job))
    assert await asyncio.to_thread(entered.wait, 10)
    assert await engine.read(COUNT) == [(0,)]
    assert not task.done()
    leave.set()
    await task
    assert await engine.read(COUNT) == [(1,)]


async def test_a_failing_job_fails_alone(engine: SqliteEngine) -> None:
    gate = Gate()
    held = await gate.hold(engine)

    def half(tx: Transaction) -> None:
        tx.run(PUT, {"name": "half", "value": ""})
        raise KeyError("half")

    tasks = [asyncio.create_task(engine.write(job)) for job in (put("a"), half, put("b"), put("a"), put("c"))]
    await asyncio.sleep(0)
    gate.open()
    await held
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [int, KeyError, int, StorageError, int]
    assert await engine.read("SELECT name FROM setting ORDER BY name") == [("a",), ("b",), ("c",)]


async def test_a_cancelled_caller_does_not_undo_its_job(engine: SqliteEngine) -> None:
    gate = Gate()
    held = await gate.hold(engine)
    task = asyncio.create_task(engine.write(put("a")))
    await asyncio.sleep(0)
    task.cancel()
    gate.open()
    await held
    await engine.write(lambda tx: None)
    assert await engine.read(COUNT) == [(1,)]


def _limit_pages(pages: int) -> Job[None]:
    def job(tx: Transaction) -> None:
        tx.all(f"PRAGMA max_page_count = {pages}")

    return job


async def test_a_full_disk_fails_the_batch_and_the_next_write_works(engine: SqliteEngine) -> None:
    await engine.write(put("kept"))
    await engine.write(_limit_pages(1))  # SQLite takes what the file has already
    with pytest.raises(StorageFull, match="disk of the data folder is full"):
        await engine.write(put("big", "x" * 1_000_000))
    await engine.write(_limit_pages(1_000_000))
    await engine.write(put("after"))
    assert await engine.read("SELECT name FROM setting ORDER BY name") == [("after",), ("kept",)]


async def test_reads_do_not_write(engine: SqliteEngine) -> None:
    with pytest.raises(StorageError):
        await engine.read("DELETE FROM setting")


async def test_a_closed_engine_says_so(tmp_path: Path) -> None:
    engine = await SqliteEngine.open(tmp_path)
    pending = asyncio.create_task(engine.write(put("a")))
    await asyncio.sleep(0)
    await engine.close()
    assert await pending == 1  # what was handed in before is finished
    for call in (engine.write(put("b")), engine.read(COUNT)):
        with pytest.raises(StorageError, match="server is stopping"):
            await call
    await engine.close()


async def test_a_second_server_is_refused(engine: SqliteEngine, tmp_path: Path) -> None:
    with pytest.raises(DataFolderInUse, match=f"process {os.getpid()}.*{tmp_path}"):
        await SqliteEngine.open(tmp_path)


async def test_the_folder_is_free_again_after_closing(tmp_path: Path) -> None:
    for _ in range(2):
        engine = await SqliteEngine.open(tmp_path)
        await engine.close()


async def test_data_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    await (await SqliteEngine.open(tmp_path)).close()
    newer = len(migrations.modules()) + 1
    with sqlite3.connect(tmp_path / DATABASE_NAME) as connection:
        connection.execute(f"PRAGMA user_version = {newer}")
    for _ in range(2):  # the refusal does not keep the folder locked
        with pytest.raises(SchemaTooNew, match=f"schema version {newer}, this lambdad knows {newer - 1}"):
            await SqliteEngine.open(tmp_path)
    with sqlite3.connect(tmp_path / DATABASE_NAME) as connection:
        connection.execute(f"PRAGMA user_version = {newer - 1}")
    await (await SqliteEngine.open(tmp_path)).close()


async def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(b"this is no database" * 1000)
    with pytest.raises(StorageError, match="damaged"):
        await SqliteEngine.open(tmp_path)


async def test_an_older_schema_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = migrations.modules()
    monkeypatch.setattr(migrations, "modules", lambda: names[:1])
    engine = await SqliteEngine.open(tmp_path)
    await engine.write(put("old"))
    await engine.close()
    monkeypatch.setattr(migrations, "modules", lambda: names)
    engine = await SqliteEngine.open(tmp_path)
    assert await engine.read("PRAGMA user_version") == [(len(names),)]
    assert await engine.read(COUNT) == [(1,)]
    await engine.close()


async def test_the_database_is_private(engine: SqliteEngine, tmp_path: Path) -> None:
    assert (tmp_path / DATABASE_NAME).stat().st_mode & 0o777 == 0o600


_WRITER = """
import asyncio, sys
from pathlib import Path
from lambdad.storage.sqlite import SqliteEngine

async def main():
    engine = await SqliteEngine.open(Path(sys.argv[1]))
    async def write(lane):
        number = 0
        while True:
            name = f"{lane}-{number}"
            await engine.write(lambda tx: tx.run("INSERT INTO setting VALUES (:name, '')", {"name": name}))
            print(name, flush=True)  # acknowledged
            number += 1
    await asyncio.gather(*(write(lane) for lane in range(20)))

asyncio.run(main())
"""


def _write_until_killed(folder: Path) -> list[str]:
    command = [sys.executable, "-c", _WRITER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(500)]
        os.kill(writer.pid, signal.SIGKILL)
        return acknowledged + [line.strip() for line in writer.stdout if line.endswith("\n")]


async def test_a_kill_loses_no_acknowledged_write(tmp_path: Path) -> None:
    acknowledged = _write_until_killed(tmp_path)
    engine = await SqliteEngine.open(tmp_path)
    stored = {row[0] for row in await engine.read("SELECT name FROM setting")}
    await engine.close()
    assert len(acknowledged) >= 500
    assert set(acknowledged) <= stored
