"""The shape that all background loops share: start, stop, and one public step for tests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod

logger = logging.getLogger(__name__)


class Loop(ABC):
    """Runs `run_once` again and again until stopped; an error is logged and does not end the loop."""

    name: str = "loop"

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Cancels the loop and waits until it is gone. A step in progress is cancelled too."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    def wake(self) -> None:
        """Ends the pause: there is something to do now."""
        self._wake.set()

    @abstractmethod
    async def run_once(self) -> float | None:
        """One step. Returns the seconds to pause before the next, None to wait for `wake`."""

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = await self.run_once()
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.exception("%s: a step failed; the loop goes on", self.name)
                pause = 1.0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
