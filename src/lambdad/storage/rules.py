"""Event buses, rules and targets in storage.

Functions that take a transaction are steps for a job of the caller, so that checks and writes share one transaction.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

from lambdad.domain.rules import DEFAULT_BUS, Bus, BusAddress, BusSettings, Rule, RuleSettings, Target
from lambdad.storage.engine import Engine, Row, Transaction

_BUS: Final = (
    "SELECT id, account, region, name, settings, policy, tags, rules_version, created_ms, modified_ms FROM event_bus"
)
_RULE: Final = (
    "SELECT r.id, b.account, b.region, b.name, r.name, r.settings, r.tags, r.anchor_ms, r.next_ms"
    " FROM event_rule r JOIN event_bus b ON b.id = r.bus_id"
)
_LAST_CHARACTER: Final = "\U0010ffff"

# --- buses ---


def find_bus(tx: Transaction, address: BusAddress) -> Bus | None:
    """The bus of this name; the default bus only if something is kept about it."""
    row = tx.one(f"{_BUS} WHERE account = :account AND region = :region AND name = :name", _key(address))
    return None if row is None else _bus(row)


def require_bus(tx: Transaction, address: BusAddress, now_ms: int) -> Bus | None:
    """As `find_bus`, and the default bus is made when it is first asked for."""
    bus = find_bus(tx, address)
    if bus is None and address.name == DEFAULT_BUS:
        bus = insert_bus(tx, address, BusSettings(), {}, now_ms)
    return bus


def insert_bus(
    tx: Transaction, address: BusAddress, settings: BusSettings, tags: Mapping[str, str], now_ms: int
) -> Bus:
    """A new bus. The caller has made sure that there is none of this name."""
    tx.run(
        "INSERT INTO event_bus (account, region, name, created_ms, modified_ms, settings, tags)"
        " VALUES (:account, :region, :name, :now, :now, :settings, :tags)",
        {**_key(address), "now": now_ms, "settings": _dump(asdict(settings)), "tags": _dump(tags)},
    )
    bus = find_bus(tx, address)
    assert bus is not None
    return bus


def update_bus(
    tx: Transaction, bus: Bus, now_ms: int, *, settings: BusSettings | None = None, policy: str | None = None
) -> None:
    """Sets what is given."""
    tx.run(
        "UPDATE event_bus SET settings = :settings, policy = :policy, modified_ms = :now WHERE id = :id",
        {
            "id": bus.id,
            "settings": _dump(asdict(settings or bus.settings)),
            "policy": bus.policy if policy is None else policy,
            "now": now_ms,
        },
    )


def update_bus_tags(tx: Transaction, bus: Bus, tags: Mapping[str, str]) -> None:
    tx.run("UPDATE event_bus SET tags = :tags WHERE id = :id", {"id": bus.id, "tags": _dump(tags)})


def delete_bus(tx: Transaction, bus: Bus) -> None:
    """Removes a bus that has no rules."""
    tx.run("DELETE FROM event_bus WHERE id = :id", {"id": bus.id})


def list_buses(tx: Transaction, account: str, region: str, *, prefix: str, after: str, limit: int) -> list[Bus]:
    """Buses by name, those after the name `after`."""
    rows = tx.all(
        f"{_BUS} WHERE account = :account AND region = :region AND name > :after"
        " AND substr(name, 1, :length) = :prefix ORDER BY name LIMIT :limit",
        {"account": account, "region": region, "after": after, "prefix": prefix, "length": len(prefix), "limit": limit},
    )
    return [_bus(row) for row in rows]


# --- rules ---


def find_rule(tx: Transaction, bus: Bus, name: str) -> Rule | None:
    row = tx.one(f"{_RULE} WHERE r.bus_id = :bus AND r.name = :name", {"bus": bus.id, "name": name})
    return None if row is None else _rule(row)


def list_rules(tx: Transaction, bus: Bus, *, prefix: str = "", after: str = "", limit: int = -1) -> list[Rule]:
    """Rules by name, those after the name `after`; all of them with a limit of -1."""
    rows = tx.all(
        f"{_RULE} WHERE r.bus_id = :bus AND r.name > :after AND r.name >= :prefix AND r.name < :end"
        " ORDER BY r.name LIMIT :limit",
        {"bus": bus.id, "after": after, "prefix": prefix, "end": prefix + _LAST_CHARACTER, "limit": limit},
    )
    return [_rule(row) for row in rows]


def count_rules(tx: Transaction, bus: Bus) -> int:
    row = tx.one("SELECT COUNT(*) FROM event_rule WHERE bus_id = :bus", {"bus": bus.id})
    assert row is not None
    count: int = row[0]
    return count


def put_rule(
    tx: Transaction,
    bus: Bus,
    name: str,
    settings: RuleSettings,
    *,
    anchor_ms: int,
    next_ms: int | None,
    tags: Mapping[str, str],
) -> None:
    """Makes a rule, or replaces all of it but its tags and targets."""
    tx.run(
        "INSERT INTO event_rule (bus_id, name, settings, tags, anchor_ms, next_ms)"
        " VALUES (:bus, :name, :settings, :tags, :anchor, :next) ON CONFLICT (bus_id, name) DO UPDATE SET"
        " settings = excluded.settings, anchor_ms = excluded.anchor_ms, next_ms = excluded.next_ms",
        {
            "bus": bus.id,
            "name": name,
            "settings": _dump(asdict(settings)),
            "tags": _dump(tags),
            "anchor": anchor_ms,
            "next": next_ms,
        },
    )
    _rules_changed(tx, bus)


def update_rule_tags(tx: Transaction, rule: Rule, tags: Mapping[str, str]) -> None:
    tx.run("UPDATE event_rule SET tags = :tags WHERE id = :id", {"id": rule.id, "tags": _dump(tags)})


def delete_rule(tx: Transaction, bus: Bus, rule: Rule) -> None:
    """Removes a rule with its targets."""
    tx.run("DELETE FROM event_rule WHERE id = :id", {"id": rule.id})
    _rules_changed(tx, bus)


def _rules_changed(tx: Transaction, bus: Bus) -> None:
    # Random, not counted: a number that is rolled back would come again, for other rules.
    tx.run("UPDATE event_bus SET rules_version = :version WHERE id = :id", {"id": bus.id, "version": uuid.uuid4().hex})


# --- targets ---


def list_targets(tx: Transaction, rule: Rule, *, after: str = "", limit: int = -1) -> list[Target]:
    """Targets by id; all of them with a limit of -1."""
    rows = tx.all(
        "SELECT id, arn, document FROM rule_target WHERE rule_id = :rule AND id > :after ORDER BY id LIMIT :limit",
        {"rule": rule.id, "after": after, "limit": limit},
    )
    return [Target(id=row[0], arn=row[1], document=_document(row[2])) for row in rows]


def put_targets(tx: Transaction, rule: Rule, targets: Sequence[Target]) -> None:
    """Adds targets; one of the same id is replaced."""
    tx.run_many(
        "INSERT INTO rule_target (rule_id, id, arn, document) VALUES (:rule, :id, :arn, :document)"
        " ON CONFLICT (rule_id, id) DO UPDATE SET arn = excluded.arn, document = excluded.document",
        [
            {"rule": rule.id, "id": target.id, "arn": target.arn, "document": _dump(target.document)}
            for target in targets
        ],
    )


def remove_targets(tx: Transaction, rule: Rule, ids: Sequence[str]) -> None:
    tx.run_many("DELETE FROM rule_target WHERE rule_id = :rule AND id = :id", [{"rule": rule.id, "id": i} for i in ids])


def rule_names_by_target(tx: Transaction, bus: Bus, arn: str, *, after: str, limit: int) -> list[str]:
    """Names of the rules of a bus that have a target of this ARN."""
    rows = tx.all(
        "SELECT DISTINCT r.name FROM rule_target t JOIN event_rule r ON r.id = t.rule_id"
        " WHERE t.arn = :arn AND r.bus_id = :bus AND r.name > :after ORDER BY r.name LIMIT :limit",
        {"arn": arn, "bus": bus.id, "after": after, "limit": limit},
    )
    return [row[0] for row in rows]


# --- schedules ---


async def next_firing_ms(engine: Engine) -> int | None:
    """When the next schedule fires; None if none does."""
    rows = await engine.read("SELECT MIN(next_ms) FROM event_rule WHERE next_ms IS NOT NULL")
    found: int | None = rows[0][0]
    return found


def due_rules(tx: Transaction, now_ms: int, limit: int) -> list[Rule]:
    """Rules whose schedules have come due, the longest ago first."""
    rows = tx.all(
        f"{_RULE} WHERE r.next_ms IS NOT NULL AND r.next_ms <= :now ORDER BY r.next_ms LIMIT :limit",
        {"now": now_ms, "limit": limit},
    )
    return [_rule(row) for row in rows]


def set_next_firing(tx: Transaction, rule: Rule, next_ms: int | None) -> None:
    tx.run("UPDATE event_rule SET next_ms = :next WHERE id = :id", {"id": rule.id, "next": next_ms})


def delete_everything(tx: Transaction) -> None:
    """Removes all buses, rules and waiting deliveries of all accounts."""
    for table in ("rule_delivery", "rule_target", "event_rule", "event_bus"):
        tx.run(f"DELETE FROM {table}")


def _key(address: BusAddress) -> dict[str, str]:
    return {"account": address.account, "region": address.region, "name": address.name}


def _bus(row: Row) -> Bus:
    id_, account, region, name, settings, policy, tags, rules_version, created_ms, modified_ms = row
    return Bus(
        id=id_,
        address=BusAddress(account, region, name),
        settings=BusSettings(**_document(settings)),
        policy=policy,
        tags=_document(tags),
        rules_version=rules_version,
        created_ms=created_ms,
        modified_ms=modified_ms,
    )


def _rule(row: Row) -> Rule:
    id_, account, region, bus, name, settings, tags, anchor_ms, next_ms = row
    return Rule(
        id=id_,
        bus=BusAddress(account, region, bus),
        name=name,
        settings=_rule_settings(settings),
        tags=_document(tags),
        anchor_ms=anchor_ms,
        next_ms=next_ms,
    )


@lru_cache(maxsize=4096)
def _rule_settings(document: str) -> RuleSettings:
    return RuleSettings(**json.loads(document))


@lru_cache(maxsize=4096)
def _document(text: str) -> Mapping[str, Any]:
    document: dict[str, Any] = json.loads(text)
    return document


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
