from __future__ import annotations

import asyncio
import inspect
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lambdad.execution.runtimes.interpreters import Interpreters
from lambdad.execution.spawner.client import EnvironmentProcess, LaunchPlan, SpawnerClient, SpawnerOptions
from tests.execution.frames_client import READY, Answer, invoke_frame, read_frame

ENVIRON = {
    "_HANDLER": "app.handler",
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
    "AWS_LAMBDA_FUNCTION_NAME": "f",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LANG": "en_US.UTF-8",
    "LC_CTYPE": "C.UTF-8",
    "LD_LIBRARY_PATH": (
        "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
    ),
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "PYTHONPATH": "/var/runtime",
    "TZ": ":UTC",
}


class Runtime:
    """A launched environment, and the server's ends of its channel and its output."""

    def __init__(self, process: EnvironmentProcess, channel: socket.socket, output: int) -> None:
        self.process = process
        self._channel = channel
        self._output = output

    async def answer(self) -> Answer | None:
        return await asyncio.wait_for(asyncio.to_thread(read_frame, self._channel), 20)

    async def ready(self) -> Runtime:
        frame = await self.answer()
        assert frame is not None, self.printed()
        assert frame.kind == READY, (frame, self.printed())
        return self

    async def invoke(self, event: Any = None) -> Any:
        """The decoded result or error payload; None if the runtime ended instead of answering."""
        frame = await self.invoke_frame(event)
        return None if frame is None else frame.json

    async def invoke_frame(self, event: Any = None) -> Answer | None:
        await asyncio.to_thread(self._channel.sendall, invoke_frame(json.dumps(event).encode()))
        return await self.answer()

    def send(self, data: bytes) -> None:
        self._channel.sendall(data)

    async def exit(self) -> Any:
        return await asyncio.wait_for(asyncio.shield(self.process.exited), 20)

    def printed(self) -> str:
        text = b""
        try:
            while piece := os.read(self._output, 65536):
                text += piece
        except BlockingIOError:
            pass
        return text.decode()

    def close(self) -> None:
        self._channel.close()
        os.close(self._output)


class Bench:
    """A spawner to test with, and what was launched on it."""

    def __init__(self, client: SpawnerClient, tmp_path: Path, python: str) -> None:
        self.client = client
        self.python = python
        self._tmp_path = tmp_path
        self._runtimes: list[Runtime] = []

    def code(self, source: str | None = None, **files: str) -> str:
        """A directory with `app.py` and other files (`name__py` is `name.py`)."""
        directory = self._tmp_path / f"code{len(list(self._tmp_path.iterdir()))}"
        directory.mkdir(mode=0o755)
        if source is not None:
            (directory / "app.py").write_text(source)
        for name, text in files.items():
            (directory / name.replace("__", ".")).write_text(text)
        return str(directory)

    async def launch(self, source: str = "", *, reuse: str | None = None, **changes: Any) -> Runtime:
        ours, theirs = socket.socketpair()
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        plan: dict[str, Any] = {
            "environment_id": reuse or os.urandom(16).hex(),
            "runtime_kind": "python",
            "interpreter": self.python,
            "environ": {**ENVIRON, **changes.pop("environ", {})},
            "memory_mb": 256,
            "tmp_mb": 64,
            "frames_fd": theirs.fileno(),
            "log_fd": writer,
        }
        plan.update(changes)
        if "task_dir" not in plan:
            plan["task_dir"] = self.code(source)
        try:
            process = await asyncio.wait_for(self.client.launch(LaunchPlan(**plan), reuse=reuse), 20)
        except BaseException:
            ours.close()
            os.close(reader)
            raise
        finally:
            theirs.close()
            os.close(writer)
        runtime = Runtime(process, ours, reader)
        self._runtimes.append(runtime)
        return runtime

    async def start(self, source: str = "", **changes: Any) -> Runtime:
        return await (await self.launch(source, **changes)).ready()

    async def close(self) -> None:
        await self.client.stop()
        self.let_go()

    def let_go(self) -> None:
        """Closes the server's ends of what was launched."""
        for runtime in self._runtimes:
            runtime.process.release()
            runtime.close()
        self._runtimes.clear()


MakeBench = Callable[..., Awaitable[Bench]]


@pytest.fixture(scope="session")
def python() -> str:
    """An interpreter to run functions on: 3.12 if there is one, else the one that runs the tests."""
    interpreters = Interpreters()
    for name in ("python3.12", "python3.11", "python3.13"):
        found = interpreters.find(name)
        if found is not None:
            return found.path
    raise AssertionError("no Python for functions was found")


TIERS = {
    "T3": "auto as root",
    "T2": "auto as another user",
    "T1 with users": "T1 as root",
    "T1": "T1 as another user",
    "T0": "off as whoever runs the tests",
}
"""Every way that environments can be kept apart on one machine, and how it is had."""
NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"


def runs_spawner(python: str) -> bool:
    """Whether it is there and new enough, by its name."""
    name = os.path.basename(os.path.realpath(python)).removeprefix("python3.")
    return os.path.exists(python) and name.isdigit() and int(name) >= 11


async def start_tier(place: Path, python: str, name: str) -> Bench:
    """A spawner of one of TIERS, as another user if that is how it is had. Skips where it cannot be had."""
    how, _, who = TIERS[name].partition(" as ")
    if who != "whoever runs the tests":
        if os.geteuid() != 0:
            pytest.skip("needs root, to be root or to become somebody else")
        if name != "T3":
            if not runs_spawner(SYSTEM_PYTHON):
                pytest.skip("needs a Python 3.11 that every user may run")
            python = os.path.realpath(SYSTEM_PYTHON)
    options: dict[str, Any] = {"isolation": how}
    if who == "another user":
        options["python"] = str(as_nobody(place))
        (place / "state").mkdir()
        os.chown(place / "state", NOBODY, NOBODY)
    open_to_all(place)
    bench = await start_bench(place, python, **options)
    if bench.client.tier != name[:2]:
        reasons = (await bench.client.report())["missing"]
        await bench.close()
        pytest.skip(" ".join(reasons))
    return bench


def as_nobody(place: Path) -> Path:
    """A program that runs the system's Python as a user without any rights."""
    program = place / "python3"
    program.write_text(
        f'#!/bin/sh\nexec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups {SYSTEM_PYTHON} "$@"\n'
    )
    program.chmod(0o755)
    return program


def open_to_all(place: Path) -> None:
    """Lets every user get to a directory of the test's."""
    root = Path(tempfile.gettempdir())
    for directory in [place, *place.parents]:
        if directory == root:
            break
        directory.chmod(0o755)


async def start_bench(place: Path, function_python: str, **options: Any) -> Bench:
    """A spawner with its state and the functions' code under `place`."""
    # Other users must be able to read the code, as they can in a server's data folder.
    open_to_all(place)
    state, code = place / "state", place / "code"
    state.mkdir(exist_ok=True)
    code.mkdir(exist_ok=True)
    client = SpawnerClient.start(SpawnerOptions(state_dir=str(state), **options))
    await client.attach()
    return Bench(client, code, function_python)


@pytest_asyncio.fixture(loop_scope="package")
async def make_bench(tmp_path: Path, python: str) -> AsyncIterator[MakeBench]:
    """Spawners of a test's own."""
    benches: list[Bench] = []

    async def make(**options: Any) -> Bench:
        benches.append(await start_bench(tmp_path, python, **options))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def bench(tmp_path_factory: pytest.TempPathFactory, python: str) -> AsyncIterator[Bench]:
    """The strongest tier that this machine has; one spawner for all tests that leave it as it was."""
    bench = await start_bench(tmp_path_factory.mktemp("bench"), python)
    yield bench
    await bench.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def portable_bench(tmp_path_factory: pytest.TempPathFactory, python: str) -> AsyncIterator[Bench]:
    """The portable tier."""
    bench = await start_bench(tmp_path_factory.mktemp("portable"), python, isolation="off")
    yield bench
    await bench.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package", params=TIERS)
async def any_bench(request: pytest.FixtureRequest, python: str) -> AsyncIterator[Bench]:
    """Every tier that this machine has, one after the other."""
    # Not in pytest's own folder, which every run of pytest closes to other users.
    with tempfile.TemporaryDirectory(prefix="tier-") as place:
        bench = await start_tier(Path(place), python, request.param)
        yield bench
        await bench.close()


@pytest.fixture(autouse=True)
def end_what_was_launched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Environments do not outlive their test, though spawners do."""
    yield
    for name in ("bench", "portable_bench", "any_bench"):
        if name in request.fixturenames:
            request.getfixturevalue(name).let_go()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this package share an event loop, as they share spawners."""
    for item in items:
        if Path(item.path).parent == Path(__file__).parent and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and users need root")
