"""Reading stored log events: pages in the order of time, whatever the size of the log.

Memory is bounded by a page and a handful of segments. Segments are visited in the order in which they begin; because
none spans more than MAX_SPAN_MS, a page is complete as soon as the next segment begins behind its last event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from lambdad.domain.logs import FIRST_POSITION, LAST_POSITION, LogEvent, Position
from lambdad.storage.engine import Engine, Row
from lambdad.storage.log_segments import MAX_SPAN_MS, unpack

PAGE_BYTES: Final = 1_048_576
"""Messages of one page, each with 26 bytes more; a page holds at least one event (AWS: model of GetLogEvents)."""
SCAN_BYTES: Final = 32 * 1024 * 1024
"""After this much uncompressed text a page ends, even if nothing matched; it says where to go on."""
_EVENT_OVERHEAD: Final = 26
_SEGMENT_COST: Final = 2_048
"""Bytes of text that can be searched in the time that a segment takes by itself."""
_READ_BYTES: Final = 1024 * 1024
_READ_ROWS: Final = (4, 64)
TIME_LIMIT: Final = 2**62
"""Behind all times, in Unix ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Which events, and which part of them."""

    group_id: int
    stream_id: int | None = None
    stream_names: Sequence[str] = ()
    """Any of these; empty for all."""
    stream_prefix: str = ""
    start_ms: int = 0
    end_ms: int = TIME_LIMIT
    """The last moment that counts."""
    after: Position = FIRST_POSITION
    before: Position = LAST_POSITION
    """Only events between the two, both excluded."""
    descending: bool = False
    matches: Callable[[str], bool] | None = None
    limit: int = 10_000


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in the order that was asked for."""

    events: list[LogEvent]
    position: Position | None
    """Where the next page begins: its `after`, or `before` when descending. None if there is no more."""


class LogEventStorage:
    """Pages of events."""

    def __init__(self, engine: Engine, *, page_bytes: int = PAGE_BYTES, scan_bytes: int = SCAN_BYTES) -> None:
        self._engine = engine
        self._page_bytes = page_bytes
        self._scan_bytes = scan_bytes

    async def page(self, query: EventQuery) -> EventPage:
        """One page; splitting segments into events and matching them happens in a thread."""
        loop = asyncio.get_running_loop()
        page = _Page(query, self._page_bytes)
        segments = _Segments(self._engine, query)
        scanned = 0
        while rows := await segments.next_rows(page.worst_ms):
            frontier = page.frontier(rows[0])
            if page.is_complete_before(frontier):
                break
            if scanned > self._scan_bytes and page.is_progress(frontier):
                return page.result_before(frontier)
            scanned += sum(row[_BYTES] + _SEGMENT_COST for row in rows)
            await loop.run_in_executor(None, page.scan, rows)
        return page.result()


_SELECT: Final = (
    "SELECT g.id, g.first_ms, g.ingested_ms, g.bytes, s.name, g.data"
    # CROSS JOIN keeps the segments outside: they are read in the order of their index and only as far as needed.
    # The join leaves out what deleted streams have left behind.
    " FROM log_segment g CROSS JOIN log_stream s WHERE s.id = g.stream_id"
    " AND g.last_ms >= :start AND g.first_ms >= :floor AND g.first_ms <= :end"
)
_ID, _FIRST_MS, _INGESTED_MS, _BYTES, _NAME, _DATA = range(6)


class _Segments:
    """The rows that may hold wanted events, some at a time, by their first time."""

    def __init__(self, engine: Engine, query: EventQuery) -> None:
        self._engine = engine
        self._descending = query.descending
        self._rows = _READ_ROWS[0]
        start = max(query.start_ms, query.after.timestamp_ms)
        end = min(query.end_ms, query.before.timestamp_ms, TIME_LIMIT)
        self._args: dict[str, Any] = {"start": start, "floor": start - MAX_SPAN_MS, "end": end}
        sql = _SELECT
        if query.stream_id is not None:
            sql += " AND g.stream_id = :stream_id"
            self._args["stream_id"] = query.stream_id
        else:
            sql += " AND g.group_id = :group_id"
            self._args["group_id"] = query.group_id
        if query.stream_names:
            sql += f" AND s.name IN ({', '.join(f':name{number}' for number in range(len(query.stream_names)))})"
            self._args |= {f"name{number}": name for number, name in enumerate(query.stream_names)}
        if query.stream_prefix:
            sql += " AND s.name >= :prefix AND s.name < :prefix_end"
            self._args |= {"prefix": query.stream_prefix, "prefix_end": query.stream_prefix + "\U0010ffff"}
        if self._descending:
            sql += " AND (g.first_ms, g.id) < (:at_ms, :at_id) ORDER BY g.first_ms DESC, g.id DESC"
            self._args |= {"at_ms": end, "at_id": TIME_LIMIT}
        else:
            sql += " AND (g.first_ms, g.id) > (:at_ms, :at_id) ORDER BY g.first_ms, g.id"
            self._args |= {"at_ms": start - MAX_SPAN_MS, "at_id": 0}
        self._sql = f"{sql} LIMIT :rows"

    async def next_rows(self, worst_ms: int | None) -> list[Row]:
        """The next rows; `worst_ms` is the time of the last event of a full page, behind which nothing counts."""
        if worst_ms is not None:
            if self._descending:
                self._args |= {"start": worst_ms, "floor": worst_ms - MAX_SPAN_MS}
            else:
                self._args["end"] = worst_ms
        self._args["rows"] = self._rows
        rows = await self._engine.read(self._sql, dict(self._args))
        if rows:
            self._args["at_ms"], self._args["at_id"] = rows[-1][_FIRST_MS], rows[-1][_ID]
            # The same for SQLite, which takes the plain condition for its index and would count off all rows before.
            bound = "end" if self._descending else "floor"
            self._args[bound] = rows[-1][_FIRST_MS]
            # Small segments are read many at a time, large ones few.
            average = sum(row[_BYTES] for row in rows) // len(rows) + 1
            self._rows = min(max(_READ_BYTES // average, _READ_ROWS[0]), _READ_ROWS[1])
        return rows


class _Page:
    """The best events found so far: at most one more than a page holds."""

    def __init__(self, query: EventQuery, page_bytes: int) -> None:
        self._query = query
        self._page_bytes = page_bytes
        self._descending = query.descending
        self._events: list[LogEvent] = []
        self._bytes = 0
        self._worst: Position | None = None
        """The last event kept, once there are others behind it."""
        self._low = max(Position(query.start_ms, 0, 0), query.after)
        self._high = min(Position(query.end_ms + 1, 0, 0), query.before)

    @property
    def worst_ms(self) -> int | None:
        """Once the page is full, the time behind which no event comes into it any more."""
        return None if self._worst is None else self._worst.timestamp_ms

    def frontier(self, row: Row) -> int:
        """With all rows before this one visited: every event before this time has been seen (descending: behind it)."""
        first_ms: int = row[_FIRST_MS]
        return first_ms + MAX_SPAN_MS if self._descending else first_ms

    def is_complete_before(self, frontier: int) -> bool:
        worst = self.worst_ms
        return worst is not None and (worst > frontier if self._descending else worst < frontier)

    def is_progress(self, frontier: int) -> bool:
        """Whether a page that ends at this time would bring its reader any further."""
        if self._descending:
            return Position(frontier + 1, 0, 0) < self._high
        return Position(frontier, 0, 0) > self._low

    def scan(self, rows: Sequence[Row]) -> None:
        """Takes the wanted events of these segments. Runs in a thread."""
        matches = self._query.matches
        for row in rows:
            low, high = self._low, self._high  # _trim moves them
            segment, first_ms, ingested_ms, _, name, data = row
            for number, (stamp, raw) in enumerate(unpack(first_ms, data)):
                position = Position(stamp, segment, number)
                if not low < position < high:
                    continue
                message = raw.decode("utf-8", "replace")
                if matches is None or matches(message):
                    self._events.append(LogEvent(position, name, message, ingested_ms))
                    self._bytes += len(raw) + _EVENT_OVERHEAD
            if len(self._events) > 2 * self._query.limit or self._bytes > 2 * self._page_bytes:
                self._trim()
        if len(self._events) > self._query.limit or self._bytes > self._page_bytes:
            self._trim()

    def _sort(self) -> None:
        self._events.sort(key=_position_of, reverse=self._descending)

    def _trim(self) -> None:
        self._sort()
        size = keep = 0
        for event in self._events:
            message = event.message
            more = size + _EVENT_OVERHEAD + (len(message) if message.isascii() else len(message.encode()))
            if keep == self._query.limit or (more > self._page_bytes and keep):
                break
            size = more
            keep += 1
        self._bytes = size
        if keep == len(self._events):
            return
        del self._events[keep:]
        # Nothing behind the last one will ever be kept.
        self._worst = last = self._events[-1].position
        if self._descending:
            self._low = max(self._low, last._replace(number=last.number - 1))
        else:
            self._high = min(self._high, last._replace(number=last.number + 1))

    def result(self) -> EventPage:
        self._sort()
        return EventPage(self._events, None if self._worst is None else self._events[-1].position)

    def result_before(self, frontier: int) -> EventPage:
        """The events that are certain while segments from `frontier` on have not been visited."""
        self._sort()
        if self._descending:
            certain = [event for event in self._events if event.position.timestamp_ms > frontier]
            return EventPage(certain, Position(frontier + 1, 0, 0))
        certain = [event for event in self._events if event.position.timestamp_ms < frontier]
        return EventPage(certain, Position(frontier, 0, 0))


_position_of = itemgetter(0)
