"""The services behind the front door: their models, compiled when first needed, and the codec of a request."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qs

from lambdad.http.messages import Request
from lambdad.wire.limits import is_for_s3
from lambdad.wire.protocols import model as models
from lambdad.wire.protocols import older_query
from lambdad.wire.protocols.aws_json import AwsJson
from lambdad.wire.protocols.query import Query
from lambdad.wire.protocols.rest_json import RestJson
from lambdad.wire.protocols.rpc_cbor import RpcCbor, is_cbor
from lambdad.wire.service import Service

Codec = RestJson | AwsJson | Query | RpcCbor


_SIGNING_NAMES = {
    "AmazonSQS": "sqs",
    "AWSEvents": "events",
    "GraniteServiceVersion20100801": "monitoring",
    "Logs_20140328": "logs",
}
"""By the prefix of `X-Amz-Target`; the models have it too, but are not compiled before they are needed."""


class OfferedService:
    """A service with its compiled model and codecs."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.model = models.load(service.name, service.handlers.keys())
        self._codecs: dict[str, Codec] = {}

    def codec(self, request: Request) -> Codec:
        """The codec that a request speaks: JSON services may be asked in the older query form too."""
        protocol = self.model.protocol
        if protocol not in ("rest-json", "query"):
            protocol = _asked_in(request)
        codec = self._codecs.get(protocol)
        if codec is None:
            kinds: dict[str, type[Codec]] = {"rest-json": RestJson, "json": AwsJson, "query": Query, "cbor": RpcCbor}
            model = self.model
            if protocol == "query" and model.protocol != "query":
                model = older_query.load(self.service.name, self.service.handlers.keys())
            codec = self._codecs[protocol] = kinds[protocol](model)
        return codec


class Services:
    """All services by the name that signatures carry. Models are compiled at their first call; Lambda's at once."""

    def __init__(self, services: Iterable[Service], at_once: Iterable[str] = ("lambda",)) -> None:
        self._services = {name: service for service in services for name in service.signing_names}
        self._offered: dict[str, OfferedService] = {}
        self.names = sorted({service.name for service in self._services.values()})
        for name in at_once:
            self.find(name)

    def find(self, signing_name: str) -> OfferedService | None:
        """The service that a signature's scope names; None for one that is not offered."""
        offered = self._offered.get(signing_name)
        if offered is None:
            service = self._services.get(signing_name)
            if service is None:
                return None
            offered = OfferedService(service)
            for name in service.signing_names:
                self._offered[name] = offered
        return offered

    def by_target(self, target: str) -> OfferedService | None:
        """The service of an `X-Amz-Target`, for signatures whose scope is not a service's name."""
        signing_name = _SIGNING_NAMES.get(target.rpartition(".")[0])
        return None if signing_name is None else self.find(signing_name)


def _asked_in(request: Request) -> str:
    """Which protocol a call of a JSON service speaks."""
    if is_cbor(request):
        return "cbor"
    return "query" if "x-amz-target" not in request.headers and is_form(request) else "json"


def is_form(request: Request) -> bool:
    """Whether a request speaks the query protocol: a form in its body, or `Action` in its query string."""
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return True
    return "Action" in parse_qs(request.query)


def guess_protocol(request: Request, signing_name: str = "") -> str:
    """The protocol to answer in when the service is not known."""
    if "x-amz-target" in request.headers:
        return "json"
    if is_cbor(request):
        return "cbor"
    if signing_name in ("s3", "s3express", "route53", "cloudfront") or (not signing_name and is_for_s3(request)):
        return "rest-xml"
    return "query" if is_form(request) else "rest-json"
