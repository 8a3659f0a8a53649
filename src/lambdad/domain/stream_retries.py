"""What follows an attempt at a batch of a stream: one pure rule (AWS Lambda developer guide).

A batch that failed is tried again from the first record that failed, or in halves, until its retries or its age run
out; meanwhile its shard waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from lambdad.domain.mappings import FOREVER, MappingSettings
from lambdad.domain.stream_records import StreamRecord


class StreamCondition(StrEnum):
    """Why records were given up; the words of failure records. That of retries was recorded from AWS; of that of age
    no record is at hand."""

    RETRIES = "RetryAttemptsExhausted"
    AGE = "RecordAgeExceeded"


@dataclass(frozen=True, slots=True)
class Piece:
    """Records that are tried together, and how often they were."""

    records: tuple[StreamRecord, ...]
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Next:
    """What is to be done: these pieces, in order, and the records given up before."""

    pieces: tuple[Piece, ...] = ()
    given_up: tuple[StreamRecord, ...] = ()
    is_retry: bool = False
    """Whether a pause is due before the next attempt."""


def split_by_age(records: Sequence[StreamRecord], settings: MappingSettings, now: datetime) -> int:
    """How many records at the beginning are older than MaximumRecordAgeInSeconds."""
    if settings.maximum_record_age_s == FOREVER:
        return 0
    oldest = now - timedelta(seconds=settings.maximum_record_age_s)
    count = 0
    while count < len(records) and records[count].arrived < oldest:
        count += 1
    return count


def after_failure(piece: Piece, settings: MappingSettings, first_failed: int | None) -> Next:
    """After an attempt that failed as a whole (`first_failed` None), or from the record at that place on."""
    attempts = piece.attempts + 1
    if first_failed:
        # The beginning is done; what is left was tried once, as part of this attempt.
        piece, attempts = Piece(piece.records[first_failed:], 0), 1
    elif settings.bisects and len(piece.records) > 1:
        # Splitting uses up no retry.
        middle = len(piece.records) // 2
        halves = (Piece(piece.records[:middle], piece.attempts), Piece(piece.records[middle:], piece.attempts))
        return Next(pieces=halves, is_retry=True)
    if settings.maximum_retry_attempts != FOREVER and attempts > settings.maximum_retry_attempts:
        return Next(given_up=piece.records)
    return Next(pieces=(Piece(piece.records, attempts),), is_retry=True)
