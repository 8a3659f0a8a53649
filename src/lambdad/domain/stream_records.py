"""Records of streams as functions get them, and what is told of batches that failed (AWS: recorded 2025-11)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from lambdad.domain.destinations import record_time
from lambdad.domain.mappings import SourceKind

_BATCH_INFO: Final = {SourceKind.KINESIS: "KinesisBatchInfo", SourceKind.DYNAMODB: "DDBStreamBatchInfo"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """A record that was read from a shard."""

    sequence_number: str
    arrived: datetime
    order_key: str
    """Records with the same key are handed to the function in their order: partition key, or key of the item."""
    document: Mapping[str, Any]
    """As the function gets it."""
    data: bytes = b""
    """Decoded, of Kinesis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A part of a stream, with the shards that it continues."""

    id: str
    parents: tuple[str, ...] = ()


def kinesis_record(read: Mapping[str, Any], shard: str, stream_arn: str, role: str) -> StreamRecord:
    """From a record of GetRecords, as boto3 gives it."""
    arrived: datetime = read["ApproximateArrivalTimestamp"]
    data: bytes = read["Data"]
    kinesis = {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": read["PartitionKey"],
        "sequenceNumber": read["SequenceNumber"],
        "data": base64.b64encode(data).decode("ascii"),
        "approximateArrivalTimestamp": round(arrived.timestamp(), 3),
    }
    if read.get("EncryptionType") not in (None, "NONE"):
        kinesis["encryptionType"] = read["EncryptionType"]
    document = {
        "kinesis": kinesis,
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard}:{read['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role,
        "awsRegion": stream_arn.split(":")[3],
        "eventSourceARN": stream_arn,
    }
    return StreamRecord(
        sequence_number=read["SequenceNumber"],
        arrived=arrived,
        order_key=read["PartitionKey"],
        document=document,
        data=data,
    )


def dynamodb_record(read: Mapping[str, Any], stream_arn: str) -> StreamRecord:
    """From a record of GetRecords, as boto3 gives it. What AWS computes is computed, not taken from other services."""
    change: Mapping[str, Any] = read["dynamodb"]
    arrived: datetime = change["ApproximateCreationDateTime"]
    images = {
        name: {key: _attribute(value) for key, value in change[name].items()}
        for name in ("Keys", "NewImage", "OldImage")
        if name in change
    }
    shown = {
        "ApproximateCreationDateTime": float(int(arrived.timestamp())),
        **images,
        "SequenceNumber": change["SequenceNumber"],
        "SizeBytes": sum(_size(name, value) for image in images.values() for name, value in image.items()),
        "StreamViewType": change["StreamViewType"],
    }
    document = {
        "eventID": read["eventID"],
        "eventName": read["eventName"],
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": stream_arn.split(":")[3],
        "dynamodb": shown,
        "eventSourceARN": stream_arn,
    }
    if read.get("userIdentity"):
        identity = read["userIdentity"]
        document["userIdentity"] = {"principalId": identity.get("PrincipalId"), "type": identity.get("Type")}
    return StreamRecord(
        sequence_number=change["SequenceNumber"],
        arrived=arrived,
        order_key=json.dumps(images.get("Keys", {}), sort_keys=True),
        document=document,
    )


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    """An attribute value with its bytes as base64."""
    ((kind, content),) = value.items()
    if kind == "B":
        content = _base64(content)
    elif kind == "BS":
        content = [_base64(one) for one in content]
    elif kind == "L":
        content = [_attribute(one) for one in content]
    elif kind == "M":
        content = {name: _attribute(one) for name, one in content.items()}
    return {kind: content}


def _base64(content: bytes | str) -> str:
    return base64.b64encode(content.encode() if isinstance(content, str) else content).decode("ascii")


def _size(name: str, value: Mapping[str, Any]) -> int:
    """Bytes of an attribute as DynamoDB counts them (DynamoDB developer guide, item sizes)."""
    return len(name.encode()) + _value_size(value)


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    sizes = {
        "S": lambda: len(content.encode()),
        "N": lambda: _number_size(content),
        "B": lambda: len(base64.b64decode(content)),
        "SS": lambda: sum(len(one.encode()) for one in content),
        "NS": lambda: sum(_number_size(one) for one in content),
        "BS": lambda: sum(len(base64.b64decode(one)) for one in content),
        "L": lambda: 3 + sum(1 + _value_size(one) for one in content),
        "M": lambda: 3 + sum(1 + _size(key, one) for key, one in content.items()),
    }
    return sizes.get(kind, lambda: 1)()


def _number_size(text: str) -> int:
    """A byte for two significant digits, and one more."""
    try:
        digits = len(Decimal(text).normalize().as_tuple().digits)
    except InvalidOperation:
        return len(text)
    return (digits + 1) // 2 + 1


# --- batches that failed ---


def failure_record(
    kind: SourceKind,
    stream_arn: str,
    shard: str,
    function_arn: str,
    records: Sequence[StreamRecord],
    *,
    condition: str,
    request_id: str,
    invoke_count: int,
    response: Mapping[str, Any],
    now: datetime,
) -> dict[str, Any]:
    """What a queue or topic gets of a batch. The records themselves are not in it: they are looked up in the stream.

    `response` is empty when the function was never called with the batch.
    """
    first, last = records[0], records[-1]
    # Kinesis tells milliseconds here, DynamoDB whole seconds (AWS: recorded 2025-11).
    time = record_time if kind is SourceKind.KINESIS else _whole_seconds
    info = {
        "shardId": shard,
        "startSequenceNumber": first.sequence_number,
        "endSequenceNumber": last.sequence_number,
        "approximateArrivalOfFirstRecord": time(first.arrived.astimezone(UTC)),
        "approximateArrivalOfLastRecord": time(last.arrived.astimezone(UTC)),
        "batchSize": len(records),
        "streamArn": stream_arn,
    }
    context = {
        "requestId": request_id,
        "functionArn": function_arn,
        "condition": condition,
        "approximateInvokeCount": invoke_count,
    }
    return {
        "requestContext": context,
        **({"responseContext": dict(response)} if response else {}),
        "version": "1.0",
        "timestamp": record_time(now),
        _BATCH_INFO[kind]: info,
    }


def failure_key(mapping: str, shard: str, unique: str, now: datetime) -> str:
    """The key of a failed batch in a bucket (AWS Lambda developer guide)."""
    return f"aws/lambda/{mapping}/{shard}/{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{unique}"


def _whole_seconds(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
