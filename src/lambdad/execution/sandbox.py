"""What an environment needs of whoever starts processes and keeps logs; `app` hands in the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lambdad.domain.functions import FunctionVersion
from lambdad.execution.channel import ChannelEvents, RuntimeChannel
from lambdad.execution.extensions.session import ExtensionSession
from lambdad.execution.spawner.client import PartEnd, ProcessExit

ON_DEMAND = "on-demand"
SNAP_START = "snap-start"


class LaunchFailed(Exception):
    """The runtime could not be started at all; the text is what AWS tells the caller about the entry point."""

    def __init__(self, text: str, error_type: str = "Runtime.InvalidEntrypoint") -> None:
        super().__init__(text)
        self.error_type = error_type


class RuntimeProcess(Protocol):
    """A running runtime and everything it has started."""

    exited: asyncio.Future[ProcessExit]

    def watch_parts(self, ended: Callable[[PartEnd], None]) -> None:
        """Where there are extensions: tells when one of them, or the runtime, has ended while others live on."""

    def terminate(self, *, force: bool = False) -> None:
        """SIGTERM to the runtime alone, or SIGKILL with `force`."""

    def kill(self) -> None:
        """SIGKILL to the whole tree, frozen or not."""

    def init_over(self) -> None:
        """From now on its CPU time may be limited."""

    def freeze(self) -> None:
        """Stops the whole tree until `thaw`."""

    def thaw(self) -> None:
        """Lets it run on."""

    def peak_kib(self) -> int:
        """High-water mark of the environment's memory in KiB, 0 if unknown."""


class Closable(Protocol):
    """Something of the server's to be closed with the boot."""

    def close(self) -> None: ...


@dataclass(slots=True, kw_only=True)
class Booted:
    """A runtime that was just started: its process and the server's ends of its channel and its output."""

    process: RuntimeProcess
    channel: RuntimeChannel
    log_descriptor: int
    """Non-blocking read end of the pipe behind stdout and stderr."""
    extension_log_descriptor: int = -1
    """The same of the external extensions, if there are any."""
    extensions_api: Closable | None = None
    """The listener for extensions, where it is not the channel."""


class Sandbox(Protocol):
    """Starts runtimes inside one environment after another; there is one sandbox for a server."""

    async def boot(
        self,
        version: FunctionVersion,
        environment_id: str,
        stream: str,
        events: ChannelEvents,
        extensions: ExtensionSession,
        *,
        initialization_type: str = ON_DEMAND,
    ) -> Booted:
        """Starts the runtime of `version` and its extensions. Called again for the same id after the runtime broke:
        /tmp is kept.

        `initialization_type` is what it reads in AWS_LAMBDA_INITIALIZATION_TYPE.

        Raises LaunchFailed when the entry point, or an extension, cannot be executed.
        """

    def release(self, environment_id: str) -> None:
        """The environment is gone for good: its /tmp and everything else of it can go."""


class LogStream(Protocol):
    """One environment's log stream."""

    record_newline: bytes
    """What stands for a newline inside one record, as the environment's runtime client writes it."""

    def append(self, timestamp_ms: int, lines: bytes) -> None:
        """Complete lines, each ended by a newline."""

    def close(self) -> None: ...


class LogStreams(Protocol):
    """Opens log streams."""

    def open(self, version: FunctionVersion, stream: str) -> LogStream: ...
