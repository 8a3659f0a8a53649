"""The telemetry of one boot: kept from its first moment until init is over, then for those who have subscribed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from lambdad.clock import Clock
from lambdad.domain.telemetry_subscriptions import Subscription
from lambdad.execution.telemetry_api.buffer import Buffer, Dropped
from lambdad.execution.telemetry_api.records import Record, encoded
from lambdad.execution.telemetry_api.sender import NotDelivered, Sender

logger = logging.getLogger(__name__)

INIT_BACKLOG = 2_000
INIT_BACKLOG_BYTES = 1 << 20
"""Records, and bytes of output, of an init that has no subscriber yet; whoever subscribes after more than that is not
told the rest."""
FIRST_RETRY_S = 0.02
LONGEST_RETRY_S = 1.0


class TelemetryStream:
    """Hands records to subscribers. `address` is where their listeners are reached; empty where nobody can be."""

    def __init__(self, clock: Clock, *, is_json_format: bool) -> None:
        self.address = "127.0.0.1"
        self._clock = clock
        self._is_json_format = is_json_format
        self._backlog: list[Record] | None = []
        self._backlog_bytes = 0
        self._subscribers: dict[str, Subscriber] = {}

    @property
    def is_wanted(self) -> bool:
        """Somebody has subscribed, or may still do so."""
        return self._backlog is not None or bool(self._subscribers)

    def subscribe(self, name: str, subscription: Subscription) -> None:
        """An extension subscribes; what has happened since the boot comes first. A second time replaces the first."""
        replaced = self._subscribers.get(name)
        subscriber = Subscriber(subscription, Sender(subscription.destination, self.address), self._encode_gap)
        self._subscribers[name] = subscriber
        if replaced is not None:
            replaced.close()
        for record in self._backlog or ():
            subscriber.add(record, is_json_format=self._is_json_format)
        content = {"name": name, "state": "Subscribed", "types": list(subscription.types)}
        self.add("platform.telemetrySubscription", content)

    def init_over(self) -> None:
        """Nobody can subscribe from now on."""
        self._backlog = None

    def add(self, kind: str, content: Mapping[str, Any] | str, time_ms: int = 0) -> None:
        record = Record(time_ms or self._clock.time_ms(), kind, content)
        if self._backlog is not None:
            self._keep(self._backlog, record)
        for subscriber in self._subscribers.values():
            subscriber.add(record, is_json_format=self._is_json_format)

    def _keep(self, backlog: list[Record], record: Record) -> None:
        size = len(record.content) if isinstance(record.content, str) else 0
        if len(backlog) < INIT_BACKLOG and self._backlog_bytes + size <= INIT_BACKLOG_BYTES:
            self._backlog_bytes += size
            backlog.append(record)

    def add_lines(self, kind: str, lines: bytes, record_newline: bytes) -> None:
        """Output as it was captured: complete lines; `record_newline` stands for a newline inside a record."""
        time_ms = self._clock.time_ms()
        for line in lines.split(b"\n"):
            if line:
                self.add(kind, line.replace(record_newline, b"\n").decode("utf-8", "replace"), time_ms)

    @property
    def is_flushed(self) -> bool:
        """Nothing waits and nothing is on its way."""
        return all(subscriber.is_flushed for subscriber in self._subscribers.values())

    def flush(self) -> None:
        """Sends what waits now instead of at its time."""
        for subscriber in self._subscribers.values():
            subscriber.flush()

    async def flushed(self) -> None:
        """Waits until everything is sent, however long that takes."""
        self.flush()
        for subscriber in list(self._subscribers.values()):
            await subscriber.empty.wait()

    def close(self) -> None:
        """The environment is gone; what waits is lost."""
        for subscriber in self._subscribers.values():
            subscriber.close()
        self._subscribers.clear()
        self._backlog = None

    def _encode_gap(self, subscription: Subscription, dropped: Dropped) -> bytes:
        content = {
            "reason": "Consumer seems to have fallen behind as it has not acknowledged receipt of logs.",
            "droppedRecords": dropped.records,
            "droppedBytes": dropped.bytes,
        }
        record = Record(self._clock.time_ms(), "platform.logsDropped", content)
        everything = _with_platform(subscription)
        return encoded(record, everything, is_json_format=self._is_json_format) or b"{}"


def _with_platform(subscription: Subscription) -> Subscription:
    """Losses are told to those, too, who have not subscribed to platform records."""
    if "platform" in subscription.types:
        return subscription
    return Subscription(
        api=subscription.api,
        schema_version=subscription.schema_version,
        types=("platform",),
        max_items=subscription.max_items,
        max_bytes=subscription.max_bytes,
        timeout_ms=subscription.timeout_ms,
        destination=subscription.destination,
    )


class Subscriber:
    """One subscription at work: a buffer, and a task that empties it while there is something in it."""

    def __init__(self, subscription: Subscription, sender: Sender, describe: Any) -> None:
        self._subscription = subscription
        self._sender = sender
        self._buffer = Buffer(
            max_items=subscription.max_items,
            max_bytes=subscription.max_bytes,
            describe=lambda dropped: describe(subscription, dropped),
        )
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._hurries = False  # everything is to be sent, not only full batches
        self._is_closed = False
        self.empty = asyncio.Event()
        """Set while nothing waits and nothing is on its way."""
        self.empty.set()

    @property
    def is_flushed(self) -> bool:
        return self.empty.is_set()

    def add(self, record: Record, *, is_json_format: bool) -> None:
        if self._is_closed or record.category not in self._subscription.types:
            return
        if self._buffer.is_full and isinstance(record.content, str):
            self._buffer.drop(len(record.content))  # not worth encoding: a function may print faster than anyone reads
            return
        data = encoded(record, self._subscription, is_json_format=is_json_format)
        if data is None:
            return
        self._buffer.add(data)
        self.empty.clear()
        if self._task is None:
            self._look()

    def flush(self) -> None:
        """Begins to send what waits, full batch or not."""
        self._hurries = True
        if self._task is None:
            self._look()

    def _look(self) -> None:
        """Nothing is being sent: what is to be done next?"""
        if self._timer is not None and (self._hurries or self._buffer.has_batch):
            self._timer.cancel()
            self._timer = None
        if self._is_closed:
            return
        if not self._buffer:
            self._hurries = False
            self.empty.set()
        elif self._hurries or self._buffer.has_batch:
            self._task = self._loop.create_task(self._send_batch(self._buffer.take()))
        elif self._timer is None:
            self._timer = self._loop.call_later(self._subscription.timeout_ms / 1000, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        if self._task is None and not self._is_closed:
            self._task = self._loop.create_task(self._send_batch(self._buffer.take()))

    async def _send_batch(self, batch: list[bytes]) -> None:
        try:
            await self._send(batch)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("sending telemetry failed; what was in the batch is lost")
        self._task = None
        self._look()

    async def _send(self, batch: list[bytes]) -> None:
        pause_s = FIRST_RETRY_S
        while True:
            try:
                await self._sender.send(batch)
            except NotDelivered as reason:
                logger.debug("telemetry was not taken: %s", reason)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_RETRY_S)
            else:
                return

    def close(self) -> None:
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._sender.close()
        self.empty.set()
