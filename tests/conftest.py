"""Fixtures that several parts use: a real server for the whole run, and servers of a test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running import RunningServer

StartServer = Callable[..., RunningServer]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests that share it; they must use names of their own."""
    running = RunningServer(tmp_path_factory.mktemp("lambdad"))
    yield running
    running.stop()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers for one test: `start_server("--auth", "strict")`. They share a data folder unless given one."""
    started: list[RunningServer] = []

    def start(*options: str, data: Path | None = None, environ: dict[str, str] | None = None) -> RunningServer:
        server = RunningServer(data or tmp_path / "data", *options, environ=environ)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()
