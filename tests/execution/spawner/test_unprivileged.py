"""Server and spawner of a user who is not root: the best tier for them, and those chosen on purpose."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from lambdad.execution.spawner import users
from tests.execution.spawner.conftest import NOBODY, SYSTEM_PYTHON, needs_root, open_to_all, runs_spawner, start_tier
from tests.execution.spawner.test_leaks import children_of
from tests.execution.spawner.test_life import until

SERVER = """
import asyncio, json, os, socket, struct, sys
from lambdad.execution.spawner.client import LaunchPlan, SpawnerClient, SpawnerOptions

def frame(sock):
    size, = struct.unpack(">I", sock.recv(4, socket.MSG_WAITALL))
    return sock.recv(size, socket.MSG_WAITALL)

def invoke(sock):
    payload = bytes([1]) + struct.pack(">Q", 2 * 10**12) + struct.pack(">I", 0) * 6 + b"{}"
    sock.sendall(struct.pack(">I", len(payload)) + payload)
    data = frame(sock)
    size, = struct.unpack_from(">I", data, 1)
    return json.loads(data[9 + size:])

async def main(client):
    await client.attach()
    told = {"tier": client.tier, "missing": (await client.report())["missing"], "answers": []}
    for _ in range(2):
        ours, theirs = socket.socketpair()
        reader, writer = os.pipe()
        process = await client.launch(LaunchPlan(
            environment_id=os.urandom(16).hex(), runtime_kind="python", interpreter=PYTHON,
            environ={"_HANDLER": "app.handler", "LANG": "C.UTF-8"}, task_dir=TASK, memory_mb=128,
            frames_fd=theirs.fileno(), log_fd=writer))
        frame(ours)
        told["answers"].append(await asyncio.to_thread(invoke, ours))
        process.kill()
        end = await process.exited
        told["signal"] = end.signal
    await client.stop()
    print(json.dumps(told))

asyncio.run(asyncio.wait_for(main(SpawnerClient.start(SpawnerOptions(state_dir=STATE, isolation=ISOLATION))), 20))
"""


@needs_root
async def test_a_spawner_ends_though_it_can_remove_nothing(python: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tier-") as directory:
        place = Path(directory)
        bench = await start_tier(place, python, "T2")
        runtime = await bench.start("def handler(event, context):\n    return 1\n")
        (spawner,) = (int(pid) for pid in children_of(bench.client.pid))
        place.chmod(0o700)  # root's: the spawner's user can no longer get to its own directory below
        stopping = asyncio.create_task(bench.client.stop())
        await until(lambda: not os.path.exists(f"/proc/{spawner}"), 4.5)  # the server would kill it after 5 s
        await stopping
        place.chmod(0o755)
        runtime.close()


@needs_root
@pytest.mark.skipif(not runs_spawner(SYSTEM_PYTHON), reason="needs a Python 3.11 that every user may run")
@pytest.mark.parametrize(("isolation", "tier"), [("auto", "T2"), ("T2", "T2"), ("T1", "T1"), ("off", "T0")])
async def test_another_user_gets_user_namespaces_or_what_was_chosen(tmp_path: Path, isolation: str, tier: str) -> None:
    python = os.path.realpath(SYSTEM_PYTHON)
    open_to_all(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    task = tmp_path / "task"
    task.mkdir()
    (task / "app.py").write_text(
        "import os, tempfile\ndef handler(event, context):\n"
        "    open(os.path.join(tempfile.gettempdir(), 'x'), 'w').close()\n"
        "    at_home = __file__ == os.environ.get('LAMBDA_TASK_ROOT', '/var/task') + '/app.py'\n"
        "    return [os.getuid(), at_home, os.listdir(tempfile.gettempdir())]\n"
    )
    source = str(Path(__file__).parents[3] / "src")
    head = f"import sys; sys.path.insert(0, {source!r}); PYTHON={python!r}; TASK={str(task)!r}; STATE={str(state)!r}\n"
    head += f"ISOLATION={isolation!r}\n"
    done = await asyncio.to_thread(
        subprocess.run,
        [python, "-c", head + SERVER],
        capture_output=True,
        text=True,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin"},
        cwd="/",
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    if tier == "T2" and told["tier"] != "T2":
        pytest.skip(" ".join(told["missing"]))
    assert told["tier"] == tier
    if isolation == "auto":
        assert any("not started by root" in sentence for sentence in told["missing"])
    # In a user namespace of its own the function is somebody else, whom the machine does not know.
    assert told["answers"] == [[users.FIRST if tier == "T2" else NOBODY, True, ["x"]]] * 2
    assert told["signal"] == 9
    assert os.listdir(state / f"lambdad-{NOBODY}") == []
