"""A poller on a stream: order, positions, failures, windows, shards that end."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lambdad.domain.mappings import EventSourceMapping
from lambdad.domain.stream_positions import Position
from lambdad.domain.stream_records import Shard, StreamRecord, kinesis_record
from lambdad.sources.stream_poller import StreamPoller
from lambdad.sources.streams import IteratorExpired, Page, StreamNotFound, StreamUnavailable
from lambdad.storage import mappings
from tests.neighbours.sqs.conftest import ACCOUNT, REGION
from tests.sources.conftest import Bench, Call, a_mapping

ARN = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"
REPORTS = ("ReportBatchItemFailures",)


class FakeStream:
    """Shards as lists of records; an iterator is a place in one."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.listed: list[Shard] = [Shard(id="a")]
        self.records: dict[str, list[StreamRecord]] = {}
        self.closed: set[str] = set()
        self.failure: Exception | None = None
        self.begun: list[tuple[str, str]] = []

    def put(self, *texts: str, shard: str = "a", key: str = "k", arrived: datetime | None = None) -> None:
        held = self.records.setdefault(shard, [])
        for text in texts:
            read = {
                "SequenceNumber": str(len(held)),
                "ApproximateArrivalTimestamp": arrived or self._bench.clock.now(),
                "PartitionKey": key,
                "Data": text.encode(),
            }
            held.append(kinesis_record(read, shard, ARN, "role"))
        self._bench.clock.advance(1)  # what polls, polls

    async def shards(self) -> list[Shard]:
        self._fail()
        return self.listed

    async def iterator(self, shard: str, position: Position) -> str:
        self._fail()
        self.begun.append((shard, position.begin))
        return "0" if position.sequence_number is None else str(int(position.sequence_number) + 1)

    async def read(self, shard: str, iterator: str, limit: int, role: str) -> Page:
        self._fail()
        found = self.records.get(shard, [])[int(iterator) :][:limit]
        place = int(iterator) + len(found)
        is_over = shard in self.closed and place == len(self.records.get(shard, []))
        return Page(found, None if is_over else str(place))

    def _fail(self) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure


class StreamBench:
    """A stream, and the pollers that a test starts on it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.stream = FakeStream(bench)
        self.function = bench.function
        self.clock = bench.clock
        self.failed: list[Any] = []
        self.undeliverable = 0
        self.delivered = asyncio.Event()
        self.ages: list[float] = []
        self.counted: Counter[str] = Counter()
        self.pollers: list[StreamPoller] = []

    async def poll(self, **settings: Any) -> StreamPoller:
        settings.setdefault("starting_position", "TRIM_HORIZON")
        mapping = a_mapping(ARN, **settings)
        await self.bench.engine.write(lambda tx: mappings.put(tx, mapping))
        poller = StreamPoller(
            mapping,
            self.stream,
            self.bench.engine,
            self.function,  # type: ignore[arg-type]
            self,
            self.clock,
            self.bench.sleeper,
            lambda metric, number: self.counted.update({metric: number}),
            self.ages.append,
        )
        self.pollers.append(poller)
        poller.start()
        return poller

    async def deliver(self, mapping: EventSourceMapping, record: bytes, key: str, request_id: str) -> bool:
        if self.undeliverable:
            self.undeliverable -= 1
            return False
        self.failed.append(json.loads(record))
        self.delivered.set()
        return True

    async def next(self) -> Call:
        """The next call; the clock goes on meanwhile, so that pauses end."""
        async with asyncio.timeout(10):
            while self.function.started.empty():
                await asyncio.sleep(0.005)
                self.clock.advance(0.25)
        return self.function.started.get_nowait()

    async def delivery(self) -> None:
        """Until a failed batch is delivered; the clock goes on meanwhile."""
        async with asyncio.timeout(10):
            while not self.delivered.is_set():
                await asyncio.sleep(0.005)
                self.clock.advance(0.25)

    async def result(self) -> str:
        found = await mappings.read(self.bench.engine, self.bench_mapping_uuid)
        assert found is not None
        return found.last_result

    bench_mapping_uuid = a_mapping(ARN).uuid


@pytest.fixture
async def streams(bench: Bench) -> AsyncIterator[StreamBench]:
    made = StreamBench(bench)
    yield made
    for poller in made.pollers:
        await poller.stop(0)


def data(call: Call) -> list[str]:
    return [base64.b64decode(record["kinesis"]["data"]).decode() for record in call.event["Records"]]


async def test_records_come_in_batches_in_their_order(streams: StreamBench) -> None:
    streams.stream.put(*"abcde")
    await streams.poll(batch_size=2)
    seen = []
    for _ in range(3):
        call = await streams.next()
        assert streams.function.started.empty()  # one batch of a shard at a time
        seen.append(data(call))
        call.returns()
    assert seen == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_poller_goes_on_where_the_last_one_was(streams: StreamBench) -> None:
    streams.stream.put(*"abc")
    poller = await streams.poll(batch_size=2)
    (await streams.next()).returns()
    second = await streams.next()
    assert data(second) == ["c"]
    stopping = asyncio.create_task(poller.stop())
    second.fails()  # not done with
    await stopping
    await streams.poll(batch_size=2)
    assert data(await streams.next()) == ["c"]


async def test_a_stop_lets_the_attempt_end_and_keeps_its_result(streams: StreamBench) -> None:
    streams.stream.put("a")
    poller = await streams.poll()
    call = await streams.next()
    stopping = asyncio.create_task(poller.stop())
    call.returns()
    await stopping
    streams.stream.put("b")
    await streams.poll()
    assert data(await streams.next()) == ["b"]


async def test_a_failed_batch_holds_up_its_shard(streams: StreamBench) -> None:
    streams.stream.put("a")
    await streams.poll(batch_size=1)
    for _ in range(3):
        call = await streams.next()
        assert data(call) == ["a"]
        call.fails()
        streams.stream.put("later")
    call = await streams.next()
    call.returns()
    assert data(await streams.next()) == ["later"]
    assert await streams.result() == "OK"


async def test_a_batch_that_is_given_up_goes_to_the_destination(streams: StreamBench) -> None:
    streams.stream.put("a", "b")
    destination = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
    await streams.poll(maximum_retry_attempts=1, on_failure=destination)
    for _ in range(2):
        (await streams.next()).fails()
    await streams.delivery()
    (record,) = streams.failed
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    info = record["KinesisBatchInfo"]
    assert (info["batchSize"], info["startSequenceNumber"], info["endSequenceNumber"]) == (2, "0", "1")
    assert "payload" not in record
    streams.stream.put("c")
    assert data(await streams.next()) == ["c"]
    assert streams.counted["DroppedEventCount"] == 2
    assert streams.counted["OnFailureDestinationDeliveredEventCount"] == 2


async def test_a_destination_that_does_not_answer_is_tried_again(streams: StreamBench) -> None:
    streams.undeliverable = 2
    streams.stream.put("a")
    await streams.poll(maximum_retry_attempts=0, on_failure=f"arn:aws:sns:{REGION}:{ACCOUNT}:t")
    (await streams.next()).fails()
    await streams.delivery()
    assert len(streams.failed) == 1


async def test_a_batch_is_halved_until_the_bad_record_is_alone(streams: StreamBench) -> None:
    streams.stream.put("a", "b", "bad", "d")
    await streams.poll(maximum_retry_attempts=0, bisects=True)
    tried = []
    for _ in range(5):
        call = await streams.next()
        tried.append(data(call))
        if "bad" in tried[-1]:
            call.fails()
        else:
            call.returns()
    assert tried == [["a", "b", "bad", "d"], ["a", "b"], ["bad", "d"], ["bad"], ["d"]]


async def test_it_goes_on_from_the_lowest_reported_number(streams: StreamBench) -> None:
    streams.stream.put(*"abcd")
    await streams.poll(response_types=REPORTS)
    (await streams.next()).returns({"batchItemFailures": [{"itemIdentifier": "3"}, {"itemIdentifier": "1"}]})
    assert data(await streams.next()) == ["b", "c", "d"]


async def test_records_that_grow_too_old_are_given_up(streams: StreamBench) -> None:
    streams.stream.put("a")
    await streams.poll(maximum_record_age_s=60, on_failure=f"arn:aws:sns:{REGION}:{ACCOUNT}:t")
    (await streams.next()).fails()
    streams.clock.advance(61)
    await streams.delivery()
    assert streams.failed[0]["requestContext"]["condition"] == "RecordAgeExceeded"


async def test_records_that_are_too_old_at_once_are_not_even_tried(streams: StreamBench) -> None:
    streams.stream.put("old", arrived=streams.clock.now() - timedelta(seconds=100))
    streams.stream.put("new")
    await streams.poll(maximum_record_age_s=60, on_failure=f"arn:aws:sns:{REGION}:{ACCOUNT}:t")
    assert data(await streams.next()) == ["new"]
    (record,) = streams.failed
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert "responseContext" not in record


async def test_throttles_use_up_no_retry(streams: StreamBench) -> None:
    streams.function.is_throttled = True
    streams.stream.put("a")
    await streams.poll(maximum_retry_attempts=0)
    await asyncio.wait_for(streams.function.refused.wait(), 10)
    streams.function.is_throttled = False
    assert data(await streams.next()) == ["a"]
    assert "DroppedEventCount" not in streams.counted


async def test_filters_pass_over_records_for_good(streams: StreamBench) -> None:
    streams.stream.put('{"n": 1}', '{"n": 2}', '{"n": 1}')
    poller = await streams.poll(filters=('{"data": {"n": [2]}}',))
    call = await streams.next()
    assert data(call) == ['{"n": 2}']
    call.returns()
    await poller.stop()
    streams.stream.put('{"n": 2}')
    await streams.poll(filters=('{"data": {"n": [2]}}',))
    assert len(data(await streams.next())) == 1
    assert streams.counted["FilteredOutEventCount"] >= 2


async def test_keys_run_side_by_side_and_each_in_order(streams: StreamBench) -> None:
    for n in range(3):
        for key in ("k1", "k2", "k3"):
            streams.stream.put(f"{key}-{n}", key=key)
    await streams.poll(batch_size=1, batching_window_s=1, parallelization_factor=9)
    seen: dict[str, list[str]] = {}
    running = [await streams.next()]
    while not streams.function.started.empty():
        running.append(streams.function.started.get_nowait())
    assert len(running) > 1
    while sum(map(len, seen.values())) < 9:
        call = running.pop(0)
        (text,) = data(call)
        seen.setdefault(text[:2], []).append(text)
        call.returns()
        if not running and sum(map(len, seen.values())) < 9:
            running.append(await streams.next())
    assert seen == {key: [f"{key}-{n}" for n in range(3)] for key in ("k1", "k2", "k3")}


async def test_children_follow_their_parents(streams: StreamBench) -> None:
    streams.stream.listed = [Shard(id="a"), Shard(id="b", parents=("a",)), Shard(id="c", parents=("gone",))]
    streams.stream.put("child", shard="b")
    streams.stream.put("parent", shard="a")
    await streams.poll()
    first = await streams.next()
    assert data(first) == ["parent"]
    assert [shard for shard, _ in streams.stream.begun if shard == "b"] == []
    streams.stream.closed.add("a")
    first.returns()
    assert data(await streams.next()) == ["child"]


async def test_shards_that_come_later_are_read_from_their_beginning(streams: StreamBench) -> None:
    poller = await streams.poll(starting_position="LATEST")
    streams.stream.put("a")
    (await streams.next()).returns()
    streams.stream.listed = [Shard(id="a"), Shard(id="b")]
    streams.stream.put("b", shard="b")
    assert data(await streams.next()) == ["b"]
    assert streams.stream.begun == [("a", "LATEST"), ("b", "TRIM_HORIZON")]
    assert poller.statistics() == {"running": 2}


@pytest.mark.parametrize("failure", [IteratorExpired("x"), StreamUnavailable("x"), StreamNotFound("x")])
async def test_what_a_stream_answers_does_not_end_the_reading(streams: StreamBench, failure: Exception) -> None:
    await streams.poll()
    streams.stream.put("a")
    (await streams.next()).returns()
    streams.stream.failure = failure
    streams.stream.put("b")
    assert data(await streams.next()) == ["b"]


async def test_the_age_of_records_is_told(streams: StreamBench) -> None:
    streams.stream.put("a", arrived=streams.clock.now() - timedelta(seconds=5))
    await streams.poll()
    await streams.next()
    assert streams.ages[0] >= 5000


async def test_a_tumbling_window_hands_its_state_on_to_its_end(streams: StreamBench) -> None:
    start = datetime.fromtimestamp(int(streams.clock.now().timestamp()) // 60 * 60, UTC)
    streams.stream.put("a", "b", arrived=start + timedelta(seconds=1))
    streams.stream.put("c", arrived=start + timedelta(seconds=61))
    await streams.poll(batch_size=1, tumbling_window_s=60)
    first = await streams.next()
    assert first.event["window"] == {
        "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{start + timedelta(seconds=60):%Y-%m-%dT%H:%M:%SZ}",
    }
    assert (first.event["state"], first.event["isFinalInvokeForWindow"]) == ({}, False)
    assert (first.event["shardId"], first.event["eventSourceARN"]) == ("a", ARN)
    first.returns({"state": {"n": 1}})
    second = await streams.next()
    assert second.event["state"] == {"n": 1}
    second.returns({"state": {"n": 2}})
    final = await streams.next()
    assert (final.event["Records"], final.event["state"]) == ([], {"n": 2})
    assert final.event["isFinalInvokeForWindow"] is True
    assert final.event["isWindowTerminatedEarly"] is False
    final.returns()
    third = await streams.next()
    assert (data(third), third.event["state"]) == (["c"], {})
    third.returns({"state": {"n": 1}})
    streams.clock.advance(120)  # nothing more comes, and the window is over
    assert (await streams.next()).event["isFinalInvokeForWindow"] is True


async def test_a_window_with_too_much_state_ends_early(streams: StreamBench) -> None:
    streams.stream.put("a")
    await streams.poll(tumbling_window_s=900)
    (await streams.next()).returns({"state": {"x": "y" * 1_100_000}})
    assert (await streams.next()).event["isWindowTerminatedEarly"] is True


async def test_the_state_of_a_window_survives_a_restart(streams: StreamBench) -> None:
    streams.stream.put("a")
    poller = await streams.poll(tumbling_window_s=900)
    call = await streams.next()
    call.returns({"state": {"n": 1}})
    await asyncio.sleep(0)
    await poller.stop()
    streams.stream.put("b")
    await streams.poll(tumbling_window_s=900)
    again = await streams.next()
    assert (data(again), again.event["state"]) == (["b"], {"n": 1})
