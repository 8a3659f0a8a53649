"""Resolving addresses and running attempts, over scripted runtimes and functions in a dictionary."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lambdad.clock import SystemClock
from lambdad.domain.errors import RecursiveInvocation, ResourceConflict, ResourceNotFound, TooManyRequests
from lambdad.domain.functions import Alias, Function, FunctionSnapshot, FunctionVersion, State, StoredVersion
from lambdad.domain.identity import Caller
from lambdad.execution.journal import RuntimeVersion
from lambdad.execution.pool import Pool
from lambdad.invocation.admission import Admission
from lambdad.invocation.catalog import Catalog, Target
from lambdad.invocation.invoker import Invoker
from lambdad.telemetry import AttemptFinished, AttemptThrottled, Telemetry
from tests.execution.scripted import RecordedLogs, ScriptedSandbox, a_version

ACCOUNT, REGION = "000000000000", "us-east-1"
CALLER = Caller(account=ACCOUNT, region=REGION, access_key_id="test", arn="arn", user_id="u")


class Functions:
    """The stored functions; counts how often they are asked."""

    def __init__(self) -> None:
        self.snapshots: dict[str, FunctionSnapshot] = {}
        self.loads = 0

    def put(self, *versions: FunctionVersion, reserved: int | None = None, aliases: tuple[Alias, ...] = ()) -> None:
        name = versions[0].name
        self.snapshots[name] = FunctionSnapshot(
            function=Function(account=ACCOUNT, region=REGION, name=name, reserved_concurrency=reserved),
            versions={version.version: StoredVersion(current=version) for version in versions},
            aliases={alias.name: alias for alias in aliases},
        )

    async def load(self, account: str, region: str, name: str) -> FunctionSnapshot | None:
        self.loads += 1
        await asyncio.sleep(0)
        return self.snapshots.get(name) if (account, region) == (ACCOUNT, REGION) else None


class World:
    def __init__(self) -> None:
        self.functions = Functions()
        self.sandbox = ScriptedSandbox()
        self.rolls = iter([0.0])
        clock = SystemClock()
        pool = Pool(
            sandbox=self.sandbox,
            logs=RecordedLogs(),
            clock=clock,
            runtime_version=lambda version: RuntimeVersion("v", "arn"),
        )
        self.catalog = Catalog(self.functions, pool, Admission(10), roll=lambda: next(self.rolls))
        self.telemetry = Telemetry()
        self.invoker = Invoker(self.catalog, clock, self.telemetry)

    async def target(self, name: str = "greet", qualifier: str = "") -> Target:
        return await self.invoker.resolve(CALLER, name, qualifier)


@pytest.fixture
async def world() -> World:
    return World()


def an_alias(version: str, **changes: object) -> Alias:
    values: dict[str, object] = {"name": "prod", "revision_id": "r"}
    return Alias(account=ACCOUNT, region=REGION, function="greet", function_version=version, **(values | changes))  # type: ignore[arg-type]


async def test_a_resolved_address_is_found_without_loading(world: World) -> None:
    world.functions.put(a_version())
    target = await world.target()
    assert world.invoker.cached_target(ACCOUNT, REGION, "greet", "") is target
    assert world.functions.loads == 1


async def test_many_first_calls_load_once(world: World) -> None:
    world.functions.put(a_version())
    await asyncio.gather(*(world.target() for _ in range(20)))
    assert world.functions.loads == 1


async def test_a_change_is_seen_by_the_next_call(world: World) -> None:
    world.functions.put(a_version())
    await world.target()
    world.functions.put(a_version(generation=2, timeout_s=9))
    world.catalog.changed(ACCOUNT, REGION, "greet")
    assert world.invoker.cached_target(ACCOUNT, REGION, "greet", "") is None
    assert (await world.target()).version.timeout_s == 9


async def test_a_deleted_function_is_gone_at_once(world: World) -> None:
    world.functions.put(a_version())
    await world.target()
    del world.functions.snapshots["greet"]
    world.catalog.changed(ACCOUNT, REGION, "greet")
    with pytest.raises(ResourceNotFound, match=r"^Function not found: arn:aws:lambda:.*:function:greet:\$LATEST$"):
        await world.target()


async def test_a_change_during_a_load_is_not_lost(world: World) -> None:
    world.functions.put(a_version())
    slow = asyncio.create_task(world.target())
    await asyncio.sleep(0)
    world.functions.put(a_version(generation=2, timeout_s=9))
    world.catalog.changed(ACCOUNT, REGION, "greet")
    await slow
    assert (await world.target()).version.timeout_s == 9


@pytest.mark.parametrize("qualifier", ["7", "nobody"])
async def test_an_unknown_qualifier_is_named(world: World, qualifier: str) -> None:
    world.functions.put(a_version())
    with pytest.raises(ResourceNotFound, match=rf":function:greet:{qualifier}$"):
        await world.target("greet", qualifier)


async def test_a_pending_function_is_refused(world: World) -> None:
    world.functions.put(a_version(state=State.PENDING))
    target = await world.target()
    with pytest.raises(ResourceConflict, match=r"currently in the following state: Pending$"):
        world.invoker.check_state(target)
    assert world.invoker.cached_target(ACCOUNT, REGION, "greet", "") is None


async def test_during_an_update_the_old_version_serves(world: World) -> None:
    world.functions.put(a_version())
    snapshot = world.functions.snapshots["greet"]
    updating = StoredVersion(current=a_version(generation=2), previous=a_version())
    world.functions.snapshots["greet"] = replace(snapshot, versions={"$LATEST": updating})
    assert (await world.target()).version.generation == 1


async def test_weights_of_an_alias_choose_the_version(world: World) -> None:
    one, two = a_version(version="1"), a_version(version="2", generation=2)
    world.functions.put(a_version(), one, two, aliases=(an_alias("1", routing={"2": 0.3}),))
    target = await world.target("greet", "prod")
    world.rolls = iter([0.29, 0.3])
    assert world.invoker.version_of(target).version.version == "2"
    assert world.invoker.version_of(target).version.version == "1"
    assert target.invoked_arn.endswith(":function:greet:prod")


async def test_a_call_too_many_of_a_chain_is_refused_unless_the_function_allows_it(world: World) -> None:
    world.functions.put(a_version())
    target = await world.target()
    world.invoker.check_recursion(target, "Root=1-0-0;Lineage=15:b695919f:14")
    with pytest.raises(RecursiveInvocation):
        world.invoker.check_recursion(target, "Root=1-0-0;Lineage=16:b695919f:15")
    snapshot = world.functions.snapshots["greet"]
    allowing = replace(snapshot.function, recursive_loop="Allow")
    world.functions.snapshots["greet"] = replace(snapshot, function=allowing)
    world.catalog.changed(ACCOUNT, REGION, "greet")
    world.invoker.check_recursion(await world.target(), "Root=1-0-0;Lineage=16:b695919f:15")


async def test_an_attempt_frees_its_slot_and_is_told(world: World) -> None:
    world.functions.put(a_version(), reserved=1)
    finished: list[AttemptFinished] = []
    world.telemetry.attempt_finished.append(finished.append)
    target = await world.target()
    call = asyncio.create_task(world.invoker.invoke(target, request_id="id", event=b"1"))
    runtime = await world.sandbox.next()
    throttled: list[AttemptThrottled] = []
    world.telemetry.attempt_throttled.append(throttled.append)
    with pytest.raises(TooManyRequests):
        await world.invoker.invoke(target, request_id="other", event=b"1")
    runtime.events.ready()
    assert runtime.delivered[0].event == b"1"
    runtime.answers(b"2")
    outcome = await call
    assert outcome.payload == b"2"
    assert outcome.trace_id.startswith("Root=1-")
    assert [event.request_id for event in finished] == ["id"]
    assert [event.reason for event in throttled] == ["ReservedFunctionConcurrentInvocationLimitExceeded"]
    assert target.entry.slots.in_flight == 0
