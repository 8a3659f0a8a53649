"""Calls that lambdad has no handler for: to another provider of AWS's services if there is one, else a clear answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lambdad.domain.errors import LambdadError
from lambdad.domain.identity import Caller
from lambdad.http.messages import Request, Response
from lambdad.wire import s3
from lambdad.wire.protocols import model as models
from lambdad.wire.protocols import rpc_cbor
from lambdad.wire.protocols.errors import OperationNotOffered
from lambdad.wire.protocols.model import ServiceModel

SHARED = frozenset({"cloudwatch", "iam"})
"""Services of ours whose other operations go to the provider too: what those keep (alarms, dashboards, users, groups)
stands by itself. In the others an operation would look for our queues, rules or functions where there are none."""


class Provider(Protocol):
    """Answers calls of AWS's services as they come over HTTP, after the signature was checked."""

    async def answer(self, service: str, caller: Caller, request: Request) -> Response:
        """`service` is the name in the signature's scope. Raises ServiceError for what it does not have."""


class PassedOn(LambdadError):
    """Raised by a handler for a call that concerns what lambdad does not keep, such as a user of IAM."""

    def __init__(self, otherwise: LambdadError) -> None:
        """`otherwise` is the answer where there is no provider."""
        super().__init__(otherwise.message)
        self.otherwise = otherwise


class Fallback:
    """What the front door does with such calls."""

    def __init__(self, provider: Provider | None) -> None:
        self._provider = provider
        self._models: dict[str, ServiceModel] = {}
        """Whole ones, compiled when a call needs the shapes of operations that are not ours."""

    def shares(self, service: str) -> bool:
        """Whether operations of this service that it has no handler for can be answered."""
        return self._provider is not None and service in SHARED

    async def answer(
        self, signing_name: str, caller: Caller, request: Request, *, subdomain: str, offered: Sequence[str]
    ) -> Response:
        """Raises OperationNotOffered, which tells what to install, without a provider."""
        if self._provider is None:
            raise OperationNotOffered(_unknown_service_text(signing_name, offered))
        if signing_name in s3.SIGNING_NAMES:
            request = s3.plain(request, subdomain)
        return await self._provider.answer(signing_name, caller, request)

    async def operation(self, service: str, signing_name: str, caller: Caller, request: Request) -> Response:
        """A call of a service of ours that `shares` its operations. CBOR is put into JSON for the provider."""
        assert self._provider is not None
        if not rpc_cbor.is_cbor(request):
            return await self._provider.answer(signing_name, caller, request)
        model = self._models.get(service)
        if model is None:
            model = self._models[service] = models.load(service)
        output = model.operations[request.path.rpartition("/")[2]].output
        answer = await self._provider.answer(signing_name, caller, rpc_cbor.as_json(request, model))
        return rpc_cbor.from_json(answer, output)


def _unknown_service_text(signing_name: str, offered: Sequence[str]) -> str:
    return (
        f"This lambdad serves {', '.join(offered)}, not {signing_name!r}. Other AWS services come with its extra: "
        "`pip install 'lambdad[aws]'` and start it again, or give the client of this service another endpoint."
    )
