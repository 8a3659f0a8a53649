"""EventBridge on the wire: boto3 through the front door, answers and refusals as AWS has them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.clock import SystemClock
from lambdad.neighbours.eventbridge.service import EventBridgeService
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage.sqlite import SqliteEngine
from lambdad.wire.eventbridge import eventbridge_service
from lambdad.wire.sqs import sqs_service
from tests.neighbours.sqs.conftest import a_queue_policy
from tests.wire.harness import Boto, booted

ACCOUNT, REGION = "000000000000", "us-east-1"
BUSES = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus"
RULES = f"arn:aws:events:{REGION}:{ACCOUNT}:rule"
QUEUE_ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
QUEUE_URL = f"http://localhost:4566/{ACCOUNT}/q"
PATTERN = '{"source": ["shop"]}'


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture
async def boto(tmp_path: Path, clock: SystemClock) -> AsyncIterator[Boto]:
    engine = await SqliteEngine.open(tmp_path)
    sqs = SqsService(engine, clock)
    eventbridge = EventBridgeService(engine, clock, sqs=sqs)
    eventbridge.start()
    async with booted(eventbridge_service(eventbridge), sqs_service(sqs)) as boto:
        yield boto
    await eventbridge.stop()
    await sqs.stop()
    await engine.close()


@pytest.fixture
async def events(boto: Boto) -> Any:
    return boto("events")


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        await call
    response: Any = refused.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return response["Error"]["Code"], response["Error"]["Message"]


def without_metadata(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def an_entry(**members: Any) -> dict[str, Any]:
    return {"Source": "shop", "DetailType": "order", "Detail": '{"n": 1}', **members}


# --- events ---


async def test_from_put_events_to_a_queue(boto: Boto, events: Any):
    sqs = boto("sqs")
    await sqs.create_queue(QueueName="q", Attributes={"Policy": a_queue_policy("events.amazonaws.com", "*")})
    await events.put_rule(Name="r", EventPattern=PATTERN)
    put = await events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": QUEUE_ARN}])
    assert without_metadata(put) == {"FailedEntryCount": 0, "FailedEntries": []}
    moment = datetime(2022, 1, 1, 1, 1, 1, 500_000, tzinfo=UTC)
    answer = await events.put_events(Entries=[an_entry(Time=moment, Resources=["a"])])
    assert answer["FailedEntryCount"] == 0
    (message,) = (await sqs.receive_message(QueueUrl=QUEUE_URL))["Messages"]
    assert json.loads(message["Body"]) == {
        "version": "0", "id": answer["Entries"][0]["EventId"], "detail-type": "order", "source": "shop",
        "account": ACCOUNT, "time": "2022-01-01T01:01:01Z", "region": REGION, "resources": ["a"], "detail": {"n": 1},
    }  # fmt: skip


async def test_a_schedule_fires_when_the_clock_is_moved(boto: Boto, events: Any, clock: SystemClock):
    sqs = boto("sqs")
    await sqs.create_queue(QueueName="q", Attributes={"Policy": a_queue_policy("events.amazonaws.com", "*")})
    rule = await events.put_rule(Name="r", ScheduleExpression="rate(2 hours)")
    await events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": QUEUE_ARN}])
    clock.advance(2 * 3600)
    answer = await sqs.receive_message(QueueUrl=QUEUE_URL, WaitTimeSeconds=10)
    body = json.loads(answer["Messages"][0]["Body"])
    assert (body["detail-type"], body["resources"]) == ("Scheduled Event", [rule["RuleArn"]])


REFUSED_ENTRIES = [
    ({"Source": None}, "InvalidArgument", "Parameter Source is not valid. Reason: Source is a required argument."),
    ({"DetailType": None}, "InvalidArgument",
     "Parameter DetailType is not valid. Reason: DetailType is a required argument."),
    ({"Detail": None}, "InvalidArgument", "Parameter Detail is not valid. Reason: Detail is a required argument."),
    ({"Detail": "{"}, "MalformedDetail", "Detail is malformed."),
    ({"Detail": "[1]"}, "MalformedDetail", "Detail is malformed."),
    ({"Detail": '{"a": "\ud800"}'}, "MalformedDetail", "Detail is malformed."),
    ({"Source": "aws.ec2"}, "NotAuthorizedForSourceException", "Not authorized for the source."),
]  # fmt: skip


@pytest.mark.parametrize(("members", "code", "message"), REFUSED_ENTRIES)
async def test_an_entry_that_is_refused(events: Any, members: dict[str, Any], code: str, message: str):
    entry = {name: value for name, value in an_entry(**members).items() if value is not None}
    answer = await events.put_events(Entries=[entry, an_entry(EventBusName="no-such-bus")])
    refused, accepted = answer["Entries"]
    assert answer["FailedEntryCount"] == 1
    assert refused == {"ErrorCode": code, "ErrorMessage": message}
    assert list(accepted) == ["EventId"]  # a bus that does not exist takes events too


async def test_details_that_are_nested_too_deep(events: Any):
    """How deep is too deep depends on the reader; there is an answer in any case, and no entry is half stored."""
    await events.put_rule(Name="r", EventPattern='{"source": ["shop"], "detail": {"a": {"b": [1]}}}')
    for depth in (*range(880, 1001, 8), 100_000):
        detail = '{"a": ' + "[" * depth + "]" * depth + "}"
        answer = await events.put_events(Entries=[an_entry(Detail=detail), an_entry()])
        one, other = answer["Entries"]
        assert "EventId" in one or one == {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        assert "EventId" in other


async def test_too_much_at_once(events: Any):
    code, message = await refusal(events.put_events(Entries=[an_entry()] * 11))
    assert code == "ValidationException"
    assert message.startswith("1 validation error detected: Value '[PutEventsRequestEntry(")
    assert message.endswith(
        "' at 'entries' failed to satisfy constraint: Member must have length less than or equal to 10"
    )
    fits = json.dumps({"a": "x" * (1_048_576 - len('{"a": ""}shoporder'))})
    assert (await events.put_events(Entries=[an_entry(Detail=fits)]))["FailedEntryCount"] == 0
    assert await refusal(events.put_events(Entries=[an_entry(Detail=fits), an_entry(Detail="{}")])) == (
        "ValidationException", "Total size of the entries in the request is over the limit.",
    )  # fmt: skip


async def test_testing_a_pattern(events: Any):
    event = {"id": "1", "account": "1", "source": "shop", "time": "t", "region": "r", "detail-type": "d"}
    assert (await events.test_event_pattern(EventPattern=PATTERN, Event=json.dumps(event)))["Result"] is True
    event["source"] = "x"
    assert (await events.test_event_pattern(EventPattern=PATTERN, Event=json.dumps(event)))["Result"] is False
    assert await refusal(events.test_event_pattern(EventPattern='{"a": "x"}', Event="{}")) == (
        "InvalidEventPatternException",
        'Event pattern is not valid. Reason: "a" must be an object or an array',
    )
    for text in ("{", "[]", '{"id": "1"}'):
        assert await refusal(events.test_event_pattern(EventPattern=PATTERN, Event=text)) == (
            "ValidationException", "Parameter Event is not valid.",
        )  # fmt: skip


# --- buses ---


async def test_the_life_of_a_bus(events: Any):
    created = await events.create_event_bus(Name="b", Description="d", Tags=[{"Key": "k", "Value": "v"}])
    assert without_metadata(created) == {"EventBusArn": f"{BUSES}/b", "Description": "d"}
    updated = await events.update_event_bus(Name="b", Description="e", DeadLetterConfig={"Arn": QUEUE_ARN})
    assert without_metadata(updated) == {
        "Arn": f"{BUSES}/b", "Name": "b", "Description": "e", "DeadLetterConfig": {"Arn": QUEUE_ARN},
    }  # fmt: skip
    for name in ("b", f"{BUSES}/b"):
        described = without_metadata(await events.describe_event_bus(Name=name))
        assert isinstance(described.pop("CreationTime"), datetime)
        assert isinstance(described.pop("LastModifiedTime"), datetime)
        assert described == {
            "Name": "b", "Arn": f"{BUSES}/b", "Description": "e", "DeadLetterConfig": {"Arn": QUEUE_ARN},
        }  # fmt: skip
    listed = await events.list_event_buses()
    assert [bus["Name"] for bus in listed["EventBuses"]] == ["b", "default"]
    assert [bus["Name"] for bus in (await events.list_event_buses(NamePrefix="d"))["EventBuses"]] == ["default"]
    assert (await events.list_tags_for_resource(ResourceARN=f"{BUSES}/b"))["Tags"] == [{"Key": "k", "Value": "v"}]
    await events.delete_event_bus(Name="b")
    assert await refusal(events.describe_event_bus(Name="b")) == (
        "ResourceNotFoundException", "Event bus b does not exist.",
    )  # fmt: skip


async def test_the_default_bus_is_always_there(events: Any):
    described = await events.describe_event_bus()
    assert (described["Name"], described["Arn"]) == ("default", f"{BUSES}/default")
    assert await refusal(events.delete_event_bus(Name="default")) == (
        "ValidationException", "Cannot delete event bus default.",
    )  # fmt: skip
    assert await refusal(events.create_event_bus(Name="default")) == (
        "ResourceAlreadyExistsException", "Event bus default already exists.",
    )  # fmt: skip


async def test_buses_that_cannot_be(events: Any):
    assert (await refusal(events.delete_event_bus(Name="none")))[0] == "ResourceNotFoundException"
    assert (await refusal(events.create_event_bus(Name="a/b")))[0] == "ValidationException"
    await events.create_event_bus(Name="b")
    await events.put_rule(Name="r", EventPattern=PATTERN, EventBusName="b")
    assert (await refusal(events.delete_event_bus(Name="b")))[0] == "ValidationException"


async def test_permissions(events: Any):
    assert await refusal(events.remove_permission(StatementId="s")) == (
        "ResourceNotFoundException", "EventBus does not have a policy.",
    )  # fmt: skip
    await events.put_permission(Action="events:PutEvents", Principal="111111111111", StatementId="s")
    await events.put_permission(Action="events:PutEvents", Principal="*", StatementId="t", Condition={
        "Type": "StringEquals", "Key": "aws:PrincipalOrgID", "Value": "o-1",
    })  # fmt: skip
    policy = json.loads((await events.describe_event_bus())["Policy"])
    assert policy == {"Version": "2012-10-17", "Statement": [
        {"Sid": "s", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
         "Action": "events:PutEvents", "Resource": f"{BUSES}/default"},
        {"Sid": "t", "Effect": "Allow", "Principal": "*", "Action": "events:PutEvents",
         "Resource": f"{BUSES}/default", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}},
    ]}  # fmt: skip
    await events.remove_permission(StatementId="s")
    assert await refusal(events.remove_permission(StatementId="s")) == (
        "ResourceNotFoundException", "Statement with the provided id does not exist.",
    )  # fmt: skip
    await events.remove_permission(RemoveAllPermissions=True)
    assert "Policy" not in await events.describe_event_bus()


# --- rules and targets ---


async def test_the_life_of_a_rule(events: Any):
    await events.create_event_bus(Name="b")
    put = await events.put_rule(
        Name="r", EventBusName="b", EventPattern=PATTERN, Description="d", Tags=[{"Key": "k", "Value": "v"}]
    )
    assert put["RuleArn"] == f"{RULES}/b/r"
    described = without_metadata(await events.describe_rule(Name="r", EventBusName="b"))
    assert described == {
        "Name": "r", "Arn": f"{RULES}/b/r", "EventPattern": PATTERN, "State": "ENABLED", "Description": "d",
        "EventBusName": "b", "CreatedBy": ACCOUNT,
    }  # fmt: skip
    await events.disable_rule(Name="r", EventBusName=f"{BUSES}/b")
    (listed,) = (await events.list_rules(EventBusName="b"))["Rules"]
    assert (listed["State"], "CreatedBy" in listed) == ("DISABLED", False)
    await events.enable_rule(Name="r", EventBusName="b")
    # A rule is replaced as a whole, but for its tags.
    await events.put_rule(Name="r", EventBusName="b", EventPattern='{"source": ["x"]}')
    replaced = await events.describe_rule(Name="r", EventBusName="b")
    assert (replaced["EventPattern"], "Description" in replaced) == ('{"source": ["x"]}', False)
    await events.tag_resource(ResourceARN=f"{RULES}/b/r", Tags=[{"Key": "l", "Value": "w"}])
    await events.untag_resource(ResourceARN=f"{RULES}/b/r", TagKeys=["k"])
    tags = await events.list_tags_for_resource(ResourceARN=f"{RULES}/b/r")
    assert tags["Tags"] == [{"Key": "l", "Value": "w"}]
    await events.delete_rule(Name="r", EventBusName="b")
    await events.delete_rule(Name="r", EventBusName="b")  # once more does not matter
    assert await refusal(events.describe_rule(Name="r", EventBusName="b")) == (
        "ResourceNotFoundException", "Rule r does not exist on EventBus b.",
    )  # fmt: skip


async def test_rules_on_the_default_bus_have_a_shorter_arn(events: Any):
    assert (await events.put_rule(Name="r", EventPattern=PATTERN))["RuleArn"] == f"{RULES}/r"
    assert (await events.list_tags_for_resource(ResourceARN=f"{RULES}/r"))["Tags"] == []


REFUSED_RULES = [
    ({}, "ValidationException", "Parameter(s) EventPattern or ScheduleExpression must be specified."),
    ({"ScheduleExpression": "rate(1 minutes)"}, "ValidationException", "Parameter ScheduleExpression is not valid."),
    ({"EventPattern": "[]"}, "InvalidEventPatternException",
     "Event pattern is not valid. Reason: Filter is not an object"),
    ({"EventPattern": PATTERN, "EventBusName": "none"}, "ResourceNotFoundException", "Event bus none does not exist."),
    ({"EventPattern": PATTERN, "Name": "a b"}, "ValidationException",
     "1 validation error detected: Value 'a b' at 'name' failed to satisfy constraint: "
     r"Member must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+"),
]  # fmt: skip


@pytest.mark.parametrize(("members", "code", "message"), REFUSED_RULES)
async def test_a_rule_that_is_refused(events: Any, members: dict[str, Any], code: str, message: str):
    assert await refusal(events.put_rule(**{"Name": "r", **members})) == (code, message)


async def test_the_life_of_targets(events: Any):
    await events.put_rule(Name="r", EventPattern=PATTERN)
    targets = [
        {"Id": "a", "Arn": QUEUE_ARN, "Input": "{}"},
        {"Id": "b", "Arn": QUEUE_ARN, "InputTransformer": {"InputPathsMap": {"x": "$.x"}, "InputTemplate": '"<x>"'},
         "RetryPolicy": {"MaximumRetryAttempts": 3}, "DeadLetterConfig": {"Arn": QUEUE_ARN}},
    ]  # fmt: skip
    await events.put_targets(Rule="r", Targets=targets)
    assert (await events.list_targets_by_rule(Rule="r"))["Targets"] == targets
    assert (await events.list_rule_names_by_target(TargetArn=QUEUE_ARN))["RuleNames"] == ["r"]
    assert (await events.list_rule_names_by_target(TargetArn=f"{QUEUE_ARN}2"))["RuleNames"] == []
    assert await refusal(events.delete_rule(Name="r")) == (
        "ValidationException", "Rule can't be deleted since it has targets.",
    )  # fmt: skip
    removed = await events.remove_targets(Rule="r", Ids=["a", "b"])
    assert without_metadata(removed) == {"FailedEntryCount": 0, "FailedEntries": []}
    assert (await events.list_targets_by_rule(Rule="r"))["Targets"] == []
    await events.delete_rule(Name="r")


REFUSED_TARGETS = [
    ({"Id": "a b"}, "1 validation error detected: Value 'a b' at 'targets.1.member.id' failed to satisfy constraint: "
     r"Member must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+"),
    ({"Input": "{", }, "JSON syntax error in input for target 1."),
    ({"Input": "{}", "InputPath": "$.x"},
     "Only one of Input, InputPath, or InputTransformer must be provided for target 1."),
    ({"InputPath": "x"}, "Invalid InputPath for target 1 : x."),
    ({"InputTransformer": {"InputTemplate": "plain"}},
     "Invalid InputTemplate for target 1 : it is not valid JSON when filled."),
    ({"RetryPolicy": {"MaximumRetryAttempts": 186}},
     "1 validation error detected: Value '186' at 'targets.1.member.retryPolicy.maximumRetryAttempts' failed to "
     "satisfy constraint: Member must have value less than or equal to 185"),
]  # fmt: skip


@pytest.mark.parametrize(("members", "message"), REFUSED_TARGETS)
async def test_a_target_that_is_refused(events: Any, members: dict[str, Any], message: str):
    await events.put_rule(Name="r", EventPattern=PATTERN)
    given = {"Id": "1", "Arn": QUEUE_ARN, **members}
    assert await refusal(events.put_targets(Rule="r", Targets=[given])) == ("ValidationException", message)


async def test_targets_that_fail_one_by_one(events: Any):
    await events.put_rule(Name="r", EventPattern=PATTERN)
    answer = await events.put_targets(Rule="r", Targets=[
        {"Id": "bad", "Arn": "x"}, {"Id": "fifo", "Arn": f"{QUEUE_ARN}.fifo"}, {"Id": "good", "Arn": QUEUE_ARN},
    ])  # fmt: skip
    assert answer["FailedEntryCount"] == 2
    assert answer["FailedEntries"] == [
        {"TargetId": "bad", "ErrorCode": "ValidationException",
         "ErrorMessage": "Parameter x is not valid. Reason: Provided Arn is not in correct format."},
        {"TargetId": "fifo", "ErrorCode": "ValidationException",
         "ErrorMessage": "Parameter(s) SqsParameters must be specified for target: fifo."},
    ]  # fmt: skip
    assert [target["Id"] for target in (await events.list_targets_by_rule(Rule="r"))["Targets"]] == ["good"]


async def test_five_targets_at_most(events: Any):
    await events.put_rule(Name="r", EventPattern=PATTERN)
    targets = [{"Id": str(number), "Arn": QUEUE_ARN} for number in range(6)]
    assert await refusal(events.put_targets(Rule="r", Targets=targets)) == (
        "LimitExceededException", "The requested resource exceeds the maximum number allowed.",
    )  # fmt: skip
    await events.put_targets(Rule="r", Targets=targets[:5])
    await events.put_targets(Rule="r", Targets=targets[:5])


@pytest.mark.parametrize("operation", ["put_targets", "remove_targets", "list_targets_by_rule", "enable_rule"])
async def test_a_rule_that_does_not_exist(events: Any, operation: str):
    params: dict[str, dict[str, Any]] = {
        "put_targets": {"Rule": "r", "Targets": [{"Id": "1", "Arn": QUEUE_ARN}]},
        "remove_targets": {"Rule": "r", "Ids": ["1"]},
        "list_targets_by_rule": {"Rule": "r"},
        "enable_rule": {"Name": "r"},
    }
    assert await refusal(getattr(events, operation)(**params[operation])) == (
        "ResourceNotFoundException", "Rule r does not exist on EventBus default.",
    )  # fmt: skip


async def test_pages(events: Any):
    names = [f"r{number}" for number in range(5)]
    for name in names:
        await events.put_rule(Name=name, EventPattern=PATTERN)
        await events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": QUEUE_ARN}])
    first = await events.list_rules(Limit=3)
    second = await events.list_rules(Limit=3, NextToken=first["NextToken"])
    assert [rule["Name"] for page in (first, second) for rule in page["Rules"]] == names
    assert "NextToken" not in second
    by_target = await events.list_rule_names_by_target(TargetArn=QUEUE_ARN, Limit=4)
    rest = await events.list_rule_names_by_target(TargetArn=QUEUE_ARN, Limit=4, NextToken=by_target["NextToken"])
    assert by_target["RuleNames"] + rest["RuleNames"] == names
    assert [rule["Name"] for rule in (await events.list_rules(NamePrefix="r3"))["Rules"]] == ["r3"]
    assert (await refusal(events.list_rules(NextToken="?")))[0] == "ValidationException"


async def test_accounts_and_regions_are_apart(boto: Boto, events: Any):
    await events.put_rule(Name="r", EventPattern=PATTERN)
    elsewhere = boto("events", region="eu-west-1")
    assert (await elsewhere.list_rules())["Rules"] == []
    stranger = boto("events", key="111111111111")
    assert (await refusal(stranger.list_rules(EventBusName=f"{BUSES}/default")))[0] == "AccessDeniedException"
    assert (await refusal(elsewhere.list_rules(EventBusName=f"{BUSES}/default")))[0] == "ResourceNotFoundException"
    missing = f"{RULES}/none"
    assert (await refusal(events.list_tags_for_resource(ResourceARN=missing)))[0] == "ResourceNotFoundException"
    assert (await refusal(stranger.list_tags_for_resource(ResourceARN=f"{RULES}/r")))[0] == "ResourceNotFoundException"
