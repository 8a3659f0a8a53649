"""Deliveries of events to targets that are tried again, until they succeed or are given up."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from lambdad.domain.rules import Target
from lambdad.storage.engine import Engine, Row, Transaction

_COLUMNS: Final = (
    "id, due_ms, created_ms, tries, rule_arn, target_id, target_arn, target, event, coalesce(input, event), trace"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDelivery:
    """What a target is to get. `id` is 0 for one that is not stored."""

    id: int = 0
    due_ms: int
    created_ms: int
    tries: int = 0
    """Deliveries that have failed."""
    rule_arn: str
    target: Target
    event: str
    """The whole event; what a dead-letter queue gets."""
    input: str
    """What the target gets."""
    trace: str = ""


def put(tx: Transaction, delivery: RuleDelivery) -> None:
    """Stores a delivery for later."""
    tx.run(
        "INSERT INTO rule_delivery"
        " (due_ms, created_ms, tries, rule_arn, target_id, target_arn, target, event, input, trace)"
        " VALUES (:due, :created, :tries, :rule, :target_id, :target_arn, :target, :event, :input, :trace)",
        {
            "due": delivery.due_ms,
            "created": delivery.created_ms,
            "tries": delivery.tries,
            "rule": delivery.rule_arn,
            "target_id": delivery.target.id,
            "target_arn": delivery.target.arn,
            "target": json.dumps(delivery.target.document, ensure_ascii=False),
            "event": delivery.event,
            "input": None if delivery.input == delivery.event else delivery.input,
            "trace": delivery.trace,
        },
    )


async def due(engine: Engine, now_ms: int, limit: int) -> list[RuleDelivery]:
    """Deliveries whose next try is due, the longest waiting first."""
    rows = await engine.read(
        f"SELECT {_COLUMNS} FROM rule_delivery WHERE due_ms <= :now ORDER BY due_ms LIMIT :limit",
        {"now": now_ms, "limit": limit},
    )
    return [_delivery(row) for row in rows]


async def next_due_ms(engine: Engine) -> int | None:
    rows = await engine.read("SELECT MIN(due_ms) FROM rule_delivery")
    found: int | None = rows[0][0]
    return found


def postpone(tx: Transaction, delivery_id: int, due_ms: int) -> None:
    """A try has failed; the next is at `due_ms`."""
    tx.run(
        "UPDATE rule_delivery SET due_ms = :due, tries = tries + 1 WHERE id = :id", {"id": delivery_id, "due": due_ms}
    )


def remove(tx: Transaction, delivery_id: int) -> bool:
    """False if it is not there any more."""
    return tx.run("DELETE FROM rule_delivery WHERE id = :id", {"id": delivery_id}) == 1


def _delivery(row: Row) -> RuleDelivery:
    id_, due_ms, created_ms, tries, rule_arn, target_id, target_arn, target, event, input_, trace = row
    return RuleDelivery(
        id=id_,
        due_ms=due_ms,
        created_ms=created_ms,
        tries=tries,
        rule_arn=rule_arn,
        target=Target(id=target_id, arn=target_arn, document=json.loads(target)),
        event=event,
        input=input_,
        trace=trace,
    )
