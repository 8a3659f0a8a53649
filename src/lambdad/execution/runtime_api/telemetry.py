"""PUT /2022-07-01/telemetry and PUT /2020-08-15/logs: an extension subscribes to what happens in its environment."""

from __future__ import annotations

import json

from lambdad.domain.extensions import Refused
from lambdad.domain.telemetry_subscriptions import Api, InvalidSubscription, parse
from lambdad.execution.runtime_api import answers
from lambdad.execution.runtime_api.extensions import IDENTIFIER
from lambdad.execution.runtime_api.session import Session
from lambdad.http import BodyPolicy, Exchange, Request, Response

_BODY = BodyPolicy(limit=1 << 20, on_too_large=lambda _request, _size: answers.TOO_LARGE)


class Subscribe:
    """One of the two APIs."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def head(self, session: Session, request: Request, request_id: str) -> BodyPolicy | Response:  # noqa: ARG002
        return _BODY

    def handle(self, session: Session, exchange: Exchange, request_id: str) -> None:  # noqa: ARG002
        extensions, request = session.extensions, exchange.request
        try:
            extension = extensions.registry.find(request.headers.get(IDENTIFIER, ""))
            if not extensions.registry.is_open:
                raise Refused(
                    f"{self._api.value}.SubscriptionClosed", f"{self._api.value} API subscription is closed already"
                )
            subscription = parse(self._api, json.loads(request.body))
        except Refused as refusal:
            exchange.send(answers.refused(refusal))
        except InvalidSubscription as mistake:
            exchange.send(answers.invalid(str(mistake)))
        except (ValueError, RecursionError):
            exchange.send(answers.invalid("the body should be a JSON object"))
        else:
            if not extensions.telemetry.address:
                exchange.send(answers.not_supported(self._api.value))
                return
            extensions.telemetry.subscribe(extension.name, subscription)
            exchange.send(answers.SUBSCRIBED)
