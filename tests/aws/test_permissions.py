"""Who may call a function, and what happens to the deliveries of services that may not."""

from __future__ import annotations

import json
import re
import shlex
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.deploying import Deployer
from tests.aws.test_triggers import ECHO, Queue, a_watched_function, arn_of, permit
from tests.running import RunningServer

OTHER_ACCOUNT = "222222222222"
OTHER_ROOT = f"arn:aws:iam::{OTHER_ACCOUNT}:root"


@pytest.fixture
def sqs(server: RunningServer) -> Any:
    return server.client("sqs")


@pytest.fixture
def queue(sqs: Any) -> Queue:
    return Queue(sqs)


@pytest.fixture
def dead(sqs: Any) -> Queue:
    return Queue(sqs)


@pytest.fixture
def topic(server: RunningServer) -> Iterator[str]:
    sns = server.client("sns")
    arn: str = sns.create_topic(Name=f"t-{uuid.uuid4().hex[:12]}")["TopicArn"]
    yield arn
    sns.delete_topic(TopicArn=arn)


@pytest.fixture
def rule(server: RunningServer) -> Iterator[dict[str, str]]:
    events = server.client("events")
    name = f"r-{uuid.uuid4().hex[:12]}"
    arn = events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
    yield {"name": name, "arn": arn}
    events.remove_targets(Rule=name, Ids=["1"])
    events.delete_rule(Name=name)


def put_event(server: RunningServer, rule: dict[str, str], detail: str) -> None:
    entry = {"Source": rule["name"], "DetailType": "test", "Detail": detail}
    server.client("events").put_events(Entries=[entry])


def run_advice(deploy: Deployer, line: str) -> None:
    """Does what a log line or dead letter says, read as a shell would read it."""
    words = shlex.split(line.partition("This adds it: ")[2])
    assert words[:3] == ["aws", "lambda", "add-permission"]
    names = ["".join(part.capitalize() for part in word[2:].split("-")) for word in words[3::2]]
    deploy.client.add_permission(**dict(zip(names, words[4::2], strict=True)))


def test_a_topic_without_permission_does_not_run_a_function(
    server: RunningServer, deploy: Deployer, queue: Queue, dead: Queue, topic: str
) -> None:
    sns = server.client("sns")
    name = a_watched_function(deploy, queue)
    permit(deploy, name, "sns.amazonaws.com", f"{topic}-another")
    dead.open_to("sns.amazonaws.com", topic)
    redrive = json.dumps({"deadLetterTargetArn": dead.arn})
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn_of(name), Attributes={"RedrivePolicy": redrive})
    refused = sns.publish(TopicArn=topic, Message="refused")["MessageId"]
    assert dead.next()["MessageId"] == refused
    line = server.wait_for_line(f"{refused}: it could not be delivered.*")[0]
    assert f"sns.amazonaws.com is not authorized to perform: lambda:InvokeFunction on resource: {arn_of(name)} " in line
    run_advice(deploy, line.partition(" It is in the dead-letter queue")[0])
    sns.publish(TopicArn=topic, Message="let in")
    assert queue.next()["requestPayload"]["Records"][0]["Sns"]["Message"] == "let in"


def test_a_rule_without_permission_does_not_run_a_function(
    server: RunningServer, deploy: Deployer, queue: Queue, sqs: Any, dead: Queue, rule: dict[str, str]
) -> None:
    name = a_watched_function(deploy, queue)
    dead.open_to("events.amazonaws.com", rule["arn"])
    target = {"Id": "1", "Arn": arn_of(name), "DeadLetterConfig": {"Arn": dead.arn}}
    server.client("events").put_targets(Rule=rule["name"], Targets=[target])
    put_event(server, rule, '{"n": 1}')
    (message,) = sqs.receive_message(QueueUrl=dead.url, WaitTimeSeconds=15, MessageAttributeNames=["All"])["Messages"]
    assert json.loads(message["Body"])["detail"] == {"n": 1}
    attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    assert attributes["RETRY_ATTEMPTS"] == "0"
    run_advice(deploy, attributes["ERROR_MESSAGE"])
    put_event(server, rule, '{"n": 2}')
    assert queue.next()["requestPayload"]["detail"] == {"n": 2}


def test_permissions_are_of_the_alias_that_is_called(
    server: RunningServer, deploy: Deployer, queue: Queue, topic: str
) -> None:
    sns = server.client("sns")
    name = deploy(ECHO, Publish=True)
    deploy.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    destination = {"OnSuccess": {"Destination": queue.arn}}
    deploy.client.put_function_event_invoke_config(FunctionName=name, Qualifier="live", DestinationConfig=destination)
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=f"{arn_of(name)}:live")
    permit(deploy, name, "sns.amazonaws.com", topic)
    refused = sns.publish(TopicArn=topic, Message="refused")["MessageId"]
    server.wait_for_line(f"{refused}.*add-permission.*--qualifier live")
    permit(deploy, f"{name}:live", "sns.amazonaws.com", topic)
    sns.publish(TopicArn=topic, Message="let in")
    assert queue.next()["requestPayload"]["Records"][0]["Sns"]["Message"] == "let in"


def test_queues_are_asked_too(server: RunningServer, sqs: Any, queue: Queue, topic: str, rule: dict[str, str]) -> None:
    sns, events = server.client("sns"), server.client("events")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn, Attributes={"RawMessageDelivery": "true"})
    events.put_targets(Rule=rule["name"], Targets=[{"Id": "1", "Arn": queue.arn}])
    refused = sns.publish(TopicArn=topic, Message='"refused"')["MessageId"]
    put_event(server, rule, "{}")
    line = server.wait_for_line(f"{refused}.*sns.amazonaws.com is not authorized to perform: sqs:sendmessage.*")[0]
    server.wait_for_line(
        f"{re.escape(rule['arn'])}.*events.amazonaws.com is not authorized to perform: sqs:sendmessage"
    )
    assert "Messages" not in sqs.receive_message(QueueUrl=queue.url)
    # The attributes that the advice sets let in the topic, and nobody else.
    words = shlex.split(line.partition("--attributes ")[2].partition(" The subscription")[0].removesuffix("."))
    sqs.set_queue_attributes(QueueUrl=queue.url, Attributes=json.loads(words[0].removesuffix(".")))
    put_event(server, rule, "{}")
    sns.publish(TopicArn=topic, Message='"let in"')
    assert queue.next() == "let in"
    assert "Messages" not in sqs.receive_message(QueueUrl=queue.url)


def test_topics_are_asked_by_rules(server: RunningServer, queue: Queue, topic: str, rule: dict[str, str]) -> None:
    sns, events = server.client("sns"), server.client("events")
    queue.open_to("sns.amazonaws.com", topic)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn, Attributes={"RawMessageDelivery": "true"})
    events.put_targets(Rule=rule["name"], Targets=[{"Id": "1", "Arn": topic}])
    put_event(server, rule, '{"n": 1}')
    name = re.escape(rule["arn"])
    line = server.wait_for_line(f"{name}.*events.amazonaws.com is not authorized to perform: SNS:Publish.*")[0]
    words = shlex.split(line.partition("This adds it: ")[2])
    assert words[:3] == ["aws", "sns", "set-topic-attributes"]
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=words[-1])
    put_event(server, rule, '{"n": 2}')
    assert queue.next()["detail"] == {"n": 2}
    sns.publish(TopicArn=topic, Message='"the owner still may"')
    assert queue.next() == "the owner still may"


@pytest.mark.parametrize("kind", ["RequestResponse", "Event"])
def test_another_account_calls_a_function_that_it_was_let_into(
    server: RunningServer, deploy: Deployer, kind: str
) -> None:
    name = deploy(ECHO)
    other = server.client("lambda", account=OTHER_ACCOUNT)
    refusal = (
        f"User: {OTHER_ROOT} is not authorized to perform: lambda:InvokeFunction on resource: {arn_of(name)} because "
        "no resource-based policy allows the lambda:InvokeFunction action"
    )

    def call(qualifier: str = "") -> int:
        answer = other.invoke(FunctionName=arn_of(name) + qualifier, InvocationType=kind)
        return int(answer["StatusCode"])

    def is_refused(qualifier: str = "") -> str:
        with pytest.raises(ClientError) as error:
            call(qualifier)
        assert error.value.response["Error"]["Code"] == "AccessDeniedException"
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        return str(error.value.response["Error"]["Message"])

    assert is_refused() == refusal
    deploy.invoke(name)  # what is cached for the owner lets in nobody else
    assert is_refused() == refusal
    deploy.client.add_permission(
        FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal=OTHER_ACCOUNT
    )
    assert call() == (202 if kind == "Event" else 200)
    is_refused(":$LATEST")  # the permission is about the unqualified function
    deploy.client.remove_permission(FunctionName=name, StatementId="s")
    assert is_refused() == refusal


def test_a_policy_can_shut_out_its_own_account(deploy: Deployer) -> None:
    name = deploy(ECHO)
    deploy.invoke(name)
    statement = {"Effect": "Deny", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": arn_of(name)}
    deploy.client.put_resource_policy(ResourceArn=arn_of(name), Policy=json.dumps({"Statement": [statement]}))
    for _ in range(2):
        with pytest.raises(ClientError, match="with an explicit deny in a resource-based policy"):
            deploy.invoke(name)
    deploy.client.delete_resource_policy(ResourceArn=arn_of(name))
    assert deploy.invoke(name)["Payload"] == b'"seen"'
