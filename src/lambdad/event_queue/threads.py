"""Jobs that wait for others, off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def on_thread(job: Callable[[], T]) -> T:
    """Runs the job on a thread that does not hold up the end of the process, unlike those of an executor.

    A message whose request is cut off is in the outbox still, and sent again after the next start.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if ended.done():  # cancelled
            return
        if error is None:
            ended.set_result(result)  # type: ignore[arg-type]  # there is a result where there is no error
        else:
            ended.set_exception(error)

    def run() -> None:
        result: T | None = None
        failure: Exception | None = None
        try:
            result = job()
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="remote target", daemon=True).start()
    return await ended
