"""Runtimes start, answer, end and are told of, on both tiers."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from lambdad.execution.spawner.client import LaunchError, SpawnerGone
from tests.execution.frames_client import RESPONSE
from tests.execution.spawner.conftest import Bench, MakeBench

ECHO = "def handler(event, context):\n    print('got', event)\n    return event\n"


async def test_a_handler_answers_and_what_it_prints_is_there(any_bench: Bench) -> None:
    runtime = await any_bench.start(ECHO)
    frame = await runtime.invoke_frame({"a": 1})
    assert frame is not None
    assert (frame.kind, frame.text, frame.body) == (RESPONSE, "application/json", b'{"a": 1}')
    assert frame.peak_kib > 1000
    assert runtime.printed() == "got {'a': 1}\n"


async def test_the_exit_status_is_told(any_bench: Bench) -> None:
    runtime = await any_bench.start("import sys\ndef handler(event, context):\n    sys.exit(event)\n")
    assert await runtime.invoke(3) is None
    end = await runtime.exit()
    assert (end.status, end.signal, end.oom_killed) == (3, None, False)


async def test_the_signal_is_told(any_bench: Bench) -> None:
    source = "import os, signal\ndef handler(event, context):\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
    runtime = await any_bench.start(source)
    assert await runtime.invoke() is None
    end = await runtime.exit()
    assert (end.status, end.signal) == (None, signal.SIGSEGV)


async def test_init_error_ends_the_process_with_status_1(any_bench: Bench) -> None:
    runtime = await any_bench.launch("raise ValueError('at import')\n")
    frame = await runtime.answer()
    assert frame is not None
    assert frame.text == "ValueError"
    assert frame.json["stackTrace"][-1] == (
        "  File \"/var/task/app.py\", line 1, in <module>\n    raise ValueError('at import')\n"
    )
    assert frame.json["stackTrace"][0].startswith('  File "/var/lang/lib/python3')
    assert (await runtime.exit()).status == 1


async def test_kill_takes_daemons_in_sessions_of_their_own(any_bench: Bench, tmp_path: Path) -> None:
    source = """
import os, subprocess, time
def handler(event, context):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(3):
                os.close(number)
            os.write(writer, b"x")
            os.execv("/bin/sleep", ["/bin/sleep", event])
        os._exit(0)
    os.read(reader, 1)
    return os.getpid()
"""
    runtime = await any_bench.start(source)
    # An argument that no other process has.
    mark = f"{1000 + os.getpid()}.{int.from_bytes(os.urandom(3), 'big')}"
    assert isinstance(await runtime.invoke(mark), int)
    await until(lambda: len(processes_with(mark)) == 1)
    runtime.process.kill()
    end = await runtime.exit()
    assert (end.status, end.signal) == (None, 9)
    # Killed with the others; where it is no child of a process that was waited for, it may need a moment to be gone.
    await until(lambda: processes_with(mark) == [])


async def test_a_daemon_does_not_outlive_a_runtime_that_ends_by_itself(any_bench: Bench) -> None:
    mark = f"{2000 + os.getpid()}.{int.from_bytes(os.urandom(3), 'big')}"
    source = f"""
import os, subprocess, sys
def handler(event, context):
    subprocess.Popen(["/bin/sleep", "{mark}"], start_new_session=True)
    sys.exit(0)
"""
    runtime = await any_bench.start(source)
    await runtime.invoke()
    assert (await runtime.exit()).status == 0
    assert processes_with(mark) == []


async def test_tmp_is_private_and_survives_a_restart_of_the_runtime(any_bench: Bench) -> None:
    source = """
import os, pathlib, tempfile
mark = pathlib.Path(tempfile.gettempdir()) / "mark"
def handler(event, context):
    before = mark.read_text() if mark.exists() else None
    mark.write_text(event)
    return before
"""
    code = any_bench.code(source)
    first = await any_bench.start(task_dir=code)
    other = await any_bench.start(task_dir=code)
    assert await first.invoke("one") is None
    assert await other.invoke("other") is None
    first.process.kill()
    await first.exit()
    again = await any_bench.start(task_dir=code, reuse=first.process.environment_id)
    assert await again.invoke("two") == "one"


async def test_an_environment_runs_one_runtime_at_a_time(any_bench: Bench) -> None:
    runtime = await any_bench.start(ECHO)
    with pytest.raises(LaunchError, match="still running"):
        await any_bench.launch(ECHO, reuse=runtime.process.environment_id)


async def test_a_function_gets_its_variables_and_no_others(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-server's-own")
    monkeypatch.setenv("PRIVATE_TO_THE_SERVER", "1")
    for isolation in ("auto", "off"):
        bench = await make_bench(isolation=isolation)
        source = "import os\ndef handler(event, context):\n    return dict(os.environ)\n"
        seen = await (await bench.start(source, environ={"MINE": "é=1"})).invoke()
        assert seen["MINE"] == "é=1"
        assert "the-server's-own" not in seen.values()
        allowed = {"MINE", "_HANDLER", "_X_AMZN_TRACE_ID", "TMPDIR", "PWD", "LAMBDA_RUNTIME_DIR"}
        assert {name for name in seen if name in allowed or name.startswith(("AWS_", "LAMBDA_", "L", "P", "T"))} == set(
            seen
        )
        assert "PRIVATE_TO_THE_SERVER" not in seen


async def test_nothing_of_the_server_is_open_in_a_function(any_bench: Bench) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    try:
        source = """
import os
def handler(event, context):
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink("/proc/self/fd/" + name)
        except OSError:
            pass
    return found
"""
        found = await (await any_bench.start(source)).invoke()
    finally:
        os.close(reader)
        os.close(writer)
    kinds = {number: target.partition(":")[0] for number, target in found.items()}
    assert kinds == {"0": "/dev/null", "1": "pipe", "2": "pipe", "3": "socket"}


async def test_fifty_at_once(any_bench: Bench) -> None:
    code = any_bench.code("import os\ndef handler(event, context):\n    return event\n")
    runtimes = await asyncio.gather(*(any_bench.start(task_dir=code) for _ in range(50)))
    answers = await asyncio.gather(*(runtime.invoke(number) for number, runtime in enumerate(runtimes)))
    assert answers == list(range(50))


async def test_a_program_is_executed(any_bench: Bench) -> None:
    runtime = await any_bench.launch(
        runtime_kind="command",
        interpreter="",
        argv=("/bin/sh", "-c", "echo $0 $MINE; exit 7", "zero"),
        environ={"MINE": "yes"},
        frames_fd=None,
    )
    assert (await runtime.exit()).status == 7
    assert runtime.printed() == "zero yes\n"


async def test_a_custom_bootstrap_is_executed(any_bench: Bench) -> None:
    code = any_bench.code(bootstrap="#!/bin/sh\necho in $(pwd); exit 5\n")
    os.chmod(f"{code}/bootstrap", 0o755)
    runtime = await any_bench.launch(runtime_kind="bootstrap", interpreter="", task_dir=code, frames_fd=None)
    assert (await runtime.exit()).status == 5
    expected = "/var/task" if any_bench.client.tier in ("T2", "T3") else code
    assert runtime.printed() == f"in {expected}\n"


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (None, 0, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ("#!/bin/sh\n", 0o644, "fork/exec /var/task/bootstrap: permission denied"),
        ("no program", 0o755, "fork/exec /var/task/bootstrap: exec format error"),
        ("#!/not/there\n", 0o755, "fork/exec /var/task/bootstrap: no such file or directory"),
    ],
)
async def test_a_bad_entry_point_is_told_in_the_words_of_aws(
    any_bench: Bench, content: str | None, mode: int, words: str
) -> None:
    code = any_bench.code()
    if content is not None:
        (Path(code) / "bootstrap").write_text(content)
        os.chmod(f"{code}/bootstrap", mode)
    with pytest.raises(LaunchError) as raised:
        await any_bench.launch(runtime_kind="bootstrap", interpreter="", task_dir=code, frames_fd=None)
    assert str(raised.value) == words
    assert raised.value.is_entry_point


async def test_a_missing_wrapper_ends_with_127_as_recorded(any_bench: Bench) -> None:
    runtime = await any_bench.launch(ECHO, environ={"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/not-there"})
    assert (await runtime.exit()).status == 127
    assert runtime.printed().endswith("not-there: No such file or directory\n")


async def test_a_wrapper_wraps_the_runtime(any_bench: Bench) -> None:
    source = "import os\ndef handler(event, context):\n    return os.environ['WRAPPED']\n"
    code = any_bench.code(source, wrapper='#!/bin/sh\nexport WRAPPED="$(basename $1)"\nexec "$@"\n')
    os.chmod(f"{code}/wrapper", 0o755)
    runtime = await any_bench.start(task_dir=code, environ={"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"})
    assert await runtime.invoke() == os.path.basename(any_bench.python)


async def test_variables_for_the_interpreters_start_are_heeded(any_bench: Bench) -> None:
    source = "import sys\ndef handler(event, context):\n    return [sys.flags.hash_randomization, hash('abc')]\n"
    code = any_bench.code(source)
    answers = []
    for _ in range(2):
        runtime = await any_bench.start(task_dir=code, environ={"PYTHONHASHSEED": "0"})
        answers.append(await runtime.invoke())
    assert answers[0] == answers[1]
    assert answers[0][0] == 0


async def test_without_zygotes_each_environment_executes_python(make_bench: MakeBench) -> None:
    bench = await make_bench(zygotes=False)
    runtime = await bench.start("def handler(event, context):\n    return hash('abc')\n")
    other = await bench.start("def handler(event, context):\n    return hash('abc')\n")
    assert await runtime.invoke() != await other.invoke()


async def test_a_zygote_is_replaced_after_its_share_of_forks(make_bench: MakeBench) -> None:
    bench = await make_bench(forks_per_zygote=2, reserve=0)
    code = bench.code("def handler(event, context):\n    return hash('abc')\n")
    runtimes = [await bench.start(task_dir=code) for _ in range(4)]
    hashes = [await runtime.invoke() for runtime in runtimes]
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]
    for runtime in runtimes:
        runtime.process.kill()
        await runtime.exit()
    await bench.start(task_dir=code)
    zygotes = (await bench.client.report())["zygotes"]
    assert [zygote["forks"] for zygote in zygotes] == [1]


async def test_each_environment_has_random_numbers_of_its_own(any_bench: Bench) -> None:
    source = "import random, uuid\ndef handler(event, context):\n    return [random.random(), str(uuid.uuid4())]\n"
    code = any_bench.code(source)
    first, second = await any_bench.start(task_dir=code), await any_bench.start(task_dir=code)
    one, two = await first.invoke(), await second.invoke()
    assert one[0] != two[0]
    assert one[1] != two[1]


async def test_an_interpreter_that_does_not_start_is_told(any_bench: Bench) -> None:
    with pytest.raises(LaunchError, match="could not be started"):
        await any_bench.launch(ECHO, interpreter="/bin/false")


@pytest.mark.parametrize("isolation", ["auto", "off"])
async def test_the_end_of_the_spawner_is_told(make_bench: MakeBench, isolation: str) -> None:
    bench = await make_bench(isolation=isolation)
    runtime = await bench.start(ECHO)
    os.kill(bench.client.pid, signal.SIGKILL)
    end = await runtime.exit()
    assert end.signal == 9
    await asyncio.wait_for(bench.client.gone, 5)
    with pytest.raises(SpawnerGone):
        await bench.launch(ECHO)


async def test_layers_are_searched_after_the_code(any_bench: Bench) -> None:
    layer = Path(any_bench.code())
    packages = layer / "python"
    packages.mkdir()
    for name in ("only", "both"):
        (packages / f"{name}.py").write_text("value = 'of the layer'\n")
    source = "import only, both\ndef handler(event, context):\n    return [only.value, both.value]\n"
    code = any_bench.code(source, both__py="value = 'of the code'\n")
    runtime = await any_bench.start(task_dir=code, opt_dir=str(layer))
    assert await runtime.invoke() == ["of the layer", "of the code"]


def processes_with(argument: str) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if argument.encode() in Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0"):
                    found.append(int(name))
            except OSError:
                continue
    return found


async def until(condition: object, limit_s: float = 10) -> None:
    """Waits for something outside that raises no signal."""
    assert callable(condition)
    end = asyncio.get_running_loop().time() + limit_s
    while not condition():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.005)
