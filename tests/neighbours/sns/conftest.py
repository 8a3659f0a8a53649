"""Topics beside real queues on one store, in a time that only the test moves; functions and endpoints are recorded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lambdad.domain.errors import ResourceNotFound
from lambdad.domain.policies import ServiceCaller
from lambdad.domain.queues import MessageAttribute, QueueAddress, ReceivedMessage
from lambdad.domain.topics import Draft, Subscription, TopicAddress
from lambdad.neighbours.sns.deliverers import Delivered
from lambdad.neighbours.sns.http_poster import PostFailed
from lambdad.neighbours.sns.publishing import Published
from lambdad.neighbours.sns.service import SnsService
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage.engine import Transaction
from lambdad.storage.sqlite import SqliteEngine
from tests.neighbours.sqs.conftest import ACCOUNT, REGION, StillClock, a_caller, a_queue_policy

BASE_URL = "http://localhost:4566"


class Functions:
    """Takes events for every function but `missing`."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.callers: list[ServiceCaller] = []

    def accept_in(self, _: Transaction, function_arn: str, event: bytes, caller: ServiceCaller) -> Delivered:
        self.callers.append(caller)
        if function_arn.endswith(":missing"):
            raise ResourceNotFound(f"Function not found: {function_arn}")
        return lambda: self.events.append((function_arn, json.loads(event)))


class Endpoints:
    """Answers every post with the next of `answers`, and with 200 when there are none left."""

    def __init__(self) -> None:
        self.answers: list[int | str] = []
        self.posts: list[tuple[str, Mapping[str, str], str]] = []

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        self.posts.append((url, headers, body.decode()))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, str):
            raise PostFailed(answer)
        return answer


class Topics:
    """The service as tests speak to it: topics and queues by name."""

    def __init__(self, engine: SqliteEngine, clock: StillClock) -> None:
        self.engine = engine
        self.functions = Functions()
        self.endpoints = Endpoints()
        self.sqs = SqsService(engine, clock)
        self.service = SnsService(
            engine,
            clock,
            queues=self.sqs,
            accept_in=self.functions.accept_in,
            base_url=lambda: BASE_URL,
            poster=self.endpoints,
        )

    async def create(self, name: str = "t", **attributes: str) -> TopicAddress:
        if name.endswith(".fifo"):
            attributes = {"FifoTopic": "true", **attributes}
        return await self.service.topics.create(a_topic(name), attributes)

    async def queue(self, name: str = "q", *, is_open: bool = True) -> str:
        """A queue whose policy lets every topic of the account send, unless it is not `is_open`."""
        attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        if is_open:
            attributes["Policy"] = a_queue_policy("sns.amazonaws.com", QueueAddress(ACCOUNT, REGION, name).arn)
        return (await self.sqs.queues.create(QueueAddress(ACCOUNT, REGION, name), attributes, {})).arn

    async def subscribe(
        self, endpoint: str | None = None, to: str = "t", protocol: str = "sqs", **attributes: Any
    ) -> Subscription:
        """An existing endpoint, or a new queue `q`. Attributes may be texts or values for JSON."""
        if endpoint is None:
            endpoint = await self.queue()
        given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}
        return await self.service.subscriptions.subscribe(a_topic(to), protocol, endpoint, given, a_caller())

    async def publish(self, message: str = "hello", to: str = "t", **members: Any) -> Published:
        return await self.service.publisher.publish(a_topic(to), Draft(message=message, **members))

    async def received(self, name: str = "q") -> list[ReceivedMessage]:
        """Takes all messages out of a queue that can be received."""
        address, found = QueueAddress(ACCOUNT, REGION, name), []
        while messages := await self.sqs.messages.receive(address, limit=10):
            found += messages
        return found

    async def bodies(self, name: str = "q") -> list[str]:
        return [message.body for message in await self.received(name)]

    async def envelopes(self, name: str = "q") -> list[dict[str, Any]]:
        return [json.loads(body) for body in await self.bodies(name)]


def a_topic(name: str = "t") -> TopicAddress:
    return TopicAddress(ACCOUNT, REGION, name)


def text(value: str, data_type: str = "String") -> MessageAttribute:
    return MessageAttribute(data_type, value)


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def sns(tmp_path: Path, clock: StillClock) -> AsyncIterator[Topics]:
    engine = await SqliteEngine.open(tmp_path)
    topics = Topics(engine, clock)
    yield topics
    await topics.service.stop()
    await topics.sqs.stop()
    await engine.close()
