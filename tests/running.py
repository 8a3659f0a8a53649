"""A real `lambdad up` process for tests, and clients for it."""

from __future__ import annotations

import ctypes
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30
ROLE = "arn:aws:iam::000000000000:role/test"


def clean_environment() -> dict[str, str]:
    """The environment without settings, keys and endpoints of whoever runs the tests."""
    ignored = ("LAMBDAD_", "AWS_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ignored)}


class RunningServer:
    """Started by `lambdad up` on a free port; `lines` is what it has printed so far."""

    def __init__(
        self,
        data: Path,
        *options: str,
        environ: dict[str, str] | None = None,
        program: Sequence[str] = (sys.executable, "-m", "lambdad"),
    ) -> None:
        self.data = data
        self.options = options
        self.program = program
        self.lines: list[str] = []
        self.endpoint = ""
        self._printed = threading.Condition()
        self._ended = False
        self._clients: dict[tuple[str, str, str], Any] = {}
        self.process = subprocess.Popen(
            [*program, "up", "--port", "0", "--data", str(data), *options],
            env=clean_environment() | (environ or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, and tests start servers from one thread
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        ready = self.wait_for_line(r"ready at (http://\S+)", START_TIMEOUT_S)
        self.endpoint = ready[1]

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for_line(self, pattern: str, timeout_s: float = 10) -> re.Match[str]:
        """The first line that the pattern is found in, already printed or still to come."""
        expression = re.compile(pattern)
        with self._printed:
            looked_at = 0
            while True:
                for line in self.lines[looked_at:]:
                    if match := expression.search(line):
                        return match
                looked_at = len(self.lines)
                if self._ended or not self._printed.wait(timeout_s):
                    raise AssertionError(f"no line matches {pattern!r} in:\n{self.output}")

    def client(self, service: str, *, account: str = "test", region: str = "us-east-1", **config: Any) -> Any:
        """A boto3 client; `account` is an access key id whose secret is `test`, so 12 digits choose the account."""
        if config:
            return self._make_client(service, account, region, config)
        key = (service, account, region)
        if key not in self._clients:
            self._clients[key] = self._make_client(*key, {})
        return self._clients[key]

    def _make_client(self, service: str, account: str, region: str, config: dict[str, Any]) -> Any:
        session = boto3.session.Session(account, "test", region_name=region)
        settings = {"retries": {"total_max_attempts": 1}, "read_timeout": 60} | config
        return session.client(service, endpoint_url=self.endpoint, config=Config(**settings))  # type: ignore[call-overload]

    def create_function(self, name: str, source: str, **configuration: Any) -> dict[str, Any]:
        """A Python function of this Python's version from the text of its module `app`, once it is active."""
        client = self.client("lambda")
        values: dict[str, Any] = {
            "Runtime": f"python3.{sys.version_info.minor}",
            "Handler": "app.handler",
            "Role": ROLE,
            "Code": {"ZipFile": zipped({"app.py": source})},
        } | configuration
        client.create_function(FunctionName=name, **values)
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        made: dict[str, Any] = client.get_function_configuration(FunctionName=name)
        return made

    def advance(self, seconds: float) -> dict[str, Any]:
        """Moves the service's time; what the endpoint answers."""
        body = json.dumps({"advance": seconds}).encode()
        request = urllib.request.Request(f"{self.endpoint}/_lambdad/clock", body, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            shown: dict[str, Any] = json.loads(answer.read())
        return shown

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends the server by a signal; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop:\n{self.output}") from None
        self._reader.join(STOP_TIMEOUT_S)
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._printed:
                self.lines.append(line.rstrip("\n"))
                self._printed.notify_all()
        with self._printed:
            self._ended = True
            self._printed.notify_all()


def _end_with_parent() -> None:
    """A test run that is killed takes its servers with it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def zipped(files: dict[str, str]) -> bytes:
    """A zip archive of texts by path."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return buffer.getvalue()
