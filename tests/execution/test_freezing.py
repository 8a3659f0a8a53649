"""When an environment is frozen and when it runs, played with scripted runtimes and a timer that a test fires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lambdad.clock import SystemClock
from lambdad.execution.freezing import Freezing
from lambdad.execution.journal import RuntimeVersion
from lambdad.execution.pool import Pool
from tests.execution.scripted import Caller, RecordedLogs, ScriptedRuntime, ScriptedSandbox, a_version


class HandTimer:
    """In the place of the event loop: time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._due = 0.0
        self._callback: Callable[[], None] | None = None

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> HandTimer:
        assert self._callback is None, "one timer for all"
        self._due, self._callback = self.now + delay_s, callback
        return self

    @property
    def is_set(self) -> bool:
        return self._callback is not None

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self._callback is not None and self._due <= end:
            callback, self._callback = self._callback, None
            self.now = self._due
            callback()
        self.now = end


class World:
    def __init__(self, after_s: float | None = 0.1) -> None:
        self.timer = HandTimer()
        self.sandbox = ScriptedSandbox()
        self.pool = Pool(
            sandbox=self.sandbox,
            logs=RecordedLogs(),
            clock=SystemClock(),
            runtime_version=lambda version: RuntimeVersion("python:3.12.v1", "arn:runtime"),
        )
        loop: Any = self.timer
        self.pool._freezing = Freezing(loop, after_s, now=lambda: self.timer.now)

    def call(self) -> Caller:
        caller = Caller()
        self.pool.of(a_version()).dispatch(caller.call)
        return caller

    async def warm(self) -> ScriptedRuntime:
        caller = self.call()
        runtime = await self.sandbox.next()
        runtime.events.ready()
        runtime.answers()
        await caller.result()
        return runtime


@pytest.fixture
async def world() -> World:
    return World()


async def test_an_idle_environment_is_frozen_and_thawed_for_the_next_call(world: World) -> None:
    runtime = await world.warm()
    world.timer.pass_time(0.09)
    assert not runtime.frozen
    world.timer.pass_time(0.11)
    assert runtime.frozen

    caller = world.call()
    assert not runtime.frozen
    assert len(runtime.delivered) == 2
    runtime.answers(b"2")
    assert (await caller.result()).payload == b"2"
    world.timer.pass_time(0.2)
    assert runtime.frozen


async def test_the_timer_rests_while_everything_is_frozen(world: World) -> None:
    await world.warm()
    assert world.timer.is_set
    world.timer.pass_time(0.2)
    assert not world.timer.is_set


async def test_one_that_is_called_again_and_again_is_never_frozen(world: World) -> None:
    runtime = await world.warm()
    for _ in range(20):
        world.timer.pass_time(0.06)
        assert runtime.freezes == 0
        caller = world.call()
        runtime.answers()
        await caller.result()


async def test_one_that_works_is_not_frozen(world: World) -> None:
    runtime = await world.warm()
    world.call()
    world.timer.pass_time(60)
    assert not runtime.frozen


async def test_one_whose_runtime_has_not_asked_for_the_next_call_is_not_frozen(world: World) -> None:
    caller = world.call()
    runtime = await world.sandbox.next()
    runtime.events.ready()
    runtime.events.responded(b"1", "application/json", 0)
    await caller.result()
    world.timer.pass_time(1)
    assert not runtime.frozen
    runtime.events.next_requested()
    world.timer.pass_time(0.2)
    assert runtime.frozen


async def test_init_is_not_frozen(world: World) -> None:
    world.call()
    runtime = await world.sandbox.next()
    world.timer.pass_time(5)
    assert not runtime.frozen


async def test_one_that_was_initialised_ahead_is_frozen(world: World) -> None:
    world.pool.new_environment(world.pool.of(a_version())).initialise()
    runtime = await world.sandbox.next()
    runtime.events.ready()
    world.timer.pass_time(0.2)
    assert runtime.frozen


async def test_a_frozen_one_is_killed_when_it_expires(world: World) -> None:
    runtime = await world.warm()
    world.timer.pass_time(0.2)
    world.pool.stop()
    assert runtime.killed
    assert not world.timer.is_set


async def test_what_ends_is_not_looked_at_any_more(world: World) -> None:
    runtime = await world.warm()
    world.pool.stop()
    world.timer.pass_time(0.2)
    assert runtime.freezes == 0
    assert not world.timer.is_set


async def test_off_freezes_nothing() -> None:
    world = World(after_s=None)
    runtime = await world.warm()
    world.timer.pass_time(60)
    assert runtime.freezes == 0
