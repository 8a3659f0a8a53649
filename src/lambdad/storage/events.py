"""The queue of events: accepted, claimed, finished, put back.

Claiming pushes `due_ms` forward, as a lease; finishing deletes; retrying sets another `due_ms`. Functions here run
inside a transaction that the caller runs, so that an event's end and what is delivered of it commit together.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from lambdad.domain.events import DestinationConfig, Event, RetrySettings
from lambdad.storage import event_configs
from lambdad.storage.engine import Engine, Row, Transaction
from lambdad.storage.functions import FunctionKey

WAITING, CLAIMED, SET_BACK = 0, 1, 2

_QUEUE_EXISTS = "EXISTS (SELECT 1 FROM event_queue WHERE id = :queue_id)"
"""False for what a reset left."""
_GARBAGE_TABLES = (("event", "id"), ("event_content", "id"), ("ledger_pending", "event_id"), ("ledger_event", "id"))

_CLAIM_BYTES = 4_194_304
"""Payloads that one claim of one function brings into memory; a single event may be larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """The queue of one function."""

    id: int
    key: FunctionKey
    throttles: int
    resume_ms: int
    next_due_ms: int | None
    """When the first waiting event is due; None if none waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedEvent:
    """An event that is being worked on."""

    id: int
    event: Event
    place_ms: int
    settings: RetrySettings
    """As they were when the event was claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is wanted of one queue."""

    queue_id: int
    key: FunctionKey
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a claim brought: events in their order, and when the next waiting one is due."""

    queue_id: int
    events: Sequence[ClaimedEvent]
    next_due_ms: int | None


def put(tx: Transaction, event: Event) -> int:
    """Stores an accepted event, with the settings of this moment. Returns the id of its function's queue."""
    return put_all(tx, [event])[0]


def put_all(tx: Transaction, accepted: Sequence[Event]) -> list[int]:
    """Stores events and returns the queue of each. What events share is looked up once; a batch takes few statements
    however many events it has."""
    queue_ids: dict[tuple[str, str, str], int] = {}
    settings: dict[tuple[int, str], str | None] = {}
    rows: list[dict[str, object]] = []
    contents: list[dict[str, object]] = []
    queues_of: list[int] = []
    event_id = _take_ids(tx, len(accepted))
    for event in accepted:
        names = (event.account, event.region, event.function)
        queue_id = queue_ids.get(names)
        if queue_id is None:
            queue_id = queue_ids[names] = _queue_id(tx, FunctionKey(*names))
        qualifier = event.settings_qualifier
        if (queue_id, qualifier) not in settings:
            config = event_configs.find(tx, FunctionKey(*names), qualifier)
            settings[queue_id, qualifier] = None if config is None else json.dumps(asdict(RetrySettings.of(config)))
        rows.append({"id": event_id, "queue_id": queue_id, "now_ms": event.accepted_ms, "bytes": len(event.payload)})
        contents.append(
            {
                "id": event_id,
                "request_id": event.request_id,
                "qualifier": event.qualifier,
                "payload": event.payload,
                "trace": event.trace,
                "dead_letter_arn": event.dead_letter_arn,
                "settings": settings[queue_id, qualifier],
            }
        )
        queues_of.append(queue_id)
        event_id += 1
    tx.run_many(
        "INSERT INTO event (id, queue_id, due_ms, place_ms, accepted_ms, bytes)"
        " VALUES (:id, :queue_id, :now_ms, :now_ms, :now_ms, :bytes)",
        rows,
    )
    tx.run_many(
        "INSERT INTO event_content (id, request_id, qualifier, payload, trace, dead_letter_arn, settings)"
        " VALUES (:id, :request_id, :qualifier, :payload, :trace, :dead_letter_arn, :settings)",
        contents,
    )
    return queues_of


def _take_ids(tx: Transaction, count: int) -> int:
    """The first of so many new ids in a row. Ids never come back, as those of ended events stand in the ledger."""
    row = tx.one("UPDATE event_counter SET last_id = last_id + :count RETURNING last_id", {"count": count})
    assert row is not None
    last_id: int = row[0]
    return last_id - count + 1


def _queue_id(tx: Transaction, key: FunctionKey) -> int:
    row = tx.one(
        "SELECT id FROM event_queue WHERE account = :account AND region = :region AND function = :name", key.arguments
    ) or tx.one(
        "INSERT INTO event_queue (account, region, function) VALUES (:account, :region, :name) RETURNING id",
        key.arguments,
    )
    assert row is not None
    queue_id: int = row[0]
    return queue_id


def claim(tx: Transaction, wanted: Claim, now_ms: int, lease_ms: int) -> Claimed:
    """Takes the first due events of a queue until `lease_ms`."""
    found = tx.all(
        "SELECT id, bytes, place_ms, accepted_ms, attempts, setbacks FROM event"
        " WHERE queue_id = :queue_id AND state = 0 AND due_ms <= :now_ms AND "
        + _QUEUE_EXISTS
        + " ORDER BY due_ms, id LIMIT :limit",
        {"queue_id": wanted.queue_id, "now_ms": now_ms, "limit": wanted.limit},
    )
    taken = found[: _fitting(found)]
    tx.run_many(
        "UPDATE event SET state = 1, due_ms = :lease_ms WHERE id = :id",
        [{"id": row[0], "lease_ms": lease_ms} for row in taken],
    )
    configs = event_configs.all_of(tx, wanted.key) if taken else {}
    events = []
    for event_id, _, place_ms, accepted_ms, attempts, setbacks in taken:
        event = _event(tx, event_id, wanted.key, accepted_ms, attempts, setbacks)
        config = configs.get(event.settings_qualifier)
        events.append(ClaimedEvent(id=event_id, event=event, place_ms=place_ms, settings=RetrySettings.of(config)))
    return Claimed(queue_id=wanted.queue_id, events=events, next_due_ms=next_due(tx, wanted.queue_id))


def next_due(tx: Transaction, queue_id: int) -> int | None:
    """When the first waiting event of a queue is due."""
    row = tx.one(
        "SELECT MIN(due_ms) FROM event WHERE queue_id = :queue_id AND state = 0 AND " + _QUEUE_EXISTS,
        {"queue_id": queue_id},
    )
    return None if row is None else row[0]


def remove(tx: Transaction, event_id: int) -> bool:
    """The event has ended. False if it is not there any more."""
    tx.run("DELETE FROM event_content WHERE id = :id", {"id": event_id})
    return tx.run("DELETE FROM event WHERE id = :id AND queue_id IN (SELECT id FROM event_queue)", {"id": event_id}) > 0


def retry(tx: Transaction, event_id: int, due_ms: int, attempts: int) -> None:
    """The function runs it again at `due_ms`, which is its new place."""
    tx.run(
        "UPDATE event SET state = 0, due_ms = :due_ms, place_ms = :due_ms, attempts = :attempts, setbacks = 0"
        " WHERE id = :id",
        {"id": event_id, "due_ms": due_ms, "attempts": attempts},
    )


def put_back(tx: Transaction, event_ids: Collection[int]) -> None:
    """Back to their old places."""
    tx.run_many(
        "UPDATE event SET state = 0, due_ms = place_ms WHERE id = :id AND state = 1",
        [{"id": event_id} for event_id in event_ids],
    )


def set_back(tx: Transaction, event_id: int, due_ms: int, setbacks: int) -> None:
    """Out of the queue until `due_ms`, then back to its old place."""
    tx.run(
        "UPDATE event SET state = 2, due_ms = :due_ms, setbacks = :setbacks WHERE id = :id",
        {"id": event_id, "due_ms": due_ms, "setbacks": setbacks},
    )


def hold(tx: Transaction, queue_id: int, throttles: int, resume_ms: int) -> None:
    """The function waits until `resume_ms`; 0 and 0 let it go on."""
    tx.run(
        "UPDATE event_queue SET throttles = :throttles, resume_ms = :resume_ms WHERE id = :id",
        {"id": queue_id, "throttles": throttles, "resume_ms": resume_ms},
    )


# --- rescue ---


def claimed_until(tx: Transaction, now_ms: int | None, limit: int) -> list[ClaimedEvent]:
    """Claimed events whose lease has run out; with None every claimed one, as after a crash."""
    rows = tx.all(
        "SELECT event.id, place_ms, accepted_ms, attempts, setbacks, account, region, function FROM event"
        " JOIN event_queue ON event_queue.id = queue_id"
        " WHERE state <> 0 AND state = 1 AND due_ms <= :now_ms ORDER BY due_ms LIMIT :limit",
        {"now_ms": 1 << 60 if now_ms is None else now_ms, "limit": limit},
    )
    found = []
    for event_id, place_ms, accepted_ms, attempts, setbacks, *key in rows:
        function = FunctionKey(*key)
        event = _event(tx, event_id, function, accepted_ms, attempts, setbacks)
        settings = RetrySettings.of(event_configs.find(tx, function, event.settings_qualifier))
        found.append(ClaimedEvent(id=event_id, event=event, place_ms=place_ms, settings=settings))
    return found


def extend(tx: Transaction, event_ids: Collection[int], lease_ms: int) -> None:
    """A longer lease for events that are still being worked on."""
    tx.run_many(
        "UPDATE event SET due_ms = :lease_ms WHERE id = :id AND state = 1",
        [{"id": event_id, "lease_ms": lease_ms} for event_id in event_ids],
    )


def return_set_back(tx: Transaction, now_ms: int, limit: int) -> list[tuple[int, FunctionKey, int]]:
    """Events whose wait is over go back to their places. Returns queue, function and place of each."""
    rows = tx.all(
        "SELECT event.id, queue_id, place_ms, account, region, function FROM event"
        " JOIN event_queue ON event_queue.id = queue_id"
        " WHERE state <> 0 AND state = 2 AND due_ms <= :now_ms ORDER BY due_ms LIMIT :limit",
        {"now_ms": now_ms, "limit": limit},
    )
    tx.run_many("UPDATE event SET state = 0, due_ms = place_ms WHERE id = :id", [{"id": row[0]} for row in rows])
    return [(row[1], FunctionKey(*row[3:]), row[2]) for row in rows]


async def next_rescue(engine: Engine) -> int | None:
    """When the next lease or wait runs out."""
    rows = await engine.read(
        "SELECT due_ms FROM event WHERE state <> 0 AND queue_id IN (SELECT id FROM event_queue) ORDER BY due_ms LIMIT 1"
    )
    return rows[0][0] if rows else None


# --- looking ---


async def queues(engine: Engine) -> list[QueueRow]:
    """The queues with waiting events. Costs one look into the index for each, however many events wait."""
    rows = await engine.read(
        "SELECT id, account, region, function, throttles, resume_ms, (SELECT MIN(due_ms) FROM event"
        " WHERE queue_id = event_queue.id AND state = 0) AS next_due FROM event_queue"
    )
    return [
        QueueRow(id=row[0], key=FunctionKey(*row[1:4]), throttles=row[4], resume_ms=row[5], next_due_ms=row[6])
        for row in rows
        if row[6] is not None
    ]


async def count(engine: Engine) -> int:
    """Events that have not ended. Walks through an index: not for hot paths."""
    rows = await engine.read("SELECT COUNT(*) FROM event WHERE queue_id IN (SELECT id FROM event_queue)")
    number: int = rows[0][0]
    return number


# --- reset ---


def delete_everything(tx: Transaction) -> None:
    """For a reset: takes as long for a million events as for none. The events lose their queues, by which alone they
    are found; `remove_garbage` removes them."""
    for table in ("event_outbox", "event_invoke_config", "event_queue", "event_garbage"):
        tx.run(f"DELETE FROM {table}")
    tx.run("INSERT INTO event_garbage (last_id) SELECT last_id FROM event_counter")


def remove_garbage(tx: Transaction, limit: int) -> bool:
    """Removes some of what a reset left, from the queue and from the ledger; False when nothing is left."""
    row = tx.one("SELECT MAX(last_id) FROM event_garbage")
    if row is None or row[0] is None:
        return False
    last_id, removed = row[0], 0
    for table, id_name in _GARBAGE_TABLES:
        removed += tx.run(
            f"DELETE FROM {table} WHERE {id_name} IN"
            f" (SELECT {id_name} FROM {table} WHERE {id_name} <= :last_id ORDER BY {id_name} LIMIT :limit)",
            {"last_id": last_id, "limit": limit},
        )
    if removed == 0:
        tx.run("DELETE FROM event_garbage WHERE last_id <= :last_id", {"last_id": last_id})
    return removed > 0


def _fitting(rows: Sequence[Row]) -> int:
    """How many of the first rows fit into a claim together."""
    total = 0
    for number, row in enumerate(rows):
        total += row[1]
        if total > _CLAIM_BYTES and number > 0:
            return number
    return len(rows)


def _event(tx: Transaction, event_id: int, key: FunctionKey, accepted_ms: int, attempts: int, setbacks: int) -> Event:
    row = tx.one(
        "SELECT request_id, qualifier, payload, trace, dead_letter_arn, settings FROM event_content WHERE id = :id",
        {"id": event_id},
    )
    assert row is not None
    request_id, qualifier, payload, trace, dead_letter_arn, settings = row
    return Event(
        request_id=request_id,
        account=key.account,
        region=key.region,
        function=key.name,
        qualifier=qualifier,
        payload=payload,
        trace=trace,
        accepted_ms=accepted_ms,
        attempts=attempts,
        setbacks=setbacks,
        dead_letter_arn=dead_letter_arn,
        accepted_settings=None if settings is None else _settings(settings),
    )


def _settings(document: str) -> RetrySettings:
    members = json.loads(document)
    return RetrySettings(
        maximum_retry_attempts=members["maximum_retry_attempts"],
        maximum_event_age_s=members["maximum_event_age_s"],
        destinations=DestinationConfig(**members["destinations"]),
    )
