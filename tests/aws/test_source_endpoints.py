"""Sources outside of the server, and streams of the extra, through boto3 on real servers."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.extras.moto_services import is_installed
from tests.aws.deploying import Deployer
from tests.aws.queues import REPORTS, Queue, a_mapping, settled
from tests.conftest import StartServer
from tests.running import RunningServer

pytestmark = pytest.mark.server
needs_streams = pytest.mark.skipif(not is_installed(), reason="needs the extra aws")

BODIES = REPORTS + "def handler(event, context):\n    report([r['body'] for r in event['Records']])\n"
DATA = REPORTS + (
    "import base64\n"
    "def handler(event, context):\n"
    "    for r in event['Records']:\n"
    "        report([r['eventID'].split(':')[0], base64.b64decode(r['kinesis']['data']).decode()])\n"
)


def test_a_queue_of_another_endpoint_calls_a_function(server: RunningServer, start_server: StartServer) -> None:
    source, reports = Queue(server, VisibilityTimeout=30), Queue(server)
    here = start_server("--target", f"{source.arn}={server.endpoint}")
    variables = {"REPORTS": reports.url, "AWS_ENDPOINT_URL": server.endpoint}
    here.create_function("f", BODIES, Timeout=20, Environment={"Variables": variables})
    client = here.client("lambda")
    mapping = a_mapping(client, source, "f", FilterCriteria={"Filters": [{"Pattern": '{"body": [{"prefix": "y"}]}'}]})
    source.send("yes", "no")
    assert reports.take() == [["yes"]]
    source.wait_for_counts(0, 0)
    missing = f"{source.arn}-missing"
    with pytest.raises(ClientError, match=r"Function does not exist|does not exist"):
        client.create_event_source_mapping(EventSourceArn=missing, FunctionName="f")
    client.delete_event_source_mapping(UUID=mapping["UUID"])


@pytest.fixture
def deploy(lambda_client: Any) -> Iterator[Deployer]:
    deployer = Deployer(lambda_client)
    yield deployer
    deployer.remove_all()


@needs_streams
def test_a_stream_is_followed_through_a_split(server: RunningServer, lambda_client: Any, deploy: Deployer) -> None:
    kinesis, reports = server.client("kinesis"), Queue(server)
    name = f"s-{uuid.uuid4().hex[:12]}"
    kinesis.create_stream(StreamName=name, ShardCount=1)
    function = deploy(DATA, Timeout=20, Environment={"Variables": {"REPORTS": reports.url}})
    mapping = lambda_client.create_event_source_mapping(
        EventSourceArn=f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}",
        FunctionName=function, StartingPosition="LATEST",
    )  # fmt: skip
    settled(lambda_client, mapping["UUID"])
    kinesis.put_record(StreamName=name, Data=b"before", PartitionKey="k")
    assert reports.take() == [["shardId-000000000000", "before"]]
    middle = str(2**127)
    kinesis.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=middle)
    kinesis.put_record(StreamName=name, Data=b"low", PartitionKey="k", ExplicitHashKey="0")
    kinesis.put_record(StreamName=name, Data=b"high", PartitionKey="k", ExplicitHashKey=middle)
    server.advance(10)  # shards are looked up again
    assert sorted(text for _, text in reports.take(2)) == ["high", "low"]
    assert age_points(server, function) >= 1
    with contextlib.suppress(ClientError):
        lambda_client.delete_event_source_mapping(UUID=mapping["UUID"])


def age_points(server: RunningServer, function: str) -> float:
    """How many batches have their IteratorAge told."""
    now = datetime.now(UTC) + timedelta(days=1)  # other tests have moved the server's time
    found = server.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda", MetricName="IteratorAge", Period=86400, Statistics=["SampleCount"],
        StartTime=now - timedelta(days=2), EndTime=now,
        Dimensions=[{"Name": "FunctionName", "Value": function}],
    )  # fmt: skip
    return sum(point["SampleCount"] for point in found["Datapoints"])


@needs_streams
def test_a_stream_of_a_table_that_is_not_there(lambda_client: Any, deploy: Deployer) -> None:
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/no-table/stream/2026-01-01T00:00:00.000"
    with pytest.raises(ClientError) as refused:
        lambda_client.create_event_source_mapping(
            EventSourceArn=arn, FunctionName=deploy(BODIES), StartingPosition="LATEST"
        )
    assert refused.value.response["Error"]["Message"] == f"Stream not found: {arn}"


@needs_streams
def test_last_processing_result_tells_of_failures(server: RunningServer, lambda_client: Any, deploy: Deployer) -> None:
    kinesis, name = server.client("kinesis"), f"s-{uuid.uuid4().hex[:12]}"
    kinesis.create_stream(StreamName=name, ShardCount=1)
    mapping = lambda_client.create_event_source_mapping(
        EventSourceArn=f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}",
        FunctionName=deploy("def handler(event, context):\n    raise ValueError('no')\n", Timeout=20),
        StartingPosition="TRIM_HORIZON",
    )  # fmt: skip
    settled(lambda_client, mapping["UUID"])
    kinesis.put_record(StreamName=name, Data=b"x", PartitionKey="k")
    end = time.monotonic() + 20
    while (told := settled(lambda_client, mapping["UUID"])["LastProcessingResult"]) == "No records processed":
        assert time.monotonic() < end
    assert told == "PROBLEM: Function call failed"
    lambda_client.delete_event_source_mapping(UUID=mapping["UUID"])
