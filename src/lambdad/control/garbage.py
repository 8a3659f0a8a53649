"""Removes code archives that no version needs any more."""

from __future__ import annotations

from collections.abc import Callable

from lambdad.loops import Loop
from lambdad.storage.functions import FunctionRepository
from lambdad.storage.packages import PackageStore

PAUSE_S = 600.0
"""Long enough for a code URL, which is valid for ten minutes, to be used after an update."""


class CodeGarbage(Loop):
    """Looks at the start and then every ten minutes. `busy` tells of code whether an environment still runs it."""

    name = "code garbage"

    def __init__(
        self, repository: FunctionRepository, packages: PackageStore, *, busy: Callable[[str], bool] = lambda _: False
    ) -> None:
        super().__init__()
        self._repository = repository
        self._packages = packages
        self._busy = busy

    async def run_once(self) -> float:
        await self._packages.collect(self._repository.code_in_use, busy=self._busy)
        return PAUSE_S
