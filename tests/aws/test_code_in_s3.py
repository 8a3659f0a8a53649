"""Code of functions and layers from S3, and records of failures in S3, through boto3 on a real server."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.extras.moto_services import is_installed
from tests.aws.test_async import eventually
from tests.conftest import StartServer
from tests.recordings import Recording
from tests.running import ROLE, RunningServer, zipped

pytestmark = [pytest.mark.server, pytest.mark.skipif(not is_installed(), reason="needs the extra aws")]

RUNTIME = f"python3.{sys.version_info.minor}"
ACCOUNT = "111111111111"


def code(answer: str) -> bytes:
    return zipped({"index.py": f"def handler(event, context):\n    return {answer!r}\n"})


def refused(call: Callable[..., Any], **params: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return caught.value


@pytest.fixture
def bucket(server: RunningServer) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    for account in ("test", ACCOUNT):
        server.client("s3", account=account).create_bucket(Bucket=f"{name}-{account}")
    return name


@pytest.fixture
def create(server: RunningServer) -> Iterator[Callable[..., str]]:
    client, made = server.client("lambda"), []

    def deploy(**values: Any) -> str:
        name = f"f-{uuid.uuid4().hex}"
        client.create_function(FunctionName=name, Runtime=RUNTIME, Handler="index.handler", Role=ROLE, **values)
        made.append(name)
        client.get_waiter("function_active_v2").wait(FunctionName=name)
        return name

    yield deploy
    for name in made:
        client.delete_function(FunctionName=name)


def test_a_function_from_s3_as_recorded(server: RunningServer, bucket: str):
    recording = Recording.find("TestLambdaFunction::test_lambda_code_location_s3", region="us-east-1")
    client, s3 = server.client("lambda", account=ACCOUNT), server.client("s3", account=ACCOUNT)
    name, source = f"f-{uuid.uuid4().hex}", {"S3Bucket": f"{bucket}-{ACCOUNT}", "S3Key": "code/a b.zip"}
    s3.put_object(Bucket=source["S3Bucket"], Key=source["S3Key"], Body=code("first"))
    created = client.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="index.handler",
        Role=f"arn:aws:iam::{ACCOUNT}:role/lambda-role",
        Code=source,
    )
    recording.check("create_response_s3", created)
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    recording.check("get-function-response", client.get_function(FunctionName=name))
    s3.put_object(Bucket=source["S3Bucket"], Key=source["S3Key"], Body=code("second"))
    updated = client.update_function_code(FunctionName=name, **source)
    recording.check("update-function-response", updated)
    recording.check("get-function-response-updated", client.get_function(FunctionName=name))
    client.delete_function(FunctionName=name)


def test_missing_buckets_and_objects_as_recorded(server: RunningServer, bucket: str):
    recording = Recording.find("TestLambdaFunction::test_lambda_code_location_s3_errors")
    client = server.client("lambda", account=ACCOUNT)
    common = {"Runtime": RUNTIME, "Handler": "index.handler", "Role": f"arn:aws:iam::{ACCOUNT}:role/r"}
    name, mine = f"f-{uuid.uuid4().hex}", f"{bucket}-{ACCOUNT}"
    nowhere, nothing = {"S3Bucket": "no-such-bucket", "S3Key": "k"}, {"S3Bucket": mine, "S3Key": "no-such-key"}
    create = client.create_function
    recording.check("create-error-wrong-bucket", refused(create, FunctionName=name, Code=nowhere, **common))
    recording.check("create-error-wrong-key", refused(create, FunctionName=name, Code=nothing, **common))
    create(FunctionName=name, Code={"ZipFile": code("x")}, **common)
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    update = client.update_function_code
    recording.check("update-error-wrong-bucket", refused(update, FunctionName=name, **nowhere))
    recording.check("update-error-wrong-key", refused(update, FunctionName=name, **nothing))
    client.delete_function(FunctionName=name)


def test_a_layer_from_s3_as_recorded(server: RunningServer, bucket: str):
    recording = Recording.find("TestLambdaLayer::test_layer_s3_content", region="us-east-1")
    content = {"S3Bucket": f"{bucket}-{ACCOUNT}", "S3Key": "layer.zip"}
    archive = zipped({"python/shared.py": "VALUE = 1\n"})
    server.client("s3", account=ACCOUNT).put_object(Bucket=content["S3Bucket"], Key="layer.zip", Body=archive)
    client = server.client("lambda", account=ACCOUNT)
    recording.check("publish_layer_result", client.publish_layer_version(LayerName="from-s3", Content=content))


def test_the_code_is_what_the_object_was_at_that_moment(server: RunningServer, bucket: str, create: Callable[..., str]):
    s3, client = server.client("s3"), server.client("lambda")
    mine = f"{bucket}-test"
    s3.put_bucket_versioning(Bucket=mine, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=mine, Key="code.zip", Body=code("first"))["VersionId"]
    s3.put_object(Bucket=mine, Key="code.zip", Body=code("second"))
    name = create(Code={"S3Bucket": mine, "S3Key": "code.zip", "S3ObjectVersion": first})
    assert json.load(client.invoke(FunctionName=name)["Payload"]) == "first"
    client.update_function_code(FunctionName=name, S3Bucket=mine, S3Key="code.zip")
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert json.load(client.invoke(FunctionName=name)["Payload"]) == "second"
    s3.delete_object(Bucket=mine, Key="code.zip")
    assert json.load(client.invoke(FunctionName=name)["Payload"]) == "second"


def test_what_cannot_be_code(server: RunningServer, bucket: str):
    s3 = server.client("s3")
    mine = f"{bucket}-test"
    s3.put_object(Bucket=mine, Key="text", Body=b"text")
    s3.put_object(Bucket=mine, Key="large", Body=bytes(262_144_001 - 5_242_880))
    s3.put_bucket_versioning(Bucket=mine, VersioningConfiguration={"Status": "Enabled"})

    def refusal(region: str = "us-east-1", **source: str) -> str:
        error = refused(
            server.client("lambda", region=region).create_function,
            FunctionName="never",
            Runtime=RUNTIME,
            Handler="index.handler",
            Role=ROLE,
            Code={"S3Bucket": mine, **source},
        )
        assert error.response["Error"]["Code"] == "InvalidParameterValueException"
        return str(error.response["Error"]["Message"])

    assert refusal(S3Key="text").startswith("Could not unzip uploaded file.")
    # It is larger than an archive in a request may be, and only found to be none.
    assert refusal(S3Key="large").startswith("Could not unzip uploaded file.")
    assert "S3 Error Code: " in refusal(S3Key="text", S3ObjectVersion="no-such-version")
    assert "S3 Error Code: PermanentRedirect. S3 Error Message: The bucket is in this region: us-east-1." in refusal(
        "eu-west-1", S3Key="text"
    )


def test_an_object_larger_than_code_may_be(server: RunningServer, bucket: str):
    s3, mine = server.client("s3"), f"{bucket}-test"
    upload = s3.create_multipart_upload(Bucket=mine, Key="k")["UploadId"]
    parts = []
    for number in range(1, 7):
        part = s3.upload_part(Bucket=mine, Key="k", UploadId=upload, PartNumber=number, Body=bytes(50_000_000))
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(Bucket=mine, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    error = refused(
        server.client("lambda").create_function,
        FunctionName="never",
        Runtime=RUNTIME,
        Handler="index.handler",
        Role=ROLE,
        Code={"S3Bucket": mine, "S3Key": "k"},
    )
    assert error.response["Error"]["Message"] == "Unzipped size must be smaller than 262144000 bytes"
    s3.delete_object(Bucket=mine, Key="k")


def test_code_from_another_server(start_server: StartServer, server: RunningServer, bucket: str):
    server.client("s3").put_object(Bucket=f"{bucket}-test", Key="code.zip", Body=code("there"))
    other = start_server("--target", f"s3={server.endpoint}")
    client = other.client("lambda")
    client.create_function(
        FunctionName="f",
        Runtime=RUNTIME,
        Handler="index.handler",
        Role=ROLE,
        Code={"S3Bucket": f"{bucket}-test", "S3Key": "code.zip"},
    )
    client.get_waiter("function_active_v2").wait(FunctionName="f")
    assert json.load(client.invoke(FunctionName="f")["Payload"]) == "there"


def test_a_failure_is_recorded_in_a_bucket(server: RunningServer, bucket: str, create: Callable[..., str]):
    client, s3, mine = server.client("lambda"), server.client("s3"), f"{bucket}-test"
    name = create(Code={"ZipFile": zipped({"index.py": "def handler(event, context):\n    raise Exception('no')\n"})})
    client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{mine}"}},
    )
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"a":1}')
    eventually(lambda: s3.list_objects_v2(Bucket=mine)["KeyCount"] == 1)
    found = s3.list_objects_v2(Bucket=mine)["Contents"]
    assert found[0]["Key"].startswith(f"aws/lambda/async/{name}/")
    stored = s3.get_object(Bucket=mine, Key=found[0]["Key"])
    record = json.load(stored["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestPayload"] == {"a": 1}


def test_a_failure_for_a_bucket_that_is_not_there_is_lost_and_counted(
    server: RunningServer, create: Callable[..., str]
):
    client = server.client("lambda")
    name = create(Code={"ZipFile": zipped({"index.py": "def handler(event, context):\n    raise Exception('no')\n"})})
    client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": "arn:aws:s3:::no-such-bucket"}},
    )
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")

    server.wait_for_line(f"record of event .* of .*:{name}.* is lost.*NoSuchBucket")
