"""What is asked of the services that have streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lambdad.sources.streams import DynamoDbStream, StreamNotFound

TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/"
LABEL = "2026-11-28T07:00:00.000"


class Client:
    """Answers for the latest stream of a table whichever is asked for, as moto does."""

    def describe_stream(self, StreamArn: str) -> Any:  # noqa: N803 - botocore's
        return {"StreamDescription": {"StreamArn": StreamArn, "StreamLabel": LABEL, "Shards": [{"ShardId": "a"}]}}


async def at_once(job: Callable[[], Any]) -> Any:
    return job()


async def test_another_stream_of_a_table_is_not_there() -> None:
    assert [shard.id for shard in await DynamoDbStream(TABLE + LABEL, Client, at_once).shards()] == ["a"]
    with pytest.raises(StreamNotFound):
        await DynamoDbStream(f"{TABLE}2020-01-01T00:00:00.000", Client, at_once).shards()
