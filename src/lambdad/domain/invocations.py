"""One invocation on its way to an execution environment, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What the runtime is handed for one call.

    Texts that are absent are empty: the Runtime API then leaves their header out.
    """

    request_id: str
    event: bytes
    deadline_ms: int
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attempt came to; function errors are outcomes, not exceptions."""

    payload: bytes
    executed_version: str
    function_error: str | None = None
    """`Unhandled` for every failure of the function, None otherwise."""
    error_type: str | None = None
    """For metrics and logs, such as `Runtime.ExitError`; None on success."""
    content_type: str = "application/json"
    log_tail: bytes = b""
    """The last 4,096 bytes of this invocation's log, START to REPORT; empty unless asked for."""
    duration_ms: float = 0.0
    billed_duration_ms: int = 0
    init_duration_ms: float | None = None
    max_memory_used_mb: int = 0
    trace_id: str = ""
