"""What is forked ahead of need, and how."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from lambdad.execution.spawner import messages
from lambdad.execution.spawner.alarms import Alarms
from lambdad.execution.spawner.client import SpawnerOptions
from lambdad.execution.spawner.isolation import syscalls
from lambdad.execution.spawner.isolation.cgroups import Group
from lambdad.execution.spawner.isolation.memory import MemoryGuard
from tests.execution.spawner.conftest import Bench, MakeBench, needs_root
from tests.execution.spawner.test_leaks import children_of
from tests.execution.spawner.test_life import until

RESERVE = SpawnerOptions().reserve
NAMED = "def handler(event, context):\n    return context.function_name\n"


async def zygote_with_reserve(bench: Bench, reserve: int = RESERVE) -> dict[str, Any]:
    """The only zygote, as soon as that many wait."""
    async with asyncio.timeout(10):
        while True:
            found: dict[str, Any] = (await bench.client.report())["zygotes"][0]
            if found["reserve"] == reserve:
                return found
            await asyncio.sleep(0.001)  # nobody tells of it


@pytest.mark.parametrize("isolation", ["auto", "off"])
async def test_a_function_begins_in_what_was_forked_when_its_interpreter_was_prepared(
    make_bench: MakeBench, isolation: str
) -> None:
    bench = await make_bench(isolation=isolation)
    await bench.client.prepare(bench.python)
    zygote = await zygote_with_reserve(bench)
    ahead = children_of(zygote["pid"])
    assert len(ahead) == RESERVE
    runtime = await bench.start(NAMED, environ={"AWS_LAMBDA_FUNCTION_NAME": "mine"})
    assert str(runtime.process.pid) in ahead
    assert await runtime.invoke() == "mine"
    assert (await bench.client.report())["environments"] == 1
    # As many wait for the next as did before.
    assert (await zygote_with_reserve(bench))["forks"] == RESERVE + 1


async def test_what_waits_may_die(make_bench: MakeBench) -> None:
    bench = await make_bench()
    await bench.client.prepare(bench.python)
    zygote = await zygote_with_reserve(bench)
    for pid in children_of(zygote["pid"]):
        os.kill(int(pid), signal.SIGKILL)
    await zygote_with_reserve(bench, 0)
    runtime = await bench.start(NAMED)
    assert await runtime.invoke() == "f"


async def test_nothing_waits_without_zygotes(make_bench: MakeBench) -> None:
    bench = await make_bench(zygotes=False)
    await (await bench.start(NAMED)).invoke()
    assert [zygote["reserve"] for zygote in (await bench.client.report())["zygotes"]] == [0]


@needs_root
async def test_limits_and_users_are_of_the_function_that_comes(make_bench: MakeBench) -> None:
    bench = await make_bench()
    await bench.client.prepare(bench.python)
    await zygote_with_reserve(bench)
    source = "import os\ndef handler(event, context):\n    return [os.getuid(), os.statvfs('/tmp').f_blocks * 4096]\n"
    code = bench.code(source)
    answers = [await (await bench.start(task_dir=code, tmp_mb=size)).invoke() for size in (70, 90)]
    assert [size >> 20 for _, size in answers] == [70, 90]
    assert answers[0][0] != answers[1][0]


@needs_root
def test_a_fork_begins_in_namespaces_of_its_own() -> None:
    reader, writer = os.pipe()
    pid = syscalls.fork(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWUTS)
    if pid == 0:
        os.write(writer, str(os.getpid()).encode())
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert os.read(reader, 10) == b"1"
    os.close(reader)
    os.close(writer)


def test_a_fork_into_what_is_no_group_fails_as_a_call_does() -> None:
    with pytest.raises(OSError, match="clone3"):
        syscalls.fork(group=os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def test_a_fork_joins_its_group_where_it_cannot_begin_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(syscalls, "_CLONE3", 9_999)  # no system call: ENOSYS
    (tmp_path / "cgroup.procs").touch()
    group = os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC)
    pid = syscalls.fork(group=group)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert (tmp_path / "cgroup.procs").read_text() == "0"
    os.close(group)


async def test_the_kernel_is_asked_by_a_process_of_its_own(tmp_path: Path) -> None:
    control = tmp_path / "cgroup.event_control"
    os.mkfifo(control)
    (tmp_path / "memory.usage_in_bytes").write_text("0\n")
    reader = os.open(control, os.O_RDONLY | os.O_NONBLOCK)
    guard = MemoryGuard(Group(str(tmp_path), "", 1), limit_bytes=128 << 20, tmp="")
    alarms = Alarms()
    alarms.arm(guard)
    os.set_blocking(reader, True)
    *descriptors, threshold = os.read(reader, 100).decode().split()
    assert len(descriptors) == 2
    assert threshold == str(128 << 20)
    os.set_blocking(guard.descriptor, True)
    assert os.eventfd_read(guard.descriptor) == 1, "the guard learns that the kernel watches"
    pid = alarms.pid
    alarms.arm(guard)  # nothing more to ask
    alarms.close()
    assert not os.path.exists(f"/proc/{pid}")
    guard.close()
    os.close(reader)


def test_memory_is_looked_at_where_the_kernel_cannot_be_asked(tmp_path: Path) -> None:
    (tmp_path / "cgroup.event_control").touch()
    for name in ("memory.usage_in_bytes", "memory.oom_control", "memory.stat"):
        (tmp_path / name).write_text("0\n")
    alarms = Alarms()
    guards = [MemoryGuard(Group(str(tmp_path), "", 1), limit_bytes=128 << 20, tmp="") for _ in range(2)]
    alarms.arm(guards[0])
    os.kill(alarms.pid, signal.SIGKILL)
    os.waitpid(alarms.pid, 0)
    alarms.arm(guards[1])
    assert not guards[1].is_exceeded()
    assert guards[1].is_above, "it is looked at again soon"
    (tmp_path / "memory.usage_in_bytes").write_text(f"{129 << 20}\n")
    assert guards[1].is_exceeded()
    alarms.close()
    for guard in guards:
        guard.close()


def test_lists_of_texts_keep_their_borders() -> None:
    for names in ([], [""], ["", ""], ["a", "", "b=\n"], ["ä" * 1000]):
        sent = messages.encode(messages.STARTED, 1, "3.12.1", names)
        assert messages.decode(sent) == (messages.STARTED, [1, "3.12.1", names])


def test_a_text_of_a_list_must_not_hold_the_border() -> None:
    with pytest.raises(messages.Malformed, match="NUL"):
        messages.encode(messages.STARTED, 1, "", ["a\0b"])


def test_a_list_of_another_length_than_said_is_refused() -> None:
    sent = bytearray(messages.encode(messages.STARTED, 1, "", ["a", "b"]))
    place = bytes(sent).rindex(b"\0\0\0\2") if b"\0\0\0\2" in bytes(sent) else -1
    sent[place + 3] = 3
    with pytest.raises(messages.Malformed, match="2 texts instead of 3"):
        messages.decode(bytes(sent))


async def test_an_interpreter_that_is_asked_for_only_when_it_is_needed_begins_as_well(make_bench: MakeBench) -> None:
    bench = await make_bench(reserve=0)
    runtime = await bench.start(NAMED)
    assert await runtime.invoke() == "f"
    await until(lambda: Path(f"/proc/{runtime.process.pid}").exists())
