"""What passes a limit is stopped or cut, the caller is told as by AWS, and nobody else notices."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.aws.deploying import Deployer, tail_of
from tests.running import RunningServer

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="limits of this kind need root")


def process_tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += process_tree(int(child))
    return found


def killed_for_memory(deploy: Deployer, body: str) -> str:
    """Invokes a function of 128 MB with this body, checks what the caller reads, and returns the tail."""
    name = deploy(body, MemorySize=128, Timeout=20, EphemeralStorage={"Size": 512})
    response = deploy.invoke(name, LogType="Tail")
    request_id = response["ResponseMetadata"]["RequestId"]
    assert json.loads(response["Payload"]) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: Runtime exited with error: signal: killed",
    }
    assert response["FunctionError"] == "Unhandled"
    tail = tail_of(response)
    assert tail.endswith("\tStatus: error\tError Type: Runtime.OutOfMemory\n")
    return tail


def test_memory_of_child_processes_counts(deploy: Deployer) -> None:
    tail = killed_for_memory(
        deploy,
        "import subprocess, sys\n"
        "def handler(e, c):\n"
        "    subprocess.run([sys.executable, '-c', 'import time; x = bytearray(300 << 20); time.sleep(60)'])\n",
    )
    assert re.search(r"Max Memory Used: 12\d MB", tail)


def test_shared_memory_counts(deploy: Deployer) -> None:
    killed_for_memory(
        deploy,
        "import mmap\n"
        "def handler(e, c):\n"
        "    area = mmap.mmap(-1, 600 << 20)\n"
        "    for at in range(0, 600 << 20, 4096):\n"
        "        area[at] = 1\n",
    )


@needs_root
def test_a_full_tmp_is_no_lack_of_memory(deploy: Deployer) -> None:
    name = deploy(
        "import os\n"
        "def handler(e, c):\n"
        "    with open('/tmp/large', 'wb') as file:\n"
        "        try:\n"
        "            while True:\n"
        "                file.write(bytes(1 << 20))\n"
        "        except OSError as error:\n"
        "            return [error.strerror, os.path.getsize('/tmp/large') >> 20]\n",
        MemorySize=128,
        Timeout=60,
    )
    response = deploy.invoke(name, LogType="Tail")
    assert json.loads(response["Payload"]) == ["No space left on device", 512]
    used = re.search(r"Max Memory Used: (\d+) MB", tail_of(response))
    assert used is not None
    assert int(used[1]) <= 128


def test_a_timeout_ends_daemons_too(deploy: Deployer, server: RunningServer) -> None:
    name = deploy(
        "import os, signal, time\n"
        "def handler(e, c):\n"
        "    if e == 'look':\n"
        "        return\n"
        "    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):\n"
        "        signal.signal(number, signal.SIG_IGN)\n"
        "    for _ in range(3):\n"
        "        if os.fork() == 0:\n"
        "            os.setsid()\n"
        "            if os.fork() == 0:\n"
        "                for number in range(64):\n"
        "                    try:\n"
        "                        os.close(number)\n"
        "                    except OSError:\n"
        "                        pass\n"
        "                os.execv('/bin/sleep', ['/bin/sleep', e])\n"
        "            os._exit(0)\n"
        "    time.sleep(60)\n",
        Timeout=1,
    )
    mark = f"{1000 + os.getpid()}.{int.from_bytes(os.urandom(3), 'big')}"
    response = deploy.invoke(name, mark)
    assert json.loads(response["Payload"])["errorType"] == "Sandbox.Timedout"
    deploy.invoke(name, "look")  # the next runtime starts when nothing of the one before is left
    commands = [Path(f"/proc/{pid}/cmdline") for pid in process_tree(server.process.pid)]
    assert [path for path in commands if path.exists() and mark.encode() in path.read_bytes()] == []


def test_a_child_that_keeps_the_output_open_does_not_delay_the_report(deploy: Deployer) -> None:
    name = deploy(
        "import os, subprocess\n"
        "def handler(e, c):\n"
        "    subprocess.Popen(['/bin/sleep', '100'])\n"
        "    print('before')\n"
        "    if e == 'exit':\n"
        "        os._exit(3)\n",
        Timeout=20,
    )
    for event in ("answer", "exit"):
        response = deploy.invoke(name, event, LogType="Tail")
        lines = [line.partition(" ")[0] for line in tail_of(response).splitlines()]
        assert lines[-3:-1] == ["before", "END"] or lines[-1] == "REPORT"
        took = re.search(r"\tDuration: ([\d.]+) ms", tail_of(response))
        assert took is not None
        assert float(took[1]) < 10_000


def test_what_a_thread_prints_after_the_answer_is_in_no_other_tail(deploy: Deployer) -> None:
    name = deploy(
        "import os, threading\n"
        "go = threading.Event()\n"
        "def late():\n"
        "    go.wait()\n"
        "    for number in range(50):\n"
        "        os.write(1, b'late words\\n')\n"
        "    done.set()\n"
        "done = threading.Event()\n"
        "def handler(e, c):\n"
        "    if e == 'leave':\n"
        "        threading.Thread(target=late).start()\n"
        "        threading.Timer(0.0, go.set).start()\n"
        "        return\n"
        "    done.wait()\n"
        "    print('own words')\n",
    )
    deploy.invoke(name, "leave")
    deploy.invoke(name, "wait")
    tail = tail_of(deploy.invoke(name, "look", LogType="Tail"))
    assert "own words" in tail
    assert "late words" not in tail


FLOOD = """
import os
def handler(event, context):
    piece = (b"x" * 99 + b"\\n") * 10_000 if event == "lines" else b"y" * 1_000_000
    for _ in range(1_000):
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(1, rest):]
    return "done"
"""


@pytest.mark.parametrize("kind", ["lines", "one line without an end"])
def test_a_gigabyte_of_output_costs_the_server_no_memory(
    deploy: Deployer, server: RunningServer, logs_client: Any, kind: str
) -> None:
    quiet = deploy("def handler(e, c):\n    print('heard')\n")
    name = deploy(FLOOD, Timeout=120, MemorySize=256)
    deploy.invoke(quiet)
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the high-water mark begins anew
    before = memory_kib(server, "VmRSS")
    response = deploy.invoke(name, kind, LogType="Tail")
    assert response["Payload"] == b'"done"'
    assert "REPORT RequestId" in tail_of(response)
    assert memory_kib(server, "VmHWM") - before < 10 * 1024

    deploy.invoke(quiet)
    assert len(found(logs_client, quiet, "heard")) == 2
    assert len(found(logs_client, name, '"bytes of log output were dropped"')) == 1
    assert len(found(logs_client, name, '"REPORT RequestId"')) == 1


def found(logs_client: Any, name: str, pattern: str) -> list[dict[str, Any]]:
    pages = logs_client.get_paginator("filter_log_events").paginate(
        logGroupName=f"/aws/lambda/{name}", filterPattern=pattern
    )
    return [event for page in pages for event in page["events"]]


def memory_kib(server: RunningServer, name: str) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    match = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    assert match is not None
    return int(match[1])
