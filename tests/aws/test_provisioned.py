"""Provisioned concurrency over boto3, with real environments."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.deploying import Deployer, tail_of
from tests.conftest import StartServer
from tests.recordings import Recording

TELLS = """
import os, time
def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""
FAILS = "raise Exception('no')\ndef handler(event, context):\n    pass\n"
PROVISIONED, ON_DEMAND = b'"provisioned-concurrency"', b'"on-demand"'


def provide(client: Any, name: str, qualifier: str = "1", number: int = 1) -> dict[str, Any]:
    return client.put_provisioned_concurrency_config(  # type: ignore[no-any-return]
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=number
    )


def settled(client: Any, name: str, qualifier: str = "1") -> dict[str, Any]:
    """The configuration, when it is no longer in progress."""
    for _ in range(1000):
        found: dict[str, Any] = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        if found["Status"] != "IN_PROGRESS":
            return found
        time.sleep(0.01)
    raise AssertionError(found)


def test_calls_of_the_version_run_there(lambda_client: Any, deploy: Deployer) -> None:
    recording = Recording.find("TestLambdaConcurrency::test_lambda_provisioned_concurrency_scheduling")
    name = deploy(TELLS, Publish=True)
    provide(lambda_client, name)
    recording.check("get_provisioned_postwait", settled(lambda_client, name))
    first = deploy.invoke(name, {}, Qualifier="1", LogType="Tail")
    assert first["Payload"] == PROVISIONED
    assert "Init Duration" not in tail_of(first)
    assert deploy.invoke(name, {})["Payload"] == ON_DEMAND
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda _: deploy.invoke(name, {"sleep": 0.5}, Qualifier="1")["Payload"], range(2)))
    assert sorted(both) == [ON_DEMAND, PROVISIONED]


def test_an_init_that_fails(lambda_client: Any, deploy: Deployer) -> None:
    recording = Recording.find("TestLambdaConcurrency::test_provisioned_concurrency_init_failure")
    name = deploy(FAILS, Publish=True)
    recording.check("put_provisioned", provide(lambda_client, name))
    shown = lambda_client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    recording.check("get_provisioned_prewait", shown)
    recording.check("get_provisioned_postwait", settled(lambda_client, name))


def test_beside_a_reservation(lambda_client: Any, deploy: Deployer) -> None:
    recording = Recording.find("TestLambdaConcurrency::test_reserved_provisioned_overlap")
    name = deploy(TELLS, Publish=True)
    recording.check("put_provisioned_5", provide(lambda_client, name, number=2))
    shown = lambda_client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    recording.check("get_provisioned_prewait", shown)
    recording.check("get_provisioned_postwait", settled(lambda_client, name))
    with pytest.raises(ClientError) as lower:
        lambda_client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    recording.check("reserved_lower_than_provisioned_exc", lower.value)
    lambda_client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    recording.check("get_concurrency", lambda_client.get_function_concurrency(FunctionName=name))
    with pytest.raises(ClientError) as throttled:
        deploy.invoke(name, {})
    recording.check("reserved_equals_provisioned_latest_invoke_exc", throttled.value)
    assert deploy.invoke(name, {}, Qualifier="1")["Payload"] == PROVISIONED
    lambda_client.update_function_configuration(FunctionName=name, Description="second")
    deploy.wait_updated(name)
    lambda_client.publish_version(FunctionName=name)
    with pytest.raises(ClientError) as another:
        provide(lambda_client, name, "2")
    recording.check("reserved_equals_provisioned_another_provisioned_exc", another.value)
    with pytest.raises(ClientError) as more:
        provide(lambda_client, name, number=3)
    recording.check("reserved_equals_provisioned_increase_provisioned_exc", more.value)


def test_it_moves_with_the_alias(lambda_client: Any, deploy: Deployer) -> None:
    name = deploy(TELLS, Publish=True)
    lambda_client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    provide(lambda_client, name, "live")
    assert settled(lambda_client, name, "live")["Status"] == "READY"
    assert deploy.invoke(name, {}, Qualifier="live")["Payload"] == PROVISIONED
    lambda_client.update_function_configuration(FunctionName=name, Description="second")
    deploy.wait_updated(name)
    lambda_client.publish_version(FunctionName=name)
    lambda_client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    moved = lambda_client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    assert moved["Status"] == "IN_PROGRESS"
    assert settled(lambda_client, name, "live")["AvailableProvisionedConcurrentExecutions"] == 1
    assert deploy.invoke(name, {}, Qualifier="live")["Payload"] == PROVISIONED
    assert deploy.invoke(name, {}, Qualifier="1")["Payload"] == ON_DEMAND


def test_metrics_tell_of_it(lambda_client: Any, deploy: Deployer, server: Any) -> None:
    name = deploy(TELLS, Publish=True)
    provide(lambda_client, name)
    settled(lambda_client, name)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: deploy.invoke(name, {"sleep": 0.3}, Qualifier="1"), range(2)))
    cloudwatch = server.client("cloudwatch")

    def value(metric: str, statistic: str) -> float:
        found = cloudwatch.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": "FunctionName", "Value": name}, {"Name": "Resource", "Value": f"{name}:1"}],
            StartTime=time.time() - 600,
            EndTime=time.time() + 600,
            Period=3600,
            Statistics=[statistic],
        )["Datapoints"]
        return float(sum(point[statistic] for point in found))

    assert value("ProvisionedConcurrencyInvocations", "Sum") == 1
    assert value("ProvisionedConcurrencySpilloverInvocations", "Sum") == 1
    assert value("ProvisionedConcurrentExecutions", "Maximum") == 1
    assert value("ProvisionedConcurrencyUtilization", "Maximum") == 1


def test_it_is_there_again_after_a_restart(start_server: StartServer) -> None:
    server = start_server()
    client = server.client("lambda")
    name = Deployer(client)(TELLS, Publish=True)
    provide(client, name, number=2)
    assert settled(client, name)["Status"] == "READY"
    server.stop()
    client = start_server().client("lambda")
    ready = settled(client, name)
    assert (ready["Status"], ready["AllocatedProvisionedConcurrentExecutions"]) == ("READY", 2)
    assert Deployer(client).invoke(name, {}, Qualifier="1")["Payload"] == PROVISIONED
