"""A frozen environment stands still, threads and daemons too, and runs on when it is thawed; by every method."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import pytest_asyncio

from tests.execution.spawner.conftest import Bench, MakeBench, Runtime
from tests.execution.spawner.test_life import until

TICKING = """
import os, signal, threading, time

def tick(mark):
    while True:
        os.write(1, mark)
        time.sleep(0.002)

def handler(event, context):
    if event == "tick":
        threading.Thread(target=tick, args=(b"t",), daemon=True).start()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                tick(b"d")
            os._exit(0)
        os.wait()
    elif event == "resist":
        # Whoever could send itself SIGCONT would go on.
        def resist():
            while True:
                os.kill(0, signal.SIGCONT)
        threading.Thread(target=resist, daemon=True).start()
    elif event == "stop yourself":
        os.kill(os.getpid(), signal.SIGSTOP)
    return event
"""

METHODS = {"version 2": ("auto", (2, 1), 2), "version 1": ("auto", (1,), 1), "signals": ("off", (), 0)}


@pytest_asyncio.fixture(params=METHODS, loop_scope="package")
async def frozen_by(request: pytest.FixtureRequest, make_bench: MakeBench) -> Bench:
    """A spawner that freezes by one of the methods."""
    isolation, versions, expected = METHODS[request.param]
    bench = await make_bench(isolation=isolation, freezers=versions)
    if (await bench.client.report())["freezer"] != expected:
        pytest.skip(f"this machine cannot freeze by {request.param}")
    return bench


async def ticks(runtime: Runtime, count: int = 20) -> str:
    """What was printed until both the thread and the daemon have ticked so often."""
    text = ""
    async with asyncio.timeout(10):
        while min(text.count("t"), text.count("d")) < count:
            text += runtime.printed()
            await asyncio.sleep(0.001)
    return text


async def standing_still(bench: Bench, frozen: Runtime, other: Runtime) -> str:
    """What the frozen one still prints while the other ticks on; freezing itself takes a moment."""
    await bench.client.report()  # it has read all messages before this one
    async with asyncio.timeout(10):
        while frozen.printed():
            await ticks(other, 3)
    await ticks(other)
    return frozen.printed()


async def test_threads_and_daemons_stand_still_and_run_on(frozen_by: Bench) -> None:
    code = frozen_by.code(TICKING)
    runtime, other = await frozen_by.start(task_dir=code), await frozen_by.start(task_dir=code)
    for each in (runtime, other):
        await each.invoke("tick")
        await ticks(each)

    runtime.process.freeze()
    assert await standing_still(frozen_by, runtime, other) == ""
    runtime.process.thaw()
    await ticks(runtime)
    assert await runtime.invoke("after") == "after"


async def test_what_is_sent_to_a_frozen_one_waits_for_it(frozen_by: Bench) -> None:
    runtime, other = await frozen_by.start(TICKING), await frozen_by.start(TICKING)
    for each in (runtime, other):
        await each.invoke("tick")
        await ticks(each)
    runtime.process.freeze()
    assert await standing_still(frozen_by, runtime, other) == ""
    answer = asyncio.create_task(runtime.invoke("later"))
    await ticks(other)
    assert not answer.done()
    runtime.process.thaw()
    assert await answer == "later"


async def test_a_frozen_one_can_be_killed(frozen_by: Bench) -> None:
    runtime, other = await frozen_by.start(TICKING), await frozen_by.start(TICKING)
    for each in (runtime, other):
        await each.invoke("tick")
        await ticks(each)
    runtime.process.freeze()
    assert await standing_still(frozen_by, runtime, other) == ""
    runtime.process.kill()
    assert (await runtime.exit()).signal == 9


async def test_the_next_runtime_of_an_environment_that_was_killed_frozen_runs(frozen_by: Bench) -> None:
    first = await frozen_by.start(TICKING)
    await first.invoke("tick")
    first.process.freeze()
    first.process.kill()
    await first.exit()
    second = await frozen_by.start(TICKING, reuse=first.process.environment_id)
    assert await second.invoke("again") == "again"


async def test_sending_oneself_sigcont_does_not_help(frozen_by: Bench) -> None:
    code = frozen_by.code(TICKING)
    runtime, other = await frozen_by.start(task_dir=code), await frozen_by.start(task_dir=code)
    for each in (runtime, other):
        await each.invoke("tick")
        await ticks(each)
    await runtime.invoke("resist")
    runtime.process.freeze()
    assert await standing_still(frozen_by, runtime, other) == ""


async def test_every_tier_freezes(any_bench: Bench) -> None:
    code = any_bench.code(TICKING)
    runtime, other = await any_bench.start(task_dir=code), await any_bench.start(task_dir=code)
    for each in (runtime, other):
        await each.invoke("tick")
        await ticks(each)
    runtime.process.freeze()
    assert await standing_still(any_bench, runtime, other) == ""
    runtime.process.thaw()
    await ticks(runtime)
    runtime.process.freeze()
    runtime.process.kill()
    assert (await runtime.exit()).signal == 9


async def test_one_that_stops_itself_can_still_be_killed(any_bench: Bench) -> None:
    runtime = await any_bench.start(TICKING)
    answer = asyncio.create_task(runtime.invoke("stop yourself"))
    await until(lambda: b" (python" in stat(runtime) and b") T" in stat(runtime))
    runtime.process.kill()
    assert await answer is None
    assert (await runtime.exit()).signal == 9


async def test_nothing_is_left_of_the_freezers(make_bench: MakeBench) -> None:
    bench = await make_bench()
    runtime = await bench.start(TICKING)
    pid = bench.client.pid
    runtime.process.freeze()
    await bench.client.stop()
    assert list(Path("/sys/fs/cgroup").glob(f"*/lambdad-{pid}-*")) == []


def stat(runtime: Runtime) -> bytes:
    """The line of the runtime's process, below its supervisor."""
    children = Path(f"/proc/{runtime.process.pid}/task/{runtime.process.pid}/children").read_text().split()
    return b"".join(Path(f"/proc/{child}/stat").read_bytes() for child in children)
