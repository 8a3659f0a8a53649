"""Topics, rules and schedules that call functions, and functions whose results go to topics and buses."""

from __future__ import annotations

import base64
import gzip
import json
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.deploying import Deployer
from tests.running import RunningServer

ECHO = "def handler(event, context):\n    return 'seen'\n"
FAILS = "def handler(event, context):\n    raise ValueError('no')\n"


@pytest.fixture(scope="session")
def sqs(server: RunningServer) -> Any:
    return server.client("sqs")


@pytest.fixture(scope="session")
def sns(server: RunningServer) -> Any:
    return server.client("sns")


@pytest.fixture(scope="session")
def events(server: RunningServer) -> Any:
    return server.client("events")


class Queue:
    """A queue of a test's own; `next` waits for a message, woken by its arrival."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.name = f"q-{uuid.uuid4().hex[:12]}"
        self.url = client.create_queue(QueueName=self.name)["QueueUrl"]
        self.arn = f"arn:aws:sqs:us-east-1:000000000000:{self.name}"

    def open_to(self, service: str, source_arn: str) -> None:
        """Lets a service send for a topic or rule."""
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sqs:SendMessage",
            "Resource": self.arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": source_arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._client.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})

    def next(self) -> Any:
        received = self._client.receive_message(QueueUrl=self.url, WaitTimeSeconds=15).get("Messages", [])
        assert received, "no message came"
        self._client.delete_message(QueueUrl=self.url, ReceiptHandle=received[0]["ReceiptHandle"])
        return json.loads(received[0]["Body"])


@pytest.fixture
def queue(sqs: Any) -> Queue:
    return Queue(sqs)


def arn_of(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:000000000000:function:{name}"


def permit(deploy: Deployer, name: str, service: str, source_arn: str) -> None:
    """Lets a service call a function for a topic or rule."""
    deploy.client.add_permission(
        FunctionName=name,
        StatementId=uuid.uuid4().hex,
        Action="lambda:InvokeFunction",
        Principal=service,
        SourceArn=source_arn,
    )


def a_watched_function(deploy: Deployer, queue: Queue) -> str:
    """Its invocation records come to the queue."""
    name = deploy(ECHO)
    deploy.client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": queue.arn}}
    )
    return name


def test_a_topic_calls_a_function(deploy: Deployer, queue: Queue, sns: Any) -> None:
    name = a_watched_function(deploy, queue)
    topic = sns.create_topic(Name=f"t-{uuid.uuid4().hex[:12]}")["TopicArn"]
    permit(deploy, name, "sns.amazonaws.com", topic)
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn_of(name))
    message_id = sns.publish(TopicArn=topic, Message="hello", Subject="greeting")["MessageId"]
    (record,) = queue.next()["requestPayload"]["Records"]
    assert record["EventSource"] == "aws:sns"
    assert record["Sns"]["MessageId"] == message_id
    assert record["Sns"]["TopicArn"] == topic
    assert (record["Sns"]["Message"], record["Sns"]["Subject"]) == ("hello", "greeting")


def test_a_rule_calls_a_function(deploy: Deployer, queue: Queue, events: Any) -> None:
    name = a_watched_function(deploy, queue)
    rule = f"r-{uuid.uuid4().hex[:12]}"
    pattern = json.dumps({"source": [rule], "detail": {"n": [{"numeric": [">", 3]}]}})
    permit(deploy, name, "events.amazonaws.com", events.put_rule(Name=rule, EventPattern=pattern)["RuleArn"])
    events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": arn_of(name)}])
    entry = {"Source": rule, "DetailType": "test"}
    made = events.put_events(Entries=[{**entry, "Detail": '{"n": 2}'}, {**entry, "Detail": '{"n": 5}'}])
    event = queue.next()["requestPayload"]
    assert event["id"] == made["Entries"][1]["EventId"]
    assert (event["source"], event["detail-type"], event["detail"]) == (rule, "test", {"n": 5})
    events.remove_targets(Rule=rule, Ids=["1"])
    events.delete_rule(Name=rule)


def test_a_schedule_calls_a_function_when_the_clock_has_come(
    deploy: Deployer, queue: Queue, events: Any, server: RunningServer
) -> None:
    name = a_watched_function(deploy, queue)
    rule = f"r-{uuid.uuid4().hex[:12]}"
    arn = events.put_rule(Name=rule, ScheduleExpression="rate(5 minutes)")["RuleArn"]
    permit(deploy, name, "events.amazonaws.com", arn)
    events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": arn_of(name)}])
    server.advance(301)
    event = queue.next()["requestPayload"]
    assert event["detail-type"] == "Scheduled Event"
    assert event["source"] == "aws.events"
    assert event["resources"] == [arn]
    events.remove_targets(Rule=rule, Ids=["1"])
    events.delete_rule(Name=rule)


def test_log_events_call_a_function(server: RunningServer, deploy: Deployer, queue: Queue) -> None:
    name = deploy("def handler(event, context):\n    return event\n")
    logs, group = server.client("logs"), f"g-{uuid.uuid4().hex[:12]}"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    wanted = {"filterName": "errors", "filterPattern": "ERROR", "destinationArn": arn_of(name)}
    with pytest.raises(ClientError, match="Make sure you have given CloudWatch Logs permission to execute"):
        logs.put_subscription_filter(logGroupName=group, **wanted)
    permit(deploy, name, "logs.amazonaws.com", f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*")
    logs.put_subscription_filter(logGroupName=group, **wanted)
    destinations = {"OnSuccess": {"Destination": queue.arn}}
    deploy.client.put_function_event_invoke_config(FunctionName=name, DestinationConfig=destinations)
    now_ms = int(time.time() * 1000)
    messages = ("fine", "ERROR one", "ERROR two")
    put = [{"timestamp": now_ms, "message": message} for message in messages]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=put)
    data = queue.next()["requestPayload"]["awslogs"]["data"]
    document = json.loads(gzip.decompress(base64.b64decode(data)))
    events = document.pop("logEvents")
    assert document == {
        "messageType": "DATA_MESSAGE",
        "owner": "000000000000",
        "logGroup": group,
        "logStream": "s",
        "subscriptionFilters": ["errors"],
    }
    found = logs.filter_log_events(logGroupName=group, filterPattern="ERROR")["events"]
    assert [(event["id"], event["timestamp"], event["message"]) for event in events] == [
        (event["eventId"], now_ms, event["message"]) for event in found
    ]
    assert [event["message"] for event in events] == ["ERROR one", "ERROR two"]


def test_a_failure_goes_to_a_topic(deploy: Deployer, queue: Queue, sns: Any) -> None:
    name = deploy(FAILS)
    topic = sns.create_topic(Name=f"t-{uuid.uuid4().hex[:12]}")["TopicArn"]
    queue.open_to("sns.amazonaws.com", topic)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn, Attributes={"RawMessageDelivery": "true"})
    deploy.client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": topic}}
    )
    deploy.invoke(name, {"a": 1}, InvocationType="Event")
    record = queue.next()
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestPayload"] == {"a": 1}
    assert record["responsePayload"]["errorMessage"] == "no"


def test_a_topic_as_dead_letter_queue(deploy: Deployer, queue: Queue, sns: Any) -> None:
    topic = sns.create_topic(Name=f"t-{uuid.uuid4().hex[:12]}")["TopicArn"]
    queue.open_to("sns.amazonaws.com", topic)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    name = deploy(FAILS, DeadLetterConfig={"TargetArn": topic})
    deploy.client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    deploy.invoke(name, {"a": 1}, InvocationType="Event")
    envelope = queue.next()
    assert json.loads(envelope["Message"]) == {"a": 1}
    assert envelope["MessageAttributes"]["ErrorCode"] == {"Type": "Number", "Value": "200"}
    assert envelope["MessageAttributes"]["ErrorMessage"]["Value"] == "no"


def test_a_result_goes_to_a_bus(deploy: Deployer, queue: Queue, events: Any) -> None:
    bus = events.create_event_bus(Name=f"b-{uuid.uuid4().hex[:12]}")["EventBusArn"]
    rule = f"r-{uuid.uuid4().hex[:12]}"
    arn = events.put_rule(Name=rule, EventBusName=bus, EventPattern='{"source": ["lambda"]}')["RuleArn"]
    queue.open_to("events.amazonaws.com", arn)
    events.put_targets(Rule=rule, EventBusName=bus, Targets=[{"Id": "1", "Arn": queue.arn}])
    name = deploy(ECHO)
    deploy.client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": bus}}
    )
    deploy.invoke(name, {"a": 1}, InvocationType="Event")
    event = queue.next()
    assert event["detail-type"] == "Lambda Function Invocation Result - Success"
    assert event["source"] == "lambda"
    assert event["resources"] == [bus, f"{arn_of(name)}:$LATEST"]
    assert event["detail"]["requestPayload"] == {"a": 1}
    assert event["detail"]["responsePayload"] == "seen"
