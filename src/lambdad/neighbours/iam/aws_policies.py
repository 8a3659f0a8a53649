"""AWS's own managed policies, known by ARN. Statements are given for those that functions commonly have."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from lambdad.domain.roles import ManagedPolicy, PolicyVersion

PREFIX = "arn:aws:iam::aws:policy/"
_SINCE = datetime(2015, 4, 9, 15, 3, 43, tzinfo=UTC)

_LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
_NETWORK = (
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
)

_ACTIONS: dict[str, tuple[str, ...]] = {
    "service-role/AWSLambdaBasicExecutionRole": _LOGS,
    "service-role/AWSLambdaVPCAccessExecutionRole": _LOGS + _NETWORK,
    "service-role/AWSLambdaSQSQueueExecutionRole": (
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        *_LOGS,
    ),
    "service-role/AWSLambdaKinesisExecutionRole": (
        "kinesis:DescribeStream",
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
        "kinesis:ListStreams",
        "kinesis:SubscribeToShard",
        *_LOGS,
    ),
    "service-role/AWSLambdaDynamoDBExecutionRole": (
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
        *_LOGS,
    ),
    "service-role/AWSLambdaRole": ("lambda:InvokeFunction",),
    "AWSLambdaExecute": ("logs:*", "s3:GetObject", "s3:PutObject"),
    "AWSXRayDaemonWriteAccess": (
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
        "xray:GetSamplingRules",
        "xray:GetSamplingTargets",
        "xray:GetSamplingStatisticSummaries",
    ),
    "CloudWatchLogsFullAccess": ("logs:*",),
    "AmazonSQSFullAccess": ("sqs:*",),
    "AmazonSNSFullAccess": ("sns:*",),
    "AmazonS3FullAccess": ("s3:*", "s3-object-lambda:*"),
    "AmazonDynamoDBFullAccess": ("dynamodb:*",),
    "AdministratorAccess": ("*",),
}


def aws_policy(arn: str) -> ManagedPolicy | None:
    """The policy of an ARN; None for an ARN that is not AWS's. One that is not listed above allows nothing here."""
    if not arn.startswith(PREFIX):
        return None
    path, _, name = arn.removeprefix(PREFIX).rpartition("/")
    if not name:
        return None
    actions = _ACTIONS.get(arn.removeprefix(PREFIX))
    statements = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}] if actions else []
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    return ManagedPolicy(
        account="aws",
        name=name,
        policy_id=f"ANPA{_letters(arn)}",
        path=f"/{path}/" if path else "/",
        created_at=_SINCE,
        updated_at=_SINCE,
        default_version=1,
        versions=(PolicyVersion(number=1, document=document, created_at=_SINCE),),
        last_version=1,
    )


def _letters(arn: str) -> str:
    """17 characters that are always the same for one ARN."""
    number = int.from_bytes(arn.encode(), "big") % 36**17
    letters = ""
    for _ in range(17):
        number, digit = divmod(number, 36)
        letters += "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit]
    return letters
