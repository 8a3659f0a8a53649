"""`/_lambdad/events`: the ledger of asynchronous events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from lambdad.domain.errors import InvalidParameterValue, ResourceNotFound
from lambdad.domain.ledger import EventState, LedgerEntry
from lambdad.event_queue.ledger import Ledger
from lambdad.http.messages import Response
from lambdad.http.protocol import Exchange
from lambdad.wire.own import PREFIX, OwnEndpoints
from lambdad.wire.protocols import json_values

PATH = f"{PREFIX}events"
REDRIVE = "/redrive"
DEFAULT_LIMIT, LARGEST_LIMIT = 50, 1000
_PARAMETERS = ("function", "state", "limit", "after")
_TIMES = {"at_ms": "at", "until_ms": "until", "ended_ms": "ended"}


class EventEndpoints:
    """`GET` of the list and of one event, `POST` of a redrive."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def register(self, endpoints: OwnEndpoints) -> None:
        endpoints.add("GET", PATH, self.list)
        endpoints.add("GET", f"{PATH}/*", self.show)
        endpoints.add("POST", f"{PATH}/*", self.redrive)

    async def list(self, exchange: Exchange) -> Response:
        """`?function=NAME&state=waiting|running|succeeded|dropped&limit=50&after=CURSOR`: the newest first.

        200 with `{"events": [...], "after": CURSOR}`; `after` is null on the last page.
        """
        query = dict(parse_qsl(exchange.request.query))
        unknown = sorted(set(query) - set(_PARAMETERS))
        if unknown:
            raise InvalidParameterValue(f"There is no parameter {unknown[0]}; there are {', '.join(_PARAMETERS)}.")
        limit = _number(query, "limit", DEFAULT_LIMIT)
        if not 1 <= limit <= LARGEST_LIMIT:
            raise InvalidParameterValue(f"limit must be a number from 1 to {LARGEST_LIMIT}.")
        entries = await self._ledger.page(
            function=query.get("function"),
            state=_state(query.get("state")),
            before=_number(query, "after", 0) or None,
            limit=limit,
        )
        after = str(entries[-1].place) if len(entries) == limit else None
        return _answer({"events": [summary(entry) for entry in entries], "after": after})

    async def show(self, exchange: Exchange) -> Response:
        """200 with the event, its `steps`, and the `payload` of a dropped one."""
        entry = await self._ledger.event(unquote(exchange.request.path[len(PATH) + 1 :]))
        shown = summary(entry) | {"steps": [_step(step) for step in entry.steps]}
        if entry.payload is not None:
            shown["payload"] = _json_or_text(entry.payload)
        return _answer(shown)

    async def redrive(self, exchange: Exchange) -> Response:
        """`POST …/events/ID/redrive`: 202 with `{"id": ID}` of the new event."""
        path = exchange.request.path
        if not path.endswith(REDRIVE):
            raise ResourceNotFound(f"lambdad has no endpoint {path}.")
        return _answer({"id": await self._ledger.redrive(unquote(path[len(PATH) + 1 : -len(REDRIVE)]))}, status=202)


def summary(entry: LedgerEntry) -> dict[str, Any]:
    """An event without its steps, as JSON."""
    return {
        "id": entry.request_id,
        "account": entry.account,
        "region": entry.region,
        "function": entry.function,
        "qualifier": entry.qualifier or None,
        "state": entry.state.value,
        "condition": entry.condition or None,
        "attempts": entry.attempts,
        "accepted": _time(entry.accepted_ms),
        "due": _time(entry.due_ms),
        "held_until": _time(entry.held_until_ms),
        "ended": _time(entry.ended_ms),
    }


def _step(step: Any) -> dict[str, Any]:
    return {_TIMES.get(name, name): _time(value) if name in _TIMES else value for name, value in step.items()}


def _time(time_ms: int | None) -> str | None:
    if time_ms is None:
        return None
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _state(text: str | None) -> EventState | None:
    if text is None:
        return None
    try:
        return EventState(text)
    except ValueError:
        raise InvalidParameterValue(f"state must be one of {', '.join(EventState)}.") from None


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidParameterValue(f"{name} must be a number.")
    return int(text)


def _json_or_text(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return payload.decode("utf-8", "replace")


def _answer(members: dict[str, Any], status: int = 200) -> Response:
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    return Response(status, headers, json_values.dump(members))
