"""Calls that lambdad has no handler for."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.domain.errors import ServiceError
from lambdad.domain.identity import Caller
from lambdad.http.messages import Request, Response
from lambdad.wire.fallback import Fallback, PassedOn
from lambdad.wire.service import Answer, ApiCall, Service
from tests.wire.harness import a_front_door, ask, booted, request_of
from tests.wire.test_front import signed


class Provider:
    """Answers everything with one response, and remembers the calls."""

    def __init__(self, body: bytes = b"{}", failure: Exception | None = None) -> None:
        self.calls: list[tuple[str, Caller, Request]] = []
        self._body = body
        self._failure = failure

    async def answer(self, service: str, caller: Caller, request: Request) -> Response:
        self.calls.append((service, caller, request))
        if self._failure is not None:
            raise self._failure
        return Response(200, [("content-type", "application/x-amz-json-1.1")], self._body)


def iam(**handlers: Any) -> Service:
    return Service(name="iam", signing_names=("iam",), handlers=handlers)


USERS = (
    b'<ListUsersResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListUsersResult><IsTruncated>false'
    b"</IsTruncated><Users/></ListUsersResult></ListUsersResponse>"
)


async def test_another_service_is_answered_by_the_provider():
    provider = Provider(b'{"TableNames":["t"]}')
    async with booted(iam(), fallback=Fallback(provider)) as boto:
        found = await boto("dynamodb", region="eu-west-1", key="111122223333").list_tables()
    assert found["TableNames"] == ["t"]
    [(service, caller, request)] = provider.calls
    assert (service, caller.account, caller.region) == ("dynamodb", "111122223333", "eu-west-1")
    assert request.headers["x-amz-target"] == "DynamoDB_20120810.ListTables"


async def test_a_signature_is_checked_before():
    provider = Provider()
    async with booted(iam(), fallback=Fallback(provider)) as boto:
        with pytest.raises(ClientError, match="signature"):
            await boto("dynamodb", secret="wrong").list_tables()
    assert provider.calls == []


@pytest.mark.parametrize(("service", "operation"), [("s3", "list_buckets"), ("dynamodb", "list_tables")])
async def test_without_a_provider_the_answer_names_what_to_install(service: str, operation: str):
    async with booted(iam()) as boto:
        with pytest.raises(ClientError) as caught:
            await getattr(boto(service), operation)()
    assert caught.value.response["Error"]["Code"] == "NotImplemented"
    assert "pip install 'lambdad[aws]'" in caught.value.response["Error"]["Message"]


async def test_errors_of_s3_are_xml():
    front = a_front_door(iam())
    answer = await ask(front, signed("GET", "/bucket/key", service="s3"))
    assert answer.status == 501
    assert b"<Error><Code>NotImplemented</Code>" in answer.body


async def test_operations_of_iam_that_are_not_ours_go_to_the_provider_too():
    provider = Provider(USERS)
    async with booted(iam(), fallback=Fallback(provider)) as boto:
        assert (await boto("iam").list_users())["Users"] == []
    assert provider.calls[0][0] == "iam"


async def test_operations_of_queues_do_not():
    provider = Provider()
    sqs = Service(name="sqs", signing_names=("sqs",), handlers={})
    async with booted(sqs, fallback=Fallback(provider)) as boto:
        with pytest.raises(ClientError, match="lambdad does not offer"):
            await boto("sqs").list_queues()
    assert provider.calls == []


async def test_a_handler_can_pass_a_call_on():
    async def get_user(call: ApiCall) -> Answer:
        raise PassedOn(ServiceError("NoSuchEntityException", f"no {call.params['UserName']}"))

    provider = Provider(USERS.replace(b"ListUsers", b"GetUser"))
    async with booted(iam(GetUser=get_user), fallback=Fallback(provider)) as boto:
        await boto("iam").get_user(UserName="u")
    assert len(provider.calls) == 1
    async with booted(iam(GetUser=get_user)) as boto:
        with pytest.raises(ClientError, match="no u"):
            await boto("iam").get_user(UserName="u")


async def test_a_failure_of_the_provider_is_an_internal_error():
    async with booted(iam(), fallback=Fallback(Provider(failure=RuntimeError("broken")))) as boto:
        with pytest.raises(ClientError) as caught:
            await boto("dynamodb").list_tables()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert "Its log has the details" in caught.value.response["Error"]["Message"]


async def test_a_bucket_in_the_host_reaches_the_provider_in_the_path():
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    provider = Provider()
    request = AWSRequest("GET", "http://my-bucket.s3.localhost:4566/key")
    S3SigV4Auth(Credentials("test", "test"), "s3", "us-east-1").add_auth(request)
    await ask(a_front_door(iam(), fallback=Fallback(provider)), request_of(request.prepare()))
    assert provider.calls[0][2].path == "/my-bucket/key"


async def test_an_upload_that_is_too_large():
    front = a_front_door(iam(), fallback=Fallback(Provider()))
    policy = front.head(signed("PUT", "/bucket/key", service="s3"))
    assert not isinstance(policy, Response)
    assert policy.limit == 268_435_456
    assert policy.on_too_large is not None
    answer = policy.on_too_large(signed("PUT", "/bucket/key", service="s3"), policy.limit + 1)
    assert answer.status == 400
    assert b"<Code>EntityTooLarge</Code>" in answer.body
