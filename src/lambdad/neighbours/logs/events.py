"""Log events: putting, getting, filtering."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from lambdad.clock import Clock
from lambdad.domain.log_patterns import compile_pattern
from lambdad.domain.logs import FIRST_POSITION, LAST_POSITION, LogEvent, LogGroup, NewEvent, Position
from lambdad.neighbours.logs.errors import invalid_parameter, invalid_token, no_such_stream
from lambdad.neighbours.logs.groups import LogGroups
from lambdad.neighbours.logs.writer import LogWriter
from lambdad.storage.log_events import TIME_LIMIT, EventQuery, LogEventStorage
from lambdad.storage.log_segments import Kind, pack
from lambdad.storage.logs import LogStorage, StreamIds

PAGE_SIZE: Final = 10_000
MAX_BATCH_BYTES: Final = 1_048_576
"""Of one PutLogEvents: messages in UTF-8 and 26 bytes for each (AWS: model of PutLogEvents)."""
EVENT_OVERHEAD: Final = 26
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
OLDEST_MS: Final = 14 * _DAY_MS
NEWEST_MS: Final = 2 * _HOUR_MS
_DESCENDING_FROM_MS: Final = 1_704_067_200_000
"""Newest first is offered for times from 2024 on (AWS: model of FilterLogEvents)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutResult:
    """What became of a batch; the indexes are None where nothing was refused for that reason."""

    sequence_token: str
    too_old_end: int | None = None
    """The first so many events were older than 14 days."""
    expired_end: int | None = None
    """The first so many events were older than the group's retention."""
    too_new_start: int | None = None
    """From this event on, they were more than two hours in the future."""


@dataclass(frozen=True, slots=True)
class StreamPage:
    """Events of one stream by time, and the tokens that lead on from it in both directions."""

    events: list[LogEvent]
    forward_token: str
    backward_token: str


@dataclass(frozen=True, slots=True)
class FilteredPage:
    """Events of a group."""

    events: list[LogEvent]
    next_token: str | None


class LogEvents:
    """The operations on events. Reading first stores what still waits, so that a log is complete when it is read."""

    def __init__(
        self,
        storage: LogStorage,
        pages: LogEventStorage,
        groups: LogGroups,
        writer: LogWriter,
        clock: Clock,
        on_stored: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_stored` is called when events were put."""
        self._on_stored = on_stored
        self._storage = storage
        self._pages = pages
        self._groups = groups
        self._writer = writer
        self._clock = clock

    async def put(self, group: LogGroup, stream_name: str, events: Sequence[NewEvent]) -> PutResult:
        """PutLogEvents. Events that are too old or too new are refused one by one, the others stored."""
        stream = await self._groups.find_stream(group, stream_name)
        _check_batch(events)
        now_ms = self._clock.time_ms()
        oldest = now_ms - OLDEST_MS
        expired = now_ms - (group.retention_days or 36_500) * _DAY_MS
        old = sum(1 for event in events if event.timestamp_ms < oldest)
        gone = sum(1 for event in events if event.timestamp_ms < expired)
        new = sum(1 for event in events if event.timestamp_ms > now_ms + NEWEST_MS)
        kept = events[max(old, gone) : len(events) - new]
        if kept:
            if kept[-1].timestamp_ms - kept[0].timestamp_ms > _DAY_MS:
                raise invalid_parameter(
                    "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
                )
            ids = StreamIds(group.id, stream.id)
            chunks = [(event.timestamp_ms, Kind.EVENT, event.message.encode("utf-8", "replace")) for event in kept]
            segments = await asyncio.get_running_loop().run_in_executor(None, lambda: list(pack(chunks)))
            if not await self._storage.add(ids, segments, now_ms):
                raise no_such_stream()
            self._on_stored()
        return PutResult(
            sequence_token=sequence_token(now_ms, stream.id),
            too_old_end=old or None,
            expired_end=gone or None,
            too_new_start=len(events) - new if new else None,
        )

    async def get(
        self,
        group: LogGroup,
        stream_name: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        token: str | None = None,
        limit: int | None = None,
        from_head: bool = False,
    ) -> StreamPage:
        """GetLogEvents: without a token the last events, or the first ones `from_head`. The end time is excluded."""
        await self._writer.settle()
        stream = await self._groups.find_stream(group, stream_name)
        after, before, descending = FIRST_POSITION, LAST_POSITION, not from_head
        if token is not None:
            descending, position = _position_of(token)
            after, before = (FIRST_POSITION, position) if descending else (position, LAST_POSITION)
        page = await self._pages.page(
            EventQuery(
                group_id=group.id,
                stream_id=stream.id,
                start_ms=start_ms or 0,
                end_ms=TIME_LIMIT if end_ms is None else end_ms - 1,
                after=after,
                before=before,
                descending=descending,
                limit=limit or PAGE_SIZE,
            )
        )
        events = page.events[::-1] if descending else page.events
        if events:
            first, last = events[0].position, events[-1].position
        elif page.position is not None:  # much was looked at in vain: go on from there
            first = last = page.position
        else:
            # The end: a token given comes back; without one, nothing is there yet and all that comes is ahead.
            first = last = before if token is not None and descending else after
        return StreamPage(events, _token(last, descending=False), _token(first, descending=True))

    async def filter(
        self,
        group: LogGroup,
        *,
        streams: Sequence[str] | None = None,
        stream_prefix: str | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        pattern: str | None = None,
        token: str | None = None,
        limit: int | None = None,
        from_head: bool = True,
    ) -> FilteredPage:
        """FilterLogEvents: events of all streams of a group, or of some, by time. The end time is included.

        A page can be empty and have a successor: it ends when enough text was searched.
        """
        if streams and stream_prefix:
            raise invalid_parameter("logStreamNames and logStreamNamePrefix are mutually exclusive parameters.")
        matches = compile_pattern(pattern or "")
        after, before, descending = FIRST_POSITION, LAST_POSITION, not from_head
        if token is not None:
            descending, position = _position_of(token)
            after, before = (FIRST_POSITION, position) if descending else (position, LAST_POSITION)
        elif descending and (start_ms or 0) < _DESCENDING_FROM_MS:
            raise invalid_parameter("startFromHead can be false only when startTime is on or after Jan 1, 2024 UTC.")
        await self._writer.settle()
        if streams:
            await self._groups.check_streams(group, streams)
        page = await self._pages.page(
            EventQuery(
                group_id=group.id,
                stream_names=tuple(streams or ()),
                stream_prefix=stream_prefix or "",
                start_ms=start_ms or 0,
                end_ms=TIME_LIMIT if end_ms is None else end_ms,
                after=after,
                before=before,
                descending=descending,
                matches=matches,
                limit=limit or PAGE_SIZE,
            )
        )
        following = None if page.position is None else _token(page.position, descending=descending)
        return FilteredPage(page.events, following)


def sequence_token(now_ms: int, stream_id: int) -> str:
    """A number of 56 digits; clients hand it back and it is ignored (AWS: model of PutLogEvents)."""
    return Position(now_ms, stream_id, 0).digits().replace("0", "4", 1)


def _check_batch(events: Sequence[NewEvent]) -> None:
    size = 0
    last = 0
    for event in events:
        if event.timestamp_ms < last:
            raise invalid_parameter("Log events in a single PutLogEvents request must be in chronological order.")
        last = event.timestamp_ms
        size += len(event.message.encode("utf-8", "replace")) + EVENT_OVERHEAD
    if size > MAX_BATCH_BYTES:
        raise invalid_parameter(f"Upload too large: {size} bytes exceeds limit of {MAX_BATCH_BYTES}")


def _token(position: Position, *, descending: bool) -> str:
    return f"{'b' if descending else 'f'}/{position.digits()}"


def _position_of(token: str) -> tuple[bool, Position]:
    """Whether a token leads to earlier events, and from where."""
    direction, _, digits = token.partition("/")
    position = Position.of_digits(digits)
    if position is None or direction not in ("f", "b"):
        raise invalid_token()
    return direction == "b", position
