"""Requests of Invoke and its kin as they are on the wire, not only as SDKs write them."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambdad.domain.arns import NameKind
from tests.aws.deploying import Deployer, tail_of
from tests.running import RunningServer

ECHO = "def handler(event, context):\n    return event\n"


class Sender:
    """Sends signed requests exactly as given."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server

    def __call__(self, path: str, body: bytes = b"{}", **headers: str) -> tuple[int, dict[str, str], bytes]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest(method="POST", url=self._server.endpoint + path, data=body, headers=given)
        SigV4Auth(Credentials("test", "test"), "lambda", "us-east-1").add_auth(request)
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=20)
        try:
            connection.request("POST", path, body, dict(request.headers.items()))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return response.status, names, response.read()
        finally:
            connection.close()


@pytest.fixture
def send(server: RunningServer) -> Sender:
    return Sender(server)


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("/2015-03-31/functions/{}/invocations", 200),
        ("/2015-03-31/functions/{}/invocations/", 200),
        ("/2015-03-31/functions/{}/invocations/?Qualifier=%24LATEST", 200),
        ("/2021-11-15/functions/{}/response-streaming-invocations", 200),
        ("/2021-11-15/functions/{}/response-streaming-invocations/", 200),
        ("/2014-11-13/functions/{}/invoke-async", 202),
        ("/2014-11-13/functions/{}/invoke-async/", 202),
    ],
)
def test_paths_may_end_in_a_slash(send: Sender, deploy: Deployer, form: str, status: int) -> None:
    name = deploy(ECHO)
    for written in (name, f"000000000000%3Afunction%3A{name}"):
        assert send(form.format(written))[0] == status


PATTERNS = {
    "functionName": NameKind.NAMESPACED.pattern,
    "tenantId": r"[a-zA-Z0-9\._:\/=+\-@ ]+",
    "durableExecutionName": "[a-zA-Z0-9-_]+",
}


def violation(path: str, value: str, must: str = "") -> str:
    must = must or f"satisfy regular expression pattern: {PATTERNS[path]}"
    return f"Value '{value}' at '{path}' failed to satisfy constraint: Member must {must}"


@pytest.mark.parametrize(
    ("name", "headers", "violations"),
    [
        (
            "f",
            {"X_Amz_Invocation_Type": "event"},
            [violation("invocationType", "event", "satisfy enum value set: [RequestResponse, Event, DryRun]")],
        ),
        (
            "f%2A",
            {"X_Amz_Log_Type": "tail"},
            [
                violation("functionName", "f*"),
                violation("logType", "tail", "satisfy enum value set: [None, Tail]"),
            ],
        ),
        ("f", {"X_Amz_Tenant_Id": "a!"}, [violation("tenantId", "a!")]),
        (
            "f",
            {"X_Amz_Tenant_Id": "a" * 257},
            [violation("tenantId", "a" * 257, "have length less than or equal to 256")],
        ),
        (
            "f%2A",
            {"X_Amz_Durable_Execution_Name": "a b"},
            [violation("functionName", "f*"), violation("durableExecutionName", "a b")],
        ),
    ],
)
def test_all_that_is_wrong_is_told_at_once(
    send: Sender, name: str, headers: dict[str, str], violations: list[str]
) -> None:
    status, answered, body = send(f"/2015-03-31/functions/{name}/invocations", **headers)
    assert (status, answered["x-amzn-errortype"]) == (400, "ValidationException")
    count = f"{len(violations)} validation error{'s' if len(violations) > 1 else ''} detected: "
    assert json.loads(body) == {"message": count + "; ".join(violations)}


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"X_Amz_Tenant_Id": "a"}, "The invoked function is not enabled with tenancy configuration."),
        ({"X_Amz_Durable_Execution_Name": "a"}, "The invoked function is not a durable function."),
    ],
)
def test_members_that_no_function_here_has_a_use_for(send: Sender, headers: Any, message: str) -> None:
    status, answered, body = send("/2015-03-31/functions/f/invocations", **headers)
    assert (status, answered["x-amzn-errortype"]) == (400, "InvalidParameterValueException")
    assert json.loads(body) == {"Type": "User", "message": message}


PYTHON = """
import logging
def handler(event, context):
    print(".", end="")
    logging.warning("record")
    print(".")
"""
NODE = """
export const handler = async () => {
  process.stdout.write('.');
  console.warn('record');
  process.stdout.write('.\\n');
};
"""


@pytest.mark.parametrize(
    ("code", "runtime"), [(PYTHON, "python3.11"), pytest.param(NODE, "nodejs20.x", marks=pytest.mark.node)]
)
def test_records_are_events_of_their_own(deploy: Deployer, code: str, runtime: str) -> None:
    """As on AWS, where records come by a pipe of their own, and what was printed before waits for its newline."""
    answer = deploy.invoke(deploy(code, runtime=runtime), {}, LogType="Tail")
    lines = tail_of(answer).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("START"))
    assert lines[start + 1].endswith("\trecord")
    assert not lines[start + 1].startswith(".")
    assert lines[start + 2] == ".."
