"""The load client as Python sees it: compiling it, preparing what it replays, running it."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processes

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
SOURCE = HERE / "loadclient.c"
BODY_SIZE = 1024


class CannotMeasure(RuntimeError):
    """Something a measurement needs is missing or failed; the text says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A complete HTTP/1.1 request and a text that its answer must contain (empty: not looked for)."""

    request: bytes
    expected: bytes = b""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the client asks for. `count` requests if given, else as many as fit into `seconds`."""

    connections: int = 1
    seconds: float = 1.0
    warmup: float = 0.0
    count: int = 0
    status: int = 200


def client() -> Path:
    """The compiled client; compiled when missing or older than its source."""
    binary = BUILD / "loadclient"
    if binary.exists() and binary.stat().st_mtime >= SOURCE.stat().st_mtime:
        return binary
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise CannotMeasure(
            "the benchmarks need a C compiler for their load client, and found no cc, gcc or clang: install one "
            "(Debian, Ubuntu: apt-get install gcc libc6-dev)"
        )
    BUILD.mkdir(exist_ok=True)
    command = [compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(binary), str(SOURCE)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise CannotMeasure(f"{compiler} could not compile {SOURCE.name}:\n{result.stderr}")
    return binary


def echo_bodies(count: int) -> list[tuple[bytes, bytes]]:
    """Events of 1 KB, each with the text that proves its echo: no two are alike, as no two real ones are."""
    bodies = []
    for number in range(count):
        token = f"event-{number:08d}"
        event = {
            "id": token,
            "source": "benchmark",
            "attempt": 1,
            "measured": [0.25, 17, True, None],
            "detail": {"order": {"lines": [{"sku": "A-1", "quantity": 2}, {"sku": "B-7", "quantity": 1}]}},
            "padding": "",
        }
        event["padding"] = "x" * (BODY_SIZE - len(json.dumps(event)))
        bodies.append((json.dumps(event).encode(), token.encode()))
    return bodies


def http_request(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body or method != "GET":
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def run_client(port: int, requests: Sequence[Prepared], load: Load) -> dict[str, object]:
    """Replays the requests; returns the client's report (times in nanoseconds)."""
    binary = client()
    with tempfile.NamedTemporaryFile(prefix="requests-", dir=BUILD) as file:
        for prepared in requests:
            file.write(struct.pack(">II", len(prepared.request), len(prepared.expected)))
            file.write(prepared.request + prepared.expected)
        file.flush()
        options = {
            "port": port,
            "requests": file.name,
            "connections": load.connections,
            "seconds": load.seconds,
            "warmup": load.warmup,
            "count": load.count,
            "status": load.status,
        }
        command = [str(binary), *(text for name, value in options.items() for text in (f"--{name}", str(value)))]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise CannotMeasure(f"the load client failed: {result.stderr.strip()}")
    return json.loads(result.stdout)


def measure(pid: int, port: int, prepare: Callable[[], Sequence[Prepared]], load: Load) -> dict[str, object]:
    """One run of the client against the server `pid`: its report with the CPU time that others used meanwhile.

    Adds `cpu_us_per_request` (user and system time of the server's process tree) and `foreign_cores` (CPUs kept busy
    by processes that have no part in this: above a few per cent the run is disturbed).
    """
    requests = prepare()
    server_before, machine_before = processes.cpu_seconds(pid), processes.machine_cpu_seconds()
    report = run_client(port, requests, load)
    server = processes.cpu_seconds(pid) - server_before
    everything = processes.machine_cpu_seconds() - machine_before
    report["cpu_us_per_request"] = server / max(1, report["sent"]) * 1e6
    foreign = everything - server - report["client_cpu_seconds"]
    report["foreign_cores"] = max(0.0, foreign / report["elapsed_seconds"])
    return report
