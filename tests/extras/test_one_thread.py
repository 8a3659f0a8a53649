"""Jobs on a thread of their own, one after the other."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from lambdad.extras.one_thread import OneThread


async def test_all_jobs_run_on_one_thread_in_their_order():
    thread, done = OneThread("jobs"), []

    def job(number: int) -> int:
        done.append((number, threading.current_thread().name))
        return number

    assert await asyncio.gather(*(thread.run(lambda n=n: job(n)) for n in range(5))) == [0, 1, 2, 3, 4]
    assert done == [(number, "jobs") for number in range(5)]
    thread.stop()


async def test_a_failure_reaches_whoever_waits_and_the_next_job_runs():
    thread = OneThread("jobs")
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert await thread.run(lambda: "next") == "next"
    thread.stop()


async def test_nothing_runs_after_the_stop():
    thread = OneThread("jobs")
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> str:
        begun.set()
        go_on.wait(5)
        return "ended"

    running = thread.submit(hold)
    begun.wait(5)
    waiting = thread.submit(lambda: "never")
    thread.stop()
    go_on.set()
    assert running.result(5) == "ended"
    with pytest.raises(CancelledError):
        waiting.result(5)
    with pytest.raises(CancelledError):
        thread.submit(lambda: "never")
