"""Schedules fire when the service's time comes to them, once for each moment, and once for all that were missed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from lambdad.domain.errors import ServiceError
from lambdad.domain.rules import BusSettings
from lambdad.neighbours.eventbridge.service import EventBridgeService
from lambdad.storage.sqlite import SqliteEngine
from tests.neighbours.eventbridge.conftest import ACCOUNT, FUNCTION_ARN, QUEUE_ARN, REGION, Bridge, a_caller
from tests.neighbours.sqs.conftest import StillClock


def times(bridge: Bridge) -> list[str]:
    return [event["time"] for _, event in bridge.functions.delivered]


def stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


async def test_a_scheduled_event(bridge: Bridge):
    arn = await bridge.rule("r", FUNCTION_ARN, schedule="rate(5 minutes)")
    assert await bridge.service.scheduler.run_once() == 300
    bridge.clock.advance(299)
    assert await bridge.service.scheduler.run_once() == 1
    assert bridge.functions.delivered == []
    bridge.clock.advance(1)
    assert await bridge.service.scheduler.run_once() == 300
    ((_, event),) = bridge.functions.delivered
    event.pop("id")
    assert event == {
        "version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "account": ACCOUNT,
        "time": stamp(bridge.clock.now()), "region": REGION, "resources": [arn], "detail": {},
    }  # fmt: skip


async def test_what_was_missed_fires_once(bridge: Bridge):
    start = bridge.clock.now()
    await bridge.rule("r", FUNCTION_ARN, schedule="rate(5 minutes)")
    bridge.clock.advance(24 * 3600 + 61)
    assert await bridge.service.scheduler.run_once() == 239
    assert times(bridge) == [stamp(start + timedelta(days=1))]
    bridge.clock.advance(239)
    await bridge.service.scheduler.run_once()
    assert times(bridge)[1:] == [stamp(start + timedelta(days=1, minutes=5))]


async def test_a_cron_expression(bridge: Bridge):
    # The clock of the tests stands at 2027-01-15 08:00 UTC, a Friday.
    assert bridge.clock.now() == datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
    await bridge.rule("r", FUNCTION_ARN, schedule="cron(30 9 ? * MON-FRI *)")
    await bridge.rule("over", FUNCTION_ARN, schedule="cron(0 0 1 1 ? 2020)")
    for _ in range(2):
        pause_s = await bridge.service.scheduler.run_once()
        assert pause_s is not None
        bridge.clock.advance(pause_s)
    await bridge.service.scheduler.run_once()
    assert times(bridge) == ["2027-01-15T09:30:00Z", "2027-01-18T09:30:00Z"]


async def test_the_loop_follows_the_clock(bridge: Bridge):
    bridge.service.start()
    await bridge.rule("r", FUNCTION_ARN, schedule="rate(1 hour)")
    bridge.clock.advance(3600)
    await asyncio.wait_for(bridge.functions.arrived.wait(), 10)
    assert times(bridge) == [stamp(bridge.clock.now())]


async def test_disabling_and_enabling(bridge: Bridge):
    await bridge.rule("r", FUNCTION_ARN, schedule="rate(10 minutes)")
    rules, scheduler = bridge.service.rules, bridge.service.scheduler
    bridge.clock.advance(300)
    await rules.set_state(a_caller(), None, "r", "ENABLED")  # it is: nothing changes
    assert await scheduler.run_once() == 300
    await rules.set_state(a_caller(), None, "r", "DISABLED")
    assert await scheduler.run_once() is None
    bridge.clock.advance(3600)
    await rules.set_state(a_caller(), None, "r", "ENABLED")
    assert await scheduler.run_once() == 600
    assert bridge.functions.delivered == []
    await bridge.rule("r", schedule="rate(1 minute)")  # another schedule begins anew, with the targets that it has
    assert await scheduler.run_once() == 60


async def test_schedules_survive_a_restart(bridge: Bridge, engine: SqliteEngine, clock: StillClock):
    await bridge.queue()
    await bridge.rule("r", QUEUE_ARN, schedule="rate(5 minutes)")
    clock.advance(900)
    again = EventBridgeService(engine, clock, sqs=bridge.sqs)
    assert await again.scheduler.run_once() == 300
    assert len(await bridge.bodies()) == 1


async def test_many_schedules_at_once(bridge: Bridge):
    for number in range(120):
        await bridge.rule(f"r{number}", FUNCTION_ARN, schedule="cron(0/5 * * * ? *)")
    bridge.clock.advance(301)
    await bridge.service.scheduler.run_once()
    assert len(bridge.functions.delivered) == 120


async def test_schedules_belong_to_the_default_bus(bridge: Bridge):
    await bridge.service.buses.create(a_caller(), "other", BusSettings(), {})
    with pytest.raises(ServiceError, match="supported only on the default event bus"):
        await bridge.rule("r", schedule="rate(1 minute)", bus="other")


async def test_resetting_ends_all_schedules(bridge: Bridge):
    await bridge.rule("r", FUNCTION_ARN, schedule="rate(1 minute)")
    await bridge.service.reset()
    assert await bridge.service.scheduler.run_once() is None
