"""How records become batches."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lambdad.sources.batcher import Batcher


@given(st.lists(st.integers(1, 120), max_size=60), st.integers(1, 12), st.integers(20, 100))
def test_batches_hold_everything_in_order_within_their_limits(sizes: list[int], size: int, limit: int) -> None:
    batcher: Batcher[tuple[int, int]] = Batcher(size, 5.0, limit)
    batches: list[list[tuple[int, int]]] = []
    for item in enumerate(sizes):
        assert batcher.room >= 1
        batches += batcher.add(item, item[1], 0.0)
    batches.append(batcher.take())
    assert batcher.is_empty
    assert [item for batch in batches for item in batch] == list(enumerate(sizes))
    for batch in batches[:-1]:
        assert 1 <= len(batch) <= size
    for batch in batches:
        assert len(batch) <= 1 or sum(bytes_ + 1 for _, bytes_ in batch) <= limit
    for batch, following in pairwise(batches):
        # No batch is closed early: full, or the next record would not have fit.
        fits = following and sum(bytes_ + 1 for _, bytes_ in [*batch, following[0]]) <= limit
        assert len(batch) == size or not fits


def test_the_window_begins_with_the_first_record() -> None:
    batcher: Batcher[str] = Batcher(10, 5.0)
    batcher.add("a", 1, 100.0)
    batcher.add("b", 1, 103.0)
    assert batcher.left_s(103.0) == 2.0
    assert batcher.left_s(105.0) == 0.0
    assert batcher.take() == ["a", "b"]
    batcher.add("c", 1, 110.0)
    assert batcher.left_s(111.0) == 4.0


def test_a_window_can_be_shortened_not_lengthened() -> None:
    batcher: Batcher[str] = Batcher(10, 60.0)
    batcher.add("a", 1, 0.0)
    batcher.shorten(30.0)
    batcher.shorten(40.0)
    assert batcher.left_s(10.0) == 20.0
