"""A sandbox whose runtimes do what a test tells them, so that every turn of an environment's life can be played."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from lambdad.clock import SystemClock
from lambdad.domain.functions import FunctionVersion, LoggingConfig, State
from lambdad.domain.invocations import Invocation, Outcome
from lambdad.execution.calls import PendingCall
from lambdad.execution.channel import ChannelEvents
from lambdad.execution.extensions.session import ExtensionSession
from lambdad.execution.sandbox import Booted, LaunchFailed
from lambdad.execution.spawner.client import PartEnd, ProcessExit

REQUEST_ID = "11111111-2222-3333-4444-555555555555"


def a_version(**changes: object) -> FunctionVersion:
    values: dict[str, object] = {
        "account": "000000000000",
        "region": "us-east-1",
        "name": "greet",
        "generation": 1,
        "role": "arn:aws:iam::000000000000:role/r",
        "runtime": "python3.12",
        "handler": "app.handler",
        "code_sha256": "c2hh",
        "code_size": 3,
        "logging": LoggingConfig(log_format="Text", log_group="/aws/lambda/greet"),
        "revision_id": "r1",
        "last_modified": "2026-01-01T00:00:00.000+0000",
        "state": State.ACTIVE,
    }
    return FunctionVersion(**(values | changes))  # type: ignore[arg-type]


@dataclass
class ScriptedRuntime:
    """One boot: the server's view of a process and its channel, moved by the test."""

    events: ChannelEvents
    environment_id: str
    exited: asyncio.Future[ProcessExit]
    output: int
    delivered: list[Invocation] = field(default_factory=list)
    killed: bool = False
    closed: bool = False
    frozen: bool = False
    freezes: int = 0
    inits_over: int = 0
    paused: bool = False
    peak: int = 0
    initialization_type: str = "on-demand"
    terminated: list[bool] = field(default_factory=list)
    """SIGTERMs that the runtime got; True for SIGKILL."""
    silenced: bool = False
    keeps_turning: bool = False

    extensions: ExtensionSession = field(init=False)
    ended: Callable[[PartEnd], None] = field(init=False)

    def watch_parts(self, ended: Callable[[PartEnd], None]) -> None:
        self.ended = ended

    def terminate(self, *, force: bool = False) -> None:
        self.terminated.append(force)

    def keep_turning(self) -> None:
        self.keeps_turning = True

    def silence(self) -> None:
        self.silenced = True

    def kill(self) -> None:
        self.killed = True
        self.exit(signal=9)

    def init_over(self) -> None:
        self.inits_over += 1

    def freeze(self) -> None:
        self.frozen = True
        self.freezes += 1

    def thaw(self) -> None:
        self.frozen = False

    def peak_kib(self) -> int:
        return self.peak

    def deliver(self, invocation: Invocation) -> None:
        self.delivered.append(invocation)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True

    def prints(self, text: str) -> None:
        os.write(self.output, text.encode())

    def answers(self, body: bytes = b"null", peak_kib: int = 0) -> None:
        self.events.responded(body, "application/json", peak_kib)
        self.events.next_requested()

    def exit(self, status: int | None = None, signal: int | None = None, oom: bool = False, peak: int = 0) -> None:
        if not self.exited.done():
            os.close(self.output)
            self.exited.set_result(ProcessExit(status=status, signal=signal, oom_killed=oom, peak_kib=peak))


class ScriptedSandbox:
    """Hands out scripted runtimes in the order of the boots."""

    def __init__(self) -> None:
        self.boots: asyncio.Queue[ScriptedRuntime] = asyncio.Queue()
        self.all: list[ScriptedRuntime] = []
        self.released: list[str] = []
        self.failure: str | None = None
        self.ready_at_once = False

    async def boot(
        self,
        version: FunctionVersion,
        environment_id: str,
        stream: str,
        events: ChannelEvents,
        extensions: ExtensionSession,
        *,
        initialization_type: str = "on-demand",
    ) -> Booted:
        if self.failure is not None:
            raise LaunchFailed(self.failure)
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        exited: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()
        runtime = ScriptedRuntime(events, environment_id, exited, write_end, initialization_type=initialization_type)
        runtime.extensions = extensions
        self.all.append(runtime)
        self.boots.put_nowait(runtime)
        if self.ready_at_once:
            events.ready()
        return Booted(process=runtime, channel=runtime, log_descriptor=read_end)

    async def next(self) -> ScriptedRuntime:
        runtime = await asyncio.wait_for(self.boots.get(), 5)
        await asyncio.sleep(0)  # lets the environment take the boot's result
        return runtime

    def release(self, environment_id: str) -> None:
        self.released.append(environment_id)


class RecordedLogs:
    """Log streams in memory."""

    def __init__(self) -> None:
        self.streams: dict[str, bytearray] = {}

    def open(self, version: FunctionVersion, stream: str) -> RecordedStream:
        return RecordedStream(self.streams.setdefault(stream, bytearray()))

    @property
    def text(self) -> str:
        return "".join(text.replace(b"\xff", b"|").decode() for text in self.streams.values())


class RecordedStream:
    record_newline = b"\xff"

    def __init__(self, text: bytearray) -> None:
        self.text = text

    def append(self, timestamp_ms: int, lines: bytes) -> None:
        self.text += lines

    def close(self) -> None:
        pass


class _Call(PendingCall):
    def __init__(self, invocation: Invocation, outcome: asyncio.Future[Outcome]) -> None:
        super().__init__(invocation)
        self._outcome = outcome

    def answer(self, outcome: Outcome) -> None:
        self._outcome.set_result(outcome)


class Caller:
    """Collects the outcome of one call."""

    def __init__(self, wants_tail: bool = False) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.invocation = Invocation(
            request_id=REQUEST_ID,
            event=b"{}",
            invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:greet",
            trace_id="Root=1-0-0",
            wants_tail=wants_tail,
        )

    @property
    def call(self) -> PendingCall:
        return _Call(self.invocation, self.outcome)

    async def result(self) -> Outcome:
        return await asyncio.wait_for(self.outcome, 5)


class Nobody:
    """Hears what extensions tell."""

    def extension_ready(self) -> None:
        pass

    def extension_failed(self, error_type: str, reason: str) -> None:
        pass


def no_extensions(listener: Nobody | None = None) -> ExtensionSession:
    """A session that nobody has registered in."""
    return ExtensionSession(a_version(), listener or Nobody(), SystemClock())
