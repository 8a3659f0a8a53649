"""Changes in buckets call functions, and reach queues, topics and rules, on a real server."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.extras.moto_services import is_installed
from tests.aws.test_async import eventually
from tests.running import RunningServer

pytestmark = [pytest.mark.server, pytest.mark.skipif(not is_installed(), reason="needs the extra aws")]

PRINTS = "import json\ndef handler(event, context):\n    print('GOT', json.dumps(event))\n"


@pytest.fixture
def bucket(server: RunningServer) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    server.client("s3").create_bucket(Bucket=name)
    return name


def permit(server: RunningServer, function: str, bucket: str) -> None:
    server.client("lambda").add_permission(
        FunctionName=function,
        StatementId=f"s3-{bucket}",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
        SourceAccount="000000000000",
    )


def events_of(server: RunningServer, function: str) -> list[Any]:
    logs = server.client("logs")
    try:
        found = logs.filter_log_events(logGroupName=f"/aws/lambda/{function}", filterPattern="GOT")["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [json.loads(event["message"].removeprefix("GOT ")) for event in found]


def messages_of(server: RunningServer, queue_url: str) -> list[Any]:
    found = server.client("sqs").receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
    return [json.loads(message["Body"]) for message in found.get("Messages", [])]


def test_a_new_object_calls_a_function(server: RunningServer, bucket: str):
    name = f"f-{uuid.uuid4().hex}"
    arn = server.create_function(name, PRINTS)["FunctionArn"]
    permit(server, name, bucket)
    s3 = server.client("s3")
    rules = [{"Name": "prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".txt"}]
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [
                {
                    "Id": "uploads",
                    "LambdaFunctionArn": arn,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": rules}},
                }
            ]
        },
    )
    s3.put_object(Bucket=bucket, Key="out/a.txt", Body=b"not told")
    s3.put_object(Bucket=bucket, Key="in/a b.txt", Body=b"told")
    eventually(lambda: len(events_of(server, name)) == 1)
    [record] = events_of(server, name)[0]["Records"]
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["s3"]["configurationId"] == "uploads"
    assert record["s3"]["object"]["key"] == "in/a+b.txt"
    assert record["s3"]["object"]["size"] == 4


def test_targets_have_to_permit_it(server: RunningServer, bucket: str):
    s3, name = server.client("s3"), f"f-{uuid.uuid4().hex}"
    arn = server.create_function(name, PRINTS)["FunctionArn"]
    configuration = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidArgument"
    assert error["Message"].startswith(f"Unable to validate the following destination configurations: {arn}: ")
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration=configuration, SkipDestinationValidation=True
    )
    s3.put_object(Bucket=bucket, Key="k", Body=b"text")
    server.wait_for_line(f"{name} did not get ObjectCreated:Put of s3://{bucket}/k: .*add-permission.*--source-account")
    assert events_of(server, name) == []


def test_queues_topics_and_rules_hear_of_it_too(server: RunningServer, bucket: str):
    sqs, sns, events, s3 = (server.client(name) for name in ("sqs", "sns", "events", "s3"))
    unique = uuid.uuid4().hex[:8]
    account = "000000000000"
    urls = {name: sqs.create_queue(QueueName=f"{name}-{unique}")["QueueUrl"] for name in ("direct", "topic", "rule")}
    arns = {name: f"arn:aws:sqs:us-east-1:{account}:{name}-{unique}" for name in urls}
    for name, arn in arns.items():
        statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=urls[name], Attributes={"Policy": policy})
    topic = sns.create_topic(Name=f"t-{unique}")["TopicArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sns:Publish"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement | {"Resource": topic}]})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns["topic"])
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
    events.put_rule(Name=f"r-{unique}", EventPattern=json.dumps(pattern))
    events.put_targets(Rule=f"r-{unique}", Targets=[{"Id": "q", "Arn": arns["rule"]}])
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arns["direct"], "Events": ["s3:ObjectRemoved:*"]}],
            "TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:Put"]}],
            "EventBridgeConfiguration": {},
        },
    )
    assert s3.get_bucket_notification_configuration(Bucket=bucket)["EventBridgeConfiguration"] == {}
    [test] = messages_of(server, urls["direct"])
    assert (test["Event"], test["Bucket"]) == ("s3:TestEvent", bucket)
    [test] = messages_of(server, urls["topic"])
    assert json.loads(test["Message"])["Event"] == "s3:TestEvent"
    s3.put_object(Bucket=bucket, Key="k", Body=b"text")
    [told] = messages_of(server, urls["topic"])
    assert told["Subject"] == "Amazon S3 Notification"
    assert json.loads(told["Message"])["Records"][0]["eventName"] == "ObjectCreated:Put"
    [told] = messages_of(server, urls["rule"])
    assert (told["detail-type"], told["detail"]["object"]["key"]) == ("Object Created", "k")
    assert told["resources"] == [f"arn:aws:s3:::{bucket}"]
    s3.delete_object(Bucket=bucket, Key="k")
    told = messages_of(server, urls["direct"])
    assert [one["Records"][0]["eventName"] for one in told] == ["ObjectRemoved:Delete"]
