"""Invoke, InvokeWithResponseStream, InvokeAsync: hand-written, because every call pays for every microsecond here.

A call whose function is cached runs from the parsed request to the environment without a task; everything else (the
first call of a function, bodies so large that checking them takes milliseconds) takes the slow way around.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote

from lambdad.domain import arns, json_syntax
from lambdad.domain.errors import (
    InvalidParameterValue,
    InvalidRequestContent,
    LambdadError,
    RequestEntityTooLarge,
    ServiceFailure,
    ValidationFailed,
)
from lambdad.domain.events import EVENT_LIMIT_BYTES, INVOKE_ASYNC_LIMIT_BYTES
from lambdad.domain.identity import Caller
from lambdad.domain.invocations import Ending, Outcome
from lambdad.event_queue.intake import AT_ONCE_BYTES, Intake
from lambdad.http.messages import Response
from lambdad.http.protocol import Exchange, ResponseStream
from lambdad.invocation.catalog import Target
from lambdad.invocation.invoker import Flow, Invoker
from lambdad.wire import eventstream

logger = logging.getLogger(__name__)

SYNC_LIMIT_BYTES = 6_291_456
"""The largest event of a synchronous call: 6 MiB (AWS documentation 2025)."""
CLIENT_CONTEXT_LIMIT = 3_583
"""Bytes of base64 (botocore model)."""
LARGE_BODY_BYTES = 262_144
"""Above it the JSON check runs in a thread, so that other calls go on meanwhile."""
STREAM_LIMIT_BYTES = 209_715_200
"""A streamed response is cut at 200 MiB (AWS: captured 2026)."""

PREFIX = "/2015-03-31/functions/"
SUFFIX = "/invocations"
ASYNC_PREFIX = "/2014-11-13/functions/"
ASYNC_SUFFIX = "/invoke-async"
STREAM_PREFIX = "/2021-11-15/functions/"
STREAM_SUFFIX = "/response-streaming-invocations"

_INVOCATION_TYPES = ("RequestResponse", "Event", "DryRun")
_LOG_TYPES = ("None", "Tail")

_JSON = ("content-type", "application/json")
_NOT_REMAPPED = ("x-amzn-remapped-content-length", "0")
# Named once: on Python 3.11 each look at an enum's member is a call in Python.
_SUCCESS = Ending.SUCCESS

ErrorResponse = Callable[[LambdadError, str], Response]

_NOT_OFFERED = (
    ("x-amz-tenant-id", "The invoked function is not enabled with tenancy configuration."),  # (AWS: captured)
    ("x-amz-durable-execution-name", "The invoked function is not a durable function."),
)
"""No function here can have what these members are for."""
_PATTERNED = (
    ("x-amz-tenant-id", "tenantId", 256, r"[a-zA-Z0-9\._:\/=+\-@ ]+"),
    ("x-amz-durable-execution-name", "durableExecutionName", 64, "[a-zA-Z0-9-_]+"),
)
"""Headers of members that have a length and a pattern (botocore model)."""


class _Call:
    """One request, read."""

    __slots__ = ("client_context", "exchange", "kind", "name", "qualifier", "request_id", "trace", "wants_tail")

    def __init__(self, exchange: Exchange, request_id: str, name: str, qualifier: str) -> None:
        headers = exchange.request.headers
        self.exchange = exchange
        self.request_id = request_id
        self.name = name
        self.qualifier = qualifier
        self.kind = headers.get("x-amz-invocation-type", "RequestResponse")
        log_type = headers.get("x-amz-log-type", "None")
        if self.kind not in _INVOCATION_TYPES or log_type not in _LOG_TYPES:
            raise ValidationFailed(self._violations(log_type))
        for header, refusal in _NOT_OFFERED:
            if header in headers:
                violations = self._violations(log_type)
                raise ValidationFailed(violations) if violations else InvalidParameterValue(refusal)
        self.wants_tail = log_type == "Tail"
        self.trace = headers.get("x-amzn-trace-id", "")
        context = headers.get("x-amz-client-context", "")
        self.client_context = _client_context(context) if context and self.kind == "RequestResponse" else ""

    def _violations(self, log_type: str) -> list[str]:
        """Everything that is wrong with the form of the members; AWS tells it at once."""
        found = arns.violations_of(self.name, self.qualifier or None)
        for path, value, allowed in (
            ("invocationType", self.kind, _INVOCATION_TYPES),
            ("logType", log_type, _LOG_TYPES),
        ):
            if value not in allowed:
                found.append(_violation(path, value, f"satisfy enum value set: [{', '.join(allowed)}]"))
        for header, path, max_length, pattern in _PATTERNED:
            if header not in self.exchange.request.headers:
                continue
            value = self.exchange.request.headers[header]
            if len(value) > max_length:
                found.append(_violation(path, value, f"have length less than or equal to {max_length}"))
            if not value:
                found.append(_violation(path, value, "have length greater than or equal to 1"))
            if not re.fullmatch(pattern, value):
                found.append(_violation(path, value, f"satisfy regular expression pattern: {pattern}"))
        return found


class InvokeApi:
    """The three operations, as raw routes of the front door."""

    def __init__(self, invoker: Invoker, intake: Intake, error_response: ErrorResponse) -> None:
        self._invoker = invoker
        self._intake = intake
        self._error_response = error_response
        self._tasks: set[asyncio.Task[None]] = set()

    def invoke(self, exchange: Exchange, caller: Caller, request_id: str) -> None:
        """`POST /2015-03-31/functions/{FunctionName}/invocations?Qualifier=`"""
        request = exchange.request
        try:
            name = request.path[len(PREFIX) : request.path.rindex(SUFFIX)]
            call = _Call(exchange, request_id, unquote(name) if "%" in name else name, _qualifier(request.query))
            target = self._invoker.cached_target(caller.account, caller.region, call.name, call.qualifier)
            if call.kind == "Event":
                if target is None or len(request.body) > AT_ONCE_BYTES:
                    self._spawn(self._accept(call, caller, EVENT_LIMIT_BYTES, _plain_headers(request_id)))
                else:
                    stored = partial(self._stored, call, _plain_headers(request_id))
                    self._intake.accept_at_once(target, request.body, request_id, call.trace, stored)
                return
            if target is None or len(request.body) > LARGE_BODY_BYTES:
                self._spawn(self._invoke_slowly(call, caller))
                return
            if request.body and not json_syntax.is_json(request.body):
                raise InvalidRequestContent(json_syntax.explain(request.body))
            self._run(call, target)
        except LambdadError as error:
            exchange.send(self._error_response(error, request_id))

    async def _invoke_slowly(self, call: _Call, caller: Caller) -> None:
        try:
            target = await self._checked_target(call, caller)
            self._run(call, target)
        except LambdadError as error:
            call.exchange.send(self._error_response(error, call.request_id))

    async def _checked_target(self, call: _Call, caller: Caller) -> Target:
        body = call.exchange.request.body
        if len(body) > SYNC_LIMIT_BYTES:
            raise RequestEntityTooLarge(
                f"{len(body)} byte payload is too large for the RequestResponse invocation type "
                f"(limit {SYNC_LIMIT_BYTES} bytes)"
            )
        target = await self._invoker.resolve(caller, call.name, call.qualifier)
        if body:
            await _check_json(body)
        self._invoker.check_state(target)
        return target

    def _run(self, call: _Call, target: Target) -> None:
        if call.kind == "DryRun":
            call.exchange.send(Response(204, _plain_headers(call.request_id), b""))
            return
        if call.trace:
            self._invoker.check_recursion(target, call.trace)
        exchange = call.exchange
        request_id = call.request_id
        version = self._invoker.version_of(target)
        executed_version = version.version.version

        def done(outcome: Outcome) -> None:
            headers: list[tuple[str, str]] = [
                _JSON,
                _NOT_REMAPPED,
                ("x-amzn-requestid", request_id),
                ("x-amz-executed-version", executed_version),
                ("x-amzn-trace-id", outcome.trace_id),
            ]
            if outcome.ending is not _SUCCESS:
                headers.append(("x-amz-function-error", "Unhandled"))
            if call.wants_tail:
                headers.append(("x-amz-log-result", base64.b64encode(outcome.log_tail).decode("ascii")))
            exchange.send(Response(200, headers, outcome.payload))

        self._invoker.start(
            target,
            version,
            request_id=request_id,
            event=exchange.request.body or b"{}",
            done=done,
            trace=call.trace,
            client_context=call.client_context,
            wants_tail=call.wants_tail,
        )

    # --- asynchronous ---

    def invoke_async(self, exchange: Exchange, caller: Caller, request_id: str) -> None:
        """`POST /2014-11-13/functions/{FunctionName}/invoke-async/`: deprecated, with the old limit and no trace."""
        try:
            path = exchange.request.path
            name = unquote(path[len(ASYNC_PREFIX) : path.rindex(ASYNC_SUFFIX)])
            call = _Call(exchange, request_id, name, "")
            call.trace = ""
            headers = [("x-amzn-requestid", request_id), ("content-type", "application/json")]
            self._spawn(self._accept(call, caller, INVOKE_ASYNC_LIMIT_BYTES, headers))
        except LambdadError as error:
            exchange.send(self._error_response(error, request_id))

    async def _accept(self, call: _Call, caller: Caller, limit_bytes: int, headers: list[tuple[str, str]]) -> None:
        """202 once the event is on the disk; the answer tells nothing about the run to come."""
        try:
            await self._intake.accept(
                caller,
                call.name,
                call.qualifier,
                call.exchange.request.body,
                request_id=call.request_id,
                trace=call.trace,
                limit_bytes=limit_bytes,
            )
        except Exception as error:
            self._stored(call, headers, error)
        else:
            self._stored(call, headers, None)

    def _stored(self, call: _Call, headers: list[tuple[str, str]], error: BaseException | None) -> None:
        if error is None:
            call.exchange.send(Response(202, headers, b""))
            return
        if not isinstance(error, LambdadError):
            logger.error("Event %s could not be accepted", call.request_id, exc_info=error)
            error = ServiceFailure("The event could not be stored. The log of lambdad tells why.")
        call.exchange.send(self._error_response(error, call.request_id))

    # --- streaming ---

    def invoke_with_response_stream(self, exchange: Exchange, caller: Caller, request_id: str) -> None:
        """`POST /2021-11-15/functions/{FunctionName}/response-streaming-invocations?Qualifier=`

        An InvocationType of Event or DryRun is ignored: the function runs (AWS: captured 2026).
        """
        self._spawn(self._stream(exchange, caller, request_id))

    async def _stream(self, exchange: Exchange, caller: Caller, request_id: str) -> None:
        request = exchange.request
        try:
            name = unquote(request.path[len(STREAM_PREFIX) : request.path.rindex(STREAM_SUFFIX)])
            call = _Call(exchange, request_id, name, _qualifier(request.query))
            call.kind = "RequestResponse"
            target = await self._checked_target(call, caller)
            if call.trace:
                self._invoker.check_recursion(target, call.trace)
            version = self._invoker.version_of(target)
            answer = _StreamedAnswer(call, version.version.version)
            self._invoker.start(
                target,
                version,
                request_id=request_id,
                event=request.body or b"{}",
                done=answer.done,
                trace=call.trace,
                client_context=call.client_context,
                wants_tail=call.wants_tail,
                sink=answer,
            )
        except LambdadError as error:
            exchange.send(self._error_response(error, request_id))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _StreamedAnswer:
    """The response side of one streamed invocation."""

    def __init__(self, call: _Call, executed_version: str) -> None:
        self._call = call
        self._executed_version = executed_version
        self._stream: ResponseStream | None = None
        self._flow: Flow | None = None
        self._drain: asyncio.Task[None] | None = None
        self._sent = 0

    def started(self, content_type: str, flow: Flow | None = None) -> None:
        self._flow = flow
        self._stream = self._call.exchange.start_stream(
            200,
            [
                ("content-type", eventstream.CONTENT_TYPE),
                ("x-amzn-requestid", self._call.request_id),
                ("x-amz-executed-version", self._executed_version),
                ("x-amzn-remapped-content-type", content_type),
            ],
        )

    def chunk(self, data: bytes) -> None:
        left = STREAM_LIMIT_BYTES - self._sent
        if self._stream is not None and data and left > 0:
            self._sent += len(data)
            self._stream.write(eventstream.payload_chunk(data[:left]))
            if self._flow is not None and self._drain is None and self._stream.is_full:
                self._flow.pause_stream()
                self._drain = asyncio.get_running_loop().create_task(self._wait_for_reader(self._stream, self._flow))

    async def _wait_for_reader(self, stream: ResponseStream, flow: Flow) -> None:
        await stream.drain()
        self._drain = None
        flow.resume_stream()

    def done(self, outcome: Outcome) -> None:
        """A function that did not stream sends its whole answer as chunks; its error likewise (AWS: captured 2026)."""
        if self._stream is None:
            self.started(outcome.content_type)
            self.chunk(outcome.payload)
        tail = base64.b64encode(outcome.log_tail).decode("ascii") if self._call.wants_tail else ""
        assert self._stream is not None
        self._stream.write(eventstream.invoke_complete(log_result=tail))
        self._stream.end()


async def _check_json(body: bytes) -> None:
    """Raises InvalidRequestContent for a body that is not JSON."""
    if len(body) <= LARGE_BODY_BYTES:
        if not json_syntax.is_json(body):
            raise InvalidRequestContent(json_syntax.explain(body))
        return
    loop = asyncio.get_running_loop()
    if not await loop.run_in_executor(None, json_syntax.is_json, body):
        raise InvalidRequestContent(await loop.run_in_executor(None, json_syntax.explain, body))


def _plain_headers(request_id: str) -> list[tuple[str, str]]:
    return [("x-amzn-requestid", request_id), _NOT_REMAPPED]


def _qualifier(query: str) -> str:
    if not query:
        return ""
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "Qualifier":
            return value
    return ""


def _violation(path: str, value: str, must: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: Member must {must}"


def _client_context(encoded: str) -> str:
    """The JSON text inside the base64. Raises InvalidRequestContent for anything else."""
    if len(encoded) > CLIENT_CONTEXT_LIMIT:
        raise InvalidRequestContent(f"Client context must be no more than {CLIENT_CONTEXT_LIMIT} bytes.")
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
        if not isinstance(json.loads(text), dict):
            raise ValueError
    except (binascii.Error, ValueError, RecursionError):
        raise InvalidRequestContent("Client context must be a valid Base64-encoded JSON object.") from None
    return text
