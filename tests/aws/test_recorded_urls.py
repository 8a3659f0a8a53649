"""Function URLs, replayed against what AWS answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aws.deploying import Deployer
from tests.aws.urls import Answer, Url, open_to_all
from tests.recordings import Recording
from tests.running import RunningServer

ACCOUNT = "111111111111"
GROUP = "TestLambdaURL::"
RESULTS = {
    "dict": '{"hello": "world"}',
    "http-response": '{"statusCode": 200, "body": "body123"}',
    "http-response-json": '{"statusCode": 200, "body": "{\\"hello\\": \\"world\\"}"}',
    "list-mixed": '["hello", 3, true]',
    "string": '"hello"',
    "integer": "3",
    "float": "3.1",
    "boolean": "true",
}
ECHO = """
import json
def handler(event, context):
    http, headers = event["requestContext"]["http"], event["headers"]
    if "trim" in headers:
        headers = {name: value for name, value in headers.items() if not name.startswith("x-") and name != "trim"}
    return {"statusCode": 200, "body": json.dumps({
        "args": event["queryStringParameters"], "data": json.loads(event["body"]), "path": event["rawPath"],
        "domain": event["requestContext"]["domainName"], "headers": headers, "method": http["method"],
        "origin": http["sourceIp"],
    })}
"""


@pytest.fixture
def client(server: RunningServer) -> Any:
    return server.client("lambda", account=ACCOUNT)


@pytest.fixture
def deploy(client: Any) -> Iterator[Deployer]:
    deployer = Deployer(client)
    yield deployer
    deployer.remove_all()


def a_url(server: RunningServer, client: Any, name: str, recording: Recording | None = None) -> Url:
    made = client.create_function_url_config(FunctionName=name, AuthType="NONE")
    permission = open_to_all(client, name)
    permission["Statement"] = json.loads(permission["Statement"])
    url = Url(server, made["FunctionUrl"])
    if recording is not None:
        if "<" not in recording.steps["create_lambda_url_config"]["FunctionUrl"]:
            made["FunctionUrl"] = "function-url"
        recording.check("create_lambda_url_config", made)
        recording.check("add_permission", permission)
    return url


def shown(answer: Answer) -> dict[str, Any]:
    """A response as the recordings have it."""
    text = answer.body.decode()
    return {
        "content": json.loads(text) if text.startswith("{") else text,
        "headers": {"Content-Length": answer.headers["content-length"], "Content-Type": answer.headers["content-type"]},
        "statuscode": answer.status,
    }


@pytest.mark.parametrize("runtime", ["python3.11", pytest.param("nodejs20.x", marks=pytest.mark.node)])
@pytest.mark.parametrize("result", RESULTS)
def test_results(server: RunningServer, client: Any, deploy: Deployer, result: str, runtime: str) -> None:
    recording = Recording.find(f"{GROUP}test_lambda_url_invocation[{result}]")
    if runtime == "python3.11":
        name = deploy(f"import json\ndef handler(event, context):\n    return json.loads({RESULTS[result]!r})\n")
    else:
        name = deploy(f"export const handler = async () => ({RESULTS[result]});\n", runtime=runtime)
    url = a_url(server, client, name, recording)
    recording.check("lambda_url_invocation", shown(url()))


def test_an_exception(server: RunningServer, client: Any, deploy: Deployer) -> None:
    recording = Recording.find(f"{GROUP}test_lambda_url_invocation_exception")
    name = deploy(
        {"handler.py": "def handler(event, context):\n    raise Exception('no')\n"},
        runtime="python3.12",
        Handler="handler.handler",
        Role=f"arn:aws:iam::{ACCOUNT}:role/r",
        Timeout=30,
        Environment={"Variables": {}},
    )
    found = client.get_function(FunctionName=name)
    found["Configuration"]["CodeSha256"] = "code-sha256"
    recording.check("get_fn_result", found)
    answer = a_url(server, client, name, recording)()
    assert (answer.status, answer.body) == (502, b"Internal Server Error")


@pytest.mark.parametrize(
    ("recorded", "path"),
    [
        ("test_lambda_url_echo_http_fixture_default", "/pa2%Fth/1?q=query&multiQuery=foo&multiQuery=%2Fbar"),
        ("test_lambda_url_echo_http_fixture_trim_x_headers", "/path/1?q=query"),
    ],
)
def test_what_a_request_becomes(server: RunningServer, client: Any, deploy: Deployer, recorded: str, path: str) -> None:
    recording = Recording.find(GROUP + recorded)
    url = a_url(server, client, deploy(ECHO))
    headers = {
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "user-agent": "test/echo",
        "ExTrA-HeADErs": "With WeiRd CapS",
        "content-type": "application/json",
        "connection": "keep-alive",
        **({"trim": "yes"} if "trim" in recorded else {}),
    }
    with url.opened("POST", path, b'{"foo": "bar"}', headers) as response:
        recording.check("url_response", json.loads(response.read()))


def test_a_missing_permission(server: RunningServer, client: Any, deploy: Deployer) -> None:
    recording = Recording.find("TestLambdaPermissions::test_lambda_permission_url_invocation")
    name = deploy("def handler(event, context):\n    return 'hi'\n")
    url = Url(server, client.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"])
    refused = url()
    assert (refused.status, refused.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    recording.check("lambda_url_invocation_missing_permission", json.loads(refused.body))
    open_to_all(client, name)
    answer = url()
    assert (answer.status, answer.body) == (200, b"hi")
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-amzn-requestid"])
