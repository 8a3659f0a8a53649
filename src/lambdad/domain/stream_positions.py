"""How far a mapping has come in a shard, and the tumbling window that is open there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A tumbling window. `state` is what the function returned last, as JSON."""

    start: datetime
    end: datetime
    state: Any = None

    def holds(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def window_of(moment: datetime, seconds: int) -> Window:
    """The window that a moment is in: windows begin at whole multiples of their length since 1970."""
    start_s = int(moment.timestamp()) // seconds * seconds
    start = datetime.fromtimestamp(start_s, UTC)
    return Window(start=start, end=start + timedelta(seconds=seconds))


def window_time(moment: datetime) -> str:
    """`2020-07-30T17:00:00Z`, as windows are shown to functions (AWS Lambda developer guide)."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Of one shard. Without a sequence number reading begins as `begin` says."""

    begin: str
    """`TRIM_HORIZON`, `LATEST` or `AT_TIMESTAMP`."""
    since: datetime | None = None
    """Of AT_TIMESTAMP, and when reading from LATEST began: after a restart it goes on from there."""
    sequence_number: str | None = None
    """Of the last record that is done with."""
    is_closed: bool = False
    """The shard has ended, and all of it is done with."""
    window: Window | None = None
