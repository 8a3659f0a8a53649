"""Sleeping in the service's time."""

from __future__ import annotations

import asyncio

from lambdad.clock import Sleeper, SystemClock
from tests.neighbours.sqs.conftest import StillClock


async def test_a_jump_of_the_clock_ends_the_sleeps_that_it_has_overtaken() -> None:
    clock = StillClock()
    sleeper = Sleeper(clock)
    short, long = (asyncio.create_task(sleeper.sleep(seconds)) for seconds in (10, 20))
    await asyncio.sleep(0)
    clock.advance(10)
    await asyncio.wait_for(short, 5)
    assert not long.done()
    clock.advance(10)
    await asyncio.wait_for(long, 5)


async def test_time_that_is_set_back_makes_no_sleep_longer() -> None:
    clock = SystemClock()
    sleeper = Sleeper(clock)
    clock.advance(1000)
    sleep = asyncio.create_task(sleeper.sleep(0.05))
    await asyncio.sleep(0)
    clock.set_back()
    await asyncio.wait_for(sleep, 5)
