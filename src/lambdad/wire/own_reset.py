"""`POST /_lambdad/reset`: an empty server within milliseconds, for tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from lambdad.http.messages import Response
from lambdad.http.protocol import Exchange
from lambdad.wire.own import PREFIX, OwnEndpoints

PATH = f"{PREFIX}reset"


class ResetEndpoint:
    """Removes functions, events, queues, topics, rules, logs, metrics and roles of every account, and sets the clock
    back to the machine's time. Access keys stay."""

    def __init__(self, steps: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """`steps` empty one part each, in this order."""
        self._steps = steps

    def register(self, endpoints: OwnEndpoints) -> None:
        endpoints.add("POST", PATH, self.reset)

    async def reset(self, _: Exchange) -> Response:
        """204 once everything is gone."""
        for step in self._steps:
            await step()
        return Response(204)
