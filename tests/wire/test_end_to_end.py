"""The front door behind the real HTTP server, called by boto3 over a socket."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lambdad.domain.errors import ResourceNotFound
from lambdad.http.server import HttpServer
from lambdad.neighbours.iam import Policies, Roles
from lambdad.storage.roles import Identities
from lambdad.storage.sqlite import SqliteEngine
from lambdad.wire.iam import iam_service
from lambdad.wire.service import Answer, ApiCall, Service
from tests.neighbours.iam.test_iam import NOW, TRUST
from tests.wire.harness import a_front_door


async def create_function(call: ApiCall) -> Answer:
    code = call.params["Code"]["ZipFile"]
    return Answer(members={"FunctionName": call.params["FunctionName"], "CodeSize": len(code)})


async def get_function(call: ApiCall) -> Answer:
    raise ResourceNotFound(f"Function not found: {call.params['FunctionName']}")


async def list_tags(call: ApiCall) -> Answer:
    return Answer(members={"Tags": {"resource": call.params["Resource"]}})


class Running:
    def __init__(self, port: int) -> None:
        self.port = port

    def client(self, name: str) -> Any:
        return boto3.Session().client(
            name,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def plain(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    engine = await SqliteEngine.open(tmp_path)
    identities = Identities(engine)
    functions = Service(
        name="lambda",
        signing_names=("lambda",),
        handlers={"CreateFunction": create_function, "GetFunction": get_function, "ListTags": list_tags},
    )
    iam = iam_service(Roles(identities, lambda: NOW), Policies(identities, lambda: NOW))
    front = a_front_door(functions, iam)
    http_server = HttpServer(front)
    await http_server.start("127.0.0.1", 0)
    yield Running(http_server.port)
    await http_server.stop(1)
    await front.finish(1)
    await engine.close()


async def test_boto3_creates_and_reads(server: Running):
    client = await asyncio.to_thread(server.client, "lambda")
    made = await asyncio.to_thread(
        client.create_function,
        FunctionName="f",
        Role="arn:aws:iam::000000000000:role/r",
        Code={"ZipFile": b"\x00\xff" * 300_000},
    )
    assert made["CodeSize"] == 600_000
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    arn = "arn:aws:lambda:eu-west-1:000000000000:function:f"
    found = await asyncio.to_thread(client.list_tags, Resource=arn)
    assert found["Tags"] == {"resource": arn}
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Function not found: f"):
        await asyncio.to_thread(client.get_function, FunctionName="f")


async def test_an_upload_over_the_limit_gets_the_recorded_answer(server: Running):
    client = await asyncio.to_thread(server.client, "lambda")
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(
            client.create_function,
            FunctionName="f",
            Role="arn:aws:iam::000000000000:role/r",
            Code={"ZipFile": bytes(52_700_000)},
        )
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert response["Error"] == {
        "Code": "RequestEntityTooLargeException",
        "Message": "Request must be smaller than 70167211 bytes for the CreateFunction operation",
    }


async def test_iam_over_a_socket(server: Running):
    client = await asyncio.to_thread(server.client, "iam")
    await asyncio.to_thread(client.create_role, RoleName="r", AssumeRolePolicyDocument=TRUST)
    role = await asyncio.to_thread(client.get_role, RoleName="r")
    assert role["Role"]["AssumeRolePolicyDocument"] == json.loads(TRUST)


async def test_without_signature_only_health_answers(server: Running):
    response, body = await asyncio.to_thread(server.plain, "GET", "/_lambdad/health")
    assert (response.status, json.loads(body)["status"]) == (200, "ok")
    response, _ = await asyncio.to_thread(server.plain, "HEAD", "/_lambdad/health")
    assert response.status == 200
    response, body = await asyncio.to_thread(server.plain, "GET", "/2015-03-31/functions/f")
    assert (response.status, json.loads(body)) == (403, {"message": "Missing Authentication Token"})
    response, _ = await asyncio.to_thread(server.plain, "GET", "/_lambdad/health", {"Host": "rebound.example"})
    assert response.status == 403
