"""What the Runtime API answers: statuses and bodies as AWS's emulator gives them (RIE)."""

from __future__ import annotations

import json
from typing import Final

from lambdad.domain.extensions import Refused
from lambdad.domain.failures import RESPONSE_LIMIT_BYTES
from lambdad.execution.runtime_api.states import WANTED, Call, State
from lambdad.http import Response

_JSON: Final = (("Content-Type", "application/json"),)


def _error(status: int, error_type: str, message: str) -> Response:
    body = json.dumps({"errorMessage": message, "errorType": error_type}, separators=(",", ":"))
    return Response(status, _JSON, body.encode())


ACCEPTED: Final = Response(202, _JSON, b'{"status":"OK"}')
SUBSCRIBED: Final = Response(200, (("Content-Type", "text/plain; charset=utf-8"),), b"OK")
NOTHING: Final = Response(200, _JSON)
INVALID_REQUEST_ID: Final = _error(400, "InvalidRequestID", "Invalid request ID")
INVALID_RESPONSE_MODE: Final = _error(400, "InvalidFunctionResponseMode", "Invalid function response mode")
TOO_LARGE: Final = _error(
    413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({RESPONSE_LIMIT_BYTES} bytes)."
)
STRANGER: Final = _error(
    403,
    "Runtime.AccessDenied",
    "This is the Runtime API of another execution environment: only its own user may call it.",
)
"""Not on AWS, where each environment has a machine of its own."""
NOT_FOUND: Final = Response(404, (("Content-Type", "text/plain; charset=utf-8"),), b"404 page not found\n")
METHOD_NOT_ALLOWED: Final = Response(405)


def refused(refusal: Refused) -> Response:
    """A call that an extension may not make."""
    return _error(403, refusal.error_type, str(refusal))


def not_supported(api: str) -> Response:
    """A subscription in an environment that the server cannot reach (status and type as in RIE, which has neither
    API; extensions take it for a place without telemetry)."""
    message = f"{api} API is not supported: the environment has a network of its own, without a way into it"
    return _error(202, f"{api}.NotSupported", message)


def invalid(message: str) -> Response:
    """A subscription that breaks the rules (AWS Lambda developer guide)."""
    return _error(400, "ValidationError", message)


def wrong_order(state: State, call: Call) -> Response:
    """A call that the runtime may not make now."""
    return _error(
        403,
        "InvalidStateTransition",
        f"State transition from {state.value} to {WANTED[call]} failed for runtime. "
        "Error: State transition is not allowed",
    )
