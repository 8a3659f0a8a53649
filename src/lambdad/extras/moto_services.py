"""Services of AWS that lambdad does not have itself, from moto, in this process (the extra `aws`).

moto is imported by the first call that needs it. All of it runs on one thread: its stores are plain dictionaries
without locks. Its state is in memory and gone with the process. botocore is not patched: `mock_aws` is never used, and
the handler that moto leaves in botocore's defaults at import is taken out again.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote_to_bytes

from lambdad.domain.errors import ServiceError
from lambdad.domain.identity import Caller
from lambdad.domain.object_events import ObjectEvent
from lambdad.extras import object_events, s3_corrections
from lambdad.extras.one_thread import OneThread
from lambdad.http.messages import Request, Response

ACCOUNT_HEADER = "x-moto-account-id"
NOT_FROM_MOTO = frozenset(
    {"awslambda", "awslambda_simple", "cloudformation", "events", "instance_metadata", "logs", "moto_api", "sns", "sqs"}
)
"""What lambdad has itself, what makes functions and queues of moto's that nothing runs, and moto's own controls."""

_SIGNED_AS = {"eventbridge": "events", "iotdata": "data.iot", "mobiletargeting": "pinpoint"}
"""Signing names that are not the name in the host."""
_S3_CONTROL = "/v20180820/"

Notify = Callable[[ObjectEvent], Awaitable[None]]
Check = Callable[[Caller, str, list[str]], Awaitable[None]]
_Callback = Callable[[Any, str, Any], tuple[int, Mapping[str, Any], Any]]


def is_installed() -> bool:
    """Whether moto can be imported; looks without importing it."""
    return find_spec("moto") is not None


class MotoServices:
    """A Provider for the front door's fallback. Signatures are checked before, by lambdad."""

    def __init__(self) -> None:
        self._thread = OneThread("lambdad-moto")
        self._loaded = False
        self._events: list[ObjectEvent] = []
        """Of the call that runs."""
        self._notify: Notify = _ignore
        self._check: Check = _take_all
        self._loop: asyncio.AbstractEventLoop | None = None
        self._routes: dict[str, list[tuple[re.Pattern[str], _Callback]]] = {}

    async def answer(self, service: str, caller: Caller, request: Request) -> Response:
        """The answer of moto's service of this signing name.

        Raises ServiceError `NotImplemented` for what moto does not have, and its own failures as they are.
        """
        targets = object_events.new_targets(request) if service == "s3" else []
        if targets:
            await self._check(caller, request.path.strip("/").partition("/")[0], targets)
        response, events = await self._thread.run(lambda: self._answer_with_events(service, caller, request))
        for event in events:
            await self._notify(event)
        return response

    def answer_now(self, service: str, caller: Caller, request: Request) -> Response:
        """The same for callers on other threads than the event loop's, which wait."""
        response, events = self._thread.submit(lambda: self._answer_with_events(service, caller, request)).result()
        for event in events:
            assert self._loop is not None
            asyncio.run_coroutine_threadsafe(_wait_for(self._notify(event)), self._loop).result()
        return response

    def on_object_event(self, notify: Notify, check: Check) -> None:
        """`notify` delivers what happens in buckets, on the running event loop; a call is answered after it.
        `check` raises ServiceError for targets that a bucket of the caller's cannot tell."""
        self._notify = notify
        self._check = check
        self._loop = asyncio.get_running_loop()

    async def reset(self) -> None:
        """Forgets everything, if anything was ever asked for."""
        if self._loaded:
            await self._thread.run(_reset)

    def stop(self) -> None:
        """What is waiting is dropped."""
        self._thread.stop()

    # --- on the thread ---

    def _answer_with_events(self, service: str, caller: Caller, request: Request) -> tuple[Response, list[ObjectEvent]]:
        self._events.clear()
        response = self._answer(service, caller, request)
        return response, object_events.of_one_call(self._events)

    def _answer(self, service: str, caller: Caller, request: Request) -> Response:
        if not self._loaded:
            _load()
            object_events.redirect(self._events.append)
            self._loaded = True
        host = _host_of(service, caller.region, request)
        clean_url = f"https://{host}{request.path}"
        name = "sesv2" if service == "ses" and request.path.startswith("/v2/") else _moto_name(clean_url)
        if name is None or name in NOT_FROM_MOTO:
            raise _not_implemented(f"Neither lambdad nor moto, which it takes other services from, offers {service!r}.")
        from werkzeug.exceptions import HTTPException

        callback = self._callback(name, clean_url)
        if callback is None:
            raise _not_implemented(f"moto has no {name} operation for {request.method} {request.path}.")
        arrived = _moto_request(host, caller, request)
        try:
            status, headers, body = callback(arrived, arrived.raw_url, arrived.headers)
        except HTTPException as error:
            status, headers, body = error.code or 500, dict(error.get_headers()), error.get_body()
        except NotImplementedError as error:
            raise _not_implemented(f"moto, where {service!r} comes from, lacks this operation: {error}") from None
        except KeyError as error:
            if error.args != (caller.region,):
                raise
            raise _not_implemented(f"moto, where {service!r} comes from, has no region {caller.region!r}.") from None
        response = _response(int(status), headers, _bytes(body), is_head=request.method == "HEAD")
        return s3_corrections.corrected(request, caller.account, response) if name == "s3" else response

    def _callback(self, name: str, clean_url: str) -> _Callback | None:
        routes = self._routes.get(name)
        if routes is None:
            routes = self._routes[name] = _routes_of(name)
        for pattern, callback in routes:
            if pattern.match(clean_url):
                return callback
        return None


async def _ignore(_: ObjectEvent) -> None:
    """Nobody is told."""


async def _take_all(_: Caller, __: str, ___: list[str]) -> None:
    """Any target will do."""


async def _wait_for(notified: Awaitable[None]) -> None:
    await notified


def _host_of(service: str, region: str, request: Request) -> str:
    """The host name that the request would have on AWS: moto tells services and regions apart by it."""
    service = _SIGNED_AS.get(service.lower(), service.lower())
    if service == "dynamodb" and request.headers.get("x-amz-target", "").startswith("DynamoDBStreams"):
        return f"streams.dynamodb.{region}.amazonaws.com"
    if service in ("s3", "s3express") and request.path.startswith(_S3_CONTROL):
        return f"{request.headers.get('x-amz-account-id', '0')}.s3-control.{region}.amazonaws.com"
    if service == "ses":
        return f"email.{region}.amazonaws.com"
    if service == "sagemaker":
        return f"api.sagemaker.{region}.amazonaws.com"
    return f"{service}.{region}.amazonaws.com"


def _moto_name(clean_url: str) -> str | None:
    from moto import backend_index

    for name, pattern in backend_index.backend_url_patterns:
        if pattern.match(clean_url):
            return str(name)
    return None


def _load() -> None:
    """Imports moto, and takes its handler out of botocore's defaults again: our own clients are made from them."""
    import moto.backends
    import moto.core.config
    import moto.core.models
    from botocore import handlers

    # AWS's own policies exist everywhere; moto has them only when it is told to.
    moto.core.config.default_user_config["iam"]["load_aws_managed_policies"] = True
    kept = [entry for entry in handlers.BUILTIN_HANDLERS if not type(entry[1]).__module__.startswith("moto.")]
    handlers.BUILTIN_HANDLERS[:] = kept


def _routes_of(name: str) -> list[tuple[re.Pattern[str], _Callback]]:
    from moto import backends
    from moto.core import DEFAULT_ACCOUNT_ID

    try:
        regions = backends.get_backend(name)[DEFAULT_ACCOUNT_ID]
    except ImportError as error:
        raise _not_implemented(
            f"moto's {name} needs the library {error.name}. `pip install 'moto[{name}]'` brings it."
        ) from error
    backend = regions["us-east-1" if "us-east-1" in regions else "aws"]
    return [(re.compile(url), callback) for url, callback in backend.urls.items()]


def _moto_request(host: str, caller: Caller, request: Request) -> Any:
    from moto.core import request as moto_request

    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": f"{request.path}?{request.query}" if request.query else request.path,
        "SERVER_NAME": host,
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
    }
    kept: dict[str, str] = {}
    for header, value in request.headers.items():
        key = moto_request.environ_key_for_header(header)
        environ[key] = value
        if moto_request.should_preserve_original_header_name(header):
            kept[key] = header
    environ |= {
        moto_request.PRESERVED_HEADER_NAMES_ENVIRON_KEY: kept,
        "CONTENT_LENGTH": str(len(request.body)),
        "HTTP_HOST": host,
        moto_request.environ_key_for_header(ACCOUNT_HEADER): caller.account,
    }
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    # moto takes callers without this header for anonymous ones; presigned requests carry their signature elsewhere.
    environ.setdefault(
        "HTTP_AUTHORIZATION",
        f"AWS4-HMAC-SHA256 Credential={caller.access_key_id}/20260101/{caller.region}/s3/aws4_request, "
        "SignedHeaders=host, Signature=0",
    )
    arrived = moto_request.Request(environ)
    arrived.from_wsgi_server = True  # it leaves the header Date to the server
    return arrived


def _response(status: int, headers: Mapping[str, Any], body: bytes, *, is_head: bool) -> Response:
    found: list[tuple[str, str]] = []
    for name, value in headers.items():
        if name.lower() == "status" or value is None:
            continue  # moto's own note of the status
        values = value if isinstance(value, list | tuple) else [value]
        found.extend((name, str(each)) for each in values)
    length = next((text for name, text in found if name.lower() == "content-length"), "")
    return Response(status, found, body, int(length) if is_head and length.isdigit() else None)


def _bytes(body: Any) -> bytes:
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    if isinstance(body, str):
        return body.encode("utf-8", "surrogateescape")
    if body is None:
        return b""
    if isinstance(body, Iterable):
        return b"".join(_bytes(part) for part in body)
    return str(body).encode()


def _reset() -> None:
    from moto.core.base_backend import BackendDict
    from moto.core.model_instances import reset_model_data

    BackendDict.reset()
    reset_model_data()


def _not_implemented(message: str) -> ServiceError:
    return ServiceError("NotImplemented", message, status=501)
