"""What is measured: servers, each with one or more targets (a port and the requests it is to answer)."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.load import HERE, CannotMeasure, Prepared, echo_bodies, http_request

DISTINCT_REQUESTS = 256
STOP_PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the tables. `prepare` makes the requests anew for every run, as signatures age."""

    name: str
    pid: int
    port: int
    prepare: Callable[[], Sequence[Prepared]]


def plain_requests() -> list[Prepared]:
    """What the limits are asked: nothing but the body."""
    headers = {"host": "127.0.0.1", "content-type": "application/json"}
    return [Prepared(http_request("POST", "/", headers, body), token) for body, token in echo_bodies(DISTINCT_REQUESTS)]


def stop(process: subprocess.Popen[bytes]) -> None:
    """Asks politely, then kills what is left of the process group that was started for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise CannotMeasure(f"process {process.args} did not stop within {STOP_PATIENCE:.0f} s") from None


class LimitServer:
    """One of benchmarks/limits in a process of its own."""

    def __init__(self, name: str, module: str, *options: str) -> None:
        self.name = name
        self._command = [sys.executable, "-m", f"benchmarks.limits.{module}", *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Target:
        self._process = subprocess.Popen(
            self._command, cwd=HERE.parent, stdout=subprocess.PIPE, stderr=None, start_new_session=True
        )
        return Target(self.name, self._process.pid, self._announced_port(self._process.stdout), plain_requests)

    def _announced_port(self, output: IO[bytes]) -> int:
        if not select.select([output], [], [], 20)[0]:
            self.stop()
            raise CannotMeasure(f"{self.name} did not start within 20 s")
        word, _, port = output.readline().decode().partition(" ")
        if word != "port":
            self.stop()
            raise CannotMeasure(f"{self.name} ended at its start")
        return int(port)

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)
            self._process.stdout.close()


def limits() -> list[LimitServer]:
    """In the order of the tables, least work first."""
    return [
        LimitServer("echo", "echo"),
        LimitServer("limit-pipe", "pipe"),
        LimitServer("limit-json", "pipe", "--json"),
        LimitServer("limit-ric", "ric"),
    ]


def wait_for(probe: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, patience: float = 30) -> None:
    """Until `probe` is true; fails with the end of the server's own output when the server ends or takes too long."""
    deadline = time.monotonic() + patience
    while not probe():
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline:
            output = log.read_text(errors="replace")[-3000:]
            what = f"ended with status {process.returncode}" if ended else f"is not ready after {patience:.0f} s"
            raise CannotMeasure(f"the server {what}; its output ends with:\n{output}")
        time.sleep(0.002)
