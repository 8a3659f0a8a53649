"""What S3 tells of a change."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from lambdad.domain.object_events import TEST_EVENT, NotificationTarget, ObjectEvent, bus_event, notification

TARGET = NotificationTarget(arn="arn:aws:sqs:eu-west-1:111122223333:q", configuration_id="uploads")


def an_event(**changes: Any) -> ObjectEvent:
    values: dict[str, Any] = {
        "account": "111122223333",
        "region": "eu-west-1",
        "bucket": "b",
        "name": "ObjectCreated:Put",
        "time": datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC),
        "request_id": "0123456789ABCDEF",
        "targets": (TARGET,),
        "key": "some folder/ü+1.jpg",
        "size": 5,
        "etag": "abc",
        "sequencer": "00AB",
    }
    return ObjectEvent(**values | changes)


def test_the_record_of_a_new_object():
    [record] = json.loads(notification(an_event(version_id="v"), TARGET))["Records"]
    assert (record["eventVersion"], record["eventSource"], record["awsRegion"]) == ("2.1", "aws:s3", "eu-west-1")
    assert (record["eventName"], record["eventTime"]) == ("ObjectCreated:Put", "2026-01-02T03:04:05.678Z")
    assert record["userIdentity"] == {"principalId": "111122223333"}
    assert record["s3"] == {
        "s3SchemaVersion": "1.0",
        "configurationId": "uploads",
        "bucket": {"name": "b", "ownerIdentity": {"principalId": "111122223333"}, "arn": "arn:aws:s3:::b"},
        "object": {
            "key": "some+folder/%C3%BC%2B1.jpg",
            "size": 5,
            "eTag": "abc",
            "versionId": "v",
            "sequencer": "00AB",
        },
    }


def test_the_record_of_a_removed_object_has_no_size():
    event = an_event(name="ObjectRemoved:Delete", size=None, etag=None)
    [record] = json.loads(notification(event, TARGET))["Records"]
    assert record["s3"]["object"] == {"key": "some+folder/%C3%BC%2B1.jpg", "sequencer": "00AB"}


def test_the_test_of_a_new_configuration():
    body = json.loads(notification(an_event(name=TEST_EVENT), TARGET))
    assert (body["Service"], body["Event"], body["Bucket"]) == ("Amazon S3", "s3:TestEvent", "b")


def test_an_event_on_the_bus():
    detail_type, detail = bus_event(an_event()) or ("", "{}")
    assert detail_type == "Object Created"
    assert json.loads(detail) == {
        "version": "0",
        "bucket": {"name": "b"},
        "object": {"key": "some folder/ü+1.jpg", "size": 5, "etag": "abc", "sequencer": "00AB"},
        "request-id": "0123456789ABCDEF",
        "requester": "111122223333",
        "source-ip-address": "127.0.0.1",
        "reason": "PutObject",
    }


def test_a_deletion_on_the_bus_says_of_which_kind_it_is():
    detail_type, detail = bus_event(an_event(name="ObjectRemoved:Delete")) or ("", "{}")
    assert (detail_type, json.loads(detail)["deletion-type"]) == ("Object Deleted", "Permanently Deleted")


def test_other_events_are_not_the_buses():
    assert bus_event(an_event(name=TEST_EVENT)) is None
