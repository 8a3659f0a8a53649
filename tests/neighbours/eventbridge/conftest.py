"""EventBridge, queues and logs on one store, in a time that only the test moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lambdad.domain.errors import LambdadError, ResourceNotFound
from lambdad.domain.identity import Caller
from lambdad.domain.policies import ServiceCaller
from lambdad.domain.queues import QueueAddress, ReceivedMessage
from lambdad.domain.rules import RuleSettings, Target
from lambdad.neighbours.eventbridge.events import Entry, EntryResult
from lambdad.neighbours.eventbridge.service import EventBridgeService
from lambdad.neighbours.eventbridge.targets import FunctionTarget, TargetInput, TopicTarget
from lambdad.neighbours.sns.service import SnsService
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage.engine import Transaction
from lambdad.storage.sqlite import SqliteEngine
from tests.neighbours.sqs.conftest import StillClock, a_queue_policy

ACCOUNT, REGION = "000000000000", "us-east-1"
QUEUE_ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
DEAD_ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
FUNCTION_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
TOPIC_ARN = f"arn:aws:sns:{REGION}:{ACCOUNT}:t"


class Functions:
    """Takes events as the queue of asynchronous invocations would: its own table rolls back with the transaction."""

    def __init__(self) -> None:
        self.delivered: list[tuple[str, Any]] = []
        self.callers: list[ServiceCaller] = []
        self.arrived = asyncio.Event()
        self.error: LambdadError | None = None

    def accept_in(self, tx: Transaction, function_arn: str, event: bytes, caller: ServiceCaller) -> Callable[[], None]:
        self.callers.append(caller)
        if self.error is not None:
            raise self.error
        if not function_arn.endswith(":f"):
            raise ResourceNotFound(f"Function not found: {function_arn}")

        def delivered() -> None:
            self.delivered.append((function_arn, json.loads(event)))
            self.arrived.set()

        return delivered


class Topics:
    """Real topics, as the server connects them."""

    def __init__(self, sns: SnsService) -> None:
        self._sns = sns

    def publish_in(self, tx: Transaction, topic_arn: str, message: str, caller: ServiceCaller) -> Callable[[], None]:
        published = self._sns.publish_in(tx, topic_arn, message, service=caller)
        return lambda: self._sns.delivered(published)


class Remote:
    """Targets outside of the server; those whose ARN has `remote` in it."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.error: Exception | None = None

    def sends_to(self, arn: str) -> bool:
        return "remote" in arn

    async def send(self, item: TargetInput) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(item.text)


class Bridge:
    """The service as tests speak to it."""

    def __init__(self, engine: SqliteEngine, clock: StillClock) -> None:
        self.engine = engine
        self.clock = clock
        self.sqs = SqsService(engine, clock)
        self.functions, self.remote = Functions(), Remote()
        accept_in = self.functions.accept_in
        self.sns = SnsService(engine, clock, queues=self.sqs, accept_in=accept_in, base_url=lambda: "http://localhost")
        self.service = EventBridgeService(
            engine,
            clock,
            sqs=self.sqs,
            targets={"lambda": FunctionTarget(self.functions), "sns": TopicTarget(Topics(self.sns))},
            remote=self.remote,
        )

    async def rule(
        self,
        name: str = "r",
        *targets: Mapping[str, Any] | str,
        pattern: object = None,
        schedule: str | None = None,
        bus: str | None = None,
        caller: Caller | None = None,
    ) -> str:
        """Puts a rule that matches everything, or a schedule, with targets given by their ARNs or as a whole."""
        text = json.dumps(pattern or {"source": [{"exists": True}]}) if schedule is None else None
        arn = await self.service.rules.put(
            caller or a_caller(), bus, name, RuleSettings(pattern=text, schedule=schedule), {}
        )
        documents = [
            {"Id": str(number), "Arn": given} if isinstance(given, str) else {"Id": str(number), **given}
            for number, given in enumerate(targets)
        ]
        if documents:
            wanted = [Target(id=one["Id"], arn=one["Arn"], document=one) for one in documents]
            failed = await self.service.rules.put_targets(caller or a_caller(), bus, name, wanted)
            assert failed == []
        return arn

    async def put(self, *entries: Entry, caller: Caller | None = None) -> list[EntryResult]:
        return await self.service.events.put(caller or a_caller(), entries or [an_entry()])

    async def queue(self, name: str = "q", *, is_open: bool = True, **attributes: str) -> None:
        """A queue whose policy lets every rule and topic of the account send, unless it is not `is_open`."""
        if is_open:
            arn = QueueAddress(ACCOUNT, REGION, name).arn
            attributes["Policy"] = a_queue_policy(["events.amazonaws.com", "sns.amazonaws.com"], arn)
        await self.sqs.queues.create(QueueAddress(ACCOUNT, REGION, name), attributes, {})

    async def messages(self, name: str = "q") -> list[ReceivedMessage]:
        address = QueueAddress(ACCOUNT, REGION, name)
        return await self.sqs.messages.receive(address, limit=10)

    async def bodies(self, name: str = "q") -> list[Any]:
        return [json.loads(message.body) for message in await self.messages(name)]


def a_caller(account: str = ACCOUNT) -> Caller:
    return Caller(
        account=account, region=REGION, access_key_id="test", arn=f"arn:aws:iam::{account}:root", user_id=account
    )


def an_entry(detail: object = None, **members: Any) -> Entry:
    text = detail if isinstance(detail, str) else json.dumps(detail or {"n": 1})
    given = {"source": "shop", "detail_type": "order", "detail": text, **members}
    return Entry(**given)


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path)
    yield engine
    await engine.close()


@pytest.fixture
async def bridge(engine: SqliteEngine, clock: StillClock) -> AsyncIterator[Bridge]:
    bridge = Bridge(engine, clock)
    yield bridge
    await bridge.service.stop()
    await bridge.sqs.stop()
