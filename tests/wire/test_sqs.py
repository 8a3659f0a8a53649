"""SQS on the wire: boto3 in JSON 1.0, the query form of older SDKs, and both over a real connection."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from lambdad.clock import SystemClock
from lambdad.http.messages import Response
from lambdad.http.server import HttpServer
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage.sqlite import SqliteEngine
from lambdad.wire.front import FrontDoor
from lambdad.wire.sqs import sqs_service
from tests.wire.harness import Boto, a_front_door, ask, request_of

NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"
HOST = "http://localhost:4566"
URL = f"{HOST}/000000000000/q"
MANY = {"Id": "a", "MessageBody": "x"}


@pytest.fixture
async def sqs(tmp_path: Path) -> AsyncIterator[SqsService]:
    engine = await SqliteEngine.open(tmp_path)
    service = SqsService(engine, SystemClock())
    service.start()
    yield service
    await service.stop()
    await engine.close()


@pytest.fixture
async def front(sqs: SqsService) -> AsyncIterator[FrontDoor]:
    front = a_front_door(sqs_service(sqs))
    yield front
    sqs.release_waiters()
    await front.finish(1)


@pytest.fixture
async def client(front: FrontDoor) -> Any:
    return Boto(front)("sqs")


async def refusal(call: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as refused:
        await call
    return refused.value.response  # type: ignore[return-value]


# --- JSON ---


async def test_the_life_of_a_message(client: Any):
    created = await client.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "3"}, tags={"a": "b"})
    assert created["QueueUrl"] == URL
    attributes = {
        "n": {"DataType": "Number", "StringValue": "1"},
        "b": {"DataType": "Binary", "BinaryValue": b"\0\1"},
    }
    sent = await client.send_message(
        QueueUrl=URL,
        MessageBody="hello",
        MessageAttributes=attributes,
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
    )
    assert sent["MD5OfMessageBody"] == "5d41402abc4b2a76b9719d911017c592"
    assert {"MessageId", "MD5OfMessageAttributes", "MD5OfMessageSystemAttributes"} <= set(sent)
    answer = await client.receive_message(
        QueueUrl=URL, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
    )
    (message,) = answer["Messages"]
    assert message["Body"] == "hello"
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["Attributes"].keys() == {
        "SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp", "AWSTraceHeader",
    }  # fmt: skip
    await client.delete_message(QueueUrl=URL, ReceiptHandle=message["ReceiptHandle"])
    assert "Messages" not in await client.receive_message(QueueUrl=URL)
    assert (await client.list_queue_tags(QueueUrl=URL))["Tags"] == {"a": "b"}


async def test_a_message_brings_only_what_was_asked_for(client: Any):
    await client.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "0"})
    text = {"DataType": "String", "StringValue": "x"}
    await client.send_message(QueueUrl=URL, MessageBody="x", MessageAttributes={"a.b": text, "c": text})
    (plain,) = (await client.receive_message(QueueUrl=URL))["Messages"]
    assert plain.keys() == {"MessageId", "ReceiptHandle", "MD5OfBody", "Body"}
    (some,) = (await client.receive_message(QueueUrl=URL, AttributeNames=["SenderId"], MessageAttributeNames=["a.*"]))[
        "Messages"
    ]
    assert some["Attributes"] == {"SenderId": "000000000000"}
    assert list(some["MessageAttributes"]) == ["a.b"]


async def test_a_fifo_queue(client: Any):
    url = (await client.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"}))["QueueUrl"]
    sent = await client.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d")
    (message,) = (await client.receive_message(QueueUrl=url, MessageSystemAttributeNames=["All"]))["Messages"]
    assert message["Attributes"]["SequenceNumber"] == sent["SequenceNumber"]
    assert message["Attributes"]["MessageGroupId"] == "g"
    assert message["Attributes"]["MessageDeduplicationId"] == "d"


async def test_batches(client: Any):
    await client.create_queue(QueueName="q")
    answer = await client.send_message_batch(
        QueueUrl=URL, Entries=[{"Id": "a", "MessageBody": "1"}, {"Id": "b", "MessageBody": ""}]
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["a"]
    assert answer["Failed"] == [
        {"Id": "b", "SenderFault": True, "Code": "MissingParameter",
         "Message": "The request must contain the parameter MessageBody."}
    ]  # fmt: skip
    (message,) = (await client.receive_message(QueueUrl=URL))["Messages"]
    handle = message["ReceiptHandle"]
    changed = await client.change_message_visibility_batch(
        QueueUrl=URL, Entries=[{"Id": "a", "ReceiptHandle": handle, "VisibilityTimeout": 60}]
    )
    assert changed["Successful"] == [{"Id": "a"}]
    deleted = await client.delete_message_batch(
        QueueUrl=URL, Entries=[{"Id": "a", "ReceiptHandle": handle}, {"Id": "b", "ReceiptHandle": "x"}]
    )
    assert deleted["Successful"] == [{"Id": "a"}]
    assert deleted["Failed"][0]["Code"] == "ReceiptHandleIsInvalid"


async def test_queues_are_found_listed_and_deleted(client: Any):
    assert "QueueUrls" not in await client.list_queues()
    await client.create_queue(QueueName="q")
    await client.create_queue(QueueName="other")
    assert (await client.get_queue_url(QueueName="q"))["QueueUrl"] == URL
    assert (await client.list_queues(QueueNamePrefix="q"))["QueueUrls"] == [URL]
    page = await client.list_queues(MaxResults=1)
    assert (await client.list_queues(MaxResults=1, NextToken=page["NextToken"]))["QueueUrls"] == [URL]
    await client.delete_queue(QueueUrl=URL)
    answer = await refusal(client.get_queue_url(QueueName="q"))
    assert answer["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"


async def test_attributes_tags_permissions_and_purge(client: Any):
    await client.create_queue(QueueName="q")
    await client.set_queue_attributes(QueueUrl=URL, Attributes={"DelaySeconds": "7"})
    answer = await client.get_queue_attributes(QueueUrl=URL, AttributeNames=["DelaySeconds"])
    assert answer["Attributes"] == {"DelaySeconds": "7"}
    assert "Attributes" not in await client.get_queue_attributes(QueueUrl=URL)
    await client.tag_queue(QueueUrl=URL, Tags={"a": "1", "b": "2"})
    await client.untag_queue(QueueUrl=URL, TagKeys=["a"])
    assert (await client.list_queue_tags(QueueUrl=URL))["Tags"] == {"b": "2"}
    await client.add_permission(QueueUrl=URL, Label="l", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    answer = await client.get_queue_attributes(QueueUrl=URL, AttributeNames=["Policy"])
    assert json.loads(answer["Attributes"]["Policy"])["Statement"][0]["Sid"] == "l"
    await client.remove_permission(QueueUrl=URL, Label="l")
    await client.purge_queue(QueueUrl=URL)
    answer = await refusal(client.purge_queue(QueueUrl=URL))
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403


async def test_dead_letters_and_their_way_back(client: Any, sqs: SqsService):
    await client.create_queue(QueueName="dead")
    arn = "arn:aws:sqs:us-east-1:000000000000:dead"
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    await client.create_queue(QueueName="q", Attributes={"RedrivePolicy": redrive, "VisibilityTimeout": "0"})
    await client.send_message(QueueUrl=URL, MessageBody="x")
    for _ in range(2):
        await client.receive_message(QueueUrl=URL)
    answer = await client.receive_message(
        QueueUrl=f"{HOST}/000000000000/dead", VisibilityTimeout=0, MessageSystemAttributeNames=["All"]
    )
    attributes = answer["Messages"][0]["Attributes"]
    assert attributes["DeadLetterQueueSourceArn"] == "arn:aws:sqs:us-east-1:000000000000:q"
    sources = await client.list_dead_letter_source_queues(QueueUrl=f"{HOST}/000000000000/dead")
    assert sources["queueUrls"] == [URL]
    handle = (await client.start_message_move_task(SourceArn=arn))["TaskHandle"]
    (message,) = (await client.receive_message(QueueUrl=URL, WaitTimeSeconds=5))["Messages"]
    assert message["Body"] == "x"
    (task,) = (await client.list_message_move_tasks(SourceArn=arn))["Results"]
    assert task["Status"] == "COMPLETED"
    assert (task["ApproximateNumberOfMessagesMoved"], task["ApproximateNumberOfMessagesToMove"]) == (1, 1)
    assert "TaskHandle" not in task
    answer = await refusal(client.cancel_message_move_task(TaskHandle=handle))
    assert answer["Error"]["Code"] == "AWS.SimpleQueueService.UnsupportedOperation"


REFUSALS: list[tuple[str, dict[str, Any], str, str, int]] = [
    ("send_message", {"QueueUrl": f"{URL}x", "MessageBody": "x"}, "AWS.SimpleQueueService.NonExistentQueue",
     "The specified queue does not exist.", 400),
    ("send_message", {"QueueUrl": URL}, "MissingParameter",
     "The request must contain the parameter MessageBody.", 400),
    ("send_message", {"MessageBody": "x"}, "MissingParameter", "The request must contain the parameter QueueUrl.", 400),
    ("send_message", {"QueueUrl": "q", "MessageBody": "x"}, "InvalidAddress",
     "The address q is not valid for this endpoint.", 404),
    ("send_message", {"QueueUrl": f"{HOST}/000000000000/\u00e9", "MessageBody": "x"},
     "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.", 400),
    ("send_message", {"QueueUrl": URL, "MessageBody": "x", "MessageAttributes": {
        "a": {"DataType": "String", "StringListValues": ["x"]}}}, "AWS.SimpleQueueService.UnsupportedOperation",
     "Message attribute list values in SendMessage operation are not supported.", 400),
    ("send_message_batch", {"QueueUrl": URL}, "AWS.SimpleQueueService.EmptyBatchRequest",
     "There should be at least one SendMessageBatchRequestEntry in the request.", 400),
    ("send_message_batch", {"QueueUrl": URL, "Entries": [{**MANY, "Id": str(n)} for n in range(11)]},
     "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
     "Maximum number of entries per request are 10. You have sent 11.", 400),
    ("send_message_batch", {"QueueUrl": URL, "Entries": [MANY, MANY]},
     "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "Id a repeated.", 400),
    ("send_message_batch", {"QueueUrl": URL, "Entries": [{**MANY, "Id": "a b"}]},
     "AWS.SimpleQueueService.InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens "
     "and underscores. It can be at most 80 letters long.", 400),
    ("send_message_batch", {"QueueUrl": URL, "Entries": [{"Id": n, "MessageBody": "x" * 524_289} for n in "ab"]},
     "AWS.SimpleQueueService.BatchRequestTooLong",
     "Batch requests cannot be longer than 1048576 bytes. You have sent 1048578 bytes.", 400),
    ("receive_message", {"QueueUrl": URL, "MaxNumberOfMessages": 11}, "InvalidParameterValue",
     "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.", 400),
    ("delete_message", {"QueueUrl": URL, "ReceiptHandle": "x"}, "ReceiptHandleIsInvalid",
     'The input receipt handle "x" is not a valid receipt handle.', 404),
    ("delete_message", {"QueueUrl": URL}, "MissingParameter",
     "The request must contain the parameter ReceiptHandle.", 400),
    ("change_message_visibility", {"QueueUrl": URL, "ReceiptHandle": "x"}, "MissingParameter",
     "The request must contain the parameter VisibilityTimeout.", 400),
    ("create_queue", {"QueueName": "q", "Attributes": {"DelaySeconds": "5"}}, "QueueAlreadyExists",
     "A queue already exists with the same name and a different value for attribute DelaySeconds", 400),
    ("create_queue", {"QueueName": "r", "Attributes": {"FifoQueue": "false"}}, "InvalidAttributeName",
     "Unknown Attribute FifoQueue.", 400),
    ("create_queue", {}, "MissingParameter", "The request must contain the parameter QueueName.", 400),
    ("set_queue_attributes", {"QueueUrl": URL, "Attributes": {"DelaySeconds": "901"}}, "InvalidAttributeValue",
     "Invalid value for the parameter DelaySeconds.", 400),
    ("get_queue_attributes", {"QueueUrl": URL, "AttributeNames": ["Nonsense"]}, "InvalidAttributeName",
     "Unknown Attribute Nonsense.", 400),
    ("untag_queue", {"QueueUrl": URL}, "MissingParameter", "The request must contain the parameter TagKeys.", 400),
    ("start_message_move_task", {"SourceArn": "arn:aws:sqs:us-east-1:000000000000:none"},
     "ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist.", 404),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "params", "code", "message", "status"), REFUSALS)
async def test_refusals(client: Any, operation: str, params: dict[str, Any], code: str, message: str, status: int):
    await client.create_queue(QueueName="q")
    answer = await refusal(getattr(client, operation)(**params))
    assert (answer["Error"]["Code"], answer["Error"]["Message"]) == (code, message)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status


async def test_an_error_names_its_shape_and_the_code_of_the_query_form(client: Any):
    answer = await refusal(client.purge_queue(QueueUrl=URL))
    assert answer["Error"]["QueryErrorCode"] == "QueueDoesNotExist"
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"
    answer = await refusal(client.send_message(QueueUrl=URL))
    assert answer["Error"]["QueryErrorCode"] == "MissingRequiredParameterException"


@pytest.mark.parametrize("url", [URL, f"{URL}/", "/000000000000/q", "https://sqs.us-east-1.amazonaws.com/000000000000/q",
                                 "http://localhost:4566/queue/us-east-1/000000000000/q"])  # fmt: skip
async def test_the_end_of_a_url_names_the_queue(client: Any, url: str):
    await client.create_queue(QueueName="q")
    await client.send_message(QueueUrl=url, MessageBody="x")


async def test_another_account_is_let_in_by_the_policy(front: FrontDoor, client: Any):
    await client.create_queue(QueueName="q")
    other = Boto(front, key="111111111111")("sqs")
    answer = await refusal(other.send_message(QueueUrl=URL, MessageBody="x"))
    assert answer["Error"]["Code"] == "AccessDenied"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    await client.add_permission(QueueUrl=URL, Label="l", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    await other.send_message(QueueUrl=URL, MessageBody="x")


async def test_every_operation_of_the_model_is_offered(sqs: SqsService):
    operations = boto3.client("sqs", region_name="us-east-1").meta.service_model.operation_names
    assert set(operations) == set(sqs_service(sqs).handlers)


# --- the query form ---


async def query(front: FrontDoor, path: str = "/", *, method: str = "POST", **form: str) -> Response:
    fields = {"Version": "2012-11-05", **{name.replace("__", "."): value for name, value in form.items()}}
    encoded = urlencode(fields)
    request = AWSRequest(
        method=method,
        url=f"{HOST}{path}" if method == "POST" else f"{HOST}{path}?{encoded}",
        data=encoded if method == "POST" else None,
        headers={"content-type": "application/x-www-form-urlencoded"} if method == "POST" else {},
    )
    SigV4Auth(Credentials("test", "test"), "sqs", "us-east-1").add_auth(request)
    return await ask(front, request_of(request.prepare()))


def tree(response: Response, status: int = 200) -> ET.Element:
    assert response.status == status, response.body
    assert dict(response.headers)["content-type"] == "text/xml"
    text = response.body.decode()
    assert NAMESPACE in text
    return ET.fromstring(re.sub(f' xmlns="{NAMESPACE}"', "", text))


async def test_the_query_form(front: FrontDoor):
    created = tree(await query(front, Action="CreateQueue", QueueName="q", Attribute__1__Name="VisibilityTimeout",
                               Attribute__1__Value="9", Tag__1__Key="t", Tag__1__Value="v"))  # fmt: skip
    assert created.tag == "CreateQueueResponse"
    assert created.findtext("CreateQueueResult/QueueUrl") == URL
    assert created.findtext("ResponseMetadata/RequestId")
    path = "/000000000000/q"
    attributes = tree(await query(front, path, Action="GetQueueAttributes", AttributeName__1="VisibilityTimeout",
                                  AttributeName__2="DelaySeconds"))  # fmt: skip
    found = attributes.findall("GetQueueAttributesResult/Attribute")
    assert [(each.findtext("Name"), each.findtext("Value")) for each in found] == [
        ("VisibilityTimeout", "9"), ("DelaySeconds", "0"),
    ]  # fmt: skip
    tags = tree(await query(front, path, Action="ListQueueTags"))
    assert (tags.findtext("ListQueueTagsResult/Tag/Key"), tags.findtext("ListQueueTagsResult/Tag/Value")) == ("t", "v")
    listed = tree(await query(front, method="GET", Action="ListQueues"))
    assert [each.text for each in listed.findall("ListQueuesResult/QueueUrl")] == [URL]


async def test_messages_in_the_query_form(front: FrontDoor):
    await query(front, Action="CreateQueue", QueueName="q")
    path = "/000000000000/q"
    sent = tree(await query(
        front, path, Action="SendMessage", MessageBody="a<b&\r\n", MessageAttribute__1__Name="s",
        MessageAttribute__1__Value__DataType="String", MessageAttribute__1__Value__StringValue="x",
        MessageAttribute__2__Name="b", MessageAttribute__2__Value__DataType="Binary",
        MessageAttribute__2__Value__BinaryValue="AAE=", MessageSystemAttribute__1__Name="AWSTraceHeader",
        MessageSystemAttribute__1__Value__DataType="String", MessageSystemAttribute__1__Value__StringValue="Root=1",
    ))  # fmt: skip
    received = tree(await query(
        front, "/", QueueUrl=URL, Action="ReceiveMessage", MaxNumberOfMessages="10", AttributeName__1="SenderId",
        MessageSystemAttributeName__1="AWSTraceHeader", MessageAttributeName__1="All",
    ))  # fmt: skip
    (message,) = received.findall("ReceiveMessageResult/Message")
    assert message.findtext("Body") == "a<b&\r\n"
    assert message.findtext("MD5OfMessageAttributes") == sent.findtext("SendMessageResult/MD5OfMessageAttributes")
    system = [(each.findtext("Name"), each.findtext("Value")) for each in message.findall("Attribute")]
    assert system == [("SenderId", "000000000000"), ("AWSTraceHeader", "Root=1")]
    values = [
        (each.findtext("Name"), each.findtext("Value/StringValue"), each.findtext("Value/BinaryValue"))
        for each in message.findall("MessageAttribute")
    ]
    assert values == [("s", "x", None), ("b", None, "AAE=")]
    handle = message.findtext("ReceiptHandle") or ""
    changed = tree(await query(front, path, Action="ChangeMessageVisibility", ReceiptHandle=handle,
                               VisibilityTimeout="0"))  # fmt: skip
    assert [child.tag for child in changed] == ["ResponseMetadata"]
    tree(await query(front, path, Action="DeleteMessage", ReceiptHandle=handle))


async def test_batches_in_the_query_form(front: FrontDoor):
    await query(front, Action="CreateQueue", QueueName="q")
    path = "/000000000000/q"
    sent = tree(await query(
        front, path, Action="SendMessageBatch", SendMessageBatchRequestEntry__1__Id="a",
        SendMessageBatchRequestEntry__1__MessageBody="x", SendMessageBatchRequestEntry__2__Id="b",
        SendMessageBatchRequestEntry__2__MessageBody="y", SendMessageBatchRequestEntry__2__DelaySeconds="901",
    ))  # fmt: skip
    assert sent.findtext("SendMessageBatchResult/SendMessageBatchResultEntry/Id") == "a"
    failed = sent.find("SendMessageBatchResult/BatchResultErrorEntry")
    assert failed is not None
    assert [failed.findtext(name) for name in ("Id", "Code", "SenderFault")] == ["b", "InvalidParameterValue", "true"]
    deleted = tree(await query(
        front, path, Action="DeleteMessageBatch", DeleteMessageBatchRequestEntry__1__Id="a",
        DeleteMessageBatchRequestEntry__1__ReceiptHandle="x",
    ))  # fmt: skip
    assert deleted.findtext("DeleteMessageBatchResult/BatchResultErrorEntry/Code") == "ReceiptHandleIsInvalid"


QUERY_REFUSALS = [
    ({"Action": "PurgeQueue"}, 400, "AWS.SimpleQueueService.NonExistentQueue",
     "The specified queue does not exist for this wsdl version."),
    ({"Action": "CreateQueue"}, 400, "MissingParameter", "The request must contain the parameter QueueName."),
    ({"Action": "Nonsense"}, 400, "InvalidAction", "Could not find operation Nonsense for version 2012-11-05"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "status", "code", "message"), QUERY_REFUSALS)
async def test_refusals_in_the_query_form(front: FrontDoor, form: dict[str, str], status: int, code: str, message: str):
    answer = tree(await query(front, "/000000000000/none", **form), status)
    assert answer.tag == "ErrorResponse"
    assert answer.findtext("Error/Type") == "Sender"
    assert (answer.findtext("Error/Code"), answer.findtext("Error/Message")) == (code, message)
    assert answer.findtext("RequestId")


# --- over a connection ---


@pytest.fixture
async def port(front: FrontDoor) -> AsyncIterator[int]:
    server = HttpServer(front)
    await server.start()
    yield server.port
    await server.stop(1)


def over_http(port: int) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30),
    )


async def test_a_long_poll_over_a_connection_is_woken(port: int):
    def poll() -> list[str]:
        client = over_http(port)
        url = client.create_queue(QueueName="q")["QueueUrl"]
        assert url == f"http://127.0.0.1:{port}/000000000000/q"
        client.send_message(QueueUrl=url, MessageBody="first", DelaySeconds=1)
        answer = client.receive_message(QueueUrl=url, WaitTimeSeconds=20)
        return [message["Body"] for message in answer["Messages"]]

    assert await asyncio.wait_for(asyncio.to_thread(poll), 10) == ["first"]


async def test_a_client_that_hangs_up_while_it_waits_takes_no_message(port: int, sqs: SqsService):
    client = await asyncio.to_thread(over_http, port)
    url = (await asyncio.to_thread(client.create_queue, QueueName="q"))["QueueUrl"]
    request = AWSRequest(
        method="POST",
        url=f"http://127.0.0.1:{port}/",
        data=json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}),
        headers={"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.ReceiveMessage"},
    )
    SigV4Auth(Credentials("test", "test"), "sqs", "us-east-1").add_auth(request)
    prepared = request.prepare()
    body = prepared.body if isinstance(prepared.body, bytes) else prepared.body.encode()
    names = [f"{name}: {value}" for name, value in prepared.headers.items()]
    head = "\r\n".join(["POST / HTTP/1.1", f"Host: 127.0.0.1:{port}", *names, "", ""])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + body)
        await asyncio.wait_for(_until(lambda: sqs.statistics()["waiting"] == 1), 5)
    await asyncio.wait_for(_until(lambda: sqs.statistics()["waiting"] == 0), 5)
    await asyncio.to_thread(client.send_message, QueueUrl=url, MessageBody="x")
    answer = await asyncio.to_thread(client.receive_message, QueueUrl=url)
    assert [message["Body"] for message in answer["Messages"]] == ["x"]


async def _until(holds: Any) -> None:
    while True:
        if holds():
            return
        await asyncio.sleep(0)
