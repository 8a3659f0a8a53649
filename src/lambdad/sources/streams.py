"""What pollers of streams need of a service, and the two services: Kinesis and DynamoDB streams, through botocore."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from lambdad.domain.mappings import SourceKind
from lambdad.domain.stream_positions import Position
from lambdad.domain.stream_records import Shard, StreamRecord, dynamodb_record, kinesis_record

MOST_AT_ONCE: Final = {SourceKind.KINESIS: 10_000, SourceKind.DYNAMODB: 1000}
"""Records of one GetRecords (botocore models)."""
POLL_S: Final = {SourceKind.KINESIS: 1.0, SourceKind.DYNAMODB: 0.25}
"""Between two looks into a shard without new records (AWS Lambda developer guide: once, and four times a second)."""


class StreamNotFound(Exception):
    """There is no such stream, or no service that could have it."""


class StreamUnavailable(Exception):
    """The service does not answer, or refuses for now."""


class IteratorExpired(Exception):
    """The place in the shard has to be looked up anew."""


class PositionTrimmed(Exception):
    """The record at the place is gone from the stream, which keeps its records for a time only."""


@dataclass(frozen=True, slots=True)
class Page:
    """Records in their order, and where the next ones are; None at the end of a closed shard."""

    records: Sequence[StreamRecord]
    next_iterator: str | None


class Stream(Protocol):
    """One stream. Every method raises StreamNotFound and StreamUnavailable."""

    async def shards(self) -> list[Shard]: ...

    async def iterator(self, shard: str, position: Position) -> str:
        """Raises PositionTrimmed."""

    async def read(self, shard: str, iterator: str, limit: int, role: str) -> Page:
        """Raises IteratorExpired. `role` is named in the records of Kinesis."""


OnThread = Callable[[Callable[[], Any]], Coroutine[Any, Any, Any]]
"""Runs a job that waits, off the event loop."""


class _Remote:
    """A botocore client, used on threads, with its errors in our words."""

    def __init__(self, client: Callable[[], Any], on_thread: OnThread) -> None:
        self._client = client
        self._on_thread = on_thread

    async def call(self, operation: str, **params: Any) -> Any:
        return await self._on_thread(lambda: self._call(operation, params))

    def _call(self, operation: str, params: dict[str, Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            return getattr(self._client(), operation)(**params)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise _ERRORS.get(code, StreamUnavailable)(str(error)) from error
        except BotoCoreError as error:
            raise StreamUnavailable(str(error)) from error


_ERRORS: Final[dict[str, type[Exception]]] = {
    "ResourceNotFoundException": StreamNotFound,
    "ExpiredIteratorException": IteratorExpired,
    "TrimmedDataAccessException": PositionTrimmed,
}


class KinesisStream:
    """A data stream."""

    def __init__(self, arn: str, client: Callable[[], Any], on_thread: OnThread) -> None:
        self._arn = arn
        self._name = arn.split(":", 5)[5].split("/")[1]
        self._remote = _Remote(client, on_thread)

    async def shards(self) -> list[Shard]:
        found: list[Shard] = []
        if "/consumer/" in self._arn:
            await self._remote.call("describe_stream_consumer", ConsumerARN=self._arn)
        params: dict[str, Any] = {"StreamName": self._name}
        while True:
            page = await self._remote.call("list_shards", **params)
            for shard in page["Shards"]:
                parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
                found.append(Shard(id=shard["ShardId"], parents=tuple(parent for parent in parents if parent)))
            if not page.get("NextToken"):
                return found
            params = {"NextToken": page["NextToken"]}

    async def iterator(self, shard: str, position: Position) -> str:
        given: dict[str, Any] = {"ShardIteratorType": position.begin}
        if position.sequence_number is not None:
            given = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": position.sequence_number,
            }
        elif position.since is not None:
            given = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": position.since}
        answer = await self._remote.call("get_shard_iterator", StreamName=self._name, ShardId=shard, **given)
        return str(answer["ShardIterator"])

    async def read(self, shard: str, iterator: str, limit: int, role: str) -> Page:
        answer = await self._remote.call("get_records", ShardIterator=iterator, Limit=limit)
        records = [kinesis_record(record, shard, self._arn, role) for record in answer["Records"]]
        return Page(records, answer.get("NextShardIterator") or None)


class DynamoDbStream:
    """The stream of a table."""

    def __init__(self, arn: str, client: Callable[[], Any], on_thread: OnThread) -> None:
        self._arn = arn
        self._remote = _Remote(client, on_thread)
        self._after: dict[str, datetime] = {}

    async def shards(self) -> list[Shard]:
        found: list[Shard] = []
        params: dict[str, Any] = {"StreamArn": self._arn}
        while True:
            page = (await self._remote.call("describe_stream", **params))["StreamDescription"]
            if page.get("StreamLabel") != self._arn.rpartition("/")[2]:
                # Only AWS itself looks at more of the ARN than the name of the table.
                raise StreamNotFound(f"The table has no stream {self._arn}")
            for shard in page["Shards"]:
                parent = shard.get("ParentShardId")
                found.append(Shard(id=shard["ShardId"], parents=(parent,) if parent else ()))
            if not page.get("LastEvaluatedShardId"):
                return found
            params["ExclusiveStartShardId"] = page["LastEvaluatedShardId"]

    async def iterator(self, shard: str, position: Position) -> str:
        given: dict[str, Any] = {"ShardIteratorType": position.begin}
        self._after.pop(shard, None)
        if position.sequence_number is not None:
            given = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": position.sequence_number}
        elif position.since is not None:
            # These streams know no AT_TIMESTAMP: what is older is read and left out. Their times are whole seconds.
            given = {"ShardIteratorType": "TRIM_HORIZON"}
            self._after[shard] = position.since.replace(microsecond=0)
        answer = await self._remote.call("get_shard_iterator", StreamArn=self._arn, ShardId=shard, **given)
        return str(answer["ShardIterator"])

    async def read(self, shard: str, iterator: str, limit: int, role: str) -> Page:  # noqa: ARG002 - the Protocol's
        answer = await self._remote.call("get_records", ShardIterator=iterator, Limit=limit)
        records = [dynamodb_record(record, self._arn) for record in answer["Records"]]
        after = self._after.get(shard)
        if after is not None:
            records = [record for record in records if record.arrived >= after]
        return Page(records, answer.get("NextShardIterator") or None)
