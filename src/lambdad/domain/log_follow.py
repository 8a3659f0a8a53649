"""Following a log by polling FilterLogEvents: every event once, with little read twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

OVERLAP_MS: Final = 250
"""Each poll looks back this far behind the newest event: another stream's event of the same moment may come later."""


class LogFollower:
    """What a poller has seen. Ask with `startTime=start_ms` for all pages, and hand each page's events to `take`."""

    def __init__(self, start_ms: int, *, overlap_ms: int = OVERLAP_MS) -> None:
        self._from_ms = start_ms
        self._newest_ms = start_ms
        self._overlap_ms = overlap_ms
        self._seen: dict[str, int] = {}
        """Ids of events that the next poll may bring again, and their times."""

    @property
    def start_ms(self) -> int:
        """The start time of the next poll."""
        return max(self._from_ms, self._newest_ms - self._overlap_ms)

    def take(self, events: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Those events of a page (as FilterLogEvents returns them) that are new."""
        for event in events:
            event_id, timestamp_ms = event["eventId"], event["timestamp"]
            if event_id not in self._seen:
                self._seen[event_id] = timestamp_ms
                self._newest_ms = max(self._newest_ms, timestamp_ms)
                yield event

    def end_poll(self) -> None:
        """All pages of a poll were taken: forgets what the next one cannot bring again."""
        start_ms = self.start_ms
        self._seen = {event_id: stamp for event_id, stamp in self._seen.items() if stamp >= start_ms}
