"""The ledger of events: steps of those in the queue, and those that have ended.

Writing functions run inside the transaction that changes the event, so that ledger and queue never differ.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lambdad.domain.events import Event
from lambdad.domain.ledger import EventState, LedgerEntry, Step, shortened
from lambdad.domain.retries import Condition, Finish
from lambdad.storage.engine import Engine, Row, Transaction
from lambdad.storage.functions import FunctionKey

ROW_BYTES = 300
"""What a row costs beside its steps and payload, indexes included; roughly."""

_ENDED = (
    "SELECT id, request_id, account, region, function, qualifier, accepted_ms, ended_ms, condition, invoke_count"
    " FROM ledger_event"
)
_KEPT = "id > COALESCE((SELECT MAX(last_id) FROM event_garbage), 0)"
"""True for what is not of before a reset."""
_LIVE = (
    "SELECT event.id, request_id, account, region, function, qualifier, state, due_ms, accepted_ms, attempts, resume_ms"
    " FROM event JOIN event_content ON event_content.id = event.id JOIN event_queue ON event_queue.id = queue_id"
)


def note(tx: Transaction, event_id: int, steps: Sequence[Step]) -> None:
    """Adds steps to an event that stays in the queue."""
    all_steps = shortened([*_pending(tx, event_id), *steps])
    tx.run(
        "INSERT INTO ledger_pending (event_id, steps) VALUES (:id, :steps)"
        " ON CONFLICT (event_id) DO UPDATE SET steps = excluded.steps",
        {"id": event_id, "steps": _dump(all_steps)},
    )


def close(tx: Transaction, event_id: int, event: Event, finish: Finish, steps: Sequence[Step], now_ms: int) -> None:
    """The event has ended. Its payload is kept unless it succeeded."""
    before = _pending(tx, event_id)
    if before:
        tx.run("DELETE FROM ledger_pending WHERE event_id = :id", {"id": event_id})
    document = _dump(shortened([*before, *steps]))
    payload = None if finish.condition is Condition.SUCCESS else event.payload
    tx.run(
        "INSERT INTO ledger_event (id, request_id, account, region, function, qualifier, accepted_ms, ended_ms,"
        " condition, invoke_count, steps, bytes, trace, payload) VALUES (:id, :request_id, :account, :region,"
        " :function, :qualifier, :accepted_ms, :ended_ms, :condition, :invoke_count, :steps, :bytes, :trace, :payload)",
        {
            "id": event_id,
            "request_id": event.request_id,
            "account": event.account,
            "region": event.region,
            "function": event.function,
            "qualifier": event.qualifier,
            "accepted_ms": event.accepted_ms,
            "ended_ms": now_ms,
            "condition": finish.condition.value,
            "invoke_count": finish.invoke_count,
            "steps": document,
            "bytes": len(document) + len(payload or b"") + ROW_BYTES,
            "trace": event.trace,
            "payload": payload,
        },
    )


def add(tx: Transaction, request_id: str, step: Step) -> None:
    """Adds a step to an event that has ended; nothing if the ledger has forgotten it."""
    row = tx.one("SELECT MAX(id) FROM ledger_event WHERE request_id = :request_id", {"request_id": request_id})
    if row is None or row[0] is None:
        return
    found = tx.one("SELECT steps FROM ledger_event WHERE id = :id", {"id": row[0]})
    assert found is not None
    steps = _dump(shortened([*json.loads(found[0]), step]))
    tx.run("UPDATE ledger_event SET steps = :steps WHERE id = :id", {"id": row[0], "steps": steps})


def note_on_newest(tx: Transaction, step: Step) -> None:
    """Adds a step to the event that this transaction has just stored."""
    row = tx.one("SELECT MAX(id) FROM event_content")
    assert row is not None
    note(tx, row[0], [step])


# --- keeping it small ---


def forget_before(tx: Transaction, ended_ms: int, limit: int) -> int:
    """Removes events that ended before a moment, `limit` at most; how many."""
    return tx.run(
        "DELETE FROM ledger_event WHERE id IN (SELECT id FROM ledger_event WHERE ended_ms < :ended_ms"
        " ORDER BY ended_ms LIMIT :limit)",
        {"ended_ms": ended_ms, "limit": limit},
    )


def forget_oldest(tx: Transaction, limit: int) -> int:
    """Removes the events that ended first; how many bytes that were."""
    removed = tx.all(
        "DELETE FROM ledger_event WHERE id IN (SELECT id FROM ledger_event ORDER BY ended_ms LIMIT :limit)"
        " RETURNING bytes",
        {"limit": limit},
    )
    return sum(row[0] for row in removed)


async def size(engine: Engine) -> int:
    """Bytes of all ended events; one walk through an index."""
    rows = await engine.read("SELECT COALESCE(SUM(bytes), 0) FROM ledger_event")
    total: int = rows[0][0]
    return total


# --- looking ---


async def page(
    engine: Engine, *, function: str | None, state: EventState | None, before: int | None, limit: int
) -> list[LedgerEntry]:
    """Entries without steps and payload, the newest first, all of them older than place `before`."""
    entries: list[LedgerEntry] = []
    args: dict[str, Any] = {"function": function, "before": before if before is not None else 1 << 62, "limit": limit}
    named = " AND function = :function" if function else ""
    if state in (None, EventState.WAITING, EventState.RUNNING):
        states = {None: "", EventState.WAITING: " AND state <> 1", EventState.RUNNING: " AND state = 1"}[state]
        rows = await engine.read(
            f"{_LIVE} WHERE event.id < :before{named}{states} ORDER BY event.id DESC LIMIT :limit",
            args,
        )
        entries += [_live(row) for row in rows]
    if state in (None, EventState.SUCCEEDED, EventState.DROPPED):
        ends = {
            None: "",
            EventState.SUCCEEDED: " AND condition = 'Success'",
            EventState.DROPPED: " AND condition <> 'Success'",
        }
        rows = await engine.read(
            f"{_ENDED} WHERE id < :before AND {_KEPT}{named}{ends[state]} ORDER BY id DESC LIMIT :limit",
            args,
        )
        entries += [_ended(row) for row in rows]
    # An event that ended between the two looks is in both; the later look counts.
    latest = {entry.place: entry for entry in entries}
    return [latest[place] for place in sorted(latest, reverse=True)[:limit]]


async def find(engine: Engine, request_id: str) -> LedgerEntry | None:
    """One event with its steps; the newest of this request id."""
    args = {"request_id": request_id}
    # The queue has no index by request id, which every accepted event would pay for: this looks through it.
    live = await engine.read(f"{_LIVE} WHERE request_id = :request_id ORDER BY event.id DESC LIMIT 1", args)
    if live:
        steps = await engine.read("SELECT steps FROM ledger_pending WHERE event_id = :id", {"id": live[0][0]})
        return _live(live[0], json.loads(steps[0][0]) if steps else ())
    ended = await engine.read(
        f"{_ENDED.replace(' FROM', ', steps, payload, trace FROM')} WHERE request_id = :request_id"
        f" AND {_KEPT} ORDER BY id DESC LIMIT 1",
        args,
    )
    return _ended(ended[0]) if ended else None


def _pending(tx: Transaction, event_id: int) -> list[Step]:
    row = tx.one("SELECT steps FROM ledger_pending WHERE event_id = :id", {"id": event_id})
    steps: list[Step] = [] if row is None else json.loads(row[0])
    return steps


def _dump(steps: Sequence[Step]) -> str:
    return json.dumps(steps, separators=(",", ":"), ensure_ascii=False)


def _live(row: Row, steps: Sequence[Step] = ()) -> LedgerEntry:
    place, request_id, *key, qualifier, state, due_ms, accepted_ms, attempts, resume_ms = row
    function = FunctionKey(*key)
    running = state == 1
    return LedgerEntry(
        place=place,
        request_id=request_id,
        account=function.account,
        region=function.region,
        function=function.name,
        qualifier=qualifier,
        state=EventState.RUNNING if running else EventState.WAITING,
        accepted_ms=accepted_ms,
        due_ms=None if running else due_ms,
        held_until_ms=resume_ms or None,
        attempts=attempts,
        steps=steps,
    )


def _ended(row: Row) -> LedgerEntry:
    place, request_id, account, region, function, qualifier, accepted_ms, ended_ms, condition, invoke_count, *rest = row
    steps, payload, trace = rest or ("[]", None, "")
    return LedgerEntry(
        place=place,
        request_id=request_id,
        account=account,
        region=region,
        function=function,
        qualifier=qualifier,
        state=EventState.SUCCEEDED if condition == Condition.SUCCESS.value else EventState.DROPPED,
        accepted_ms=accepted_ms,
        ended_ms=ended_ms,
        condition=condition,
        attempts=invoke_count,
        steps=json.loads(steps),
        payload=payload,
        trace=trace,
    )
