"""Changes in moto's buckets, for lambdad's functions, queues, topics and buses instead of moto's own.

Two functions of the module `moto.s3.notifications` are replaced, which S3 calls by their names in it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from lambdad.domain.object_events import TEST_EVENT, NotificationTarget, ObjectEvent
from lambdad.http.messages import Request

_TARGET = re.compile(rb"<(?:CloudFunction|Queue|Topic)>\s*([^<\s]+)\s*</")
Sink = Callable[[ObjectEvent], None]


def redirect(sink: Sink) -> None:
    """From now on `sink` gets what changes in buckets with a configuration, on moto's thread, during the call that did
    it; `of_one_call` says what of it is to be told."""
    from moto.s3 import notifications

    def send_event(account_id: str, event_name: Any, bucket: Any, key: Any) -> None:
        configuration = bucket.notification_configuration
        if configuration is None:
            return
        name = str(getattr(event_name, "value", event_name))
        wanted = [
            NotificationTarget(arn=one.arn, configuration_id=one.id)
            for one in (*configuration.cloud_function, *configuration.queue, *configuration.topic)
            if one.matches(name, key.name)
        ]
        is_gone = name.startswith("s3:ObjectRemoved")
        version = key.version_id if bucket.is_versioned else None
        event = ObjectEvent(
            account=account_id,
            region=bucket.region_name,
            bucket=bucket.name,
            name=name.removeprefix("s3:"),
            time=datetime.now(UTC),
            request_id=os.urandom(8).hex().upper(),
            targets=tuple(wanted),
            key=key.name,
            size=None if is_gone else int(key.size),
            etag=None if is_gone else key.etag.strip('"'),
            version_id=None if version is None else str(version),
            sequencer=f"{time.time_ns():018X}",
            is_for_bus=configuration.event_bridge is not None,
        )
        sink(event)

    def send_test_event(account_id: str, bucket: Any) -> None:
        configuration = bucket.notification_configuration
        arns = dict.fromkeys(one.arn for one in (*configuration.queue, *configuration.topic))
        if arns:
            sink(
                ObjectEvent(
                    account=account_id,
                    region=bucket.region_name,
                    bucket=bucket.name,
                    name=TEST_EVENT,
                    time=datetime.now(UTC),
                    request_id=os.urandom(8).hex().upper(),
                    targets=tuple(NotificationTarget(arn=arn) for arn in arns),
                )
            )

    notifications.send_event = send_event
    notifications.send_test_event = send_test_event


def new_targets(request: Request) -> list[str]:
    """The ARNs that a call of PutBucketNotificationConfiguration names and wants to be checked."""
    if request.method != "PUT" or request.query.partition("=")[0] != "notification":
        return []
    if request.headers.get("x-amz-skip-destination-validation", "").lower() == "true":
        return []
    return [arn.decode("utf-8", "replace") for arn in _TARGET.findall(request.body)]


def of_one_call(events: Sequence[ObjectEvent]) -> list[ObjectEvent]:
    """Those that somebody wants, without the tagging that moto tells of with each new object; on AWS that is part of
    the creation."""
    made = {event.key for event in events if event.name.startswith("ObjectCreated:")}
    real = [event for event in events if event.key not in made or not event.name.startswith("ObjectTagging:")]
    return [event for event in real if event.targets or event.is_for_bus]
