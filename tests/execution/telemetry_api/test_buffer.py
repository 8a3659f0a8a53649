"""What waits for a subscriber."""

from __future__ import annotations

from lambdad.execution.telemetry_api.buffer import BACKLOG_BATCHES, Buffer, Dropped


def a_buffer(max_items: int = 3, max_bytes: int = 100) -> Buffer:
    return Buffer(
        max_items=max_items,
        max_bytes=max_bytes,
        describe=lambda dropped: b"gap %d %d" % (dropped.records, dropped.bytes),
    )


def test_batches_are_bounded_by_items_and_keep_the_order() -> None:
    buffer = a_buffer()
    for number in range(5):
        buffer.add(b"%d" % number)
    assert buffer.has_batch
    assert buffer.take() == [b"0", b"1", b"2"]
    assert not buffer.has_batch
    assert buffer.take() == [b"3", b"4"]
    assert not buffer
    assert buffer.take() == []


def test_batches_are_bounded_by_bytes() -> None:
    buffer = a_buffer(max_items=100, max_bytes=10)
    for text in (b"aaaa", b"bbbb", b"cccc", b"d" * 20):
        buffer.add(text)
    assert [buffer.take() for _ in range(3)] == [[b"aaaa", b"bbbb"], [b"cccc"], [b"d" * 20]]


def test_what_comes_while_it_is_full_is_dropped_and_told_in_its_place() -> None:
    buffer = a_buffer(max_items=1)
    for number in range(BACKLOG_BATCHES + 3):
        buffer.add(b"%d" % number)
    assert buffer.take() == [b"0"]
    buffer.add(b"later")
    taken = []
    while buffer:
        taken += buffer.take()
    assert taken == [b"1", b"2", b"3", b"gap 3 3", b"later"]


def test_a_gap_at_the_end_is_told_too() -> None:
    buffer = a_buffer(max_items=1)
    for number in range(BACKLOG_BATCHES + 1):
        buffer.add(b"%d" % number)
    taken = []
    while buffer:
        taken += buffer.take()
    assert taken[-1] == b"gap 1 1"
    assert len(taken) == BACKLOG_BATCHES + 1


def test_nothing_dropped_counts_nothing() -> None:
    assert Dropped() == Dropped(records=0, bytes=0)
