"""Code signing configurations, as they are kept, and the functions that have one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from lambdad.domain.code_signing import CodeSigningConfig, CodeSigningKey
from lambdad.storage.engine import Engine, Row, Transaction
from lambdad.storage.functions import FunctionKey

T = TypeVar("T")

_COLUMNS = "account, region, id, document, tags"
_KEY = "account = :account AND region = :region AND id = :id"
_FUNCTION = "account = :account AND region = :region AND function = :name"


def find(tx: Transaction, key: CodeSigningKey) -> CodeSigningConfig | None:
    row = tx.one(f"SELECT {_COLUMNS} FROM code_signing_config WHERE {_KEY}", _arguments(key))
    return None if row is None else _config(row)


def put(tx: Transaction, config: CodeSigningConfig) -> None:
    """Inserts or replaces."""
    document = {
        "description": config.description,
        "publishers": config.publishers,
        "policy": config.policy,
        "last_modified": config.last_modified,
    }
    tx.run(
        f"INSERT INTO code_signing_config ({_COLUMNS}) VALUES (:account, :region, :id, :document, :tags)"
        " ON CONFLICT (account, region, id) DO UPDATE SET document = excluded.document, tags = excluded.tags",
        {
            **_arguments(config.key),
            "document": json.dumps(document, ensure_ascii=False),
            "tags": json.dumps(dict(config.tags), ensure_ascii=False),
        },
    )


def delete(tx: Transaction, key: CodeSigningKey) -> bool:
    return tx.run(f"DELETE FROM code_signing_config WHERE {_KEY}", _arguments(key)) > 0


def of_function(tx: Transaction, function: FunctionKey) -> CodeSigningConfig | None:
    """The configuration that a function has."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM code_signing_config JOIN function_code_signing USING (account, region)"
        f" WHERE id = config_id AND {_FUNCTION}",
        function.arguments,
    )
    return None if row is None else _config(row)


def attach(tx: Transaction, function: FunctionKey, key: CodeSigningKey) -> None:
    """Gives a function a configuration in place of the one that it had."""
    tx.run(
        "INSERT INTO function_code_signing (account, region, function, config_id)"
        " VALUES (:account, :region, :name, :id)"
        " ON CONFLICT (account, region, function) DO UPDATE SET config_id = excluded.config_id",
        {**function.arguments, "id": key.id},
    )


def detach(tx: Transaction, function: FunctionKey) -> None:
    tx.run(f"DELETE FROM function_code_signing WHERE {_FUNCTION}", function.arguments)


def functions_of(tx: Transaction, key: CodeSigningKey, *, after: str = "", limit: int) -> list[str]:
    """Names of functions that have a configuration, of those behind `after`."""
    rows = tx.all(
        "SELECT function FROM function_code_signing WHERE account = :account AND region = :region"
        " AND config_id = :id AND function > :after ORDER BY function LIMIT :limit",
        {**_arguments(key), "after": after, "limit": limit},
    )
    return [row[0] for row in rows]


class CodeSigningRepository:
    """The stored configurations of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def write(self, job: Callable[[Transaction], T]) -> T:
        """Runs a job in one transaction; returns its result once that is on disk."""
        return await self._engine.write(job)

    async def list(self, account: str, region: str, *, after: str, limit: int) -> list[CodeSigningConfig]:
        """Configurations by id, of those behind `after`."""
        rows = await self._engine.read(
            f"SELECT {_COLUMNS} FROM code_signing_config"
            " WHERE account = :account AND region = :region AND id > :after ORDER BY id LIMIT :limit",
            {"account": account, "region": region, "after": after, "limit": limit},
        )
        return [_config(row) for row in rows]


def _arguments(key: CodeSigningKey) -> dict[str, object]:
    return {"account": key.account, "region": key.region, "id": key.id}


def _config(row: Row) -> CodeSigningConfig:
    account, region, config_id, document, tags = row
    members = json.loads(document)
    return CodeSigningConfig(
        key=CodeSigningKey(account, region, config_id),
        description=members["description"],
        publishers=tuple(members["publishers"]),
        policy=members["policy"],
        last_modified=members["last_modified"],
        tags=json.loads(tags),
    )
