"""GET /runtime/restore/next and POST /runtime/restore/error.

Runtimes call these only where AWS_LAMBDA_INITIALIZATION_TYPE is `snap-start`. There are no snapshots here: a runtime
that asks all the same is restored at once and goes on to its first `next`.
"""

from __future__ import annotations

from lambdad.domain.failures import RESPONSE_LIMIT_BYTES
from lambdad.execution.runtime_api import answers
from lambdad.execution.runtime_api.error import error_body, error_type
from lambdad.execution.runtime_api.session import Session
from lambdad.execution.runtime_api.states import Call
from lambdad.http import BodyPolicy, Exchange, Request, Response

_NO_BODY = BodyPolicy(limit=0)
_BODY = BodyPolicy(limit=RESPONSE_LIMIT_BYTES, on_too_large=lambda _request, _size: answers.TOO_LARGE)


class Next:
    """The runtime is ready to be restored."""

    def head(self, session: Session, request: Request, request_id: str) -> BodyPolicy | Response:  # noqa: ARG002
        return session.refusal(Call.RESTORE_NEXT) or _NO_BODY

    def handle(self, session: Session, exchange: Exchange, request_id: str) -> None:  # noqa: ARG002
        session.advance(Call.RESTORE_NEXT)
        exchange.send(answers.NOTHING)


class Error:
    """A hook that runs after the restore failed; counts as a failed init."""

    def head(self, session: Session, request: Request, request_id: str) -> BodyPolicy | Response:  # noqa: ARG002
        return session.refusal(Call.RESTORE_ERROR) or _BODY

    def handle(self, session: Session, exchange: Exchange, request_id: str) -> None:  # noqa: ARG002
        refusal = session.refusal(Call.RESTORE_ERROR)
        if refusal is not None:
            exchange.send(refusal)
            return
        session.advance(Call.RESTORE_ERROR)
        session.events.init_failed(error_type(exchange.request), error_body(exchange.request))
        exchange.send(answers.ACCEPTED)
