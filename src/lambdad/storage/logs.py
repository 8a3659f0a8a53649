"""CloudWatch Logs in storage: appending what streams have gathered, and removing what has expired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from lambdad.storage.engine import Engine, Transaction
from lambdad.storage.log_segments import Segment

_DAY_MS: Final = 86_400_000
_DELETE_STEP: Final = 500
"""Segments removed in one transaction, so that other writers never wait long."""


@dataclass(frozen=True, slots=True)
class StreamName:
    """A stream by name."""

    account: str
    region: str
    group: str
    stream: str


@dataclass(frozen=True, slots=True)
class StreamIds:
    """A stream by its row ids, which are never used again."""

    group_id: int
    stream_id: int


@dataclass(slots=True)
class StreamBatch:
    """What one stream has gathered since the last flush."""

    name: StreamName
    ids: StreamIds | None
    """As the last flush returned them."""
    segments: Sequence[Segment]


class LogStorage:
    """The part of the log store that writes in bulk."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def append(self, batches: Sequence[StreamBatch], now_ms: int) -> list[StreamIds]:
        """Stores all batches in one transaction; groups and streams that are missing are created."""

        def job(tx: Transaction) -> list[StreamIds]:
            return [append_in(tx, batch, now_ms) for batch in batches]

        return await self._engine.write(job)

    async def add(self, ids: StreamIds, segments: Sequence[Segment], now_ms: int) -> bool:
        """Stores segments of a stream that must exist; False if it has been deleted."""

        def job(tx: Transaction) -> bool:
            if not _touch(tx, ids, _times_of(segments, now_ms)):
                return False
            insert_segments(tx, ids, segments, now_ms)
            return True

        return await self._engine.write(job)

    async def remove_expired(self, now_ms: int) -> int:
        """Deletes segments that are older than their group's retention; the number of segments."""
        removed = 0
        groups = await self._engine.read("SELECT id, retention_days FROM log_group WHERE retention_days IS NOT NULL")
        for group_id, days in groups:
            args = {"group_id": group_id, "cutoff": now_ms - days * _DAY_MS}
            removed += await self._remove("group_id = :group_id AND first_ms < :cutoff AND last_ms < :cutoff", args)
        return removed

    async def remove_garbage(self) -> int:
        """Deletes the segments of deleted groups and streams; the number of segments."""
        removed = 0
        for garbage_id, group_id, stream_id in await self._engine.read(
            "SELECT id, group_id, stream_id FROM log_garbage ORDER BY id"
        ):
            condition = "group_id = :owner" if stream_id is None else "stream_id = :owner"
            removed += await self._remove(condition, {"owner": group_id if stream_id is None else stream_id})
            await self._engine.write(partial(_forget_garbage, garbage_id))
        return removed

    async def _remove(self, condition: str, args: Mapping[str, int]) -> int:
        # The condition is one of the constants above.
        statement = (
            f"DELETE FROM log_segment WHERE id IN (SELECT id FROM log_segment WHERE {condition} LIMIT {_DELETE_STEP})"
        )
        removed = 0
        while True:
            step = await self._engine.write(lambda tx: tx.run(statement, args))
            removed += step
            if step < _DELETE_STEP:
                return removed


def has_group(tx: Transaction, account: str, region: str, name: str) -> bool:
    """Whether there is a log group of this name."""
    args = {"account": account, "region": region, "name": name}
    sql = "SELECT 1 FROM log_group WHERE account = :account AND region = :region AND name = :name"
    return tx.one(sql, args) is not None


def append_in(tx: Transaction, batch: StreamBatch, now_ms: int) -> StreamIds:
    """Stores what a stream has gathered, in a transaction of the caller's; group and stream are made if missing."""
    times = _times_of(batch.segments, now_ms)
    ids = batch.ids
    if ids is None or not _touch(tx, ids, times):  # deleted while in use: it is created again, as AWS does
        ids = ensure_stream(tx, batch.name, now_ms)
        _touch(tx, ids, times)
    insert_segments(tx, ids, batch.segments, now_ms)
    return ids


def _forget_garbage(garbage_id: int, tx: Transaction) -> None:
    tx.run("DELETE FROM log_garbage WHERE id = :id", {"id": garbage_id})


def insert_segments(tx: Transaction, ids: StreamIds, segments: Sequence[Segment], now_ms: int) -> None:
    """Adds rows to a stream that exists."""
    tx.run_many(
        "INSERT INTO log_segment (group_id, stream_id, first_ms, last_ms, ingested_ms, bytes, data)"
        " VALUES (:group_id, :stream_id, :first, :last, :now, :bytes, :data)",
        [
            {
                "group_id": ids.group_id,
                "stream_id": ids.stream_id,
                "first": segment.first_ms,
                "last": segment.last_ms,
                "now": now_ms,
                "bytes": segment.size,
                "data": segment.data,
            }
            for segment in segments
        ],
    )


def _times_of(segments: Sequence[Segment], now_ms: int) -> dict[str, int]:
    return {
        "first": min(segment.first_ms for segment in segments),
        "last": max(segment.last_ms for segment in segments),
        "now": now_ms,
    }


def _touch(tx: Transaction, ids: StreamIds, times: Mapping[str, int]) -> bool:
    """Notes the new events' times in their stream; False if the stream is gone."""
    changed = tx.run(
        "UPDATE log_stream SET last_ingestion_ms = :now,"
        " first_event_ms = CASE WHEN first_event_ms <= :first THEN first_event_ms ELSE :first END,"
        " last_event_ms = CASE WHEN last_event_ms >= :last THEN last_event_ms ELSE :last END"
        " WHERE id = :id",
        {"id": ids.stream_id, **times},
    )
    return changed == 1


def ensure_stream(tx: Transaction, name: StreamName, now_ms: int) -> StreamIds:
    """The ids of a stream, which is created with its group if missing."""
    args = {"account": name.account, "region": name.region, "name": name.group, "now": now_ms}
    tx.run(
        "INSERT INTO log_group (account, region, name, created_ms) VALUES (:account, :region, :name, :now)"
        " ON CONFLICT (account, region, name) DO NOTHING",
        args,
    )
    group = tx.one("SELECT id FROM log_group WHERE account = :account AND region = :region AND name = :name", args)
    assert group is not None
    stream_args = {"group_id": group[0], "name": name.stream, "now": now_ms}
    tx.run(
        "INSERT INTO log_stream (group_id, name, created_ms) VALUES (:group_id, :name, :now)"
        " ON CONFLICT (group_id, name) DO NOTHING",
        stream_args,
    )
    stream = tx.one("SELECT id FROM log_stream WHERE group_id = :group_id AND name = :name", stream_args)
    assert stream is not None
    return StreamIds(group[0], stream[0])
