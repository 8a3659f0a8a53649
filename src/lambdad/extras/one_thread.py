"""A thread that runs jobs one after the other, for libraries that are not made for several threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class OneThread:
    """Started by the first job. It does not hold up the end of the process, unlike the threads of an executor."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = False
        self._stopped = False

    async def run(self, job: Callable[[], T]) -> T:
        """Waits for the job, which is not interrupted when the waiting is."""
        return await asyncio.shield(asyncio.wrap_future(self.submit(job)))

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """From any thread but its own, which would wait for itself. Raises CancelledError after `stop`."""
        future: Future[T] = Future()
        with self._lock:
            if self._stopped:
                raise CancelledError
            if not self._started:
                self._started = True
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._jobs.put((future, job))
        return future

    def stop(self) -> None:
        """The job that runs may end; those that wait are cancelled."""
        with self._lock:
            self._stopped = True
            self._jobs.put(None)

    def _work(self) -> None:
        while (work := self._jobs.get()) is not None:
            future, job = work
            if self._stopped:
                future.cancel()
            elif future.set_running_or_notify_cancel():
                try:
                    result = job()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
