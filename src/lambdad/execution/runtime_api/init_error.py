"""POST /runtime/init/error: init failed; the runtime exits afterwards."""

from __future__ import annotations

from lambdad.domain.failures import RESPONSE_LIMIT_BYTES
from lambdad.execution.runtime_api import answers
from lambdad.execution.runtime_api.error import error_body, error_type
from lambdad.execution.runtime_api.session import Session
from lambdad.execution.runtime_api.states import Call
from lambdad.http import BodyPolicy, Exchange, Request, Response

_BODY = BodyPolicy(limit=RESPONSE_LIMIT_BYTES, on_too_large=lambda _request, _size: answers.TOO_LARGE)


def head(session: Session, request: Request, request_id: str) -> BodyPolicy | Response:  # noqa: ARG001
    """Refuses it after the first `next`."""
    return session.refusal(Call.INIT_ERROR) or _BODY


def handle(session: Session, exchange: Exchange, request_id: str) -> None:  # noqa: ARG001
    """Tells the error."""
    refusal = session.refusal(Call.INIT_ERROR)
    if refusal is not None:
        exchange.send(refusal)
        return
    session.advance(Call.INIT_ERROR)
    session.events.init_failed(error_type(exchange.request), error_body(exchange.request))
    exchange.send(answers.ACCEPTED)
