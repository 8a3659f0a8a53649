"""Accepting events: all checks, one durable commit, and only then the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from lambdad.clock import Clock
from lambdad.domain import json_syntax
from lambdad.domain.errors import InvalidRequestContent, RequestEntityTooLarge
from lambdad.domain.events import EVENT_LIMIT_BYTES, Event
from lambdad.domain.identity import Caller
from lambdad.domain.traces import new_root
from lambdad.invocation.catalog import Target
from lambdad.invocation.invoker import Invoker
from lambdad.storage import events
from lambdad.storage.engine import Engine
from lambdad.storage.functions import FunctionKey
from lambdad.telemetry import EventAccepted, Telemetry

logger = logging.getLogger(__name__)

Announce = Callable[[int, FunctionKey, int], None]
"""Takes queue id, function and the time from which an event of it is due."""

BATCH_EVENTS = 256
"""Events in one transaction. One transaction for many costs a fraction of one for each, also of the same commit."""
AT_ONCE_BYTES = 262_144
"""Above it the JSON check runs in a thread, so that other calls go on meanwhile."""


Stored = Callable[[BaseException | None], None]
"""Called on the event loop once an event is on the disk, or with what went wrong."""


class Intake:
    """The way into the queue."""

    def __init__(
        self, engine: Engine, invoker: Invoker, clock: Clock, telemetry: Telemetry, announce: Announce
    ) -> None:
        self._engine = engine
        self._invoker = invoker
        self._clock = clock
        self._telemetry = telemetry
        self._announce = announce
        self._accepted = 0
        self._batch: list[tuple[Event, Stored]] = []
        self._writing: asyncio.Task[None] | None = None

    async def accept(
        self,
        caller: Caller,
        name: str,
        qualifier: str,
        payload: bytes,
        *,
        request_id: str,
        trace: str = "",
        limit_bytes: int = EVENT_LIMIT_BYTES,
    ) -> None:
        """Returns once the event is on the disk. Concurrency is not asked for: no event is throttled here.

        `name` and `qualifier` are as the caller sent them. Raises RequestEntityTooLarge, the errors of a bad address,
        ResourceNotFound, InvalidRequestContent, ResourceConflict for a function that is not Active, and StorageError
        when the event could not be stored.
        """
        if len(payload) > limit_bytes:
            raise RequestEntityTooLarge(
                f"{len(payload)} byte payload is too large for the Event invocation type (limit {limit_bytes} bytes)"
            )
        invoker = self._invoker
        target = invoker.cached_target(caller.account, caller.region, name, qualifier)
        if target is None:
            target = await invoker.resolve(caller, name, qualifier)
        await _check_json(payload)
        invoker.check_state(target)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def stored(error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self._store(target, payload, request_id, trace, stored)
        await done

    def accept_at_once(self, target: Target, payload: bytes, request_id: str, trace: str, stored: Stored) -> None:
        """The same without a task of its own, for an event of at most AT_ONCE_BYTES to a target that is known.

        Raises InvalidRequestContent and ResourceConflict at once; `stored` tells the rest.
        """
        if payload and not json_syntax.is_json(payload):
            raise InvalidRequestContent(json_syntax.explain(payload))
        self._invoker.check_state(target)
        self._store(target, payload, request_id, trace, stored)

    def _store(self, target: Target, payload: bytes, request_id: str, trace: str, stored: Stored) -> None:
        """Stores an event together with all others that come in while the last batch is being written."""
        version = target.version
        now_ms = self._clock.time_ms()
        if not trace:
            # All attempts of an event belong to one trace, also when the caller began none.
            trace = f"Root={new_root(now_ms / 1000)}"
        event = Event(
            request_id=request_id,
            account=version.account,
            region=version.region,
            function=version.name,
            qualifier=target.qualifier,
            payload=payload or b"{}",
            trace=trace,
            accepted_ms=now_ms,
            dead_letter_arn=version.dead_letter_target,
        )
        self._batch.append((event, stored))
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_batches())

    async def _write_batches(self) -> None:
        try:
            while self._batch:
                batch, self._batch = self._batch[:BATCH_EVENTS], self._batch[BATCH_EVENTS:]
                accepted = [event for event, _ in batch]
                try:
                    queue_ids = await self._engine.write(partial(events.put_all, accepted=accepted))
                except Exception as error:
                    # Nothing of the batch was kept; every caller is told.
                    _answer(batch, error)
                else:
                    self._tell(accepted, queue_ids)
                    _answer(batch, None)
        finally:
            self._writing = None

    def _tell(self, accepted: list[Event], queue_ids: list[int]) -> None:
        """Wakes whoever runs events, and those who count."""
        self._accepted += len(accepted)
        first: dict[int, Event] = {}
        for event, queue_id in zip(accepted, queue_ids, strict=True):
            earlier = first.setdefault(queue_id, event)
            if event.accepted_ms < earlier.accepted_ms:
                first[queue_id] = event
        for queue_id, event in first.items():
            self._announce(queue_id, FunctionKey(event.account, event.region, event.function), event.accepted_ms)
        for listener in self._telemetry.event_accepted:
            for event in accepted:
                listener(
                    EventAccepted(
                        request_id=event.request_id,
                        account=event.account,
                        region=event.region,
                        function=event.function,
                        qualifier=event.qualifier,
                    )
                )

    def statistics(self) -> dict[str, float]:
        """Events accepted since the start."""
        return {"accepted": self._accepted}


def _answer(batch: list[tuple[Event, Stored]], error: BaseException | None) -> None:
    """Tells every caller of a batch; one that cannot be told any more does not keep it from the others."""
    for event, stored in batch:
        try:
            stored(error)
        except Exception:
            logger.exception("The caller of event %s could not be answered", event.request_id)


async def _check_json(payload: bytes) -> None:
    if not payload:
        return
    if len(payload) <= AT_ONCE_BYTES:
        if not json_syntax.is_json(payload):
            raise InvalidRequestContent(json_syntax.explain(payload))
        return
    loop = asyncio.get_running_loop()
    if not await loop.run_in_executor(None, json_syntax.is_json, payload):
        raise InvalidRequestContent(await loop.run_in_executor(None, json_syntax.explain, payload))
