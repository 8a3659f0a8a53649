"""POST /runtime/invocation/{id}/response: the result, in one piece or streamed."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import unquote

from lambdad.domain.failures import RESPONSE_LIMIT_BYTES
from lambdad.execution.error_types import declared_error_type
from lambdad.execution.runtime_api import answers
from lambdad.execution.runtime_api.session import Session
from lambdad.execution.runtime_api.states import Call
from lambdad.http import BodyPolicy, Exchange, Request, Response

_MODE: Final = "lambda-runtime-function-response-mode"
_STREAMED_LIMIT: Final = 1 << 40
"""None of ours: how much a function may stream is decided where its caller is known."""
# Named once: on Python 3.11 each look at an enum's member is a call in Python.
_RESPONSE = Call.RESPONSE
_STREAM = Call.STREAM


def head(session: Session, request: Request, request_id: str) -> BodyPolicy | Response:
    """Checks id, order and response mode before a byte of the body is read."""
    match request.headers.get(_MODE, ""):
        case "streaming":
            call = _STREAM
        case "" | "buffered":
            call = _RESPONSE
        case _:
            return answers.INVALID_RESPONSE_MODE
    refusal = session.answer_refusal(call, request_id)
    if refusal is not None:
        return refusal
    if call is _STREAM:
        session.opening = _Stream(session, request_id)
        return BodyPolicy(limit=_STREAMED_LIMIT, sink=session.opening)
    return result_policy(session)


def handle(session: Session, exchange: Exchange, request_id: str) -> None:
    """Tells the result; the caller's answer goes out before the runtime's."""
    stream, session.opening = session.opening, None
    if stream is not None:
        stream.begin(exchange)
        return
    refusal = session.answer_refusal(_RESPONSE, request_id)
    if refusal is not None:
        exchange.send(refusal)
        return
    session.advance(_RESPONSE)
    request = exchange.request
    session.events.responded(request.body, _content_type(request), 0)
    exchange.send(answers.ACCEPTED)


def result_policy(session: Session) -> BodyPolicy:
    """Up to the limit of a result; one that is larger ends the invocation."""
    if session.result_policy is None:
        session.result_policy = BodyPolicy(
            limit=RESPONSE_LIMIT_BYTES, on_too_large=lambda request, _size: _too_large(session, request)
        )
    return session.result_policy


def _too_large(session: Session, request: Request) -> Response:
    """The invocation ends with that error, and the runtime may go on."""
    request_id = unquote(request.path.rsplit("/", 2)[1])
    refusal = session.answer_refusal(Call.RESPONSE, request_id)
    if refusal is not None:
        return refusal
    session.advance(Call.RESPONSE)
    session.events.response_too_large()
    return answers.TOO_LARGE


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "application/json")


class _Stream:
    """A streamed response on its way in (BodySink)."""

    def __init__(self, session: Session, request_id: str) -> None:
        self._session = session
        self._request_id = request_id
        self._exchange: Exchange | None = None

    def begin(self, exchange: Exchange) -> None:
        self._exchange = self._session.streaming = exchange
        self._session.advance(Call.STREAM)
        self._session.events.stream_started(_content_type(exchange.request))

    def data(self, data: bytes) -> None:
        if self._session.answer_refusal(Call.STREAM_END, self._request_id) is None:
            self._session.events.stream_chunk(data)

    def end(self, trailers: dict[str, str]) -> None:
        exchange = self._exchange
        if exchange is None or self._session.answer_refusal(Call.STREAM_END, self._request_id) is not None:
            return  # the environment was closed meanwhile
        self._session.streaming = None
        self._session.advance(Call.STREAM_END)
        declared = trailers.get("lambda-runtime-function-error-type", "")
        error_type = declared_error_type(declared) if declared else ""
        body = _decoded(trailers.get("lambda-runtime-function-error-body", "")) if declared else b""
        self._session.events.stream_ended(error_type, body, 0)
        exchange.send(answers.ACCEPTED)

    def aborted(self) -> None:
        """The runtime broke off in mid-stream. Nearly always its process has ended, which the environment learns by
        itself and can put into words; otherwise the function's timeout is the end."""


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text.encode()
