"""What lambdad relies on in moto: its private parts may change with any release, and then these tests fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import botocore.session
import pytest

from lambdad.domain.errors import ServiceError
from lambdad.domain.identity import Caller
from lambdad.domain.object_events import TEST_EVENT, NotificationTarget, ObjectEvent
from lambdad.extras.moto_services import MotoServices, is_installed
from lambdad.http.messages import Request, Response

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs the extra aws")

CALLER = Caller(
    account="111122223333",
    region="eu-west-1",
    access_key_id="111122223333",
    arn="arn:aws:iam::111122223333:root",
    user_id="111122223333",
)


@pytest.fixture
async def moto() -> AsyncIterator[MotoServices]:
    services = MotoServices()
    yield services
    await services.reset()
    services.stop()


def s3(method: str, path: str, body: bytes = b"", query: str = "", **headers: str) -> Request:
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return Request(method, path, query, {"host": "localhost:4566", **given}, body)


def json_call(target: str, body: bytes = b"{}") -> Request:
    headers = {"host": "localhost", "x-amz-target": target, "content-type": "application/x-amz-json-1.1"}
    return Request("POST", "/", "", headers, body)


def header(response: Response, name: str) -> str | None:
    return next((text for known, text in response.headers if known.lower() == name), None)


async def test_an_object_goes_in_and_comes_out(moto: MotoServices):
    made = await moto.answer("s3", CALLER, s3("PUT", "/bucket", _location("eu-west-1")))
    assert made.status == 200
    await moto.answer("s3", CALLER, s3("PUT", "/bucket/a%2Fb%20%C3%BC;c", b"text", x_amz_meta_my_key="v"))
    found = await moto.answer("s3", CALLER, s3("GET", "/bucket/a%2Fb%20%C3%BC;c"))
    assert (found.status, found.body) == (200, b"text")
    listed = await moto.answer("s3", CALLER, s3("GET", "/bucket", query="list-type=2"))
    assert "<Key>a/b ü;c</Key>" in listed.body.decode()


async def test_head_tells_the_length_without_a_body(moto: MotoServices):
    await moto.answer("s3", CALLER, s3("PUT", "/bucket", _location("eu-west-1")))
    await moto.answer("s3", CALLER, s3("PUT", "/bucket/key", b"12345"))
    found = await moto.answer("s3", CALLER, s3("HEAD", "/bucket/key"))
    assert (found.status, found.body, found.length) == (200, b"", 5)


async def test_state_is_kept_by_account_and_region(moto: MotoServices):
    body = b'{"Name":"p","Value":"v","Type":"String"}'
    await moto.answer("ssm", CALLER, json_call("AmazonSSM.PutParameter", body))

    async def finds(caller: Caller) -> bool:
        found = await moto.answer("ssm", caller, json_call("AmazonSSM.GetParameter", b'{"Name":"p"}'))
        return found.status == 200

    assert await finds(CALLER)
    assert not await finds(replace(CALLER, account="999988887777"))
    assert not await finds(replace(CALLER, region="us-east-1"))


async def test_a_client_cannot_choose_another_account_by_a_header_of_motos(moto: MotoServices):
    call = json_call("AmazonSSM.PutParameter", b'{"Name":"p","Value":"v","Type":"String"}')
    call.headers["x-moto-account-id"] = "999988887777"
    await moto.answer("ssm", CALLER, call)
    found = await moto.answer("ssm", CALLER, json_call("AmazonSSM.GetParameter", b'{"Name":"p"}'))
    assert b":111122223333:parameter" in found.body


async def test_a_reset_forgets_everything(moto: MotoServices):
    await moto.answer("s3", CALLER, s3("PUT", "/bucket", _location("eu-west-1")))
    await moto.reset()
    found = await moto.answer("s3", CALLER, s3("HEAD", "/bucket"))
    assert found.status == 404


@pytest.mark.parametrize("service", ["no-such-service", "sqs", "cloudformation", "lambda"])
async def test_services_that_do_not_come_from_moto(moto: MotoServices, service: str):
    with pytest.raises(ServiceError, match="Neither lambdad nor moto") as caught:
        await moto.answer(service, CALLER, json_call("X.Y"))
    assert (caught.value.code, caught.value.status) == ("NotImplemented", 501)


async def test_an_operation_that_moto_lacks(moto: MotoServices):
    with pytest.raises(ServiceError, match="lacks this operation"):
        await moto.answer("ssm", CALLER, json_call("AmazonSSM.NoSuchOperation"))


async def test_a_region_that_moto_does_not_know(moto: MotoServices):
    with pytest.raises(ServiceError, match="has no region 'xx-nowhere-1'"):
        await moto.answer("ssm", replace(CALLER, region="xx-nowhere-1"), json_call("AmazonSSM.DescribeParameters"))


async def test_tables_and_their_streams_are_told_apart(moto: MotoServices):
    tables = await moto.answer("dynamodb", CALLER, json_call("DynamoDB_20120810.ListTables"))
    streams = await moto.answer("dynamodb", CALLER, json_call("DynamoDBStreams_20120810.ListStreams"))
    assert (tables.body, streams.body) == (b'{"TableNames": []}', b'{"Streams": []}')


async def test_other_threads_can_call_too(moto: MotoServices):
    import asyncio

    found = await asyncio.to_thread(moto.answer_now, "ssm", CALLER, json_call("AmazonSSM.DescribeParameters"))
    assert found.status == 200


async def test_clients_made_after_the_import_have_no_handler_of_motos(moto: MotoServices):
    await moto.answer("ssm", CALLER, json_call("AmazonSSM.DescribeParameters"))
    from botocore.handlers import BUILTIN_HANDLERS

    assert not [handler for _, handler, *_ in BUILTIN_HANDLERS if type(handler).__module__.startswith("moto")]
    session = botocore.session.Session()
    client = session.create_client(
        "ssm",
        region_name="eu-west-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        endpoint_url="http://127.0.0.1:9",
    )
    handlers = client.meta.events._emitter._handlers.prefix_search("before-send.ssm.GetParameter")
    assert not [handler for handler in handlers if type(handler).__module__.startswith("moto")]


def test_looking_for_moto_does_not_import_it():
    script = (
        "import sys; import lambdad.app; from lambdad.extras import moto_services as m; m.MotoServices(); "
        "print(m.is_installed(), sorted(n for n in sys.modules if n.split('.')[0] in ('moto', 'werkzeug')))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "True []"
    assert is_installed()


def _location(region: str) -> bytes:
    place = f"<LocationConstraint>{region}</LocationConstraint>"
    return f"<CreateBucketConfiguration>{place}</CreateBucketConfiguration>".encode()


async def anything(_: Caller, __: str, ___: list[str]) -> None:
    """Takes every target."""


NOTIFICATIONS = b"""<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<CloudFunctionConfiguration><Id>made</Id><CloudFunction>arn:aws:lambda:eu-west-1:111122223333:function:f</CloudFunction>
<Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>in/</Value></FilterRule></S3Key>
</Filter></CloudFunctionConfiguration><QueueConfiguration><Id>gone</Id>
<Queue>arn:aws:sqs:eu-west-1:111122223333:q</Queue><Event>s3:ObjectRemoved:*</Event><Event>s3:ObjectTagging:*</Event>
</QueueConfiguration>
</NotificationConfiguration>"""


async def test_changes_in_buckets_are_told_before_the_answer(moto: MotoServices):
    told: list[ObjectEvent] = []

    async def notify(event: ObjectEvent) -> None:
        told.append(event)

    moto.on_object_event(notify, anything)
    await moto.answer("s3", CALLER, s3("PUT", "/bucket", _location("eu-west-1")))
    await moto.answer("s3", CALLER, s3("PUT", "/bucket/in/before", b"12345"))
    configured = await moto.answer("s3", CALLER, s3("PUT", "/bucket", NOTIFICATIONS, "notification"))
    assert configured.status == 200
    await moto.answer("s3", CALLER, s3("PUT", "/bucket/in/a", b"12345"))
    await moto.answer("s3", CALLER, s3("PUT", "/bucket/out/b", b"12345"))
    await moto.answer("s3", CALLER, s3("DELETE", "/bucket/in/a"))
    tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    await moto.answer("s3", CALLER, s3("PUT", "/bucket/out/b", tags, "tagging"))
    test, made, gone, tagged = told
    assert (tagged.name, tagged.key) == ("ObjectTagging:Put", "out/b")
    assert (test.name, [target.arn for target in test.targets]) == (
        TEST_EVENT,
        ["arn:aws:sqs:eu-west-1:111122223333:q"],
    )
    assert (made.name, made.key, made.size, made.account, made.region) == (
        "ObjectCreated:Put",
        "in/a",
        5,
        "111122223333",
        "eu-west-1",
    )
    assert made.targets == (
        NotificationTarget(arn="arn:aws:lambda:eu-west-1:111122223333:function:f", configuration_id="made"),
    )
    assert (gone.name, gone.size, gone.version_id) == ("ObjectRemoved:Delete", None, None)


async def test_changes_made_from_other_threads_are_told_too(moto: MotoServices):
    import asyncio

    told: list[str] = []

    async def notify(event: ObjectEvent) -> None:
        told.append(event.name)

    moto.on_object_event(notify, anything)
    await moto.answer("s3", CALLER, s3("PUT", "/bucket", _location("eu-west-1")))
    await moto.answer("s3", CALLER, s3("PUT", "/bucket", NOTIFICATIONS, "notification"))
    told.clear()
    await asyncio.to_thread(moto.answer_now, "s3", CALLER, s3("PUT", "/bucket/in/a", b"1"))
    assert told == ["ObjectCreated:Put"]


async def test_targets_are_checked_before_they_are_stored(moto: MotoServices):
    asked: list[tuple[str, str, list[str]]] = []

    async def notify(_: ObjectEvent) -> None: ...

    async def check(caller: Caller, bucket: str, arns: list[str]) -> None:
        asked.append((caller.account, bucket, arns))
        raise ServiceError("InvalidArgument", "no")

    moto.on_object_event(notify, check)
    await moto.answer("s3", CALLER, s3("PUT", "/bucket", _location("eu-west-1")))
    with pytest.raises(ServiceError, match="no"):
        await moto.answer("s3", CALLER, s3("PUT", "/bucket", NOTIFICATIONS, "notification"))
    arns = ["arn:aws:lambda:eu-west-1:111122223333:function:f", "arn:aws:sqs:eu-west-1:111122223333:q"]
    assert asked == [("111122223333", "bucket", arns)]
    stored = await moto.answer("s3", CALLER, s3("GET", "/bucket", query="notification"))
    assert b"arn:aws:lambda" not in stored.body
    unchecked = s3("PUT", "/bucket", NOTIFICATIONS, "notification", x_amz_skip_destination_validation="true")
    assert (await moto.answer("s3", CALLER, unchecked)).status == 200
