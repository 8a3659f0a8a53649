"""The Extensions API, version 2020-01-01: registration, events, and what extensions report of themselves.

Statuses and error types are RIE's.
"""

from __future__ import annotations

import json

from lambdad.domain.extensions import Call, Refused
from lambdad.execution.runtime_api import answers
from lambdad.execution.runtime_api.session import Session
from lambdad.http import BodyPolicy, Exchange, Request, Response

IDENTIFIER = "lambda-extension-identifier"
_ERROR_TYPE = "lambda-extension-function-error-type"
_NO_BODY = BodyPolicy(limit=0)
_BODY = BodyPolicy(limit=1 << 20, on_too_large=lambda _request, _size: answers.TOO_LARGE)


class Register:
    """POST /2020-01-01/extension/register."""

    def head(self, session: Session, request: Request, request_id: str) -> BodyPolicy | Response:  # noqa: ARG002
        return _BODY

    def handle(self, session: Session, exchange: Exchange, request_id: str) -> None:  # noqa: ARG002
        request, extensions = exchange.request, session.extensions
        try:
            extension = extensions.registry.register(
                request.headers.get("lambda-extension-name", ""), _events(request.body)
            )
        except Refused as refusal:
            exchange.send(answers.refused(refusal))
            return
        version = extensions.version
        answer = {
            "functionName": version.name,
            "functionVersion": version.version,
            "handler": version.handler or "",
        }
        features = request.headers.get("lambda-extension-accept-feature", "").split(",")
        if "accountId" in [feature.strip() for feature in features]:
            answer["accountId"] = version.account
        headers = (("Content-Type", "application/json"), ("Lambda-Extension-Identifier", extension.id))
        exchange.send(Response(200, headers, json.dumps(answer, separators=(",", ":")).encode()))


def _events(body: bytes) -> object:
    try:
        members = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise Refused("InvalidRequestFormat", "the body is not JSON") from None
    if not isinstance(members, dict):
        raise Refused("InvalidRequestFormat", "the body is not a JSON object")
    return members.get("events")


class Next:
    """GET /2020-01-01/extension/event/next: waits for an event, as long as it takes."""

    def head(self, session: Session, request: Request, request_id: str) -> BodyPolicy | Response:  # noqa: ARG002
        return _NO_BODY

    def handle(self, session: Session, exchange: Exchange, request_id: str) -> None:  # noqa: ARG002
        registry = session.extensions.registry
        try:
            registry.wait(registry.find(exchange.request.headers.get(IDENTIFIER, "")), exchange)
        except Refused as refusal:
            exchange.send(answers.refused(refusal))


class Report:
    """POST /2020-01-01/extension/init/error and exit/error: it is about to end, and why."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def head(self, session: Session, request: Request, request_id: str) -> BodyPolicy | Response:  # noqa: ARG002
        return _BODY

    def handle(self, session: Session, exchange: Exchange, request_id: str) -> None:  # noqa: ARG002
        registry, headers = session.extensions.registry, exchange.request.headers
        try:
            extension = registry.find(headers.get(IDENTIFIER, ""))
            registry.report(extension, self._call, headers.get(_ERROR_TYPE, ""))
        except Refused as refusal:
            exchange.send(answers.refused(refusal))
        else:
            exchange.send(answers.ACCEPTED)
