"""Event source mappings in storage. Functions that take a transaction are steps for a job of the caller."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lambdad.domain.arns import FunctionReference
from lambdad.domain.mappings import EventSourceMapping, MappingSettings, MappingState
from lambdad.storage.engine import Engine, Row, Transaction

_OWN: Final = "uuid, account, region, function, qualifier, source_arn"
_COLUMNS: Final = f"{_OWN}, state, is_enabled, settings, tags, last_result, modified_us"
_SELECT: Final = f"SELECT {_COLUMNS} FROM event_source_mapping"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SETTINGS: Final = frozenset(MappingSettings.__dataclass_fields__)
_LISTS: Final = ("filters", "response_types", "metrics", "pollers")


def find(tx: Transaction, uuid: str) -> EventSourceMapping | None:
    row = tx.one(f"{_SELECT} WHERE uuid = :uuid", {"uuid": uuid})
    return None if row is None else _mapping(row)


async def read(engine: Engine, uuid: str) -> EventSourceMapping | None:
    rows = await engine.read(f"{_SELECT} WHERE uuid = :uuid", {"uuid": uuid})
    return _mapping(rows[0]) if rows else None


def twin(tx: Transaction, mapping: EventSourceMapping) -> EventSourceMapping | None:
    """Another mapping of the same source to the same function and qualifier."""
    row = tx.one(
        f"{_SELECT} WHERE source_arn = :source AND account = :account AND region = :region AND function = :function"
        " AND qualifier IS :qualifier AND uuid <> :uuid",
        {
            "source": mapping.source_arn,
            "account": mapping.account,
            "region": mapping.region,
            "function": mapping.function.name,
            "qualifier": mapping.function.qualifier,
            "uuid": mapping.uuid,
        },
    )
    return None if row is None else _mapping(row)


def put(tx: Transaction, mapping: EventSourceMapping) -> None:
    """Inserts or replaces."""
    settings: dict[str, Any] = asdict(mapping.settings)
    if mapping.settings.starting_timestamp is not None:
        settings["starting_timestamp"] = mapping.settings.starting_timestamp.isoformat()
    tx.run(
        f"INSERT INTO event_source_mapping ({_COLUMNS}) VALUES (:uuid, :account, :region, :function, :qualifier,"
        " :source_arn, :state, :is_enabled, :settings, :tags, :last_result, :modified_us)"
        " ON CONFLICT (uuid) DO UPDATE SET function = excluded.function, qualifier = excluded.qualifier,"
        " state = excluded.state, is_enabled = excluded.is_enabled, settings = excluded.settings,"
        " tags = excluded.tags, last_result = excluded.last_result, modified_us = excluded.modified_us",
        {
            "uuid": mapping.uuid,
            "account": mapping.account,
            "region": mapping.region,
            "function": mapping.function.name,
            "qualifier": mapping.function.qualifier,
            "source_arn": mapping.source_arn,
            "state": mapping.state.value,
            "is_enabled": int(mapping.is_enabled),
            "settings": _dump(settings),
            "tags": _dump(mapping.tags),
            "last_result": mapping.last_result,
            "modified_us": (mapping.last_modified - _EPOCH) // timedelta(microseconds=1),
        },
    )


def put_state(tx: Transaction, uuid: str, state: MappingState, was: MappingState) -> bool:
    """Only if the mapping is still in the state `was`."""
    return tx.run(
        "UPDATE event_source_mapping SET state = :state WHERE uuid = :uuid AND state = :was",
        {"uuid": uuid, "state": state.value, "was": was.value},
    ) > 0  # fmt: skip


def put_result(tx: Transaction, uuid: str, result: str) -> None:
    """LastProcessingResult."""
    tx.run("UPDATE event_source_mapping SET last_result = :result WHERE uuid = :uuid", {"uuid": uuid, "result": result})


def put_tags(tx: Transaction, uuid: str, tags: Mapping[str, str]) -> None:
    tx.run("UPDATE event_source_mapping SET tags = :tags WHERE uuid = :uuid", {"uuid": uuid, "tags": _dump(tags)})


def delete(tx: Transaction, uuid: str) -> None:
    """With its checkpoints."""
    tx.run("DELETE FROM mapping_checkpoint WHERE mapping = :uuid", {"uuid": uuid})
    tx.run("DELETE FROM event_source_mapping WHERE uuid = :uuid", {"uuid": uuid})


def delete_everything(tx: Transaction) -> None:
    tx.run("DELETE FROM mapping_checkpoint")
    tx.run("DELETE FROM event_source_mapping")


async def everything(engine: Engine) -> list[EventSourceMapping]:
    """All mappings of all accounts, for a server that starts."""
    return [_mapping(row) for row in await engine.read(f"{_SELECT} ORDER BY uuid")]


async def listing(
    engine: Engine,
    account: str,
    region: str,
    *,
    source_arn: str | None,
    function: FunctionReference | None,
    after: str,
    limit: int,
) -> list[EventSourceMapping]:
    """By id, of those behind `after`. A function is taken with exactly its qualifier, or without one."""
    conditions = ["account = :account", "region = :region", "uuid > :after"]
    arguments: dict[str, Any] = {"account": account, "region": region, "after": after, "limit": limit}
    if source_arn is not None:
        conditions.append("source_arn = :source")
        arguments["source"] = source_arn
    if function is not None:
        conditions += ["function = :function", "qualifier IS :qualifier"]
        arguments |= {"function": function.name, "qualifier": function.qualifier}
    rows = await engine.read(f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY uuid LIMIT :limit", arguments)
    return [_mapping(row) for row in rows]


def _mapping(row: Row) -> EventSourceMapping:
    uuid, account, region, function, qualifier, source_arn, state, is_enabled, settings, tags, result, modified = row
    return EventSourceMapping(
        uuid=uuid,
        account=account,
        region=region,
        function=FunctionReference(account, region, function, qualifier),
        source_arn=source_arn,
        state=MappingState(state),
        is_enabled=bool(is_enabled),
        settings=_settings(settings),
        tags=json.loads(tags),
        last_result=result,
        last_modified=_EPOCH + timedelta(microseconds=modified),
    )


def _settings(document: str) -> MappingSettings:
    members = {name: value for name, value in json.loads(document).items() if name in _SETTINGS}
    for name in _LISTS:
        if members.get(name) is not None:
            members[name] = tuple(members[name])
    if members.get("starting_timestamp") is not None:
        members["starting_timestamp"] = datetime.fromisoformat(members["starting_timestamp"])
    return MappingSettings(**members)


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
