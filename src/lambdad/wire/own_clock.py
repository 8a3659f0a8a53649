"""`/_lambdad/clock`: the service's time. Tests move it forward instead of waiting."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable

from lambdad.clock import SystemClock
from lambdad.domain.errors import InvalidParameterValue
from lambdad.http.messages import Response
from lambdad.http.protocol import Exchange
from lambdad.wire.own import PREFIX, OwnEndpoints
from lambdad.wire.protocols import json_values

PATH = f"{PREFIX}clock"
LONGEST_JUMP_S = 10 * 365 * 86_400.0


class ClockEndpoints:
    """`GET` shows the time; `POST {"advance": seconds}` moves it forward.

    Retries, event ages, visibility timeouts, delays and idle expiry follow. What a running function may take does not.
    """

    def __init__(self, clock: SystemClock, keep: Callable[[float], Awaitable[None]]) -> None:
        """`keep` stores by how many seconds the time was moved in all."""
        self._clock = clock
        self._keep = keep

    def register(self, endpoints: OwnEndpoints) -> None:
        endpoints.add("GET", PATH, self.show)
        endpoints.add("POST", PATH, self.advance)

    async def show(self, _: Exchange) -> Response:
        """200 with `{"now": "2026-01-31T12:00:00.000+00:00", "advanced_s": 0.0}`."""
        members = {
            "now": self._clock.now().isoformat(timespec="milliseconds"),
            "advanced_s": round(self._clock.advanced_s, 3),
        }
        headers = [("content-type", "application/json"), ("cache-control", "no-store")]
        return Response(200, headers, json_values.dump(members))

    async def advance(self, exchange: Exchange) -> Response:
        """Answers as `show`, once the move is stored."""
        seconds = _seconds(exchange.request.body)
        # Stored first: a server that comes back must not be behind what it has told.
        await self._keep(self._clock.advanced_s + seconds)
        self._clock.advance(seconds)
        return await self.show(exchange)


def _seconds(body: bytes) -> float:
    try:
        seconds = json.loads(body)["advance"]
    except (ValueError, KeyError, TypeError, RecursionError):
        seconds = None
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)
    if not is_number or not 0 <= seconds <= LONGEST_JUMP_S:
        raise InvalidParameterValue('The body must be {"advance": SECONDS} with a number from 0 to ten years.')
    return float(seconds)
