"""Logs as values: groups, streams, events, and where an event stands among the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

MAX_EVENT_BYTES: Final = 1_048_576 - 26
"""The largest message of one event: 1 MB less the 26 bytes that the service counts for each (CloudWatch Logs guide)."""

RETENTION_DAYS: Final = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
"""The retention periods that a group may have (CloudWatch Logs API reference)."""

RECORD_NEWLINE: Final = b"\xff"
"""A newline inside one record, on its way through a pipe in which a bare newline ends an event.

The byte occurs in no UTF-8 text, so nothing that a function prints can be mistaken for it.
"""

RECORD_START: Final = b"\xfe"
"""Where a record begins, on the same way: what was printed before it without a newline is no part of it.

Such text waits for its newline, as on AWS, where records of the runtime come by a pipe of their own.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGroup:
    """A group of streams with its retention."""

    id: int
    account: str
    region: str
    name: str
    created_ms: int
    retention_days: int | None = None
    """None: events are kept for ever."""
    group_class: str = "STANDARD"
    kms_key: str | None = None
    deletion_protected: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Without the `:*` that older members of the API carry."""
        return f"arn:aws:logs:{self.region}:{self.account}:log-group:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStreamState:
    """A stream as it is listed. The times are None until it has events."""

    id: int
    name: str
    created_ms: int
    first_event_ms: int | None = None
    last_event_ms: int | None = None
    last_ingestion_ms: int | None = None


class Position(NamedTuple):
    """The place of an event in the order of its group: by time, then as stored. Also its id."""

    timestamp_ms: int
    segment: int
    number: int
    """Within its segment, from 0."""

    def digits(self) -> str:
        """The position as 56 digits, as long as AWS's event ids; their order is that of the positions."""
        return f"{self.timestamp_ms:020d}{self.segment:020d}{self.number:016d}"

    @classmethod
    def of_digits(cls, digits: str) -> Position | None:
        """The position that `digits()` gave, None for anything else."""
        if len(digits) != 56 or not (digits.isascii() and digits.isdigit()):
            return None
        return cls(int(digits[:20]), int(digits[20:40]), int(digits[40:]))


FIRST_POSITION: Final = Position(0, 0, 0)
"""Before every event."""
LAST_POSITION: Final = Position(10**20 - 1, 10**20 - 1, 10**16 - 1)
"""After every event."""


class LogEvent(NamedTuple):
    """One stored event."""

    position: Position
    stream: str
    message: str
    ingested_ms: int


class NewEvent(NamedTuple):
    """An event to be stored."""

    timestamp_ms: int
    message: str
