"""Tasks that move messages from a dead-letter queue, in storage. All functions are steps of a caller's job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lambdad.domain.queues import MoveStatus, MoveTask
from lambdad.storage.engine import Engine, Row, Transaction

_COLUMNS: Final = "id, source_arn, destination_arn, rate, status, started_ms, to_move, moved, failure"


def insert(tx: Transaction, task: MoveTask) -> None:
    tx.run(
        f"INSERT INTO queue_move_task ({_COLUMNS}) VALUES"
        " (:id, :source, :destination, :rate, :status, :started, :to_move, :moved, :failure)",
        {
            "id": task.id,
            "source": task.source_arn,
            "destination": task.destination_arn,
            "rate": task.rate,
            "status": task.status,
            "started": task.started_ms,
            "to_move": task.to_move,
            "moved": task.moved,
            "failure": task.failure,
        },
    )


def update(tx: Transaction, task_id: str, *, status: MoveStatus, moved: int, failure: str | None = None) -> None:
    """Sets the state of a task; `moved` is added to what it moved before."""
    tx.run(
        "UPDATE queue_move_task SET status = :status, moved = moved + :moved, failure = :failure WHERE id = :id",
        {"id": task_id, "status": status, "moved": moved, "failure": failure},
    )


def find(tx: Transaction, task_id: str) -> MoveTask | None:
    row = tx.one(f"SELECT {_COLUMNS} FROM queue_move_task WHERE id = :id", {"id": task_id})
    return None if row is None else _task(row)


def active(tx: Transaction, source_arn: str) -> bool:
    """Whether a task is moving messages of this queue."""
    return (
        tx.one(
            "SELECT 1 FROM queue_move_task WHERE status = 'RUNNING' AND source_arn = :arn LIMIT 1",
            {"arn": source_arn},
        )
        is not None
    )


async def running(engine: Engine) -> Sequence[MoveTask]:
    """All tasks that are not at their end, oldest first."""
    rows = await engine.read(f"SELECT {_COLUMNS} FROM queue_move_task WHERE status = 'RUNNING' ORDER BY started_ms")
    return [_task(row) for row in rows]


async def latest(engine: Engine, source_arn: str, limit: int) -> Sequence[MoveTask]:
    """The most recent tasks of a queue, latest first."""
    rows = await engine.read(
        f"SELECT {_COLUMNS} FROM queue_move_task WHERE source_arn = :arn ORDER BY started_ms DESC, id LIMIT :limit",
        {"arn": source_arn, "limit": limit},
    )
    return [_task(row) for row in rows]


def forget_old(tx: Transaction, source_arn: str, keep: int) -> None:
    """Removes all but the latest tasks of a queue."""
    tx.run(
        "DELETE FROM queue_move_task WHERE source_arn = :arn AND id NOT IN"
        " (SELECT id FROM queue_move_task WHERE source_arn = :arn ORDER BY started_ms DESC, id LIMIT :keep)",
        {"arn": source_arn, "keep": keep},
    )


def _task(row: Row) -> MoveTask:
    id_, source_arn, destination_arn, rate, status, started_ms, to_move, moved, failure = row
    return MoveTask(
        id=id_,
        source_arn=source_arn,
        destination_arn=destination_arn,
        rate=rate,
        status=MoveStatus(status),
        started_ms=started_ms,
        to_move=to_move,
        moved=moved,
        failure=failure,
    )
