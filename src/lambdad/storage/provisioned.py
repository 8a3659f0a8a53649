"""Provisioned concurrency as it is kept: what was asked for, by qualifier."""

from __future__ import annotations

from lambdad.domain.provisioned import ProvisionedConfig
from lambdad.storage.engine import Engine, Row, Transaction
from lambdad.storage.functions import FunctionKey

_COLUMNS = "account, region, function, qualifier, requested, last_modified"
_FUNCTION = "account = :account AND region = :region AND function = :name"


def put(tx: Transaction, config: ProvisionedConfig) -> None:
    """Inserts or replaces."""
    tx.run(
        f"INSERT INTO provisioned_concurrency ({_COLUMNS})"
        " VALUES (:account, :region, :function, :qualifier, :requested, :last_modified)"
        " ON CONFLICT (account, region, function, qualifier)"
        " DO UPDATE SET requested = excluded.requested, last_modified = excluded.last_modified",
        {
            "account": config.account,
            "region": config.region,
            "function": config.function,
            "qualifier": config.qualifier,
            "requested": config.requested,
            "last_modified": config.last_modified,
        },
    )


def delete(tx: Transaction, key: FunctionKey, qualifier: str) -> bool:
    """False if there was none."""
    arguments = {**key.arguments, "qualifier": qualifier}
    return tx.run(f"DELETE FROM provisioned_concurrency WHERE {_FUNCTION} AND qualifier = :qualifier", arguments) > 0


def by_qualifier(tx: Transaction, key: FunctionKey) -> dict[str, int]:
    """What a function has asked for."""
    rows = tx.all(f"SELECT qualifier, requested FROM provisioned_concurrency WHERE {_FUNCTION}", key.arguments)
    return {str(qualifier): int(requested) for qualifier, requested in rows}


async def find(engine: Engine, key: FunctionKey, qualifier: str) -> ProvisionedConfig | None:
    arguments = {**key.arguments, "qualifier": qualifier}
    rows = await engine.read(
        f"SELECT {_COLUMNS} FROM provisioned_concurrency WHERE {_FUNCTION} AND qualifier = :qualifier", arguments
    )
    return _config(rows[0]) if rows else None


async def listing(engine: Engine, key: FunctionKey, *, after: str, limit: int) -> list[ProvisionedConfig]:
    """By qualifier, of those behind `after`."""
    rows = await engine.read(
        f"SELECT {_COLUMNS} FROM provisioned_concurrency WHERE {_FUNCTION} AND qualifier > :after"
        " ORDER BY qualifier LIMIT :limit",
        {**key.arguments, "after": after, "limit": limit},
    )
    return [_config(row) for row in rows]


async def functions(engine: Engine) -> list[FunctionKey]:
    """Every function that has some."""
    rows = await engine.read("SELECT DISTINCT account, region, function FROM provisioned_concurrency")
    return [FunctionKey(*row) for row in rows]


def _config(row: Row) -> ProvisionedConfig:
    account, region, function, qualifier, requested, last_modified = row
    return ProvisionedConfig(
        account=account,
        region=region,
        function=function,
        qualifier=qualifier,
        requested=requested,
        last_modified=last_modified,
    )
