"""Log groups and streams in storage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lambdad.domain.logs import LogGroup, LogStreamState
from lambdad.storage.engine import Engine, Row, Transaction

_GROUP: Final = (
    "SELECT id, account, region, name, created_ms, retention_days, group_class, kms_key, deletion_protected, tags"
    " FROM log_group WHERE account = :account AND region = :region"
)
_STREAM: Final = (
    "SELECT id, name, created_ms, first_event_ms, last_event_ms, last_ingestion_ms FROM log_stream"
    " WHERE group_id = :group_id"
)
_LAST_CHARACTER: Final = "\U0010ffff"


class LogGroupStorage:
    """Groups and streams by name. Pages continue behind the last name or time of the page before."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create_group(self, group: LogGroup) -> bool:
        """False if there is one of this name; the value's id does not count."""
        args = {
            "account": group.account,
            "region": group.region,
            "name": group.name,
            "created_ms": group.created_ms,
            "group_class": group.group_class,
            "kms_key": group.kms_key,
            "deletion_protected": int(group.deletion_protected),
            "tags": json.dumps(dict(group.tags)),
        }
        created = await self._engine.write(
            lambda tx: tx.run(
                "INSERT INTO log_group"
                " (account, region, name, created_ms, group_class, kms_key, deletion_protected, tags)"
                " VALUES (:account, :region, :name, :created_ms, :group_class, :kms_key, :deletion_protected, :tags)"
                " ON CONFLICT (account, region, name) DO NOTHING",
                args,
            )
        )
        return created == 1

    async def group(self, account: str, region: str, name: str) -> LogGroup | None:
        """The group of this name."""
        rows = await self._engine.read(
            f"{_GROUP} AND name = :name", {"account": account, "region": region, "name": name}
        )
        return _group_of(rows[0]) if rows else None

    async def groups(
        self,
        account: str,
        region: str,
        *,
        after: str = "",
        prefix: str = "",
        substring: str = "",
        group_class: str | None = None,
        names: Sequence[str] | None = None,
        limit: int,
    ) -> list[LogGroup]:
        """Groups by name, ascending; only those that fit all conditions."""
        args: dict[str, Any] = {"account": account, "region": region, "after": after, "limit": limit}
        sql = f"{_GROUP} AND name > :after"
        if prefix:
            sql += " AND name >= :prefix AND name < :prefix_end"
            args |= {"prefix": prefix, "prefix_end": prefix + _LAST_CHARACTER}
        if substring:
            sql += " AND replace(name, :substring, '') <> name"  # with regard to case, unlike LIKE
            args["substring"] = substring
        if group_class is not None:
            sql += " AND group_class = :group_class"
            args["group_class"] = group_class
        if names is not None:
            sql += f" AND name IN ({', '.join(f':name{number}' for number in range(len(names)))})"
            args |= {f"name{number}": name for number, name in enumerate(names)}
        return [_group_of(row) for row in await self._engine.read(f"{sql} ORDER BY name LIMIT :limit", args)]

    async def delete_group(self, group_id: int) -> None:
        """The group and its streams are gone at once; `LogStorage.remove_garbage` removes their events."""

        def job(tx: Transaction) -> None:
            args = {"id": group_id}
            if tx.run("DELETE FROM log_group WHERE id = :id", args):
                tx.run("INSERT INTO log_garbage (group_id) VALUES (:id)", args)

        await self._engine.write(job)

    async def set_retention(self, group_id: int, days: int | None) -> None:
        """None keeps events for ever."""
        await self._engine.write(
            lambda tx: tx.run(
                "UPDATE log_group SET retention_days = :days WHERE id = :id", {"id": group_id, "days": days}
            )
        )

    async def change_tags(self, group_id: int, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
        """Replaces the tags by what `change` makes of them; if it raises, they stay and this raises the same."""

        def job(tx: Transaction) -> None:
            row = tx.one("SELECT tags FROM log_group WHERE id = :id", {"id": group_id})
            if row is not None:
                tags = json.dumps(change(json.loads(row[0])))
                tx.run("UPDATE log_group SET tags = :tags WHERE id = :id", {"id": group_id, "tags": tags})

        await self._engine.write(job)

    async def create_stream(self, group_id: int, name: str, now_ms: int) -> bool:
        """False if the group has one of this name."""
        args = {"group_id": group_id, "name": name, "now": now_ms}
        created = await self._engine.write(
            lambda tx: tx.run(
                "INSERT INTO log_stream (group_id, name, created_ms) SELECT id, :name, :now FROM log_group"
                " WHERE id = :group_id ON CONFLICT (group_id, name) DO NOTHING",
                args,
            )
        )
        return created == 1

    async def stream(self, group_id: int, name: str) -> LogStreamState | None:
        """The stream of this name."""
        rows = await self._engine.read(f"{_STREAM} AND name = :name", {"group_id": group_id, "name": name})
        return LogStreamState(**_stream_members(rows[0])) if rows else None

    async def missing_streams(self, group_id: int, names: Sequence[str]) -> set[str]:
        """Those of the names that the group has no stream of."""
        args: Mapping[str, Any] = {"group_id": group_id} | {f"name{at}": name for at, name in enumerate(names)}
        placeholders = ", ".join(f":name{number}" for number in range(len(names)))
        rows = await self._engine.read(f"{_STREAM} AND name IN ({placeholders})", args)
        return set(names) - {row[1] for row in rows}

    async def streams(
        self,
        group_id: int,
        *,
        prefix: str = "",
        by_last_event: bool = False,
        descending: bool = False,
        after: tuple[int, str] | None = None,
        limit: int,
    ) -> list[LogStreamState]:
        """Streams by name, or by the time of their last event and then by name; ones without events count as time 0.

        `after` is the time (0 when by name) and name of the last stream of the page before.
        """
        args: dict[str, Any] = {"group_id": group_id, "limit": limit}
        sql = _STREAM
        key = "coalesce(last_event_ms, 0)" if by_last_event else "0"
        if prefix:
            sql += " AND name >= :prefix AND name < :prefix_end"
            args |= {"prefix": prefix, "prefix_end": prefix + _LAST_CHARACTER}
        if after is not None:
            comparison = "<" if descending else ">"
            sql += f" AND ({key}, name) {comparison} (:after_ms, :after_name)"
            args |= {"after_ms": after[0], "after_name": after[1]}
        direction = "DESC" if descending else "ASC"
        order = f"{key} {direction}, name {direction}" if by_last_event else f"name {direction}"
        rows = await self._engine.read(f"{sql} ORDER BY {order} LIMIT :limit", args)
        return [LogStreamState(**_stream_members(row)) for row in rows]

    async def delete_stream(self, stream_id: int) -> None:
        """The stream is gone at once; `LogStorage.remove_garbage` removes its events."""

        def job(tx: Transaction) -> None:
            args = {"id": stream_id}
            if tx.run("DELETE FROM log_stream WHERE id = :id", args):
                tx.run("INSERT INTO log_garbage (stream_id) VALUES (:id)", args)

        await self._engine.write(job)


def _group_of(row: Row) -> LogGroup:
    return LogGroup(
        id=row[0],
        account=row[1],
        region=row[2],
        name=row[3],
        created_ms=row[4],
        retention_days=row[5],
        group_class=row[6],
        kms_key=row[7],
        deletion_protected=bool(row[8]),
        tags=json.loads(row[9]),
    )


def _stream_members(row: Row) -> dict[str, Any]:
    names = ("id", "name", "created_ms", "first_event_ms", "last_event_ms", "last_ingestion_ms")
    return dict(zip(names, row, strict=True))
