"""The queue of events in the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambdad.domain.events import DestinationConfig, Event, EventInvokeConfig, RetrySettings
from lambdad.storage import event_configs, events
from lambdad.storage.events import Claim, Claimed
from lambdad.storage.functions import FunctionKey
from lambdad.storage.sqlite import SqliteEngine
from tests.event_queue.building import START

KEY = FunctionKey("000000000000", "us-east-1", "f")
NOW = 1_000_000


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    opened = await SqliteEngine.open(tmp_path)
    yield opened
    await opened.close()


def an_event(request_id: str, *, function: str = "f", payload: bytes = b"{}", accepted_ms: int = NOW) -> Event:
    return Event(
        request_id=request_id,
        account=KEY.account,
        region=KEY.region,
        function=function,
        payload=payload,
        accepted_ms=accepted_ms,
    )


async def put(engine: SqliteEngine, *accepted: Event) -> int:
    return (await engine.write(lambda tx: events.put_all(tx, accepted)))[0]


async def claim(engine: SqliteEngine, queue_id: int, limit: int = 10, now_ms: int = NOW) -> Claimed:
    wanted = Claim(queue_id=queue_id, key=KEY, limit=limit)
    return await engine.write(lambda tx: events.claim(tx, wanted, now_ms, now_ms + 1000))


def ids(claimed: Claimed) -> list[str]:
    return [one.event.request_id for one in claimed.events]


async def test_events_are_claimed_once_in_the_order_of_their_places(engine: SqliteEngine) -> None:
    queue_id = await put(engine, an_event("b"), an_event("c"), an_event("a", accepted_ms=NOW - 1))
    first = await claim(engine, queue_id, limit=2)
    assert (ids(first), first.next_due_ms) == (["a", "b"], NOW)
    second = await claim(engine, queue_id)
    assert (ids(second), second.next_due_ms) == (["c"], None)
    assert ids(await claim(engine, queue_id, now_ms=NOW + 10_000)) == []


async def test_what_is_not_due_is_not_claimed(engine: SqliteEngine) -> None:
    queue_id = await put(engine, an_event("a"))
    claimed = (await claim(engine, queue_id)).events[0]
    await engine.write(lambda tx: events.retry(tx, claimed.id, NOW + 60_000, 1))
    early = await claim(engine, queue_id, now_ms=NOW + 59_999)
    assert (early.events, early.next_due_ms) == ([], NOW + 60_000)
    again = await claim(engine, queue_id, now_ms=NOW + 60_000)
    assert again.events[0].event.attempts == 1


async def test_an_event_that_was_put_back_is_the_first_again(engine: SqliteEngine) -> None:
    queue_id = await put(engine, *(an_event(str(number)) for number in range(5)))
    claimed = (await claim(engine, queue_id, limit=1)).events[0]
    await engine.write(lambda tx: events.put_back(tx, [claimed.id]))
    assert ids(await claim(engine, queue_id)) == ["0", "1", "2", "3", "4"]


async def test_a_claim_brings_no_more_than_fits_into_memory(engine: SqliteEngine) -> None:
    large = b'"' + b"x" * 1_500_000 + b'"'
    queue_id = await put(engine, *(an_event(str(number), payload=large) for number in range(5)))
    assert ids(await claim(engine, queue_id)) == ["0", "1"]
    assert ids(await claim(engine, queue_id)) == ["2", "3"]
    huge = b'"' + b"x" * 5_000_000 + b'"'
    other = await put(engine, an_event("huge", function="g", payload=huge))
    assert ids(await claim(engine, other)) == ["huge"]


async def test_an_event_carries_the_settings_of_its_acceptance(engine: SqliteEngine) -> None:
    config = EventInvokeConfig(
        account=KEY.account,
        region=KEY.region,
        function="f",
        maximum_retry_attempts=1,
        destinations=DestinationConfig(on_failure="arn"),
        last_modified=START,
    )
    await engine.write(lambda tx: event_configs.put(tx, config))
    queue_id = await put(engine, an_event("a"))
    await engine.write(lambda tx: event_configs.delete(tx, KEY, "$LATEST"))
    claimed = (await claim(engine, queue_id)).events[0]
    assert claimed.settings == RetrySettings()
    assert claimed.event.accepted_settings == RetrySettings.of(config)


async def test_what_waits_is_found_with_one_look_for_each_function(engine: SqliteEngine) -> None:
    await put(engine, an_event("a"), an_event("b", function="g", accepted_ms=NOW + 5))
    empty = await put(engine, an_event("c", function="h"))
    await claim(engine, empty)
    assert {(row.key.name, row.next_due_ms) for row in await events.queues(engine)} == {("f", NOW), ("g", NOW + 5)}
    plan = await engine.read(
        "EXPLAIN QUERY PLAN SELECT id FROM event WHERE queue_id = 1 AND state = 0 AND due_ms <= 5 ORDER BY due_ms, id"
    )
    assert all("USING INDEX event_waiting" in row[3] or "COVERING INDEX event_waiting" in row[3] for row in plan)


async def test_an_end_happens_once(engine: SqliteEngine) -> None:
    queue_id = await put(engine, an_event("a"))
    claimed = (await claim(engine, queue_id)).events[0]
    assert await engine.write(lambda tx: events.remove(tx, claimed.id))
    assert not await engine.write(lambda tx: events.remove(tx, claimed.id))
    assert await events.count(engine) == 0
