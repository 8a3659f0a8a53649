"""Reads one stream for one function: a reader for each shard, children after their parents."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from lambdad.clock import Clock, Sleeper
from lambdad.domain.mappings import EventSourceMapping, LastResult, SourceKind
from lambdad.domain.stream_positions import Position
from lambdad.domain.stream_records import Shard
from lambdad.sources.calls import FunctionCalls
from lambdad.sources.failures import FailedBatches
from lambdad.sources.shard_reader import ShardReader
from lambdad.sources.stream_batches import BatchRunner, Stopped
from lambdad.sources.streams import Stream, StreamNotFound, StreamUnavailable
from lambdad.storage import checkpoints, mappings
from lambdad.storage.engine import Engine

logger = logging.getLogger(__name__)

LOOK_FOR_SHARDS_S = 10.0


class StreamPoller:
    """A poller; `start` it once."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        stream: Stream,
        engine: Engine,
        calls: FunctionCalls,
        failures: FailedBatches,
        clock: Clock,
        sleeper: Sleeper,
        count: Callable[[str, int], None],
        aged: Callable[[float], None],
    ) -> None:
        self._mapping = mapping
        self._stream = stream
        self._engine = engine
        self._calls = calls
        self._failures = failures
        self._clock = clock
        self._sleeper = sleeper
        self._count = count
        self._aged = aged
        self._positions: dict[str, Position] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._result = mapping.last_result
        self._began = datetime.now(UTC)  # in the stream's own time, which nobody moves

    def start(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch(), name=f"poll {self._mapping.source_arn}")

    async def stop_reading(self) -> None:
        """No batch and no attempt begins any more."""
        self._stopping.set()
        self._ended.set()

    async def stop(self, grace_s: float | None = None) -> None:
        """Waits for attempts that run, for up to `grace_s`. What is not done with is read again from the stream."""
        await self.stop_reading()
        tasks = [task for task in (self._watcher, *self._readers.values()) if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def statistics(self) -> dict[str, float]:
        """Shards that are read."""
        return {"running": len(self._readers)}

    # --- shards ---

    async def _watch(self) -> None:
        self._positions = await checkpoints.positions(self._engine, self._mapping.uuid)
        while not self._stopping.is_set():
            self._ended.clear()
            try:
                self._begin_readers(await self._stream.shards())
            except StreamNotFound:
                await self._tell(LastResult.NOT_FOUND)
            except StreamUnavailable as error:
                logger.warning("%s does not answer: %s", self._mapping.source_arn, error)
            except Exception:
                logger.exception("The shards of %s could not be looked up; it goes on", self._mapping.source_arn)
            await self._wait(LOOK_FOR_SHARDS_S, self._ended)

    def _begin_readers(self, shards: list[Shard]) -> None:
        # What is there when a mapping begins is read from its starting position, what comes later as a whole.
        is_first = not self._positions
        settings = self._mapping.settings
        begin = (settings.starting_position or "TRIM_HORIZON") if is_first else "TRIM_HORIZON"
        since = settings.starting_timestamp if begin == "AT_TIMESTAMP" else None
        if begin == "LATEST" and self._mapping.kind is SourceKind.KINESIS:
            since = self._began  # what comes while the shards are looked up counts
        listed = {shard.id for shard in shards}
        for shard in shards:
            if shard.id not in self._positions:
                self._positions[shard.id] = Position(begin=begin, since=since)
        for shard in shards:
            parents = [parent for parent in shard.parents if parent in listed]
            is_next = all(self._positions[parent].is_closed for parent in parents)
            if is_next and not self._positions[shard.id].is_closed and shard.id not in self._readers:
                self._begin_reader(shard.id)

    def _begin_reader(self, shard: str) -> None:
        task = asyncio.get_running_loop().create_task(self._read(shard), name=f"read {shard}")
        self._readers[shard] = task

        def ended(_: asyncio.Task[None]) -> None:
            self._readers.pop(shard, None)
            self._ended.set()

        task.add_done_callback(ended)

    async def _read(self, shard: str) -> None:
        runner = BatchRunner(
            self._mapping,
            shard,
            self._calls,
            self._failures,
            self._clock,
            self._pause,
            self._count,
            self._tell,
        )
        reader = ShardReader(
            self._mapping,
            shard,
            self._positions[shard],
            self._stream,
            runner,
            self._calls,
            self._clock,
            self._pause,
            self._count,
            self._save,
            self._aged,
        )
        try:
            await self._save(shard, self._positions[shard])
            await reader.run()
        except Stopped:
            pass
        except StreamNotFound:
            await self._tell(LastResult.NOT_FOUND)
            await self._pause(LOOK_FOR_SHARDS_S)
        except Exception:
            logger.exception("Reading %s of %s failed; it begins again", shard, self._mapping.source_arn)
            await self._pause(LOOK_FOR_SHARDS_S)

    # --- what readers use ---

    async def _pause(self, seconds: float) -> bool:
        if seconds > 0:
            await self._wait(seconds, self._stopping)
        return not self._stopping.is_set()

    async def _wait(self, seconds: float, event: asyncio.Event) -> None:
        """For so long in the service's time, or until the event."""
        waits = [asyncio.ensure_future(self._sleeper.sleep(seconds)), asyncio.ensure_future(event.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _save(self, shard: str, position: Position) -> None:
        self._positions[shard] = position
        await self._engine.write(lambda tx: checkpoints.put(tx, self._mapping.uuid, shard, position))

    async def _tell(self, result: str) -> None:
        if result != self._result:
            self._result = result
            await self._engine.write(lambda tx: mappings.put_result(tx, self._mapping.uuid, result))
