"""The storage seam: everything above it is the same over SQLite and over a database server.

One writer runs jobs in transactions, several jobs to a commit: whatever queued while the last commit ran shares the
next one (group commit). A job's future is answered only after the commit, so an acknowledged write is on disk.
Statements use named parameters, `:name`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from lambdad.domain.errors import LambdadError

T = TypeVar("T")
Row = tuple[Any, ...]
NO_ARGS: Mapping[str, Any] = {}


class StorageError(LambdadError):
    """The storage cannot be used; the message says what to do."""


class StorageFull(StorageError):
    """The disk is full: nothing of the job was kept."""


class SchemaTooNew(StorageError):
    """The data was written by a newer lambdad."""


class DataFolderInUse(StorageError):
    """Another server works on this data folder."""


class Transaction(Protocol):
    """What a job sees: statements of one transaction, on the writer's thread."""

    def all(self, sql: str, args: Mapping[str, Any] = NO_ARGS) -> list[Row]:
        """Every row of a query, or of a statement with RETURNING."""

    def one(self, sql: str, args: Mapping[str, Any] = NO_ARGS) -> Row | None:
        """The first row, None if there is none."""

    def run(self, sql: str, args: Mapping[str, Any] = NO_ARGS) -> int:
        """Executes a statement; the number of rows it changed."""

    def run_many(self, sql: str, args: Sequence[Mapping[str, Any]]) -> None:
        """Executes one statement for each set of arguments."""


Job = Callable[[Transaction], T]


class Engine(Protocol):
    """One open database."""

    async def write(self, job: Job[T]) -> T:
        """Runs `job` in a transaction and returns its result once that is committed.

        An exception of the job undoes the job alone and is raised here. Raises StorageFull when the disk is full.
        A caller that is cancelled does not undo a job that has begun.
        """

    async def read(self, sql: str, args: Mapping[str, Any] = NO_ARGS) -> list[Row]:
        """Rows of the last committed state; never waits for the writer."""

    async def close(self) -> None:
        """Finishes the jobs that were handed in, then closes."""

    def statistics(self) -> dict[str, float]:
        """Counts since the start: commits, jobs, failed_commits; and queued jobs now."""
