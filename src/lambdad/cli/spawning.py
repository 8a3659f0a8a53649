"""How the commands start the spawner: before anything else, so that it is small and warms up beside the server."""

from __future__ import annotations

from lambdad.config import Settings
from lambdad.execution.spawner.client import SpawnerClient, SpawnerOptions


def start_spawner(settings: Settings) -> SpawnerClient:
    """Executes the spawner and returns at once; `attach` waits for it."""
    return SpawnerClient.start(
        SpawnerOptions(isolation=settings.isolation.highest, zygotes=settings.zygote, cpu=settings.cpu)
    )
