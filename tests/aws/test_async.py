"""Asynchronous invocation through boto3 on a real server, with its time moved forward."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.recordings import Recording
from tests.running import RunningServer, clean_environment

pytestmark = pytest.mark.server

FAILS = (
    "def handler(event, context):\n    print('run', context.aws_request_id)\n    raise Exception('Test exception')\n"
)
ECHO = "def handler(event, context):\n    return {'event': event, 'id': context.aws_request_id}\n"
DESTINATION = """
def handler(event, context):
    if event.get("raise_error"):
        raise Exception("Test exception (this is intentional)")
    names = ("invoked_function_arn", "function_version", "function_name", "memory_limit_in_mb", "aws_request_id",
             "log_group_name", "log_stream_name", "client_context")
    return {"event": event, "context": {name: getattr(context, name) for name in names}}
"""
SLOW = """
import time
def handler(event, context):
    time.sleep(event["seconds"])
    raise Exception("x")
"""


def a_queue(server: RunningServer, name: str) -> tuple[str, str]:
    """URL and ARN."""
    client = server.client("sqs")
    url = client.create_queue(QueueName=name)["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return url, arn


def receive(server: RunningServer, url: str) -> dict[str, Any]:
    """The next message; waits for it."""
    got = server.client("sqs").receive_message(
        QueueUrl=url, WaitTimeSeconds=20, MessageAttributeNames=["All"], AttributeNames=["All"]
    )
    message: dict[str, Any] = got["Messages"][0]
    return message


def eventually(look: Callable[[], bool]) -> None:
    """What a function prints is stored in the background; there is no signal for it outside of the server."""
    end = time.monotonic() + 20
    while not look():
        assert time.monotonic() < end
        time.sleep(0.05)


def runs(server: RunningServer, name: str) -> list[str]:
    logs = server.client("logs")
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="REPORT")["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [event["message"] for event in events]


def test_an_event_is_answered_with_nothing_but_202(server: RunningServer) -> None:
    server.create_function("async-echo", ECHO)
    answer = server.client("lambda").invoke(FunctionName="async-echo", InvocationType="Event", Payload=b'{"a": 1}')
    assert answer["StatusCode"] == 202
    assert answer["Payload"].read() == b""
    assert "ExecutedVersion" not in answer
    assert "LogResult" not in answer


def test_the_older_operation_takes_events_too(server: RunningServer) -> None:
    server.create_function("async-old", ECHO)
    client = server.client("lambda")
    assert client.invoke_async(FunctionName="async-old", InvokeArgs=b'{"a": 1}')["Status"] == 202
    eventually(lambda: len(runs(server, "async-old")) == 1)
    with pytest.raises(client.exceptions.ClientError) as error:
        client.invoke_async(FunctionName="async-old", InvokeArgs=b'"' + b"x" * 262_144 + b'"')
    assert error.value.response["Error"]["Message"] == (
        "262146 byte payload is too large for the Event invocation type (limit 262144 bytes)"
    )


def test_a_failing_function_is_retried_and_its_event_reaches_the_dead_letter_queue(server: RunningServer) -> None:
    url, arn = a_queue(server, "async-dead")
    server.create_function("async-fails", FAILS, DeadLetterConfig={"TargetArn": arn})
    answer = server.client("lambda").invoke(
        FunctionName="async-fails", InvocationType="Event", Payload=b'{"raise_error": 1}'
    )
    request_id = answer["ResponseMetadata"]["RequestId"]
    for number, seconds in ((1, 60), (2, 120)):
        eventually(lambda wanted=number: len(runs(server, "async-fails")) == wanted)
        server.advance(seconds)
    message = receive(server, url)
    assert message["Body"] == '{"raise_error": 1}'
    assert message["MessageAttributes"] == {
        "RequestID": {"StringValue": request_id, "DataType": "String"},
        "ErrorCode": {"StringValue": "200", "DataType": "Number"},
        "ErrorMessage": {"StringValue": "Test exception", "DataType": "String"},
    }
    assert all(request_id in line for line in runs(server, "async-fails"))


def test_attempts_have_one_request_id_as_recorded_from_aws(server: RunningServer) -> None:
    recording = Recording.find("TestRequestIdHandling::test_request_id_async_invoke_with_retry")
    server.create_function("async-ids", FAILS)
    client, logs = server.client("lambda"), server.client("logs")
    client.put_function_event_invoke_config(FunctionName="async-ids", MaximumRetryAttempts=1)
    answer = client.invoke(FunctionName="async-ids", InvocationType="Event", Payload=b"{}")
    answer["Payload"] = answer["Payload"].read().decode()
    recording.check("invoke_result", answer)
    eventually(lambda: len(runs(server, "async-ids")) == 1)
    server.advance(60)
    eventually(lambda: len(runs(server, "async-ids")) == 2)
    events = logs.filter_log_events(logGroupName="/aws/lambda/async-ids", filterPattern='"END RequestId"')["events"]
    ends = [event["message"].rstrip("\n") for event in events]
    recording.check("end_messages", ends)
    assert answer["ResponseMetadata"]["RequestId"] in ends[0]


@pytest.mark.parametrize("payload", [0, 1])
def test_a_record_as_recorded_from_aws(server: RunningServer, payload: int) -> None:
    test = f"TestLambdaDestinationSqs::test_assess_lambda_destination_invocation[payload{payload}]"
    recording = Recording.find(test, region="us-east-1")
    expected = recording.steps["receive_message_result"]["Messages"][0]["Body"]
    name = f"async-record-{payload}"
    url, arn = a_queue(server, name)
    server.create_function(name, DESTINATION)
    client = server.client("lambda")
    destinations = {"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}}
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0, DestinationConfig=destinations)
    event = json.dumps(expected["requestPayload"])
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=event)
    message = receive(server, url)
    body = json.loads(message["Body"])
    assert list(body) == list(expected)
    assert list(body["requestContext"].items()) == [
        ("requestId", answer["ResponseMetadata"]["RequestId"]),
        ("functionArn", f"arn:aws:lambda:us-east-1:000000000000:function:{name}:$LATEST"),
        ("condition", expected["requestContext"]["condition"]),
        ("approximateInvokeCount", expected["requestContext"]["approximateInvokeCount"]),
    ]
    assert body["requestPayload"] == expected["requestPayload"]
    assert list(body["responseContext"].items()) == list(expected["responseContext"].items())
    assert body["responsePayload"].keys() == expected["responsePayload"].keys()
    assert "MessageAttributes" not in message
    assert message["Attributes"]["AWSTraceHeader"].startswith("Root=1-")


def test_events_survive_a_killed_server(start_server: StartServer) -> None:
    """Every accepted event ends, also those that ran at the moment of the kill, and none ends twice."""
    server = start_server()
    url, arn = a_queue(server, "dead")
    server.create_function("slow", SLOW, DeadLetterConfig={"TargetArn": arn}, Timeout=60)
    client = server.client("lambda")
    client.put_function_event_invoke_config(FunctionName="slow", MaximumRetryAttempts=0)
    accepted = set()
    for number in range(40):
        payload = json.dumps({"n": number, "seconds": 2 if number < 3 else 0})
        answer = client.invoke(FunctionName="slow", InvocationType="Event", Payload=payload)
        accepted.add(answer["ResponseMetadata"]["RequestId"])
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(10)

    server = start_server()
    server.advance(2)  # the back-off of what was running
    ended: list[str] = []

    def all_ended() -> bool:
        got = server.client("sqs").receive_message(
            QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        for message in got.get("Messages", []):
            ended.append(message["MessageAttributes"]["RequestID"]["StringValue"])
        return len(ended) >= len(accepted)

    eventually(all_ended)
    assert sorted(ended) == sorted(accepted)


def test_a_reset_leaves_an_empty_server(start_server: StartServer) -> None:
    server = start_server()
    _, arn = a_queue(server, "dead")
    server.create_function("fails", FAILS, DeadLetterConfig={"TargetArn": arn})
    client = server.client("lambda")
    client.publish_version(FunctionName="fails")
    client.put_function_event_invoke_config(FunctionName="fails", MaximumRetryAttempts=1)
    client.invoke(FunctionName="fails", InvocationType="Event", Payload=b"{}")
    eventually(lambda: len(runs(server, "fails")) == 1)
    request = urllib.request.Request(f"{server.endpoint}/_lambdad/reset", b"", method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 204
    assert client.list_functions()["Functions"] == []
    assert server.client("sqs").list_queues().get("QueueUrls", []) == []
    assert server.client("logs").describe_log_groups()["logGroups"] == []
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="fails", Payload=b"{}")
    server.create_function("fails", ECHO)
    assert client.publish_version(FunctionName="fails")["Version"] == "1"
    assert json.loads(client.invoke(FunctionName="fails", Payload=b"1")["Payload"].read())["event"] == 1
    server.advance(3600)
    eventually(lambda: len(runs(server, "fails")) == 1)


def test_stopping_ends_long_polls_and_keeps_what_runs(start_server: StartServer) -> None:
    server = start_server()
    url, arn = a_queue(server, "dead")
    server.create_function("slow", SLOW, DeadLetterConfig={"TargetArn": arn}, Timeout=60)
    client = server.client("lambda")
    client.put_function_event_invoke_config(FunctionName="slow", MaximumRetryAttempts=0)
    client.invoke(FunctionName="slow", InvocationType="Event", Payload=b'{"seconds": 1}')
    polling = threading.Thread(target=lambda: server.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=20))
    polling.start()
    start = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - start < 8
    polling.join()
    server = start_server()
    server.advance(31)  # in case the message was being handed to the poll
    assert receive(server, url)["MessageAttributes"]["ErrorMessage"]["StringValue"] == "x"


def test_the_clock_command_moves_the_time(server: RunningServer) -> None:
    before = server.advance(0)["advanced_s"]
    arguments = [sys.executable, "-m", "lambdad", "clock", "advance", "2m", "--endpoint-url", server.endpoint]
    subprocess.run(arguments, check=True, capture_output=True, env=clean_environment())
    assert server.advance(0)["advanced_s"] == before + 120


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"advance": -1}', b'{"advance": "1"}', b'{"advance": true}', b'{"advance": 1e999}']
)
def test_the_clock_takes_seconds_and_nothing_else(server: RunningServer, body: bytes) -> None:
    request = urllib.request.Request(f"{server.endpoint}/_lambdad/clock", body, method="POST")
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=10)
    assert error.value.code == 400


def test_the_clock_goes_on_from_where_it_was(start_server: StartServer) -> None:
    server = start_server()
    shown = server.advance(3600)
    assert shown["advanced_s"] == 3600
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(10)
    server = start_server()
    assert server.advance(0)["now"] >= shown["now"]
