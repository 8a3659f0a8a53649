"""Metrics through boto3 on a real server: CloudWatch in JSON and in the query form, and the text for Prometheus."""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session
from botocore.serialize import create_serializer

from lambdad.extras.moto_services import is_installed
from tests.aws.deploying import Deployer
from tests.conftest import StartServer
from tests.running import RunningServer

pytestmark = pytest.mark.server

HANDLER = "def handler(event, context):\n    if event.get('fail'): raise Exception('no')\n    return 1\n"


def queries(name: str, **stats: str) -> list[dict[str, Any]]:
    dimensions = [{"Name": "FunctionName", "Value": name}]
    return [
        {
            "Id": metric.lower(),
            "MetricStat": {
                "Metric": {"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions},
                "Period": 3600,
                "Stat": stat,
            },
        }
        for metric, stat in stats.items()
    ]


def values(client: Any, wanted: list[dict[str, Any]]) -> dict[str, float]:
    """The sum of all periods around now, by id."""
    now = datetime.now(UTC)
    answer = client.get_metric_data(
        MetricDataQueries=wanted, StartTime=now - timedelta(hours=2), EndTime=now + timedelta(days=2)
    )
    return {result["Id"]: sum(result["Values"]) for result in answer["MetricDataResults"]}


def test_calls_count_for_their_function(server: RunningServer, deploy: Deployer, lambda_client: Any) -> None:
    name = deploy(HANDLER)
    for payload in (b"{}", b"{}", b'{"fail": true}'):
        lambda_client.invoke(FunctionName=name, Payload=payload)
    client = server.client("cloudwatch")
    found = values(
        client,
        queries(name, Invocations="Sum", Errors="Sum", Throttles="Sum", Duration="p50", ConcurrentExecutions="Maximum"),
    )
    assert found.pop("duration") > 0
    assert found == {"invocations": 3, "errors": 1, "throttles": 0, "concurrentexecutions": 1}


def test_throttles_count(server: RunningServer, deploy: Deployer, lambda_client: Any) -> None:
    name = deploy(HANDLER)
    lambda_client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(lambda_client.exceptions.TooManyRequestsException):
        lambda_client.invoke(FunctionName=name)
    found = values(server.client("cloudwatch"), queries(name, Throttles="Sum", Invocations="Sum"))
    assert found == {"throttles": 1, "invocations": 0}


def test_metrics_are_listed_by_their_dimensions(server: RunningServer, deploy: Deployer, lambda_client: Any) -> None:
    name = deploy(HANDLER)
    lambda_client.invoke(FunctionName=name, Qualifier="$LATEST")
    found = server.client("cloudwatch").list_metrics(
        Namespace="AWS/Lambda", MetricName="Invocations", Dimensions=[{"Name": "FunctionName", "Value": name}]
    )["Metrics"]
    assert sorted([{one["Name"]: one["Value"] for one in metric["Dimensions"]} for metric in found], key=len) == [
        {"FunctionName": name},
        {"FunctionName": name, "Resource": f"{name}:$LATEST"},
        {"FunctionName": name, "Resource": f"{name}:$LATEST", "ExecutedVersion": "$LATEST"},
    ]


def test_own_metrics_in_statistics(server: RunningServer) -> None:
    client = server.client("cloudwatch")
    client.put_metric_data(
        Namespace="Shop",
        MetricData=[
            {"MetricName": "Orders", "Value": 3, "Unit": "Count"},
            {"MetricName": "Orders", "Values": [5, 7], "Counts": [2, 1], "Unit": "Count"},
        ],
    )
    now = datetime.now(UTC)
    points = client.get_metric_statistics(
        Namespace="Shop",
        MetricName="Orders",
        StartTime=now - timedelta(hours=24),
        EndTime=now + timedelta(hours=48),
        Period=86_400 * 7,
        Statistics=["Sum", "Average", "Minimum", "Maximum", "SampleCount"],
        ExtendedStatistics=["p50"],
    )["Datapoints"]
    assert len(points) == 1
    point = points[0]
    assert (point["Sum"], point["Average"], point["Minimum"], point["Maximum"]) == (20, 5, 3, 7)
    assert (point["SampleCount"], point["Unit"], point["ExtendedStatistics"]) == (4, "Count", {"p50": 5})


def test_what_is_refused(server: RunningServer) -> None:
    client = server.client("cloudwatch")
    now = datetime.now(UTC)
    with pytest.raises(client.exceptions.ClientError, match="1,440"):
        client.get_metric_statistics(
            Namespace="Shop", MetricName="Orders", StartTime=now - timedelta(days=2), EndTime=now, Period=60,
            Statistics=["Sum"],
        )  # fmt: skip
    with pytest.raises(client.exceptions.ClientError, match="two weeks"):
        client.put_metric_data(
            Namespace="Shop", MetricData=[{"MetricName": "Old", "Value": 1, "Timestamp": now - timedelta(days=20)}]
        )
    with pytest.raises(client.exceptions.ClientError, match="MetricStat"):
        client.get_metric_data(
            MetricDataQueries=[{"Id": "a", "Expression": "1 + 1"}], StartTime=now - timedelta(hours=1), EndTime=now
        )


def send(server: RunningServer, path: str, body: bytes, **headers: str) -> tuple[int, str]:
    """A signed call without an SDK's own ideas of the protocol."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method="POST", url=server.endpoint + path, data=body, headers=named)
    SigV4Auth(Credentials("test", "test"), "monitoring", "us-east-1").add_auth(request)
    answer = URLLib3Session().send(request.prepare())
    return answer.status_code, answer.content.decode("utf-8", "replace")


def test_the_query_form(server: RunningServer) -> None:
    form = "application/x-www-form-urlencoded"
    datum = "MetricData.member.1."
    body = (
        f"Action=PutMetricData&Version=2010-08-01&Namespace=Forms&{datum}MetricName=Sent&{datum}Value=3"
        f"&{datum}Dimensions.member.1.Name=Kind&{datum}Dimensions.member.1.Value=a"
    )
    assert send(server, "/", body.encode(), content_type=form)[0] == 200
    status, text = send(server, "/", b"Action=ListMetrics&Version=2010-08-01&Namespace=Forms", content_type=form)
    assert status == 200
    assert "<MetricName>Sent</MetricName><Dimensions><member><Name>Kind</Name><Value>a</Value></member>" in text


def in_cbor(server: RunningServer) -> Any:
    """A client that speaks the protocol of the newest Go and Java SDKs; botocore has it, and prefers JSON."""
    client = server.client("cloudwatch", user_agent_extra="cbor")
    client.meta.service_model.__dict__["resolved_protocol"] = "smithy-rpc-v2-cbor"
    client._serializer = create_serializer("smithy-rpc-v2-cbor")
    return client


def test_metrics_in_cbor(server: RunningServer) -> None:
    client = in_cbor(server)
    now = datetime.now(UTC).replace(microsecond=0)
    client.put_metric_data(
        Namespace="InCbor",
        MetricData=[
            {
                "MetricName": "Sent",
                "Timestamp": now,
                "Value": 2.5,
                "Unit": "Seconds",
                "Dimensions": [{"Name": "Kind", "Value": "ä"}],
            }
        ],
    )
    assert client.list_metrics(Namespace="InCbor")["Metrics"] == [
        {"Namespace": "InCbor", "MetricName": "Sent", "Dimensions": [{"Name": "Kind", "Value": "ä"}]}
    ]
    found = client.get_metric_statistics(
        Namespace="InCbor",
        MetricName="Sent",
        Dimensions=[{"Name": "Kind", "Value": "ä"}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=3600,
        Statistics=["Sum", "SampleCount"],
    )
    [point] = found["Datapoints"]
    assert (point["Sum"], point["SampleCount"], point["Unit"]) == (2.5, 1.0, "Seconds")
    assert point["Timestamp"].tzinfo is not None
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="AWS/"):
        client.put_metric_data(Namespace="AWS/Lambda", MetricData=[{"MetricName": "Mine", "Value": 1}])


def test_an_unknown_operation_in_cbor(server: RunningServer) -> None:
    path = "/service/GraniteServiceVersion20100801/operation/NoSuch"
    status, text = send(server, path, b"\xa0", content_type="application/cbor", smithy_protocol="rpc-v2-cbor")
    assert status == 400
    assert "UnknownOperationException" in text


@pytest.mark.skipif(not is_installed(), reason="needs the extra aws")
def test_alarms_in_cbor(server: RunningServer) -> None:
    client = in_cbor(server)
    client.put_metric_alarm(
        AlarmName="in-cbor",
        Namespace="AWS/Lambda",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.5,
        ComparisonOperator="GreaterThanThreshold",
    )
    [alarm] = client.describe_alarms(AlarmNames=["in-cbor"])["MetricAlarms"]
    assert (alarm["Threshold"], alarm["Period"]) == (1.5, 60)
    assert alarm["StateUpdatedTimestamp"].tzinfo is not None
    client.delete_alarms(AlarmNames=["in-cbor"])
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.set_alarm_state(AlarmName="in-cbor", StateValue="OK", StateReason="test")


def test_prometheus(server: RunningServer, deploy: Deployer, lambda_client: Any) -> None:
    name = deploy(HANDLER)
    lambda_client.invoke(FunctionName=name, Payload=b'{"fail": true}')
    with urllib.request.urlopen(f"{server.endpoint}/_lambdad/metrics", timeout=10) as answer:
        text = answer.read().decode()
    labels = f'{{account="000000000000",region="us-east-1",function="{name}"}}'
    assert f"lambdad_invocations_total{labels} 1\n" in text
    assert f"lambdad_errors_total{labels} 1\n" in text


def test_metrics_outlive_the_server(start_server: StartServer) -> None:
    first = start_server()
    first.create_function("greet", HANDLER)
    first.client("lambda").invoke(FunctionName="greet")
    first.stop()
    again = start_server()
    assert values(again.client("cloudwatch"), queries("greet", Invocations="Sum")) == {"invocations": 1}
