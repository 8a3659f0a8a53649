"""What a poller needs of a queue service, embedded or remote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from lambdad.domain.queue_records import QueueMessage

LONGEST_WAIT_S: Final = 20
MOST_AT_ONCE: Final = 10
"""Messages in one receive, and handles in one deletion (AWS: botocore model of SQS)."""


class QueueUnavailable(Exception):
    """The queue is gone, or its service does not answer; `args[0]` says which."""


class Queues(Protocol):
    """Queues by their ARN. Every method raises QueueUnavailable."""

    async def receive(self, arn: str, *, limit: int, wait_s: float) -> list[QueueMessage]:
        """Up to `limit` (1 to 10) messages, after waiting for up to 20 s if there are none."""

    async def delete(self, arn: str, handles: Sequence[str]) -> None:
        """Of up to 10 messages; those whose receipt no longer counts are left."""

    async def release(self, arn: str, handles: Sequence[str]) -> None:
        """Makes up to 10 messages visible again at once."""

    async def visibility_timeout_s(self, arn: str) -> float: ...
