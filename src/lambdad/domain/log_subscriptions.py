"""Subscription filters of CloudWatch Logs: what a function gets of new log events."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lambdad.domain.logs import LogEvent
from lambdad.domain.policies import ServiceCaller

MAX_FILTERS: Final = 2
"""Of a group (CloudWatch Logs quotas)."""
PIECE_BYTES: Final = 700_000
"""Of messages in one event of a function: in base64, and if they do not shrink, they are within 1 MB."""
_EVENT_OVERHEAD: Final = 100
"""What an event takes beside its message, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionFilter:
    """One filter of a group."""

    name: str
    pattern: str
    """Of FilterLogEvents too; empty for all events."""
    destination: str
    """The ARN of a function."""
    distribution: str = "ByLogStream"
    """Or `Random`; it is shown and means nothing to functions."""
    created_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A filter with its group, and how far events were handed over."""

    filter: SubscriptionFilter
    group_id: int
    account: str
    region: str
    group: str
    delivered_segment: int

    def callers(self) -> tuple[ServiceCaller, ServiceCaller]:
        """CloudWatch Logs, which calls for a group. Policies know it by a name of the region too, the older one."""
        arn = f"arn:aws:logs:{self.region}:{self.account}:log-group:{self.group}:*"
        plain, regional = (
            ServiceCaller(service=name, source_arn=arn, source_account=self.account)
            for name in ("logs.amazonaws.com", f"logs.{self.region}.amazonaws.com")
        )
        return plain, regional


def pieces(events: Sequence[LogEvent]) -> Iterator[Sequence[LogEvent]]:
    """The events of a stream in portions, each small enough for one invocation."""
    start = size = 0
    for number, event in enumerate(events):
        more = len(event.message.encode("utf-8", "replace")) + _EVENT_OVERHEAD
        if size and size + more > PIECE_BYTES:
            yield events[start:number]
            start, size = number, 0
        size += more
    if start < len(events):
        yield events[start:]


def function_event(subscription: Subscription, stream: str, events: Sequence[LogEvent]) -> bytes:
    """What the function is called with (AWS Lambda developer guide, "Process Amazon CloudWatch Logs with Lambda")."""
    document = {
        "messageType": "DATA_MESSAGE",
        "owner": subscription.account,
        "logGroup": subscription.group,
        "logStream": stream,
        "subscriptionFilters": [subscription.filter.name],
        "logEvents": [
            {"id": event.position.digits(), "timestamp": event.position.timestamp_ms, "message": event.message}
            for event in events
        ],
    }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    data = base64.b64encode(gzip.compress(text, compresslevel=6, mtime=0)).decode("ascii")
    return json.dumps({"awslogs": {"data": data}}, separators=(",", ":")).encode()
