"""Function URLs, one row for each qualifier that has one. The qualifier is empty for the function."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from lambdad.domain.function_urls import Cors, FunctionUrl
from lambdad.storage.engine import Engine, Row, Transaction
from lambdad.storage.functions import FunctionKey

_COLUMNS = "account, region, function, qualifier, id, auth_type, cors, invoke_mode, created, last_modified"
_FUNCTION = "account = :account AND region = :region AND function = :name"


def find(tx: Transaction, key: FunctionKey, qualifier: str | None) -> FunctionUrl | None:
    """The URL of exactly this qualifier."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM function_url WHERE {_FUNCTION} AND qualifier = :qualifier",
        {**key.arguments, "qualifier": qualifier or ""},
    )
    return None if row is None else _url(row)


def by_id(tx: Transaction, url_id: str) -> FunctionUrl | None:
    """The URL of an id, whatever function and account it is of."""
    row = tx.one(f"SELECT {_COLUMNS} FROM function_url WHERE id = :id", {"id": url_id})
    return None if row is None else _url(row)


async def read(engine: Engine, url_id: str) -> FunctionUrl | None:
    """The URL of an id."""
    rows = await engine.read(f"SELECT {_COLUMNS} FROM function_url WHERE id = :id", {"id": url_id})
    return _url(rows[0]) if rows else None


async def listing(engine: Engine, key: FunctionKey, *, after: str | None = None, limit: int) -> list[FunctionUrl]:
    """By qualifier, of those behind `after`; all of them without it."""
    rows = await engine.read(
        f"SELECT {_COLUMNS} FROM function_url WHERE {_FUNCTION} AND (:after IS NULL OR qualifier > :after)"
        " ORDER BY qualifier LIMIT :limit",
        {**key.arguments, "after": after, "limit": limit},
    )
    return [_url(row) for row in rows]


def put(tx: Transaction, url: FunctionUrl) -> None:
    """Inserts or replaces."""
    tx.run(
        f"INSERT OR REPLACE INTO function_url ({_COLUMNS}) VALUES (:account, :region, :function, :qualifier, :id,"
        " :auth_type, :cors, :invoke_mode, :created, :last_modified)",
        {
            "account": url.account,
            "region": url.region,
            "function": url.function,
            "qualifier": url.qualifier or "",
            "id": url.id,
            "auth_type": url.auth_type,
            "cors": None if url.cors is None else json.dumps(asdict(url.cors), ensure_ascii=False),
            "invoke_mode": url.invoke_mode,
            "created": url.created,
            "last_modified": url.last_modified,
        },
    )


def delete(tx: Transaction, key: FunctionKey, qualifier: str | None) -> bool:
    """False if there was none."""
    arguments = {**key.arguments, "qualifier": qualifier or ""}
    return tx.run(f"DELETE FROM function_url WHERE {_FUNCTION} AND qualifier = :qualifier", arguments) > 0


def _url(row: Row) -> FunctionUrl:
    account, region, function, qualifier, url_id, auth_type, cors, invoke_mode, created, last_modified = row
    return FunctionUrl(
        id=url_id,
        account=account,
        region=region,
        function=function,
        qualifier=qualifier or None,
        auth_type=auth_type,
        cors=None if cors is None else _cors(json.loads(cors)),
        invoke_mode=invoke_mode,
        created=created,
        last_modified=last_modified,
    )


def _cors(members: dict[str, Any]) -> Cors:
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in members.items()
    }
    return Cors(**given)
