"""A log service over a real database, at a time that tests set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lambdad.neighbours.logs.service import LogService
from lambdad.storage.sqlite import SqliteEngine

NOW_MS = 1_790_000_000_000
ACCOUNT, REGION = "111111111111", "us-east-1"


class SetClock:
    """Stands still until it is advanced."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.ms / 1000, UTC)

    def time_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def advance(self, *, hours: float = 0, days: float = 0) -> None:
        self.ms += int((hours + 24 * days) * 3_600_000)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path)
    yield engine
    await engine.close()


@pytest.fixture
async def logs(engine: SqliteEngine, clock: SetClock) -> AsyncIterator[LogService]:
    """Its loops do not run: tests take the steps."""
    logs = LogService(engine, clock)
    yield logs
    await logs.stop()
