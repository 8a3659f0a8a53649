"""Runs one batch of a stream to its end: attempts, halves, and the record of what was given up."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lambdad.clock import Clock
from lambdad.domain.batch_failures import WHOLE_BATCH, reported_failures
from lambdad.domain.errors import RecursiveInvocation, ResourceConflict, ResourceNotFound, TooManyRequests
from lambdad.domain.mappings import EventSourceMapping, LastResult, SourceKind
from lambdad.domain.stream_records import StreamRecord, failure_key, failure_record
from lambdad.domain.stream_retries import Next, Piece, StreamCondition, after_failure, split_by_age
from lambdad.sources.calls import Called, FunctionCalls
from lambdad.sources.failures import FailedBatches

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 60.0
DELIVERY_TRIES = 4
"""After that the record of a failed batch is lost; the log tells each time."""

Pause = Callable[[float], Awaitable[bool]]
"""Waits for so many seconds; False if the poller stops."""


class Stopped(Exception):
    """The poller stops before the batch has come to its end, which is read again after the next start."""


@dataclass(slots=True)
class _Last:
    """What is told of the last attempt."""

    request_id: str = ""
    response: Mapping[str, Any] = field(default_factory=dict)


class BatchRunner:
    """Runs batches of one shard."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        shard: str,
        calls: FunctionCalls,
        failures: FailedBatches,
        clock: Clock,
        pause: Pause,
        count: Callable[[str, int], None],
        tell: Callable[[str], Awaitable[None]],
    ) -> None:
        """`tell` is given each LastProcessingResult."""
        self._mapping = mapping
        self._shard = shard
        self._calls = calls
        self._failures = failures
        self._clock = clock
        self._pause = pause
        self._count = count
        self._tell = tell

    async def run(self, records: Sequence[StreamRecord], window: Mapping[str, Any] | None = None) -> Any:
        """Until the function has dealt with all of the records, or they are given up.

        `window` are the members of an event of a tumbling window; its state goes from attempt to attempt, and the last
        one is returned. Raises Stopped.
        """
        state = (window or {}).get("state")
        pieces = [Piece(tuple(records))]
        pause_s = FIRST_PAUSE_S
        last = _Last()
        while pieces:
            piece = await self._without_old(pieces.pop(0), last)
            if not piece.records and records:
                continue
            called = await self._attempt(piece, {**window, "state": state} if window is not None else None)
            last = _Last(called.request_id, _response_of(called))
            self._count("InvokedEventCount", len(piece.records))
            answer = None if called.outcome.is_function_error else _json(called.outcome.payload)
            if window is not None and isinstance(answer, dict) and answer.get("state") is not None:
                state = answer["state"]
            following = self._following(piece, called)
            if following is None:
                await self._tell(LastResult.OK)
                pause_s = FIRST_PAUSE_S
                continue
            await self._tell(LastResult.FAILED)
            left = len(following.given_up) + sum(len(one.records) for one in following.pieces)
            self._count("FailedInvokeEventCount", left)
            if following.given_up:
                await self._give_up(following.given_up, StreamCondition.RETRIES, piece.attempts + 1, last)
            pieces[:0] = following.pieces
            if following.is_retry:
                if not await self._pause(pause_s):
                    raise Stopped
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        return state

    async def _without_old(self, piece: Piece, last: _Last) -> Piece:
        old = split_by_age(piece.records, self._mapping.settings, self._clock.now())
        if old:
            await self._give_up(piece.records[:old], StreamCondition.AGE, piece.attempts, last)
        return Piece(piece.records[old:], piece.attempts) if old else piece

    def _following(self, piece: Piece, called: Called) -> Next | None:
        """What is to be done next; None if the function has dealt with all."""
        settings = self._mapping.settings
        if called.outcome.is_function_error:
            return after_failure(piece, settings, None)
        if not settings.reports_item_failures or not piece.records:
            return None
        places = {record.sequence_number: place for place, record in enumerate(piece.records)}
        failed = reported_failures(called.outcome.payload, places)
        if failed is WHOLE_BATCH:
            return after_failure(piece, settings, None)
        if not failed:
            return None
        return after_failure(piece, settings, min(places[number] for number in failed))

    async def _attempt(self, piece: Piece, window: Mapping[str, Any] | None) -> Called:
        """Tries until the function has run: throttles and functions that are gone use up no retry."""
        event: dict[str, Any] = {"Records": [record.document for record in piece.records], **(window or {})}
        payload = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        pause_s, told = FIRST_PAUSE_S, ""
        while True:
            try:
                return await self._calls.call(self._mapping, payload, request_id=str(uuid.uuid4()))
            except TooManyRequests:
                pass
            except (ResourceNotFound, ResourceConflict, RecursiveInvocation) as error:
                if told != error.message:
                    told = error.message
                    logger.warning("A batch of %s waits for its function: %s", self._mapping.source_arn, told)
                    await self._tell(LastResult.FAILED)
            if not await self._pause(pause_s):
                raise Stopped
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _give_up(
        self, records: Sequence[StreamRecord], condition: StreamCondition, attempts: int, last: _Last
    ) -> None:
        self._count("DroppedEventCount", len(records))
        mapping = self._mapping
        if mapping.settings.on_failure is None:
            return
        now = self._clock.now()
        record = failure_record(
            mapping.kind,
            mapping.source_arn,
            self._shard,
            mapping.function_arn,
            records,
            condition=condition.value,
            request_id=last.request_id or str(uuid.uuid4()),
            invoke_count=attempts,
            response=last.response,
            now=now,
        )
        if mapping.settings.on_failure.split(":")[2] == "s3":  # a bucket has room for the batch itself
            record["payload"] = {"Records": [one.document for one in records]}
        key = failure_key(mapping.uuid, self._shard, str(uuid.uuid4()), now)
        body = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        for attempt in range(DELIVERY_TRIES):
            if await self._failures.deliver(mapping, body, key, last.request_id):
                self._count("OnFailureDestinationDeliveredEventCount", len(records))
                return
            if not await self._pause(2.0**attempt):
                raise Stopped


def _response_of(called: Called) -> dict[str, Any]:
    return {
        "statusCode": 200,
        "executedVersion": called.executed_version,
        "functionError": "Unhandled" if called.outcome.is_function_error else None,
    }


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload) if payload else None
    except (ValueError, RecursionError):
        return None


def encoded_size(record: StreamRecord) -> int:
    """Bytes of a record in an event."""
    return len(json.dumps(record.document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"))


def passes(filters: Any, kind: SourceKind, record: StreamRecord) -> bool:
    """Whether the filters of a mapping let a record pass."""
    if kind is SourceKind.KINESIS:
        return bool(filters.pass_kinesis(record.document, record.data))
    return bool(filters.pass_dynamodb(record.document))
