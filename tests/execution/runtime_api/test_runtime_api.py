"""The HTTP Runtime API, called by hand: answers, order of calls, what the environment is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

import pytest

from lambdad.domain.failures import RESPONSE_LIMIT_BYTES
from lambdad.domain.invocations import Invocation
from lambdad.execution.runtime_api import RuntimeApi
from lambdad.execution.runtime_api.states import NEXT_STATE, WANTED, Call, State
from tests.execution.recording import RecordedEvents
from tests.execution.scripted import no_extensions

NEXT = "/2018-06-01/runtime/invocation/next"
INIT_ERROR = "/2018-06-01/runtime/init/error"
RESTORE_NEXT = "/2018-06-01/runtime/restore/next"
RESTORE_ERROR = "/2018-06-01/runtime/restore/error"
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"


def an_invocation(request_id: str = "id-1", event: bytes = b'{"a":1}', **values: Any) -> Invocation:
    return Invocation(
        request_id=request_id,
        event=event,
        deadline_ms=1_700_000_000_123,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:f",
        trace_id="Root=1-2-3;Parent=4;Sampled=0",
        **values,
    )


def response_of(request_id: str = "id-1") -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/response"


def error_of(request_id: str = "id-1") -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/error"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> tuple[int, str, str]:
        parsed = json.loads(self.body)
        assert list(parsed) == ["errorMessage", "errorType"]
        return self.status, parsed["errorType"], parsed["errorMessage"]


class Client:
    """One keep-alive connection of a runtime."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def call(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        self.send(method, path, body, headers)
        return await self.answer()

    def send(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def answer(self) -> Answer:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {}
            for line in head[1:-2]:
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(head[0].split(" ")[1]), headers, body)

    def begin_stream(self, path: str, content_type: str) -> None:
        self.writer.write(
            (
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n"
                f"Lambda-Runtime-Function-Response-Mode: streaming\r\nTrailer: {ERROR_TYPE}\r\n\r\n"
            ).encode()
        )

    def chunk(self, data: bytes) -> None:
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def end_stream(self, trailers: Iterable[tuple[str, str]] = ()) -> None:
        self.writer.write(b"0\r\n" + b"".join(f"{n}: {v}\r\n".encode() for n, v in trailers) + b"\r\n")


class Setup:
    def __init__(self, api: RuntimeApi, events: RecordedEvents) -> None:
        self.api = api
        self.events = events
        self.clients: list[Client] = []

    async def client(self) -> Client:
        host, port = self.api.address.split(":")
        self.clients.append(Client(*await asyncio.open_connection(host, int(port))))
        return self.clients[-1]

    async def running(self, request_id: str = "id-1") -> Client:
        """A runtime that has been handed an invocation."""
        client = await self.client()
        client.send("GET", NEXT)
        assert await self.events.next() == ("ready",)
        self.api.deliver(an_invocation(request_id))
        assert (await client.answer()).status == 200
        return client


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    events = RecordedEvents()
    setup = Setup(await RuntimeApi.open(events, no_extensions()), events)
    yield setup
    for client in setup.clients:
        client.writer.close()
    setup.api.close()


async def test_next_carries_every_header_of_the_invocation(setup: Setup) -> None:
    client = await setup.client()
    client.send("GET", NEXT)
    assert await setup.events.next() == ("ready",)
    setup.api.deliver(
        an_invocation(
            event="“ä”".encode(),
            client_context='{"custom":\r\n{"ä":"€"}}',
            cognito_identity='{"cognitoIdentityId":"x"}',
            tenant_id="blue",
        )
    )
    answer = await client.answer()
    assert (answer.status, answer.body.decode()) == (200, "“ä”")
    assert (
        answer.headers.items()
        >= {
            "content-type": "application/json",
            "lambda-runtime-aws-request-id": "id-1",
            "lambda-runtime-deadline-ms": "1700000000123",
            "lambda-runtime-invoked-function-arn": "arn:aws:lambda:us-east-1:123456789012:function:f",
            "lambda-runtime-trace-id": "Root=1-2-3;Parent=4;Sampled=0",
            "lambda-runtime-cognito-identity": '{"cognitoIdentityId":"x"}',
            "lambda-runtime-aws-tenant-id": "blue",
        }.items()
    )
    assert json.loads(answer.headers["lambda-runtime-client-context"].encode("latin-1")) == {"custom": {"ä": "€"}}


async def test_what_an_invocation_lacks_has_no_header(setup: Setup) -> None:
    client = await setup.client()
    client.send("GET", NEXT)
    await setup.events.next()
    setup.api.deliver(an_invocation())
    headers = (await client.answer()).headers
    assert not {name for name in headers if "context" in name or "cognito" in name or "tenant" in name}
    assert headers["content-type"] == "application/json"


async def test_an_invocation_delivered_during_init_waits_for_next(setup: Setup) -> None:
    setup.api.deliver(an_invocation("early"))
    answer = await (await setup.client()).call("GET", NEXT)
    assert answer.headers["lambda-runtime-aws-request-id"] == "early"


async def test_a_result_is_told_and_then_that_the_runtime_waits(setup: Setup) -> None:
    client = await setup.running()
    answer = await client.call("POST", response_of(), b'"x"', {"Content-Type": "text/plain"})
    assert (answer.status, answer.body) == (202, b'{"status":"OK"}')
    assert setup.events.told[-1] == ("responded", b'"x"', "text/plain", 0)
    client.send("GET", NEXT)
    assert (await setup.events.until("next_requested"))[-1] == ("next_requested",)
    setup.api.deliver(an_invocation("id-2"))
    assert (await client.answer()).headers["lambda-runtime-aws-request-id"] == "id-2"


async def test_an_invocation_delivered_before_the_runtime_asks_again_is_kept(setup: Setup) -> None:
    client = await setup.running()
    await client.call("POST", response_of(), b"1")
    setup.api.deliver(an_invocation("id-2"))
    assert (await client.call("GET", NEXT)).headers["lambda-runtime-aws-request-id"] == "id-2"


async def test_response_and_next_may_come_in_one_write(setup: Setup) -> None:
    client = await setup.running()
    client.send("POST", response_of(), b"1")
    client.send("GET", NEXT)
    assert (await client.answer()).status == 202
    await setup.events.until("next_requested")
    setup.api.deliver(an_invocation("id-2"))
    assert (await client.answer()).status == 200


async def test_an_error_is_told_with_its_body_unchanged(setup: Setup) -> None:
    client = await setup.running()
    body = b'{ "errorType" : "X","anything": [1] }'
    answer = await client.call("POST", error_of(), body, {ERROR_TYPE: "Runtime.SomeReason"})
    assert (answer.status, answer.body) == (202, b'{"status":"OK"}')
    assert setup.events.told[-1] == ("failed", "Runtime.SomeReason", body, 0)


@pytest.mark.parametrize(
    ("declared", "told"),
    [("Exception", "Runtime.Unknown"), ("Function.x", "Function.Unknown"), (None, "Runtime.Unknown")],
)
async def test_error_types_are_normalised(setup: Setup, declared: str | None, told: str) -> None:
    client = await setup.running()
    await client.call("POST", error_of(), b"{}", {ERROR_TYPE: declared} if declared else {})
    assert setup.events.told[-1][1] == told


async def test_an_error_with_its_cause_reaches_the_caller_without_it(setup: Setup) -> None:
    client = await setup.running()
    body = {"errorMessage": "m", "errorType": "T", "stackTrace": ["ä"], "errorCause": {"exceptions": []}}
    kind = "application/vnd.aws.lambda.error.cause+json"
    await client.call("POST", error_of(), json.dumps(body).encode(), {"Content-Type": kind})
    assert setup.events.told[-1][2].decode() == '{"errorMessage":"m","errorType":"T","stackTrace":["ä"]}'


async def test_an_error_cause_that_is_no_json_is_passed_on(setup: Setup) -> None:
    client = await setup.running()
    kind = "application/vnd.aws.lambda.error.cause+json"
    await client.call("POST", error_of(), b"not json", {"Content-Type": kind})
    assert setup.events.told[-1][2] == b"not json"


async def test_a_megabyte_of_xray_cause_in_a_header_is_accepted(setup: Setup) -> None:
    client = await setup.running()
    cause = {"Lambda-Runtime-Function-XRay-Error-Cause": "x" * (1 << 20)}
    assert (await client.call("POST", error_of(), b"{}", cause)).status == 202


async def test_an_init_error_is_told_and_nothing_may_follow(setup: Setup) -> None:
    client = await setup.client()
    answer = await client.call("POST", INIT_ERROR, b'{"a":1}', {ERROR_TYPE: "Runtime.ImportModuleError"})
    assert (answer.status, answer.body) == (202, b'{"status":"OK"}')
    assert setup.events.told == [("init_failed", "Runtime.ImportModuleError", b'{"a":1}')]
    assert (await client.call("GET", NEXT)).error == (
        403,
        "InvalidStateTransition",
        "State transition from InitError to Ready failed for runtime. Error: State transition is not allowed",
    )


INVALID_ID = (400, "InvalidRequestID", "Invalid request ID")


@pytest.mark.parametrize("path", [response_of("other"), error_of("other"), response_of("%00")])
async def test_another_invocations_id_is_refused(setup: Setup, path: str) -> None:
    client = await setup.running()
    assert (await client.call("POST", path, b"1")).error == INVALID_ID
    assert (await client.call("POST", response_of(), b"1")).status == 202


async def test_a_second_answer_is_refused(setup: Setup) -> None:
    client = await setup.running()
    await client.call("POST", response_of(), b"1")
    assert (await client.call("POST", response_of(), b"2")).error == INVALID_ID
    assert (await client.call("POST", error_of(), b"2")).error == INVALID_ID
    assert [told for told in setup.events.told if told[0] == "responded"] == [
        ("responded", b"1", "application/json", 0)
    ]


async def test_an_answer_to_the_invocation_before_is_refused(setup: Setup) -> None:
    client = await setup.running("id-1")
    await client.call("POST", response_of("id-1"), b"1")
    client.send("GET", NEXT)
    await setup.events.until("next_requested")
    late = await setup.client()
    assert (await late.call("POST", response_of("id-1"), b"late")).error == INVALID_ID
    setup.api.deliver(an_invocation("id-2"))
    await client.answer()
    assert (await late.call("POST", response_of("id-1"), b"late")).error == INVALID_ID


async def test_of_two_answers_in_flight_the_first_complete_one_counts(setup: Setup) -> None:
    client = await setup.running()
    slow = await setup.client()
    slow.writer.write(f"POST {response_of()} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nsl".encode())
    await slow.writer.drain()
    assert (await client.call("POST", response_of(), b"fast")).status == 202
    slow.writer.write(b"ow")
    assert (await slow.answer()).error == INVALID_ID


async def test_next_before_the_answer_is_refused(setup: Setup) -> None:
    client = await setup.running()
    status, error_type, message = (await client.call("GET", NEXT)).error
    assert (status, error_type) == (403, "InvalidStateTransition")
    assert "from Running to Ready" in message


async def test_an_answer_before_any_invocation_is_refused(setup: Setup) -> None:
    client = await setup.client()
    status, error_type, message = (await client.call("POST", response_of(), b"1")).error
    assert (status, error_type) == (403, "InvalidStateTransition")
    assert "from Started to InvocationResponse" in message
    assert "to InvocationErrorResponse" in (await client.call("POST", error_of(), b"1")).error[2]


async def test_an_init_error_after_init_is_refused(setup: Setup) -> None:
    client = await setup.running()
    assert (await client.call("POST", INIT_ERROR, b"{}")).error[:2] == (403, "InvalidStateTransition")


async def test_a_second_next_beside_a_waiting_one_is_refused(setup: Setup) -> None:
    first, second = await setup.client(), await setup.client()
    first.send("GET", NEXT)
    await setup.events.next()
    assert (await second.call("GET", NEXT)).error[1] == "InvalidStateTransition"
    setup.api.deliver(an_invocation())
    assert (await first.answer()).status == 200


async def test_a_runtime_whose_connection_broke_may_ask_again(setup: Setup) -> None:
    first = await setup.client()
    first.send("GET", NEXT)
    await setup.events.next()
    first.writer.close()
    await first.writer.wait_closed()
    second = await setup.client()
    while True:  # until the server has seen the first connection end
        second.send("GET", NEXT)
        setup.api.deliver(an_invocation()) if setup.api.state is State.READY else None
        answer = await second.answer()
        if answer.status == 200:
            break
    assert answer.headers["lambda-runtime-aws-request-id"] == "id-1"
    assert setup.events.told == [("ready",)]


@pytest.mark.parametrize("excess", [1, 1_000_000])
async def test_a_result_over_the_limit_ends_the_invocation_only(setup: Setup, excess: int) -> None:
    client = await setup.running()
    answer = await client.call("POST", response_of(), b"x" * (RESPONSE_LIMIT_BYTES + excess))
    assert answer.error == (
        413,
        "RequestEntityTooLarge",
        "Exceeded maximum allowed payload size (6291556 bytes).",
    )
    assert setup.events.told[-1] == ("response_too_large",)
    again = await setup.client()
    again.send("GET", NEXT)
    await setup.events.until("next_requested")


async def test_the_largest_result_passes(setup: Setup) -> None:
    client = await setup.running()
    body = b"x" * RESPONSE_LIMIT_BYTES
    assert (await client.call("POST", response_of(), body)).status == 202
    assert setup.events.told[-1][1] == body


async def test_an_oversized_result_with_a_wrong_id_is_nobodys(setup: Setup) -> None:
    client = await setup.running()
    answer = await client.call("POST", response_of("other"), b"x" * (RESPONSE_LIMIT_BYTES + 1))
    assert answer.error == INVALID_ID
    assert setup.events.told == [("ready",)]


async def test_curl_gets_its_continue(setup: Setup) -> None:
    client = await setup.running()
    head = f"POST {response_of()} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    client.writer.write(head.encode())
    async with asyncio.timeout(10):
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    client.writer.write(b"12")
    assert (await client.answer()).status == 202


async def test_a_streamed_result_is_passed_on_as_it_comes(setup: Setup) -> None:
    client = await setup.running()
    client.begin_stream(response_of(), "text/html")
    assert await setup.events.next() == ("stream_started", "text/html")
    client.chunk(b"one")
    assert await setup.events.next() == ("stream_chunk", b"one")
    client.chunk(b"two")
    assert await setup.events.next() == ("stream_chunk", b"two")
    client.end_stream()
    assert await setup.events.next() == ("stream_ended", "", b"", 0)
    assert (await client.answer()).status == 202
    client.send("GET", NEXT)
    assert await setup.events.next() == ("next_requested",)


@pytest.mark.parametrize(
    ("sent", "told"),
    [(base64.b64encode(b'{"errorType":"E"}').decode(), b'{"errorType":"E"}'), ("not base64!", b"not base64!")],
)
async def test_a_stream_may_end_in_an_error(setup: Setup, sent: str, told: bytes) -> None:
    client = await setup.running()
    client.begin_stream(response_of(), "text/html")
    client.chunk(b"part")
    client.end_stream([(ERROR_TYPE, "Function.Broke"), ("Lambda-Runtime-Function-Error-Body", sent)])
    assert (await setup.events.until("stream_ended"))[-1] == ("stream_ended", "Function.Broke", told, 0)


async def test_nothing_else_is_taken_while_a_stream_is_open(setup: Setup) -> None:
    client = await setup.running()
    client.begin_stream(response_of(), "text/html")
    await setup.events.until("stream_started")
    other = await setup.client()
    assert (await other.call("POST", response_of(), b"1")).error[1] == "InvalidStateTransition"
    assert (await other.call("GET", NEXT)).error[1] == "InvalidStateTransition"
    client.chunk(b"still")
    client.end_stream()
    await setup.events.until("stream_ended")


async def test_a_stream_for_a_closed_environment_goes_nowhere(setup: Setup) -> None:
    client = await setup.running()
    client.begin_stream(response_of(), "text/html")
    await setup.events.until("stream_started")
    setup.api.close()
    client.chunk(b"late")
    client.end_stream()
    with contextlib.suppress(ConnectionResetError):
        assert await client.reader.read() == b""
    assert setup.events.told[-1] == ("stream_started", "text/html")


async def test_an_unknown_response_mode_is_refused(setup: Setup) -> None:
    client = await setup.running()
    answer = await client.call("POST", response_of(), b"1", {"Lambda-Runtime-Function-Response-Mode": "both"})
    assert answer.error == (400, "InvalidFunctionResponseMode", "Invalid function response mode")
    assert (await client.call("POST", response_of(), b"1")).status == 202


async def test_restore_goes_through_at_once(setup: Setup) -> None:
    client = await setup.client()
    assert (await client.call("GET", RESTORE_NEXT)).status == 200
    assert (await client.call("GET", RESTORE_NEXT)).error[1] == "InvalidStateTransition"
    client.send("GET", NEXT)
    assert await setup.events.next() == ("ready",)


async def test_an_error_after_the_restore_is_a_failed_init(setup: Setup) -> None:
    client = await setup.client()
    assert (await client.call("POST", RESTORE_ERROR, b"{}")).error[1] == "InvalidStateTransition"
    await client.call("GET", RESTORE_NEXT)
    declared = {ERROR_TYPE: "Runtime.AfterRestoreError"}
    assert (await client.call("POST", RESTORE_ERROR, b"{}", declared)).status == 202
    assert setup.events.told == [("init_failed", "Runtime.AfterRestoreError", b"{}")]


@pytest.mark.parametrize(
    "path",
    ["/", "/2018-06-01/runtime/invocation//response", "/2018-06-01/runtime/invocation/id-1/other",
     "/2020-01-01/extension/unregister", "/2018-06-01/runtime/init/errors"],
)  # fmt: skip
async def test_unknown_paths_are_not_found(setup: Setup, path: str) -> None:
    client = await setup.running()
    assert (await client.call("POST", path, b"1")).status == 404


async def test_a_wrong_method_is_not_allowed(setup: Setup) -> None:
    client = await setup.client()
    assert (await client.call("POST", NEXT)).status == 405
    assert (await client.call("GET", INIT_ERROR)).status == 405


async def test_a_closed_environment_answers_nobody(setup: Setup) -> None:
    client = await setup.client()
    client.send("GET", NEXT)
    await setup.events.next()
    setup.api.close()
    setup.api.close()
    assert await client.reader.read() == b""
    setup.api.deliver(an_invocation())  # too late, and harmless
    assert setup.events.told == [("ready",)]


async def test_a_running_runtime_takes_no_second_invocation(setup: Setup) -> None:
    await setup.running()
    with pytest.raises(RuntimeError, match="Running"):
        setup.api.deliver(an_invocation("id-2"))


async def test_each_environment_has_its_own_address() -> None:
    apis = [await RuntimeApi.open(RecordedEvents(), no_extensions()) for _ in range(3)]
    assert len({api.address for api in apis}) == 3
    for api in apis:
        api.close()


def test_every_state_has_a_row_and_every_refusal_a_name() -> None:
    assert set(NEXT_STATE) == set(State)
    assert set(WANTED) == set(Call) - {Call.DELIVER, Call.STREAM_END}
