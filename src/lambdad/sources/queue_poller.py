"""Reads one queue for one function.

One reader fills batches, as far as there is room for another one to run; each batch runs as a task of its own. What
the function has dealt with is deleted, everything else stays in the queue and comes back after its visibility timeout,
so that nothing is lost whatever happens to this server. The reader looks at the queue only when the queue's own signals
wake it, and holds still while the function is throttled or gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lambdad.clock import Clock, Sleeper
from lambdad.domain.batch_failures import WHOLE_BATCH, reported_failures
from lambdad.domain.errors import RecursiveInvocation, ResourceConflict, ResourceNotFound, TooManyRequests
from lambdad.domain.mapping_filters import Filters
from lambdad.domain.mappings import EventSourceMapping
from lambdad.domain.queue_records import QueueMessage, batch_event, batch_trace, encode, left_in_queue, queue_record
from lambdad.sources.batcher import Batcher
from lambdad.sources.calls import Called, FunctionCalls
from lambdad.sources.queues import LONGEST_WAIT_S, MOST_AT_ONCE, Queues, QueueUnavailable
from lambdad.sources.scaling import Scale

logger = logging.getLogger(__name__)

Count = Callable[[str, int], None]
"""Counts events of the mapping under a metric's name."""

FIRST_PAUSE_S = 0.25
LONGEST_THROTTLE_PAUSE_S = 10.0
LONGEST_PAUSE_S = 60.0
DELETE_TRIES = 5
WINDOW_SHARE = 0.9
"""Of the visibility timeout, that a batching window may last at most."""


@dataclass(frozen=True, slots=True)
class _Item:
    message: QueueMessage
    record: bytes


class QueuePoller:
    """A poller; `start` it once."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        queues: Queues,
        calls: FunctionCalls,
        clock: Clock,
        sleeper: Sleeper,
        count: Count,
    ) -> None:
        self._mapping = mapping
        self._queues = queues
        self._calls = calls
        self._clock = clock
        self._sleeper = sleeper
        self._count = count
        settings = mapping.settings
        self._arn = mapping.source_arn
        self._filters = Filters(settings.filters)
        self._batcher: Batcher[_Item] = Batcher(settings.batch_size, settings.batching_window_s)
        self._scale = Scale(settings.maximum_concurrency)
        self._reader: asyncio.Task[None] | None = None
        self._batches: set[asyncio.Task[None]] = set()
        self._throttled = 0
        self._changed = asyncio.Event()

    def start(self) -> None:
        self._reader = asyncio.get_running_loop().create_task(self._read(), name=f"poll {self._arn}")

    async def stop_reading(self) -> None:
        """No message is received any more; those that wait for a batch go back to the queue."""
        if self._reader is None:
            return
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        self._reader = None
        await self._release([item.message.receipt_handle for item in self._batcher.take()])

    async def stop(self, grace_s: float | None = None) -> None:
        """Waits for batches that run, for up to `grace_s`; what is left of them comes back by itself."""
        await self.stop_reading()
        if self._batches:
            await asyncio.wait(self._batches, timeout=grace_s)
        for batch in list(self._batches):
            batch.cancel()
        await asyncio.gather(*self._batches, return_exceptions=True)

    def statistics(self) -> dict[str, float]:
        """Batches that run, and messages that wait for theirs."""
        return {"running": len(self._batches), "waiting": len(self._batcher)}

    # --- reading ---

    async def _read(self) -> None:
        pause_s, told = FIRST_PAUSE_S, ""
        while True:
            try:
                await self._wait_for_room()
                await self._calls.ready(self._mapping)
                await self._fill()
                pause_s, told = FIRST_PAUSE_S, ""
            except (QueueUnavailable, ResourceNotFound, ResourceConflict) as error:
                if str(error) != told:
                    told = str(error)
                    logger.warning("%s is not read for %s: %s", self._arn, self._mapping.function_arn, told)
                await self._sleeper.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            except Exception:
                logger.exception("Reading %s failed; it goes on", self._arn)
                await self._sleeper.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _wait_for_room(self) -> None:
        """For another batch. Nothing is received that could not run at once."""
        while self._throttled or not self._scale.has_room(len(self._batches), self._clock.monotonic()):
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), None if self._throttled else self._scale.step_s)

    async def _fill(self) -> None:
        """Receives until a batch has begun to run, or there was nothing for as long as a receive waits."""
        batcher = self._batcher
        has_window = self._mapping.settings.batching_window_s > 0
        while True:
            limit = min(MOST_AT_ONCE, batcher.room)
            wait_s = LONGEST_WAIT_S if batcher.is_empty else min(LONGEST_WAIT_S, batcher.left_s(self._now_s))
            messages = await self._queues.receive(self._arn, limit=limit, wait_s=wait_s)
            was_empty = batcher.is_empty
            batches: list[list[_Item]] = []
            for item in await self._pass(messages):
                batches += batcher.add(item, len(item.record), self._now_s)
            if was_empty and not batcher.is_empty and has_window:
                # A batch that waited longer would get its own messages again.
                batcher.shorten(WINDOW_SHARE * await self._queues.visibility_timeout_s(self._arn))
            if not batcher.is_empty and batcher.left_s(self._now_s) <= 0:
                batches.append(batcher.take())
            if self._mapping.is_fifo and batches:
                self._begin(batches)  # one after the other: they may be of the same group
            else:
                for batch in batches:
                    self._begin([batch])
            if batches or batcher.is_empty:
                return

    async def _pass(self, messages: Sequence[QueueMessage]) -> list[_Item]:
        """Those that the filters let pass; the others are deleted (AWS Lambda developer guide)."""
        if not messages:
            return []
        self._count("PolledEventCount", len(messages))
        passed: list[_Item] = []
        dropped: list[str] = []
        has_window = self._mapping.settings.batching_window_s > 0
        for message in messages:
            record = queue_record(message, self._arn, has_window=has_window)
            if self._filters.pass_message(record):
                passed.append(_Item(message, encode(record)))
            else:
                dropped.append(message.receipt_handle)
        if dropped:
            self._count("FilteredOutEventCount", len(dropped))
            await self._delete(dropped)
        return passed

    @property
    def _now_s(self) -> float:
        return self._clock.monotonic()

    # --- running ---

    def _begin(self, batches: Sequence[list[_Item]]) -> None:
        task = asyncio.get_running_loop().create_task(self._run_in_order(batches), name=f"batch of {self._arn}")
        self._batches.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A batch of %s failed; its messages come back", self._arn, exc_info=error)

    async def _run_in_order(self, batches: Sequence[list[_Item]]) -> None:
        """What follows a batch that the function has not dealt with as a whole is not run."""
        for batch in batches:
            if not await self._run(batch):
                return

    async def _run(self, batch: Sequence[_Item]) -> bool:
        """Whether nothing of the batch is left in the queue."""
        # A clock that jumped may have brought a message back while its batch was being filled: its last receipt counts.
        batch = list({item.message.message_id: item for item in batch}.values())
        messages = [item.message for item in batch]
        called = await self._call(batch_event([item.record for item in batch]), batch_trace(messages))
        if called is None:
            self._count("FailedInvokeEventCount", len(batch))
            return False
        self._count("InvokedEventCount", len(batch))
        left = self._left(messages, called)
        if left:
            self._count("FailedInvokeEventCount", len(left))
        done = [message.receipt_handle for message in messages if message.message_id not in left]
        if done:
            await self._delete(done)
            self._count("DeletedEventCount", len(done))
        return not left

    async def _call(self, event: bytes, trace: str) -> Called | None:
        """None if the function could not be called before its messages become visible again: then they come back."""
        started_s, visible_s = self._now_s, 0.0
        pause_s = FIRST_PAUSE_S
        is_throttled = False
        try:
            while True:
                try:
                    return await self._calls.call(self._mapping, event, trace)
                except TooManyRequests:
                    if not is_throttled:
                        is_throttled = True
                        self._throttled += 1
                        visible_s = started_s + await self._queues.visibility_timeout_s(self._arn)
                except (ResourceNotFound, ResourceConflict, RecursiveInvocation) as error:
                    logger.warning("A batch of %s could not be given to its function: %s", self._arn, error)
                    return None
                if self._now_s + pause_s >= visible_s:
                    return None
                await self._sleeper.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_THROTTLE_PAUSE_S)
        finally:
            if is_throttled:
                self._throttled -= 1
                self._changed.set()

    def _left(self, messages: Sequence[QueueMessage], called: Called) -> set[str]:
        """The ids of messages that the function has not dealt with."""
        every = {message.message_id for message in messages}
        if called.outcome.is_function_error:
            return every
        if not self._mapping.settings.reports_item_failures:
            return set()
        failed = reported_failures(called.outcome.payload, every)
        if failed is WHOLE_BATCH:
            return every
        return left_in_queue(messages, failed, is_fifo=self._mapping.is_fifo)

    # --- the queue ---

    async def _delete(self, handles: Sequence[str]) -> None:
        """What cannot be deleted comes back, and is then given to the function a second time."""
        for chunk in _chunks(handles):
            pause_s = FIRST_PAUSE_S
            for attempt in range(1, DELETE_TRIES + 1):
                try:
                    await self._queues.delete(self._arn, chunk)
                    break
                except QueueUnavailable as error:
                    if attempt == DELETE_TRIES:
                        logger.warning("%d messages of %s could not be deleted: %s", len(chunk), self._arn, error)
                        break
                    await self._sleeper.sleep(pause_s)
                    pause_s *= 2

    async def _release(self, handles: Sequence[str]) -> None:
        for chunk in _chunks(handles):
            with contextlib.suppress(QueueUnavailable):
                await self._queues.release(self._arn, chunk)


def _chunks(handles: Sequence[str]) -> list[Sequence[str]]:
    return [handles[start : start + MOST_AT_ONCE] for start in range(0, len(handles), MOST_AT_ONCE)]
