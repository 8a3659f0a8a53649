"""Pages of events agree with a sorted list, for every order of arrival, page size and direction."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from lambdad.domain.logs import LogEvent, Position
from lambdad.storage.log_events import EventQuery, LogEventStorage
from lambdad.storage.log_groups import LogGroupStorage
from lambdad.storage.log_segments import Chunk, Kind, pack
from lambdad.storage.logs import LogStorage, StreamBatch, StreamIds, StreamName
from lambdad.storage.sqlite import SqliteEngine


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path)
    yield engine
    await engine.close()


async def store(engine: SqliteEngine, stream: str, chunks: list[Chunk]) -> StreamIds:
    return (await store_all(engine, [(stream, chunks)]))[0]


async def store_all(engine: SqliteEngine, streams: list[tuple[str, list[Chunk]]]) -> list[StreamIds]:
    """In one transaction, as a flush does."""
    batches = [
        StreamBatch(StreamName("111111111111", "us-east-1", "group", name), None, list(pack(chunks)))
        for name, chunks in streams
    ]
    return await LogStorage(engine).append(batches, 0)


async def all_pages(pages: LogEventStorage, query: EventQuery) -> list[list[LogEvent]]:
    found = []
    position: Position | None = None
    for _ in range(10_000):
        limits = {} if position is None else {"before" if query.descending else "after": position}
        page = await pages.page(EventQuery(**{**fields_of(query), **limits}))
        found.append(page.events)
        position = page.position
        if position is None:
            return found
    raise AssertionError("the pages never end")


def fields_of(query: EventQuery) -> dict[str, object]:
    return {name: getattr(query, name) for name in EventQuery.__dataclass_fields__}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_hold_every_event_once_and_in_order(engine: SqliteEngine, seed: int, descending: bool) -> None:
    random = Random(seed)
    span = random.choice([5, 3_000, 100_000])
    messages: list[tuple[int, str]] = []
    flushed: list[tuple[str, list[Chunk]]] = []
    for flush in range(random.randrange(1, 30)):
        for stream in random.sample(["a", "ab", "b"], random.randrange(1, 4)):
            chunks: list[Chunk] = []
            for number in range(random.randrange(1, 9)):
                stamp = random.randrange(span)
                message = f"{stream}/{flush}/{number} {'x' * random.randrange(200)}\n"
                chunks.append((stamp, Kind.LINES, message.encode()))
                messages.append((stamp, message))
            flushed.append((stream, chunks))
    ids = (await store_all(engine, flushed))[0]
    pages = LogEventStorage(
        engine, page_bytes=random.choice([300, 5_000, 10**6]), scan_bytes=random.choice([1, 2_000, 10**8])
    )
    start, end = sorted(random.choices(range(span + 1), k=2))
    wanted = random.choice([None, lambda message: "/1" in message])
    query = EventQuery(
        group_id=ids.group_id,
        start_ms=start,
        end_ms=end,
        descending=descending,
        matches=wanted,
        limit=random.choice([1, 3, 1000]),
        stream_names=random.choice([(), ("a", "b")]),
        stream_prefix=random.choice(["", "a"]),
    )
    found = await all_pages(pages, query)
    assert all(len(page) <= query.limit for page in found)
    events = [event for page in found for event in page]
    positions = [event.position for event in events]
    assert positions == sorted(set(positions), reverse=descending)
    expected = sorted(
        (stamp, message)
        for stamp, message in messages
        if start <= stamp <= end
        and (wanted is None or wanted(message))
        and (not query.stream_names or message.split("/")[0] in query.stream_names)
        and message.startswith(query.stream_prefix)
    )
    assert sorted((event.position.timestamp_ms, event.message) for event in events) == expected


async def test_events_of_one_moment_keep_the_order_in_which_they_came(engine: SqliteEngine) -> None:
    flushes = [("a", [(7, Kind.LINES, b"%d\n%d\n" % (2 * number, 2 * number + 1))]) for number in range(20)]
    ids = (await store_all(engine, flushes))[0]
    query = EventQuery(group_id=ids.group_id, stream_id=ids.stream_id, limit=3)
    found = await all_pages(LogEventStorage(engine), query)
    assert [int(event.message) for page in found for event in page] == list(range(40))


async def test_a_page_is_bounded_by_bytes_but_never_without_its_first_event(engine: SqliteEngine) -> None:
    ids = await store(engine, "a", [(1, Kind.EVENT, b"x" * 1_000_000), (2, Kind.EVENT, b"y" * 60_000)])
    query = EventQuery(group_id=ids.group_id)
    found = await all_pages(LogEventStorage(engine, page_bytes=1_048_576), query)
    assert [[event.message[0] for event in page] for page in found] == [["x"], ["y"]]


async def test_text_that_is_not_utf8_is_readable(engine: SqliteEngine) -> None:
    ids = await store(engine, "a", [(1, Kind.EVENT, b"a\xffb\xe4\n")])
    page = await LogEventStorage(engine).page(EventQuery(group_id=ids.group_id))
    assert page.events[0].message == "a\ufffdb\ufffd\n"


async def test_a_search_without_a_match_reads_a_bounded_part_at_a_time(engine: SqliteEngine) -> None:
    text = b"nothing to see here, move along please\n" * 5_000
    ids = await store(engine, "a", [(number * 10_000, Kind.LINES, text) for number in range(40)])
    looked_at = 0

    def never(message: str) -> bool:
        nonlocal looked_at
        looked_at += 1
        return False

    query = EventQuery(group_id=ids.group_id, matches=never)
    pages = LogEventStorage(engine, scan_bytes=1_000_000)
    page = await pages.page(query)
    assert page.events == []
    assert page.position is not None
    assert looked_at < 60_000
    found = await all_pages(pages, query)
    assert len(found) > 3
    assert looked_at < 60_000 + 300_000


async def test_the_latest_events_are_found_without_reading_the_others(engine: SqliteEngine) -> None:
    ids = (await store_all(engine, [("a", [(n * 1_000, Kind.LINES, b"%d\n" % n)]) for n in range(300)]))[0]
    read = 0
    original = engine.read

    async def counting(sql: str, args: object) -> object:
        nonlocal read
        rows = await original(sql, args)  # type: ignore[arg-type]
        read += len(rows)
        return rows

    engine.read = counting  # type: ignore[method-assign,assignment]
    page = await LogEventStorage(engine).page(EventQuery(group_id=ids.group_id, descending=True, limit=3))
    assert [event.message for event in page.events] == ["299\n", "298\n", "297\n"]
    assert read < 100


async def test_reading_uses_the_indexes(engine: SqliteEngine) -> None:
    ids = await store(engine, "a", [(1, Kind.LINES, b"x\n")])
    plans: list[str] = []
    original = engine.read

    async def explaining(sql: str, args: object) -> object:
        if sql.startswith("SELECT g.id"):
            plan = await original(f"EXPLAIN QUERY PLAN {sql}", args)  # type: ignore[arg-type]
            plans.append("; ".join(row[3] for row in plan))
        return await original(sql, args)  # type: ignore[arg-type]

    engine.read = explaining  # type: ignore[method-assign,assignment]
    pages = LogEventStorage(engine)
    for descending in (False, True):
        await pages.page(EventQuery(group_id=ids.group_id, descending=descending, stream_names=("a", "b")))
        await pages.page(EventQuery(group_id=ids.group_id, stream_id=ids.stream_id, descending=descending))
    assert all("TEMP B-TREE" not in plan for plan in plans), plans
    bounded = re.compile(r"SEARCH g USING INDEX log_segment_(group|stream) \(\w+=\? AND first_ms>\? AND first_ms<\?\)")
    assert [bounded.match(plan)[1] for plan in plans] == 2 * (["group"] * 2 + ["stream"] * 2), plans  # type: ignore[index]


async def test_what_deleted_streams_and_groups_leave_behind_is_not_seen_and_then_removed(
    engine: SqliteEngine,
) -> None:
    groups, storage, pages = LogGroupStorage(engine), LogStorage(engine), LogEventStorage(engine)
    ids = await store(engine, "a", [(1, Kind.LINES, b"a\n")])
    await store(engine, "b", [(2, Kind.LINES, b"b\n")])
    await groups.delete_stream(ids.stream_id)
    page = await pages.page(EventQuery(group_id=ids.group_id))
    assert [event.message for event in page.events] == ["b\n"]
    assert await storage.remove_garbage() == 1
    await groups.delete_group(ids.group_id)
    assert (await pages.page(EventQuery(group_id=ids.group_id))).events == []
    assert await storage.remove_garbage() == 1
    assert await storage.remove_garbage() == 0
    assert await engine.read("SELECT count(*) FROM log_segment") == [(0,)]


async def test_ids_are_never_used_again(engine: SqliteEngine) -> None:
    first = await store(engine, "a", [(1, Kind.LINES, b"a\n")])
    await LogGroupStorage(engine).delete_group(first.group_id)
    second = await store(engine, "a", [(1, Kind.LINES, b"a\n")])
    assert second.group_id > first.group_id
    assert second.stream_id > first.stream_id
    page = await LogEventStorage(engine).page(EventQuery(group_id=second.group_id))
    assert page.events[0].position.segment == 2
