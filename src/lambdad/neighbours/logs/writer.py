"""From execution environments to storage: appending costs next to nothing, storing happens beside it.

Appended text waits in memory for at most a flush interval, then all streams are stored in one transaction. Whoever
reads logs flushes first, so a log is complete as soon as its invocation was answered. Memory is bounded: when storage
cannot keep up, the oldest text of the noisiest stream is dropped and a line in its place says so. Short pieces, as
START and REPORT are, outlive that: a flood does not take the lines with it that tell of it. Nobody ever waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from lambdad.clock import Clock
from lambdad.domain.logs import RECORD_NEWLINE
from lambdad.loops import Loop
from lambdad.storage.engine import StorageError
from lambdad.storage.log_segments import Chunk, Kind, pack
from lambdad.storage.logs import LogStorage, StreamBatch, StreamIds, StreamName

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S: Final = 0.5
"""What a crash may lose at most. Each flush takes the interpreter from the event loop some twenty times."""
UNFLUSHED_LIMIT: Final = 3 * 1024 * 1024
"""Bytes of large pieces in memory, of all streams, those being written included; as many again of short ones."""
STORE_AGAIN_S: Final = 1.0
_KINDS: Final = {RECORD_NEWLINE: Kind.LINES, b"\r": Kind.LINES_CR}
_SPARED: Final = 1_024
"""Pieces up to this size are dropped only when twice the memory is taken."""
_CHUNK_OVERHEAD: Final = 128
"""What a chunk takes in memory besides its text, about."""
_INLINE_LIMIT: Final = 16_384
"""Up to here packing is cheaper than the way to a thread and back."""


class LogStreamHandle:
    """Takes the lines of one stream. Made by `LogWriter.stream`; every method is called on the event loop."""

    __slots__ = ("_chunks", "_dropped", "_ids", "_is_closed", "_kind", "_large", "_large_size", "_size", "_writer",
                 "name", "record_newline")  # fmt: skip

    def __init__(self, writer: LogWriter, name: StreamName, record_newline: bytes) -> None:
        self.name = name
        self.record_newline = record_newline
        self._writer = writer
        self._kind = _KINDS[record_newline]
        self._chunks: list[Chunk] = []
        self._size = 0
        self._large: deque[int] = deque()
        """Where in the chunks those are that may be dropped; the text of one that was is empty."""
        self._large_size = 0
        self._dropped = 0
        """Events dropped since the last flush; their notice is stored in front of the chunks that are left."""
        self._ids: StreamIds | None = None
        self._is_closed = False

    def append(self, timestamp_ms: int, lines: bytes) -> None:
        """Complete lines, each ended by a newline; every one becomes an event of this time (Unix ms).

        Text after the last newline becomes an event without one. Lines above 1 MB are split.
        """
        # The body of _add again: this runs several times for every invocation.
        if not lines:
            return
        writer = self._writer
        if not self._chunks:
            writer._mark_dirty(self)
        size = len(lines) + _CHUNK_OVERHEAD
        if size > _SPARED:
            self._large.append(len(self._chunks))
            self._large_size += size
            writer._large += size
        self._chunks.append((timestamp_ms, self._kind, lines))
        self._size += size
        writer._unflushed += size
        if writer._unflushed >= writer._limit or writer._large >= writer._hurry_from:
            writer._relieve()

    def append_event(self, timestamp_ms: int, message: bytes) -> None:
        """One event, whatever newlines are in it; split above 1 MB."""
        if message:
            self._add((timestamp_ms, Kind.EVENT, message), len(message) + _CHUNK_OVERHEAD)

    def close(self) -> None:
        """The stream ends; what was appended is still stored."""
        if not self._is_closed:
            self._is_closed = True
            self._writer._open_streams -= 1

    def _add(self, chunk: Chunk, size: int) -> None:
        writer = self._writer
        if not self._chunks:
            writer._mark_dirty(self)
        if size > _SPARED:
            self._large.append(len(self._chunks))
            self._large_size += size
            writer._large += size
        self._chunks.append(chunk)
        self._size += size
        writer._unflushed += size
        if writer._unflushed >= writer._limit or writer._large >= writer._hurry_from:
            writer._relieve()

    def _take(self, now_ms: int) -> _Taken:
        """Hands over what is to be stored."""
        chunks = [chunk for chunk in self._chunks if chunk[2]] if self._dropped else self._chunks
        taken = _Taken(self, chunks, self._size, self._large_size, self._dropped, now_ms)
        self._chunks = []
        self._large.clear()
        self._size = self._large_size = self._dropped = 0
        return taken

    def _give_back(self, taken: _Taken) -> None:
        """Takes back what could not be stored, in front of what came since."""
        self._chunks = taken.chunks + self._chunks
        self._size += taken.size
        self._dropped += taken.dropped
        sizes = [len(data) + _CHUNK_OVERHEAD for _, _, data in self._chunks]
        self._large = deque(at for at, size in enumerate(sizes) if size > _SPARED)
        before, self._large_size = taken.large_size + self._large_size, sum(sizes[at] for at in self._large)
        self._writer._large += self._large_size - before

    def _drop(self, size: int) -> int:
        """Drops the oldest large chunks, at least `size` bytes if there are as many; the bytes that were freed."""
        freed = 0
        while self._large and freed < size:
            at = self._large.popleft()
            stamp, kind, data = self._chunks[at]
            self._chunks[at] = (stamp, kind, b"")
            freed += len(data) + _CHUNK_OVERHEAD
            self._dropped += 1 if kind is Kind.EVENT else max(1, data.count(b"\n"))
        self._size -= freed
        self._large_size -= freed
        self._writer._large -= freed
        return freed

    def _drop_all(self) -> int:
        """Drops every chunk; the bytes that were freed."""
        freed = self._size
        self._writer._large -= self._large_size
        for _, kind, data in self._chunks:
            if data:
                self._dropped += 1 if kind is Kind.EVENT else max(1, data.count(b"\n"))
        self._chunks = []
        self._large.clear()
        self._size = self._large_size = 0
        return freed


class LogWriter(Loop):
    """Gathers the text of all streams and stores it at short intervals. One for each server."""

    name = "log writer"

    def __init__(
        self,
        storage: LogStorage,
        clock: Clock,
        *,
        unflushed_limit: int = UNFLUSHED_LIMIT,
        flush_interval_s: float = FLUSH_INTERVAL_S,
        on_stored: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_stored` is called after each flush."""
        super().__init__()
        self._on_stored = on_stored
        self._storage = storage
        self._clock = clock
        self._limit = unflushed_limit
        self._hurry_from = unflushed_limit // 4
        """So much in large pieces is stored at once. Short ones wait for the interval unless they fill the memory: each
        flush costs something for every stream."""
        self._interval_s = flush_interval_s
        self._dirty: dict[LogStreamHandle, None] = {}
        self._unflushed = 0
        self._large = 0
        """Of these bytes those in large pieces."""
        self._is_due = False
        self._is_refused = False
        """The storage refused the last flush of the loop."""
        """A flush is scheduled."""
        self._flushing: asyncio.Task[None] | None = None
        self._open_streams = 0
        self._dropped_bytes = 0
        self._stored_bytes = 0
        self._flushes = 0
        self._most_unflushed = 0

    def stream(
        self, account: str, region: str, group: str, stream_name: str, *, record_newline: bytes = RECORD_NEWLINE
    ) -> LogStreamHandle:
        """A stream to append to; group and stream appear in storage with the first text.

        `record_newline` stands for a newline inside one record: RECORD_NEWLINE, or a carriage return, which runtime
        clients write that have no log descriptor of their own. With the former, carriage returns that a function
        prints are kept (AWS: recorded 2025-11).
        """
        self._open_streams += 1
        return LogStreamHandle(self, StreamName(account, region, group, stream_name), record_newline)

    @property
    def is_congested(self) -> bool:
        """More than half of the memory is taken: who can let its source wait should."""
        return self._unflushed > self._limit // 2

    async def flush(self) -> None:
        """Stores everything that was appended before the call. Raises StorageError; the text is kept then."""
        if self._flushing is not None:
            # It may have begun before the call; what began afterwards has everything that the caller means.
            await asyncio.shield(self._flushing)
        if self._flushing is None and self._dirty:
            self._flushing = asyncio.get_running_loop().create_task(self._store(), name="log flush")
        if self._flushing is not None:
            await asyncio.shield(self._flushing)

    async def settle(self) -> None:
        """`flush` for readers: when the storage refuses writes, what it has can still be read."""
        try:
            await self.flush()
        except StorageError as error:
            logger.warning("%d bytes of function logs wait in memory: %s", self._unflushed, error)

    async def run_once(self) -> float | None:
        """Stores what is there; tries again in a second when the storage refuses, which is told once."""
        self._is_due = False
        try:
            await self.flush()
        except StorageError as error:
            self._is_due = True  # the loop itself comes back
            if not self._is_refused:
                self._is_refused = True
                logger.error("Function logs cannot be stored, trying again every second: %s", error)
            return STORE_AGAIN_S
        if self._is_refused:
            self._is_refused = False
            logger.warning("Function logs are stored again.")
        return None

    async def stop(self) -> None:
        """Ends the loop and stores what is left."""
        await super().stop()
        try:
            await self.flush()
        except StorageError as error:
            logger.error("%d bytes of function logs could not be stored: %s", self._unflushed, error)

    def statistics(self) -> dict[str, float]:
        """Bytes waiting, stored and dropped, flushes so far, open streams, and the most bytes that ever waited."""
        return {
            "unflushed_bytes": self._unflushed,
            "most_unflushed_bytes": self._most_unflushed,
            "stored_bytes": self._stored_bytes,
            "dropped_bytes": self._dropped_bytes,
            "flushes": self._flushes,
            "open_streams": self._open_streams,
        }

    def _mark_dirty(self, handle: LogStreamHandle) -> None:
        """There is something to flush: wakes the loop an interval from now, so that text until then shares it."""
        self._dirty[handle] = None
        if self._is_due:
            return
        with contextlib.suppress(RuntimeError):  # no event loop runs yet: the first flush is called by hand
            asyncio.get_running_loop().call_later(self._interval_s, self.wake)
            self._is_due = True

    def _relieve(self) -> None:
        """Much is waiting: flush now, and drop the oldest of the noisiest stream when the memory is used up."""
        self.wake()
        short = self._unflushed - self._large  # they have as much room again, so that they take none from large ones
        over = self._unflushed - self._limit - min(short, self._limit)
        if over > 0:
            # Somewhat more than needed, so that the search for the noisiest is not made for every line.
            over += self._limit // 16
            while over > 0 and self._dirty:
                noisiest = max(self._dirty, key=lambda handle: handle._large_size)
                freed = noisiest._drop(over)
                if not freed and self._unflushed > 2 * self._limit:
                    freed = max(self._dirty, key=lambda handle: handle._size)._drop_all()
                if not freed:
                    break
                over -= freed
                self._unflushed -= freed
                self._dropped_bytes += freed
        self._most_unflushed = max(self._most_unflushed, self._unflushed)

    async def _store(self) -> None:
        taken: list[_Taken] = []
        try:
            now_ms = self._clock.time_ms()
            taken = [handle._take(now_ms) for handle in self._dirty]
            self._dirty.clear()
            self._most_unflushed = max(self._most_unflushed, self._unflushed)
            if sum(part.size for part in taken) <= _INLINE_LIMIT:
                batches = [part.pack() for part in taken]
            else:
                batches = await asyncio.get_running_loop().run_in_executor(
                    None, lambda: [part.pack() for part in taken]
                )
            ids = await self._storage.append(batches, now_ms)
        except BaseException:
            for part in taken:
                part.handle._give_back(part)
                self._dirty[part.handle] = None
            raise
        else:
            for part, stream_ids in zip(taken, ids, strict=True):
                part.handle._ids = stream_ids
                self._unflushed -= part.size
                self._large -= part.large_size
                self._stored_bytes += part.size
            self._flushes += 1
            self._on_stored()
        finally:
            self._flushing = None


class _Taken(NamedTuple):
    """What one stream hands over to be stored."""

    handle: LogStreamHandle
    chunks: list[Chunk]
    size: int
    """Bytes in memory."""
    large_size: int
    """Of these, those of large pieces."""
    dropped: int
    """Events that were lost before the chunks."""
    now_ms: int

    def pack(self) -> StreamBatch:
        """Packed for the storage, with a notice in place of what was lost."""
        chunks = self.chunks
        if self.dropped:
            notice = f"{self.dropped} log events dropped: more was written than could be stored in time\n"
            stamp = chunks[0][0] if chunks else self.now_ms
            chunks = [(stamp, Kind.LINES, notice.encode()), *chunks]
        return StreamBatch(self.handle.name, self.handle._ids, list(pack(chunks)))
