"""Records in the form that a subscription gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdad.domain.telemetry_subscriptions import Api, Subscription
from lambdad.execution.telemetry_api.records import Record, encoded, tracing
from tests.execution.telemetry_api.subscribing import a_subscription

NOON_MS = 1_769_860_800_123


def got(kind: str, content: Any, subscription: Subscription, *, is_json_format: bool = False) -> Any:
    data = encoded(Record(NOON_MS, kind, content), subscription, is_json_format=is_json_format)
    return None if data is None else json.loads(data)


def test_a_record_has_time_type_and_content() -> None:
    assert got("platform.start", {"requestId": "id", "version": "1"}, a_subscription()) == {
        "time": "2026-01-31T12:00:00.123Z",
        "type": "platform.start",
        "record": {"requestId": "id", "version": "1"},
    }


def test_types_that_were_not_subscribed_to_are_left_out() -> None:
    subscription = a_subscription(types=["function"])
    assert got("platform.start", {}, subscription) is None
    assert got("extension", "line", subscription) is None
    assert got("function", "line", subscription)["record"] == "line"


@pytest.mark.parametrize(
    ("schema_version", "is_json_format", "line", "record"),
    [
        ("2022-12-13", True, '{"level": "INFO", "n": 1.50}', {"level": "INFO", "n": 1.5}),
        ("2022-12-13", True, "{not json", "{not json"),
        ("2022-12-13", False, '{"a": 1}', '{"a": 1}'),
        ("2022-07-01", True, '{"a": 1}', '{"a": 1}'),
    ],
)
def test_json_lines_are_objects_where_the_format_is_json(
    schema_version: str, is_json_format: bool, line: str, record: object
) -> None:
    subscription = a_subscription(schemaVersion=schema_version)
    assert got("function", line, subscription, is_json_format=is_json_format)["record"] == record


INIT_START = {
    "initializationType": "on-demand",
    "phase": "init",
    "runtimeVersion": "v",
    "runtimeVersionArn": "arn",
    "functionName": "f",
    "functionVersion": "1",
    "instanceId": "i",
    "instanceMaxMemory": 1,
}


def test_init_start_tells_more_since_2025() -> None:
    assert got("platform.initStart", INIT_START, a_subscription(schemaVersion="2025-01-29"))["record"] == INIT_START
    older = got("platform.initStart", INIT_START, a_subscription())["record"]
    assert sorted(older) == ["initializationType", "phase", "runtimeVersion", "runtimeVersionArn"]


def test_the_logs_api_has_its_own_names_and_fewer_members() -> None:
    logs = a_subscription(api=Api.LOGS, schemaVersion="2021-03-18")
    report = {"requestId": "id", "status": "success", "metrics": {"durationMs": 1}, "spans": []}
    assert got("platform.report", report, logs)["record"] == {"requestId": "id", "metrics": {"durationMs": 1}}
    assert got("platform.runtimeDone", report, logs)["record"] == {"requestId": "id", "status": "success"}
    subscribed = {"name": "n", "state": "Subscribed", "types": ["platform"]}
    assert got("platform.telemetrySubscription", subscribed, logs)["type"] == "platform.logsSubscription"
    assert got("platform.end", {"requestId": "id"}, logs)["record"] == {"requestId": "id"}
    assert got("platform.fault", {"text": "RequestId: id Error: x"}, logs)["record"] == "RequestId: id Error: x"
    assert got("platform.initStart", INIT_START, logs) is None
    assert got("platform.runtimeDone", report, a_subscription(api=Api.LOGS)) is None


def test_end_and_fault_are_of_the_logs_api_alone() -> None:
    assert got("platform.end", {"requestId": "id"}, a_subscription()) is None
    assert got("platform.fault", {"text": "x"}, a_subscription()) is None


def test_the_span_of_a_trace_is_its_parent() -> None:
    header = "Root=1-2-3;Parent=4;Sampled=1"
    assert tracing(header) == {"tracing": {"spanId": "4", "type": "X-Amzn-Trace-Id", "value": header}}
    assert tracing("") == {}
