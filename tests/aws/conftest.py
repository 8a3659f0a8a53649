"""Clients of the shared server, and functions that live as long as one test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.aws.deploying import Deployer
from tests.running import RunningServer


@pytest.fixture(scope="session")
def lambda_client(server: RunningServer) -> Any:
    return _client(server, "lambda")


@pytest.fixture(scope="session")
def logs_client(server: RunningServer) -> Any:
    return _client(server, "logs")


@pytest.fixture
def deploy(lambda_client: Any) -> Iterator[Deployer]:
    deployer = Deployer(lambda_client)
    yield deployer
    deployer.remove_all()


def _client(server: RunningServer, service: str) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=64, read_timeout=90),
    )
