"""What S3 tells of a change in a bucket: to functions, queues and topics, and on the default bus (AWS: S3 user guide,
"Event message structure" and "EventBridge event message structure")."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

SERVICE = "s3.amazonaws.com"
TEST_EVENT = "s3:TestEvent"
UNENCODED_IN_KEYS = "/*"

_BUS_EVENTS: dict[str, tuple[str, str]] = {
    "ObjectCreated:Put": ("Object Created", "PutObject"),
    "ObjectCreated:Post": ("Object Created", "POST Object"),
    "ObjectCreated:Copy": ("Object Created", "CopyObject"),
    "ObjectCreated:CompleteMultipartUpload": ("Object Created", "CompleteMultipartUpload"),
    "ObjectRemoved:Delete": ("Object Deleted", "DeleteObject"),
    "ObjectRemoved:DeleteMarkerCreated": ("Object Deleted", "DeleteObject"),
    "ObjectRestore:Post": ("Object Restore Initiated", ""),
    "ObjectRestore:Completed": ("Object Restore Completed", ""),
    "ObjectAcl:Put": ("Object ACL Updated", ""),
    "ObjectTagging:Put": ("Object Tags Added", ""),
    "ObjectTagging:Delete": ("Object Tags Deleted", ""),
}
"""Event name to the bus's detail type and reason; events that the bus does not get are not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationTarget:
    """A function, queue or topic that a bucket's notification configuration names."""

    arn: str
    configuration_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEvent:
    """One change, and who is told of it."""

    account: str
    region: str
    bucket: str
    name: str
    """Without `s3:`, as in records: `ObjectCreated:Put`; `s3:TestEvent` for the test of a new configuration."""
    time: datetime
    request_id: str
    targets: tuple[NotificationTarget, ...]
    key: str = ""
    size: int | None = None
    """Bytes; None where the object is gone."""
    etag: str | None = None
    version_id: str | None = None
    sequencer: str = ""
    is_for_bus: bool = False

    @property
    def bucket_arn(self) -> str:
        return f"arn:aws:s3:::{self.bucket}"


def notification(event: ObjectEvent, target: NotificationTarget) -> bytes:
    """The body that a target gets: JSON with one record."""
    if event.name == TEST_EVENT:
        body: dict[str, Any] = {
            "Service": "Amazon S3",
            "Event": TEST_EVENT,
            "Time": _milliseconds(event.time),
            "Bucket": event.bucket,
            "RequestId": event.request_id,
            "HostId": event.request_id,
        }
        return _json(body)
    changed: dict[str, Any] = {
        "key": quote_plus(event.key, safe=UNENCODED_IN_KEYS),
        "size": event.size,
        "eTag": event.etag,
        "versionId": event.version_id,
        "sequencer": event.sequencer,
    }
    owner = {"principalId": event.account}
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": event.region,
        "eventTime": _milliseconds(event.time),
        "eventName": event.name,
        "userIdentity": owner,
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": event.request_id, "x-amz-id-2": event.request_id},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": target.configuration_id,
            "bucket": {"name": event.bucket, "ownerIdentity": owner, "arn": event.bucket_arn},
            "object": _without_none(changed),
        },
    }
    return _json({"Records": [record]})


def bus_event(event: ObjectEvent) -> tuple[str, str] | None:
    """The detail type, and the detail as JSON, of the event on the default bus; None if it is none of the bus's."""
    if event.name not in _BUS_EVENTS:
        return None
    detail_type, reason = _BUS_EVENTS[event.name]
    changed: dict[str, Any] = {
        "key": event.key,
        "size": event.size,
        "etag": event.etag,
        "version-id": event.version_id,
        "sequencer": event.sequencer,
    }
    detail: dict[str, Any] = {
        "version": "0",
        "bucket": {"name": event.bucket},
        "object": _without_none(changed),
        "request-id": event.request_id,
        "requester": event.account,
        "source-ip-address": "127.0.0.1",
    }
    if reason:
        detail["reason"] = reason
    if detail_type == "Object Deleted":
        is_marker = event.name.endswith("DeleteMarkerCreated")
        detail["deletion-type"] = "Delete Marker Created" if is_marker else "Permanently Deleted"
    return detail_type, _json(detail).decode()


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _milliseconds(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
