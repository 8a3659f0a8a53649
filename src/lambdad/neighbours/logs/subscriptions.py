"""Subscription filters: functions get what is logged, as events of the durable queue.

A loop follows the segments as they are stored, whoever wrote them, and accepts the events in the transaction that
notes how far it has come: after a crash nothing is missed and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from lambdad.clock import Clock
from lambdad.domain.errors import AccessDenied, LambdadError, ServiceError
from lambdad.domain.log_patterns import compile_pattern
from lambdad.domain.log_subscriptions import (
    MAX_FILTERS,
    Subscription,
    SubscriptionFilter,
    function_event,
    pieces,
)
from lambdad.domain.logs import LogEvent, LogGroup
from lambdad.domain.policies import ServiceCaller
from lambdad.loops import Loop
from lambdad.neighbours.logs.errors import invalid_parameter, invalid_token, no_such_filter
from lambdad.storage import log_subscriptions as storage
from lambdad.storage.engine import Engine, Transaction

logger = logging.getLogger(__name__)

Delivered = Callable[[], None]
"""Called on the event loop once the transaction is committed: wakes the function's queue."""
AcceptIn = Callable[[Transaction, str, bytes, ServiceCaller], Delivered]
"""Takes transaction, function ARN, event, and for which group CloudWatch Logs calls. Raises a LambdadError before it
has written anything."""

PAGE_SIZE: Final = 50
SEGMENTS_AT_ONCE: Final = 64
LOOK_AGAIN_S: Final = 5.0
"""For what others than the log writer have stored, such as rules that log."""
NOTE_AFTER: Final = 1_000
"""Segments of other groups that may pass before it is stored how far the loop has come."""


class _Undone(Exception):
    """Ends a trial."""


class LogSubscriptions(Loop):
    """The operations on filters, and the loop that delivers."""

    name = "log subscriptions"

    def __init__(self, engine: Engine, clock: Clock) -> None:
        super().__init__()
        self._engine = engine
        self._clock = clock
        self._accept_in: AcceptIn | None = None
        self._is_needed = True
        """Whether there may be filters: without any, what is stored does not wake the loop."""
        self._seen = 0
        """The last segment that was looked at, which may be behind the one that is stored as delivered."""

    def deliver_to(self, accept_in: AcceptIn) -> None:
        """Before `start`; without functions nothing is delivered."""
        self._accept_in = accept_in

    def stored(self) -> None:
        """There are new events, of whatever group."""
        if self._is_needed:
            self.wake()

    # --- operations ---

    async def put(self, group: LogGroup, wanted: SubscriptionFilter, *, role: str | None = None) -> None:
        """PutSubscriptionFilter: begins with events that are stored from now on. Raises ServiceError."""
        if role is not None:
            raise invalid_parameter("destinationArn for vendor lambda cannot be used with roleArn")
        compile_pattern(wanted.pattern)
        wanted = replace(wanted, created_ms=self._clock.time_ms())
        subscription = Subscription(
            filter=wanted,
            group_id=group.id,
            account=group.account,
            region=group.region,
            group=group.name,
            delivered_segment=0,
        )
        await self._check(subscription)
        if not await self._engine.write(lambda tx: storage.put(tx, group.id, wanted, MAX_FILTERS)):
            raise ServiceError("LimitExceededException", "Resource limit exceeded.")
        self._is_needed = True
        self.wake()

    async def delete(self, group: LogGroup, name: str) -> None:
        """DeleteSubscriptionFilter."""
        if not await self._engine.write(lambda tx: storage.delete(tx, group.id, name)):
            raise no_such_filter()

    async def listing(
        self, group: LogGroup, *, prefix: str | None, token: str | None, limit: int | None
    ) -> tuple[list[SubscriptionFilter], str | None]:
        """DescribeSubscriptionFilters: a page by name, and the token of the next."""
        if token is not None and not token.startswith("n/"):
            raise invalid_token()
        size = limit or PAGE_SIZE
        after = "" if token is None else token.removeprefix("n/")
        found = await storage.listing(self._engine, group.id, prefix=prefix or "", after=after, limit=size + 1)
        return found[:size], f"n/{found[size - 1].name}" if len(found) > size else None

    # --- delivery ---

    async def run_once(self) -> float | None:
        """Hands over what was stored since. Returns the pause; None while there are no filters."""
        self._is_needed = False  # a filter that is put meanwhile sets it again
        subscriptions = await storage.everything(self._engine)
        self._is_needed = self._is_needed or bool(subscriptions)
        if not subscriptions or self._accept_in is None:
            return None
        until = await storage.last_segment(self._engine)
        oldest = min(one.delivered_segment for one in subscriptions)
        after = max(oldest, self._seen)
        segments = await storage.new_segments(
            self._engine,
            {one.group_id for one in subscriptions},
            after=after,
            until=until,
            limit=SEGMENTS_AT_ONCE,
        )
        is_all = len(segments) < SEGMENTS_AT_ONCE
        until = until if is_all else segments[-1].id
        if segments or until - oldest > NOTE_AFTER:
            made = await asyncio.get_running_loop().run_in_executor(None, _events_for, subscriptions, segments)
            await self._hand_over(made, until)
        self._seen = until
        return LOOK_AGAIN_S if is_all else 0

    async def _hand_over(self, made: Sequence[tuple[Subscription, bytes]], until: int) -> None:
        def job(tx: Transaction) -> tuple[list[Delivered], list[tuple[Subscription, LambdadError]]]:
            accepted: list[Delivered] = []
            failures: list[tuple[Subscription, LambdadError]] = []
            for subscription, event in made:
                try:
                    accepted.append(self._put_in(tx, subscription, event))
                except LambdadError as error:
                    failures.append((subscription, error))
            storage.advance(tx, until)
            return accepted, failures

        accepted, failures = await self._engine.write(job)
        for delivered in accepted:
            delivered()
        for subscription, error in failures:
            one = subscription.filter
            logger.warning(
                "%s did not get events of the log group %s by the filter %s: %s",
                one.destination,
                subscription.group,
                one.name,
                error.message,
            )

    def _put_in(self, tx: Transaction, subscription: Subscription, event: bytes) -> Delivered:
        assert self._accept_in is not None
        plain, regional = subscription.callers()
        try:
            return self._accept_in(tx, subscription.filter.destination, event, plain)
        except AccessDenied:
            return self._accept_in(tx, subscription.filter.destination, event, regional)

    async def _check(self, subscription: Subscription) -> None:
        """Raises ServiceError unless the function is there and lets CloudWatch Logs in (the text: AWS, captured)."""
        destination = subscription.filter.destination
        parts = destination.split(":")
        if len(parts) < 7 or parts[2] != "lambda" or parts[5] != "function":
            raise invalid_parameter(
                f"Log events can be handed to functions of this server, not to {destination}."  # our words
            )
        if self._accept_in is None:
            return

        def job(tx: Transaction) -> None:
            try:
                self._put_in(tx, subscription, b"{}")
            except LambdadError as error:
                raise invalid_parameter(
                    "Could not execute the lambda function. "
                    "Make sure you have given CloudWatch Logs permission to execute your function."
                ) from error
            raise _Undone  # what was put in was only tried

        with contextlib.suppress(_Undone):
            await self._engine.write(job)


def _events_for(
    subscriptions: Sequence[Subscription], segments: Sequence[storage.NewSegment]
) -> list[tuple[Subscription, bytes]]:
    """The events that functions get of these segments, stream by stream. Runs in a thread."""
    made: list[tuple[Subscription, bytes]] = []
    for subscription in subscriptions:
        matches = compile_pattern(subscription.filter.pattern)
        streams: dict[str, list[LogEvent]] = {}
        for segment in segments:
            if segment.group_id == subscription.group_id and segment.id > subscription.delivered_segment:
                wanted = [event for event in segment.events() if matches is None or matches(event.message)]
                streams.setdefault(segment.stream, []).extend(wanted)
        for stream, events in streams.items():
            made += [(subscription, function_event(subscription, stream, piece)) for piece in pieces(events)]
    return made
