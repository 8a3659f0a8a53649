"""How far the service's time was moved, so that it goes on from there after a restart and never runs backwards."""

from __future__ import annotations

from lambdad.storage.engine import Engine

_NAME = "clock.advanced_s"


async def read(engine: Engine) -> float:
    """Seconds; 0 when it was never moved."""
    rows = await engine.read("SELECT value FROM setting WHERE name = :name", {"name": _NAME})
    return float(rows[0][0]) if rows else 0.0


async def write(engine: Engine, advanced_s: float) -> None:
    await engine.write(
        lambda tx: tx.run(
            "INSERT INTO setting (name, value) VALUES (:name, :value)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            {"name": _NAME, "value": repr(advanced_s)},
        )
    )
