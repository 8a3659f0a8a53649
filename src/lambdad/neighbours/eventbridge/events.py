"""PutEvents and TestEventPattern: what comes in from callers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from lambdad.clock import Clock
from lambdad.domain.event_patterns import InvalidPattern, compile_pattern
from lambdad.domain.identity import Caller
from lambdad.domain.json_syntax import is_json
from lambdad.domain.rules import MAX_REQUEST_BYTES, BusAddress, BusEvent, compact
from lambdad.neighbours.eventbridge import policy
from lambdad.neighbours.eventbridge.buses import address_of
from lambdad.neighbours.eventbridge.dispatch import Dispatcher
from lambdad.neighbours.eventbridge.errors import access_denied, invalid, invalid_pattern
from lambdad.neighbours.eventbridge.targets import Delivered
from lambdad.storage import rules as storage
from lambdad.storage.engine import Engine, Transaction

TIME_BYTES: Final = 14
"""What a given time counts for in the size of an entry (EventBridge guide, PutEvents)."""
_REQUIRED_IN_TESTS: Final = frozenset({"id", "account", "source", "time", "region", "detail-type"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of PutEvents as a caller gave it, not checked yet."""

    source: str | None = None
    detail_type: str | None = None
    detail: str | None = None
    time: datetime | None = None
    resources: tuple[str, ...] = ()
    bus: str | None = None
    """A name or an ARN; None for the default bus."""
    trace: str = ""

    @property
    def size(self) -> int:
        """In bytes, as AWS counts."""
        texts = (self.source or "", self.detail_type or "", self.detail or "", *self.resources)
        return sum(len(text.encode("utf-8", "replace")) for text in texts) + (TIME_BYTES if self.time else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryResult:
    """What became of an entry: an event id, or an error."""

    event_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class EventIntake:
    """Takes events. They, and all that embedded targets get of them, are on the disk before a call is answered."""

    def __init__(self, engine: Engine, dispatcher: Dispatcher, clock: Clock) -> None:
        self._engine = engine
        self._dispatcher = dispatcher
        self._clock = clock
        self._accepted = 0
        self._refused = 0

    async def put(self, caller: Caller, entries: Sequence[Entry]) -> list[EntryResult]:
        """A result for each entry. Raises ValidationException when they are too large together, AccessDeniedException
        for another account's bus."""
        if sum(entry.size for entry in entries) > MAX_REQUEST_BYTES:
            raise invalid("Total size of the entries in the request is over the limit.")
        results: list[EntryResult] = []
        good: list[tuple[BusAddress, BusEvent]] = []
        for entry in entries:
            error = _error_of(entry)
            event = self._event(caller, entry) if error is None else None
            if event is not None and event.is_readable():
                good.append((address_of(caller, entry.bus), event))
                results.append(EntryResult(event_id=event.id))
            else:
                results.append(error or _MALFORMED_DETAIL)
        self._refused += len(entries) - len(good)
        if good:
            await self._store(caller, good)
        return results

    async def _store(self, caller: Caller, events: Sequence[tuple[BusAddress, BusEvent]]) -> None:
        def job(tx: Transaction) -> list[Delivered]:
            for address in {address for address, _ in events if address.account != caller.account}:
                bus = storage.find_bus(tx, address)
                if not policy.allows(bus.policy if bus else "", caller.account, "PutEvents"):
                    raise access_denied(caller, "PutEvents", address.arn)
            return [
                delivered for address, event in events for delivered in self._dispatcher.event_in(tx, address, event)
            ]

        for delivered in await self._engine.write(job):
            delivered()
        self._accepted += len(events)

    def _event(self, caller: Caller, entry: Entry) -> BusEvent:
        assert entry.source is not None
        assert entry.detail_type is not None
        assert entry.detail is not None
        return BusEvent(
            id=str(uuid.uuid4()),
            detail_type=entry.detail_type,
            source=entry.source,
            account=caller.account,
            time=(entry.time or self._clock.now()).astimezone(UTC),
            region=caller.region,
            resources=entry.resources,
            detail=compact(entry.detail),
            trace=entry.trace,
        )

    def statistics(self) -> dict[str, float]:
        """Entries since the start."""
        return {"accepted": self._accepted, "refused": self._refused}


_MALFORMED_DETAIL = EntryResult(error_code="MalformedDetail", error_message="Detail is malformed.")


def pattern_matches(pattern: str, event: str) -> bool:
    """Whether a pattern matches an event. Raises InvalidEventPatternException, and ValidationException for an event
    that is no event."""
    try:
        compiled = compile_pattern(pattern)
    except InvalidPattern as error:
        raise invalid_pattern(error.message) from None
    try:
        document = json.loads(event)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not document.keys() >= _REQUIRED_IN_TESTS:
        raise invalid("Parameter Event is not valid.")
    return compiled.matches(document)


def _error_of(entry: Entry) -> EntryResult | None:
    for name, value in (("Source", entry.source), ("DetailType", entry.detail_type), ("Detail", entry.detail)):
        if not value:
            reason = f"Parameter {name} is not valid. Reason: {name} is a required argument."
            return EntryResult(error_code="InvalidArgument", error_message=reason)
    assert entry.source is not None
    assert entry.detail is not None
    if entry.source.startswith("aws."):
        return EntryResult(error_code="NotAuthorizedForSourceException", error_message="Not authorized for the source.")
    if not _is_object(entry.detail):
        return _MALFORMED_DETAIL
    return None


def _is_object(text: str) -> bool:
    try:
        return text.lstrip(" \t\r\n").startswith("{") and is_json(text.encode())
    except UnicodeEncodeError:  # lone surrogates
        return False
