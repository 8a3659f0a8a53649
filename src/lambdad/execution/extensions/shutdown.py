"""The Shutdown phase of one boot: what runs gets the time that AWS gives it, then SIGKILL.

With external extensions the runtime gets SIGTERM and a share of the time, then the extensions that want to know get
their SHUTDOWN event and the rest of it. With internal ones alone there is half a second, in which telemetry that
waits is still sent. Nobody is told anything then, so the runtime is not waited for longer than that takes.
(AWS Lambda developer guide; the order is RIE's)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from lambdad.domain.extensions import RUNTIME_SHARE_S, ShutdownReason, shutdown_budget_s
from lambdad.execution.extensions.session import ExtensionSession
from lambdad.execution.sandbox import RuntimeProcess
from lambdad.execution.spawner.client import PartEnd

logger = logging.getLogger(__name__)


class Shutdown:
    """Runs at once when made; ends in SIGKILL for what is left, or with the last process."""

    def __init__(
        self,
        process: RuntimeProcess,
        session: ExtensionSession,
        reason: ShutdownReason,
        *,
        runtime_is_gone: bool,
        output: Callable[[], None],
    ) -> None:
        """`output` reads what was printed so far, before it is too late for telemetry."""
        self._process = process
        self._session = session
        self._reason = reason
        self._output = output
        self._runtime_is_gone = runtime_is_gone
        self._runtime_ended = asyncio.Event()
        self._extension_ended = asyncio.Event()
        if runtime_is_gone:
            self._runtime_ended.set()
        process.watch_parts(self._part_ended)
        self._task = asyncio.get_running_loop().create_task(self._run())
        process.exited.add_done_callback(self._all_ended)

    async def _run(self) -> None:
        registry = self._session.registry
        budget_s = shutdown_budget_s(external=registry.has_external, internal=bool(registry.registered))
        end = time.monotonic() + budget_s
        try:
            async with asyncio.timeout(budget_s):
                if registry.has_external:
                    await self._end_runtime()
                    registry.shut_down(self._reason, int((time.time() + end - time.monotonic()) * 1000))
                    while registry.to_shut_down:
                        self._extension_ended.clear()
                        self._session.telemetry.flush()
                        await self._extension_ended.wait()
                self._output()
                await self._session.telemetry.flushed()
        except TimeoutError:
            names = [one.name for one in registry.to_shut_down]
            logger.debug("extensions did not end in time and are killed: %s", ", ".join(names) or "telemetry waits")
        except Exception:
            logger.exception("the shutdown phase failed; what runs is killed")
        finally:
            self._process.kill()

    async def _end_runtime(self) -> None:
        """SIGTERM, and after its share of the time SIGKILL. Its last words are telemetry, too."""
        self._session.telemetry.flush()
        if self._runtime_is_gone:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(RUNTIME_SHARE_S):
                await self._runtime_ended.wait()
        except TimeoutError:
            self._process.terminate(force=True)
        self._output()

    def _part_ended(self, end: PartEnd) -> None:
        if end.extension:
            self._session.registry.ended(end.extension)
            self._extension_ended.set()
        else:
            self._runtime_ended.set()

    def _all_ended(self, _: object) -> None:
        self._task.cancel()
