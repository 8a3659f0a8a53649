"""Queues that call functions, through boto3 on a real server."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.deploying import Deployer
from tests.aws.queues import REPORTS, Queue, a_mapping, settled
from tests.running import RunningServer

TELLS = REPORTS + "def handler(event, context):\n    report([r['body'] for r in event['Records']])\n"
FAILS = "def handler(event, context):\n    raise ValueError('no')\n"


@pytest.fixture
def source(server: RunningServer) -> Queue:
    return Queue(server)


@pytest.fixture
def reports(server: RunningServer) -> Queue:
    return Queue(server)


@pytest.fixture
def mappings(lambda_client: Any) -> Iterator[Any]:
    """Makes mappings, and removes them after the test."""
    made: list[str] = []

    def make(queue: Queue, function: str, **settings: Any) -> dict[str, Any]:
        mapping = a_mapping(lambda_client, queue, function, **settings)
        made.append(mapping["UUID"])
        return mapping

    yield make
    for uuid in made:
        with contextlib.suppress(lambda_client.exceptions.ResourceNotFoundException):  # the test did it
            settled(lambda_client, uuid)
            lambda_client.delete_event_source_mapping(UUID=uuid)


def a_reporter(deploy: Deployer, reports: Queue, code: str = TELLS, **settings: Any) -> str:
    return deploy(code, Timeout=20, Environment={"Variables": {"REPORTS": reports.url}}, **settings)


def test_a_message_calls_a_function(deploy: Deployer, mappings: Any, source: Queue, reports: Queue) -> None:
    mappings(source, a_reporter(deploy, reports))
    source.send("hello")
    assert reports.take() == [["hello"]]
    source.wait_for_counts(0, 0)


def test_a_mapping_of_an_alias_follows_it(
    deploy: Deployer, lambda_client: Any, mappings: Any, source: Queue, reports: Queue
) -> None:
    code = (
        REPORTS + "def handler(event, context):\n    report([context.function_version, context.invoked_function_arn])\n"
    )
    name = a_reporter(deploy, reports, code)
    lambda_client.publish_version(FunctionName=name)
    alias = lambda_client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")["AliasArn"]
    mappings(source, alias)
    source.send("a")
    assert reports.take() == [["1", alias]]
    lambda_client.update_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    source.send("b")
    assert reports.take() == [["$LATEST", alias]]


def test_a_disabled_mapping_reads_nothing(
    deploy: Deployer, lambda_client: Any, mappings: Any, source: Queue, reports: Queue
) -> None:
    uuid = mappings(source, a_reporter(deploy, reports))["UUID"]
    lambda_client.update_event_source_mapping(UUID=uuid, Enabled=False)
    assert settled(lambda_client, uuid)["State"] == "Disabled"
    source.send("a")
    assert source.counts() == (1, 0)
    lambda_client.update_event_source_mapping(UUID=uuid, Enabled=True)
    assert reports.take() == [["a"]]


def test_a_deleted_mapping_reads_nothing(
    deploy: Deployer, lambda_client: Any, mappings: Any, source: Queue, reports: Queue
) -> None:
    uuid = mappings(source, a_reporter(deploy, reports))["UUID"]
    lambda_client.delete_event_source_mapping(UUID=uuid)
    with contextlib.suppress(lambda_client.exceptions.ResourceNotFoundException):
        while lambda_client.get_event_source_mapping(UUID=uuid)["State"] == "Deleting":
            pass
    assert lambda_client.list_event_source_mappings(EventSourceArn=source.arn)["EventSourceMappings"] == []
    source.send("a")
    assert source.counts() == (1, 0)


def test_messages_that_fail_end_in_the_dead_letter_queue_of_their_queue(
    server: RunningServer, deploy: Deployer, mappings: Any, reports: Queue
) -> None:
    policy = f'{{"deadLetterTargetArn": "{reports.arn}", "maxReceiveCount": 1}}'
    source = Queue(server, VisibilityTimeout=30, RedrivePolicy=policy)
    mappings(source, deploy(FAILS, Timeout=20))
    source.send({"n": 1})
    source.wait_for_counts(0, 1)
    server.advance(31)
    assert reports.take() == [{"n": 1}]


def test_a_throttled_function_gets_its_messages_later(
    deploy: Deployer, lambda_client: Any, mappings: Any, source: Queue, reports: Queue
) -> None:
    name = a_reporter(deploy, reports)
    lambda_client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    mappings(source, name)
    source.send("a")
    source.wait_for_counts(0, 1)
    lambda_client.delete_function_concurrency(FunctionName=name)
    assert reports.take() == [["a"]]


def test_a_visibility_timeout_shorter_than_the_functions_timeout_is_refused(
    server: RunningServer, deploy: Deployer, lambda_client: Any
) -> None:
    queue = Queue(server, VisibilityTimeout=60)
    with pytest.raises(ClientError) as error:
        a_mapping(lambda_client, queue, deploy(FAILS, Timeout=300))
    assert error.value.response["Error"] == {
        "Code": "InvalidParameterValueException",
        "Message": "Queue visibility timeout: 60 seconds is less than Function timeout: 300 seconds",
    }


def test_events_are_counted_for_mappings_that_ask_for_it(
    server: RunningServer, deploy: Deployer, mappings: Any, source: Queue, reports: Queue
) -> None:
    mapping = mappings(
        source,
        a_reporter(deploy, reports),
        MetricsConfig={"Metrics": ["EventCount"]},
        FilterCriteria={"Filters": [{"Pattern": '{"body": {"wanted": [true]}}'}]},
    )
    source.send({"wanted": True}, {"wanted": False})
    reports.take()
    source.wait_for_counts(0, 0)

    def total(metric: str) -> float:
        now = datetime.now(UTC) + timedelta(days=1)  # other tests have moved the server's time
        found = server.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda", MetricName=metric, Period=86400, Statistics=["Sum"],
            StartTime=now - timedelta(days=2), EndTime=now,
            Dimensions=[{"Name": "EventSourceMappingUUID", "Value": mapping["UUID"]}],
        )  # fmt: skip
        return sum(point["Sum"] for point in found["Datapoints"])

    assert total("PolledEventCount") == 2
    assert total("FilteredOutEventCount") == 1
    assert total("InvokedEventCount") == 1
    end = time.monotonic() + 10
    while total("DeletedEventCount") != 1:  # told after the deletion
        assert time.monotonic() < end
    assert total("FailedInvokeEventCount") == 0


def test_mappings_go_on_after_a_restart(start_server: Any) -> None:
    server = start_server()
    source, reports = Queue(server), Queue(server)
    server.create_function("f", TELLS, Timeout=20, Environment={"Variables": {"REPORTS": reports.name}})
    server.create_function("g", "def handler(event, context): pass\n")
    client = server.client("lambda")
    uuid = a_mapping(client, source, "f", wait=False, FilterCriteria={"Filters": [{"Pattern": '{"body": ["a"]}'}]})[
        "UUID"
    ]
    server.stop()

    server = start_server()
    found = settled(server.client("lambda"), uuid)
    assert found["State"] == "Enabled"
    assert found["FilterCriteria"]["Filters"] == [{"Pattern": '{"body": ["a"]}'}]
    sqs = server.client("sqs")
    url = sqs.get_queue_url(QueueName=source.name)["QueueUrl"]
    server.client("lambda").update_function_configuration(
        FunctionName="f", Environment={"Variables": {"REPORTS": sqs.get_queue_url(QueueName=reports.name)["QueueUrl"]}}
    )
    server.client("lambda").get_waiter("function_updated_v2").wait(FunctionName="f")
    sqs.send_message(QueueUrl=url, MessageBody="a")
    reports.client, reports.url = sqs, sqs.get_queue_url(QueueName=reports.name)["QueueUrl"]
    assert reports.take() == [["a"]]


def test_a_reset_takes_mappings_away(start_server: Any) -> None:
    server = start_server()
    server.create_function("f", "def handler(event, context): pass\n")
    client = server.client("lambda")
    a_mapping(client, Queue(server), "f")
    with urllib.request.urlopen(urllib.request.Request(f"{server.endpoint}/_lambdad/reset", method="POST")) as answer:
        assert answer.status == 204
    assert client.list_event_source_mappings()["EventSourceMappings"] == []
