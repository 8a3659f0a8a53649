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
    provisioned: bool | None = None
    """Whether it ran in a provisioned environment; None when the version has none."""


@dataclass(slots=True, kw_only=True)
class AttemptThrottled:
    """A call was refused for concurrency; nothing ran."""

    request_id: str
    account: str
    region: str
    function: str
    qualifier: str
    reason: str


@dataclass(slots=True, kw_only=True)
class EventAccepted:
    """An asynchronous call is stored and was answered with 202."""

    request_id: str
    account: str
    region: str
    function: str
    qualifier: str


@dataclass(slots=True, kw_only=True)
class EventAttempted:
    """An attempt of an event begins, or was refused; `age_ms` is the time since its acceptance."""

    request_id: str
    account: str
    region: str
    function: str
    qualifier: str
    age_ms: int


@dataclass(slots=True, kw_only=True)
class EventEnded:
    """An event is out of the queue; `condition` is the word of invocation records, `Success` or another."""

    request_id: str
    account: str
    region: str
    function: str
    qualifier: str
    condition: str
    invoke_count: int


@dataclass(slots=True, kw_only=True)
class DeliveryFailed:
    """A record or a dead letter could not be delivered, and is lost."""

    request_id: str
    function_arn: str
    target_arn: str
    reason: str
    is_dead_letter: bool


@dataclass(slots=True, kw_only=True)
class RecursionStopped:
    """A call was refused because it belongs to a chain of calls that is too long."""

    account: str
    region: str
    function: str
    qualifier: str


@dataclass(slots=True, kw_only=True)
class UnsignedCodeDeployed:
    """Code was deployed although the function's code signing configuration warns of it."""

    account: str
    region: str
    function: str


@dataclass(slots=True, kw_only=True)
class MappingCounted:
    """A mapping that has its events counted dealt with some of them."""

    account: str
    region: str
    mapping: str
    """Its UUID."""
    metric: str
    """`PolledEventCount`, `InvokedEventCount`…"""
    count: int


@dataclass(slots=True, kw_only=True)
class UrlAnswered:
    """A request to a function URL has its answer."""

    account: str
    region: str
    function: str
    qualifier: str
    status: int
    latency_ms: float
    """From the head of the request to the end of the answer."""


@dataclass(slots=True, kw_only=True)
class StreamBatchRead:
    """A batch of a stream is about to be handed to its function; `age_ms` is that of its last record."""

    account: str
    region: str
    function: str
    qualifier: str
    age_ms: float


class Telemetry:
    """Hands events to whoever listens, at once and on the same thread."""

    def __init__(self) -> None:
        self.attempt_finished: list[Callable[[AttemptFinished], None]] = []
        self.attempt_throttled: list[Callable[[AttemptThrottled], None]] = []
        self.recursion_stopped: list[Callable[[RecursionStopped], None]] = []
        self.event_accepted: list[Callable[[EventAccepted], None]] = []
        self.event_attempted: list[Callable[[EventAttempted], None]] = []
        self.event_ended: list[Callable[[EventEnded], None]] = []
        self.unsigned_code_deployed: list[Callable[[UnsignedCodeDeployed], None]] = []
        self.url_answered: list[Callable[[UrlAnswered], None]] = []
        self.delivery_failed: list[Callable[[DeliveryFailed], None]] = []
        self.mapping_counted: list[Callable[[MappingCounted], None]] = []
        self.stream_batch_read: list[Callable[[StreamBatchRead], None]] = []
