"""Extensions, Telemetry and Logs API, called by hand over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambdad.execution.runtime_api.server import ExtensionsApi, address_of, bound_listener
from lambdad.http import HttpServer
from tests.execution.recording import RecordedEvents
from tests.execution.runtime_api.test_runtime_api import NEXT, Answer, Client
from tests.execution.scripted import Caller, Nobody, no_extensions

REGISTER = "/2020-01-01/extension/register"
EVENT = "/2020-01-01/extension/event/next"
INIT_ERROR = "/2020-01-01/extension/init/error"
EXIT_ERROR = "/2020-01-01/extension/exit/error"
TELEMETRY = "/2022-07-01/telemetry"
LOGS = "/2020-08-15/logs"
DESTINATION = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:9/"}


class Setup(Nobody):
    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.session = no_extensions(self)
        self.session.registry.expect(("outer",))
        listener = bound_listener()
        self.address = address_of(listener)
        self.api = ExtensionsApi(RecordedEvents(), self.session, listener)
        self.clients: list[Client] = []

    def extension_ready(self) -> None:
        self.asked.set()

    async def client(self) -> Client:
        host, port = self.address.split(":")
        self.clients.append(Client(*await asyncio.open_connection(host, int(port))))
        return self.clients[-1]

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        client = await self.client()
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.call(method, path, content, named)

    async def register(self, name: str = "outer", **members: Any) -> Answer:
        return await self.call("POST", REGISTER, members, Lambda_Extension_Name=name)

    async def identity(self, name: str = "outer", *events: str) -> dict[str, str]:
        answer = await self.register(name, events=list(events))
        return {"Lambda_Extension_Identifier": answer.headers["lambda-extension-identifier"]}


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    setup = Setup()
    yield setup
    for client in setup.clients:
        client.writer.close()
    setup.api.close()
    setup.session.close()


def error_of(answer: Answer) -> tuple[int, str, str]:
    error = json.loads(answer.body)
    assert list(error) == ["errorMessage", "errorType"]
    return answer.status, error["errorType"], error["errorMessage"]


async def test_a_registration_is_answered_with_the_function(setup: Setup) -> None:
    answer = await setup.register(events=["INVOKE", "SHUTDOWN"])
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "functionName": "greet",
        "functionVersion": "$LATEST",
        "handler": "app.handler",
    }
    assert len(answer.headers["lambda-extension-identifier"]) == 36


async def test_the_account_is_told_to_those_who_ask(setup: Setup) -> None:
    answer = await setup.call(
        "POST", REGISTER, {}, Lambda_Extension_Name="outer", Lambda_Extension_Accept_Feature="other, accountId"
    )
    assert json.loads(answer.body)["accountId"] == "000000000000"


@pytest.mark.parametrize(
    ("name", "body", "error_type"),
    [
        ("", {}, "Extension.InvalidExtensionName"),
        ("outer", {"events": ["START"]}, "Extension.InvalidEventType"),
        ("inner", {"events": ["SHUTDOWN"]}, "Extension.InvalidEventType"),
        ("outer", b"{", "InvalidRequestFormat"),
        ("outer", [], "InvalidRequestFormat"),
    ],
)
async def test_other_registrations_are_refused(setup: Setup, name: str, body: Any, error_type: str) -> None:
    answer = await setup.call("POST", REGISTER, body, Lambda_Extension_Name=name)
    assert error_of(answer)[:2] == (403, error_type)


async def test_next_waits_for_an_event(setup: Setup) -> None:
    identity = await setup.identity("outer", "INVOKE")
    waiting = asyncio.ensure_future(setup.call("GET", EVENT, **identity))
    await asyncio.wait_for(setup.asked.wait(), 5)
    setup.session.registry.invoke(Caller().invocation)
    answer = await waiting
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.headers["lambda-extension-event-identifier"]) == 36
    assert json.loads(answer.body)["eventType"] == "INVOKE"


@pytest.mark.parametrize(("method", "path"), [("GET", EVENT), ("POST", EXIT_ERROR), ("PUT", TELEMETRY)])
async def test_calls_need_an_identifier(setup: Setup, method: str, path: str) -> None:
    assert error_of(await setup.call(method, path)) == (
        403,
        "Extension.MissingExtensionIdentifier",
        "Missing Lambda-Extension-Identifier header",
    )


async def test_an_error_is_reported_once(setup: Setup) -> None:
    identity = await setup.identity()
    report = {**identity, "Lambda_Extension_Function_Error_Type": "Mine.Config"}
    answer = await setup.call("POST", INIT_ERROR, {"errorMessage": "no"}, **report)
    assert (answer.status, answer.body) == (202, b'{"status":"OK"}')
    assert error_of(await setup.call("GET", EVENT, **identity)) == (
        403,
        "Extension.InvalidExtensionState",
        "State transition from InitError to Ready failed for extension outer. Error: State transition is not allowed",
    )


async def test_init_errors_are_reported_in_init_alone(setup: Setup) -> None:
    identity = await setup.identity("outer", "INVOKE")
    waiting = asyncio.ensure_future(setup.call("GET", EVENT, **identity))
    await asyncio.wait_for(setup.asked.wait(), 5)
    report = {**identity, "Lambda_Extension_Function_Error_Type": "Mine.Config"}
    assert (await setup.call("POST", INIT_ERROR, {}, **report)).status == 403
    assert (await setup.call("POST", EXIT_ERROR, {}, **report)).status == 202
    waiting.cancel()


@pytest.mark.parametrize("path", [TELEMETRY, LOGS])
async def test_a_subscription_is_confirmed(setup: Setup, path: str) -> None:
    identity = await setup.identity()
    answer = await setup.call("PUT", path, {"types": ["platform"], "destination": DESTINATION}, **identity)
    assert (answer.status, answer.body) == (200, b"OK")


@pytest.mark.parametrize("body", [{"types": [], "destination": DESTINATION}, b"{", b""])
async def test_a_bad_subscription_is_told(setup: Setup, body: Any) -> None:
    identity = await setup.identity()
    assert error_of(await setup.call("PUT", TELEMETRY, body, **identity))[:2] == (400, "ValidationError")


async def test_an_environment_out_of_reach_has_no_telemetry(setup: Setup) -> None:
    setup.session.telemetry.address = ""
    answer = await setup.call(
        "PUT", TELEMETRY, {"types": ["platform"], "destination": DESTINATION}, **await setup.identity()
    )
    assert error_of(answer)[:2] == (202, "Telemetry.NotSupported")


async def test_subscriptions_are_made_in_init_alone(setup: Setup) -> None:
    identity = await setup.identity()
    setup.session.init_over()
    body = {"types": ["platform"], "destination": DESTINATION}
    assert error_of(await setup.call("PUT", LOGS, body, **identity)) == (
        403,
        "Logs.SubscriptionClosed",
        "Logs API subscription is closed already",
    )


async def test_a_runtime_that_speaks_frames_has_no_runtime_api(setup: Setup) -> None:
    assert (await setup.call("GET", NEXT)).status == 403


async def test_the_listener_is_a_bare_socket_until_somebody_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[HttpServer] = []
    start = HttpServer.start

    async def noted(server: HttpServer, *arguments: Any, **options: Any) -> None:
        started.append(server)
        await start(server, *arguments, **options)

    monkeypatch.setattr(HttpServer, "start", noted)
    setup = Setup()
    await asyncio.sleep(0)
    assert started == []
    assert (await setup.register()).status == 200
    assert len(started) == 1
    setup.api.close()


async def test_the_port_is_free_again_after_the_end() -> None:
    listener = bound_listener()
    host, port = address_of(listener).split(":")
    api = ExtensionsApi(RecordedEvents(), no_extensions(), listener)
    api.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection(host, int(port))
