"""One contract over both channels and all kinds of runtimes: what an environment is told must be the same."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lambdad.domain.failures import RESPONSE_LIMIT_BYTES
from lambdad.execution.frames import FramesChannel
from tests.contracts import functions
from tests.contracts.launching import FUNCTION_ARN, TIMEOUT_MS, Plan, Started, own_node, own_python, start

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
needs_client = pytest.mark.skipif(importlib.util.find_spec("awslambdaric") is None, reason="no awslambdaric here")


def python_frames(**values: Any) -> Plan:
    return own_python(files={"main.py": functions.PYTHON}, **values)


def node_frames(**values: Any) -> Plan:
    return own_node("nodejs20.x", files={"main.js": functions.NODE}, **values)


def modern_node_frames(**values: Any) -> Plan:
    return own_node("nodejs24.x", files={"main.js": functions.NODE}, **values)


def node_ahead(**values: Any) -> Plan:
    return own_node("nodejs20.x", files={"main.js": functions.NODE}, ahead=True, **values)


def awslambdaric(**values: Any) -> Plan:
    argv = [sys.executable, "-m", "awslambdaric", values.get("handler", "main.handler")]
    # What the launcher of the client does on AWS: the function's folder is on the path.
    return Plan(
        runtime="provided.al2023",
        argv=argv,
        over_http=True,
        files={"main.py": functions.PYTHON},
        **({"environ": {"PYTHONPATH": "."}} | values),
    )


def bootstrap(**values: Any) -> Plan:
    return Plan(
        runtime="provided.al2023",
        argv=["./bootstrap"],
        over_http=True,
        files={"bootstrap": functions.BOOTSTRAP},
        **({"environ": {"PATH": str(Path(sys.executable).parent)}} | values),
    )


RUNTIMES = [
    pytest.param(python_frames, id="python"),
    pytest.param(node_frames, id="node20", marks=[needs_node, pytest.mark.node]),
    pytest.param(modern_node_frames, id="node24", marks=[needs_node, pytest.mark.node]),
    pytest.param(node_ahead, id="node-ahead", marks=[needs_node, pytest.mark.node]),
    pytest.param(awslambdaric, id="awslambdaric", marks=needs_client),
    pytest.param(bootstrap, id="bootstrap"),
]
Start = Callable[..., Awaitable[Started]]


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Callable[[Plan], Awaitable[Started]]]:
    running: list[Started] = []

    async def launch(plan: Plan) -> Started:
        running.append(await start(plan, tmp_path))
        return running[-1]

    yield launch
    for started in running:
        await started.stop()


@pytest.fixture(params=RUNTIMES)
async def runtime(request: pytest.FixtureRequest, launch: Callable[[Plan], Awaitable[Started]]) -> Start:
    """Starts the runtime under test."""

    async def start_it(**values: Any) -> Started:
        return await launch(request.param(**values))

    return start_it


def an_event(do: str, **values: Any) -> bytes:
    return json.dumps({"do": do, **values}, ensure_ascii=False).encode()


async def test_a_value_comes_back_as_it_went_in(runtime: Start) -> None:
    started = await (await runtime()).ready()
    value = {"text": "Grüße, 世界 🎉", "list": [1, 2.5, None, True], "nested": {"a": {}}}
    name, body, content_type, _ = await started.invoke(an_event("echo", value=value))
    assert (name, content_type) == ("responded", "application/json")
    assert json.loads(body) == value


async def test_an_invocation_may_be_delivered_before_init_is_over(runtime: Start) -> None:
    started = await runtime()
    started.deliver(an_event("echo", value=1))
    await started.ready()
    assert (await started.answer())[:2] == ("responded", b"1")


async def test_no_result_is_null(runtime: Start) -> None:
    started = await (await runtime()).ready()
    assert (await started.invoke(an_event("nothing")))[:2] == ("responded", b"null")


async def test_the_process_stays_between_invocations(runtime: Start) -> None:
    started = await (await runtime()).ready()
    answers = [(await started.invoke(an_event("count"), f"id-{n}"))[1] for n in range(3)]
    assert answers == [b"1", b"2", b"3"]


async def test_an_error_is_answered_and_the_process_stays(runtime: Start) -> None:
    started = await (await runtime()).ready()
    name, error_type, body, _ = await started.invoke(an_event("fail", message="schlimm: 世界"))
    assert (name, error_type) == ("failed", "Runtime.Unknown")
    error = json.loads(body)
    assert error["errorMessage"] == "schlimm: 世界"
    assert error["errorType"] in {"ValueError", "RangeError", "Failure"}
    assert (await started.invoke(an_event("echo", value=1), "id-2"))[:2] == ("responded", b"1")


@pytest.mark.parametrize("status", [0, 3])
async def test_an_exit_is_the_processs_end_and_no_answer(runtime: Start, status: int) -> None:
    started = await (await runtime()).ready()
    started.deliver(an_event("exit", status=status))
    assert await started.ended() == status
    assert {told[0] for told in started.events.told} <= {"ready", "channel_closed"}


async def test_a_handler_that_is_missing_fails_init(runtime: Start) -> None:
    started = await runtime(handler="main.absent")
    name, error_type, body = await started.events.next(30)
    assert (name, error_type) == ("init_failed", "Runtime.HandlerNotFound")
    assert json.loads(body)["errorType"] == "Runtime.HandlerNotFound"
    assert await started.ended() != 0


async def test_the_context_tells_all_about_the_invocation(runtime: Start) -> None:
    started = await (await runtime()).ready()
    _, body, _, _ = await started.invoke(
        an_event("context"),
        "8f507cfc-xmpl-4697-b07a-ac58fc914c95",
        client_context='{"custom": {"grüße": "世界"}, "client": {}, "env": {}}',
        tenant_id="blue",
        trace_id="Root=1-2-3;Sampled=1",
    )
    told = json.loads(body)
    assert 0 < told.pop("remaining") <= TIMEOUT_MS
    assert told == {
        "requestId": "8f507cfc-xmpl-4697-b07a-ac58fc914c95",
        "arn": FUNCTION_ARN,
        "name": "f",
        "version": "7",
        "memory": "256",
        "logGroup": "/aws/lambda/f",
        "logStream": "2026/01/31/[7]0123456789abcdef0123456789abcdef",
        "trace": "Root=1-2-3;Sampled=1",
        "custom": {"grüße": "世界"},
        "tenant": "blue",
    }


async def test_what_one_invocation_had_the_next_does_not_inherit(runtime: Start) -> None:
    started = await (await runtime()).ready()
    await started.invoke(an_event("context"), "id-1", client_context='{"custom": {"a": 1}}', tenant_id="blue")
    _, body, _, _ = await started.invoke(an_event("context"), "id-2", trace_id="Root=other")
    told = json.loads(body)
    assert (told["requestId"], told["custom"], told["tenant"], told["trace"]) == ("id-2", None, None, "Root=other")


async def test_the_largest_event_and_result_pass(runtime: Start) -> None:
    started = await (await runtime()).ready()
    value = "x" * (6_291_456 - len(an_event("echo", value="")))
    _, body, _, _ = await started.invoke(an_event("echo", value=value))
    assert body == json.dumps(value).encode()
    _, body, _, _ = await started.invoke(an_event("big", size=RESPONSE_LIMIT_BYTES), "id-2")
    assert len(body) == RESPONSE_LIMIT_BYTES


async def test_a_result_over_the_limit_is_told_and_dropped(runtime: Start) -> None:
    started = await (await runtime()).ready()
    assert await started.invoke(an_event("big", size=RESPONSE_LIMIT_BYTES + 1)) == ("response_too_large",)


async def test_what_is_printed_is_in_the_log_before_the_answer(runtime: Start) -> None:
    started = await (await runtime()).ready()
    logs: list[str] = []
    started.events.hooks["responded"] = lambda: logs.append(started.log())
    lines = [f"line {n}: ü" for n in range(500)]
    await started.invoke(an_event("print", lines=lines))
    assert logs[0].endswith("\n".join(lines) + "\n")


async def test_the_function_sees_its_environment_and_nothing_of_the_channel(runtime: Start) -> None:
    started = await (await runtime()).ready()
    _, body, _, _ = await started.invoke(an_event("environ"))
    environ = json.loads(body)
    assert environ["AWS_LAMBDA_FUNCTION_NAME"] == "f"
    assert environ["AWS_SECRET_ACCESS_KEY"] == "SK"
    assert not [name for name in environ if "LAMBDAD" in name]


@pytest.mark.parametrize(
    "make",
    [pytest.param(python_frames, id="python"), pytest.param(node_frames, id="node", marks=needs_node)],
)
async def test_child_processes_do_not_inherit_the_channel(
    make: Callable[..., Plan], launch: Callable[[Plan], Awaitable[Started]]
) -> None:
    started = await (await launch(make())).ready()
    _, body, _, _ = await started.invoke(an_event("descriptors"))
    sockets = re.findall(r"(\d+) -> socket:", json.loads(body))
    assert {int(number) for number in sockets} <= {0, 1, 2}


@pytest.mark.parametrize(
    "make",
    [pytest.param(python_frames, id="python"), pytest.param(node_frames, id="node", marks=needs_node)],
)
async def test_own_runtimes_end_when_the_server_goes(
    make: Callable[..., Plan], launch: Callable[[Plan], Awaitable[Started]]
) -> None:
    started = await (await launch(make())).ready()
    started.channel.close()
    assert await started.ended() == 0


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(python_frames, id="python"),
        pytest.param(node_frames, id="node20", marks=needs_node),
        pytest.param(modern_node_frames, id="node24", marks=needs_node),
        pytest.param(bootstrap, id="bootstrap"),
    ],
)
async def test_the_runtime_goes_on_after_a_result_over_the_limit(
    make: Callable[..., Plan], launch: Callable[[Plan], Awaitable[Started]]
) -> None:
    started = await (await launch(make())).ready()
    await started.invoke(an_event("big", size=RESPONSE_LIMIT_BYTES + 1))
    assert (await started.invoke(an_event("echo", value=1), "id-2"))[:2] == ("responded", b"1")


@needs_node
@pytest.mark.node
async def test_a_runtime_started_ahead_may_be_told_more_at_once(launch: Callable[[Plan], Awaitable[Started]]) -> None:
    started = await launch(node_ahead())
    assert isinstance(started.channel, FramesChannel)
    started.channel.keep_turning()  # before it has read whose it is
    await started.ready()
    assert (await started.invoke(an_event("echo", value=1)))[:2] == ("responded", b"1")
