"""Telemetry on its way to listeners: order, time, losses, listeners that come late or do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from lambdad.clock import SystemClock
from lambdad.execution.telemetry_api import buffer as buffers
from lambdad.execution.telemetry_api.stream import TelemetryStream
from tests.execution.telemetry_api.subscribing import LineListener, Listener, a_subscription


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = await Listener().open()
    yield listener
    await listener.close()


@pytest.fixture
async def stream() -> AsyncIterator[TelemetryStream]:
    stream = TelemetryStream(SystemClock(), is_json_format=False)
    yield stream
    stream.close()


def texts(batch: list[dict[str, object]]) -> list[object]:
    return [record["record"] for record in batch]


async def test_a_subscriber_gets_what_came_before_it(stream: TelemetryStream, listener: Listener) -> None:
    stream.add("platform.initStart", {"phase": "init"})
    stream.add_lines("function", b"loading\xffmore\nready\n", b"\xff")
    stream.subscribe("watcher", a_subscription(listener.port))
    stream.flush()
    batch = await listener.next()
    assert [record["type"] for record in batch] == [
        "platform.initStart",
        "function",
        "function",
        "platform.telemetrySubscription",
    ]
    assert batch[1]["record"] == "loading\nmore"
    assert batch[3]["record"] == {
        "name": "watcher",
        "state": "Subscribed",
        "types": ["platform", "function", "extension"],
    }
    assert listener.heads[0].startswith(f"POST /in HTTP/1.1\r\nHost: sandbox.localdomain:{listener.port}\r\n")


async def test_records_wait_for_their_time(stream: TelemetryStream, listener: Listener) -> None:
    stream.subscribe("watcher", a_subscription(listener.port, buffering={"timeoutMs": 25}, types=["function"]))
    stream.add("function", "one")
    stream.add("function", "two")
    assert listener.batches.empty()
    assert not stream.is_flushed
    assert texts(await listener.next()) == ["one", "two"]
    await stream.flushed()
    assert stream.is_flushed


async def test_a_full_batch_does_not_wait(stream: TelemetryStream, listener: Listener) -> None:
    buffering = {"timeoutMs": 30_000, "maxItems": 1000}
    stream.subscribe("watcher", a_subscription(listener.port, buffering=buffering, types=["function"]))
    for number in range(1001):
        stream.add("function", str(number))
    assert texts(await listener.next()) == [str(number) for number in range(1000)]
    assert not stream.is_flushed
    stream.flush()
    assert texts(await listener.next()) == ["1000"]


async def test_a_listener_that_comes_late_misses_nothing(stream: TelemetryStream) -> None:
    late = await Listener().open()
    port = late.port
    await late.close()
    stream.subscribe("watcher", a_subscription(port, types=["function"]))
    stream.add("function", "early")
    stream.flush()
    await asyncio.sleep(0)
    late = await Listener().open(port)
    assert texts(await late.next()) == ["early"]
    await late.close()


async def test_a_batch_that_is_refused_is_sent_again(stream: TelemetryStream, listener: Listener) -> None:
    listener.status = 500
    stream.subscribe("watcher", a_subscription(listener.port, types=["function"]))
    stream.add("function", "again")
    stream.flush()
    await asyncio.wait_for(listener.arrived.wait(), 5)
    listener.status = 200
    assert texts(await listener.next()) == ["again"]


async def test_a_subscriber_that_does_not_keep_up_is_told_what_it_lost(
    stream: TelemetryStream, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffers, "BACKLOG_BATCHES", 1)
    listener.may_answer.clear()
    buffering = {"maxItems": 1000}
    stream.subscribe("watcher", a_subscription(listener.port, types=["function"], buffering=buffering))
    for _ in range(1000):
        stream.add("function", "x")
    await asyncio.wait_for(listener.arrived.wait(), 5)
    for _ in range(1003):
        stream.add("function", "y")
    listener.may_answer.set()
    stream.flush()
    assert texts(await listener.next()) == ["x"] * 1000
    assert texts(await listener.next()) == ["y"] * 1000
    (loss,) = await listener.next()
    assert loss["type"] == "platform.logsDropped"
    assert isinstance(loss["record"], dict)
    assert loss["record"]["droppedRecords"] == 3
    assert loss["record"]["droppedBytes"] == 3
    assert sorted(loss["record"]) == ["droppedBytes", "droppedRecords", "reason"]


async def test_over_tcp_each_record_is_a_line(stream: TelemetryStream) -> None:
    listener = await LineListener().open()
    stream.subscribe("watcher", a_subscription(listener.port, tcp=True, types=["function"]))
    stream.add("function", "one")
    stream.add("function", "two")
    stream.flush()
    assert [texts(await listener.next()) for _ in range(2)] == [["one"], ["two"]]
    stream.add("function", "three")
    stream.flush()
    assert texts(await listener.next()) == ["three"]
    await listener.close()


async def test_a_second_subscription_takes_the_place_of_the_first(stream: TelemetryStream, listener: Listener) -> None:
    stream.subscribe("watcher", a_subscription(1))
    stream.subscribe("watcher", a_subscription(listener.port, types=["function"]))
    stream.add("function", "one")
    stream.flush()
    assert texts(await listener.next()) == ["one"]
    await stream.flushed()


async def test_nobody_wants_anything_after_an_init_without_subscribers(stream: TelemetryStream) -> None:
    assert stream.is_wanted
    stream.init_over()
    assert not stream.is_wanted
    assert stream.is_flushed


async def test_the_backlog_of_init_is_bounded(stream: TelemetryStream, listener: Listener) -> None:
    for _ in range(3):
        stream.add("function", "x" * 500_000)
    stream.add("platform.initReport", {})
    stream.subscribe("watcher", a_subscription(listener.port))
    stream.flush()
    kinds = [record["type"] for record in [*await listener.next(), *await listener.next(), *await listener.next()]]
    assert kinds == ["function", "function", "platform.initReport", "platform.telemetrySubscription"]
