"""A front door without sockets: real botocore clients send into it, and tests hand it requests of their own."""

from __future__ import annotations

import asyncio
import functools
import io
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from lambdad.domain.credentials import KnownKey, TemporaryKeys
from lambdad.http.messages import Request, Response
from lambdad.wire.access.gate import AuthMode, Gate
from lambdad.wire.access.hosts import HostNames
from lambdad.wire.front import FrontDoor
from lambdad.wire.service import Service

_session = functools.cache(boto3.Session)  # one for all: it reads each service's model once
SECRET = b"0123456789abcdef0123456789abcdef"


class Keys:
    """Issued keys, as tests name them."""

    def __init__(self, *keys: KnownKey) -> None:
        self._keys = {key.access_key_id: key for key in keys}

    def secret_for(self, access_key_id: str) -> KnownKey | None:
        return self._keys.get(access_key_id)


class FakeExchange:
    """Keeps the one answer that is sent."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.closed = False
        self.answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        self.callbacks: list[Callable[[], None]] = []

    def send(self, response: Response) -> None:
        self.answered.set_result(response)

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)


def a_front_door(
    *services: Service, mode: AuthMode = AuthMode.DEV, keys: Keys | None = None, **options: Any
) -> FrontDoor:
    gate = Gate(
        mode, keys or Keys(), TemporaryKeys(SECRET), **({"now": options.pop("now")} if "now" in options else {})
    )
    return FrontDoor(services, gate, HostNames("127.0.0.1"), **options)


async def ask(front: FrontDoor, request: Request) -> Response:
    """One request through head and handle, as the server would call them; bodies over the limit are refused."""
    body, request.body = request.body, b""
    policy = front.head(request)
    if isinstance(policy, Response):
        return policy
    if len(body) > policy.limit:
        assert policy.on_too_large is not None
        return policy.on_too_large(request, len(body))
    request.body = body
    exchange = FakeExchange(request)
    front.handle(exchange)  # type: ignore[arg-type]
    return await asyncio.wait_for(exchange.answered, 5)


def request_of(prepared: AWSPreparedRequest) -> Request:
    """What the HTTP server would make of a request that botocore sends."""
    url = urlsplit(prepared.url)
    headers = {name.lower(): _text(value) for name, value in prepared.headers.items()}
    headers.setdefault("host", url.netloc)
    body = prepared.body
    if hasattr(body, "read"):
        body = body.read()
    if isinstance(body, str):
        body = body.encode()
    return Request(prepared.method, url.path or "/", url.query, headers, body or b"")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class _Raw(io.BytesIO):
    def stream(self, *_: object, **__: object) -> Iterable[bytes]:
        yield self.read()


def a_client(
    name: str,
    front: FrontDoor,
    loop: asyncio.AbstractEventLoop,
    *,
    region: str = "us-east-1",
    key: str = "test",
    secret: str = "test",
    token: str | None = None,
    validate: bool = False,
) -> Any:
    """A boto3 client whose requests go straight into the front door. Use it in a thread: `await asyncio.to_thread`."""
    client = _session().client(
        name,
        endpoint_url="http://localhost:4566",
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=validate),
    )

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        answer = asyncio.run_coroutine_threadsafe(ask(front, request_of(request)), loop).result(10)
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Raw(answer.body))

    client.meta.events.register("before-send", send)
    return client


class Boto:
    """boto3 clients on one front door, for async tests: `await boto("sts").get_caller_identity()`."""

    def __init__(self, front: FrontDoor, **defaults: Any) -> None:
        self._front = front
        self._defaults = defaults
        self._clients: dict[Any, Any] = {}

    def __call__(self, name: str, **options: Any) -> Any:
        key = (name, *sorted(options.items()))
        if key not in self._clients:
            loop = asyncio.get_running_loop()
            self._clients[key] = a_client(name, self._front, loop, **{**self._defaults, **options})
        return _Async(self._clients[key])


class _Async:
    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        async def call(**params: Any) -> Any:
            return await asyncio.to_thread(method, **params)

        return call


@asynccontextmanager
async def booted(*services: Service, **options: Any) -> AsyncIterator[Boto]:
    """A front door with boto3 on it."""
    front = a_front_door(*services, **options)
    try:
        yield Boto(front)
    finally:
        await front.finish(1)
