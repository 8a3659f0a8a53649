"""Services that come from the extra `aws`, through boto3, the aws CLI and plain HTTP on a real server."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import urllib.request
import uuid
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from lambdad.extras.moto_services import is_installed
from tests.conftest import StartServer
from tests.running import RunningServer, clean_environment

pytestmark = [pytest.mark.server, pytest.mark.skipif(not is_installed(), reason="needs the extra aws")]

BIG = bytes(range(256)) * 80_000
"""20 MB: boto3 and the CLI send it in parts."""


@pytest.fixture
def bucket(server: RunningServer) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    server.client("s3").create_bucket(Bucket=name)
    return name


def test_objects_of_any_name_and_size(server: RunningServer, bucket: str):
    s3 = server.client("s3")
    s3.put_object(Bucket=bucket, Key="a b/ü;+%2F", Body=b"text", Metadata={"some_name": "v"}, ContentType="text/plain")
    found = s3.get_object(Bucket=bucket, Key="a b/ü;+%2F")
    assert found["Body"].read() == b"text"
    assert (found["Metadata"], found["ContentType"]) == ({"some_name": "v"}, "text/plain")
    s3.upload_fileobj(io.BytesIO(BIG), bucket, "big")
    assert s3.head_object(Bucket=bucket, Key="big")["ContentLength"] == len(BIG)
    target = io.BytesIO()
    s3.download_fileobj(bucket, "big", target)
    assert target.getvalue() == BIG
    assert s3.get_object(Bucket=bucket, Key="big", Range="bytes=5-9")["Body"].read() == BIG[5:10]
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a b/ü;+%2F", "big"]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "big"}]})
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="big")
    assert caught.value.response["Error"]["Code"] == "NoSuchKey"


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums(server: RunningServer, bucket: str, algorithm: str):
    s3 = server.client("s3")
    made = s3.put_object(Bucket=bucket, Key="k", Body=b"text", ChecksumAlgorithm=algorithm)
    found = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert found[f"Checksum{algorithm}"] == made[f"Checksum{algorithm}"]


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls(server: RunningServer, bucket: str, version: str):
    s3 = server.client("s3", signature_version=version)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a b/ü"})
    with urllib.request.urlopen(urllib.request.Request(url, b"text", {"content-type": ""}, method="PUT")) as answer:
        assert answer.status == 200
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b/ü"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"text"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("%C3%BC", "other"))
    assert caught.value.code == 403
    assert b"<Code>SignatureDoesNotMatch</Code>" in caught.value.read()


@pytest.mark.parametrize("host", ["{}.localhost", "{}.s3.localhost", "{}.s3.us-east-1.localhost"])
def test_buckets_in_host_names(server: RunningServer, bucket: str, host: str):
    name = f"{host.format(bucket)}:{server.port}"
    put = signed("PUT", f"http://{name}/key", b"text")
    assert send(server, put, name)[0] == 200
    assert send(server, signed("GET", f"http://{name}/key"), name) == (200, b"text")
    assert server.client("s3").get_object(Bucket=bucket, Key="key")["Body"].read() == b"text"


def test_other_host_names_are_refused(server: RunningServer, bucket: str):
    name = f"{bucket}.s3.example.com"
    assert send(server, signed("GET", f"http://{name}/key"), name)[0] == 403


def test_the_cli_copies_and_syncs(server: RunningServer, bucket: str, tmp_path: Path):
    if shutil.which("aws") is None:
        pytest.skip("needs the aws CLI")
    (tmp_path / "from" / "below").mkdir(parents=True)
    (tmp_path / "from" / "small.txt").write_bytes(b"text")
    (tmp_path / "from" / "below" / "big.bin").write_bytes(BIG)

    def aws(*arguments: str) -> str:
        environ = clean_environment() | {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
        }
        ran = subprocess.run(["aws", *arguments], env=environ, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    aws("s3", "sync", str(tmp_path / "from"), f"s3://{bucket}/here")
    assert "small.txt" in aws("s3", "ls", f"s3://{bucket}/here/")
    aws("s3", "sync", f"s3://{bucket}/here", str(tmp_path / "to"))
    assert (tmp_path / "to" / "below" / "big.bin").read_bytes() == BIG
    aws("s3", "cp", f"s3://{bucket}/here/small.txt", f"s3://{bucket}/copy.txt")
    aws("s3", "cp", f"s3://{bucket}/copy.txt", str(tmp_path / "copy.txt"))
    assert (tmp_path / "copy.txt").read_bytes() == b"text"
    aws("s3", "rb", "--force", f"s3://{bucket}")


def test_accounts_and_regions_are_apart(server: RunningServer):
    server.client("ssm", account="111122223333").put_parameter(Name="apart", Value="v", Type="String")
    assert server.client("ssm", account="111122223333").get_parameter(Name="apart")["Parameter"]["Value"] == "v"
    for account, region in (("444455556666", "us-east-1"), ("111122223333", "eu-west-1")):
        with pytest.raises(ClientError, match="ParameterNotFound"):
            server.client("ssm", account=account, region=region).get_parameter(Name="apart")


def test_services_that_functions_use(server: RunningServer):
    tables = server.client("dynamodb")
    tables.create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    tables.put_item(TableName="t", Item={"id": {"S": "1"}})
    assert tables.get_item(TableName="t", Key={"id": {"S": "1"}})["Item"] == {"id": {"S": "1"}}
    arn = tables.describe_table(TableName="t")["Table"]["LatestStreamArn"]
    streams = server.client("dynamodbstreams")
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    records = streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert [record["eventName"] for record in records] == ["INSERT"]

    kinesis = server.client("kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1)
    kinesis.put_record(StreamName="s", Data=b"data", PartitionKey="k")
    shard = kinesis.list_shards(StreamName="s")["Shards"][0]["ShardId"]
    iterator = kinesis.get_shard_iterator(StreamName="s", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    assert kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"][0]["Data"] == b"data"

    secrets = server.client("secretsmanager")
    secrets.create_secret(Name="s", SecretString="hidden")
    assert secrets.get_secret_value(SecretId="s")["SecretString"] == "hidden"

    kms = server.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"text")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"text"


def test_alarms_stand_beside_our_metrics(server: RunningServer):
    cloudwatch = server.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="errors",
        Namespace="AWS/Lambda",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        Tags=[{"Key": "a", "Value": "b"}],
    )
    [alarm] = cloudwatch.describe_alarms(AlarmNames=["errors"])["MetricAlarms"]
    assert (alarm["MetricName"], alarm["Threshold"]) == ("Errors", 1.0)
    assert cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"] == [{"Key": "a", "Value": "b"}]
    cloudwatch.put_metric_data(Namespace="Own", MetricData=[{"MetricName": "Beside", "Value": 1}])
    assert cloudwatch.list_metrics(Namespace="Own", MetricName="Beside")["Metrics"]
    cloudwatch.delete_alarms(AlarmNames=["errors"])
    assert cloudwatch.describe_alarms(AlarmNames=["errors"])["MetricAlarms"] == []


def test_users_stand_beside_our_roles(server: RunningServer):
    iam = server.client("iam")
    iam.create_user(UserName="somebody")
    assert iam.get_user(UserName="somebody")["User"]["UserName"] == "somebody"
    assert iam.get_user()["User"]["Arn"] == "arn:aws:iam::000000000000:root"
    iam.create_role(RoleName="ours", AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}')
    assert "ours" in {role["RoleName"] for role in iam.list_roles()["Roles"]}
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_user(UserName="nobody")


def test_our_policies_and_roles_can_be_given_to_users_groups_and_machines(server: RunningServer):
    iam = server.client("iam")
    document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    ours = iam.create_policy(PolicyName="buckets", Path="/own/", PolicyDocument=document)["Policy"]["Arn"]
    aws_own = "arn:aws:iam::aws:policy/AWSLambda_FullAccess"
    iam.create_user(UserName="attached", PermissionsBoundary=ours)
    iam.attach_user_policy(UserName="attached", PolicyArn=ours)
    iam.attach_user_policy(UserName="attached", PolicyArn=aws_own)
    found = iam.list_attached_user_policies(UserName="attached")["AttachedPolicies"]
    assert {policy["PolicyArn"] for policy in found} == {ours, aws_own}
    iam.create_group(GroupName="attached")
    iam.attach_group_policy(GroupName="attached", PolicyArn=ours)
    iam.create_role(RoleName="machine", AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}')
    iam.create_instance_profile(InstanceProfileName="machine")
    iam.add_role_to_instance_profile(InstanceProfileName="machine", RoleName="machine")
    profile = iam.get_instance_profile(InstanceProfileName="machine")["InstanceProfile"]
    assert [role["Arn"] for role in profile["Roles"]] == ["arn:aws:iam::000000000000:role/machine"]
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.attach_user_policy(UserName="attached", PolicyArn="arn:aws:iam::000000000000:policy/no-such-policy")


def test_a_body_in_chunks_with_its_checksum_behind_it(server: RunningServer, bucket: str):
    crc = base64.b64encode(zlib.crc32(b"hello, world").to_bytes(4, "big")).decode()
    body = f"7\r\nhello, \r\n5\r\nworld\r\n0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n".encode()
    host = f"127.0.0.1:{server.port}"
    request = AWSRequest("PUT", f"http://{host}/{bucket}/k", data=body)
    request.headers["content-encoding"] = "aws-chunked"
    request.headers["x-amz-decoded-content-length"] = "12"
    request.headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    _Streaming(Credentials("test", "test"), "s3", "us-east-1").add_auth(request)
    assert send(server, request, host)[0] == 200
    found = server.client("s3").get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (found["Body"].read(), found["ChecksumCRC32"]) == (b"hello, world", crc)
    assert "ContentEncoding" not in found
    request = AWSRequest("PUT", f"http://{host}/{bucket}/k", data=body.replace(b"hello", b"jello"))
    request.headers["content-encoding"] = "aws-chunked"
    _Streaming(Credentials("test", "test"), "s3", "us-east-1").add_auth(request)
    status, text = send(server, request, host)
    assert status == 400
    assert b"<Code>BadDigest</Code>" in text


class _Streaming(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        return "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


USES_S3 = """
import boto3, urllib.request
def handler(event, context):
    s3 = boto3.client("s3")
    s3.put_object(Bucket=event["bucket"], Key="from/function", Body=b"written by a function")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": event["bucket"], "Key": "from/function"})
    return urllib.request.urlopen(url).read().decode()
"""


def test_a_function_uses_them_with_its_own_keys(server: RunningServer, bucket: str):
    name = f"f-{uuid.uuid4().hex}"
    server.create_function(name, USES_S3, Timeout=30)
    answer = server.client("lambda").invoke(FunctionName=name, Payload=json.dumps({"bucket": bucket}))
    assert json.load(answer["Payload"]) == "written by a function"
    server.client("lambda").delete_function(FunctionName=name)


def test_strict_servers_take_issued_keys_only(start_server: StartServer, tmp_path: Path):
    made = subprocess.run(
        [sys.executable, "-m", "lambdad", "keys", "create", "--data", str(tmp_path / "data"), "--json"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    key = json.loads(made.stdout)
    session = boto3.session.Session(key["access_key_id"], key["secret_access_key"], region_name="us-east-1")
    server = start_server("--auth", "strict")
    session.client("s3", endpoint_url=server.endpoint).create_bucket(Bucket="mine")
    session.client("s3", endpoint_url=server.endpoint).put_object(Bucket="mine", Key="k", Body=b"text")
    for version in ("s3", "s3v4"):
        s3 = session.client("s3", endpoint_url=server.endpoint, config=Config(signature_version=version))
        url = s3.generate_presigned_url("get_object", Params={"Bucket": "mine", "Key": "k"})
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == b"text"
    with pytest.raises(ClientError) as caught:
        server.client("s3").list_buckets()
    assert caught.value.response["Error"]["Code"] == "InvalidAccessKeyId"


def test_an_idle_server_has_not_loaded_them(start_server: StartServer):
    server = start_server()

    def libraries() -> str:
        return Path(f"/proc/{server.process.pid}/maps").read_text()

    server.client("lambda").list_functions()
    server.client("iam").list_roles()
    assert "cryptography" not in libraries()  # what moto needs, and nothing else in the server
    server.client("s3").list_buckets()
    assert "cryptography" in libraries()


def test_a_reset_empties_them_too(start_server: StartServer):
    server = start_server()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bucket")
    urllib.request.urlopen(urllib.request.Request(f"{server.endpoint}/_lambdad/reset", method="POST")).close()
    assert s3.list_buckets()["Buckets"] == []


def signed(method: str, url: str, body: bytes = b"") -> AWSRequest:
    request = AWSRequest(method, url, data=body)
    S3SigV4Auth(Credentials("test", "test"), "s3", "us-east-1").add_auth(request)
    return request


def send(server: RunningServer, request: AWSRequest, host: str) -> tuple[int, bytes]:
    """To the server's address, whatever name the URL has, as with a resolver that knows `*.localhost`."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers: dict[str, Any] = {**request.headers, "Host": host}
    connection.request(request.method, urlsplit(request.url).path, request.data or None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()
