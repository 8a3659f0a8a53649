"""Memory, processes, files and space are limited; whoever passes a limit is stopped, and nobody else."""

from __future__ import annotations

import pytest

from tests.execution.spawner.conftest import Bench, needs_root

HOG = """
import os, time
def handler(event, context):
    kept = []
    for _ in range(int(event["mb"])):
        kept.append(os.urandom(1) * (1 << 20))
    time.sleep(event.get("held_s", 0))
    return len(kept)
"""


async def test_a_memory_hog_is_killed(any_bench: Bench) -> None:
    runtime = await any_bench.start(HOG, memory_mb=128)
    assert await runtime.invoke({"mb": 40}) == 40
    assert await runtime.invoke({"mb": 2000}) is None
    end = await runtime.exit()
    assert (end.status, end.signal, end.oom_killed) == (None, 9, True)
    assert end.peak_kib >= 128 * 1024


async def test_a_child_process_counts(any_bench: Bench) -> None:
    source = """
import subprocess, sys
def handler(event, context):
    return subprocess.run([sys.executable, "-c", "import time; b = bytearray(1 << 30); time.sleep(5)"]).returncode
"""
    runtime = await any_bench.start(source, memory_mb=128)
    await runtime.invoke()
    end = await runtime.exit()
    assert end.oom_killed


async def test_memory_files_count(any_bench: Bench) -> None:
    source = """
import os, time
def handler(event, context):
    files = [os.memfd_create("x") for _ in range(5)]
    for file in files:
        for _ in range(100):
            os.write(file, bytes(1 << 20))
    time.sleep(10)
"""
    runtime = await any_bench.start(source, memory_mb=128, tmp_mb=512)
    await runtime.invoke()
    assert (await runtime.exit()).oom_killed


async def test_one_environment_passing_its_limit_leaves_others_alone(any_bench: Bench) -> None:
    code = any_bench.code(HOG)
    victim = await any_bench.start(task_dir=code, memory_mb=128)
    hog = await any_bench.start(task_dir=code, memory_mb=128)
    assert await hog.invoke({"mb": 2000}) is None
    await hog.exit()
    assert await victim.invoke({"mb": 1}) == 1


async def test_the_high_water_mark_is_known_while_it_runs(any_bench: Bench) -> None:
    runtime = await any_bench.start(
        "import time\ndef handler(e, c):\n    b = bytearray(60 << 20)\n    time.sleep(0.4)\n    return len(b)\n"
    )
    before = runtime.process.peak_kib()
    await runtime.invoke()
    assert runtime.process.peak_kib() >= before + 50 * 1024
    assert runtime.process.peak_kib() <= 256 * 1024


@needs_root
async def test_what_lies_in_tmp_does_not_count_as_memory(bench: Bench) -> None:
    source = """
def handler(event, context):
    with open("/tmp/large", "wb") as file:
        for _ in range(event):
            file.write(bytes(1 << 20))
    return event
"""
    runtime = await bench.start(source, memory_mb=128, tmp_mb=300)
    assert await runtime.invoke(250) == 250
    hog = await bench.start(HOG, reuse=None, memory_mb=128, tmp_mb=300)
    # Held, since what is over within a few milliseconds may be over before it is noticed.
    assert await hog.invoke({"mb": 200, "held_s": 5}) is None
    assert (await hog.exit()).oom_killed


@needs_root
async def test_memory_is_still_limited_after_tmp_was_filled(bench: Bench) -> None:
    source = """
import time
def handler(event, context):
    if event == "fill":
        with open("/tmp/large", "wb") as file:
            file.write(bytes(100 << 20))
        return "filled"
    kept = bytearray(160 << 20)
    time.sleep(5)
    return len(kept)
"""
    runtime = await bench.start(source, memory_mb=128, tmp_mb=300)
    assert await runtime.invoke("fill") == "filled"
    assert await runtime.invoke("allocate") is None
    assert (await runtime.exit()).oom_killed


@needs_root
async def test_tmp_has_the_configured_size(bench: Bench) -> None:
    source = """
import errno, os
def handler(event, context):
    try:
        with open("/tmp/large", "wb") as file:
            for _ in range(100):
                file.write(bytes(1 << 20))
    except OSError as error:
        return [errno.errorcode[error.errno], os.path.getsize("/tmp/large") >> 20]
"""
    runtime = await bench.start(source, tmp_mb=64)
    assert await runtime.invoke() == ["ENOSPC", 64]


@needs_root
async def test_tmp_holds_a_limited_number_of_files(bench: Bench) -> None:
    source = """
import errno
def handler(event, context):
    count = 0
    try:
        while count < 100_000:
            open(f"/tmp/{count}", "x").close()
            count += 1
    except OSError as error:
        return [errno.errorcode[error.errno], count]
"""
    runtime = await bench.start(source, tmp_mb=64)
    answer = await runtime.invoke()
    assert answer is not None
    error, count = answer
    assert error == "ENOSPC"
    assert 16_000 < count <= 64 * 256


@needs_root
async def test_a_fork_bomb_is_stopped(bench: Bench) -> None:
    source = """
import errno, os, time
def handler(event, context):
    count = 0
    try:
        while True:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            count += 1
    except OSError as error:
        return [errno.errorcode[error.errno], count]
"""
    runtime = await bench.start(source, memory_mb=1024)
    answer = await runtime.invoke()
    assert answer is not None
    error, count = answer
    assert error == "EAGAIN"
    assert 900 < count < 1024
    other = await bench.start("def handler(event, context):\n    return event\n")
    assert await other.invoke(1) == 1
    runtime.process.kill()
    assert (await runtime.exit()).signal == 9


async def test_resource_limits_are_those_of_aws(any_bench: Bench) -> None:
    source = """
import resource
def handler(event, context):
    names = ["RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_STACK", "RLIMIT_MEMLOCK"]
    return [resource.getrlimit(getattr(resource, name)) for name in names]
"""
    limits = await (await any_bench.start(source)).invoke()
    assert limits == [[1024, 1024], [0, 0], [8 << 20, 8 << 20], [65536, 65536]]


@pytest.mark.parametrize(("memory_mb", "tasks"), [(128, 742), (256, 1024), (3008, 1024)])
async def test_the_number_of_tasks_as_functions_see_it(bench: Bench, memory_mb: int, tasks: int) -> None:
    source = """
import resource
def handler(event, context):
    return resource.getrlimit(resource.RLIMIT_NPROC)
"""
    assert await (await bench.start(source, memory_mb=memory_mb)).invoke() == [tasks, tasks]
