"""An event queue for tests: a real store, a clock that stands still, and functions that do what the test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lambdad.domain.destinations import OutgoingMessage
from lambdad.domain.events import DestinationConfig, EventInvokeConfig
from lambdad.domain.functions import LATEST, Alias, Function, FunctionVersion, StoredVersion
from lambdad.domain.identity import Caller
from lambdad.domain.invocations import Ending, Invocation, Outcome
from lambdad.event_queue.service import EventQueue
from lambdad.event_queue.targets import Delivered, RemoteSender, TargetRefused
from lambdad.execution.calls import PendingCall
from lambdad.invocation.admission import Admission
from lambdad.invocation.catalog import Catalog
from lambdad.invocation.invoker import Invoker
from lambdad.storage import event_configs, events
from lambdad.storage.engine import Transaction
from lambdad.storage.functions import FunctionKey, FunctionRepository
from lambdad.storage.sqlite import SqliteEngine
from lambdad.telemetry import DeliveryFailed, EventEnded, Telemetry
from tests.execution.scripted import a_version

ACCOUNT, REGION = "000000000000", "us-east-1"
CALLER = Caller(account=ACCOUNT, region=REGION, access_key_id="test", arn="arn", user_id="u")
START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
QUEUE = "arn:aws:sqs:us-east-1:000000000000:ends"
DEAD = "arn:aws:sqs:us-east-1:000000000000:dead"


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self._now = START
        self._listeners: list[Callable[[], None]] = []

    def now(self) -> datetime:
        return self._now

    def time_ms(self) -> int:
        return int(self._now.timestamp() * 1000)

    def monotonic(self) -> float:
        return self._now.timestamp()

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        for listener in self._listeners:
            listener()

    def on_advance(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)


@dataclass
class Runs:
    """What a function answers: an outcome for each of its runs, the last one again and again."""

    outcomes: list[Outcome]
    invocations: list[Invocation] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    held: list[PendingCall] = field(default_factory=list)
    is_held: bool = False

    @property
    def payloads(self) -> list[bytes]:
        return [invocation.event for invocation in self.invocations]

    def next(self) -> Outcome:
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        return Outcome(payload=outcome.payload, ending=outcome.ending, duration_ms=1.0)

    def release(self, count: int | None = None) -> None:
        for _ in range(len(self.held) if count is None else count):
            self.held.pop(0).finish(self.next())


def returns(value: object = None) -> Outcome:
    return Outcome(payload=json.dumps(value).encode())


def raises(message: str = "no") -> Outcome:
    body = {"errorMessage": message, "errorType": "Exception"}
    return Outcome(payload=json.dumps(body).encode(), ending=Ending.ERROR)


class ScriptedPool:
    """Stands for the pool of environments: runs are answered at once, or when the test releases them."""

    def __init__(self) -> None:
        self.functions: dict[str, Runs] = {}

    def of(self, version: FunctionVersion) -> ScriptedVersion:
        return ScriptedVersion(self, version)

    def renew(self, version: FunctionVersion) -> None:
        pass

    def retire(self, account: str, region: str, name: str, keep: frozenset[str] = frozenset()) -> None:
        pass


class ScriptedVersion:
    provisioned = None

    def __init__(self, pool: ScriptedPool, version: FunctionVersion) -> None:
        self._pool = pool
        self.version = version

    def dispatch(self, call: PendingCall) -> None:
        runs = self._pool.functions[self.version.name]
        runs.invocations.append(call.invocation)
        runs.versions.append(self.version.version)
        if runs.is_held:
            runs.held.append(call)
        else:
            asyncio.get_running_loop().call_soon(lambda: call.finish(runs.next()))


class Mailbox:
    """An embedded target that keeps what it is given in memory once it is committed."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, OutgoingMessage]] = []
        self.refuses = False

    def put_in(self, tx: Transaction, arn: str, message: OutgoingMessage) -> Delivered:
        if self.refuses:
            raise TargetRefused("The queue is not there.")
        return lambda: self.messages.append((arn, message))

    def to(self, arn: str) -> list[OutgoingMessage]:
        return [message for target, message in self.messages if target == arn]

    def records(self, arn: str = QUEUE) -> list[Any]:
        return [json.loads(message.body) for message in self.to(arn)]


class World:
    """One server's event queue. `restart` kills it and opens another on the same store."""

    def __init__(self, engine: SqliteEngine, clock: ManualClock, **options: Any) -> None:
        self.engine = engine
        self.clock = clock
        self.repository = FunctionRepository(engine)
        self.admission = Admission(1000)
        self.pool = ScriptedPool()
        self.catalog = Catalog(self.repository, self.pool, self.admission)  # type: ignore[arg-type]
        self.telemetry = Telemetry()
        self.invoker = Invoker(self.catalog, clock, self.telemetry)
        self.mailbox = Mailbox()
        self.ended: list[EventEnded] = []
        self.lost: list[DeliveryFailed] = []
        self.telemetry.event_ended.append(self.ended.append)
        self.telemetry.delivery_failed.append(self.lost.append)
        remote: RemoteSender | None = options.pop("remote", None)
        self.queue = EventQueue(
            engine, self.invoker, clock, self.telemetry, targets={"sqs": self.mailbox}, remote=remote, **options
        )

    async def function(
        self,
        *outcomes: Outcome,
        name: str = "greet",
        reserved: int | None = None,
        aliases: tuple[Alias, ...] = (),
        versions: tuple[FunctionVersion, ...] = (),
        **changes: Any,
    ) -> Runs:
        """Stores a function that answers so; one version `$LATEST` unless others are given."""
        made = versions or (a_version(name=name, **changes),)
        function = Function(account=ACCOUNT, region=REGION, name=name, reserved_concurrency=reserved)

        def job(tables: Any) -> None:
            tables.put_function(function)
            for version in made:
                tables.put_version(StoredVersion(current=version), settled=True)
            for alias in aliases:
                tables.put_alias(alias)

        await self.repository.write(job)
        self.catalog.changed(ACCOUNT, REGION, name)
        runs = self.pool.functions.setdefault(name, Runs([]))
        runs.outcomes = list(outcomes) or [returns()]
        return runs

    async def delete(self, name: str = "greet") -> None:
        await self.repository.write(lambda tables: tables.delete_function(FunctionKey(ACCOUNT, REGION, name)))
        self.catalog.changed(ACCOUNT, REGION, name)

    async def configure(
        self,
        name: str = "greet",
        qualifier: str = LATEST,
        *,
        retries: int | None = None,
        age_s: int | None = None,
        success: str | None = None,
        failure: str | None = None,
    ) -> None:
        config = EventInvokeConfig(
            account=ACCOUNT,
            region=REGION,
            function=name,
            qualifier=qualifier,
            maximum_retry_attempts=retries,
            maximum_event_age_s=age_s,
            destinations=DestinationConfig(on_success=success, on_failure=failure),
            last_modified=START,
        )
        await self.engine.write(lambda tx: event_configs.put(tx, config))

    async def accept(
        self, payload: bytes = b"{}", name: str = "greet", qualifier: str = "", request_id: str = "id", trace: str = ""
    ) -> None:
        await self.queue.intake.accept(CALLER, name, qualifier, payload, request_id=request_id, trace=trace)

    async def run_due(self) -> int:
        """Everything that is due at this moment, also what was set back; how many attempts ran."""
        before = self.queue.worker.statistics()["attempts"]
        await asyncio.wait_for(self.queue.rescue.run_once(), 10)
        await asyncio.wait_for(self.queue.worker.run_due(), 10)
        return int(self.queue.worker.statistics()["attempts"] - before)

    async def advance(self, seconds: float) -> int:
        """Moves the clock and runs what is due then."""
        self.clock.advance(seconds)
        return await self.run_due()

    async def queued(self) -> int:
        return await events.count(self.engine)

    @property
    def conditions(self) -> list[tuple[str, int]]:
        return [(one.condition, one.invoke_count) for one in self.ended]


@asynccontextmanager
async def a_world(folder: Path, clock: ManualClock | None = None, **options: Any) -> AsyncIterator[World]:
    engine = await SqliteEngine.open(folder)
    try:
        yield World(engine, clock or ManualClock(), **options)
    finally:
        await engine.close()


def an_alias(name: str, version: str, **changes: Any) -> Alias:
    return Alias(
        account=ACCOUNT,
        region=REGION,
        function="greet",
        name=name,
        function_version=version,
        revision_id="r",
        **changes,
    )
