"""`kill -9` while a mapping works through its queue: every message is dealt with in the end."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.conftest import StartServer
from tests.running import RunningServer

MESSAGES = 60
LIMIT_S = 90
WORKS = """
import boto3, json, os, time
sqs = boto3.client("sqs")
def handler(event, context):
    time.sleep(0.2)
    done = sqs.get_queue_url(QueueName="done")["QueueUrl"]
    sqs.send_message(QueueUrl=done, MessageBody=json.dumps([record["body"] for record in event["Records"]]))
"""


def test_no_message_is_lost(start_server: StartServer) -> None:
    server = start_server()
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "4"})["QueueUrl"]
    sqs.create_queue(QueueName="done")
    server.create_function("f", WORKS, Timeout=4)
    bodies = {f"m-{n:03d}" for n in range(MESSAGES)}
    for body in sorted(bodies):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    server.client("lambda").create_event_source_mapping(
        EventSourceArn="arn:aws:sqs:us-east-1:000000000000:q", FunctionName="f", BatchSize=2
    )
    for _ in range(2):
        wait_for(lambda server=server: is_at_work(server))  # type: ignore[misc]
        server.stop(signal.SIGKILL)
        server = start_server()
    wait_for(lambda: sum(counts(server, "q")) == 0)
    assert set(done(server)) == bodies


def counts(server: RunningServer, name: str) -> tuple[int, int]:
    """Visible, and in flight."""
    sqs: Any = server.client("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"])


def is_at_work(server: RunningServer) -> bool:
    visible, in_flight = counts(server, "q")
    return visible + in_flight < MESSAGES and in_flight > 0


def done(server: RunningServer) -> list[str]:
    sqs = server.client("sqs")
    url = sqs.get_queue_url(QueueName="done")["QueueUrl"]
    found: list[str] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=300).get("Messages"):
        for message in messages:
            found += json.loads(message["Body"])
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
