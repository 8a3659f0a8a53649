"""Forward migrations: modules `m0001_…` in order, each with `STATEMENTS`; the database stores how far it has come."""

from __future__ import annotations

import importlib
import pkgutil
import sqlite3

from lambdad.storage.engine import SchemaTooNew


def modules() -> list[str]:
    """Names of the migrations, oldest first; the number of a schema version is its place here, from 1."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name.startswith("m"))


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the schema up to date, one transaction a version. Raises SchemaTooNew for data of a newer lambdad."""
    names = modules()
    current: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if current > len(names):
        raise SchemaTooNew(
            f"The data folder has schema version {current}, this lambdad knows {len(names)}: a newer lambdad wrote it. "
            "Upgrade lambdad, or give this one its own folder with --data."
        )
    for number, name in enumerate(names[current:], start=current + 1):
        migration = importlib.import_module(f"{__name__}.{name}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migration.STATEMENTS:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
