"""Whatever members an operation is given, the answer is one of AWS's, never a failure of the server."""

from __future__ import annotations

import random
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import ListShape, Shape, StructureShape

from tests.control.building import ACCOUNT, REGION, ROLE
from tests.docs.test_fidelity import INVOKING
from tests.wire.lambda_api.conftest import CODE, Lambda
from tests.wire.protocols import samples

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
TRIES = 12
OPERATIONS = sorted(set(samples.service("lambda").operation_names) - INVOKING)

TEXTS = ("a", "plain text", "ümläut ☃", "1", "true", "{}", "")
LIKELY: dict[str, tuple[Any, ...]] = {
    "FunctionName": ("f", "g", f"{ARN}:function:f", "f:1", "f:$LATEST", "ü", ""),
    "Qualifier": ("$LATEST", "1", "0", "9" * 30, "prod", "ü"),
    "FunctionVersion": ("$LATEST", "1", "2", "ALL"),
    "Name": ("prod", "x", "1"),
    "LayerName": ("l", f"{ARN}:layer:l", "arn:aws:lambda:us-east-1:222222222222:layer:l", "ü"),
    "VersionNumber": (1, 2, 0, -1, 2**63 - 1),
    "Arn": (f"{ARN}:layer:l:1", f"{ARN}:layer:l:{'9' * 30}", "arn:aws:lambda:::awslayer:x"),
    "Marker": ("x", "W10=", "WzFd", "bnVsbA==", "WyJ4Il0=", "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OTld"),
    "MaxItems": (1, 50, 10_000, 0),
    "ZipFile": (CODE, b"", b"PK"),
    "Role": (ROLE,),
    "Runtime": ("python3.12", "nodejs22.x", "cobol"),
    "Handler": ("a.b",),
    "Environment": ({"Variables": {"A_1": "b"}}, {"Variables": {}}, {}),
    "DeadLetterConfig": ({"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}, {"TargetArn": ""}, {"TargetArn": "x"}),
    "VpcConfig": ({"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}, {"SubnetIds": [], "SecurityGroupIds": []}),
    "Code": ({"ZipFile": CODE}, {"ZipFile": b"PK"}, {"S3Bucket": "bucket", "S3Key": "k"}, {}),
    "Content": ({"ZipFile": CODE}, {"ZipFile": b"PK"}, {}),
    "DestinationConfig": ({"OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}}, {"OnSuccess": {}}, {}),
    "FilterCriteria": ({"Filters": [{"Pattern": '{"body":["x"]}'}]}, {"Filters": [{"Pattern": "x"}]}, {"Filters": []}),
    "DurableExecutionArn": (f"{ARN}:function:f:1/durable-execution/n/i",),
    "CheckpointToken": ("YQ==",),
    "CallbackId": ("YQ==",),
    "CapacityProviderName": ("p",),
    "AllowedPublishers": ({"SigningProfileVersionArns": [f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p/1"]},),
    "TagKeys": (["a"], []),
    "Tags": ({"a": "b"}, {}, {"aws:a": ""}),
    "Resource": (
        f"{ARN}:function:f",
        f"{ARN}:function:f:1",
        f"{ARN}:layer:l",
        f"{ARN}:code-signing-config:csc-{'a' * 17}",
    ),
    "ResourceArn": (f"{ARN}:function:f", f"{ARN}:function:f:1"),
    "CodeSigningConfigArn": (f"{ARN}:code-signing-config:csc-{'a' * 17}",),
    "Layers": ([f"{ARN}:layer:l:1"], [f"{ARN}:layer:l:2"], []),
    "StatementId": ("s", "t"),
    "Principal": ("*", ACCOUNT, "s3.amazonaws.com"),
    "Action": ("lambda:GetLayerVersion", "lambda:InvokeFunction"),
    "UUID": ("12345678-1234-1234-1234-123456789012", "x"),
    "EventSourceArn": (f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", "arn:aws:kinesis:us-east-1:111111111111:stream/s"),
    "Policy": ('{"Version":"2012-10-17","Statement":[]}', "{", "[]", '{"Statement":{"Principal":5}}'),
    "PackageType": ("Zip", "Image"),
}


def sample(shape: Shape, dice: random.Random, depth: int = 0) -> Any:
    """Members that mostly keep to the model, so that the service itself has to deal with them."""
    if isinstance(shape, StructureShape):
        return _structure(shape, dice, depth)
    if isinstance(shape, ListShape):
        return [sample(shape.member, dice, depth + 1)] if depth < 6 else []
    if shape.type_name in ("integer", "long"):
        low, high = shape.metadata.get("min", 0), shape.metadata.get("max", 1000)
        return dice.choice((low, high, (low + high) // 2))
    return samples.sample(shape, dice, depth=depth, texts=TEXTS)


def _structure(shape: StructureShape, dice: random.Random, depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, member in shape.members.items():
        required = name in shape.required_members
        if not required and dice.random() < (0.75 if depth == 0 else 0.5):
            continue
        likely = LIKELY.get(name)
        if likely is not None:
            made[name] = dice.choice(likely)
        elif required or not _has_pattern(member) or dice.random() < 0.05:
            made[name] = sample(member, dice, depth + 1)
    return made


def _has_pattern(shape: Shape) -> bool:
    """Whether a text or a list of texts has a form that a sample would hardly meet."""
    inner = shape.member if isinstance(shape, ListShape) else shape
    return inner.metadata.get("pattern") not in (None, ".*")


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_no_members_make_the_server_fail(aws: Lambda, operation: str) -> None:
    await aws.create(Publish=True)
    await aws.create_alias(FunctionName="f", Name="prod", FunctionVersion="1")
    await aws.publish_layer_version(LayerName="l", Content={"ZipFile": CODE})
    shape = samples.service("lambda").operation_model(operation)
    assert shape.input_shape is not None
    failures = []
    for seed in range(TRIES):
        params = sample(shape.input_shape, random.Random(f"{operation} {seed}"))
        try:
            await getattr(aws, xform_name(operation))(**params)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                failures.append((params, str(error)))
        except BotoCoreError:
            pass  # not even sent
    assert failures == []
