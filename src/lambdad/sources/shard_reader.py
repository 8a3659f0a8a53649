"""Reads one shard from where the mapping has come to until its end, batch after batch."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lambdad.clock import Clock
from lambdad.domain.errors import ResourceConflict, ResourceNotFound
from lambdad.domain.mapping_filters import Filters
from lambdad.domain.mappings import EventSourceMapping
from lambdad.domain.stream_positions import Position, Window, window_of, window_time
from lambdad.domain.stream_records import StreamRecord
from lambdad.sources.batcher import Batcher
from lambdad.sources.calls import FunctionCalls
from lambdad.sources.stream_batches import FIRST_PAUSE_S, LONGEST_PAUSE_S, BatchRunner, Pause, encoded_size, passes
from lambdad.sources.streams import (
    MOST_AT_ONCE,
    POLL_S,
    IteratorExpired,
    PositionTrimmed,
    Stream,
    StreamUnavailable,
)

logger = logging.getLogger(__name__)

MAX_STATE_BYTES = 1_048_576
"""A tumbling window whose state is larger ends early (AWS Lambda developer guide)."""


class ShardReader:
    """One shard of one mapping. `run` it once."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        shard: str,
        position: Position,
        stream: Stream,
        runner: BatchRunner,
        calls: FunctionCalls,
        clock: Clock,
        pause: Pause,
        count: Callable[[str, int], None],
        save: Callable[[str, Position], Awaitable[None]],
        aged: Callable[[float], None],
    ) -> None:
        """`save` stores how far it has come; `aged` is told the age in ms of the last record of each batch."""
        settings = mapping.settings
        self._mapping = mapping
        self._shard = shard
        self._position = position
        self._stream = stream
        self._runner = runner
        self._calls = calls
        self._clock = clock
        self._pause = pause
        self._count = count
        self._save = save
        self._aged = aged
        self._filters = Filters(settings.filters)
        self._lanes = settings.parallelization_factor
        self._batcher: Batcher[StreamRecord] = Batcher(settings.batch_size * self._lanes, settings.batching_window_s)
        self._read_to: str | None = position.sequence_number

    async def run(self) -> None:
        """Returns at the end of the shard, or when the poller stops. Raises Stopped, StreamNotFound."""
        iterator: str | None = None
        pause_s = FIRST_PAUSE_S
        is_going_on = True
        while is_going_on:
            try:
                role = await self._calls.role(self._mapping)
                if iterator is None:
                    iterator = await self._iterator()
                limit = min(MOST_AT_ONCE[self._mapping.kind], max(1, self._batcher.room))
                page = await self._stream.read(self._shard, iterator, limit, role)
            except IteratorExpired:
                iterator = None
                continue
            except PositionTrimmed:
                logger.warning("%s: records of %s are gone before they were read", self._mapping.uuid, self._shard)
                self._position = replace(self._position, begin="TRIM_HORIZON", since=None, sequence_number=None)
                self._read_to = None
                continue
            except (StreamUnavailable, ResourceNotFound, ResourceConflict) as error:
                logger.warning("%s is not read for now: %s", self._mapping.source_arn, error)
                iterator = None
                is_going_on = await self._pause(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            pause_s = FIRST_PAUSE_S
            await self._take(page.records)
            iterator = page.next_iterator
            if iterator is None:
                await self._end()
                return
            is_going_on = await self._go_on(has_read=bool(page.records))

    # --- reading ---

    async def _iterator(self) -> str:
        position = replace(self._position, sequence_number=self._read_to)
        iterator = await self._stream.iterator(self._shard, position)
        if position.begin == "LATEST" and position.since is None and position.sequence_number is None:
            # In the stream's own time, which nobody moves.
            self._position = replace(self._position, since=datetime.now(UTC))
            await self._save(self._shard, self._position)
        return iterator

    async def _take(self, records: Sequence[StreamRecord]) -> None:
        if not records:
            return
        self._count("PolledEventCount", len(records))
        dropped = 0
        for record in records:
            if not passes(self._filters, self._mapping.kind, record):
                dropped += 1
                continue
            for batch in self._batcher.add(record, encoded_size(record), self._clock.monotonic()):
                await self._process(batch)
        self._count("FilteredOutEventCount", dropped)
        self._read_to = records[-1].sequence_number
        if self._batcher.is_empty:
            await self._done_to(self._read_to)

    async def _go_on(self, *, has_read: bool) -> bool:
        """Processes what is due, or waits for more. False if the poller stops."""
        left_s = None if self._batcher.is_empty else self._batcher.left_s(self._clock.monotonic())
        if left_s is not None and left_s <= 0:
            await self._process(self._batcher.take())
            return await self._pause(0)
        window = self._position.window
        if window is not None and self._batcher.is_empty and not has_read and self._clock.now() >= window.end:
            await self._close_window(window)
        if has_read:
            return await self._pause(0)
        poll_s = POLL_S[self._mapping.kind]
        return await self._pause(poll_s if left_s is None else min(poll_s, left_s))

    async def _end(self) -> None:
        if not self._batcher.is_empty:
            await self._process(self._batcher.take())
        if self._position.window is not None:
            await self._close_window(self._position.window)
        self._position = replace(self._position, is_closed=True)
        await self._save(self._shard, self._position)

    async def _done_to(self, sequence_number: str) -> None:
        if sequence_number != self._position.sequence_number:
            self._position = replace(self._position, sequence_number=sequence_number)
            await self._save(self._shard, self._position)

    # --- running ---

    async def _process(self, batch: Sequence[StreamRecord]) -> None:
        self._aged(max(0.0, (self._clock.now() - batch[-1].arrived).total_seconds() * 1000))
        if self._mapping.settings.tumbling_window_s:
            await self._process_in_windows(batch)
        else:
            await self._process_in_lanes(batch)
        await self._done_to(batch[-1].sequence_number)

    async def _process_in_lanes(self, batch: Sequence[StreamRecord]) -> None:
        """Side by side, as far as the ParallelizationFactor goes; records of the same key one after the other."""
        lanes: list[list[StreamRecord]] = [[] for _ in range(self._lanes)]
        for record in batch:
            lanes[zlib.crc32(record.order_key.encode()) % self._lanes].append(record)
        results = await asyncio.gather(*(self._run_lane(lane) for lane in lanes if lane), return_exceptions=True)
        for result in results:
            if result is not None:
                raise result

    async def _run_lane(self, records: Sequence[StreamRecord]) -> None:
        size = self._mapping.settings.batch_size
        for start in range(0, len(records), size):
            await self._runner.run(records[start : start + size])

    # --- tumbling windows ---

    async def _process_in_windows(self, batch: Sequence[StreamRecord]) -> None:
        seconds = self._mapping.settings.tumbling_window_s
        rest = list(batch)
        while rest:
            window = self._position.window
            if window is None or rest[0].arrived >= window.end:
                if window is not None:
                    await self._close_window(window)
                window = window_of(rest[0].arrived, seconds)
            inside = [record for record in rest if record.arrived < window.end]
            rest = rest[len(inside) :]
            state = await self._runner.run(inside, self._members(window))
            window = replace(window, state=state)
            self._position = replace(self._position, window=window, sequence_number=inside[-1].sequence_number)
            await self._save(self._shard, self._position)
            if len(json.dumps(state)) > MAX_STATE_BYTES:
                await self._close_window(window, is_early=True)

    async def _close_window(self, window: Window, *, is_early: bool = False) -> None:
        await self._runner.run([], self._members(window, is_final=True, is_early=is_early))
        self._position = replace(self._position, window=None)
        await self._save(self._shard, self._position)

    def _members(self, window: Window, *, is_final: bool = False, is_early: bool = False) -> Mapping[str, Any]:
        return {
            "window": {"start": window_time(window.start), "end": window_time(window.end)},
            "state": {} if window.state is None else window.state,
            "shardId": self._shard,
            "eventSourceARN": self._mapping.source_arn,
            "isFinalInvokeForWindow": is_final,
            "isWindowTerminatedEarly": is_early,
        }
