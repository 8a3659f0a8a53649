"""SQLite behind the storage seam: WAL, synchronous=FULL, one writer thread with group commit, readers beside it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from lambdad.storage import migrations
from lambdad.storage.engine import NO_ARGS, DataFolderInUse, Job, Row, StorageError, StorageFull

T = TypeVar("T")

DATABASE_NAME = "lambdad.db"
LOCK_NAME = "lambdad.lock"
MAX_JOBS_PER_COMMIT = 512
READER_THREADS = 2


class _Transaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, sql: str, args: Mapping[str, Any] = NO_ARGS) -> list[Row]:
        return self._connection.execute(sql, args).fetchall()

    def one(self, sql: str, args: Mapping[str, Any] = NO_ARGS) -> Row | None:
        row: Row | None = self._connection.execute(sql, args).fetchone()
        return row

    def run(self, sql: str, args: Mapping[str, Any] = NO_ARGS) -> int:
        return self._connection.execute(sql, args).rowcount

    def run_many(self, sql: str, args: Sequence[Mapping[str, Any]]) -> None:
        self._connection.executemany(sql, args)


class _Pending:
    """A job on its way through the writer; answered on the loop that handed it in."""

    __slots__ = ("error", "future", "job", "result")

    def __init__(self, job: Job[Any], future: asyncio.Future[Any]) -> None:
        self.job = job
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def answer(self) -> None:
        if self.future.done():  # the caller was cancelled; the job stands all the same
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class SqliteEngine:
    """The embedded engine. Open it with `SqliteEngine.open(folder)` on the loop that will use it."""

    def __init__(self, folder: Path, lock_descriptor: int) -> None:
        self._path = folder / DATABASE_NAME
        self._lock_descriptor = lock_descriptor
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_loop, name="lambdad-writer", daemon=True)
        self._readers = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="lambdad-reader")
        self._local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []
        self._closed = False
        self._commits = 0
        self._done = 0
        self._failed_commits = 0

    @classmethod
    async def open(cls, folder: Path) -> SqliteEngine:
        """Creates or opens the database of a data folder and brings its schema up to date.

        Raises DataFolderInUse when another server has it, SchemaTooNew when a newer lambdad wrote it.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = cls(folder, _take_lock(folder))
        try:
            connection = _connect(engine._path)
            try:
                migrations.migrate(connection)
            finally:
                connection.close()
        except BaseException as error:
            os.close(engine._lock_descriptor)
            raise (_translate(error) if isinstance(error, sqlite3.Error) else error) from error
        engine._writer.start()
        return engine

    async def write(self, job: Job[T]) -> T:
        if self._closed:
            raise StorageError("The storage is closed: the server is stopping. Try again when it is up.")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Pending(job, future))
        return await future

    async def read(self, sql: str, args: Mapping[str, Any] = NO_ARGS) -> list[Row]:
        if self._closed:
            raise StorageError("The storage is closed: the server is stopping. Try again when it is up.")
        return await self._loop.run_in_executor(self._readers, self._read, sql, args)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._writer.join)
        self._readers.shutdown(wait=True)
        for connection in self._reader_connections:
            connection.close()
        os.close(self._lock_descriptor)

    def statistics(self) -> dict[str, float]:
        return {
            "commits": self._commits,
            "jobs": self._done,
            "failed_commits": self._failed_commits,
            "queued": self._jobs.qsize(),
        }

    # --- the writer's thread ---

    def _write_loop(self) -> None:
        connection = _connect(self._path)
        transaction = _Transaction(connection)
        stopping = False
        while not stopping:
            batch, stopping = self._next_batch()
            if not batch:
                continue
            try:
                self._run_batch(connection, transaction, batch)
                self._commits += 1
            except BaseException as error:  # the commit failed: nothing of the batch was kept, everyone is told
                self._failed_commits += 1
                _roll_back(connection)
                failure = _translate(error) if isinstance(error, sqlite3.Error) else error
                for pending in batch:
                    pending.error = failure
            self._done += len(batch)
            self._answer(batch)
        connection.close()

    def _next_batch(self) -> tuple[list[_Pending], bool]:
        batch: list[_Pending] = []
        item = self._jobs.get()
        while item is not None:
            batch.append(item)
            if len(batch) >= MAX_JOBS_PER_COMMIT:
                return batch, False
            try:
                item = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _run_batch(self, connection: sqlite3.Connection, transaction: _Transaction, batch: list[_Pending]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for pending in batch:
            # A savepoint for each job: one that fails undoes itself and does not spoil its batch.
            connection.execute("SAVEPOINT job")
            try:
                pending.result = pending.job(transaction)
            except BaseException as error:
                if not connection.in_transaction:  # SQLite has already undone everything, as it does on a full disk
                    raise
                connection.execute("ROLLBACK TO job")
                pending.error = _translate(error) if isinstance(error, sqlite3.Error) else error
            connection.execute("RELEASE job")
        connection.execute("COMMIT")

    def _answer(self, batch: list[_Pending]) -> None:
        def answer_all() -> None:
            for pending in batch:
                pending.answer()

        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            self._loop.call_soon_threadsafe(answer_all)

    # --- the readers' threads ---

    def _read(self, sql: str, args: Mapping[str, Any]) -> list[Row]:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = _connect(self._path, read_only=True)
            self._local.connection = connection
            self._reader_connections.append(connection)
        try:
            return connection.execute(sql, args).fetchall()
        except sqlite3.Error as error:
            raise _translate(error) from error


def _connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10, cached_statements=256)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA cache_size=-4096")
    if read_only:
        connection.execute("PRAGMA query_only=ON")
    os.chmod(path, 0o600)
    return connection


def _take_lock(folder: Path) -> int:
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise DataFolderInUse(
            f"Another lambdad (process {holder or 'unknown'}) uses the data folder {folder}. "
            "Stop it first, or give this one its own folder with --data."
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
    return descriptor


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _translate(error: sqlite3.Error) -> StorageError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL") or "disk is full" in str(error):
        return StorageFull("The disk of the data folder is full: nothing was stored. Free some space, then try again.")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StorageError(
            f"The database is damaged ({error}). Restore a copy of the data folder, or start with a new one by --data."
        )
    return StorageError(f"The database refused a statement: {error}")
