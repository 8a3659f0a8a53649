"""What waits to be sent to one subscriber: in order, in batches, bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

BACKLOG_BATCHES = 4
"""So many full batches may wait for a subscriber that does not keep up; AWS does not tell its own number."""


@dataclass(slots=True)
class Dropped:
    """What a gap in the stream lacks."""

    records: int = 0
    bytes: int = 0


class Buffer:
    """Encoded records. What comes while it is full is dropped, and told of at the place where it is missing."""

    def __init__(self, *, max_items: int, max_bytes: int, describe: Callable[[Dropped], bytes]) -> None:
        """`describe` makes the record that stands in a gap's place."""
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._describe = describe
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._dropped: Dropped | None = None

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting) or self._dropped is not None

    @property
    def has_batch(self) -> bool:
        """A batch is full: it need not wait for its time."""
        return len(self._waiting) >= self._max_items or self._size >= self._max_bytes

    @property
    def is_full(self) -> bool:
        """Whatever comes now is dropped."""
        return (
            len(self._waiting) >= BACKLOG_BATCHES * self._max_items or self._size >= BACKLOG_BATCHES * self._max_bytes
        )

    def add(self, record: bytes) -> None:
        if self.is_full or self._size + len(record) > BACKLOG_BATCHES * self._max_bytes:
            self.drop(len(record))
            return
        self._tell_gap()
        self._append(record)

    def drop(self, size: int) -> None:
        """A record of so many bytes is lost."""
        dropped = self._dropped = self._dropped or Dropped()
        dropped.records += 1
        dropped.bytes += size

    def take(self) -> list[bytes]:
        """The next batch; empty when nothing waits. A record larger than a batch is a batch of its own."""
        batch: list[bytes] = []
        size = 0
        while self._waiting and len(batch) < self._max_items:
            record = self._waiting[0]
            if batch and size + len(record) > self._max_bytes:
                break
            size += len(record)
            batch.append(self._waiting.popleft())
        self._size -= size
        if not self._waiting:
            self._tell_gap()
            if not batch:
                batch = list(self._waiting)
                self._waiting.clear()
                self._size = 0
        return batch

    def _tell_gap(self) -> None:
        dropped, self._dropped = self._dropped, None
        if dropped is not None:
            self._append(self._describe(dropped))

    def _append(self, record: bytes) -> None:
        self._waiting.append(record)
        self._size += len(record)
