"""Delivery over HTTP: headers, retries and when they end, dead letters, lanes; and the client on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lambdad.domain.topics import Subscription
from lambdad.neighbours.sns.http_poster import HttpPoster, PostFailed
from tests.neighbours.sns.conftest import Topics, a_topic, text
from tests.neighbours.sqs.conftest import StillClock

SITE = "http://example.com/"


async def a_subscriber(sns: Topics, site: str = SITE, **attributes: Any) -> Subscription:
    """A confirmed one, of a topic `t`."""
    await sns.create()
    pending = await sns.subscribe(site, protocol="http", **attributes)
    await sns.service.posts.settle()
    sns.endpoints.posts.clear()
    return await sns.service.subscriptions.confirm(a_topic(), pending.token, is_authenticated=True)


async def test_a_notification_and_its_headers(sns: Topics):
    subscription = await a_subscriber(sns)
    published = await sns.publish("hello", attributes={"a": text("x")})
    await sns.service.posts.settle()
    ((url, headers, body),) = sns.endpoints.posts
    assert url == SITE
    assert headers == {
        "x-amz-sns-message-type": "Notification", "x-amz-sns-message-id": published.message_id,
        "x-amz-sns-topic-arn": a_topic().arn, "x-amz-sns-subscription-arn": subscription.arn,
        "Content-Type": "text/plain; charset=UTF-8",
    }  # fmt: skip
    assert json.loads(body)["MessageAttributes"] == {"a": {"Type": "String", "Value": "x"}}


async def test_a_raw_notification(sns: Topics):
    delivery = {"requestPolicy": {"headerContentType": "application/json"}}
    await a_subscriber(sns, RawMessageDelivery="true", DeliveryPolicy=delivery)
    await sns.publish('{"a":1}')
    await sns.service.posts.settle()
    ((_, headers, body),) = sns.endpoints.posts
    assert body == '{"a":1}'
    assert (headers["x-amz-sns-rawdelivery"], headers["Content-Type"]) == ("true", "application/json")


@pytest.mark.parametrize("answer", [500, 503, 429, "connection refused"])
async def test_a_failure_is_tried_again_after_20_seconds(sns: Topics, clock: StillClock, answer: int | str):
    await a_subscriber(sns)
    sns.endpoints.answers = [answer, answer]
    await sns.publish()
    for tries, seconds in ((1, 19.999), (1, 0.001), (2, 20), (3, 20)):
        await sns.service.posts.settle()
        assert len(sns.endpoints.posts) == tries
        clock.advance(seconds)
    await sns.service.posts.settle()
    assert len(sns.endpoints.posts) == 3
    assert sns.service.statistics()["posts_sent"] == 2  # the other one asked for confirmation


async def test_after_three_retries_it_is_a_dead_letter(sns: Topics, clock: StillClock):
    await a_subscriber(sns, RedrivePolicy={"deadLetterTargetArn": await sns.queue("dead")})
    sns.endpoints.answers = [500] * 9
    published = await sns.publish()
    for _ in range(5):
        await sns.service.posts.settle()
        clock.advance(20)
    assert len(sns.endpoints.posts) == 4
    assert [document["MessageId"] for document in await sns.envelopes("dead")] == [published.message_id]


@pytest.mark.parametrize("answer", [400, 404, 301])
async def test_other_answers_are_for_good(sns: Topics, clock: StillClock, answer: int):
    await a_subscriber(sns, RedrivePolicy={"deadLetterTargetArn": await sns.queue("dead")})
    sns.endpoints.answers = [answer]
    await sns.publish()
    await sns.service.posts.settle()
    clock.advance(3600)
    await sns.service.posts.settle()
    assert len(sns.endpoints.posts) == 1
    assert len(await sns.bodies("dead")) == 1


async def test_a_policy_of_its_own(sns: Topics, clock: StillClock):
    policy = {"healthyRetryPolicy": {"numRetries": 1, "minDelayTarget": 5, "maxDelayTarget": 5}}
    await a_subscriber(sns, DeliveryPolicy=policy)
    sns.endpoints.answers = [500] * 9
    await sns.publish()
    for _ in range(4):
        await sns.service.posts.settle()
        clock.advance(5)
    assert len(sns.endpoints.posts) == 2


async def test_nothing_is_sent_after_unsubscribing(sns: Topics, clock: StillClock):
    subscription = await a_subscriber(sns, RedrivePolicy={"deadLetterTargetArn": await sns.queue("dead")})
    sns.endpoints.answers = [500]
    await sns.publish()
    await sns.service.posts.settle()
    await sns.service.subscriptions.unsubscribe(subscription.arn)
    clock.advance(60)
    await sns.service.posts.settle()
    assert len(sns.endpoints.posts) == 1
    assert await sns.bodies("dead") == []


async def test_many_messages_all_arrive(sns: Topics):
    await a_subscriber(sns, RawMessageDelivery="true")
    for number in range(25):
        await sns.publish(str(number))
    await sns.service.posts.settle()
    assert {body for _, _, body in sns.endpoints.posts} == {str(number) for number in range(25)}


class HeldUp:
    """Endpoints of which `slow` answers when it is released."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.fast = asyncio.Event()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        if "slow" in url:
            await self.released.wait()
        elif headers["x-amz-sns-message-type"] == "Notification":
            self.fast.set()
        return 200


async def test_a_slow_subscriber_delays_no_other_while_the_loop_runs(sns: Topics):
    await sns.create()
    for name in ("slow", "fast"):
        pending = await sns.subscribe(f"http://{name}/", protocol="http")
        await sns.service.subscriptions.confirm(a_topic(), pending.token, is_authenticated=True)
    endpoints = sns.service.posts._poster = HeldUp()
    sns.service.start()
    for _ in range(20):
        await sns.publish()
    await asyncio.wait_for(endpoints.fast.wait(), 5)
    endpoints.released.set()


# --- the client ---


@asynccontextmanager
async def a_site(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A site that gives one answer to everything, its URL, and the requests that it got."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        requests.append(head + await reader.readexactly(length))
        if answer:
            writer.write(answer)
            writer.close()
        else:
            await reader.read()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


async def test_a_post_on_a_socket():
    async with a_site(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n") as (address, requests):
        status = await HttpPoster().post(f"http://us%40er:pass@{address}/a/b?c=d", {"x-a": "1"}, "é".encode())
    assert status == 204
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert body == "é".encode()
    assert head.decode().split("\r\n") == [
        "POST /a/b?c=d HTTP/1.1", f"Host: {address}", "Authorization: Basic dXNAZXI6cGFzcw==", "x-a: 1",
        "User-Agent: Amazon Simple Notification Service Agent", "Content-Length: 2", "Connection: close",
    ]  # fmt: skip


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 201, b"x" * 100_000])
async def test_answers_that_are_none(answer: bytes):
    async with a_site(answer) as (address, _):
        with pytest.raises(PostFailed):
            await HttpPoster().post(f"http://{address}/", {}, b"x")


async def test_no_answer_in_time():
    async with a_site(b"") as (address, _):
        with pytest.raises(PostFailed, match="no answer within"):
            await HttpPoster(timeout_s=0.05).post(f"http://{address}/", {}, b"x")


async def test_nobody_listens():
    async with a_site(b"") as (address, _):
        pass
    with pytest.raises(PostFailed):
        await HttpPoster().post(f"http://{address}/", {}, b"x")
