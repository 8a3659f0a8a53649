"""Puts records together into batches: by number, by bytes, and by the time since the first."""

from __future__ import annotations

from typing import Generic, TypeVar

from lambdad.domain.mappings import MAX_PAYLOAD_BYTES

T = TypeVar("T")

ENVELOPE_BYTES = 1024
"""Kept free for what surrounds the records of an event."""


class Batcher(Generic[T]):
    """The batch that is being filled. Pure: time in seconds is an argument."""

    def __init__(self, size: int, window_s: float, max_bytes: int = MAX_PAYLOAD_BYTES - ENVELOPE_BYTES) -> None:
        self._size = size
        self._window_s = window_s
        self._max_bytes = max_bytes
        self._items: list[T] = []
        self._bytes = 0
        self._opened_s = 0.0

    @property
    def room(self) -> int:
        """How many records the batch still takes."""
        return self._size - len(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_empty(self) -> bool:
        return not self._items

    def add(self, item: T, size_bytes: int, now_s: float) -> list[list[T]]:
        """Takes a record; returns the batches that are full with it, in order.

        A record that does not fit closes the batch and opens the next one. One beyond the limit on its own is a batch
        of one, for the invocation to fail with.
        """
        closed: list[list[T]] = []
        if self._items and self._bytes + size_bytes + 1 > self._max_bytes:
            closed.append(self.take())
        if not self._items:
            self._opened_s = now_s
        self._items.append(item)
        self._bytes += size_bytes + 1  # the comma
        if len(self._items) >= self._size or self._bytes >= self._max_bytes:
            closed.append(self.take())
        return closed

    def left_s(self, now_s: float) -> float:
        """How long the batch may still wait for more; 0 for no longer. Only for a batch that is not empty."""
        return max(0.0, self._opened_s + self._window_s - now_s)

    def shorten(self, window_s: float) -> None:
        """The current and later batches wait no longer than this."""
        self._window_s = min(self._window_s, window_s)

    def take(self) -> list[T]:
        """The batch as it is, perhaps empty; the next begins."""
        items, self._items, self._bytes = self._items, [], 0
        return items
