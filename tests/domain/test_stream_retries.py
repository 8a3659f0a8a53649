"""What follows attempts at batches of streams."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lambdad.domain.mappings import MappingSettings
from lambdad.domain.stream_records import StreamRecord
from lambdad.domain.stream_retries import Next, Piece, after_failure, split_by_age

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FOREVER = MappingSettings(batch_size=10)
TWICE = replace(FOREVER, maximum_retry_attempts=2)


def records(*ages_s: float) -> tuple[StreamRecord, ...]:
    return tuple(
        StreamRecord(sequence_number=str(n), arrived=NOW - timedelta(seconds=age), order_key="k", document={})
        for n, age in enumerate(ages_s)
    )


FOUR = records(0, 0, 0, 0)


def test_a_failed_batch_is_tried_again_until_its_retries_are_used_up() -> None:
    assert after_failure(Piece(FOUR, 0), TWICE, None) == Next(pieces=(Piece(FOUR, 1),), is_retry=True)
    assert after_failure(Piece(FOUR, 1), TWICE, None) == Next(pieces=(Piece(FOUR, 2),), is_retry=True)
    assert after_failure(Piece(FOUR, 2), TWICE, None) == Next(given_up=FOUR)


def test_without_a_limit_for_ever() -> None:
    assert after_failure(Piece(FOUR, 10_000), FOREVER, None).is_retry


def test_it_goes_on_from_the_first_record_that_failed() -> None:
    found = after_failure(Piece(FOUR, 2), TWICE, 3)
    assert found == Next(pieces=(Piece(FOUR[3:], 1),), is_retry=True)  # tried once, as part of this attempt


def test_halves_use_up_no_retry() -> None:
    bisects = replace(TWICE, bisects=True)
    found = after_failure(Piece(FOUR, 0), bisects, None)
    assert found == Next(pieces=(Piece(FOUR[:2], 0), Piece(FOUR[2:], 0)), is_retry=True)
    assert after_failure(Piece(FOUR[:1], 2), bisects, None) == Next(given_up=FOUR[:1])


def test_a_single_record_that_always_fails_is_found() -> None:
    """Every record but the bad one is dealt with, whatever the place of the bad one."""
    bisects = replace(FOREVER, bisects=True, maximum_retry_attempts=1)
    for bad in range(7):
        batch = records(*[0] * 7)
        pieces, done, given_up = [Piece(batch)], [], []
        while pieces:
            piece = pieces.pop(0)
            if batch[bad] not in piece.records:
                done += piece.records
                continue
            found = after_failure(piece, bisects, None)
            given_up += found.given_up
            pieces[:0] = found.pieces
        assert given_up == [batch[bad]]
        assert [*done[:bad], batch[bad], *done[bad:]] == list(batch)


def test_records_grow_too_old() -> None:
    minute = replace(FOREVER, maximum_record_age_s=60)
    batch = records(100, 61, 60, 10)
    assert split_by_age(batch, minute, NOW) == 2
    assert split_by_age(batch, FOREVER, NOW) == 0
