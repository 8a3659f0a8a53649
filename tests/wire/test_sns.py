"""SNS on the wire: boto3 in the query protocol, the links in messages, and all of it over real connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from lambdad.clock import SystemClock
from lambdad.http.messages import Request, Response
from lambdad.http.server import HttpServer
from lambdad.neighbours.sns.service import SnsService
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage.sqlite import SqliteEngine
from lambdad.wire.front import FrontDoor
from lambdad.wire.sns import SubscriberLinks, sns_service
from lambdad.wire.sqs import sqs_service
from tests.neighbours.sqs.conftest import a_queue_policy
from tests.wire.harness import Boto, a_front_door, ask

TOPIC = "arn:aws:sns:us-east-1:000000000000:t"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
QUEUE_URL = "http://localhost:4566/000000000000/q"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
STRING = {"DataType": "String", "StringValue": "x"}


class Stack:
    """A front door with topics and queues, and the events that functions got."""

    def __init__(self, engine: SqliteEngine) -> None:
        clock = SystemClock()
        self.base_url = "http://localhost:4566"
        self.events: list[bytes] = []
        self.sqs = SqsService(engine, clock)
        self.sns = SnsService(
            engine,
            clock,
            queues=self.sqs,
            accept_in=lambda _, __, event, ___: lambda: self.events.append(event),
            base_url=lambda: self.base_url,
        )
        self.front: FrontDoor = a_front_door(sns_service(self.sns), sqs_service(self.sqs))
        SubscriberLinks(self.sns).register(self.front.own_endpoints)
        self.sns.start()


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    engine = await SqliteEngine.open(tmp_path)
    stack = Stack(engine)
    yield stack
    stack.sqs.release_waiters()
    await stack.front.finish(1)
    await stack.sns.stop()
    await stack.sqs.stop()
    await engine.close()


@pytest.fixture
def boto(stack: Stack) -> Boto:
    return Boto(stack.front)


@pytest.fixture
async def client(boto: Boto) -> Any:
    client = boto("sns")
    await client.create_topic(Name="t")
    await boto("sqs").create_queue(QueueName="q", Attributes={"Policy": a_queue_policy("sns.amazonaws.com", "*")})
    return client


async def refusal(call: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as refused:
        await call
    return refused.value.response  # type: ignore[return-value]


async def envelope(boto: Boto) -> dict[str, Any]:
    (message,) = (await boto("sqs").receive_message(QueueUrl=QUEUE_URL))["Messages"]
    document: dict[str, Any] = json.loads(message["Body"])
    return document


async def test_the_life_of_a_topic(client: Any):
    created = await client.create_topic(Name="u", Attributes={"DisplayName": "d"}, Tags=[{"Key": "a", "Value": "b"}])
    arn = created["TopicArn"]
    assert arn == "arn:aws:sns:us-east-1:000000000000:u"
    assert (await client.list_topics())["Topics"] == [{"TopicArn": TOPIC}, {"TopicArn": arn}]
    await client.set_topic_attributes(TopicArn=arn, AttributeName="DisplayName", AttributeValue="e")
    assert (await client.get_topic_attributes(TopicArn=arn))["Attributes"]["DisplayName"] == "e"
    await client.tag_resource(ResourceArn=arn, Tags=[{"Key": "c", "Value": ""}])
    await client.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert (await client.list_tags_for_resource(ResourceArn=arn))["Tags"] == [{"Key": "c", "Value": ""}]
    await client.delete_topic(TopicArn=arn)
    assert (await client.list_topics())["Topics"] == [{"TopicArn": TOPIC}]


async def test_a_message_reaches_a_queue(client: Any, boto: Boto):
    subscribed = await client.subscribe(
        TopicArn=TOPIC, Protocol="sqs", Endpoint=QUEUE, Attributes={"FilterPolicy": '{"a":["x"]}'}
    )
    arn = subscribed["SubscriptionArn"]
    assert (await client.list_subscriptions_by_topic(TopicArn=TOPIC))["Subscriptions"] == [
        {"SubscriptionArn": arn, "Owner": "000000000000", "Protocol": "sqs", "Endpoint": QUEUE, "TopicArn": TOPIC}
    ]
    assert (await client.list_subscriptions())["Subscriptions"][0]["SubscriptionArn"] == arn
    await client.publish(TopicArn=TOPIC, Message="filtered out")
    binary = {"DataType": "Binary", "BinaryValue": b"\0\1"}
    published = await client.publish(
        TopicArn=TOPIC, Message="a<&>é", Subject="s", MessageAttributes={"a": STRING, "b": binary}
    )
    document = await envelope(boto)
    assert document["MessageId"] == published["MessageId"]
    assert (document["Message"], document["Subject"]) == ("a<&>é", "s")
    assert document["MessageAttributes"]["b"] == {"Type": "Binary", "Value": "AAE="}
    await client.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    assert (await client.get_subscription_attributes(SubscriptionArn=arn))["Attributes"]["RawMessageDelivery"] == "true"
    await client.unsubscribe(SubscriptionArn=arn)
    assert (await client.list_subscriptions())["Subscriptions"] == []


async def test_a_message_reaches_a_function(client: Any, stack: Stack):
    await client.subscribe(TopicArn=TOPIC, Protocol="lambda", Endpoint=FUNCTION)
    await client.publish(TargetArn=TOPIC, Message="x")
    assert json.loads(stack.events[0])["Records"][0]["Sns"]["Message"] == "x"


async def test_a_batch(client: Any, boto: Boto):
    await client.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=QUEUE)
    answer = await client.publish_batch(
        TopicArn=TOPIC,
        PublishBatchRequestEntries=[
            {"Id": "a", "Message": "1", "MessageAttributes": {"a": STRING}},
            {"Id": "b", "Message": ""},
        ],
    )
    (good,) = answer["Successful"]
    assert answer["Failed"] == [
        {"Id": "b", "Code": "InvalidParameter", "Message": "Invalid parameter: Empty message", "SenderFault": True}
    ]
    assert (await envelope(boto))["MessageId"] == good["MessageId"]


async def test_a_fifo_topic(client: Any, boto: Boto):
    topic = (await client.create_topic(Name="t.fifo", Attributes={"FifoTopic": "true"}))["TopicArn"]
    await boto("sqs").create_queue(
        QueueName="q.fifo", Attributes={"FifoQueue": "true", "Policy": a_queue_policy("sns.amazonaws.com", "*")}
    )
    await client.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"{QUEUE}.fifo")
    published = await client.publish(TopicArn=topic, Message="x", MessageGroupId="g", MessageDeduplicationId="d")
    answer = await boto("sqs").receive_message(QueueUrl=f"{QUEUE_URL}.fifo", MessageSystemAttributeNames=["All"])
    (message,) = answer["Messages"]
    assert json.loads(message["Body"])["SequenceNumber"] == published["SequenceNumber"]
    assert message["Attributes"]["MessageGroupId"] == "g"
    assert message["Attributes"]["MessageDeduplicationId"] == "d"


async def test_the_trace_of_the_caller_goes_along(client: Any, boto: Boto):
    await client.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=QUEUE)
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    client.client.meta.events.register(
        "before-sign.sns.Publish", lambda request, **_: request.headers.add_header("X-Amzn-Trace-Id", trace)
    )
    await client.publish(TopicArn=TOPIC, Message="x")
    answer = await boto("sqs").receive_message(QueueUrl=QUEUE_URL, MessageSystemAttributeNames=["AWSTraceHeader"])
    assert answer["Messages"][0]["Attributes"] == {"AWSTraceHeader": trace}


async def test_permissions(client: Any, boto: Boto):
    other = boto("sns", key="111111111111")
    answer = await refusal(other.publish(TopicArn=TOPIC, Message="x"))
    assert answer["Error"]["Code"] == "AuthorizationError"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    await client.add_permission(TopicArn=TOPIC, Label="l", AWSAccountId=["111111111111"], ActionName=["Publish"])
    await other.publish(TopicArn=TOPIC, Message="x")
    await client.remove_permission(TopicArn=TOPIC, Label="l")
    await refusal(other.publish(TopicArn=TOPIC, Message="x"))


async def test_pages(client: Any):
    for number in range(100):
        await client.create_topic(Name=f"u{number}")
    first = await client.list_topics()
    second = await client.list_topics(NextToken=first["NextToken"])
    assert (len(first["Topics"]), len(second["Topics"])) == (100, 1)
    assert "NextToken" not in second


ENTRY = {"Id": "a", "Message": "x"}
REFUSALS: list[tuple[str, dict[str, Any], str, str, int]] = [
    ("create_topic", {}, "InvalidParameter", "Invalid parameter: Name Reason: no value for required parameter", 400),
    ("create_topic", {"Name": "a b"}, "InvalidParameter", "Invalid parameter: Topic Name", 400),
    ("create_topic", {"Name": "d", "DataProtectionPolicy": "{}"}, "InvalidParameter",
     "Invalid parameter: DataProtectionPolicy Reason: lambdad does not look for sensitive data in messages", 400),
    ("get_topic_attributes", {}, "InvalidParameter",
     "Invalid parameter: TopicArn Reason: no value for required parameter", 400),
    ("get_topic_attributes", {"TopicArn": "t"}, "InvalidParameter",
     "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1", 400),
    ("get_topic_attributes", {"TopicArn": f"{TOPIC}x"}, "NotFound", "Topic does not exist", 404),
    ("get_topic_attributes", {"TopicArn": TOPIC.replace("east", "west")}, "InvalidParameter",
     "Invalid parameter: TopicArn", 400),
    ("subscribe", {"TopicArn": TOPIC, "Protocol": "smoke", "Endpoint": "x"}, "InvalidParameter",
     "Invalid parameter: Amazon SNS does not support this protocol string: smoke", 400),
    ("subscribe", {"TopicArn": TOPIC, "Protocol": "sqs", "Endpoint": "q"}, "InvalidParameter",
     "Invalid parameter: SQS endpoint ARN", 400),
    ("confirm_subscription", {"TopicArn": TOPIC, "Token": "x"}, "InvalidParameter", "Invalid parameter: Token", 400),
    ("get_subscription_attributes", {"SubscriptionArn": f"{TOPIC}:00000000-0000-0000-0000-000000000000"}, "NotFound",
     "Subscription does not exist", 404),
    ("publish", {"TopicArn": TOPIC, "Message": ""}, "InvalidParameter", "Invalid parameter: Empty message", 400),
    ("publish", {"Message": "x"}, "InvalidParameter",
     "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter", 400),
    ("publish", {"PhoneNumber": "+1555", "Message": "x"}, "InvalidParameter",
     "Invalid parameter: PhoneNumber Reason: lambdad sends no text messages", 400),
    ("publish", {"TopicArn": TOPIC, "Message": "x", "MessageAttributes": {"a": {**STRING, "StringValue": ""}}},
     "ParameterValueInvalid", "The message attribute 'a' must contain non-empty message attribute value for message "
     "attribute type 'String'.", 400),
    ("publish", {"TopicArn": TOPIC, "Message": "x", "MessageAttributes": {"a": {"StringValue": "x"}}},
     "ValidationError", "1 validation error detected: Value null at 'messageAttributes.a.member.dataType' failed to "
     "satisfy constraint: Member must not be null", 400),
    ("publish_batch", {"TopicArn": TOPIC, "PublishBatchRequestEntries": []}, "EmptyBatchRequest",
     "The batch request doesn't contain any entries.", 400),
    ("publish_batch", {"TopicArn": TOPIC, "PublishBatchRequestEntries": [ENTRY, ENTRY]}, "BatchEntryIdsNotDistinct",
     "Two or more batch entries in the request have the same Id.", 400),
    ("publish_batch", {"TopicArn": TOPIC, "PublishBatchRequestEntries": [ENTRY] * 11}, "TooManyEntriesInBatchRequest",
     "The batch request contains more entries than permissible.", 400),
    ("publish_batch", {"TopicArn": TOPIC, "PublishBatchRequestEntries": [{**ENTRY, "Message": "x" * 262_145}]},
     "BatchRequestTooLong", "The length of all the messages put together is more than the limit.", 400),
    ("list_topics", {"NextToken": "?"}, "InvalidParameter", "Invalid parameter: NextToken", 400),
    ("list_subscriptions", {"NextToken": "dA=="}, "InvalidParameter", "Invalid parameter: NextToken", 400),
    ("list_tags_for_resource", {"ResourceArn": f"{TOPIC}x"}, "ResourceNotFound", "Resource does not exist", 404),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "params", "code", "message", "status"), REFUSALS)
async def test_refusals(client: Any, operation: str, params: dict[str, Any], code: str, message: str, status: int):
    answer = await refusal(getattr(client, operation)(**params))
    assert (answer["Error"]["Code"], answer["Error"]["Message"]) == (code, message)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status


async def test_operations_on_topics_and_messages_are_all_offered(stack: Stack):
    operations = set(boto3.client("sns", region_name="us-east-1").meta.service_model.operation_names)
    absent = operations - set(sns_service(stack.sns).handlers)
    words = ("SMS", "PhoneNumber", "Platform", "Endpoint", "DataProtection", "Origination")
    assert [name for name in absent if not any(word in name for word in words)] == []


# --- links ---


async def follow(stack: Stack, query: str, method: str = "GET") -> Response:
    return await ask(stack.front, Request(method, "/_lambdad/sns", query, {"host": "localhost"}, b""))


async def test_a_link_unsubscribes_without_a_signature(stack: Stack, client: Any, boto: Boto):
    await client.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=QUEUE)
    await client.publish(TopicArn=TOPIC, Message="x")
    link = urlsplit((await envelope(boto))["UnsubscribeURL"])
    answer = await follow(stack, link.query)
    assert answer.status == 200
    assert b"<UnsubscribeResponse" in answer.body
    assert (await client.list_subscriptions())["Subscriptions"] == []


LINK_REFUSALS = [
    ("Action=Nonsense", "InvalidAction"),
    ("", "InvalidAction"),
    ("Action=Publish&TopicArn=x&Message=x", "InvalidParameter"),
    ("Action=ListTopics", "InvalidParameter"),
    (f"Action=ConfirmSubscription&TopicArn={TOPIC}&Token=x", "InvalidParameter"),
    ("Action=Unsubscribe&SubscriptionArn=x", "InvalidParameter"),
]


@pytest.mark.parametrize(("query", "code"), LINK_REFUSALS)
async def test_links_do_nothing_else(stack: Stack, client: Any, query: str, code: str):
    answer = await follow(stack, query)
    assert answer.status == 400
    assert answer.body.startswith(b"<ErrorResponse")
    assert f"<Code>{code}</Code>".encode() in answer.body


# --- over connections ---


@pytest.fixture
async def server(stack: Stack) -> AsyncIterator[HttpServer]:
    server = HttpServer(stack.front)
    await server.start()
    stack.base_url = f"http://127.0.0.1:{server.port}"
    yield server
    await server.stop(1)


class Site:
    """An HTTP endpoint that keeps what it is sent, in order of arrival."""

    def __init__(self) -> None:
        self.posts: asyncio.Queue[tuple[dict[str, str], dict[str, Any]]] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.posts.put_nowait((headers, json.loads(body)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()


async def test_an_endpoint_confirms_by_the_link_and_gets_messages(stack: Stack, server: HttpServer, client: Any):
    site = Site()
    listener = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    async with listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/hook"
        subscribed = await client.subscribe(TopicArn=TOPIC, Protocol="http", Endpoint=url)
        assert subscribed["SubscriptionArn"] == "pending confirmation"
        listed = (await client.list_subscriptions())["Subscriptions"]
        assert [each["SubscriptionArn"] for each in listed] == ["PendingConfirmation"]
        headers, document = await asyncio.wait_for(site.posts.get(), 5)
        assert headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
        link = urlsplit(document["SubscribeURL"])
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET {link.path}?{link.query} HTTP/1.1\r\nHost: {link.netloc}\r\n\r\n".encode())
        assert b" 200 " in await reader.readline()
        writer.close()
        await client.publish(TopicArn=TOPIC, Message="hello")
        headers, document = await asyncio.wait_for(site.posts.get(), 5)
        assert headers["x-amz-sns-message-type"] == "Notification"
        assert headers["x-amz-sns-subscription-arn"].startswith(f"{TOPIC}:")
        assert document["Message"] == "hello"
        again = await client.subscribe(TopicArn=TOPIC, Protocol="http", Endpoint=url)
        assert again["SubscriptionArn"] == headers["x-amz-sns-subscription-arn"]
