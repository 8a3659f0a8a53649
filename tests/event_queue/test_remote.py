"""Targets outside of this server: another lambdad plays them, and a small server that keeps what it is asked for S3."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.domain.destinations import Attribute, OutgoingMessage
from lambdad.event_queue.remote import RemoteTargets
from lambdad.event_queue.targets import TargetRefused
from tests.aws.test_async import ECHO, FAILS, a_queue, eventually, receive
from tests.conftest import StartServer
from tests.event_queue.building import ManualClock, a_world, raises
from tests.running import RunningServer

QUEUE = "arn:aws:sqs:us-east-1:000000000000:ends"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:greet:$LATEST"
BUCKET = "arn:aws:s3:::failures"
TRACE = "Root=1-65a0b1c2-000000000000000000000001;Parent=0000000000000001;Sampled=1"


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Stub:
    """Answers every request with one status and body, and keeps the requests."""

    url: str = ""
    status: int = 200
    answer: bytes = b"{}"
    asked: list[Asked] = field(default_factory=list)


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.asked.append(Asked(self.command, self.path, headers, self.rfile.read(length)))
            self.send_response(made.status)
            self.send_header("content-length", str(len(made.answer)))
            self.end_headers()
            self.wfile.write(made.answer)

        do_PUT = do_POST  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def a_record(**changes: Any) -> OutgoingMessage:
    values: dict[str, Any] = {
        "request_id": "id",
        "account": "000000000000",
        "region": "us-east-1",
        "function_arn": FUNCTION,
        "body": b'{"version":"1.0","timestamp":"2026-01-31T12:00:05.568Z","requestPayload":{"a": "\xc3\xa4"}}',
        "trace": TRACE,
    }
    return OutgoingMessage(**(values | changes))


# --- which endpoint ---


def test_the_rule_of_an_arn_comes_before_that_of_its_service() -> None:
    targets = RemoteTargets(
        {
            "sqs": "http://queues",
            "arn:aws:sqs:*:111111111111:*": "aws",
            "arn:aws:sqs:*:pay": "http://pay",
            "sns": "aws",
        },
        ManualClock(),
    )
    assert targets.endpoint_of(QUEUE) == "http://queues"
    assert targets.endpoint_of("arn:aws:sqs:eu-west-1:111111111111:pay") == "aws"
    assert targets.endpoint_of("arn:aws:sqs:eu-west-1:222222222222:pay") == "http://pay"
    assert targets.endpoint_of("arn:aws:sqs:eu-west-1:222222222222:pay2") == "http://queues"
    assert targets.endpoint_of("arn:aws:sns:eu-west-1:222222222222:topic") == "aws"


@pytest.mark.parametrize("arn", ["arn:aws:lambda:us-east-1:000000000000:function:f", BUCKET, "sqs", ""])
def test_what_no_rule_names_stays_in_the_server(arn: str) -> None:
    assert not RemoteTargets({"sqs": "http://queues"}, ManualClock()).sends_to(arn)


def test_only_a_rule_with_the_word_aws_leads_to_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    targets = RemoteTargets({"sqs": "aws", "sns": "http://topics"}, ManualClock())
    queues = targets.clients.client("sqs", "aws", "eu-west-1", "000000000000")
    topics = targets.clients.client("sns", "http://topics", "eu-west-1", "000000000000")
    assert queues.meta.endpoint_url == "https://sqs.eu-west-1.amazonaws.com"
    assert queues._request_signer._credentials.access_key == "AKIAMINE"
    assert topics.meta.endpoint_url == "http://topics"
    assert topics._request_signer._credentials.access_key == "test"


# --- requests ---


async def test_a_bucket_gets_the_record_as_an_object(stub: Stub) -> None:
    stub.answer = b""
    targets = RemoteTargets({"s3": stub.url}, ManualClock())
    for _ in range(2):
        await targets.send(BUCKET, a_record())
    first, second = stub.asked
    assert first.method == "PUT"
    assert first.path.startswith("/failures/aws/lambda/async/greet/2026/01/31/2026-01-31T12.00.05-")
    assert len(first.path.rpartition("05-")[2]) == 36
    assert first.body == a_record().body
    assert first.headers["content-type"] == "application/octet-stream"
    assert "Credential=test/" in first.headers["authorization"]
    assert second.path == first.path, "a second try replaces the first"


async def test_a_queue_gets_attributes_and_the_trace(stub: Stub) -> None:
    targets = RemoteTargets({"sqs": stub.url}, ManualClock())
    await targets.send(QUEUE, a_record(attributes={"ErrorCode": Attribute(data_type="Number", value="200")}))
    asked = json.loads(stub.asked[0].body)
    assert asked["QueueUrl"] == f"{stub.url}/000000000000/ends"
    assert asked["MessageBody"] == a_record().body.decode()
    assert asked["MessageAttributes"] == {"ErrorCode": {"DataType": "Number", "StringValue": "200"}}
    assert asked["MessageSystemAttributes"] == {"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}}


async def test_a_function_gets_the_record_as_an_event(stub: Stub) -> None:
    stub.status = 202
    targets = RemoteTargets({"lambda": stub.url}, ManualClock())
    await targets.send("arn:aws:lambda:us-east-1:000000000000:function:other", a_record())
    (asked,) = stub.asked
    assert asked.headers["x-amz-invocation-type"] == "Event"
    assert asked.headers["x-amzn-trace-id"] == TRACE
    assert asked.body == a_record().body


@pytest.mark.parametrize(
    ("status", "code", "is_final"),
    [
        (400, "QueueDoesNotExist", True),
        (403, "AccessDenied", True),
        (400, "ThrottlingException", False),
        (400, "com.amazonaws.sqs#RequestThrottled", False),
        (403, "ExpiredToken", False),
        (429, "TooMany", False),
        (404, "", False),
        (500, "InternalFailure", False),
        (503, "ServiceUnavailable", False),
    ],
)
async def test_what_is_refused_for_good(stub: Stub, status: int, code: str, is_final: bool) -> None:
    stub.status, stub.answer = status, json.dumps({"__type": code, "message": "no"} if code else {}).encode()
    targets = RemoteTargets({"sqs": stub.url}, ManualClock())
    with pytest.raises((TargetRefused, ClientError)) as caught:
        await targets.send(QUEUE, a_record())
    assert isinstance(caught.value, TargetRefused) == is_final
    assert len(stub.asked) == 1, "the outbox tries again, not the client"


@pytest.mark.parametrize(("code", "is_final"), [("NotAuthorized", True), ("ThrottlingException", False)])
async def test_a_bus_refuses_entries_in_its_answer(stub: Stub, code: str, is_final: bool) -> None:
    failure = {"ErrorCode": code, "ErrorMessage": "no"}
    stub.answer = json.dumps({"FailedEntryCount": 1, "Entries": [failure]}).encode()
    targets = RemoteTargets({"events": stub.url}, ManualClock())
    with pytest.raises(Exception, match=code) as caught:
        await targets.send("arn:aws:events:us-east-1:000000000000:event-bus/b", a_record())
    assert isinstance(caught.value, TargetRefused) == is_final


async def test_a_rule_that_is_gone_loses_the_message_with_a_reason() -> None:
    with pytest.raises(TargetRefused, match="--target sqs=URL"):
        await RemoteTargets({}, ManualClock()).send(QUEUE, a_record())


async def test_an_endpoint_that_is_down_gets_the_message_when_it_is_back(
    tmp_path: Path, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    remote = RemoteTargets({"sqs": stub.url}, ManualClock())
    async with a_world(tmp_path, remote=remote) as world:
        await world.function(raises())
        await world.configure(retries=0, failure=QUEUE)
        await world.accept()
        await world.run_due()
        stub.status = 503
        await world.queue.outbox.run_once()
        world.clock.advance(1)
        await world.queue.outbox.run_once()
        stub.status = 200
        world.clock.advance(2)
        assert await world.queue.outbox.run_once() is None
        assert len(stub.asked) == 3
        assert world.lost == []
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1, "told once, however often it is tried"
    assert f"{QUEUE} at {stub.url} does not take messages, which wait for it" in warnings[0]


async def test_a_refused_message_is_lost_and_counted(tmp_path: Path, stub: Stub) -> None:
    stub.status, stub.answer = 400, b'{"__type": "AWS.SimpleQueueService.NonExistentQueue", "message": "no queue"}'
    remote = RemoteTargets({"sqs": stub.url}, ManualClock())
    async with a_world(tmp_path, remote=remote) as world:
        await world.function(raises(), dead_letter_target=QUEUE)
        await world.configure(retries=0)
        await world.accept()
        await world.run_due()
        await world.queue.outbox.run_once()
        assert [(one.is_dead_letter, "no queue" in one.reason) for one in world.lost] == [(True, True)]


# --- two servers ---


@pytest.mark.server
def test_another_server_as_queue_topic_bus_and_function(tmp_path: Path, start_server: StartServer) -> None:
    other = start_server(data=tmp_path / "other")
    rules = [f"{service}={other.endpoint}" for service in ("sqs", "sns", "lambda", "events")]
    one = start_server(data=tmp_path / "one", environ={"LAMBDAD_TARGET": ",".join(rules)})
    url, queue = a_queue(other, "ends")
    services = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": queue}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [services]})
    other.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    topic = other.client("sns").create_topic(Name="failures")["TopicArn"]
    other.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    other.create_function("other", ECHO)
    other.client("lambda").put_function_event_invoke_config(
        FunctionName="other", DestinationConfig={"OnSuccess": {"Destination": queue}}
    )
    events = other.client("events")
    bus = events.create_event_bus(Name="results")["EventBusArn"]
    events.put_rule(Name="all", EventBusName="results", EventPattern='{"source": ["lambda"]}')
    events.put_targets(Rule="all", EventBusName="results", Targets=[{"Id": "q", "Arn": queue}])

    one.create_function("greet", FAILS, DeadLetterConfig={"TargetArn": queue})
    got: dict[str, Any] = {}
    function = "arn:aws:lambda:us-east-1:000000000000:function:other"
    for name, destination in (("queue", queue), ("topic", topic), ("function", function), ("bus", bus)):
        one.client("lambda").put_function_event_invoke_config(
            FunctionName="greet", MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": destination}}
        )
        one.client("lambda").invoke(FunctionName="greet", InvocationType="Event", Payload=json.dumps(name))
        for _ in range(2):
            message = take(other, url)
            attributes = message.get("MessageAttributes", {})
            got["letter" if "RequestID" in attributes else name] = message
    assert json.loads(got["queue"]["Body"])["requestPayload"] == "queue"
    assert got["queue"]["Attributes"]["AWSTraceHeader"].startswith("Root=")
    assert got["letter"]["Body"] == '"bus"'
    assert got["letter"]["MessageAttributes"]["ErrorCode"]["StringValue"] == "200"
    assert json.loads(json.loads(got["topic"]["Body"])["Message"])["requestPayload"] == "topic"
    assert json.loads(got["function"]["Body"])["requestPayload"]["requestPayload"] == "function"
    event = json.loads(got["bus"]["Body"])
    assert event["source"] == "lambda"
    assert event["detail-type"] == "Lambda Function Invocation Result - Failure"
    assert event["resources"] == [bus, FUNCTION]
    assert event["detail"]["requestPayload"] == "bus"


@pytest.mark.server
def test_a_killed_server_gets_its_records_when_it_is_back(tmp_path: Path, start_server: StartServer) -> None:
    other = start_server(data=tmp_path / "other")
    url, queue = a_queue(other, "ends")
    port = str(other.port)
    one = start_server("--target", f"{queue}={other.endpoint}", data=tmp_path / "one")
    one.create_function("greet", ECHO)
    one.client("lambda").put_function_event_invoke_config(
        FunctionName="greet", DestinationConfig={"OnSuccess": {"Destination": queue}}
    )
    other.stop(9)
    one.client("lambda").invoke(FunctionName="greet", InvocationType="Event", Payload=io.BytesIO(b'{"a": 1}'))
    one.wait_for_line("does not take messages, which wait for it")
    other = start_server("--port", port, data=tmp_path / "other")

    def came_back() -> bool:
        one.advance(300)
        return any("takes messages again" in line for line in one.lines)

    eventually(came_back)
    message = take(other, url.replace(url.split("/")[2], f"127.0.0.1:{port}"))
    assert json.loads(message["Body"])["requestPayload"] == {"a": 1}


def take(server: RunningServer, url: str) -> dict[str, Any]:
    message = receive(server, url)
    server.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return message
