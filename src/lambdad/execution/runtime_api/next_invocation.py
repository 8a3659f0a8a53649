"""GET /runtime/invocation/next: waits for an invocation, as long as it takes."""

from __future__ import annotations

from lambdad.execution.runtime_api.session import Session
from lambdad.execution.runtime_api.states import Call
from lambdad.http import BodyPolicy, Exchange, Request, Response

_NO_BODY = BodyPolicy(limit=0)


def head(session: Session, request: Request, request_id: str) -> BodyPolicy | Response:  # noqa: ARG001
    """Refuses a runtime that has not answered yet."""
    return session.refusal(Call.NEXT) or _NO_BODY


def handle(session: Session, exchange: Exchange, request_id: str) -> None:  # noqa: ARG001
    """Ends init, or the environment's last invocation; the answer is the next one."""
    session.wait(exchange)
