"""One start of the runtime inside an environment, with its extensions: from the request to the last process.

An environment has one boot after another. The next one waits until the one before is gone, because they share /tmp.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from lambdad.clock import Clock
from lambdad.domain.extensions import ShutdownReason
from lambdad.domain.functions import FunctionVersion
from lambdad.execution.channel import ChannelEvents
from lambdad.execution.extensions.registry import ExtensionEvents
from lambdad.execution.extensions.session import ExtensionSession
from lambdad.execution.extensions.shutdown import Shutdown
from lambdad.execution.log_capture import LogCapture
from lambdad.execution.sandbox import Booted, LaunchFailed, Sandbox
from lambdad.execution.spawner.client import PartEnd, ProcessExit

logger = logging.getLogger(__name__)

EXIT_GRACE_S = 0.25
"""How long a runtime that closed its channel may take to end before it is killed."""


class BootEvents(ChannelEvents, ExtensionEvents, Protocol):
    """The environment, as its boot sees it. Nothing is told any more once the environment has called `end`, but for
    a start that was under way."""

    def boot_begins(self) -> None:
        """The processes are started now."""

    def boot_failed(self, reason: str, error_type: str) -> None:
        """They could not be started."""

    def boot_runs(self) -> None:
        """They run; what the runtime and the extensions told before was not lost."""

    def runtime_ended(self, end: ProcessExit) -> None:
        """The runtime ended by itself."""

    def extension_ended(self, end: PartEnd) -> None:
        """An external extension ended without having told before that it would."""


class Boot:
    """Begins when made. `end` ends it, at once or with a shutdown phase; `gone` is done when nothing of it is left."""

    def __init__(
        self,
        listener: BootEvents,
        sandbox: Sandbox,
        version: FunctionVersion,
        environment_id: str,
        stream_name: str,
        initialization_type: str,
        *,
        capture: LogCapture,
        clock: Clock,
        before: Boot | None,
    ) -> None:
        self.session = ExtensionSession(version, listener, clock)
        self.booted: Booted | None = None
        self.started = 0.0
        """Monotonic seconds."""
        self.runtime_is_ready = False
        self.init_error: tuple[str, bytes] | None = None
        """What the runtime told of its failed init."""
        self.peak_kib = 0
        self._listener = listener
        self._sandbox = sandbox
        self._version = version
        self._environment_id = environment_id
        self._stream_name = stream_name
        self._initialization_type = initialization_type
        self._capture = capture
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._reason: ShutdownReason | None = None
        self._runtime_is_gone = False
        self._exit_timer: asyncio.TimerHandle | None = None
        self._shutdown: Shutdown | None = None
        self._task = self._loop.create_task(self._start(before))

    # --- starting ---

    async def _start(self, before: Boot | None) -> None:
        if before is not None:
            await before.gone
        if self._reason is not None:
            self._set_gone()
            return
        self.started = time.monotonic()
        self._capture.telemetry = self.session.telemetry
        self._listener.boot_begins()
        try:
            booted = await self._sandbox.boot(
                self._version,
                self._environment_id,
                self._stream_name,
                self._listener,
                self.session,
                initialization_type=self._initialization_type,
            )
        except LaunchFailed as error:
            self._failed(str(error), error.error_type)
        except Exception as error:
            logger.exception("environment %s of %s could not be started", self._environment_id, self._version.arn)
            self._failed(f"lambdad could not start the environment: {error}", "Runtime.Unknown")
        else:
            self._launched(booted)

    def _failed(self, reason: str, error_type: str) -> None:
        self.session.close()
        is_wanted = self._reason is None
        self._set_gone()
        if is_wanted:
            self._listener.boot_failed(reason, error_type)

    def _launched(self, booted: Booted) -> None:
        self.booted = booted
        self._capture.attach(booted.log_descriptor, booted.extension_log_descriptor)
        booted.process.exited.add_done_callback(self._all_ended)
        booted.process.watch_parts(self._part_ended)
        if self._reason is not None:  # stopped or timed out while it was being launched
            self._end(booted, self._reason)
            return
        if self.runtime_is_ready:
            self.runtime_ready()
        self._listener.boot_runs()

    def runtime_ready(self) -> None:
        """The runtime waits for its first invocation; perhaps it was quicker than the spawner's answer."""
        self.runtime_is_ready = True
        if self.booted is not None and self.session.registry.all:
            self.booted.channel.keep_turning()

    # --- ends ---

    def end(self, reason: ShutdownReason) -> None:
        """Ends what runs; nothing more is told."""
        if self._reason is not None or self.gone.done():
            return
        self._reason = reason
        if self.booted is not None:
            self._end(self.booted, reason)

    def _end(self, booted: Booted, reason: ShutdownReason) -> None:
        if self._exit_timer is not None:
            self._exit_timer.cancel()
            self._exit_timer = None
        self._capture.drain()
        self.measure()
        self.session.end()
        if self.session.is_empty or booted.process.exited.done():
            self._close(booted)
            booted.process.kill()
        else:
            booted.channel.silence()
            booted.process.thaw()
            self._shutdown = Shutdown(
                booted.process,
                self.session,
                reason,
                runtime_is_gone=self._runtime_is_gone,
                output=self._capture.drain,
            )

    def _close(self, booted: Booted) -> None:
        """Frees the server's ends."""
        self._capture.drain()
        self._capture.detach()
        self._capture.telemetry = None
        booted.channel.close()
        if booted.extensions_api is not None:
            booted.extensions_api.close()
        self.session.close()

    def _part_ended(self, end: PartEnd) -> None:
        """One of several programs is gone, the others live on."""
        if end.extension:
            if self.session.registry.ended(end.extension) and self._reason is None:
                self._listener.extension_ended(end)
            return
        self._runtime_is_gone = True
        if self._reason is None:
            self._listener.runtime_ended(
                ProcessExit(status=end.status, signal=end.signal, oom_killed=end.oom_killed, peak_kib=self.measure())
            )

    def _all_ended(self, future: asyncio.Future[ProcessExit]) -> None:
        booted, end = self.booted, future.result()
        assert booted is not None
        self.peak_kib = max(self.peak_kib, end.peak_kib)
        if self._reason is None:
            self._runtime_is_gone = True
            self._listener.runtime_ended(end)
        if self._shutdown is not None:
            self._close(booted)
        self._set_gone()

    def _set_gone(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def channel_closed(self) -> None:
        """The spawner tells how the process ended. A runtime that closed the channel and lives on is of no use."""
        if self.booted is not None and self._exit_timer is None and self._reason is None:
            process = self.booted.process
            kill = process.kill if self.session.is_empty else lambda: process.terminate(force=True)
            self._exit_timer = self._loop.call_later(EXIT_GRACE_S, kill)

    @property
    def is_shutting_down(self) -> bool:
        return self._shutdown is not None and not self.gone.done()

    def measure(self) -> int:
        """High-water mark of the memory, in KiB."""
        if self.booted is not None:
            peak_kib = self.booted.process.peak_kib()
            if peak_kib > self.peak_kib:  # noqa: PLR1730 - on the hot path, where max() costs three times as much
                self.peak_kib = peak_kib
        return self.peak_kib
