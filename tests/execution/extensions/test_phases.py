"""Init, invocations and the end of environments with extensions, played with scripted runtimes."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from lambdad.domain import extensions as rules
from lambdad.domain.environments import State
from lambdad.domain.extensions import Call
from lambdad.domain.invocations import Ending
from lambdad.execution.extensions import shutdown
from lambdad.execution.spawner.client import PartEnd
from lambdad.execution.telemetry_api.stream import TelemetryStream
from tests.execution.extensions.playing import PlayedExtension
from tests.execution.scripted import REQUEST_ID, ScriptedRuntime, a_version
from tests.execution.telemetry_api.subscribing import Listener, a_subscription
from tests.execution.test_environment import World


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture
def short_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time to end in that runs out within a test."""
    monkeypatch.setattr(rules, "EXTERNAL_BUDGET_S", 0.05)
    monkeypatch.setattr(shutdown, "RUNTIME_SHARE_S", 0.01)


def a_part(extension: str, *, status: int | None = 0, signal: int | None = None) -> PartEnd:
    return PartEnd(extension=extension, status=status, signal=signal, oom_killed=False)


def expects(runtime: ScriptedRuntime, *names: str) -> None:
    """As the launcher does before it starts them."""
    runtime.extensions.registry.expect(names)


async def warm(world: World, *events: str, **changes: Any) -> tuple[Any, PlayedExtension]:
    """A runtime and an external extension that wait for an invocation."""
    caller = world.call(a_version(**changes))
    runtime = await world.sandbox.next()
    expects(runtime, "watcher")
    runtime.events.ready()
    extension = PlayedExtension(runtime.extensions.registry, "watcher", *events).asks()
    runtime.answers()
    if "INVOKE" in events:
        extension.asks()
    await caller.result()
    return runtime, extension


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_init_is_over_when_runtime_and_extensions_ask(world: World) -> None:
    caller = world.call()
    runtime = await world.sandbox.next()
    expects(runtime, "watcher")
    runtime.events.ready()
    extension = PlayedExtension(runtime.extensions.registry, "watcher", "INVOKE", "SHUTDOWN")
    assert runtime.delivered == []
    extension.asks()
    assert [invocation.request_id for invocation in runtime.delivered] == [REQUEST_ID]
    (event,) = extension.told
    assert event == {
        "eventType": "INVOKE",
        "deadlineMs": runtime.delivered[0].deadline_ms,
        "requestId": REQUEST_ID,
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:greet",
        "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1-0-0"},
    }
    assert "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" in world.logs.text
    runtime.answers()
    await caller.result()


async def test_the_caller_does_not_wait_for_extensions_but_the_environment_does(world: World) -> None:
    runtime, extension = await warm(world, "INVOKE")
    caller = world.call()
    runtime.answers(b"2")
    outcome = await caller.result()
    assert outcome.payload == b"2"
    assert runtime.events.state is State.FINISHING
    assert world.pool.statistics()["free"] == 0
    world.call()  # gets another environment
    assert len(runtime.delivered) == 2
    assert world.logs.text.count("REPORT") == 1
    extension.asks()
    assert runtime.events.state is State.READY
    assert world.pool.statistics()["free"] == 1
    assert world.logs.text.count("REPORT") == 2
    assert outcome.post_runtime_extensions_ms is not None
    assert outcome.post_runtime_extensions_ms > 0


async def test_the_runtime_is_waited_for_too(world: World) -> None:
    runtime, extension = await warm(world, "INVOKE")
    caller = world.call()
    runtime.events.responded(b"2", "application/json", 0)
    await caller.result()
    extension.asks()
    assert runtime.events.state is State.FINISHING
    runtime.events.next_requested()
    assert runtime.events.state is State.READY


async def test_an_extension_that_wants_no_invocations_is_not_waited_for(world: World) -> None:
    runtime, _ = await warm(world, "SHUTDOWN")
    caller = world.call()
    runtime.answers(b"2")
    await caller.result()
    assert runtime.events.state is State.READY


async def test_a_caller_who_wants_the_log_gets_all_of_it(world: World) -> None:
    runtime, extension = await warm(world, "INVOKE")
    caller = world.call(wants_tail=True)
    runtime.answers(b"2")
    await settle()
    assert not caller.outcome.done()
    extension.asks()
    outcome = await caller.result()
    assert outcome.payload == b"2"
    assert b"\nREPORT RequestId: " in outcome.log_tail


async def test_the_timeout_is_for_extensions_too(world: World) -> None:
    runtime, extension = await warm(world, "INVOKE", "SHUTDOWN")
    caller = world.call()
    runtime.answers(b"2")
    outcome = await caller.result()
    assert outcome.payload == b"2"  # the answer stands
    runtime.events.deadline_passed()  # the environment is its own deadline holder
    assert "\tDuration: 3000.00 ms\tBilled Duration: 3000 ms" in world.logs.text
    assert "\tStatus: timeout\n" in world.logs.text
    assert outcome.ending is Ending.SUCCESS
    await settle()
    assert runtime.terminated == [False]
    runtime.ended(a_part("", status=0))
    await settle()
    extension.asks()
    assert extension.told[-1]["shutdownReason"] == "timeout"


@pytest.mark.parametrize(
    ("call", "error_type", "message"),
    [
        (Call.INIT_ERROR, "Extension.InitError", "extension watcher reported an init error: Mine.Config"),
        (Call.EXIT_ERROR, "Extension.ExitError", "extension watcher reported an exit error: Mine.Config"),
        (None, "Extension.Crash", "exit code 3"),
    ],
)
async def test_an_extension_that_fails_in_init_fails_it_twice(
    world: World, short_budgets: None, call: Call | None, error_type: str, message: str
) -> None:
    caller = world.call()
    for _ in range(2):
        runtime = await world.sandbox.next()
        expects(runtime, "watcher")
        extension = PlayedExtension(runtime.extensions.registry, "watcher", "INVOKE").extension
        if call is None:
            runtime.ended(a_part("watcher", status=3))
        else:
            runtime.extensions.registry.report(extension, call, "Mine.Config")
    outcome = await caller.result()
    assert json.loads(outcome.payload) == {
        "errorType": error_type,
        "errorMessage": f"RequestId: {REQUEST_ID} Error: {message}",
    }
    assert f"\tPhase: init\tStatus: error\tError Type: {error_type}\n" in world.logs.text
    assert f"\tPhase: invoke\tStatus: error\tError Type: {error_type}\n" in world.logs.text
    if call is Call.INIT_ERROR:
        assert (
            "EXTENSION\tName: watcher\tState: InitError\tEvents: [INVOKE]\tError Type: Mine.Config\n" in world.logs.text
        )


async def test_an_extension_that_crashes_ends_the_invocation_and_resets(world: World, short_budgets: None) -> None:
    runtime, _ = await warm(world, "INVOKE", "SHUTDOWN")
    caller = world.call()
    runtime.ended(a_part("watcher", status=None, signal=9))
    outcome = await caller.result()
    assert json.loads(outcome.payload) == {
        "errorType": "Extension.Crash",
        "errorMessage": f"RequestId: {REQUEST_ID} Error: signal: killed",
    }
    assert "\tStatus: error\tError Type: Extension.Crash\n" in world.logs.text
    again = world.call()
    second = await world.sandbox.next()  # the same environment, once the first runtime is gone
    assert runtime.killed
    assert second.environment_id == runtime.environment_id
    second.events.ready()
    second.answers(b"3")
    assert (await again.result()).payload == b"3"


async def test_an_idle_environment_whose_extension_crashes_is_forgotten(world: World, short_budgets: None) -> None:
    runtime, _ = await warm(world, "INVOKE")
    runtime.ended(a_part("watcher", status=1))
    assert world.pool.statistics()["environments"] == 0


async def test_a_runtime_that_ends_leaves_extensions_time_to_hear_of_it(world: World) -> None:
    runtime, extension = await warm(world, "INVOKE", "SHUTDOWN")
    caller = world.call()
    extension.asks()
    runtime.ended(a_part("", status=7))
    outcome = await caller.result()
    assert json.loads(outcome.payload)["errorMessage"].endswith("Runtime exited with error: exit status 7")
    await settle()
    assert extension.told[-1]["shutdownReason"] == "failure"
    assert runtime.terminated == []  # it is gone
    assert not runtime.killed
    runtime.ended(a_part("watcher"))
    await settle()
    assert runtime.killed


async def test_the_next_invocation_does_not_pay_for_the_end_of_what_ran_before(
    world: World, short_budgets: None
) -> None:
    runtime, _ = await warm(world, "INVOKE", "SHUTDOWN")
    caller = world.call()
    runtime.ended(a_part("", status=1))
    await caller.result()
    called = time.monotonic()
    world.call()
    second = await world.sandbox.next()  # after the extension has used up its time
    assert second.events.deadline - a_version().timeout_s - called > 0.04  # type: ignore[attr-defined]


async def test_without_extensions_nothing_is_told_after_init(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = await world.warm()
    told: list[object] = []
    monkeypatch.setattr(TelemetryStream, "add", lambda _, *what: told.append(what))
    caller = world.call()
    runtime.prints("hello\n")
    runtime.answers()
    await caller.result()
    assert "hello" in world.logs.text
    assert told == []


# --- shutdown ---


async def test_without_extensions_the_end_is_sudden(world: World) -> None:
    runtime = await world.warm()
    world.pool.stop()
    assert runtime.killed
    assert runtime.terminated == []


async def test_the_runtime_ends_first_then_extensions_are_told(world: World) -> None:
    runtime, extension = await warm(world, "INVOKE", "SHUTDOWN")
    world.pool.stop()
    await settle()
    assert runtime.terminated == [False]
    assert runtime.silenced
    assert [event["eventType"] for event in extension.told] == ["INVOKE"]
    runtime.ended(a_part("", status=0))
    await settle()
    assert extension.told[-1]["eventType"] == "SHUTDOWN"
    assert extension.told[-1]["shutdownReason"] == "spindown"
    assert not runtime.killed
    ended = asyncio.ensure_future(world.pool.ended())
    await settle()
    assert not ended.done()
    runtime.ended(a_part("watcher"))
    await asyncio.wait_for(ended, 5)
    assert runtime.killed
    assert world.sandbox.released == [runtime.environment_id]


async def test_a_runtime_that_heeds_no_sigterm_is_killed_before_extensions_are_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown, "RUNTIME_SHARE_S", 0.01)
    runtime, extension = await warm(world, "INVOKE", "SHUTDOWN")
    world.pool.stop()
    assert (await extension.hears())["eventType"] == "SHUTDOWN"
    assert runtime.terminated == [False, True]


async def test_extensions_that_take_too_long_are_killed(world: World, short_budgets: None) -> None:
    runtime, extension = await warm(world, "INVOKE", "SHUTDOWN")
    world.pool.stop()
    await asyncio.wait_for(world.pool.ended(), 5)
    assert extension.told[-1]["eventType"] == "SHUTDOWN"
    assert runtime.killed


async def test_extensions_that_want_no_shutdown_are_not_waited_for(world: World) -> None:
    runtime, extension = await warm(world, "INVOKE")
    world.pool.stop()
    await settle()
    runtime.ended(a_part("", status=0))
    await asyncio.wait_for(world.pool.ended(), 5)
    assert runtime.killed
    assert len(extension.told) == 1


async def test_with_internal_extensions_alone_nothing_is_terminated(world: World) -> None:
    caller = world.call()
    runtime = await world.sandbox.next()
    inner = PlayedExtension(runtime.extensions.registry, "inner", "INVOKE")
    inner.asks()
    runtime.events.ready()
    runtime.answers()
    inner.asks()
    await caller.result()
    assert runtime.events.state is State.READY
    world.pool.stop()
    await asyncio.wait_for(world.pool.ended(), 5)
    assert runtime.killed
    assert runtime.terminated == []


async def test_a_frozen_environment_is_thawed_to_end(world: World) -> None:
    runtime, _ = await warm(world, "INVOKE", "SHUTDOWN")
    runtime.events.freeze()
    assert runtime.frozen
    world.pool.stop()
    assert not runtime.frozen


async def test_telemetry_on_its_way_keeps_an_environment_awake(world: World) -> None:
    caller = world.call()
    runtime = await world.sandbox.next()
    extension = PlayedExtension(runtime.extensions.registry, "inner").asks()
    listener = await Listener().open()
    listener.may_answer.clear()
    runtime.extensions.telemetry.subscribe("inner", a_subscription(listener.port))
    runtime.events.ready()
    runtime.answers()
    await caller.result()
    assert runtime.events.state is State.READY
    assert runtime.events.idle_mark() is None
    listener.may_answer.set()
    await runtime.extensions.telemetry.flushed()
    assert runtime.events.idle_mark() is not None
    assert extension.told == []
    world.pool.stop()
    await listener.close()
