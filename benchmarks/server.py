"""A real `lambdad up` as a target: started as users start it, driven by boto3, measured with signed requests."""

from __future__ import annotations

import base64
import contextlib
import http.client
import importlib.metadata
import io
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from benchmarks.load import BUILD, HERE, CannotMeasure, Load, Prepared, echo_bodies, http_request, measure
from benchmarks.targets import DISTINCT_REQUESTS, Target, stop, wait_for

REGION = "us-east-1"
CREDENTIALS = Credentials("test", "test")
ROLE = "arn:aws:iam::000000000000:role/benchmark"
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
CLIENT_DISTRIBUTIONS = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""What the official runtime client consists of; it goes into the function's archive as pip would put it there."""


class Lambdad:
    """One server with a data folder of its own, on the disk that this checkout is on (a /tmp may be memory).

    `command` is what stands for `lambdad up`, words as in a shell; port and data folder are added to it.
    """

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)
        BUILD.mkdir(exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="data-", dir=BUILD))
        self._log = self._folder / "output.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.start_seconds = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Returns when the health endpoint answers 200; `start_seconds` is the time since the process was started."""
        self.port = free_port()
        command = [*self._command, "--port", str(self.port), "--data", str(self._folder / "data")]
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("LAMBDAD_", "AWS_"))}
        started = time.monotonic()
        with self._log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environ, start_new_session=True
                )
            except FileNotFoundError:
                raise CannotMeasure(f"{command[0]} is not there: install the package first") from None
        wait_for(self._healthy, self._process, self._log)
        self.start_seconds = time.monotonic() - started

    def halt(self) -> None:
        """Stops in an orderly way; `start` goes on with the same data."""
        stop(self._process)

    def restart(self) -> None:
        """Stops in an orderly way and starts again on the same data."""
        self.halt()
        self.start()

    def stop(self) -> None:
        try:
            if self._process is not None:
                stop(self._process)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def boto3(self) -> object:
        return boto3.client(
            "lambda",
            region_name=REGION,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=CREDENTIALS.access_key,
            aws_secret_access_key=CREDENTIALS.secret_key,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
        )

    def create_echo(self) -> Target:
        """The echo function on lambdad's own Python bootstrap."""
        self._create("echo", Runtime=RUNTIME, Handler="app.handler", Code={"ZipFile": echo_archive()})
        return self.target("lambdad", "echo")

    def create_echo_with_runtime_client(self) -> Target:
        """The same handler behind unmodified awslambdaric, started by the `bootstrap` of a custom runtime."""
        self._create(
            "echo-ric",
            Runtime="provided.al2023",
            Handler="app.handler",
            Code={"ZipFile": runtime_client_archive()},
            Environment={"Variables": {"BENCHMARK_PYTHON": python_for_functions()}},
        )
        return self.target("lambdad-ric", "echo-ric")

    def target(self, name: str, function: str) -> Target:
        return Target(name, self.pid, self.port, lambda: self.invokes(function))

    def invokes(self, function: str) -> list[Prepared]:
        path = f"/2015-03-31/functions/{function}/invocations"
        return [Prepared(self.signed("POST", path, body), token) for body, token in echo_bodies(DISTINCT_REQUESTS)]

    def signed(
        self, method: str, path: str, body: bytes = b"", query: str = "", headers: Mapping[str, str] | None = None
    ) -> bytes:
        """A request with the headers that boto3 sends, and more."""
        url = f"http://127.0.0.1:{self.port}{path}" + (f"?{query}" if query else "")
        given = {"Content-Type": "application/json", **(headers or {})}
        request = AWSRequest(method=method, url=url, data=body, headers=given)
        SigV4Auth(CREDENTIALS, "lambda", REGION).add_auth(request)
        sent = {
            "Host": f"127.0.0.1:{self.port}",
            "Accept-Encoding": "identity",
            "User-Agent": "Boto3/1.40 md/Botocore#1.40 ua/2.1 os/linux lang/python",
            **dict(request.headers.items()),
            "amz-sdk-invocation-id": str(uuid.uuid4()),
            "amz-sdk-request": "attempt=1",
        }
        return http_request(method, path + (f"?{query}" if query else ""), sent, body)

    def create_many(self, first: int, last: int) -> dict[str, object]:
        """Creates functions `first` to `last - 1` over 4 connections, as fast as the server takes them."""
        archive = base64.b64encode(echo_archive()).decode()
        template = {"Runtime": RUNTIME, "Role": ROLE, "Handler": "app.handler", "Code": {"ZipFile": archive}}
        requests = []
        for number in range(first, last):
            body = json.dumps({"FunctionName": function_name(number), **template}).encode()
            requests.append(
                Prepared(self.signed("POST", "/2015-03-31/functions", body), function_name(number).encode())
            )
        report = measure(self.pid, self.port, lambda: requests, Load(connections=4, count=len(requests), status=201))
        if not report["errors"]:
            self._wait_until_active(function_name(last - 1))
        return report

    def first_page(self) -> list[Prepared]:
        return [Prepared(self.signed("GET", "/2015-03-31/functions/"), b"Functions")]

    def invoke_once(self, function: str) -> None:
        """Fails with the server's answer if the function does not echo."""
        event = echo_bodies(1)[0][0]
        answer = self.boto3().invoke(FunctionName=function, Payload=event, LogType="Tail")
        payload = answer["Payload"].read()
        if answer.get("FunctionError") or json.loads(payload) != json.loads(event):
            log = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
            raise CannotMeasure(f"{function} does not echo: {payload.decode(errors='replace')[:500]}\n{log}")

    def create(self, name: str, package: bytes, **members: object) -> None:
        """A Python function from an archive with `app.handler`, once it is active."""
        configuration = {"Runtime": RUNTIME, "Handler": "app.handler", "MemorySize": 128, "Timeout": 30, **members}
        self.boto3().create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": package}, **configuration)
        self._wait_until_active(name)

    def _create(self, name: str, **members: object) -> None:
        self.boto3().create_function(FunctionName=name, Role=ROLE, MemorySize=128, Timeout=30, **members)
        self._wait_until_active(name)
        self.invoke_once(name)

    def _wait_until_active(self, name: str) -> None:
        client = self.boto3()

        def active() -> bool:
            configuration = client.get_function_configuration(FunctionName=name)
            if configuration["State"] == "Failed":
                raise CannotMeasure(f"{name} is not usable: {configuration.get('StateReason')}")
            return configuration["State"] == "Active"

        wait_for(active, self._process, self._log)

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/_lambdad/health")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False


def installed_command() -> str:
    """`lambdad up` beside the interpreter that runs the benchmarks, else the one on the path."""
    beside = Path(sys.executable).with_name("lambdad")
    return f"{shlex.quote(str(beside))} up" if beside.exists() else "lambdad up"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def function_name(number: int) -> str:
    return f"function-{number:05d}"


def python_for_functions() -> str:
    """The interpreter itself rather than its virtual environment: functions see none of the latter's packages."""
    return os.environ.get("BENCHMARK_PYTHON") or getattr(sys, "_base_executable", sys.executable)


def archive(files: Sequence[tuple[str, bytes, int]]) -> bytes:
    """A zip of (name, content, permission bits); the same bytes for the same files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content, mode in files:
            entry = zipfile.ZipInfo(name, (2025, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, content)
    return out.getvalue()


def echo_archive() -> bytes:
    return archive([("app.py", (HERE / "functions/echo/app.py").read_bytes(), 0o644)])


def runtime_client_archive() -> bytes:
    """The echo handler, the `bootstrap` and the installed awslambdaric with what it imports, unmodified."""
    files = [
        ("bootstrap", (HERE / "functions/runtime_client/bootstrap").read_bytes(), 0o755),
        ("app.py", (HERE / "functions/echo/app.py").read_bytes(), 0o644),
    ]
    for distribution in CLIENT_DISTRIBUTIONS:
        try:
            listed = importlib.metadata.files(distribution) or []
        except importlib.metadata.PackageNotFoundError:
            raise CannotMeasure(f"{distribution} is not installed: pip install 'lambdad[test]'") from None
        for file in listed:
            if ".." not in file.parts and file.suffix != ".pyc" and ".dist-info" not in file.parts[0]:
                files.append((file.as_posix(), Path(str(file.locate())).read_bytes(), 0o644))
    return archive(files)
