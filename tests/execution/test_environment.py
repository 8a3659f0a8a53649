"""The life of an execution environment, played with scripted runtimes."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from lambdad.clock import SystemClock
from lambdad.domain.environments import State
from lambdad.domain.invocations import Ending
from lambdad.execution import environment as environments
from lambdad.execution.journal import RuntimeVersion
from lambdad.execution.pool import Pool
from tests.execution.scripted import REQUEST_ID, Caller, RecordedLogs, ScriptedSandbox, a_version


class World:
    def __init__(self) -> None:
        self.sandbox = ScriptedSandbox()
        self.logs = RecordedLogs()
        self.clock = SystemClock()
        self.pool = Pool(
            sandbox=self.sandbox,
            logs=self.logs,
            clock=self.clock,
            runtime_version=lambda version: RuntimeVersion("python:3.12.v1", "arn:runtime"),
        )

    def call(self, version: object = None, *, wants_tail: bool = False) -> Caller:
        caller = Caller(wants_tail)
        self.pool.of(version or a_version()).dispatch(caller.call)  # type: ignore[arg-type]
        return caller

    async def warm(self, **changes: object) -> object:
        """A runtime that has served one call and waits."""
        caller = self.call(a_version(**changes))
        runtime = await self.sandbox.next()
        runtime.events.ready()
        runtime.answers()
        await caller.result()
        return runtime


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_cold_call_boots_and_reports_its_init(world: World) -> None:
    caller = world.call(wants_tail=True)
    runtime = await world.sandbox.next()
    runtime.prints("module loaded\n")
    runtime.events.ready()
    runtime.prints("hello\n")
    runtime.answers(b'"hi"', peak_kib=40 * 1024)
    outcome = await caller.result()

    assert outcome.payload == b'"hi"'
    assert outcome.ending is Ending.SUCCESS
    assert outcome.init_duration_ms is not None
    assert outcome.billed_duration_ms >= outcome.init_duration_ms + outcome.duration_ms
    assert outcome.max_memory_used_mb == 40
    lines = world.logs.text.splitlines()
    assert lines[0] == "INIT_START Runtime Version: python:3.12.v1\tRuntime Version ARN: arn:runtime"
    assert lines[1:5] == [
        "module loaded",
        f"START RequestId: {REQUEST_ID} Version: $LATEST",
        "hello",
        f"END RequestId: {REQUEST_ID}",
    ]
    assert re.fullmatch(
        rf"REPORT RequestId: {REQUEST_ID}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: 40 MB\tInit Duration: [\d.]+ ms\t",
        lines[5],
    )
    assert outcome.log_tail.decode() == world.logs.text


async def test_a_runtime_that_is_ready_before_the_spawner_has_answered(world: World) -> None:
    world.sandbox.ready_at_once = True
    caller = world.call()
    runtime = await world.sandbox.next()
    await asyncio.sleep(0)
    runtime.answers(b"1")
    assert (await caller.result()).payload == b"1"


async def test_a_warm_call_reuses_the_environment(world: World) -> None:
    runtime = await world.warm()
    caller = world.call()
    runtime.answers(b"2")
    outcome = await caller.result()

    assert outcome.payload == b"2"
    assert outcome.init_duration_ms is None
    assert len(world.sandbox.all) == 1
    assert len(runtime.delivered) == 2
    assert world.logs.text.count("INIT_START") == 1


async def test_calls_at_once_get_environments_of_their_own(world: World) -> None:
    callers = [world.call() for _ in range(3)]
    for number in range(3):
        runtime = await world.sandbox.next()
        runtime.events.ready()
        runtime.answers(str(number).encode())
    assert {(await caller.result()).payload for caller in callers} == {b"0", b"1", b"2"}
    assert world.pool.statistics() == {"environments": 3, "free": 3, "created": 3}


async def test_the_most_recently_used_environment_is_taken_first(world: World) -> None:
    first, second = world.call(), world.call()
    runtimes = [await world.sandbox.next(), await world.sandbox.next()]
    for runtime in runtimes:
        runtime.events.ready()
    runtimes[1].answers()
    runtimes[0].answers()
    await first.result()
    await second.result()
    world.call()
    assert len(runtimes[0].delivered) == 2
    assert len(runtimes[1].delivered) == 1


async def test_a_timeout_kills_the_process_and_keeps_the_environment(world: World) -> None:
    runtime = await world.warm(timeout_s=1)
    caller = world.call(a_version(timeout_s=1), wants_tail=True)
    environment_id = runtime.environment_id
    runtime.events.deadline_passed()  # type: ignore[attr-defined] # the environment is its own deadline holder
    outcome = await caller.result()

    assert json.loads(outcome.payload) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {REQUEST_ID} Error: Task timed out after 1.00 seconds",
    }
    assert runtime.killed
    assert runtime.closed
    assert "Duration: 1000.00 ms\tBilled Duration: 1000 ms" in outcome.log_tail.decode()
    assert outcome.log_tail.endswith(b"\tStatus: timeout\n")

    again = world.call(a_version(timeout_s=1))
    second = await world.sandbox.next()
    assert second.environment_id == environment_id
    second.events.ready()
    second.answers(b"3")
    outcome = await again.result()
    assert outcome.init_duration_ms is None
    assert world.logs.text.count("INIT_START") == 1
    assert len(world.logs.streams) == 1


async def test_the_deadline_strikes_in_real_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = world.call(a_version(timeout_s=0.02))  # the model allows whole seconds only; the rule does not mind
    runtime = await world.sandbox.next()
    runtime.events.ready()
    outcome = await caller.result()
    assert outcome.ending is Ending.TIMEOUT
    assert outcome.duration_ms == 20.0


@pytest.mark.parametrize(
    ("end", "message", "reported"),
    [
        ({"status": 0}, "Runtime exited without providing a reason", "Runtime.ExitError"),
        ({"status": 7}, "Runtime exited with error: exit status 7", "Runtime.ExitError"),
        ({"signal": 11}, "Runtime exited with error: signal: segmentation fault", "Runtime.ExitError"),
        ({"signal": 9, "oom": True}, "Runtime exited with error: signal: killed", "Runtime.OutOfMemory"),
    ],
)
async def test_an_exit_answers_with_its_reason(world: World, end: dict[str, int], message: str, reported: str) -> None:
    runtime = await world.warm()
    caller = world.call()
    runtime.exit(**end)
    outcome = await caller.result()

    assert json.loads(outcome.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {REQUEST_ID} Error: {message}",
    }
    assert f"\tStatus: error\tError Type: {reported}\n" in world.logs.text
    assert f"RequestId: {REQUEST_ID} Error: {message}|Runtime.ExitError\n" in world.logs.text


async def test_failing_init_is_run_twice_and_then_told(world: World) -> None:
    caller = world.call()
    payload = b'{"errorMessage": "boom", "errorType": "Runtime.ImportModuleError", "requestId": "", "stackTrace": []}'
    for _ in range(2):
        runtime = await world.sandbox.next()
        runtime.events.init_failed("Runtime.ImportModuleError", payload)
        runtime.exit(status=1)
    outcome = await caller.result()

    assert outcome.payload == payload
    assert outcome.error_type == "Runtime.ImportModuleError"
    reports = [line for line in world.logs.text.splitlines() if line.startswith("INIT_REPORT")]
    assert [re.sub(r"[\d.]+ ms", "N ms", line) for line in reports] == [
        "INIT_REPORT Init Duration: N ms\tPhase: init\tStatus: error\tError Type: Runtime.ImportModuleError",
        "INIT_REPORT Init Duration: N ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError",
    ]
    kinds = [line.split()[0] for line in world.logs.text.splitlines()]
    assert kinds == ["INIT_START", "INIT_REPORT", "INIT_REPORT", "START", "END", "REPORT"]
    assert "\tStatus: error\tError Type: Runtime.ImportModuleError\n" in world.logs.text


async def test_an_init_that_fails_once_serves_the_call(world: World) -> None:
    caller = world.call()
    (await world.sandbox.next()).exit(status=1)
    second = await world.sandbox.next()
    second.events.ready()
    second.answers(b"1")
    outcome = await caller.result()
    assert outcome.payload == b"1"
    assert outcome.init_duration_ms is None


async def test_init_that_takes_too_long_runs_again_under_the_functions_timeout(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "INIT_LIMIT_S", 0.01)
    caller = world.call(a_version(timeout_s=0.03))
    first = await world.sandbox.next()
    second = await world.sandbox.next()
    outcome = await caller.result()
    assert first.killed
    assert second.killed
    assert outcome.ending is Ending.TIMEOUT
    assert "\tPhase: init\tStatus: timeout\n" in world.logs.text
    # The second one is told too, ahead of START (AWS: logs).
    assert world.logs.text.index("\tPhase: invoke\tStatus: timeout\n") < world.logs.text.index("START RequestId")


async def test_an_entry_point_that_cannot_run_is_told(world: World) -> None:
    world.sandbox.failure = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
    outcome = await world.call().result()
    assert json.loads(outcome.payload) == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": f"RequestId: {REQUEST_ID} Error: "
        "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
    }


async def test_a_call_waits_for_a_runtime_that_has_answered_but_not_asked(world: World) -> None:
    runtime = await world.warm()
    first = world.call()
    runtime.events.responded(b"1", "application/json", 0)
    await first.result()
    second = world.call()
    assert len(runtime.delivered) == 2
    runtime.events.next_requested()
    assert len(runtime.delivered) == 3
    runtime.answers(b"2")
    assert (await second.result()).payload == b"2"
    assert len(world.sandbox.all) == 1


async def test_a_runtime_that_does_not_ask_in_time_loses_the_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "NEXT_GRACE_S", 0.005)
    runtime = await world.warm()
    first = world.call()
    runtime.events.responded(b"1", "application/json", 0)
    await first.result()
    second = world.call()
    fresh = await world.sandbox.next()
    fresh.events.ready()
    fresh.answers(b"2")
    assert (await second.result()).payload == b"2"


async def test_a_runtime_that_ends_after_its_answer_costs_no_call(world: World) -> None:
    runtime = await world.warm()
    first = world.call()
    runtime.events.responded(b"1", "application/json", 0)
    await first.result()
    second = world.call()
    runtime.exit(status=0)
    fresh = await world.sandbox.next()
    fresh.events.ready()
    fresh.answers(b"2")
    assert (await second.result()).payload == b"2"


async def test_an_idle_runtime_that_dies_is_forgotten(world: World) -> None:
    runtime = await world.warm()
    runtime.exit(signal=9)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.pool.statistics()["environments"] == 0
    assert world.sandbox.released == [runtime.environment_id]


async def test_a_new_generation_gets_new_environments_and_old_ones_finish(world: World) -> None:
    idle, busy_caller = await world.warm(), None
    busy_caller = world.call()
    other = world.call()
    second = await world.sandbox.next()
    second.events.ready()
    second.answers()
    await other.result()

    world.pool.renew(a_version(generation=2))
    assert second.killed
    assert not idle.killed
    idle.answers(b"old")
    assert (await busy_caller.result()).payload == b"old"
    assert idle.killed

    new_caller = world.call(a_version(generation=2))
    fresh = await world.sandbox.next()
    fresh.events.ready()
    fresh.answers(b"new")
    assert (await new_caller.result()).payload == b"new"


async def test_idle_environments_end_with_the_services_clock(world: World) -> None:
    runtime = await world.warm()
    world.pool.expire_idle()
    assert not runtime.killed
    world.clock.advance(3600)
    world.pool.expire_idle()
    assert runtime.killed
    assert world.pool.statistics()["environments"] == 0


async def test_a_response_that_is_too_large_leaves_the_environment_usable(world: World) -> None:
    runtime = await world.warm()
    caller = world.call()
    runtime.events.response_too_large()
    runtime.events.next_requested()
    outcome = await caller.result()
    assert outcome.payload == (
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).",'
        b'"errorType":"Function.ResponseSizeTooLarge"}'
    )
    world.call()
    assert len(runtime.delivered) == 3


async def test_output_after_the_answer_belongs_to_no_request(world: World) -> None:
    runtime = await world.warm()
    runtime.prints("from a thread\n")
    caller = world.call(wants_tail=True)
    runtime.answers()
    outcome = await caller.result()
    # What is still in the pipe when a call begins cannot be told apart; once it was read, it is in no tail.
    assert "from a thread" in world.logs.text
    assert outcome.log_tail.decode().startswith("START")


async def test_a_million_bytes_of_output_are_read_in_bounded_pieces(world: World) -> None:
    runtime = await world.warm()
    caller = world.call(wants_tail=True)
    line = "x" * 999 + "\n"
    for _ in range(1000):
        runtime.prints(line)
        await asyncio.sleep(0)
    runtime.answers()
    outcome = await caller.result()
    assert world.logs.text.count(line) == 1000
    assert len(outcome.log_tail) == 4096


async def test_a_streamed_answer_goes_through_the_sink(world: World) -> None:
    class Sink:
        def __init__(self) -> None:
            self.seen: list[object] = []

        def started(self, content_type: str, flow: object) -> None:
            self.seen.append(content_type)

        def chunk(self, data: bytes) -> None:
            self.seen.append(data)

    runtime = await world.warm()
    caller, sink = Caller(), Sink()
    call = caller.call
    call.sink = sink
    world.pool.of(a_version()).dispatch(call)
    runtime.events.stream_started("text/plain")
    runtime.events.stream_chunk(b"a")
    runtime.events.stream_chunk(b"b")
    runtime.events.stream_ended("", b"", 0)
    runtime.events.next_requested()
    assert (await caller.result()).payload == b""
    assert sink.seen == ["text/plain", b"a", b"b"]


async def test_a_streamed_answer_is_gathered_for_a_caller_who_wants_it_whole(world: World) -> None:
    runtime = await world.warm()
    caller = world.call()
    runtime.events.stream_started("text/plain")
    runtime.events.stream_chunk(b"a")
    runtime.events.stream_chunk(b"b")
    runtime.events.stream_ended("", b"", 0)
    outcome = await caller.result()
    assert outcome.payload == b"ab"
    assert outcome.content_type == "text/plain"


async def test_stopping_answers_what_runs(world: World) -> None:
    runtime = await world.warm()
    caller = world.call()
    world.pool.stop()
    outcome = await caller.result()
    assert outcome.ending is Ending.FAILURE
    assert runtime.killed
    await asyncio.sleep(0)
    assert world.sandbox.released == [runtime.environment_id]
    assert runtime.events.state is State.STOPPED  # type: ignore[attr-defined]
