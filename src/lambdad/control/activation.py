"""From Pending to Active, and from InProgress to Successful: what happens to a version after its change is stored.

One task for each version that is not settled; tasks that a stop of the server cut off begin again at its next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from lambdad.control.changes import Changes, new_revision_id
from lambdad.domain.functions import FunctionVersion, StoredVersion
from lambdad.domain.lifecycle import PrepareFailure, failed, ready
from lambdad.storage.functions import FunctionRepository, FunctionTables, VersionKey
from lambdad.storage.packages import PackageStore

logger = logging.getLogger(__name__)

Prepare = Callable[[FunctionVersion], Awaitable[PrepareFailure | None]]
"""Tells whether a version can run here: the execution side looks for its interpreter."""

SETTLE_S = 0.05
"""How long a version stays unsettled at least. On AWS it takes seconds; software that does not wait for a function to
become active, or sends two updates at once, is to find out here too."""
AT_ONCE = 8


class Activation:
    """Settles versions in the background."""

    def __init__(
        self,
        repository: FunctionRepository,
        packages: PackageStore,
        changes: Changes,
        prepare: Prepare,
        *,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._repository = repository
        self._packages = packages
        self._changes = changes
        self._prepare = prepare
        self._settle_s = settle_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def start(self) -> None:
        """Takes up what an earlier server left unsettled."""
        for key in await self._repository.unsettled():
            self.begin(key)

    def begin(self, key: VersionKey) -> None:
        """Settles a version; returns at once."""
        task = asyncio.get_running_loop().create_task(self._settle(key), name=f"activate {key.function.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait_settled(self) -> None:
        """Waits until nothing is left to settle."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def statistics(self) -> dict[str, float]:
        return {"unsettled": len(self._tasks)}

    async def _settle(self, key: VersionKey) -> None:
        loop = asyncio.get_running_loop()
        earliest = loop.time() + self._settle_s
        try:
            found = await self._repository.version(key)
            if found is None:
                return
            version = found[1].current
            async with self._places:
                failure = await self._try(version)
            await asyncio.sleep(max(0.0, earliest - loop.time()))
            await self._changes.make(key.function, lambda tables: _store(tables, key, version.generation, failure))
        except Exception:
            logger.exception("The version %s of %s could not be settled", key.version, key.function.name)

    async def _try(self, version: FunctionVersion) -> PrepareFailure | None:
        try:
            await self._packages.tree(version.code_sha256)
            if version.layers:
                await self._packages.merged_tree([layer.code_sha256 for layer in version.layers])
            return await self._prepare(version)
        except Exception as error:
            logger.exception("The version %s could not be prepared", version.arn)
            return PrepareFailure(code="InternalError", reason=f"The function could not be prepared: {error!r}")


def _store(tables: FunctionTables, key: VersionKey, generation: int, failure: PrepareFailure | None) -> None:
    stored = tables.version(key)
    if stored is None or stored.current.generation != generation:
        return  # deleted meanwhile, perhaps created again: then another task is at work
    if failure is None:
        settled = StoredVersion(current=ready(stored.current, new_revision_id()))
    else:
        settled = StoredVersion(current=failed(stored.current, failure, new_revision_id()), previous=stored.previous)
    tables.put_version(settled, settled=True)
