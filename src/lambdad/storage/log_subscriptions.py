"""Subscription filters in storage, and the new segments of their groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from lambdad.domain.log_subscriptions import Subscription, SubscriptionFilter
from lambdad.domain.logs import LogEvent, Position
from lambdad.storage.engine import Engine, Row, Transaction
from lambdad.storage.log_segments import unpack

_FILTER: Final = "f.name, f.pattern, f.destination, f.distribution, f.created_ms"


class NewSegment(NamedTuple):
    """A packed row of a group."""

    id: int
    group_id: int
    stream: str
    first_ms: int
    ingested_ms: int
    data: bytes

    def events(self) -> list[LogEvent]:
        """Takes time for large segments: call it in a thread."""
        return [
            LogEvent(Position(stamp, self.id, number), self.stream, raw.decode("utf-8", "replace"), self.ingested_ms)
            for number, (stamp, raw) in enumerate(unpack(self.first_ms, self.data))
        ]


def put(tx: Transaction, group_id: int, one: SubscriptionFilter, limit: int) -> bool:
    """Inserts or replaces a filter; it begins with what comes from now on. False when the group has `limit` others."""
    names = {name for (name,) in tx.all("SELECT name FROM log_subscription WHERE group_id = :id", {"id": group_id})}
    if one.name not in names and len(names) >= limit:
        return False
    tx.run(
        "INSERT OR REPLACE INTO log_subscription"
        " (group_id, name, pattern, destination, distribution, created_ms, delivered_segment)"
        " VALUES (:group_id, :name, :pattern, :destination, :distribution, :created,"
        " COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'log_segment'), 0))",
        {
            "group_id": group_id,
            "name": one.name,
            "pattern": one.pattern,
            "destination": one.destination,
            "distribution": one.distribution,
            "created": one.created_ms,
        },
    )
    return True


def delete(tx: Transaction, group_id: int, name: str) -> bool:
    """False if there was none."""
    args = {"id": group_id, "name": name}
    return tx.run("DELETE FROM log_subscription WHERE group_id = :id AND name = :name", args) > 0


async def listing(engine: Engine, group_id: int, *, prefix: str, after: str, limit: int) -> list[SubscriptionFilter]:
    """Filters of a group by name, behind `after`."""
    rows = await engine.read(
        f"SELECT {_FILTER} FROM log_subscription f WHERE f.group_id = :id AND f.name > :after"
        " AND substr(f.name, 1, length(:prefix)) = :prefix ORDER BY f.name LIMIT :limit",
        {"id": group_id, "after": after, "prefix": prefix, "limit": limit},
    )
    return [_filter(row) for row in rows]


async def everything(engine: Engine) -> list[Subscription]:
    """Every filter of every group."""
    rows = await engine.read(
        f"SELECT {_FILTER}, g.id, g.account, g.region, g.name, f.delivered_segment"
        " FROM log_subscription f JOIN log_group g ON g.id = f.group_id ORDER BY g.id, f.name"
    )
    return [
        Subscription(
            filter=_filter(row[:5]),
            group_id=row[5],
            account=row[6],
            region=row[7],
            group=row[8],
            delivered_segment=row[9],
        )
        for row in rows
    ]


async def last_segment(engine: Engine) -> int:
    """The last id that a segment got."""
    rows = await engine.read("SELECT seq FROM sqlite_sequence WHERE name = 'log_segment'")
    return int(rows[0][0]) if rows else 0


async def new_segments(
    engine: Engine, group_ids: Iterable[int], *, after: int, until: int, limit: int
) -> list[NewSegment]:
    """Segments of these groups, as they were stored."""
    groups = ", ".join(str(int(group_id)) for group_id in sorted(group_ids))
    rows = await engine.read(
        "SELECT g.id, g.group_id, s.name, g.first_ms, g.ingested_ms, g.data"
        " FROM log_segment g CROSS JOIN log_stream s WHERE s.id = g.stream_id"
        f" AND g.id > :after AND g.id <= :until AND +g.group_id IN ({groups}) ORDER BY g.id LIMIT :limit",
        {"after": after, "until": until, "limit": limit},
    )
    return [NewSegment(*row) for row in rows]


def advance(tx: Transaction, until: int) -> None:
    """What is up to this segment was handed over."""
    tx.run("UPDATE log_subscription SET delivered_segment = :until WHERE delivered_segment < :until", {"until": until})


def _filter(row: Row) -> SubscriptionFilter:
    name, pattern, destination, distribution, created_ms = row
    return SubscriptionFilter(
        name=name, pattern=pattern, destination=destination, distribution=distribution, created_ms=created_ms
    )
