"""POST /runtime/invocation/{id}/error: the invocation ended in a function error."""

from __future__ import annotations

import json
from typing import Final

from lambdad.execution.error_types import declared_error_type
from lambdad.execution.runtime_api import answers
from lambdad.execution.runtime_api.response import result_policy
from lambdad.execution.runtime_api.session import Session
from lambdad.execution.runtime_api.states import Call
from lambdad.http import BodyPolicy, Exchange, Request, Response

ERROR_TYPE: Final = "lambda-runtime-function-error-type"
_WITH_CAUSE: Final = "application/vnd.aws.lambda.error.cause+json"


def head(session: Session, request: Request, request_id: str) -> BodyPolicy | Response:  # noqa: ARG001
    """Checks id and order before the body is read."""
    refusal = session.answer_refusal(Call.ERROR, request_id)
    if refusal is not None:
        return refusal
    return result_policy(session)


def handle(session: Session, exchange: Exchange, request_id: str) -> None:
    """Tells the error; the body goes to the caller unchanged, whatever the headers say."""
    refusal = session.answer_refusal(Call.ERROR, request_id)
    if refusal is not None:
        exchange.send(refusal)
        return
    session.advance(Call.ERROR)
    session.events.failed(error_type(exchange.request), error_body(exchange.request), 0)
    exchange.send(answers.ACCEPTED)


def error_type(request: Request) -> str:
    """The declared type, for logs and metrics."""
    return declared_error_type(request.headers.get(ERROR_TYPE, ""))


def error_body(request: Request) -> bytes:
    """The posted error; one that carries its X-Ray cause with it loses that part on the way to the caller (RIE)."""
    if not request.headers.get("content-type", "").startswith(_WITH_CAUSE):
        return request.body
    try:
        posted = json.loads(request.body)
        error = {key: posted[key] for key in ("errorMessage", "errorType", "stackTrace") if key in posted}
    except (ValueError, TypeError, RecursionError):
        return request.body
    return json.dumps(error, separators=(",", ":"), ensure_ascii=False).encode()
