"""The way of a request to a function URL: find it, let the caller in, run the function, answer.

A URL is called by its host name, `ID.lambda-url.REGION.HOST`, or by the path `/_lambdad/urls/ID/…` of any host that the
server answers to, for clients that cannot resolve the name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from lambdad.clock import Clock
from lambdad.control.function_urls import FunctionUrls
from lambdad.domain.errors import AccessDenied, LambdadError, RequestEntityTooLarge, ResourceNotFound
from lambdad.domain.function_urls import URL_LABEL, FunctionUrl, url_of_host
from lambdad.domain.identity import Caller
from lambdad.domain.invocations import Ending, Outcome
from lambdad.domain.policies import AccessRequest, Decision, by_principal, decide
from lambdad.http.messages import BodyPolicy, Request, Response
from lambdad.http.protocol import Exchange, ResponseStream
from lambdad.invocation.catalog import Target
from lambdad.invocation.invoker import Invoker
from lambdad.telemetry import Telemetry, UrlAnswered
from lambdad.wire import errors
from lambdad.wire.access.errors import MissingAuthenticationToken, SignatureMismatch
from lambdad.wire.access.gate import Gate
from lambdad.wire.function_urls.answers import BadAnswer, Headers, answer_of
from lambdad.wire.function_urls.events import TRACE_HEADER, UrlCall, event_of, trace_of
from lambdad.wire.function_urls.streams import StreamedUrlAnswer
from lambdad.wire.own import PREFIX
from lambdad.wire.protocols import json_values
from lambdad.wire.request_ids import new_request_id

logger = logging.getLogger("lambdad.urls")

PATH_PREFIX = f"{PREFIX}urls/"
LIMIT_BYTES = 6_291_456
"""AWS Lambda quotas."""
ACTION = "lambda:InvokeFunctionUrl"
FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
_LABEL = f".{URL_LABEL}."
_PAGES = frozenset({"document", "iframe", "frame", "object", "embed", "worker", "sharedworker", "serviceworker"})


class FunctionUrlDoor:
    """Takes the requests that are for function URLs."""

    def __init__(
        self,
        urls: FunctionUrls,
        invoker: Invoker,
        gate: Gate,
        clock: Clock,
        telemetry: Telemetry,
        served_host: Callable[[], str],
    ) -> None:
        """`served_host` is the name, with its port, below which URLs are shown."""
        self._urls = urls
        self._invoker = invoker
        self._gate = gate
        self._clock = clock
        self._telemetry = telemetry
        self._served_host = served_host
        self.policy = BodyPolicy(limit=LIMIT_BYTES, on_too_large=_too_large)

    @staticmethod
    def takes(request: Request) -> bool:
        """Whether a request is for a URL, by its Host header or its path. The host counts more: everything below the
        name of a URL is the function's."""
        host = request.headers.get("host", "")
        return request.path.startswith(PATH_PREFIX) or (_LABEL in host.lower() and url_of_host(host) is not None)

    async def answer(self, exchange: Exchange) -> None:
        """Answers a request whose body is there; never raises."""
        request, request_id = exchange.request, new_request_id()
        try:
            found = await self._find(request)
            if found is None:
                exchange.send(_refusal(request_id, None))
            else:
                await self._answer(exchange, request_id, *found)
        except Exception:
            logger.exception("Request %s to a function URL failed unexpectedly", request_id)
            if not exchange.answered:
                exchange.send(_internal_error(request_id))

    async def _find(self, request: Request) -> tuple[FunctionUrl, str] | None:
        """The URL and the path below it. None for one that does not exist."""
        address = url_of_host(request.headers.get("host", ""))
        path = request.path
        if address is None:
            url_id, slash, rest = path.removeprefix(PATH_PREFIX).partition("/")
            url = await self._urls.find(url_id)
            return None if url is None else (url, slash + rest or "/")
        url = await self._urls.find(address[0])
        return (url, path) if url is not None and url.region == address[1] else None

    async def _answer(self, exchange: Exchange, request_id: str, url: FunctionUrl, path: str) -> None:
        request = exchange.request
        answering = _Answering(exchange, url, request_id, self._told)
        if request.method == "OPTIONS" and url.cors is not None and "access-control-request-method" in request.headers:
            answering.preflight()
            return
        try:
            if _is_page_on_our_own_origin(request):
                raise AccessDenied(
                    "Browsers get pages of a function by the URL's own name alone, so that they are of an origin of "
                    f"their own: http://{url.host(self._served_host())}/"
                )
            caller = self._caller(request, url)
            target = await self._target(url)
            if target is None or not _is_let_in(request, url, caller, target):
                answering.send(_refusal(request_id, FORBIDDEN))
                return
            self._invoker.check_state(target)
            self._run(answering, target, path, caller)
        except MissingAuthenticationToken:
            answering.send(_refusal(request_id, FORBIDDEN))
        except LambdadError as error:
            answering.send(errors.rest_json_response(error, request_id))

    def _caller(self, request: Request, url: FunctionUrl) -> Caller | None:
        """Who signed. None where nobody has to. Raises AccessRefused."""
        if url.auth_type == "NONE":
            return None
        caller, service = self._gate.identify(request)
        if caller.region != url.region:
            raise SignatureMismatch("Credential should be scoped to a valid region. ")
        if service != "lambda":
            raise SignatureMismatch("Credential should be scoped to correct service: 'lambda'. ")
        return caller

    async def _target(self, url: FunctionUrl) -> Target | None:
        """None when the alias of the URL is gone."""
        try:
            return await self._invoker.find(url.reference)
        except ResourceNotFound:
            return None

    def _run(self, answering: _Answering, target: Target, path: str, caller: Caller | None) -> None:
        request, url = answering.exchange.request, answering.url
        shown_trace, trace = trace_of(request, self._clock.time_ms() / 1000)
        self._invoker.check_recursion(target, trace)
        answering.trace = trace
        by_host = url_of_host(request.headers.get("host", "")) is not None
        call = UrlCall(
            url=url,
            request=request,
            path=path,
            domain=request.headers["host"] if by_host else url.host(self._served_host()),
            request_id=answering.request_id,
            received=self._clock.now(),
            caller=caller,
        )
        sink = StreamedUrlAnswer(answering, answering.ended) if url.invoke_mode == "RESPONSE_STREAM" else None
        self._invoker.start(
            target,
            self._invoker.version_of(target),
            request_id=answering.request_id,
            event=event_of(call, shown_trace),
            done=answering.whole if sink is None else sink.done,
            trace=trace,
            sink=sink,
        )

    def _told(self, url: FunctionUrl, status: int, latency_ms: float) -> None:
        for listener in self._telemetry.url_answered:
            listener(
                UrlAnswered(
                    account=url.account,
                    region=url.region,
                    function=url.function,
                    qualifier=url.qualifier or "",
                    status=status,
                    latency_ms=latency_ms,
                )
            )


class _Answering:
    """The answer to one request, whatever it comes to: with the URL's CORS headers, and counted."""

    def __init__(
        self, exchange: Exchange, url: FunctionUrl, request_id: str, told: Callable[[FunctionUrl, int, float], None]
    ) -> None:
        self.exchange = exchange
        self.url = url
        self.request_id = request_id
        self.trace = ""
        """The trace header that the function got from its caller or from here; known once it runs."""
        self._told = told
        self._status = 0

    def preflight(self) -> None:
        """A preflight is answered without running the function (AWS Lambda developer guide, CORS)."""
        origin = self.exchange.request.headers.get("origin", "")
        headers = self.url.cors.preflight_headers(origin) if self.url.cors is not None else []
        self._status = 200
        self.exchange.send(Response(200, [("x-amzn-requestid", self.request_id), *headers], b""))
        self.ended()

    def send(self, response: Response) -> None:
        self._status = response.status
        self.exchange.send(Response(response.status, self._with_cors(list(response.headers)), response.body))
        self.ended()

    def whole(self, outcome: Outcome) -> None:
        """Answers with a result that came in one piece."""
        if outcome.ending is not Ending.SUCCESS:
            self._send_failure("", outcome.trace_id)
            return
        try:
            answer = answer_of(outcome)
        except BadAnswer as error:
            self._send_failure(str(error), outcome.trace_id)
            return
        self.send(Response(answer.status, self._headers(answer.headers, outcome.trace_id), answer.body))

    def open(self, status: int, headers: Headers) -> ResponseStream:
        self._status = status
        return self.exchange.start_stream(status, self._with_cors(self._headers(headers, self.trace)))

    def fail(self, reason: str) -> None:
        self._status = 502
        self._explain(reason)
        response = _function_error(self.request_id)
        self.exchange.send(Response(502, self._with_cors(list(response.headers)), response.body))

    def ended(self) -> None:
        """The answer is complete. Streams end after their head."""
        status, self._status = self._status, 0
        if status:
            self._told(self.url, status, (time.monotonic() - self.exchange.request.received) * 1000)

    def _send_failure(self, reason: str, trace: str) -> None:
        self._explain(reason)
        response = _function_error(self.request_id)
        self.send(Response(502, [*response.headers, (TRACE_HEADER, trace)], response.body))

    def _explain(self, reason: str) -> None:
        if reason:
            logger.warning("Request %s to the URL of %s: %s", self.request_id, self.url.reference.arn, reason)

    def _headers(self, headers: Headers, trace: str) -> Headers:
        own = [("x-amzn-requestid", self.request_id), *([(TRACE_HEADER, trace)] if trace else [])]
        names = {name for name, _ in own}
        return [*own, *((name, value) for name, value in headers if name not in names)]

    def _with_cors(self, headers: Headers) -> Headers:
        """The URL's settings count more than what the function says (AWS Lambda developer guide, CORS)."""
        cors, origin = self.url.cors, self.exchange.request.headers.get("origin")
        if cors is None or origin is None:
            return headers
        kept = [(name, value) for name, value in headers if not name.lower().startswith("access-control-")]
        return [*kept, *cors.answer_headers(origin)]


def _is_let_in(request: Request, url: FunctionUrl, caller: Caller | None, target: Target) -> bool:
    """What the policy of the function or alias says. Callers of the same account need no permission; everybody needs
    one for a URL without authentication. The permission for lambda:InvokeFunctionUrl is enough: AWS asks URLs that were
    made since October 2025 for lambda:InvokeFunction too, and was seen in 2026 to work without (AWS: captured)."""
    context = {
        "lambda:functionurlauthtype": url.auth_type,
        "lambda:invokedviafunctionurl": "true",
        "aws:sourceip": request.peer_host,
        "aws:securetransport": "false",
    }
    resource = url.reference.arn
    if caller is None:
        asked = AccessRequest(action=ACTION, resource=resource, context=context)
    else:
        asked = by_principal(caller.arn, ACTION, resource, context)
    decision = decide(target.entry.loaded.policy_of(url.qualifier), asked)
    if caller is not None and caller.account == url.account:
        return decision is not Decision.DENY
    return decision is Decision.ALLOW


def _is_page_on_our_own_origin(request: Request) -> bool:
    """A page that a browser gets by the path would be of the same origin as the server's own endpoints, and could
    call them."""
    by_path = url_of_host(request.headers.get("host", "")) is None
    return by_path and request.headers.get("sec-fetch-dest", "") in _PAGES


def _too_large(_: Request, __: int) -> Response:
    text = f"Request must be smaller than {LIMIT_BYTES} bytes for the InvokeFunction operation"
    return errors.rest_json_response(RequestEntityTooLarge(text), new_request_id())


def _refusal(request_id: str, message: str | None) -> Response:
    """403; without a text for a URL that does not exist (AWS: recorded 2025-11, captured 2026)."""
    members: Mapping[str, str | None] = {"Message": message}
    return _plain(403, request_id, "application/json", json_values.dump(members), "AccessDeniedException")


def _function_error(request_id: str) -> Response:
    """What any failure of a function looks like from outside (AWS: recorded 2025-11)."""
    return _plain(502, request_id, "text/plain", b"Internal Server Error")


def _internal_error(request_id: str) -> Response:
    return _plain(500, request_id, "text/plain", b"Internal Server Error")


def _plain(status: int, request_id: str, content_type: str, body: bytes, error_type: str = "") -> Response:
    named = [("x-amzn-errortype", error_type)] if error_type else []
    return Response(status, [("x-amzn-requestid", request_id), *named, ("content-type", content_type)], body)
