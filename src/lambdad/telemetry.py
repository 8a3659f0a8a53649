"""Named events that the console line, logs and metrics read; whoever emits one does not know who listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lambdad.domain.functions import FunctionVersion
from lambdad.domain.invocations import Outcome


@dataclass(slots=True, kw_only=True)
class AttemptFinished:
    """An attempt ran to its end."""

    request_id: str
    version: FunctionVersion
    qualifier: str
    """As the caller addressed the function; empty when unqualified."""
    outcome: Outcome
    asynchronous: bool = False


@dataclass(slots=True, kw_only=True)
class AttemptThrottled:
    """A call was refused for concurrency; nothing ran."""

    request_id: str
    account: str
    region: str
    function: str
    qualifier: str
    reason: str


class Telemetry:
    """Hands events to whoever listens, at once and on the same thread."""

    def __init__(self) -> None:
        self.attempt_finished: list[Callable[[AttemptFinished], None]] = []
        self.attempt_throttled: list[Callable[[AttemptThrottled], None]] = []
