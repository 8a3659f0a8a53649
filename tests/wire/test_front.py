"""The front door: what is let in, what is found, what is answered."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from lambdad.domain import errors as domain
from lambdad.domain.identity import Caller
from lambdad.http.messages import Request, Response
from lambdad.wire.access.gate import AuthMode
from lambdad.wire.front import FrontDoor, RawRoute
from lambdad.wire.own import OwnEndpoints
from lambdad.wire.service import Answer, ApiCall, Service
from tests.wire.harness import FakeExchange, a_front_door, ask, booted, request_of


def a_service(name: str = "lambda", **handlers: Any) -> Service:
    return Service(name=name, signing_names=(name,), handlers=handlers)


def signed(
    method: str, path: str, body: bytes = b"", *, service: str = "lambda", headers: dict[str, str] | None = None
) -> Request:
    request = AWSRequest(method, f"http://localhost:4566{path}", data=body, headers=headers or {})
    SigV4Auth(Credentials("test", "test"), service, "eu-west-1").add_auth(request)
    return request_of(request.prepare())


def unsigned(method: str, path: str, **headers: str) -> Request:
    path, _, query = path.partition("?")
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, path, query, {"host": "localhost:4566", **given})


async def answer_nothing(_: ApiCall) -> Answer:
    return Answer()


class TestCalls:
    async def test_reach_their_handler_with_caller_and_parameters(self):
        calls: list[ApiCall] = []

        async def get_alias(call: ApiCall) -> Answer:
            calls.append(call)
            return Answer(members={"AliasArn": "arn", "Description": None, "Name": "ä"})

        async with booted(a_service(GetAlias=get_alias)) as boto:
            name = "arn:aws:lambda:eu-west-1:000000000000:function:f"
            found = await boto("lambda", region="eu-west-1").get_alias(FunctionName=name, Name="a")
        assert calls[0].params == {"FunctionName": name, "Name": "a"}
        assert (calls[0].caller.account, calls[0].caller.region) == ("000000000000", "eu-west-1")
        assert found["Name"] == "ä"
        assert "Description" not in found
        assert found["ResponseMetadata"]["RequestId"] == calls[0].request_id
        assert len(calls[0].request_id) == 36

    @pytest.mark.parametrize("service", ["lambda", "logs", "sts"])
    async def test_of_operations_without_handler_are_named(self, service: str):
        operations = {"lambda": "list_functions", "logs": "describe_log_groups", "sts": "get_caller_identity"}
        async with booted(a_service(), a_service("logs"), a_service("sts")) as boto:
            with pytest.raises(ClientError) as caught:
                await getattr(boto(service), operations[service])()
        assert caught.value.response["Error"]["Code"] == "NotImplemented"
        assert "lambdad does not offer " in caught.value.response["Error"]["Message"]

    @pytest.mark.parametrize("service", ["s3", "dynamodb", "sts", "sqs"])
    async def test_of_services_that_are_not_offered_name_those_that_are(self, service: str):
        operations = {
            "s3": "list_buckets",
            "dynamodb": "list_tables",
            "sts": "get_caller_identity",
            "sqs": "list_queues",
        }
        async with booted(a_service(), a_service("logs")) as boto:
            with pytest.raises(ClientError) as caught:
                await getattr(boto(service), operations[service])()
        error = caught.value.response["Error"]
        assert error["Code"] == "NotImplemented"
        assert error["Message"].startswith(f"This lambdad serves lambda, logs, not '{service}'.")
        assert "lambdad[aws]" in error["Message"]

    async def test_with_broken_constraints_do_not_reach_the_handler(self):
        async with booted(a_service(GetFunction=answer_nothing)) as boto:
            with pytest.raises(ClientError, match="1 validation error detected: Value 'bad!' at 'functionName'"):
                await boto("lambda").get_function(FunctionName="bad!")

    async def test_whose_handler_fails_get_the_error(self):
        async def get_function(_: ApiCall) -> Answer:
            raise domain.ResourceNotFound("Function not found: f")

        async with booted(a_service(GetFunction=get_function)) as boto:
            client = boto("lambda")
            with pytest.raises(client.client.exceptions.ResourceNotFoundException) as caught:
                await client.get_function(FunctionName="f")
        assert caught.value.response["Type"] == "User"

    async def test_a_client_that_goes_away_does_not_stop_a_write(self):
        begun, go_on, written = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def delete_function(_: ApiCall) -> Answer:
            begun.set()
            await go_on.wait()
            written.set()
            return Answer()

        front = a_front_door(a_service(DeleteFunction=delete_function))
        exchange = FakeExchange(signed("DELETE", "/2015-03-31/functions/f"))
        front.handle(exchange)  # type: ignore[arg-type]
        await begun.wait()
        exchange.closed = True
        go_on.set()
        await front.finish(1)
        assert written.is_set()

    async def test_that_do_not_end_are_cancelled_at_the_end(self):
        begun = asyncio.Event()

        async def delete_function(_: ApiCall) -> Answer:
            begun.set()
            await asyncio.Event().wait()
            return Answer()

        front = a_front_door(a_service(DeleteFunction=delete_function))
        front.handle(FakeExchange(signed("DELETE", "/2015-03-31/functions/f")))  # type: ignore[arg-type]
        await begun.wait()
        await asyncio.wait_for(front.finish(0), 5)

    @pytest.mark.parametrize(
        "body", [b"{", b"[]", b"nonsense", b"\xff", b'{"a":NaN}', b"[" * 100_000, b"9" * 5_000, b'"x"']
    )
    async def test_with_a_body_that_is_no_object_are_refused(self, body: bytes):
        front = a_front_door(a_service(CreateAlias=answer_nothing))
        response = await ask(front, signed("POST", "/2015-03-31/functions/f/aliases", body))
        assert response.status == 400
        assert dict(response.headers)["x-amzn-errortype"] == "SerializationException"

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({"Name": 1}, "NUMBER_VALUE can not be converted to a String"),
            ({"Name": True}, "TRUE_VALUE can not be converted to a String"),
            ({"Name": ["a"]}, "Start of list found where not expected"),
            ({"Name": {}}, "Start of structure or map found where not expected"),
            (
                {"RoutingConfig": {"AdditionalVersionWeights": {"1": "x"}}},
                "STRING_VALUE can not be converted to a Double",
            ),
            ({"RoutingConfig": []}, "Start of list found where not expected"),
            ({"RoutingConfig": {"AdditionalVersionWeights": 5}}, "Expected map or null"),
        ],
    )
    async def test_with_members_of_another_type_are_refused(self, body: dict[str, Any], text: str):
        front = a_front_door(a_service(CreateAlias=answer_nothing))
        response = await ask(front, signed("POST", "/2015-03-31/functions/f/aliases", json.dumps(body).encode()))
        assert response.status == 400
        assert json.loads(response.body) == {"Message": text}

    async def test_null_is_the_same_as_unset(self):
        seen: list[dict[str, Any]] = []

        async def create_alias(call: ApiCall) -> Answer:
            seen.append(call.params)
            return Answer()

        front = a_front_door(a_service(CreateAlias=create_alias))
        body = b'{"Name":"a","FunctionVersion":"1","Description":null,"RoutingConfig":null,"Unknown":1}'
        response = await ask(front, signed("POST", "/2015-03-31/functions/f/aliases", body))
        assert response.status == 201
        assert seen == [{"FunctionName": "f", "Name": "a", "FunctionVersion": "1"}]

    async def test_find_their_service_by_the_target_when_the_scope_is_strange(self):
        async def describe(_: ApiCall) -> Answer:
            return Answer(members={"logGroups": []})

        front = a_front_door(a_service(), a_service("logs", DescribeLogGroups=describe))
        headers = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups", "Content-Type": "application/x-amz-json-1.1"}
        response = await ask(front, signed("POST", "/", b"{}", service="cloudwatchlogs", headers=headers))
        assert (response.status, response.body) == (200, b'{"logGroups":[]}')


class TestUnknownPaths:
    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "/nothing"), ("HEAD", "/2015-03-31/functions"), ("PATCH", "/2015-03-31/functions/f"),
         ("GET", "/2015-03-31/functions/f/nothing"), ("POST", "/2015-03-31/functions//invocations"),
         ("OPTIONS", "/2015-03-31/functions"), ("OPTIONS", "*"), ("GET", "/2015-03-31/../etc/passwd")],
    )  # fmt: skip
    async def test_are_answered_as_aws_does(self, method: str, path: str):
        front = a_front_door(a_service(GetFunction=answer_nothing))
        response = await ask(front, unsigned(method, path))
        assert response.status == 404
        assert dict(response.headers)["x-amzn-errortype"] == "UnknownOperationException"
        if path == "*":
            return
        response = await ask(front, signed(method, path))
        assert response.status == 403
        assert dict(response.headers)["x-amzn-errortype"] == "AccessDeniedException"
        text = "Unable to determine service/operation name to be authorized"
        assert json.loads(response.body) == {"Message": text}

    async def test_no_answer_allows_other_origins(self):
        front = a_front_door(a_service(GetFunction=answer_nothing))
        for request in (
            unsigned("OPTIONS", "/2015-03-31/functions", origin="http://evil.example"),
            unsigned("GET", "/_lambdad/health", origin="http://evil.example"),
            signed("GET", "/2015-03-31/functions/f", headers={"Origin": "http://evil.example"}),
        ):
            response = await ask(front, request)
            assert not [name for name, _ in response.headers if name.lower().startswith("access-control")]

    async def test_a_browser_at_the_root_learns_where_it_is(self):
        response = await ask(a_front_door(a_service()), unsigned("GET", "/"))
        assert response.status == 200
        assert json.loads(response.body)["name"] == "lambdad"


class TestRefusals:
    async def test_unsigned_calls(self):
        front = a_front_door(a_service(GetFunction=answer_nothing))
        response = await ask(front, unsigned("GET", "/2015-03-31/functions/f"))
        assert response.status == 403
        assert json.loads(response.body) == {"message": "Missing Authentication Token"}
        response = await ask(front, unsigned("POST", "/", x_amz_target="Logs_20140328.DescribeLogGroups"))
        assert json.loads(response.body)["__type"] == "MissingAuthenticationTokenException"
        response = await ask(front, unsigned("GET", "/?Action=GetCallerIdentity"))
        assert b"<Code>MissingAuthenticationToken</Code>" in response.body

    async def test_other_hosts(self):
        front = a_front_door(a_service(GetFunction=answer_nothing))
        for path in ("/2015-03-31/functions/f", "/_lambdad/health"):
            request = unsigned("GET", path, host="evil.example")
            refused = front.head(request)
            assert isinstance(refused, Response)
            assert refused.status == 403
            assert b"evil.example" in refused.body
            assert b"--hostname" in refused.body

    async def test_unknown_keys_in_strict_mode_before_the_body_is_read(self):
        front = a_front_door(a_service(CreateFunction=answer_nothing), mode=AuthMode.STRICT)
        refused = front.head(signed("POST", "/2015-03-31/functions", b"x"))
        assert isinstance(refused, Response)
        assert dict(refused.headers)["x-amzn-errortype"] == "UnrecognizedClientException"


class TestBodyLimits:
    @pytest.mark.parametrize(
        ("method", "path", "limit", "text"),
        [
            ("POST", "/2015-03-31/functions", 70_167_211, "70167211 bytes for the CreateFunction operation"),
            ("POST", "/2015-03-31/functions/", 70_167_211, "70167211 bytes for the CreateFunction operation"),
            ("PUT", "/2015-03-31/functions/f/code", 70_167_211, "70167211 bytes for the UpdateFunctionCode operation"),
            (
                "POST",
                "/2018-10-31/layers/l/versions",
                70_167_211,
                "70167211 bytes for the PublishLayerVersion operation",
            ),
            (
                "POST",
                "/2015-03-31/functions/f/invocations",
                7_340_032,
                "6291456 bytes for the InvokeFunction operation",
            ),
            ("POST", "/2015-03-31/functions/f/aliases", 6_291_456, "6291456 bytes for the CreateAlias operation"),
            ("POST", "/2015-03-31/nothing", 6_291_456, "6291456 bytes for the requested operation"),
        ],
    )
    async def test_are_those_of_the_operation(self, method: str, path: str, limit: int, text: str):
        front = a_front_door(a_service(GetFunction=answer_nothing))
        request = signed(method, path)
        policy = front.head(request)
        assert not isinstance(policy, Response)
        assert policy.limit == limit
        assert policy.on_too_large is not None
        refused = policy.on_too_large(request, limit + 1)
        assert refused.status == 413
        assert dict(refused.headers)["x-amzn-errortype"] == "RequestEntityTooLargeException"
        assert json.loads(refused.body) == {"Message": f"Request must be smaller than {text}"}

    async def test_of_json_services(self):
        front = a_front_door(a_service(), a_service("logs"))
        request = signed("POST", "/", service="logs", headers={"X-Amz-Target": "Logs_20140328.PutLogEvents"})
        policy = front.head(request)
        assert not isinstance(policy, Response)
        assert policy.on_too_large is not None
        refused = policy.on_too_large(request, policy.limit + 1)
        assert refused.status == 413
        assert "for the PutLogEvents operation" in json.loads(refused.body)["message"]


class TestRawRoutes:
    PATH = "/2015-03-31/functions/f/invocations"

    def a_front(self, handler: Any) -> FrontDoor:
        route = RawRoute(
            service="lambda", method="POST", prefix="/2015-03-31/functions/", suffix="/invocations", handler=handler
        )
        return a_front_door(a_service(GetFunction=answer_nothing), raw_routes=[route])

    async def test_come_before_the_generic_ones(self):
        def invoke(exchange: Any, caller: Caller, request_id: str) -> None:
            exchange.send(Response(200, [("x-amzn-requestid", request_id)], caller.region.encode()))

        response = await ask(self.a_front(invoke), signed("POST", self.PATH, b"{}"))
        assert (response.status, response.body) == (200, b"eu-west-1")
        assert len(dict(response.headers)["x-amzn-requestid"]) == 36

    async def test_are_for_signed_calls_of_their_service_only(self):
        def invoke(exchange: Any, *_: Any) -> None:
            pytest.fail("reached")

        front = self.a_front(invoke)
        assert (await ask(front, unsigned("POST", self.PATH))).status == 403
        assert (await ask(front, signed("POST", self.PATH, service="sqs"))).status == 501
        assert (await ask(front, signed("GET", self.PATH))).status == 403

    async def test_may_raise(self):
        def invoke(*_: Any) -> None:
            raise domain.ResourceConflict("busy")

        response = await ask(self.a_front(invoke), signed("POST", self.PATH))
        assert response.status == 409
        assert json.loads(response.body) == {"Type": "User", "message": "busy"}


class TestOwnEndpoints:
    def a_front(self, mode: AuthMode = AuthMode.DEV) -> FrontDoor:
        async def echo(exchange: Any) -> Response:
            return Response(200, (), exchange.request.path.encode())

        async def fail(_: Any) -> Response:
            raise KeyError("secret")

        async def refuse(_: Any) -> Response:
            raise domain.InvalidParameterValue("seconds must be a number")

        own = OwnEndpoints()
        own.add("POST", "/_lambdad/clock", echo)
        own.add("POST", "/_lambdad/fail", fail)
        own.add("POST", "/_lambdad/refuse", refuse)
        own.add("GET", "/_lambdad/code/*", echo, is_open=True)
        return a_front_door(a_service(), mode=mode, own_endpoints=own)

    @pytest.mark.parametrize("mode", AuthMode)
    async def test_health_is_free(self, mode: AuthMode):
        for method in ("GET", "HEAD"):
            response = await ask(self.a_front(mode), unsigned(method, "/_lambdad/health"))
            assert response.status == 200
            health = json.loads(response.body)
            assert health["status"] == "ok"
            assert health["version"]
            assert health["uptime_s"] >= 0

    async def test_dev_takes_callers_without_signature_but_no_pages_of_other_origins(self):
        front = self.a_front()
        assert (await ask(front, unsigned("POST", "/_lambdad/clock"))).status == 200
        same = {"origin": "http://localhost:4566", "sec_fetch_site": "same-origin"}
        assert (await ask(front, unsigned("POST", "/_lambdad/clock", **same))).status == 200
        for headers in (
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"sec_fetch_site": "cross-site"},
            {"sec_fetch_site": "same-site"},
        ):
            assert (await ask(front, unsigned("POST", "/_lambdad/clock", **headers))).status == 403

    async def test_a_wrong_signature_is_not_better_than_none(self):
        request = signed("POST", "/_lambdad/clock")
        request.headers["authorization"] = request.headers["authorization"][:-1] + "g"
        assert (await ask(self.a_front(), request)).status == 403
        assert (await ask(self.a_front(), signed("POST", "/_lambdad/clock"))).status == 200

    async def test_strict_wants_a_signature(self):
        front = self.a_front(AuthMode.STRICT)
        assert (await ask(front, unsigned("POST", "/_lambdad/clock"))).status == 403
        assert (await ask(front, unsigned("GET", "/_lambdad/code/abc"))).status == 200

    async def test_unknown_ones_and_wrong_methods(self):
        front = self.a_front()
        assert (await ask(front, unsigned("GET", "/_lambdad/nothing"))).status == 404
        response = await ask(front, unsigned("GET", "/_lambdad/clock"))
        assert response.status == 405
        assert dict(response.headers)["allow"] == "POST"

    async def test_failures(self):
        front = self.a_front()
        response = await ask(front, unsigned("POST", "/_lambdad/fail"))
        assert response.status == 500
        assert b"secret" not in response.body
        response = await ask(front, unsigned("POST", "/_lambdad/refuse"))
        assert (response.status, json.loads(response.body)) == (400, {"message": "seconds must be a number"})

    def test_are_registered_once_and_in_their_place(self):
        async def nothing(_: Any) -> None:
            return None

        own = OwnEndpoints()
        own.add("GET", "/_lambdad/x", nothing)
        for path in ("/_lambdad/x", "/elsewhere"):
            with pytest.raises(ValueError, match="cannot register"):
                own.add("GET", path, nothing)
