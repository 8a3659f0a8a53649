"""A control plane for tests: a real store in a temporary folder, and a preparation that tests direct."""

from __future__ import annotations

import asyncio
import io
import stat
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from lambdad.clock import SystemClock
from lambdad.control.plane import ControlPlane
from lambdad.domain.functions import FunctionVersion
from lambdad.domain.lifecycle import PrepareFailure
from lambdad.storage.functions import FunctionRepository
from lambdad.storage.packages import PackageStore
from lambdad.storage.sqlite import SqliteEngine
from lambdad.telemetry import Telemetry

ACCOUNT = "111111111111"
REGION = "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lambda-role"


class Preparation:
    """Stands for the execution side. `hold` keeps versions unsettled until `release`."""

    def __init__(self) -> None:
        self.failure: PrepareFailure | None = None
        self.prepared: list[FunctionVersion] = []
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def __call__(self, version: FunctionVersion) -> PrepareFailure | None:
        await self._open.wait()
        self.prepared.append(version)
        return self.failure


class Bench:
    """A running control plane and what it told."""

    def __init__(self, plane: ControlPlane, repository: FunctionRepository, packages: PackageStore) -> None:
        self.plane = plane
        self.repository = repository
        self.packages = packages
        self.preparation = Preparation()
        self.telemetry = Telemetry()
        self.changed: list[tuple[str, str, str]] = []

    async def settle(self) -> None:
        await self.plane.activation.wait_settled()


@asynccontextmanager
async def a_bench(folder: Path, *, settle_s: float = 0.0) -> AsyncIterator[Bench]:
    engine = await SqliteEngine.open(folder)
    repository = FunctionRepository(engine)
    packages = await PackageStore.open(folder)
    preparation, telemetry = Preparation(), Telemetry()
    changed: list[tuple[str, str, str]] = []
    plane = ControlPlane(
        repository,
        packages,
        SystemClock(),
        prepare=preparation,
        changed=lambda *key: changed.append(key),
        telemetry=telemetry,
        settle_s=settle_s,
    )
    bench = Bench(plane, repository, packages)
    bench.preparation, bench.changed, bench.telemetry = preparation, changed, telemetry
    await plane.start()
    try:
        yield bench
    finally:
        await plane.stop()
        packages.close()
        await engine.close()


def zipped(files: Mapping[str, str | bytes], *, mode: int = 0o644) -> bytes:
    """A deployment package."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(info, content)
    return buffer.getvalue()
