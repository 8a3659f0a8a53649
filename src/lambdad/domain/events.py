"""Asynchronous invocations as values: the event, what one attempt of it came to, and the settings of a qualifier."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from lambdad.domain.arns import function_arn
from lambdad.domain.functions import LATEST

EVENT_LIMIT_BYTES = 1_048_576
"""The largest event of an asynchronous call (AWS: since October 2025)."""
INVOKE_ASYNC_LIMIT_BYTES = 262_144
"""The largest event of the older operation InvokeAsync (AWS: captured 2026)."""
DEFAULT_RETRY_ATTEMPTS = 2
DEFAULT_EVENT_AGE_S = 21_600


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationConfig:
    """Where records of ended events go: ARNs, None for nowhere."""

    on_success: str | None = None
    on_failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInvokeConfig:
    """The settings of one qualifier. None stands for AWS's default and is not shown to clients."""

    account: str
    region: str
    function: str
    qualifier: str = LATEST
    """`$LATEST`, a number or the name of an alias."""
    maximum_retry_attempts: int | None = None
    maximum_event_age_s: int | None = None
    destinations: DestinationConfig = field(default_factory=DestinationConfig)
    last_modified: datetime

    @property
    def function_arn(self) -> str:
        """Always with the qualifier (AWS: recorded 2025-11)."""
        return function_arn(self.region, self.account, self.function, self.qualifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """What decides about retries and ends of one event."""

    maximum_retry_attempts: int = DEFAULT_RETRY_ATTEMPTS
    maximum_event_age_s: int = DEFAULT_EVENT_AGE_S
    destinations: DestinationConfig = field(default_factory=DestinationConfig)

    @staticmethod
    def of(config: EventInvokeConfig | None) -> RetrySettings:
        """Those of a qualifier, with AWS's defaults for what is not set."""
        if config is None:
            return DEFAULT_SETTINGS
        retries, age_s = config.maximum_retry_attempts, config.maximum_event_age_s
        return RetrySettings(
            maximum_retry_attempts=DEFAULT_RETRY_ATTEMPTS if retries is None else retries,
            maximum_event_age_s=DEFAULT_EVENT_AGE_S if age_s is None else age_s,
            destinations=config.destinations,
        )


DEFAULT_SETTINGS = RetrySettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One asynchronous invocation, from acceptance to its end. Times are Unix milliseconds of the service's clock."""

    request_id: str
    """The same in every attempt, in the answer to the caller and in what is delivered."""
    account: str
    region: str
    function: str
    qualifier: str = ""
    """As addressed; empty when there was none."""
    payload: bytes
    trace: str = ""
    """The trace header of the accepted call."""
    accepted_ms: int
    attempts: int = 0
    """How often the function ran and failed. Throttles and failures of the service are counted apart."""
    setbacks: int = 0
    """How often the service itself failed to run it."""
    dead_letter_arn: str | None = None
    """That of the version addressed, when the event was accepted; counts once the function is gone."""
    accepted_settings: RetrySettings | None = None
    """The settings at that moment, None for the defaults; they count once the function is gone."""

    @property
    def settings_qualifier(self) -> str:
        """The qualifier whose settings apply: an unqualified call uses those of `$LATEST`."""
        return self.qualifier or LATEST

    @property
    def function_arn(self) -> str:
        """As records show it: always qualified (AWS: recorded 2025-11)."""
        return function_arn(self.region, self.account, self.function, self.settings_qualifier)


# --- what one attempt came to ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The function ran and answered."""

    executed_version: str
    payload: bytes
    trace: str = ""
    """The trace header that the function saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionFailed:
    """The function ran and failed: an error, a timeout, an exit, a failed init, a response too large."""

    executed_version: str
    payload: bytes
    trace: str = ""


@dataclass(frozen=True, slots=True)
class FunctionGone:
    """The function, version or alias was deleted since the event was accepted."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """Admission refused the attempt; nothing ran."""


@dataclass(frozen=True, slots=True)
class NotCapable:
    """Reserved concurrency is 0: the function cannot run at all."""


@dataclass(frozen=True, slots=True)
class SystemFailed:
    """The service itself failed: it was killed in the middle of the attempt, or could not begin one."""


@dataclass(frozen=True, slots=True)
class Recursive:
    """Recursion detection stopped the chain of calls that this event belongs to."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The event's age ran out before an attempt could begin."""


Attempt = Returned | FunctionFailed | FunctionGone | Throttled | NotCapable | SystemFailed | Recursive | Overdue
