"""Functions that mean harm, called through real servers, one for each tier that this machine gives.

By default the best tier and T1 are tried. `script/abuse` sets ABUSE=all: every tier, and the long tests too.
As root: T3, T1 with a user for each environment; and as another user T2, T1, T0.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.running import RunningServer

ALL = os.environ.get("ABUSE") == "all"
IS_ROOT = os.geteuid() == 0
NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"
ROOT = Path(__file__).parents[2]

long = pytest.mark.skipif(not ALL, reason="part of the long form: script/abuse")


def _places() -> list[str]:
    if not IS_ROOT:
        return ["T2", "T1", "T0"] if ALL else ["T2", "T1"]
    return ["T3", "T2", "T1 with users", "T1", "T0"] if ALL else ["T3", "T1 with users"]


def from_tier(number: int) -> pytest.MarkDecorator:
    """The test holds on this tier and on all above it."""
    return pytest.mark.parametrize(
        "place", [name for name in _places() if int(name[1]) >= number], indirect=True, scope="session"
    )


@dataclass(frozen=True)
class Answer:
    """What came of a call."""

    value: Any
    error: str | None
    """`FunctionError`."""

    @property
    def message(self) -> str:
        return str(self.value["errorMessage"])


@dataclass
class Place:
    """A server of one tier."""

    name: str
    server: RunningServer
    runtime: str

    @property
    def tier(self) -> int:
        return int(self.name[1])

    @property
    def has_users(self) -> bool:
        """The kernel counts the processes of each environment apart."""
        return self.name in ("T3", "T2", "T1 with users")

    def function(self, source: str, **configuration: Any) -> Function:
        name = f"f{uuid.uuid4().hex[:12]}"
        defaults: dict[str, Any] = {"Runtime": self.runtime, "Timeout": 20, "MemorySize": 256}
        self.server.create_function(name, source, **(defaults | configuration))
        return Function(self, name)

    def processes_with(self, mark: str) -> list[int]:
        """Those of the machine with this argument, however deep in namespaces."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if mark.encode() in Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0"):
                        found.append(int(entry))
                except OSError:
                    continue
        return found

    def below(self) -> list[int]:
        """All processes of the server, however deep."""
        return list(processes_below(self.server.process.pid))


def processes_below(pid: int) -> Iterator[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return
    for child in map(int, text.split()):
        yield child
        yield from processes_below(child)


@dataclass
class Function:
    """One function of a place."""

    place: Place
    name: str

    def call(self, event: Any = None) -> Answer:
        answer = self.place.server.client("lambda").invoke(FunctionName=self.name, Payload=json.dumps(event).encode())
        return Answer(json.loads(answer["Payload"].read()), answer.get("FunctionError"))

    def call_with_log(self, event: Any = None) -> tuple[Answer, str]:
        """The answer, and the end of the call's log."""
        answer = self.place.server.client("lambda").invoke(
            FunctionName=self.name, Payload=json.dumps(event).encode(), LogType="Tail"
        )
        log = base64.b64decode(answer["LogResult"]).decode(errors="replace")
        return Answer(json.loads(answer["Payload"].read()), answer.get("FunctionError")), log

    def value(self, event: Any = None) -> Any:
        answer = self.call(event)
        assert answer.error is None, answer
        return answer.value

    def restart(self) -> None:
        """Lets go of its environments: the next call gets a new one."""
        client = self.place.server.client("lambda")
        client.update_function_configuration(
            FunctionName=self.name, Environment={"Variables": {"NUMBER": uuid.uuid4().hex}}
        )
        client.get_waiter("function_updated_v2").wait(FunctionName=self.name, WaiterConfig={"Delay": 1})


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The server of the tier that the test asks for. Its data folder is called `secret-data`."""
    name: str = request.param
    version = f"3.{sys.version_info.minor}"
    options = ["--isolation", name[:2], "--log-level", "warning"]
    arguments: dict[str, Any] = {}
    if IS_ROOT and name != "T3":
        if not _is_this_version(SYSTEM_PYTHON):
            pytest.skip(f"needs a Python {version} that every user may run, as /usr/bin/python3")
        options += ["--python", f"{version}={os.path.realpath(SYSTEM_PYTHON)}"]
    # Not in pytest's own folder, which every run of pytest closes to other users.
    with tempfile.TemporaryDirectory(prefix="abuse-") as folder:
        if IS_ROOT and name in ("T2", "T1", "T0"):
            os.chown(folder, NOBODY, NOBODY)
            arguments["program"] = _as_nobody()
        try:
            server = RunningServer(
                Path(folder) / "secret-data",
                *options,
                environ={"SERVER_SECRET": "the-servers-secret", "HOME": folder},
                **arguments,
            )
        except AssertionError as error:
            if "--isolation asks for" in str(error):
                pytest.skip(str(error))
            raise
        yield Place(name, server, f"python{version}")
        server.stop()


def _is_this_version(program: str) -> bool:
    return os.path.basename(os.path.realpath(program)) == f"python3.{sys.version_info.minor}"


def _as_nobody() -> list[str]:
    """lambdad on the system's Python, with the libraries of the one that runs the tests, as a user without rights."""
    packages = str(Path(boto3.__file__).parents[1])
    start = f"import sys; sys.path[:0] = [{str(ROOT / 'src')!r}]; sys.path.append({packages!r}); "
    start += "from lambdad.cli import main; main()"
    return [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--pdeathsig=TERM"),
        *(SYSTEM_PYTHON, "-c", start),
    ]
