"""The ledger and the reset on a real server, by HTTP and by the commands."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.running import RunningServer, clean_environment

pytestmark = pytest.mark.server

FAILS = "def handler(event, context):\n    raise ValueError('broken')\n"


def call(server: RunningServer, path: str, method: str = "GET", body: bytes | None = None) -> Any:
    request = urllib.request.Request(f"{server.endpoint}/_lambdad/{path}", body, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def run(server: RunningServer, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lambdad", *words, "--endpoint-url", server.endpoint],
        env=clean_environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def ended(server: RunningServer, request_id: str) -> dict[str, Any]:
    """The event once it has ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found: dict[str, Any] = call(server, f"events/{request_id}")
        if found["ended"]:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{request_id} did not end: {found}")


def dropped(server: RunningServer) -> str:
    """The request id of an event that was dropped at once."""
    client = server.client("lambda")
    client.put_function_event_invoke_config(FunctionName="fails", MaximumRetryAttempts=0)
    answer = client.invoke(FunctionName="fails", InvocationType="Event", Payload=b'{"n": 1}')
    request_id: str = answer["ResponseMetadata"]["RequestId"]
    ended(server, request_id)
    return request_id


def test_an_event_that_is_nested_too_deep_for_its_destination_ends(start_server: StartServer) -> None:
    server = start_server()
    server.create_function("fine", "def handler(event, context):\n    return 1\n")
    server.client("events").put_rule(Name="results", EventPattern='{"source": ["lambda"]}')
    client = server.client("lambda")
    bus = "arn:aws:events:us-east-1:000000000000:event-bus/default"
    client.put_function_event_invoke_config(
        FunctionName="fine", DestinationConfig={"OnSuccess": {"Destination": bus}}, MaximumRetryAttempts=0
    )
    answer = client.invoke(FunctionName="fine", InvocationType="Event", Payload=b"[" * 1000 + b"]" * 1000)
    assert ended(server, answer["ResponseMetadata"]["RequestId"])["attempts"] == 1


def test_the_life_of_a_dropped_event(start_server: StartServer) -> None:
    server = start_server()
    server.create_function("fails", FAILS)
    request_id = dropped(server)

    event = call(server, f"events/{request_id}")
    assert (event["state"], event["condition"], event["payload"]) == ("dropped", "RetriesExhausted", {"n": 1})
    attempt, end = event["steps"]
    assert (attempt["outcome"], attempt["error_type"], attempt["error_message"]) == ("error", "ValueError", "broken")
    assert end["kind"] == "end"
    streams = server.client("logs").describe_log_streams(logGroupName=attempt["log_group"])["logStreams"]
    assert attempt["log_stream"] in [stream["logStreamName"] for stream in streams]

    assert request_id in run(server, "events", "fails", "--failed")
    timeline = run(server, "events", "show", request_id)
    assert "ValueError: broken" in timeline
    assert "end: RetriesExhausted" in timeline

    again = run(server, "events", "redrive", request_id).split()[-1]
    assert ended(server, again)["steps"][0] == {
        "kind": "redrive of",
        "at": ended(server, again)["accepted"],
        "event": request_id,
    }
    listed = call(server, "events?function=fails&limit=1")
    assert [one["id"] for one in listed["events"]] == [again]
    assert [one["id"] for one in call(server, f"events?after={listed['after']}")["events"]] == [request_id]


def test_a_reset_empties_everything_and_sets_the_clock_back(start_server: StartServer) -> None:
    server = start_server()
    server.create_function("fails", FAILS)
    server.client("sqs").create_queue(QueueName="left")
    dropped(server)
    call(server, "clock", "POST", b'{"advance": 3600}')

    assert "empty" in run(server, "reset", "--yes")

    assert call(server, "events")["events"] == []
    assert call(server, "clock")["advanced_s"] == 0
    assert server.client("lambda").list_functions()["Functions"] == []
    assert "QueueUrls" not in server.client("sqs").list_queues()
    assert server.client("cloudwatch").list_metrics()["Metrics"] == []
    assert server.client("logs").describe_log_groups()["logGroups"] == []
    server.create_function("fails", FAILS)
    dropped(server)


def test_a_reset_asks_first(server: RunningServer) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lambdad", "reset", "--endpoint-url", server.endpoint],
        env=clean_environment(), input="n\n", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Go on?" in done.stdout
