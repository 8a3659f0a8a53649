"""Where batches go that were given up."""

from __future__ import annotations

from typing import Protocol

from lambdad.domain.mappings import EventSourceMapping


class FailedBatches(Protocol):
    """Takes the records of failed batches, for a queue, a topic or a bucket."""

    async def deliver(self, mapping: EventSourceMapping, record: bytes, key: str, request_id: str) -> bool:
        """Sends to the mapping's OnFailure destination; `key` names it in a bucket. False if it could not be sent."""
