"""A runtime that may speak frames or HTTP."""

from __future__ import annotations

import pytest

from lambdad.execution.either_channel import EitherChannel, Half
from tests.execution.recording import RecordedEvents
from tests.execution.runtime_api.test_runtime_api import an_invocation


class Side:
    """One of the channels, and what is done with it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __getattr__(self, name: str) -> object:
        return lambda *_: self.done.append(name)


@pytest.fixture
def events() -> RecordedEvents:
    return RecordedEvents()


@pytest.fixture
def either(events: RecordedEvents) -> EitherChannel:
    return EitherChannel(events)


def a_half(either: EitherChannel) -> tuple[Half, Side]:
    half, side = either.half(), Side()
    either.add(half, side)  # type: ignore[arg-type]
    return half, side


async def test_whoever_is_ready_first_is_the_runtime(either: EitherChannel, events: RecordedEvents) -> None:
    (first, silent), (second, used) = a_half(either), a_half(either)
    second.ready()
    first.ready()
    first.responded(b"1", "text/plain", 0)
    second.responded(b"2", "text/plain", 0)
    assert events.told == [("ready",), ("responded", b"2", "text/plain", 0)]
    either.deliver(an_invocation())
    either.keep_turning()
    either.pause()
    either.resume()
    assert silent.done == ["silence"]
    assert used.done == ["deliver", "keep_turning", "pause", "resume"]


async def test_a_side_that_opens_too_late_is_silent(either: EitherChannel) -> None:
    first, _ = a_half(either)
    first.ready()
    assert a_half(either)[1].done == ["silence"]


async def test_a_side_that_opens_after_the_end_is_closed(either: EitherChannel) -> None:
    _, side = a_half(either)
    either.close()
    assert side.done == ["close"]
    assert a_half(either)[1].done == ["close"]


async def test_the_end_of_a_side_that_is_not_used_is_no_news(either: EitherChannel, events: RecordedEvents) -> None:
    (first, _), (second, _) = a_half(either), a_half(either)
    first.channel_closed()
    second.ready()
    second.channel_closed()
    assert events.told == [("ready",), ("channel_closed",)]


async def test_either_side_may_fail_in_init(either: EitherChannel, events: RecordedEvents) -> None:
    first, _ = a_half(either)
    first.init_failed("Runtime.Unknown", b"{}")
    assert events.told == [("init_failed", "Runtime.Unknown", b"{}")]
    with pytest.raises(RuntimeError, match="has not asked"):
        either.deliver(an_invocation())
