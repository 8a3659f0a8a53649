"""One invocation on its way to an execution environment, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(slots=True, kw_only=True)
class Invocation:
    """What the runtime is handed for one call.

    Texts that are absent are empty: the Runtime API then leaves their header out. Not frozen: it is made on the hot
    path, and its deadline is known only when a runtime is ready to take it.
    """

    request_id: str
    event: bytes
    deadline_ms: int = 0
    """Unix time in milliseconds at which the function's timeout strikes."""
    invoked_function_arn: str
    """The ARN as addressed: unqualified stays unqualified."""
    trace_id: str
    client_context: str = ""
    """JSON text, decoded from the caller's base64."""
    cognito_identity: str = ""
    tenant_id: str = ""
    streaming: bool = False
    """The caller reads the response while the function writes it."""
    wants_tail: bool = False
    """The caller asked for the last 4 KB of this invocation's log."""


class Ending(Enum):
    """How an attempt ended; the value is the status in REPORT lines and telemetry."""

    __hash__ = object.__hash__  # enum's own is written in Python; every call looks into tables by its ending

    SUCCESS = "success"
    ERROR = "error"
    """The function or its runtime answered with an error; the environment lives on."""
    TIMEOUT = "timeout"
    FAILURE = "failure"
    """The environment broke: exit, crash, out of memory, failed init."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one attempt came to; function errors are outcomes, not exceptions. Made once, never changed."""

    payload: bytes
    ending: Ending = Ending.SUCCESS
    error_type: str = ""
    """Such as `Runtime.ExitError`, for logs and metrics; empty on success."""
    content_type: str = "application/json"
    log_tail: bytes = b""
    """The last 4,096 bytes of this invocation's log, START to REPORT; empty unless asked for."""
    duration_ms: float = 0.0
    billed_duration_ms: int = 0
    init_duration_ms: float | None = None
    """Set on a cold start."""
    post_runtime_extensions_ms: float | None = None
    """How long extensions worked on behind the answer; None where there are none."""
    max_memory_used_mb: int = 0
    trace_id: str = ""
    """The trace header that the function saw."""
    log_stream: str = ""
    """Where the log of the attempt is, in the log group of its version."""

    @property
    def is_function_error(self) -> bool:
        return self.ending is not Ending.SUCCESS
