"""The front door: every request comes in here, is let in or refused, and finds its operation.

Order: Host, function URLs, own endpoints, signature, body limit, service by the signature's scope, raw routes, then the
service's codec, the model's constraints and the handler. Whatever a handler raises becomes AWS's error in the
client's protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lambdad import __version__
from lambdad.domain.errors import LambdadError
from lambdad.domain.identity import Caller
from lambdad.http.messages import BodyPolicy, Request, Response
from lambdad.http.protocol import Exchange
from lambdad.wire import errors, limits, s3
from lambdad.wire.access.errors import HostRefused, MissingAuthenticationToken, NothingToAuthorize
from lambdad.wire.access.gate import AuthMode, Gate
from lambdad.wire.access.hosts import HostNames
from lambdad.wire.access.sigv2 import is_presigned
from lambdad.wire.access.sigv4 import carries_signature
from lambdad.wire.fallback import Fallback, PassedOn
from lambdad.wire.function_urls.door import FunctionUrlDoor
from lambdad.wire.own import PREFIX, OwnEndpoint, OwnEndpoints, health_handler, refuse_other_origins
from lambdad.wire.protocols import json_values, validation
from lambdad.wire.protocols.errors import OperationNotOffered, RequestTooLarge, UnknownOperation
from lambdad.wire.request_ids import new_request_id
from lambdad.wire.service import Answer, ApiCall, Service
from lambdad.wire.services import Codec, OfferedService, Services, guess_protocol

log = logging.getLogger("lambdad.wire")

RawHandler = Callable[[Exchange, Caller, str], None]
"""Takes the request id too. Answers through the exchange, without a Task; what it raises at once becomes an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRoute:
    """A hand-written fast path, looked up before the generic ones."""

    service: str
    """As in the scope of signatures: `lambda`."""
    method: str
    prefix: str
    suffix: str
    handler: RawHandler


class FrontDoor:
    """The `http` application of the API port."""

    def __init__(
        self,
        services: Iterable[Service],
        gate: Gate,
        hosts: HostNames,
        *,
        raw_routes: Iterable[RawRoute] = (),
        own_endpoints: OwnEndpoints | None = None,
        function_urls: FunctionUrlDoor | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        self.own_endpoints = own_endpoints or OwnEndpoints()
        self.own_endpoints.add("GET", f"{PREFIX}health", health_handler(__version__), is_open=True)
        self._services = Services(services)
        self._gate = gate
        self._hosts = hosts
        self._urls = function_urls
        self._fallback = fallback or Fallback(None)
        self._raw: dict[str, list[RawRoute]] = {}
        for route in raw_routes:
            self._raw.setdefault(route.service, []).append(route)
        self._tasks: set[asyncio.Task[None]] = set()
        self._policies = {limit: self._policy(limit) for limit in limits.LIMITS}
        self._own_policy = BodyPolicy(limit=limits.OWN_BYTES, on_too_large=self._own_too_large)

    async def finish(self, grace_s: float) -> None:
        """Lets the calls in progress end, and cancels what has not after `grace_s` seconds."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    # --- the head of a request ---

    def head(self, request: Request) -> BodyPolicy | Response:
        """What to do with the body, or a refusal before any of it is read."""
        try:
            if not self._hosts.serves(request.headers.get("host", "")):
                raise HostRefused(_host_text(request))
            if self._urls is not None and self._urls.takes(request):
                return self._urls.policy
            if request.path.startswith(PREFIX):
                return self._own_policy
            if not (carries_signature(request) or is_presigned(request.query)):
                return self._unsigned(request)
            self._gate.refuse_early(request)
        except LambdadError as error:
            return errors.render(error, guess_protocol(request), new_request_id())
        return self._policies[limits.limit_of(request)]

    def _unsigned(self, request: Request) -> Response:
        if request.path in ("/", "") and request.method in ("GET", "HEAD") and not request.query:
            return _welcome()
        protocol = guess_protocol(request)
        offered = self._services.find("lambda") if protocol == errors.REST_JSON else None
        if offered is not None:  # an unknown path is unknown to everybody, as on AWS
            offered.codec(request).find(request)
        return errors.render(MissingAuthenticationToken(), protocol, new_request_id())

    def _policy(self, limit: limits.Limit) -> BodyPolicy:
        def too_large(request: Request, _: int) -> Response:
            if limit is limits.OBJECT:
                return errors.render(s3.too_large(limit[1]), errors.REST_XML, new_request_id())
            text = limits.too_large_text(limit, lambda: self._operation_name(request))
            return errors.render(RequestTooLarge(text), guess_protocol(request), new_request_id())

        return BodyPolicy(limit=limit[0], on_too_large=too_large)

    def _operation_name(self, request: Request) -> str:
        offered = self._services.find("lambda")
        with contextlib.suppress(UnknownOperation):
            if "x-amz-target" in request.headers:
                return request.headers["x-amz-target"].rpartition(".")[2]
            if offered is not None:
                return offered.codec(request).find(request)[0].name
        return "requested"

    def _own_too_large(self, _: Request, __: int) -> Response:
        return _own_error(413, f"The body may have {limits.OWN_BYTES} bytes at most.")

    # --- the whole request ---

    def handle(self, exchange: Exchange) -> None:
        """Answers a request that `head` let in; its body is there."""
        request = exchange.request
        if self._urls is not None and self._urls.takes(request):
            self._start(self._urls.answer(exchange))
            return
        if request.path.startswith(PREFIX):
            self._handle_own(exchange)
            return
        offered: OfferedService | None = None
        signing_name = ""
        try:
            caller, signing_name = self._gate.identify(request)
            for route in self._raw.get(signing_name, ()):
                path = request.path
                if request.method == route.method and path.endswith(route.suffix) and path.startswith(route.prefix):
                    route.handler(exchange, caller, new_request_id())
                    return
            offered = self._services.find(signing_name)
            if offered is None:
                offered = self._services.by_target(request.headers.get("x-amz-target", ""))
            if offered is None:
                self._start(self._pass_on(exchange, caller, signing_name))
            else:
                self._start(self._call(exchange, caller, offered, signing_name))
        except Exception as error:
            known = offered or self._services.find(signing_name)
            if known is None:
                response = errors.render(error, guess_protocol(request, signing_name), new_request_id())
            else:
                response = errors.render(error, known.codec(request).name, new_request_id(), known.model)
            exchange.send(response)

    async def _call(self, exchange: Exchange, caller: Caller, offered: OfferedService, signing_name: str) -> None:
        """One call of an operation. The client's going away does not cancel it: a write that began is finished."""
        request, request_id = exchange.request, new_request_id()
        codec = offered.codec(request)
        try:
            response = await self._run(codec, offered.service, exchange, caller, request_id, signing_name)
        except Exception as error:
            response = errors.render(error, codec.name, request_id, offered.model)
        exchange.send(response)

    async def _pass_on(self, exchange: Exchange, caller: Caller, signing_name: str) -> None:
        """A call of a service that is not ours."""
        request, request_id = exchange.request, new_request_id()
        try:
            response = await self._fallback.answer(
                signing_name,
                caller,
                request,
                subdomain=self._hosts.subdomain(request.headers.get("host", "")),
                offered=self._services.names,
            )
        except Exception as error:
            response = errors.render(error, guess_protocol(request, signing_name), request_id)
        exchange.send(response)

    async def _run(
        self,
        codec: Codec,
        service: Service,
        exchange: Exchange,
        caller: Caller,
        request_id: str,
        signing_name: str,
    ) -> Response:
        request = exchange.request
        try:
            operation, found = codec.find(request)
        except UnknownOperation:
            if codec.name == errors.REST_JSON:
                raise NothingToAuthorize from None
            raise
        handler = service.handlers.get(operation.name)
        if handler is None:
            if self._fallback.shares(service.name):
                return await self._fallback.operation(service.name, signing_name, caller, request)
            raise OperationNotOffered(
                f"lambdad does not offer {codec.model.title} {operation.name}. docs/fidelity.md lists what it offers."
            )
        params = codec.parse(operation, found, request)
        if not service.checks_itself:
            validation.check(operation, params)
        call = ApiCall(
            caller=caller,
            operation=operation.name,
            params=params,
            request_id=request_id,
            request=request,
            on_disconnect=exchange.on_disconnect,
        )
        try:
            answer: Answer = await handler(call)
        except PassedOn as error:
            if self._fallback.shares(service.name):
                return await self._fallback.operation(service.name, signing_name, caller, request)
            raise error.otherwise from None
        return codec.answer(operation, answer, request_id)

    def _handle_own(self, exchange: Exchange) -> None:
        request = exchange.request
        endpoint = self.own_endpoints.find(request.method, request.path)
        if endpoint is None:
            methods = self.own_endpoints.methods(request.path)
            if methods:
                text = f"{request.path} takes {', '.join(methods)}, not {request.method}."
                exchange.send(_own_error(405, text, [("allow", ", ".join(methods))]))
            else:
                exchange.send(_own_error(404, f"lambdad has no endpoint {request.path}."))
            return
        try:
            if not endpoint.is_open:
                self._admit_own(request)
        except LambdadError as error:
            exchange.send(_own_error(errors.rule_of(error).status, error.message))
            return
        self._start(self._answer_own(exchange, endpoint))

    def _admit_own(self, request: Request) -> None:
        """Own endpoints take a signature of any service; dev mode takes callers without one too, but no web pages."""
        refuse_other_origins(request)
        if self._gate.mode is AuthMode.STRICT or carries_signature(request):
            self._gate.identify(request)

    async def _answer_own(self, exchange: Exchange, endpoint: OwnEndpoint) -> None:
        try:
            response = await endpoint.handler(exchange)
        except LambdadError as error:
            response = _own_error(errors.rule_of(error).status, error.message)
        except Exception:
            log.exception("%s %s failed unexpectedly", exchange.request.method, exchange.request.path)
            response = _own_error(500, "lambdad failed while it served this request. Its log has the details.")
        if response is not None:
            exchange.send(response)

    def _start(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _host_text(request: Request) -> str:
    host = request.headers.get("host", "")
    if not host:
        return "The request has no Host header."
    return (
        f"lambdad does not answer to the host name {host[:255]!r}. Call it as localhost or by its address, or start it "
        "with --hostname to add a name."
    )


def _welcome() -> Response:
    body = json_values.dump({"name": "lambdad", "version": __version__, "health": f"{PREFIX}health"})
    return Response(200, [("content-type", "application/json")], body)


def _own_error(status: int, message: str, headers: list[tuple[str, str]] | None = None) -> Response:
    return Response(
        status, [("content-type", "application/json"), *(headers or ())], json_values.dump({"message": message})
    )
