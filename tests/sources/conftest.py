"""A poller on a real queue, with a function that tests direct, in a time that only they move."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lambdad.app.sources import EmbeddedQueues
from lambdad.clock import Sleeper
from lambdad.domain.arns import FunctionReference
from lambdad.domain.errors import ResourceNotFound, TooManyRequests
from lambdad.domain.invocations import Ending, Outcome
from lambdad.domain.mappings import EventSourceMapping, MappingSettings, MappingState
from lambdad.neighbours.sqs.service import SqsService
from lambdad.sources.calls import Called
from lambdad.sources.queue_poller import QueuePoller
from lambdad.storage.sqlite import SqliteEngine
from tests.neighbours.sqs.conftest import ACCOUNT, REGION, Queues, StillClock

FAILS = Outcome(payload=b'{"errorMessage": "x"}', ending=Ending.ERROR)


class Call:
    """A call of the function that has begun; `returns` and `fails` end it."""

    def __init__(self, event: bytes, trace: str) -> None:
        self.event: Any = json.loads(event)
        self.trace = trace
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    @property
    def bodies(self) -> list[str]:
        return [record["body"] for record in self.event["Records"]]

    def returns(self, value: object = None) -> None:
        self.outcome.set_result(Outcome(payload=json.dumps(value).encode()))

    def fails(self) -> None:
        self.outcome.set_result(FAILS)


class ScriptedFunction:
    """Stands for the calls of a function. Without a script each call waits for the test to end it."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[Call] = asyncio.Queue()
        self.refusals = 0
        self.is_throttled = False
        self.is_gone = False
        self.answer: Callable[[Call], None] | None = None
        self.refused = asyncio.Event()
        self.role_arn = f"arn:aws:iam::{ACCOUNT}:role/r"

    async def ready(self, mapping: EventSourceMapping) -> None:
        if self.is_gone:
            self.refused.set()
            raise ResourceNotFound("gone")

    async def role(self, mapping: EventSourceMapping) -> str:
        await self.ready(mapping)
        return self.role_arn

    async def call(self, mapping: EventSourceMapping, event: bytes, trace: str = "", request_id: str = "") -> Called:
        await self.ready(mapping)
        if self.is_throttled:
            self.refusals += 1
            self.refused.set()
            raise TooManyRequests("throttled")
        call = Call(event, trace)
        if self.answer is not None:
            self.answer(call)
        self.started.put_nowait(call)
        return Called(request_id=request_id or "id", executed_version="$LATEST", outcome=await call.outcome)

    async def next(self) -> Call:
        return await asyncio.wait_for(self.started.get(), 10)


class Bench:
    """A queue service, a function, and the pollers that a test starts."""

    def __init__(self, engine: SqliteEngine, sqs: SqsService, clock: StillClock) -> None:
        self.engine = engine
        self.sqs = sqs
        self.clock = clock
        self.sleeper = Sleeper(clock)
        self.queues = Queues(sqs, engine)
        self.function = ScriptedFunction()
        self.counted: Counter[str] = Counter()
        self.pollers: list[QueuePoller] = []

    def poll(self, queue: str = "q", **settings: Any) -> QueuePoller:
        poller = QueuePoller(
            a_mapping(f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}", **settings),
            EmbeddedQueues(self.sqs),
            self.function,  # type: ignore[arg-type]
            self.clock,
            self.sleeper,
            self._count,
        )
        poller.start()
        self.pollers.append(poller)
        return poller

    async def settle(self, queue: str, *counts: int) -> None:
        """Until the queue has so many messages visible, in flight and delayed."""
        async with asyncio.timeout(10):
            while await self.queues.counts(queue) != counts:  # noqa: ASYNC110
                await asyncio.sleep(0.005)  # the store has no signal for what is deleted

    async def collected(self, poller: QueuePoller, count: int) -> None:
        """Until the poller has so many messages in its open batch, and waits for more."""
        async with asyncio.timeout(10):
            while poller.statistics()["waiting"] != count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await self.queues.counts()  # a turn of the writer: the poller has looked for more by now

    async def idle(self, poller: QueuePoller) -> None:
        """Until nothing runs, and the poller has found nothing more to run."""
        calm = 0
        while calm < 3:  # a turn of the writer for what the poller may be asking it
            await self.engine.write(lambda _: None)
            await asyncio.sleep(0)
            calm = 0 if poller.statistics()["running"] else calm + 1

    def _count(self, metric: str, number: int) -> None:
        self.counted[metric] += number


def a_mapping(source_arn: str, **settings: Any) -> EventSourceMapping:
    settings.setdefault("batch_size", 10)
    return EventSourceMapping(
        uuid="6cf6bcbc-39e0-4d8c-8c93-0d0a0e8a8f6e",
        account=ACCOUNT,
        region=REGION,
        source_arn=source_arn,
        function=FunctionReference(ACCOUNT, REGION, "f"),
        settings=replace(MappingSettings(batch_size=10), **settings),
        state=MappingState.ENABLED,
        is_enabled=True,
        last_modified=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    engine = await SqliteEngine.open(tmp_path)
    clock = StillClock()
    sqs = SqsService(engine, clock)
    sqs.start()
    bench = Bench(engine, sqs, clock)
    yield bench
    for poller in bench.pollers:
        await poller.stop(0)
    await sqs.stop()
    await engine.close()
