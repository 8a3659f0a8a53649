"""CloudWatch Logs as a whole."""

from __future__ import annotations

from lambdad.clock import Clock
from lambdad.loops import Loop
from lambdad.neighbours.logs.events import LogEvents
from lambdad.neighbours.logs.groups import LogGroups
from lambdad.neighbours.logs.subscriptions import LogSubscriptions
from lambdad.neighbours.logs.writer import LogWriter
from lambdad.storage.engine import Engine
from lambdad.storage.log_events import LogEventStorage
from lambdad.storage.log_groups import LogGroupStorage
from lambdad.storage.logs import LogStorage

RETENTION_INTERVAL_S = 3600.0
"""Of service time."""


class LogService:
    """The service over one engine: `writer` for those who log, `groups`, `events` and `subscriptions` for those who
    ask."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        storage = LogStorage(engine)
        self.subscriptions = LogSubscriptions(engine, clock)
        self.writer = LogWriter(storage, clock, on_stored=self.subscriptions.stored)
        self.retention = RetentionLoop(storage, clock)
        self.groups = LogGroups(LogGroupStorage(engine), self.writer, clock, self.retention.wake)
        self.events = LogEvents(
            storage, LogEventStorage(engine), self.groups, self.writer, clock, self.subscriptions.stored
        )

    def start(self) -> None:
        """Starts the loops, on the running event loop."""
        self.writer.start()
        self.retention.start()

    async def stop(self) -> None:
        """Stops the loops; what was appended is stored before this returns."""
        await self.subscriptions.stop()
        await self.retention.stop()
        await self.writer.stop()

    def statistics(self) -> dict[str, float]:
        """Those of the writer, and the segments that retention has removed."""
        return self.writer.statistics() | self.retention.statistics()


class RetentionLoop(Loop):
    """Removes events older than their group's retention, every hour, and what deleted groups and streams left behind.

    Follows the service's time: whoever moves the clock wakes the loop.
    """

    name = "log retention"

    def __init__(self, storage: LogStorage, clock: Clock) -> None:
        super().__init__()
        self._storage = storage
        self._clock = clock
        self._due = clock.monotonic()
        self._removed = 0

    async def run_once(self) -> float | None:
        """Removes what is due. Returns the seconds until the next time."""
        self._removed += await self._storage.remove_garbage()
        # After a reset the clock may have been set back.
        if not 0 < self._due - self._clock.monotonic() <= RETENTION_INTERVAL_S:
            await self.remove_expired()
            self._due = self._clock.monotonic() + RETENTION_INTERVAL_S
        return self._due - self._clock.monotonic()

    async def remove_expired(self) -> int:
        """Removes what has expired by now; the number of segments."""
        removed = await self._storage.remove_expired(self._clock.time_ms())
        self._removed += removed
        return removed

    def statistics(self) -> dict[str, float]:
        """Segments removed since the start."""
        return {"removed_segments": self._removed}
