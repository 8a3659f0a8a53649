"""Starts functions under our Node bootstrap."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.launching import Started, own_node, start

StartNode = Callable[..., Awaitable[Started]]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[StartNode]:
    """`await node(source)` or `await node({"file": text})`; the runtime is nodejs20.x unless `runtime` says else."""
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    running: list[Started] = []

    async def start_node(
        files: str | Mapping[str, str],
        *,
        runtime: str = "nodejs20.x",
        handler: str = "main.handler",
        options: tuple[str, ...] = (),
        **values: Any,
    ) -> Started:
        given = {"main.js": files} if isinstance(files, str) else files
        folder = tmp_path / f"task{len(running)}"
        folder.mkdir()
        plan = own_node(runtime, *options, files=given, handler=handler, **values)
        running.append(await start(plan, folder))
        return running[-1]

    yield start_node
    for started in running:
        await started.stop()
