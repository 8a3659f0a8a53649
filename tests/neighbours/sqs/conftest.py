"""A queue service on a store of its own, in a time that only the test moves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lambdad.domain.identity import Caller
from lambdad.domain.queues import MessageAttribute, QueueAddress, ReceivedMessage, StoredMessage
from lambdad.neighbours.sqs.messages import Draft
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage.sqlite import SqliteEngine

ACCOUNT, REGION = "000000000000", "us-east-1"


class StillClock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self._ms = 1_800_000_000_000
        self._listeners: list[Callable[[], None]] = []

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._ms / 1000, UTC)

    def time_ms(self) -> int:
        return self._ms

    def monotonic(self) -> float:
        return self._ms / 1000

    def advance(self, seconds: float) -> None:
        self._ms += round(seconds * 1000)
        for listener in self._listeners:
            listener()

    def on_advance(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)


def a_queue_policy(service: str | list[str], queue_arn: str) -> str:
    """Lets services send to a queue for whatever source."""
    return a_policy(service, "sqs:SendMessage", queue_arn)


def a_policy(service: str | list[str], action: str, resource: str) -> str:
    """Lets services do something with a resource."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Queues:
    """The service as tests speak to it: queues by name, messages by body."""

    def __init__(self, service: SqsService, engine: SqliteEngine) -> None:
        self.service = service
        self.engine = engine

    async def create(self, name: str = "q", **attributes: object) -> QueueAddress:
        if name.endswith(".fifo"):
            attributes = {"FifoQueue": "true", **attributes}
        given = {key: str(value) for key, value in attributes.items()}
        return await self.service.queues.create(an_address(name), given, {})

    async def send(self, body: str, to: str = "q", **members: object) -> StoredMessage:
        draft = Draft(body=body, **members)  # type: ignore[arg-type]
        return await self.service.messages.send(an_address(to), draft, sender_id=ACCOUNT)

    async def receive(self, name: str = "q", limit: int = 10, **options: object) -> list[ReceivedMessage]:
        return await self.service.messages.receive(an_address(name), limit=limit, **options)  # type: ignore[arg-type]

    async def bodies(self, name: str = "q", limit: int = 10, **options: object) -> list[str]:
        return [message.body for message in await self.receive(name, limit, **options)]

    async def counts(self, name: str = "q") -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        attributes = await self.service.queues.attributes(an_address(name), ["All"])
        names = ("", "NotVisible", "Delayed")
        visible, in_flight, delayed = (int(attributes[f"ApproximateNumberOfMessages{part}"]) for part in names)
        return visible, in_flight, delayed


def an_address(name: str = "q") -> QueueAddress:
    return QueueAddress(ACCOUNT, REGION, name)


def a_caller(account: str = ACCOUNT) -> Caller:
    return Caller(
        account=account, region=REGION, access_key_id="test", arn=f"arn:aws:iam::{account}:root", user_id=account
    )


def text(value: str, data_type: str = "String") -> MessageAttribute:
    return MessageAttribute(data_type, value)


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path)
    yield engine
    await engine.close()


@pytest.fixture
async def sqs(engine: SqliteEngine, clock: StillClock) -> AsyncIterator[Queues]:
    service = SqsService(engine, clock)
    yield Queues(service, engine)
    await service.stop()
