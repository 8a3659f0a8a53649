"""Filters of event source mappings: which records a function is called with.

A filter is an event pattern over the record, with the content that the sender gave in its place (AWS Lambda developer
guide, event filtering): `body` of a message, `data` of a stream's record. A record passes if one of the filters holds.
Content that is JSON is looked into as JSON; a pattern for JSON never holds for content that is plain text, and a
pattern for text never for content that is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.event_patterns import EventPattern, InvalidPattern, compile_pattern


@lru_cache(maxsize=1024)
def compile_filter(pattern: str) -> EventPattern:
    """Raises InvalidParameterValue for a text that is no pattern (AWS: recorded 2025-11)."""
    try:
        return compile_pattern(pattern)
    except InvalidPattern:
        raise InvalidParameterValue("Invalid filter pattern definition.") from None


class Filters:
    """The filters of one mapping; without any, everything passes."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [compile_filter(pattern) for pattern in patterns]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def pass_message(self, record: Mapping[str, Any]) -> bool:
        """Of a queue."""
        return self._pass(record, "body", record["body"])

    def pass_kinesis(self, record: Mapping[str, Any], data: bytes) -> bool:
        """Members of `kinesis` are filtered without their prefix."""
        members = {**record, **record["kinesis"]}
        return self._pass(members, "data", data.decode("utf-8", "replace"))

    def pass_dynamodb(self, record: Mapping[str, Any]) -> bool:
        return not self._patterns or any(pattern.matches(record) for pattern in self._patterns)

    def _pass(self, record: Mapping[str, Any], member: str, text: str) -> bool:
        if not self._patterns:
            return True
        shown = {**record, member: parsed(text)}
        return any(pattern.matches(shown) for pattern in self._patterns)


def parsed(text: str) -> Any:
    """JSON objects and arrays as what they are, everything else as text."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text
