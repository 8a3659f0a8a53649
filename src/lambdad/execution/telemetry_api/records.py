"""Telemetry records: what is told, and the form in which a subscription gets it.

The Logs API and older schemas know fewer types and members; they get what they know (AWS Lambda developer guide).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambdad.domain.telemetry_subscriptions import Api, Subscription
from lambdad.execution.log_lines import iso_time

_SINCE_2025 = ("functionName", "functionVersion", "instanceId", "instanceMaxMemory")
_OBJECTS_SINCE = "2022-12-13"
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened. `content` of `function` and `extension` is a line of output."""

    time_ms: int
    type: str
    content: Mapping[str, Any] | str

    @property
    def category(self) -> str:
        """The type to subscribe to."""
        return self.type.partition(".")[0]


def encoded(record: Record, subscription: Subscription, *, is_json_format: bool) -> bytes | None:
    """The record as this subscription gets it; None if it does not."""
    if record.category not in subscription.types:
        return None
    if isinstance(record.content, str):
        wants_objects = subscription.api is Api.TELEMETRY and subscription.schema_version >= _OBJECTS_SINCE
        text = _line(record.content, as_object=wants_objects and is_json_format)
        return _item(record.time_ms, record.type, text)
    if subscription.api is Api.LOGS:
        known = _for_logs(record.type, record.content, subscription.schema_version)
        return None if known is None else _item(record.time_ms, known[0], _encode(known[1]))
    if record.type in _LOGS_ONLY:
        return None
    content = record.content
    if record.type == "platform.initStart" and subscription.schema_version < "2025":
        content = {name: value for name, value in content.items() if name not in _SINCE_2025}
    return _item(record.time_ms, record.type, _encode(content))


def _item(time_ms: int, kind: str, content: str) -> bytes:
    text = f'{{"time":"{iso_time(time_ms)}","type":"{kind}","record":{content}}}'
    return text.encode("utf-8", "replace")


def _line(line: str, *, as_object: bool) -> str:
    if as_object and line.startswith("{"):
        try:
            json.loads(line)
        except (ValueError, RecursionError):
            return _encode(line)
        return line
    return _encode(line)


_LOGS_ONLY = frozenset({"platform.end", "platform.fault"})
_NOT_FOR_LOGS = frozenset({"platform.initStart", "platform.initRuntimeDone", "platform.initReport"})
_LOGS_MEMBERS = {
    "platform.start": ("requestId", "version"),
    "platform.runtimeDone": ("requestId", "status"),
    "platform.report": ("requestId", "metrics"),
}


def _for_logs(kind: str, content: Mapping[str, Any], schema_version: str) -> tuple[str, object] | None:
    if kind in _NOT_FOR_LOGS or (kind == "platform.runtimeDone" and schema_version < "2021-03-18"):
        return None
    match kind:
        case "platform.telemetrySubscription":
            return "platform.logsSubscription", content
        case "platform.fault":
            return kind, content["text"]
        case _ if kind in _LOGS_MEMBERS:
            return kind, {name: content[name] for name in _LOGS_MEMBERS[kind]}
        case _:
            return kind, content


def tracing(trace_id: str) -> dict[str, object]:
    """The `tracing` member of an invocation's records; without a trace header there is none."""
    if not trace_id:
        return {}
    parts = dict(part.partition("=")[::2] for part in trace_id.split(";"))
    members = {"type": "X-Amzn-Trace-Id", "value": trace_id}
    span = parts.get("Parent")
    return {"tracing": {"spanId": span, **members} if span else members}
