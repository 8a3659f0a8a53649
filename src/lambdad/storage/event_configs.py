"""The settings of asynchronous invocation, one row for each qualifier."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lambdad.domain.events import DestinationConfig, EventInvokeConfig
from lambdad.storage.engine import Engine, Row, Transaction
from lambdad.storage.functions import FunctionKey

_COLUMNS = "account, region, function, qualifier, retry_attempts, event_age_s, on_success, on_failure, modified_us"
_FUNCTION = "account = :account AND region = :region AND function = :name"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def find(tx: Transaction, key: FunctionKey, qualifier: str) -> EventInvokeConfig | None:
    """The settings of exactly this qualifier."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM event_invoke_config WHERE {_FUNCTION} AND qualifier = :qualifier",
        {**key.arguments, "qualifier": qualifier},
    )
    return None if row is None else _config(row)


def all_of(tx: Transaction, key: FunctionKey) -> dict[str, EventInvokeConfig]:
    """The settings of a function by qualifier."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM event_invoke_config WHERE {_FUNCTION}", key.arguments)
    return {row[3]: _config(row) for row in rows}


def put(tx: Transaction, config: EventInvokeConfig) -> None:
    """Inserts or replaces."""
    tx.run(
        f"INSERT INTO event_invoke_config ({_COLUMNS}) VALUES (:account, :region, :function, :qualifier,"
        " :retry_attempts, :event_age_s, :on_success, :on_failure, :modified_us)"
        " ON CONFLICT (account, region, function, qualifier) DO UPDATE SET retry_attempts = excluded.retry_attempts,"
        " event_age_s = excluded.event_age_s, on_success = excluded.on_success, on_failure = excluded.on_failure,"
        " modified_us = excluded.modified_us",
        {
            "account": config.account,
            "region": config.region,
            "function": config.function,
            "qualifier": config.qualifier,
            "retry_attempts": config.maximum_retry_attempts,
            "event_age_s": config.maximum_event_age_s,
            "on_success": config.destinations.on_success,
            "on_failure": config.destinations.on_failure,
            "modified_us": (config.last_modified - _EPOCH) // timedelta(microseconds=1),
        },
    )


def delete(tx: Transaction, key: FunctionKey, qualifier: str) -> bool:
    """False if there was none."""
    arguments = {**key.arguments, "qualifier": qualifier}
    return tx.run(f"DELETE FROM event_invoke_config WHERE {_FUNCTION} AND qualifier = :qualifier", arguments) > 0


def delete_all_of(tx: Transaction, key: FunctionKey) -> None:
    """Of a function that is deleted."""
    tx.run(f"DELETE FROM event_invoke_config WHERE {_FUNCTION}", key.arguments)


async def listing(engine: Engine, key: FunctionKey, *, after: str = "", limit: int) -> list[EventInvokeConfig]:
    """By qualifier, of those behind `after`."""
    rows = await engine.read(
        f"SELECT {_COLUMNS} FROM event_invoke_config WHERE {_FUNCTION} AND qualifier > :after"
        " ORDER BY qualifier LIMIT :limit",
        {**key.arguments, "after": after, "limit": limit},
    )
    return [_config(row) for row in rows]


def _config(row: Row) -> EventInvokeConfig:
    account, region, function, qualifier, retries, age_s, on_success, on_failure, modified_us = row
    return EventInvokeConfig(
        account=account,
        region=region,
        function=function,
        qualifier=qualifier,
        maximum_retry_attempts=retries,
        maximum_event_age_s=age_s,
        destinations=DestinationConfig(on_success=on_success, on_failure=on_failure),
        last_modified=_EPOCH + timedelta(microseconds=modified_us),
    )
