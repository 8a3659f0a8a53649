"""Starts a runtime as a plain child process with a channel, as the contract tests need it: no isolation, no spawner."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lambdad.domain.invocations import Invocation
from lambdad.execution.channel import RuntimeChannel
from lambdad.execution.frames import FRAMES_FD_VARIABLE, UNBOUND_VARIABLE, FramesChannel, bind_frame, open_pair
from lambdad.execution.runtime_api import RuntimeApi
from lambdad.execution.runtimes.catalog import NODE_BOOTSTRAP, Credentials, Places, base_environment, common_environment
from tests.execution.recording import RecordedEvents, Told
from tests.execution.scripted import no_extensions

NODE = shutil.which("node") or "node"
PYTHON_BOOTSTRAP = NODE_BOOTSTRAP.parents[1] / "python" / "bootstrap.py"
FUNCTION_ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
TIMEOUT_MS = 30_000
FRAMES_DESCRIPTOR = 3
"""As the spawner has it. Node keeps descriptors of small numbers from its own child processes."""


@dataclass(kw_only=True)
class Plan:
    """What to start, with which function."""

    runtime: str
    """The identifier; it decides what AWS_EXECUTION_ENV says."""
    argv: list[str]
    over_http: bool = False
    ahead: bool = False
    """Started without the function, and bound to it afterwards."""
    handler: str = "main.handler"
    files: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    log_format: str = "Text"


def own_node(runtime: str = "nodejs20.x", *options: str, **values: Any) -> Plan:
    """Our Node bootstrap."""
    return Plan(runtime=runtime, argv=[NODE, *options, str(NODE_BOOTSTRAP)], **values)


def own_python(**values: Any) -> Plan:
    """Our Python bootstrap, under the interpreter that runs the tests."""
    runtime = f"python3.{sys.version_info[1]}"
    return Plan(runtime=runtime, argv=[sys.executable, str(PYTHON_BOOTSTRAP)], **values)


class Started:
    """A runtime that has been started."""

    def __init__(self, folder: Path, events: RecordedEvents, log: int) -> None:
        self.folder = folder
        self.events = events
        self.channel: RuntimeChannel
        self.process: asyncio.subprocess.Process
        self._log = log
        self._read = b""

    async def ready(self) -> Started:
        """Waits for the end of init. Fails with what was told and printed instead."""
        told = await self.events.next(10)
        assert told == ("ready",), (told, self.log())
        return self

    def deliver(self, event: bytes, request_id: str = "id-1", **values: Any) -> None:
        self.channel.deliver(an_invocation(event, request_id, **values))

    async def invoke(self, event: bytes, request_id: str = "id-1", **values: Any) -> Told:
        """Delivers and waits for a buffered answer."""
        self.deliver(event, request_id, **values)
        return await self.answer()

    async def answer(self) -> Told:
        """The next result or error."""
        while (told := await self.events.next(10))[0] == "next_requested":
            pass
        return told

    def log(self) -> str:
        """All that is in the pipe by now; does not wait. A newline inside a record appears as `␤`."""
        while True:
            try:
                piece = os.read(self._log, 1 << 20)
            except BlockingIOError:
                break
            if not piece:
                break
            self._read += piece
        return self._read.replace(b"\xff", "␤".encode()).replace(b"\xfe", b"").decode()

    async def log_until(self, enough: Callable[[str], bool], timeout_s: float = 10.0) -> str:
        """Reads on until the log is as `enough` wants it."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._log, readable.set)
        try:
            async with asyncio.timeout(timeout_s):
                while not enough(text := self.log()):
                    readable.clear()
                    await readable.wait()
        finally:
            loop.remove_reader(self._log)
        return text

    async def ended(self) -> int:
        """Exit status, negative for a signal."""
        async with asyncio.timeout(10):
            return await self.process.wait()

    async def stop(self) -> None:
        self.channel.close()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        os.close(self._log)


def an_invocation(event: bytes, request_id: str = "id-1", **values: Any) -> Invocation:
    return Invocation(
        request_id=request_id,
        event=event,
        deadline_ms=int(time.time() * 1000) + TIMEOUT_MS,
        invoked_function_arn=FUNCTION_ARN,
        **({"trace_id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"} | values),
    )


async def start(plan: Plan, folder: Path) -> Started:
    """Writes the function's files below `folder` and starts the runtime there."""
    for name, text in plan.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    log, log_end = os.pipe()
    os.set_blocking(log, False)
    started = Started(folder, RecordedEvents(), log)
    environ = base_environment(
        runtime=plan.runtime,
        handler=plan.handler,
        function_name="f",
        function_version="7",
        memory_mb=256,
        region="eu-west-1",
        log_group="/aws/lambda/f",
        log_stream="2026/01/31/[7]0123456789abcdef0123456789abcdef",
        credentials=Credentials(access_key_id="AK", secret_access_key="SK", session_token="ST"),
        log_format=plan.log_format,
        places=Places(task=str(folder)),
    )
    theirs = None
    if plan.over_http:
        api = await RuntimeApi.open(started.events, no_extensions())
        started.channel = api
        environ["AWS_LAMBDA_RUNTIME_API"] = api.address
    else:
        ours, theirs = open_pair()
        if plan.ahead:
            ours.sendall(bind_frame(environ | dict(plan.environ)))
            environ = {**common_environment(plan.runtime, Places(task=str(folder))), UNBOUND_VARIABLE: "1"}
        started.channel = FramesChannel(ours, started.events, blocks=plan.runtime.startswith("nodejs"))
        environ[FRAMES_FD_VARIABLE] = str(FRAMES_DESCRIPTOR)
    try:
        started.process = await asyncio.create_subprocess_exec(
            *plan.argv,
            cwd=folder,
            env=environ if plan.ahead else environ | dict(plan.environ),
            close_fds=False,
            preexec_fn=partial(os.dup2, theirs.fileno(), FRAMES_DESCRIPTOR) if theirs else None,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log_end,
            stderr=log_end,
        )
    finally:
        os.close(log_end)
        if theirs is not None:
            theirs.close()
    return started
