"""A destination outside of the server that is down, and a server that is killed meanwhile: every record arrives."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningServer

ARN = "arn:aws:sqs:us-east-1:000000000000:results"
EVENTS = 20


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.server
def test_records_wait_for_a_target_that_is_down(tmp_path: Path) -> None:
    port = a_free_port()
    options = ("--log-level", "warning", "--target", f"sqs=http://127.0.0.1:{port}")
    server = RunningServer(tmp_path / "data", *options)
    target: RunningServer | None = None
    try:
        server.create_function("greet", "def handler(event, context):\n    return event\n")
        client: Any = server.client("lambda")
        client.put_function_event_invoke_config(
            FunctionName="greet", DestinationConfig={"OnSuccess": {"Destination": ARN}}
        )
        for number in range(EVENTS):
            client.invoke(FunctionName="greet", InvocationType="Event", Payload=json.dumps(number).encode())
        _wait_until_all_have_ended(server)
        server.stop(signal.SIGKILL)
        target = RunningServer(tmp_path / "target", "--port", str(port))
        sqs: Any = target.client("sqs")
        url = sqs.create_queue(QueueName="results")["QueueUrl"]
        server = RunningServer(tmp_path / "data", *options)
        server.advance(300)  # over the longest pause between two tries
        assert _received(sqs, url) == set(range(EVENTS))
    finally:
        server.stop()
        if target is not None:
            target.stop()


def _wait_until_all_have_ended(server: RunningServer) -> None:
    """Until the log of the function tells of every event."""
    logs: Any = server.client("logs")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName="/aws/lambda/greet", filterPattern="REPORT"
        )
        if sum(len(page["events"]) for page in pages) == EVENTS:
            return
    raise AssertionError("the events did not end in time")


def _received(sqs: Any, url: str) -> set[int]:
    found: set[int] = set()
    end = time.monotonic() + 30
    while len(found) < EVENTS and time.monotonic() < end:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", []):
            found.add(json.loads(message["Body"])["requestPayload"])
    return found
