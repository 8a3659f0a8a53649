"""Nothing is left behind: not by environments that end, not by a server or spawner that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lambdad.execution.spawner.client import SpawnerOptions
from tests.execution.spawner.conftest import MakeBench, needs_root
from tests.execution.spawner.test_life import processes_with, until

ECHO = "def handler(event, context):\n    return event\n"


def groups_of(pid: int) -> list[str]:
    """The control groups below those that belong to the spawner `pid`."""
    return [
        os.path.join(path, name)
        for path, names, _ in os.walk("/sys/fs/cgroup")
        if f"/lambdad-{pid}-" in path + "/"
        for name in names
    ]


RESERVE = SpawnerOptions().reserve


def mounts_of(pid: int) -> int:
    return Path(f"/proc/{pid}/mountinfo").read_text().count("\n")


def descriptors_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("isolation", ["auto", "off"])
async def test_a_hundred_environments_leave_nothing(make_bench: MakeBench, tmp_path: Path, isolation: str) -> None:
    bench = await make_bench(isolation=isolation)
    client = bench.client
    code = bench.code(ECHO)

    async def one(number: int) -> None:
        runtime = await bench.start(task_dir=code)
        assert await runtime.invoke(number) == number
        runtime.process.release()
        await runtime.exit()

    async def many(count: int) -> None:
        for _ in range(count // 10):
            await asyncio.gather(*(one(number) for number in range(10)))
        await until_empty()

    async def until_empty() -> None:
        """Only what is forked ahead for the next is left, and the groups and the user that it has already."""
        for _ in range(200):
            report = await client.report()
            (zygote,) = report["zygotes"]
            groups = {os.path.basename(path) for path in groups_of(client.pid)}
            if report["environments"] == 0 and zygote["reserve"] == RESERVE and len(groups) in (0, RESERVE):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(groups_of(client.pid))

    await many(20)
    (zygote,) = (await client.report())["zygotes"]
    pids = [client.pid, zygote["pid"]]

    def state() -> list[object]:
        private = sorted(str(path) for path in (tmp_path / "state").rglob("tmp/*"))
        children = [len(children_of(pid)) for pid in pids]  # not which: others have been forked ahead since
        return [[mounts_of(pid), descriptors_of(pid)] for pid in pids] + [children, private]

    before, own = state(), descriptors_of(os.getpid()) - 20 * 2
    await many(100)
    await until(lambda: state() == before)
    # The test itself keeps two descriptors of each of its runtimes.
    assert descriptors_of(os.getpid()) - 120 * 2 == own


@needs_root
async def test_stopping_takes_everything(make_bench: MakeBench, tmp_path: Path) -> None:
    bench = await make_bench()
    runtime = await bench.start(ECHO)
    await runtime.invoke(1)
    pid = bench.client.pid
    children = children_of(pid)
    await bench.client.stop()
    assert (await runtime.exit()).signal == 9
    assert not [child for child in children if os.path.exists(f"/proc/{child}")]
    assert groups_of(pid) == []
    assert os.listdir(tmp_path / "state" / f"lambdad-{os.geteuid()}") == []


@needs_root
async def test_a_killed_spawner_takes_everything_and_the_next_one_sweeps(make_bench: MakeBench, tmp_path: Path) -> None:
    bench = await make_bench()
    mark = f"{3000 + os.getpid()}.{int.from_bytes(os.urandom(3), 'big')}"
    runtime = await bench.start(
        "import subprocess\ndef handler(event, context):\n"
        "    subprocess.Popen(['/bin/sleep', event], start_new_session=True)\n    return 1\n"
    )
    assert await runtime.invoke(mark) == 1
    pid = bench.client.pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not processes_with(mark))
    await make_bench()
    # Where they were in a scope of systemd's, that was gone before, or goes as soon as systemd has noticed.
    await until(lambda: groups_of(pid) == [])
    left = os.listdir(tmp_path / "state" / f"lambdad-{os.geteuid()}")
    assert not [name for name in left if name.startswith(f"lambdad-{pid}-")]


async def test_a_killed_server_takes_spawner_and_environments(tmp_path: Path, python: str) -> None:
    """The server's end is the end of its socket, whatever killed it."""
    mark = f"{4000 + os.getpid()}.{int.from_bytes(os.urandom(3), 'big')}"
    server = f"""
import asyncio, os
from lambdad.execution.spawner.client import LaunchPlan, SpawnerClient, SpawnerOptions
async def main(client):
    await client.attach()
    reader, writer = os.pipe()
    await client.launch(LaunchPlan(environment_id="a" * 32, runtime_kind="command",
        argv=("/bin/sh", "-c", "setsid sleep {mark} & sleep {mark}"), environ={{"PATH": "/bin:/usr/bin"}},
        task_dir={str(tmp_path)!r}, memory_mb=128, log_fd=writer))
    print(client.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main(SpawnerClient.start(SpawnerOptions(state_dir={str(tmp_path)!r}))))
"""
    tmp_path.chmod(0o755)
    process = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-c", server], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    spawner = int(await asyncio.to_thread(process.stdout.readline))
    await until(lambda: len(processes_with(mark)) == 2)
    process.kill()
    process.wait()
    process.stdout.close()
    await until(lambda: not processes_with(mark) and not os.path.exists(f"/proc/{spawner}"))
    assert groups_of(spawner) == []
