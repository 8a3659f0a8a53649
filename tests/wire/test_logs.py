"""CloudWatch Logs as boto3 sees it: answers, errors, pages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.domain.log_follow import LogFollower
from lambdad.execution.log_lines import system_lines
from lambdad.neighbours.logs.service import LogService
from lambdad.storage.sqlite import SqliteEngine
from lambdad.wire.logs import logs_service
from tests.neighbours.logs.conftest import NOW_MS, SetClock
from tests.recordings import Recording
from tests.wire.harness import Boto, a_front_door

ACCOUNT = "000000000000"
ARN = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:"
ID = "0d9f7b44-5f0d-4e16-9c3c-5b6a4d1e1f00"
DAY_MS = 86_400_000


class World:
    """A server's logs, and a client."""

    def __init__(self, service: LogService, clock: SetClock, client: Any) -> None:
        self.service = service
        self.clock = clock
        self.client = client

    async def refused(self, operation: str, **params: Any) -> tuple[str, str]:
        with pytest.raises(ClientError) as caught:
            await getattr(self.client, operation)(**params)
        error = caught.value.response["Error"]
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        return error["Code"], error["Message"]

    async def a_stream(self, group: str = "g", stream: str = "s") -> None:
        await self.client.create_log_group(logGroupName=group)
        await self.client.create_log_stream(logGroupName=group, logStreamName=stream)

    async def put(self, *events: tuple[int, str], group: str = "g", stream: str = "s") -> Any:
        return await self.client.put_log_events(
            logGroupName=group,
            logStreamName=stream,
            logEvents=[{"timestamp": stamp, "message": message} for stamp, message in events],
        )

    async def filtered(self, **params: Any) -> list[str]:
        """Messages of all pages."""
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = await self.client.filter_log_events(logGroupName="g", **params, **token)
            assert page["searchedLogStreams"] == []
            found += [event["message"] for event in page["events"]]
            if "nextToken" not in page:
                return found
            token = {"nextToken": page["nextToken"]}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    engine, clock = await SqliteEngine.open(tmp_path), SetClock()
    service = LogService(engine, clock)
    yield World(service, clock, Boto(a_front_door(logs_service(service)))("logs"))
    await service.stop()
    await engine.close()


async def test_groups_are_listed_as_recorded(world: World) -> None:
    await world.client.create_log_group(logGroupName="g", tags={"a": "1"})
    await world.client.put_retention_policy(logGroupName="g", retentionInDays=7)
    listed = (await world.client.describe_log_groups())["logGroups"]
    expected = {
        "logGroupName": "g",
        "creationTime": NOW_MS,
        "retentionInDays": 7,
        "metricFilterCount": 0,
        "arn": f"{ARN}g:*",
        "storedBytes": 0,
        "logGroupClass": "STANDARD",
        "logGroupArn": f"{ARN}g",
        "deletionProtectionEnabled": False,
    }
    assert listed == [expected]
    await world.client.delete_retention_policy(logGroupName="g")
    del expected["retentionInDays"]
    assert (await world.client.describe_log_groups(logGroupNamePrefix="g"))["logGroups"] == [expected]


async def test_groups_by_prefix_pattern_class_and_in_pages(world: World) -> None:
    names = [f"/aws/lambda/f{number:02d}" for number in range(7)]
    for name in [*names, "Other"]:
        await world.client.create_log_group(logGroupName=name)
    await world.client.create_log_group(logGroupName="rare", logGroupClass="INFREQUENT_ACCESS", kmsKeyId="key")

    async def found(**params: Any) -> list[str]:
        pages = world.client.client.get_paginator("describe_log_groups").paginate(**params)
        return [group["logGroupName"] for group in await _all(pages, "logGroups")]

    assert await found() == [*names, "Other", "rare"]
    assert await found(logGroupNamePrefix="/aws/", PaginationConfig={"PageSize": 3}) == names
    assert await found(logGroupNamePattern="th") == ["Other"]
    assert await found(logGroupNamePattern="other") == []
    assert await found(logGroupClass="INFREQUENT_ACCESS") == ["rare"]
    assert await found(logGroupIdentifiers=["Other", f"{ARN}rare"]) == ["Other", "rare"]
    assert await world.refused("describe_log_groups", logGroupNamePrefix="a", logGroupNamePattern="b") == (
        "InvalidParameterException",
        "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
    )


async def _all(pages: Any, name: str) -> list[Any]:
    return await asyncio.to_thread(lambda: [item for page in pages for item in page[name]])


async def test_streams_are_listed_by_name_and_by_last_event(world: World) -> None:
    await world.client.create_log_group(logGroupName="g")
    for number, name in enumerate(["b", "a", "c", "empty"]):
        await world.client.create_log_stream(logGroupName="g", logStreamName=name)
        if name != "empty":
            await world.put((NOW_MS - 1000 * number, "x"), (NOW_MS, "y"), stream=name)
            world.clock.ms += 1
            await world.put((NOW_MS + 10 * number, "z"), stream=name)

    async def found(**params: Any) -> list[str]:
        pages = world.client.client.get_paginator("describe_log_streams").paginate(logGroupName="g", **params)
        return [stream["logStreamName"] for stream in await _all(pages, "logStreams")]

    assert await found() == ["a", "b", "c", "empty"]
    assert await found(descending=True, PaginationConfig={"PageSize": 1}) == ["empty", "c", "b", "a"]
    by_time = ["empty", "b", "a", "c"]
    assert await found(orderBy="LastEventTime", PaginationConfig={"PageSize": 2}) == by_time
    assert await found(orderBy="LastEventTime", descending=True, PaginationConfig={"PageSize": 1}) == by_time[::-1]
    assert await found(logStreamNamePrefix="em") == ["empty"]
    listed = (await world.client.describe_log_streams(logGroupIdentifier=f"{ARN}g", limit=1))["logStreams"][0]
    token = listed.pop("uploadSequenceToken")
    assert len(token) == 56
    assert token.isdigit()
    assert listed == {
        "logStreamName": "a",
        "creationTime": NOW_MS + 1,
        "firstEventTimestamp": NOW_MS - 1000,
        "lastEventTimestamp": NOW_MS + 10,
        "lastIngestionTime": NOW_MS + 2,
        "arn": f"{ARN}g:log-stream:a",
        "storedBytes": 0,
    }
    empty = (await world.client.describe_log_streams(logGroupName="g", logStreamNamePrefix="empty"))["logStreams"][0]
    assert sorted(empty) == ["arn", "creationTime", "logStreamName", "storedBytes"]


NO_GROUP = ("ResourceNotFoundException", "The specified log group does not exist.")
NO_STREAM = ("ResourceNotFoundException", "The specified log stream does not exist.")
NAMES = {"logGroupName": "g", "logStreamName": "s"}


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("delete_log_group", {"logGroupName": "g"}),
        ("put_retention_policy", {"logGroupName": "g", "retentionInDays": 1}),
        ("delete_retention_policy", {"logGroupName": "g"}),
        ("create_log_stream", NAMES),
        ("delete_log_stream", NAMES),
        ("describe_log_streams", {"logGroupName": "g"}),
        ("describe_log_streams", {"logGroupIdentifier": f"{ARN}g"}),
        ("describe_log_streams", {"logGroupIdentifier": "arn:aws:logs:eu-west-1:000000000000:log-group:g"}),
        ("put_log_events", {**NAMES, "logEvents": [{"timestamp": 0, "message": "x"}]}),
        ("get_log_events", NAMES),
        ("filter_log_events", {"logGroupName": "g"}),
        ("tag_resource", {"resourceArn": f"{ARN}g", "tags": {"a": "b"}}),
        ("list_tags_for_resource", {"resourceArn": f"{ARN}g"}),
        ("tag_log_group", {"logGroupName": "g", "tags": {"a": "b"}}),
    ],
)
async def test_missing_groups(world: World, operation: str, params: dict[str, Any]) -> None:
    assert await world.refused(operation, **params) == NO_GROUP


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("delete_log_stream", NAMES),
        ("put_log_events", {**NAMES, "logEvents": [{"timestamp": NOW_MS, "message": "x"}]}),
        ("get_log_events", NAMES),
        ("filter_log_events", {"logGroupName": "g", "logStreamNames": ["other", "s"]}),
    ],
)
async def test_missing_streams(world: World, operation: str, params: dict[str, Any]) -> None:
    await world.a_stream(stream="other")
    assert await world.refused(operation, **params) == NO_STREAM


async def test_other_refusals(world: World) -> None:
    await world.a_stream()
    assert await world.refused("create_log_group", logGroupName="g") == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    assert await world.refused("create_log_stream", **NAMES) == (
        "ResourceAlreadyExistsException",
        "The specified log stream already exists",
    )
    assert await world.refused("get_log_events", **NAMES, limit=10_001) == (
        "InvalidParameterException",
        "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: "
        "Member must have value less than or equal to 10000",
    )
    for token in ("x", "f/1", "z/" + "0" * 56, "f/" + "x" * 56):
        invalid = ("InvalidParameterException", "The specified nextToken is invalid.")
        assert await world.refused("get_log_events", **NAMES, nextToken=token) == invalid
        assert await world.refused("filter_log_events", logGroupName="g", nextToken=token) == invalid
        assert await world.refused("describe_log_groups", nextToken=token) == invalid
        assert await world.refused("describe_log_streams", logGroupName="g", nextToken=token) == invalid
    assert await world.refused("get_log_events", logGroupName="g", logGroupIdentifier="g", logStreamName="s") == (
        "ValidationException",
        "LogGroup name and LogGroup ARN are mutually exclusive parameters.",
    )
    assert await world.refused("filter_log_events", logGroupName="g", filterPattern="{ $.a = }") == (
        "InvalidParameterException",
        "Invalid filter pattern",
    )
    code, message = await world.refused("put_retention_policy", logGroupName="g", retentionInDays=2)
    assert code == "InvalidParameterException"
    assert message.startswith("1 validation error detected: Value '2' at 'retentionInDays' failed to satisfy")
    await world.client.create_log_group(logGroupName="safe", deletionProtectionEnabled=True)
    assert (await world.refused("delete_log_group", logGroupName="safe"))[0] == "ValidationException"


async def test_tags(world: World) -> None:
    await world.client.create_log_group(logGroupName="g", tags={"a": "1"})
    await world.client.tag_resource(resourceArn=f"{ARN}g", tags={"b": "2"})
    await world.client.tag_log_group(logGroupName="g", tags={"c": "3"})
    await world.client.untag_resource(resourceArn=f"{ARN}g", tagKeys=["a", "missing"])
    assert (await world.client.list_tags_for_resource(resourceArn=f"{ARN}g"))["tags"] == {"b": "2", "c": "3"}
    await world.client.untag_log_group(logGroupName="g", tags=["b"])
    assert (await world.client.list_tags_log_group(logGroupName="g"))["tags"] == {"c": "3"}
    many = {f"k{number}": "" for number in range(50)}
    assert (await world.refused("tag_resource", resourceArn=f"{ARN}g", tags=many))[0] == "TooManyTagsException"


async def test_put_keeps_what_is_neither_too_old_nor_too_new(world: World) -> None:
    await world.a_stream()
    await world.client.put_retention_policy(logGroupName="g", retentionInDays=1)
    too_new = NOW_MS + 7_200_001
    answer = await world.put(
        (NOW_MS - 15 * DAY_MS, "ancient"), (NOW_MS - 2 * DAY_MS, "expired"), (NOW_MS, "kept"), (too_new, "new")
    )
    assert answer["rejectedLogEventsInfo"] == {
        "tooOldLogEventEndIndex": 1,
        "expiredLogEventEndIndex": 2,
        "tooNewLogEventStartIndex": 3,
    }
    assert len(answer["nextSequenceToken"]) == 56
    assert await world.filtered() == ["kept"]
    answer = await world.put((NOW_MS + 7_200_000, "just in time"))
    assert "rejectedLogEventsInfo" not in answer


async def test_put_refuses_whole_batches(world: World) -> None:
    await world.a_stream()

    def batch(*events: tuple[int, str]) -> dict[str, Any]:
        return {**NAMES, "logEvents": [{"timestamp": stamp, "message": message} for stamp, message in events]}

    assert await world.refused("put_log_events", **batch((NOW_MS, "b"), (NOW_MS - 1, "a"))) == (
        "InvalidParameterException",
        "Log events in a single PutLogEvents request must be in chronological order.",
    )
    code, _ = await world.refused("put_log_events", **batch((NOW_MS - DAY_MS - 1, "a"), (NOW_MS, "b")))
    assert code == "InvalidParameterException"
    assert await world.refused("put_log_events", **batch((NOW_MS, "ä" * 524_276))) == (
        "InvalidParameterException",
        "Upload too large: 1048578 bytes exceeds limit of 1048576",
    )
    code, _ = await world.refused("put_log_events", **batch(*[(NOW_MS, "x")] * 10_001))
    assert code == "InvalidParameterException"
    assert await world.filtered() == []
    await world.put((NOW_MS, "ä" * 524_275))
    assert await world.filtered() == ["ä" * 524_275]


async def test_get_walks_both_ways_and_ends_with_the_same_token(world: World) -> None:
    await world.a_stream()
    await world.put(*[(NOW_MS + number, f"{number}") for number in range(10)])

    async def get(**params: Any) -> tuple[list[str], str, str]:
        page = await world.client.get_log_events(**NAMES, limit=4, **params)
        assert all(event["ingestionTime"] >= NOW_MS for event in page["events"])
        return [event["message"] for event in page["events"]], page["nextForwardToken"], page["nextBackwardToken"]

    last, forward, backward = await get()
    assert last == ["6", "7", "8", "9"]
    assert await get(nextToken=forward) == ([], forward, f"b/{forward[2:]}")
    middle, forward, backward = await get(nextToken=backward)
    assert middle == ["2", "3", "4", "5"]
    first, _, backward = await get(nextToken=backward)
    assert first == ["0", "1"]
    assert await get(nextToken=backward) == ([], f"f/{backward[2:]}", backward)
    assert (await get(nextToken=forward))[0] == ["6", "7", "8", "9"]
    head, forward, _ = await get(startFromHead=True)
    assert head == ["0", "1", "2", "3"]
    assert (await get(nextToken=forward, startFromHead=True))[0] == ["4", "5", "6", "7"]
    # The end time is excluded, the start time is not.
    assert (await get(startTime=NOW_MS + 2, endTime=NOW_MS + 4, startFromHead=True))[0] == ["2", "3"]


async def test_a_reader_of_an_empty_stream_can_wait_for_its_first_event(world: World) -> None:
    await world.a_stream()
    page = await world.client.get_log_events(**NAMES)
    assert page["events"] == []
    await world.put((NOW_MS, "first"))
    page = await world.client.get_log_events(**NAMES, nextToken=page["nextForwardToken"])
    assert [event["message"] for event in page["events"]] == ["first"]


async def test_filter_interleaves_streams_by_time(world: World) -> None:
    await world.a_stream(stream="a1")
    for name in ("a2", "b"):
        await world.client.create_log_stream(logGroupName="g", logStreamName=name)
    for number, name in enumerate(["a1", "a2", "b"] * 4):
        await world.put((NOW_MS + number, f"{number} {'ERROR' if number % 4 == 0 else 'fine'}"), stream=name)
    every = await world.filtered()
    assert [int(message.split()[0]) for message in every] == list(range(12))
    assert await world.filtered(limit=5) == every
    assert await world.filtered(filterPattern="ERROR") == every[::4]
    assert await world.filtered(logStreamNames=["b"]) == every[2::3]
    assert await world.filtered(logStreamNames=["a1", "b"], limit=2) == [every[n] for n in (0, 2, 3, 5, 6, 8, 9, 11)]
    assert await world.filtered(logStreamNamePrefix="a") == [every[n] for n in (0, 1, 3, 4, 6, 7, 9, 10)]
    # Both ends of the time are included.
    assert await world.filtered(startTime=NOW_MS + 2, endTime=NOW_MS + 4) == every[2:5]
    assert await world.filtered(startTime=NOW_MS, startFromHead=False, limit=5) == every[::-1]
    assert (await world.refused("filter_log_events", logGroupName="g", startFromHead=False))[0] == (
        "InvalidParameterException"
    )
    assert (await world.refused("filter_log_events", logGroupName="g", logStreamNames=["a1"], logStreamNamePrefix="a"))[
        0
    ] == "InvalidParameterException"


async def test_following_brings_every_line_once(world: World) -> None:
    streams = [world.service.writer.stream(ACCOUNT, "us-east-1", "g", name) for name in ("a", "b", "c")]
    follower = LogFollower(NOW_MS)
    seen: list[str] = []
    written: list[str] = []
    for poll in range(40):
        for number in range(9):
            # A stream may lag a little behind the others.
            line = f"{poll}-{number}"
            stamp = NOW_MS + poll * 60 + number - (100 if number % 3 == 1 and poll > 2 else 0)
            streams[number % 3].append(stamp, f"{line}\n".encode())
            written.append(line)
        token: dict[str, str] = {}
        read = 0
        while True:
            page = await world.client.filter_log_events(logGroupName="g", startTime=follower.start_ms, limit=7, **token)
            read += len(page["events"])
            seen += [event["message"].strip() for event in follower.take(page["events"])]
            if "nextToken" not in page:
                break
            token = {"nextToken": page["nextToken"]}
        follower.end_poll()
        assert read < 70
    assert sorted(seen) == sorted(written)


async def test_a_function_that_prints_several_lines_is_logged_as_recorded(world: World) -> None:
    stream = world.service.writer.stream(ACCOUNT, "us-east-1", "g", "2026/09/15/[$LATEST]" + "0" * 32)
    lines = system_lines("Text", function_name="fn", version="$LATEST", memory_mb=128)
    stream.append(NOW_MS, lines.init_start(NOW_MS, "python:3.13.v7", "arn:aws:lambda:us-east-1::runtime:ab12"))
    stream.append(NOW_MS, lines.start(NOW_MS, ID))
    stream.append(NOW_MS, b"multi\nline\nstring\nanother\rline\n")
    stream.append(NOW_MS, lines.end(NOW_MS, ID, 1.5, "success", None))
    stream.append(NOW_MS, lines.report(NOW_MS, ID, 1.5, 90, 35, init_duration_ms=88.2))
    page = await world.client.filter_log_events(logGroupName="g")
    for event in page["events"]:
        assert len(event["eventId"]) == 56
        event |= {"eventId": "event-id", "timestamp": "timestamp", "ingestionTime": "timestamp"}
        # The recording calls every duration the same.
        event["message"] = re.sub(r"Duration: [\d.]+ ms", "Duration: 1 ms", event["message"])
    Recording.find("TestCloudwatchLogs::test_multi_line_prints").check("log-events", page["events"])


async def test_accounts_and_regions_do_not_see_each_other(world: World) -> None:
    await world.service.groups.create("111111111111", "us-east-1", "g", tags={})
    await world.service.groups.create(ACCOUNT, "eu-west-1", "g", tags={})
    assert (await world.client.describe_log_groups())["logGroups"] == []
    assert await world.refused("describe_log_streams", logGroupName="g") == NO_GROUP


async def test_what_is_not_offered_is_refused_clearly(world: World) -> None:
    with pytest.raises(ClientError) as caught:
        await world.client.put_metric_filter(
            logGroupName="g", filterName="f", filterPattern="", metricTransformations=[]
        )
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


async def test_subscription_filters(world: World) -> None:
    await world.client.create_log_group(logGroupName="g")
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
    given = {"logGroupName": "g", "filterPattern": "ERROR", "destinationArn": function}
    for name in ("b", "a"):
        await world.client.put_subscription_filter(filterName=name, **given)
    page = await world.client.describe_subscription_filters(logGroupName="g", limit=1)
    shown = {"distribution": "ByLogStream", "applyOnTransformedLogs": False, "creationTime": NOW_MS}
    assert page["subscriptionFilters"] == [{**given, **shown, "filterName": "a"}]
    page = await world.client.describe_subscription_filters(logGroupName="g", nextToken=page["nextToken"])
    assert [one["filterName"] for one in page["subscriptionFilters"]] == ["b"]
    assert "nextToken" not in page
    page = await world.client.describe_subscription_filters(logGroupName="g", filterNamePrefix="b")
    assert [one["filterName"] for one in page["subscriptionFilters"]] == ["b"]
    await world.client.delete_subscription_filter(logGroupName="g", filterName="a")
    assert await world.refused("delete_subscription_filter", logGroupName="g", filterName="a") == (
        "ResourceNotFoundException",
        "The specified subscription filter does not exist.",
    )


async def test_subscription_filters_that_are_refused(world: World) -> None:
    await world.client.create_log_group(logGroupName="g")
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
    given = {"logGroupName": "g", "filterName": "n", "filterPattern": "", "destinationArn": function}
    for changed, code, text in (
        ({"logGroupName": "h"}, "ResourceNotFoundException", "The specified log group does not exist."),
        ({"filterPattern": "["}, "InvalidParameterException", "Invalid filter pattern"),
        (
            {"roleArn": "arn:aws:iam::000000000000:role/r"},
            "InvalidParameterException",
            "destinationArn for vendor lambda cannot be used with roleArn",
        ),
        ({"emitSystemFields": ["@aws.account"]}, "InvalidParameterException", "emitSystemFields is not offered by"),
        (
            {"distribution": "x"},
            "InvalidParameterException",
            "1 validation error detected: Value 'x' at 'distribution'",
        ),
        (
            {"filterName": "a:b"},
            "InvalidParameterException",
            "1 validation error detected: Value 'a:b' at 'filterName'",
        ),
    ):
        found = await world.refused("put_subscription_filter", **{**given, **changed})
        assert found[0] == code
        assert found[1].startswith(text)
    page = await world.client.describe_subscription_filters(logGroupName="g")
    assert page["subscriptionFilters"] == []
