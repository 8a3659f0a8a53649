"""CPU time by memory size: shares by default, a quota if wanted, and never during init."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.execution.spawner.conftest import Bench, MakeBench, Runtime, needs_root

BURNING = """
import time
def burn():
    started, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.15:
        pass
    return time.monotonic() - started
in_init = burn()
def handler(event, context):
    return [in_init, burn()]
"""


def group_of(runtime: Runtime) -> Path:
    """Where the environment's CPU time is ruled."""
    for line in Path(f"/proc/{runtime.process.pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            return Path("/sys/fs/cgroup/cpu") / path.lstrip("/")
        if not controllers and (Path("/sys/fs/cgroup") / path.lstrip("/") / "cpu.weight").exists():
            return Path("/sys/fs/cgroup") / path.lstrip("/")
    raise AssertionError("no group for CPU time")


async def bench_with(make_bench: MakeBench, cpu: str) -> Bench:
    bench = await make_bench(cpu=cpu)
    if bench.client.cpu != cpu:
        pytest.skip("this machine has no control group for CPU time")
    return bench


@needs_root
async def test_shares_follow_the_memory_size(make_bench: MakeBench) -> None:
    bench = await bench_with(make_bench, "shares")
    code = bench.code("def handler(event, context):\n    return event\n")
    shares = []
    for memory_mb in (128, 1769):
        group = group_of(await bench.start(task_dir=code, memory_mb=memory_mb))
        name = "cpu.shares" if (group / "cpu.shares").exists() else "cpu.weight"
        shares.append(int((group / name).read_text()))
    assert shares in ([74, 1024], [7, 100])


@needs_root
async def test_a_quota_holds_back_calls_but_not_init(make_bench: MakeBench) -> None:
    bench = await bench_with(make_bench, "quota")
    runtime = await bench.start(BURNING, memory_mb=256)  # 14.5 ms of every 100
    runtime.process.init_over()
    await bench.client.report()  # it has read all messages before this one
    in_init, in_call = await runtime.invoke()
    assert in_call > 0.8, "150 ms of CPU time are ten periods"
    assert in_init < in_call


@needs_root
async def test_the_next_init_of_an_environment_is_not_held_back_either(make_bench: MakeBench) -> None:
    bench = await bench_with(make_bench, "quota")
    first = await bench.start("def handler(event, context):\n    return event\n", memory_mb=128)
    first.process.init_over()
    await bench.client.report()
    quota = group_of(first) / "cpu.cfs_quota_us"
    if not quota.exists():
        quota = group_of(first) / "cpu.max"
    assert quota.read_text().split()[0] == "7235"
    first.process.kill()
    await first.exit()
    await bench.start(BURNING, reuse=first.process.environment_id)
    assert quota.read_text().split()[0] in ("-1", "max")


async def test_off_leaves_it_alone(make_bench: MakeBench) -> None:
    bench = await make_bench(cpu="off")
    assert bench.client.cpu == "off"
    runtime = await bench.start("def handler(event, context):\n    return event\n")
    assert await runtime.invoke(1) == 1
    pid = bench.client.pid
    assert list(Path("/sys/fs/cgroup/cpu").glob(f"lambdad-{pid}-*")) == []
