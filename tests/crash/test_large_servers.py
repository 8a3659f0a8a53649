"""Much of something: functions, output."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import StartServer
from tests.running import ROLE, RunningServer, zipped

FUNCTIONS = 1_000
FLOOD_MB = 200
FLOOD = """
import sys
def handler(event, context):
    block = ("x" * 99 + "\\n") * 10_000
    for _ in range(event["mb"]):
        sys.stdout.write(block)
    return "done"
"""


def memory_kib(server: RunningServer, kind: str) -> int:
    """`VmRSS`, what the server holds now, or `VmHWM`, the most that it ever held."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(kind)).split()[1])


def test_a_thousand_functions_and_a_restart(start_server: StartServer) -> None:
    server = start_server()
    client = server.client("lambda")
    code = zipped({"app.py": "def handler(event, context):\n    return context.function_name\n"})

    def create(number: int) -> None:
        client.create_function(
            FunctionName=f"f{number:04}",
            Runtime="python3.11",
            Role=ROLE,
            Handler="app.handler",
            Code={"ZipFile": code},
        )

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(create, range(FUNCTIONS)))
    assert server.stop() == 0

    before = time.monotonic()
    server = start_server()
    assert time.monotonic() - before < 10, "a start should not depend on the number of functions"
    client = server.client("lambda")
    pages = client.get_paginator("list_functions").paginate()
    names = [function["FunctionName"] for page in pages for function in page["Functions"]]
    assert names == [f"f{number:04}" for number in range(FUNCTIONS)]
    assert json.loads(client.invoke(FunctionName="f0500")["Payload"].read()) == "f0500"
    assert memory_kib(server, "VmRSS") < 150_000


def test_the_output_of_a_function_does_not_fill_the_server(start_server: StartServer) -> None:
    server = start_server()
    server.create_function("flood", FLOOD, Timeout=120, MemorySize=256)
    server.create_function("calm", "def handler(event, context):\n    return 1\n")
    client = server.client("lambda")
    client.invoke(FunctionName="calm")
    before = memory_kib(server, "VmHWM")
    with ThreadPoolExecutor(1) as thread:
        flood = thread.submit(client.invoke, FunctionName="flood", Payload=json.dumps({"mb": FLOOD_MB}))
        while not flood.done():
            started = time.monotonic()
            client.invoke(FunctionName="calm")
            assert time.monotonic() - started < 5
    assert flood.result()["Payload"].read() == b'"done"'
    assert memory_kib(server, "VmHWM") - before < 80_000
