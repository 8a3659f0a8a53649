"""Runtimes that wait for a function: made after the first use of a shape, taken, replaced, let go."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from lambdad.execution import frames
from lambdad.execution.prestarted import (
    PER_SHAPE,
    SHAPES,
    BoundCode,
    PrestartedRuntimes,
    Shape,
    Waiting,
    can_be_bound,
)
from lambdad.execution.runtimes.interpreters import Interpreters
from tests.execution.spawner.conftest import Bench, MakeBench, needs_root

NODE = next((found for name in ("node24", "node22", "node20") if (found := Interpreters().find(name))), None)
pytestmark = [
    needs_root,
    pytest.mark.node,
    pytest.mark.skipif(NODE is None, reason="Node.js 20 or newer is not installed"),
]
SHAPE = Shape(
    runtime="nodejs20.x",
    interpreter=NODE.path if NODE else "",
    argv=("/var/runtime/index.mjs",),
    memory_mb=256,
    tmp_mb=64,
)
VARIABLES = {"_HANDLER": "index.handler", "LAMBDA_TASK_ROOT": "/var/task"}


class World:
    def __init__(self, bench: Bench, idle_timeout_s: float) -> None:
        self.bench = bench
        self.runtimes = PrestartedRuntimes(bench.client, idle_timeout_s=idle_timeout_s)
        self.code = bench.code(index__mjs="export const handler = async () => 1;")

    async def take(self, shape: Shape = SHAPE) -> Waiting | None:
        code = BoundCode(os.urandom(16).hex(), self.code, "", VARIABLES)
        return await self.runtimes.bound(shape, code)

    @property
    def waiting(self) -> int:
        return self.runtimes.statistics()["waiting"]


@pytest_asyncio.fixture(loop_scope="package")
async def world(make_bench: MakeBench) -> AsyncIterator[World]:
    made = World(await make_bench(), idle_timeout_s=600)
    yield made
    made.runtimes.close()


async def test_the_first_of_a_shape_finds_none_and_the_next_one_does(world: World) -> None:
    assert await world.take() is None
    await world.runtimes.wait_filled()
    assert world.waiting == PER_SHAPE
    taken = await world.take()
    assert taken is not None
    taken.channel.setblocking(True)
    ready = await asyncio.to_thread(taken.channel.recv, 5)
    assert ready[4] == frames.Kind.READY
    await world.runtimes.wait_filled()
    assert world.waiting == PER_SHAPE
    taken.discard()


async def test_other_shapes_are_not_served(world: World) -> None:
    world.runtimes.want(SHAPE)
    await world.runtimes.wait_filled()
    assert await world.take(replace(SHAPE, memory_mb=512)) is None


async def test_one_that_died_meanwhile_is_not_given_to_anybody(world: World) -> None:
    world.runtimes.want(SHAPE)
    await world.runtimes.wait_filled()
    dead, alive = world.runtimes._waiting[SHAPE]
    dead.process.kill()
    await dead.process.exited
    assert await world.take() is alive
    alive.discard()


async def test_one_that_cannot_be_bound_is_not_used(world: World) -> None:
    world.runtimes.want(SHAPE)
    await world.runtimes.wait_filled()
    code = BoundCode(os.urandom(16).hex(), "/does/not/exist", "", VARIABLES)
    assert await world.runtimes.bound(SHAPE, code) is None


async def test_only_the_last_used_shapes_have_some(world: World) -> None:
    shapes = [replace(SHAPE, memory_mb=256 + number) for number in range(SHAPES + 1)]
    for shape in shapes:
        world.runtimes.want(shape)
        await world.runtimes.wait_filled()
    assert world.waiting == SHAPES * PER_SHAPE
    assert await world.take(shapes[0]) is None


async def test_they_go_when_nobody_wants_them(make_bench: MakeBench) -> None:
    world = World(await make_bench(), idle_timeout_s=0.3)
    world.runtimes.want(SHAPE)
    await world.runtimes.wait_filled()
    kept = list(world.runtimes._waiting[SHAPE])
    await asyncio.wait_for(asyncio.gather(*(one.process.exited for one in kept)), 10)
    assert world.waiting == 0
    world.runtimes.close()


async def test_none_is_left_after_the_end(world: World) -> None:
    world.runtimes.want(SHAPE)
    await world.runtimes.wait_filled()
    kept = list(world.runtimes._waiting[SHAPE])
    world.runtimes.close()
    await asyncio.wait_for(asyncio.gather(*(one.process.exited for one in kept)), 10)
    world.runtimes.want(SHAPE)
    assert world.waiting == 0


@pytest.mark.parametrize("name", ["NODE_OPTIONS", "NODE_PATH", "AWS_LAMBDA_EXEC_WRAPPER", "LD_PRELOAD", "LC_ALL", "TZ"])
def test_what_node_looks_at_when_it_starts(name: str) -> None:
    assert not can_be_bound({"OWN": "1", name: "x"})
    assert can_be_bound({"OWN": "1"})
    assert can_be_bound(None)
