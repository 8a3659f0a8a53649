"""Between invocations nothing of a function runs, whatever its runtime speaks."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws.deploying import Deployer
from tests.aws.test_limits import process_tree
from tests.running import RunningServer

PYTHON = """
import threading, time
ticks = 0
def count():
    global ticks
    while True:
        time.sleep(0.005)
        ticks += 1
threading.Thread(target=count, daemon=True).start()
def handler(event, context):
    return ticks
"""

SLEEPING = "import time\ndef handler(event, context):\n    time.sleep(event)\n"

NODE = """
import { Worker } from "node:worker_threads";
const ticks = new Int32Array(new SharedArrayBuffer(4));
new Worker("const { workerData } = require('worker_threads'); setInterval(() => { workerData[0] += 1; }, 5);",
           { eval: true, workerData: ticks });
export const handler = async () => ticks[0];
"""

BOOTSTRAP = f"""#!/usr/bin/python3
import json, os, urllib.request
{PYTHON}
base = f"http://{{os.environ['AWS_LAMBDA_RUNTIME_API']}}/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(base + "next") as event:
        request_id = event.headers["Lambda-Runtime-Aws-Request-Id"]
    body = json.dumps(handler(None, None)).encode()
    urllib.request.urlopen(base + request_id + "/response", body).close()
"""


@pytest.fixture(scope="module")
def quick_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Freezes after 20 ms."""
    server = RunningServer(tmp_path_factory.mktemp("quick"), "--freeze-after", "0.02")
    yield server
    server.stop()


@pytest.fixture
def deploy(quick_server: RunningServer) -> Iterator[Deployer]:
    deployer = Deployer(quick_server.client("lambda"))
    yield deployer
    deployer.remove_all()


KINDS = {
    "frames, Python": ({"app.py": PYTHON}, "python3.11"),
    "frames, Node.js": ({"app.mjs": NODE}, "nodejs20.x"),
    "HTTP": ({"bootstrap": BOOTSTRAP}, "provided.al2023"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_stands_still_between_calls(deploy: Deployer, kind: str) -> None:
    files, runtime = KINDS[kind]
    if runtime == "provided.al2023" and not Path("/usr/bin/python3").exists():
        pytest.skip("no system Python for a bootstrap")
    name = deploy(files, runtime=runtime)
    other = deploy(SLEEPING)
    passed_s = 0.0
    first = json.loads(deploy.invoke(name)["Payload"])
    for _ in range(3):
        started = time.monotonic()
        deploy.invoke(other, 0.5)
        passed_s += time.monotonic() - started
        response = deploy.invoke(name)
        assert "FunctionError" not in response
    ticked = json.loads(response["Payload"]) - first
    # It runs for some 20 to 50 ms after each answer; awake it would tick two hundred times a second.
    assert ticked < passed_s * 200 / 2


def test_a_frozen_function_times_out_and_starts_anew(deploy: Deployer) -> None:
    name = deploy(
        "import os, signal\ndef handler(event, context):\n"
        "    if event == 'stop':\n        os.kill(os.getpid(), signal.SIGSTOP)\n    return event\n",
        Timeout=1,
    )
    assert deploy.invoke(name, "once")["Payload"] == b'"once"'
    deploy.invoke(deploy(SLEEPING), 0.2)
    assert "Task timed out after 1.00 seconds" in deploy.invoke(name, "stop")["Payload"].decode()
    assert deploy.invoke(name, "anew")["Payload"] == b'"anew"'


def test_nothing_frozen_outlives_a_killed_server(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, "--freeze-after", "0.02")
    server.create_function("frozen", PYTHON)
    server.create_function("waiting", SLEEPING)
    client = server.client("lambda")
    client.invoke(FunctionName="frozen")
    client.invoke(FunctionName="waiting", Payload=b"0.2")
    tree = process_tree(server.process.pid)
    assert len(tree) >= 5
    server.stop(signal.SIGKILL)
    end = time.monotonic() + 10
    while any(is_alive(pid) for pid in tree):
        assert time.monotonic() < end
        time.sleep(0.01)  # the ends of other processes raise no signal here


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return False
    return state != "Z"
