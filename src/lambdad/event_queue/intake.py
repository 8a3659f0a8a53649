"""Accepting events: all checks, one durable commit, and only then the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from lambdad.clock import Clock
from lambdad.domain import json_syntax
from lambdad.domain.errors import InvalidRequestContent, RequestEntityTooLarge
from lambdad.domain.events import EVENT_LIMIT_BYTES, Event
from lambdad.domain.identity import Caller
from lambdad.domain.traces import parse, trace_header
from lambdad.invocation.catalog import Target
from lambdad.invocation.invoker import Invoker
from lambdad.storage import events
from lambdad.storage.engine import Engine
from lambdad.storage.functions import FunctionKey
from lambdad.telemetry import EventAccepted, Telemetry

Announce = Callable[[int, FunctionKey, int], None]
"""Takes queue id, function and the time from which an event of it is due."""

BATCH_EVENTS = 256
"""Events in one transaction. One transaction for many costs a fraction of one for each, also of the same commit."""
LARGE_EVENT_BYTES = 262_144
"""Above it the JSON check runs in a thread, so that other calls go on meanwhile."""


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
        self._batch: list[tuple[Event, asyncio.Future[int]]] = []
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
        await self._store(target, payload, request_id, trace)

    async def _store(self, target: Target, payload: bytes, request_id: str, trace: str) -> None:
        version = target.version
        if not trace:
            # All attempts of an event belong to one trace, also when the caller began none.
            made = trace_header("", version.unqualified_arn, self._clock.time_ms() / 1000)
            trace = f"Root={parse(made)['Root']}"
        event = Event(
            request_id=request_id,
            account=version.account,
            region=version.region,
            function=version.name,
            qualifier=target.qualifier,
            payload=payload or b"{}",
            trace=trace,
            accepted_ms=self._clock.time_ms(),
            dead_letter_arn=version.dead_letter_target,
        )
        queue_id = await self._commit(event)
        self._accepted += 1
        self._announce(queue_id, FunctionKey(event.account, event.region, event.function), event.accepted_ms)
        for listener in self._telemetry.event_accepted:
            listener(
                EventAccepted(
                    request_id=request_id,
                    account=event.account,
                    region=event.region,
                    function=event.function,
                    qualifier=event.qualifier,
                )
            )

    async def _commit(self, event: Event) -> int:
        """Stores an event together with all others that come in while the last batch is being written."""
        stored: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._batch.append((event, stored))
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_batches())
        return await stored

    async def _write_batches(self) -> None:
        try:
            while self._batch:
                batch, self._batch = self._batch[:BATCH_EVENTS], self._batch[BATCH_EVENTS:]
                accepted = [event for event, _ in batch]
                try:
                    queue_ids = await self._engine.write(partial(events.put_all, accepted=accepted))
                except Exception as error:
                    # Nothing of the batch was kept; every caller is told.
                    for _, stored in batch:
                        if not stored.done():
                            stored.set_exception(error)
                else:
                    for (_, stored), queue_id in zip(batch, queue_ids, strict=True):
                        if not stored.done():
                            stored.set_result(queue_id)
        finally:
            self._writing = None

    def statistics(self) -> dict[str, float]:
        """Events accepted since the start."""
        return {"accepted": self._accepted}


async def _check_json(payload: bytes) -> None:
    if not payload:
        return
    if len(payload) <= LARGE_EVENT_BYTES:
        if not json_syntax.is_json(payload):
            raise InvalidRequestContent(json_syntax.explain(payload))
        return
    loop = asyncio.get_running_loop()
    if not await loop.run_in_executor(None, json_syntax.is_json, payload):
        raise InvalidRequestContent(await loop.run_in_executor(None, json_syntax.explain, payload))
