"""Function URLs over real HTTP."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from click.testing import CliRunner

from lambdad.cli import main
from tests.aws.deploying import Deployer
from tests.aws.urls import Answer, Url, open_to_all
from tests.conftest import StartServer
from tests.running import RunningServer

MakeUrl = Callable[..., Url]
FORBIDDEN = {
    "Message": "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
}
ECHO = "def handler(event, context):\n    return event\n"
HI = "def handler(event, context):\n    return 'hi'\n"
OTHER_ACCOUNT = "222222222222"
PAGE = "https://page.example"
STREAM = """
export const handler = awslambda.streamifyResponse(async (event, stream) => {
  %s
});
"""


@pytest.fixture
def make(server: RunningServer, deploy: Deployer) -> MakeUrl:
    """Deploys a function with a URL that everybody may call."""

    def made(
        code: str, *, auth: str = "NONE", runtime: str = "python3.11", is_open: bool = True, **settings: Any
    ) -> Url:
        name = deploy(code, runtime=runtime, Timeout=10)
        config = deploy.client.create_function_url_config(FunctionName=name, AuthType=auth, **settings)
        if auth == "NONE" and is_open:
            open_to_all(deploy.client, name)
        url = Url(server, config["FunctionUrl"])
        url.function = name  # type: ignore[attr-defined]
        return url

    return made


# --- requests ---


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_method_and_path_reaches_the_function(make: MakeUrl, method: str) -> None:
    url = make(ECHO)
    answer = url(method, "/a/b?c=d", b"text" if method in ("POST", "PUT", "PATCH") else None, content_type="text/plain")
    event = json.loads(answer.body)
    http_part = event["requestContext"]["http"]
    assert (answer.status, http_part["method"], event["rawPath"], event["rawQueryString"]) == (
        200,
        method,
        "/a/b",
        "c=d",
    )
    assert event.get("body") == ("text" if method in ("POST", "PUT", "PATCH") else None)
    assert event["requestContext"]["requestId"] == answer.headers["x-amzn-requestid"]
    assert event["requestContext"]["apiId"] == url.id
    assert event["headers"]["x-amzn-trace-id"].removeprefix("Root=") in answer.headers["x-amzn-trace-id"]


def test_head_has_no_body(make: MakeUrl) -> None:
    answer = make(HI)("HEAD")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "2", b"")


def test_paths_of_the_servers_own_belong_to_the_function_below_its_name(make: MakeUrl) -> None:
    for path in ("/_lambdad/health", "/2015-03-31/functions/"):
        assert make(ECHO)("GET", path).body.find(f'"rawPath":"{path}"'.encode()) > 0


def test_a_url_can_be_called_by_a_path(make: MakeUrl, server: RunningServer) -> None:
    url = make(ECHO)
    named = url.host
    url.host = f"127.0.0.1:{server.port}"
    event = json.loads(url("GET", f"/_lambdad/urls/{url.id}/a?b=c").body)
    assert (event["rawPath"], event["rawQueryString"]) == ("/a", "b=c")
    assert event["requestContext"]["domainName"] == named
    assert json.loads(url("GET", f"/_lambdad/urls/{url.id}").body)["rawPath"] == "/"
    assert url("GET", "/_lambdad/urls/").status == 403
    # A page there would be of the same origin as the endpoints of the server itself.
    page = url("GET", f"/_lambdad/urls/{url.id}/", sec_fetch_dest="document")
    assert (page.status, named in page.body.decode()) == (403, True)


def test_the_shown_address_is_the_one_that_answers(make: MakeUrl, server: RunningServer) -> None:
    url = make(HI)
    assert re.fullmatch(rf"http://[a-z0-9]{{32}}\.lambda-url\.us-east-1\.localhost:{server.port}/", url.address)
    try:
        socket.getaddrinfo(urlsplit(url.address).hostname, server.port)
    except OSError:
        pytest.skip("this machine does not resolve names below localhost")
    connection = http.client.HTTPConnection(url.host)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"hi"
    connection.close()


def test_urls_that_do_not_exist(make: MakeUrl, deploy: Deployer) -> None:
    url = make(HI)
    host = url.host

    def refused() -> tuple[int, bytes]:
        answer = url()
        return answer.status, answer.body

    url.host = "x" * 32 + host[32:]
    assert refused() == (403, b'{"Message":null}')
    url.host = host.replace("us-east-1", "eu-west-1")
    assert refused() == (403, b'{"Message":null}')
    url.host = host.replace("localhost", "evil.example")
    assert url().status == 403
    url.host = host
    assert url().body == b"hi"
    deploy.client.delete_function_url_config(FunctionName=url.function)  # type: ignore[attr-defined]
    assert refused() == (403, b'{"Message":null}')


def test_a_request_that_is_too_large(make: MakeUrl) -> None:
    url = make("def handler(event, context):\n    return len(event['body'])\n")
    answer = url("POST", "/", b"x" * 6_291_457)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (413, "RequestEntityTooLargeException")
    assert json.loads(answer.body) == {
        "Message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    }
    assert url("POST", "/", b"x" * 1000, content_type="text/plain").body == b"1000"


# --- answers ---


def test_a_response_as_the_function_wants_it(make: MakeUrl) -> None:
    answer = make("""
def handler(event, context):
    return {"statusCode": 203, "headers": {"X-Mine": "yes", "content-type": "text/html", "x-amzn-requestid": "mine"},
            "cookies": ["a=1", "b=2"], "body": "AP8=", "isBase64Encoded": True}
""")()
    assert (answer.status, answer.body, answer.cookies) == (203, b"\x00\xff", ["a=1", "b=2"])
    assert (answer.headers["x-mine"], answer.headers["content-type"]) == ("yes", "text/html")
    assert answer.headers["x-amzn-requestid"] != "mine"


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('no')",
        "return {'statusCode': 'no'}",
        "return {'statusCode': 200, 'headers': {'a': 'b\\r\\nc: d'}}",
        "return {'statusCode': 200, 'body': 'x' * 6_300_000}",
        "import os; os._exit(1)",
    ],
)
def test_what_is_no_response_is_a_502(make: MakeUrl, code: str) -> None:
    url = make(f"def handler(event, context):\n    {code}\n")
    answer = url()
    assert (answer.status, answer.body) == (502, b"Internal Server Error")


def test_throttles(make: MakeUrl, deploy: Deployer) -> None:
    url = make(HI)
    function = url.function  # type: ignore[attr-defined]
    deploy.client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    answer = url()
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (429, "TooManyRequestsException")
    deploy.client.delete_function_concurrency(FunctionName=function)
    assert url().status == 200


# --- who may call ---


def test_permissions_of_a_url_without_authentication(make: MakeUrl, deploy: Deployer) -> None:
    url = make(HI, is_open=False)
    function = url.function  # type: ignore[attr-defined]

    def grant(**members: Any) -> Answer:
        given = {"Action": "lambda:InvokeFunctionUrl", "Principal": "*", **members}
        deploy.client.add_permission(FunctionName=function, StatementId="s", **given)
        answer = url()
        deploy.client.remove_permission(FunctionName=function, StatementId="s")
        return answer

    assert json.loads(url().body) == FORBIDDEN
    assert grant(Action="lambda:InvokeFunction").status == 403
    assert grant(FunctionUrlAuthType="AWS_IAM").status == 403
    assert grant(Principal="000000000000").status == 403
    assert grant().status == 200
    assert grant(FunctionUrlAuthType="NONE").status == 200
    assert url().status == 403


def test_a_url_of_an_alias(server: RunningServer, deploy: Deployer) -> None:
    client = deploy.client
    name = deploy("def handler(event, context):\n    return context.invoked_function_arn\n", Publish=True)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    made = client.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
    url = Url(server, made["FunctionUrl"])
    open_to_all(client, name)
    assert url().status == 403  # that was the function's permission
    open_to_all(client, name, Qualifier="live")
    assert url().body.decode().endswith(f":function:{name}:live")
    client.delete_alias(FunctionName=name, Name="live")
    gone = url()
    assert (gone.status, json.loads(gone.body)) == (403, FORBIDDEN)


def signed(
    url: Url, *, key: str = "000000000000", secret: str = "test", region: str = "us-east-1", service: str = "lambda",
    body: bytes = b"", path: str = "/", presign: bool = False,
) -> Answer:  # fmt: skip
    method = "POST" if body else "GET"
    request = AWSRequest(method, f"http://{url.host}{path}", data=body, headers={"host": url.host})
    kind = SigV4QueryAuth if presign else SigV4Auth
    kind(Credentials(key, secret), service, region).add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    headers = {name.lower().replace("-", "_"): str(value) for name, value in prepared.headers.items()}
    del headers["host"]
    return url(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body or None, **headers)


@pytest.mark.parametrize("presign", [False, True])
def test_signed_requests(make: MakeUrl, presign: bool) -> None:
    url = make(ECHO, auth="AWS_IAM")
    answer = signed(url, path="/a%20b?c=d", presign=presign)
    event = json.loads(answer.body)
    assert (answer.status, event["rawPath"]) == (200, "/a%20b")
    context = event["requestContext"]
    assert context["accountId"] == "000000000000"
    assert context["authorizer"]["iam"] == {
        "accessKey": "000000000000",
        "accountId": "000000000000",
        "callerId": "000000000000",
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": "arn:aws:iam::000000000000:root",
        "userId": "000000000000",
    }


def test_requests_that_are_not_signed_well(make: MakeUrl) -> None:
    url = make(ECHO, auth="AWS_IAM")
    assert json.loads(url().body) == FORBIDDEN
    wrong = signed(url, secret="wrong")
    assert (wrong.status, wrong.headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert "The request signature we calculated" in wrong.body.decode()
    assert "correct service: 'lambda'" in signed(url, service="execute-api").body.decode()
    assert "valid region" in signed(url, region="eu-west-1").body.decode()
    assert signed(url, body=b'{"a":1}').status == 200


def test_signed_requests_of_another_account(make: MakeUrl, deploy: Deployer) -> None:
    url = make(HI, auth="AWS_IAM")
    refused = signed(url, key=OTHER_ACCOUNT)
    assert (refused.status, json.loads(refused.body)) == (403, FORBIDDEN)
    deploy.client.add_permission(
        FunctionName=url.function,  # type: ignore[attr-defined]
        StatementId="s",
        Action="lambda:InvokeFunctionUrl",
        Principal=OTHER_ACCOUNT,
        FunctionUrlAuthType="AWS_IAM",
    )
    assert signed(url, key=OTHER_ACCOUNT).status == 200
    assert signed(url, key="333333333333").status == 403


def test_a_strict_server_with_a_name_of_its_own(start_server: StartServer, tmp_path: Path) -> None:
    """URLs without authentication stay open, signed ones take issued keys alone, and both outlive the server."""
    environ = {"LAMBDAD_DATA": str(tmp_path / "data")}
    made = CliRunner().invoke(main, ["keys", "create", "--json"], env=environ, catch_exceptions=False)
    key = json.loads(made.stdout)
    options = ("--auth", "strict", "--hostname", "*.lambda.example.org")
    server = start_server(*options)
    client: Any = boto3.client(
        "lambda", endpoint_url=server.endpoint, region_name="us-east-1",
        aws_access_key_id=key["access_key_id"], aws_secret_access_key=key["secret_access_key"],
    )  # fmt: skip
    name = Deployer(client)(HI, Publish=True)
    client.create_alias(FunctionName=name, Name="signed", FunctionVersion="1")
    open_to_all(client, name)
    addresses = [
        client.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"],
        client.create_function_url_config(FunctionName=f"{name}:signed", AuthType="AWS_IAM")["FunctionUrl"],
    ]
    assert addresses[0].endswith(f".lambda-url.us-east-1.lambda.example.org:{server.port}/")
    server.stop()
    server = start_server(*options)
    public, protected = (Url(server, address) for address in addresses)
    assert public().body == b"hi"
    assert protected().status == 403
    unknown = signed(protected)
    assert (unknown.status, unknown.headers["x-amzn-errortype"]) == (403, "UnrecognizedClientException")
    assert signed(protected, key=key["access_key_id"], secret=key["secret_access_key"]).body == b"hi"


# --- pages of other origins ---


def test_a_preflight_does_not_run_the_function(make: MakeUrl) -> None:
    cors = {"AllowOrigins": [PAGE], "AllowMethods": ["PUT"], "AllowHeaders": ["x-a"], "MaxAge": 60}
    url = make("def handler(event, context):\n    raise ValueError('ran')\n", is_open=False, Cors=cors)
    answer = url("OPTIONS", "/", origin=PAGE, access_control_request_method="PUT")
    assert (answer.status, answer.body) == (200, b"")
    found = {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}
    assert found == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "PUT",
        "access-control-allow-headers": "x-a",
        "access-control-max-age": "60",
    }
    other = url("OPTIONS", "/", origin="https://other.example", access_control_request_method="PUT")
    assert (other.status, "access-control-allow-origin" in other.headers) == (200, False)


def test_settings_count_more_than_the_function(make: MakeUrl, deploy: Deployer) -> None:
    url = make("""
def handler(event, context):
    return {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "https://functions.own"}, "body": ""}
""")
    assert url(origin=PAGE).headers["access-control-allow-origin"] == "https://functions.own"
    cors = {"AllowOrigins": [PAGE], "ExposeHeaders": ["x-a"], "AllowCredentials": True}
    deploy.client.update_function_url_config(FunctionName=url.function, Cors=cors)  # type: ignore[attr-defined]
    headers = url(origin=PAGE).headers
    assert headers["access-control-allow-origin"] == PAGE
    assert headers["access-control-expose-headers"] == "x-a"
    assert headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-origin" not in url(origin="https://other.example").headers


# --- streaming ---


@pytest.mark.node
def test_a_stream_arrives_piece_by_piece(make: MakeUrl) -> None:
    url = make(
        STREAM
        % """
  stream = awslambda.HttpResponseStream.from(stream, {
    statusCode: 201, headers: {'Content-Type': 'text/plain', 'X-Mine': 'yes'}, cookies: ['a=1', 'b=2'],
  });
  stream.write('first');
  await new Promise(resolve => setTimeout(resolve, 200));
  stream.write('second');
  stream.end();
""",
        runtime="nodejs20.x",
        InvokeMode="RESPONSE_STREAM",
    )
    with url.opened("GET", "/") as response:
        assert (response.status, response.getheader("content-type"), response.getheader("x-mine")) == (
            201, "text/plain", "yes",
        )  # fmt: skip
        assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]
        assert response.getheader("transfer-encoding") == "chunked"
        assert response.read1(100) == b"first"
        assert response.read() == b"second"


@pytest.mark.node
def test_a_large_stream_waits_for_its_reader(make: MakeUrl) -> None:
    url = make(
        STREAM
        % """
  stream.setContentType('application/x-mine');
  const piece = Buffer.alloc(1048576, 120);
  for (let i = 0; i < 30; i++) {
    if (!stream.write(piece)) await new Promise(resolve => stream.once('drain', resolve));
  }
  stream.end();
""",
        runtime="nodejs20.x",
        InvokeMode="RESPONSE_STREAM",
    )
    answer = url()
    assert (answer.headers["content-type"], len(answer.body)) == ("application/x-mine", 30 * 1_048_576)


@pytest.mark.node
def test_streams_that_fail(make: MakeUrl) -> None:
    before = make(STREAM % "throw new Error('no');", runtime="nodejs20.x", InvokeMode="RESPONSE_STREAM")
    answer = before()
    assert (answer.status, answer.body) == (502, b"Internal Server Error")
    amid = make(
        STREAM % "stream.write('first'); await new Promise(r => setTimeout(r, 100)); process.exit(1);",
        runtime="nodejs20.x",
        InvokeMode="RESPONSE_STREAM",
    )
    with amid.opened("GET", "/") as response, pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()


@pytest.mark.node
def test_a_stream_comes_whole_in_the_buffered_mode(make: MakeUrl) -> None:
    code = STREAM % (
        "stream = awslambda.HttpResponseStream.from(stream, {statusCode: 202, headers: {'x-mine': 'yes'}});"
        "stream.write('a'); stream.write('b'); stream.end();"
    )
    answer = make(code, runtime="nodejs20.x")()
    assert (answer.status, answer.headers["x-mine"], answer.body) == (202, "yes", b"ab")


def test_a_function_that_does_not_stream_in_the_streaming_mode(make: MakeUrl) -> None:
    answer = make(
        "def handler(event, context):\n    return {'statusCode': 201, 'body': 'b'}\n", InvokeMode="RESPONSE_STREAM"
    )()
    assert (answer.status, json.loads(answer.body)) == (200, {"statusCode": 201, "body": "b"})


# --- metrics ---


def test_requests_are_counted(make: MakeUrl, server: RunningServer, deploy: Deployer) -> None:
    url = make("def handler(event, context):\n    return {'statusCode': int(event['rawPath'][1:])}\n")
    for status in (200, 404, 404, 500):
        assert url("GET", f"/{status}").status == status
    cloudwatch: Any = boto3.client(
        "cloudwatch", endpoint_url=server.endpoint, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    sums = {}
    for metric in ("UrlRequestCount", "Url4xxCount", "Url5xxCount", "UrlRequestLatency"):
        (point,) = cloudwatch.get_metric_statistics(
            Namespace="AWS/Lambda", MetricName=metric, Statistics=["Sum", "SampleCount"], Period=86400,
            Dimensions=[{"Name": "FunctionName", "Value": url.function}],  # type: ignore[attr-defined]
            StartTime=datetime.now(UTC) - timedelta(days=1), EndTime=datetime.now(UTC) + timedelta(days=400),
        )["Datapoints"]  # fmt: skip
        sums[metric] = point["Sum"]
        assert point["SampleCount"] == 4
    assert sums.pop("UrlRequestLatency") > 0
    assert sums == {"UrlRequestCount": 4, "Url4xxCount": 2, "Url5xxCount": 1}
