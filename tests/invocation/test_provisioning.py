"""Provisioned environments: made ahead of calls, kept, replaced, counted. Over scripted runtimes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lambdad.domain.errors import TooManyRequests
from lambdad.domain.functions import Alias, Function, FunctionSnapshot, FunctionVersion, State, StoredVersion
from lambdad.domain.invocations import Outcome
from lambdad.domain.provisioned import Allocation, ProvisionedConfig, ProvisionedStatus
from lambdad.execution.journal import RuntimeVersion
from lambdad.execution.pool import Pool
from lambdad.invocation.admission import Admission
from lambdad.invocation.catalog import Catalog
from lambdad.invocation.invoker import Invoker
from lambdad.invocation.provisioning import RETRY_S, SETTLE_S, STARTS_AT_ONCE, Provisioning
from lambdad.telemetry import AttemptFinished, Telemetry
from tests.event_queue.building import ManualClock
from tests.execution.scripted import RecordedLogs, ScriptedRuntime, ScriptedSandbox, a_version
from tests.invocation.test_invoker import ACCOUNT, CALLER, REGION

READY = Allocation(status=ProvisionedStatus.READY, allocated=1)
IN_PROGRESS = Allocation()


class World:
    """A server's middle: functions in a dictionary, scripted runtimes, a clock that is moved by hand."""

    def __init__(self, limit: int = 10) -> None:
        self.clock = ManualClock()
        self.sandbox = ScriptedSandbox()
        self.logs = RecordedLogs()
        self.pool = Pool(
            sandbox=self.sandbox,
            logs=self.logs,
            clock=self.clock,
            runtime_version=lambda version: RuntimeVersion("v", "arn"),
        )
        self.admission = Admission(limit)
        self.provisioning = Provisioning(self.pool)
        self.catalog = Catalog(self, self.pool, self.admission, provisioning=self.provisioning)
        telemetry = Telemetry()
        self.finished: list[AttemptFinished] = []
        telemetry.attempt_finished.append(self.finished.append)
        self.invoker = Invoker(self.catalog, self.clock, telemetry)
        self.snapshot: FunctionSnapshot | None = None

    async def load(self, account: str, region: str, name: str) -> FunctionSnapshot | None:
        return self.snapshot

    async def store(
        self,
        provisioned: dict[str, int],
        *versions: FunctionVersion,
        aliases: tuple[Alias, ...] = (),
        reserved: int | None = None,
    ) -> None:
        """Stores the function and lets what was asked for begin."""
        every = versions or (a_version(), a_version(version="1"), a_version(version="2"))
        self.snapshot = FunctionSnapshot(
            function=Function(account=ACCOUNT, region=REGION, name="greet", reserved_concurrency=reserved),
            versions={version.version: StoredVersion(current=version) for version in every},
            aliases={alias.name: alias for alias in aliases},
            provisioned=provisioned,
        )
        await self.told()

    async def told(self, wait_s: float = SETTLE_S) -> None:
        self.catalog.load(ACCOUNT, REGION, "greet")
        await self.catalog.entry(ACCOUNT, REGION, "greet")
        self.clock.advance(wait_s)
        await self.step()

    async def step(self) -> None:
        await self.provisioning.run_once()
        for _ in range(5):
            await asyncio.sleep(0)

    async def started(self, number: int = 1) -> list[ScriptedRuntime]:
        """The next runtimes, when their init is over."""
        runtimes = [await self.sandbox.next() for _ in range(number)]
        for runtime in runtimes:
            runtime.events.ready()
        return runtimes

    def allocation(self, qualifier: str = "1", requested: int = 1) -> Allocation:
        return self.provisioning.allocation(
            ProvisionedConfig(
                account=ACCOUNT,
                region=REGION,
                function="greet",
                qualifier=qualifier,
                requested=requested,
                last_modified="",
            )
        )

    async def call(self, qualifier: str = "1") -> list[Outcome]:
        """Starts a call; the list gets its outcome."""
        outcomes: list[Outcome] = []
        target = await self.invoker.resolve(CALLER, "greet", qualifier)
        self.invoker.start(target, self.invoker.version_of(target), request_id="r", event=b"{}", done=outcomes.append)
        return outcomes

    @property
    def boots(self) -> int:
        return len(self.sandbox.all)


@pytest.fixture
async def world() -> World:
    return World()


def an_alias(version: str, routing: dict[str, float] | None = None) -> Alias:
    return Alias(
        account=ACCOUNT,
        region=REGION,
        function="greet",
        name="live",
        function_version=version,
        routing=routing or {},
        revision_id="r",
    )


async def test_it_is_in_progress_until_every_environment_is_initialised(world: World) -> None:
    await world.store({"1": 2})
    assert world.allocation(requested=2) == IN_PROGRESS
    (first,) = await world.started()
    assert world.allocation(requested=2) == Allocation(allocated=1)
    second = await world.sandbox.next()
    second.events.ready()
    assert world.allocation(requested=2) == Allocation(status=ProvisionedStatus.READY, allocated=2)
    assert first.initialization_type == second.initialization_type == "provisioned-concurrency"


async def test_it_takes_a_moment_to_begin(world: World) -> None:
    await world.store({})
    world.snapshot = replace(world.snapshot, provisioned={"1": 1})  # type: ignore[type-var]
    await world.told(wait_s=0)
    assert world.boots == 0
    world.clock.advance(SETTLE_S)
    await world.step()
    assert world.boots == 1


async def test_a_call_finds_it_warm_and_its_report_has_no_init(world: World) -> None:
    await world.store({"1": 1})
    (runtime,) = await world.started()
    outcomes = await world.call()
    runtime.answers(b'"hi"')
    assert outcomes[0].payload == b'"hi"'
    assert outcomes[0].init_duration_ms is None
    assert world.finished[0].provisioned is True
    assert world.boots == 1


async def test_what_is_too_much_for_it_spills_over(world: World) -> None:
    await world.store({"1": 1})
    (kept,) = await world.started()
    await world.call()
    spilled = await world.call()
    on_demand = await world.sandbox.next()
    assert on_demand.initialization_type == "on-demand"
    on_demand.events.ready()
    on_demand.answers()
    kept.answers()
    assert spilled
    assert [one.provisioned for one in world.finished] == [False, True]


async def test_other_versions_are_none_of_its_business(world: World) -> None:
    await world.store({"1": 1})
    await world.started()
    await world.call("2")
    runtime = await world.sandbox.next()
    assert runtime.initialization_type == "on-demand"
    runtime.events.ready()
    runtime.answers()
    assert world.finished[0].provisioned is None


async def test_it_does_not_end_when_it_is_idle(world: World) -> None:
    await world.store({"1": 1})
    (runtime,) = await world.started()
    world.clock.advance(100_000)
    world.pool.expire_idle()
    assert not runtime.killed


async def test_one_that_breaks_is_made_again(world: World) -> None:
    await world.store({"1": 1})
    (runtime,) = await world.started()
    runtime.exit(status=1)
    await asyncio.sleep(0)
    assert world.allocation() == IN_PROGRESS
    await world.step()
    await world.started()
    assert world.allocation() == READY


async def test_one_that_breaks_during_a_call_is_made_again(world: World) -> None:
    await world.store({"1": 1})
    (runtime,) = await world.started()
    outcomes = await world.call()
    runtime.exit(signal=11)
    await asyncio.sleep(0)
    assert outcomes
    assert world.admission.function(ACCOUNT, REGION, "greet").in_flight == 0
    await world.step()
    await world.started()
    assert world.allocation() == READY
    assert world.sandbox.released == [runtime.environment_id]


async def test_init_that_fails_is_told_and_tried_again_after_a_while(world: World) -> None:
    await world.store({"1": 1})
    runtime = await world.sandbox.next()
    runtime.events.init_failed("E", b"{}")
    runtime.exit(status=1)
    await asyncio.sleep(0)
    await world.step()
    failed = Allocation(status=ProvisionedStatus.FAILED, reason="FUNCTION_ERROR_INIT_FAILURE")
    assert world.allocation() == failed
    world.clock.advance(RETRY_S - 1)
    await world.step()
    assert world.boots == 1
    world.clock.advance(1)
    await world.step()
    assert world.allocation() == failed
    (await world.sandbox.next()).events.ready()
    (again,) = world.sandbox.all[1:]
    assert world.allocation() == READY
    assert not again.killed


async def test_asking_once_more_tries_a_failed_one_at_once(world: World) -> None:
    await world.store({"1": 1})
    (await world.sandbox.next()).exit(status=1)
    await asyncio.sleep(0)
    await world.step()
    await world.told()
    await world.started()
    assert world.allocation() == READY


async def test_a_program_that_cannot_be_started_is_a_failed_init(world: World) -> None:
    world.sandbox.failure = "fork/exec /var/task/bootstrap: no such file or directory"
    await world.store({"1": 1})
    assert world.allocation().status is ProvisionedStatus.FAILED


async def test_fewer_end_the_idle_ones_now_and_busy_ones_later(world: World) -> None:
    await world.store({"1": 3})
    runtimes = await world.started(3)
    outcomes = await world.call()
    await world.store({"1": 1})
    assert [one.killed for one in runtimes].count(True) == 2
    assert not outcomes
    (busy,) = [one for one in runtimes if not one.killed]
    await world.store({})
    assert not busy.killed
    busy.answers()
    assert outcomes
    assert busy.killed


async def test_it_moves_with_the_alias(world: World) -> None:
    await world.store({"live": 1}, aliases=(an_alias("1"),))
    (first,) = await world.started()
    assert world.allocation("live") == READY
    await world.store({"live": 1}, aliases=(an_alias("2"),))
    assert first.killed
    assert world.allocation("live") == IN_PROGRESS
    (second,) = await world.started()
    assert world.allocation("live") == READY
    await world.call("live")
    assert second.delivered


async def test_weights_share_it(world: World) -> None:
    await world.store({"live": 4}, aliases=(an_alias("1", {"2": 0.25}),))
    await world.started(4)
    assert world.allocation("live", 4) == Allocation(status=ProvisionedStatus.READY, allocated=4)
    assert world.pool.of(a_version(version="1")).provisioned.allocated == 3  # type: ignore[union-attr]
    assert world.pool.of(a_version(version="2")).provisioned.allocated == 1  # type: ignore[union-attr]


async def test_only_so_many_start_at_once(world: World) -> None:
    await world.store({"1": STARTS_AT_ONCE + 1})
    assert world.boots == STARTS_AT_ONCE
    await world.started()
    await world.step()
    assert world.boots == STARTS_AT_ONCE + 1


async def test_a_version_that_is_not_active_waits(world: World) -> None:
    pending = a_version(version="1", state=State.PENDING)
    await world.store({"1": 1}, a_version(), pending)
    assert world.boots == 0
    await world.store({"1": 1}, a_version(), a_version(version="1"))
    assert world.boots == 1


async def test_a_function_that_is_made_again_has_new_environments(world: World) -> None:
    await world.store({"1": 1})
    (before,) = await world.started()
    await world.store({"1": 1}, a_version(), a_version(version="1", generation=7))
    assert before.killed
    await world.started()
    assert world.allocation() == READY


async def test_a_deleted_function_ends_them_and_frees_what_was_set_aside(world: World) -> None:
    await world.store({"1": 2})
    runtimes = await world.started(2)
    assert world.admission.account(ACCOUNT, REGION).set_aside == 2
    world.snapshot = None
    await world.told()
    assert all(runtime.killed for runtime in runtimes)
    assert world.admission.account(ACCOUNT, REGION).set_aside == 0


async def test_a_reservation_that_is_all_provisioned_leaves_nothing_on_demand(world: World) -> None:
    await world.store({"1": 2}, reserved=2)
    await world.started(2)
    with pytest.raises(TooManyRequests, match="Rate Exceeded") as refused:
        await world.call("$LATEST")
    assert refused.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    await world.call()
    await world.call()
    with pytest.raises(TooManyRequests):
        await world.call()


async def test_the_account_pool_shrinks_by_it(world: World) -> None:
    await world.store({"1": 9})
    await world.started(STARTS_AT_ONCE)
    await world.step()
    await world.started(1)
    await world.call("2")
    with pytest.raises(TooManyRequests):
        await world.call("2")
    await world.call("1")


async def test_the_most_that_were_busy(world: World) -> None:
    await world.store({"1": 2})
    runtimes = await world.started(2)
    await world.call()
    next(one for one in runtimes if one.delivered).answers()
    peaks = _values(world.provisioning.take_peaks())
    assert peaks == {
        ("greet", "1", "ProvisionedConcurrentExecutions"): 1,
        ("greet", "1", "ProvisionedConcurrencyUtilization"): 0.5,
    }
    assert set(_values(world.provisioning.take_peaks()).values()) == {0}


async def test_a_runtime_that_is_slow_to_ask_gives_its_call_away(world: World) -> None:
    await world.store({"1": 1})
    (runtime,) = await world.started()
    await world.call()
    runtime.events.responded(b"1", "application/json", 0)  # and does not ask for the next one
    again = await world.call()
    spilled = await world.sandbox.next()
    spilled.events.ready()
    spilled.answers()
    assert again
    runtime.events.next_requested()
    assert world.admission.function(ACCOUNT, REGION, "greet").in_flight == 0
    assert world.allocation() == READY


def _values(peaks: Iterator[tuple[str, str, str, str, str, float]]) -> dict[tuple[str, str, str], float]:
    return {(function, qualifier, metric): value for _, _, function, qualifier, metric, value in peaks}
