"""Queues: names, attributes, tags, permissions, purge, deletion, and what is removed behind them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdad.domain.errors import ServiceError
from lambdad.domain.queues import QueueAddress, QueueCounts, QueueSettings
from lambdad.neighbours.sqs import attributes, policy
from lambdad.neighbours.sqs.service import SqsService
from tests.neighbours.sqs.conftest import ACCOUNT, REGION, Queues, StillClock, a_caller, an_address

INVALID = "InvalidParameterValueException"
STANDARD_NAME = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
FIFO_NAME = (
    "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo "
    "suffix and be 1 to 80 in length."
)
NAMES = [
    ("a" * 80, {}, None),
    ("a-B_9", {}, None),
    ("a" * 75 + ".fifo", {"FifoQueue": "true"}, None),
    ("a" * 81, {}, STANDARD_NAME),
    ("a b", {}, STANDARD_NAME),
    ("", {}, STANDARD_NAME),
    ("a.fifo", {}, STANDARD_NAME),
    ("\u00e9", {}, STANDARD_NAME),
    ("a", {"FifoQueue": "true"}, FIFO_NAME),
    (".fifo", {"FifoQueue": "true"}, FIFO_NAME),
    ("a" * 76 + ".fifo", {"FifoQueue": "true"}, FIFO_NAME),
]


@pytest.mark.parametrize(("name", "given", "message"), NAMES)
async def test_names(sqs: Queues, name: str, given: dict[str, str], message: str | None):
    if message is None:
        assert await sqs.service.queues.create(an_address(name), given, {}) == an_address(name)
        return
    with pytest.raises(ServiceError) as refused:
        await sqs.service.queues.create(an_address(name), given, {})
    assert (refused.value.code, refused.value.message) == (INVALID, message)


async def test_attributes_of_a_new_queue(sqs: Queues, clock: StillClock):
    await sqs.create()
    seconds = str(clock.time_ms() // 1000)
    found = await sqs.service.queues.attributes(an_address(), ["All"])
    assert list(found.items()) == [
        ("QueueArn", "arn:aws:sqs:us-east-1:000000000000:q"),
        ("ApproximateNumberOfMessages", "0"),
        ("ApproximateNumberOfMessagesNotVisible", "0"),
        ("ApproximateNumberOfMessagesDelayed", "0"),
        ("CreatedTimestamp", seconds),
        ("LastModifiedTimestamp", seconds),
        ("VisibilityTimeout", "30"),
        ("MaximumMessageSize", "1048576"),
        ("MessageRetentionPeriod", "345600"),
        ("DelaySeconds", "0"),
        ("ReceiveMessageWaitTimeSeconds", "0"),
        ("SqsManagedSseEnabled", "true"),
    ]


async def test_attributes_of_a_new_fifo_queue(sqs: Queues):
    await sqs.create("q.fifo")
    found = await sqs.service.queues.attributes(an_address("q.fifo"), ["All"])
    assert {name: found[name] for name in found if name in attributes._FIFO_ONLY} == {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "false",
        "DeduplicationScope": "queue",
        "FifoThroughputLimit": "perQueue",
    }


async def test_chosen_attributes(sqs: Queues):
    await sqs.create()
    names = ["DelaySeconds", "QueueArn", "Policy"]
    assert await sqs.service.queues.attributes(an_address(), names) == {
        "QueueArn": an_address().arn,
        "DelaySeconds": "0",
    }
    assert await sqs.service.queues.attributes(an_address(), []) == {}
    with pytest.raises(ServiceError) as refused:
        await sqs.service.queues.attributes(an_address(), ["Nonsense"])
    assert (refused.value.code, refused.value.message) == ("InvalidAttributeName", "Unknown Attribute Nonsense.")


async def test_creating_again_with_the_same_attributes_is_no_error(sqs: Queues):
    await sqs.create(DelaySeconds=5)
    await sqs.send("a", delay_s=0)
    await sqs.create(DelaySeconds=5)
    await sqs.create()
    assert await sqs.bodies() == ["a"]


async def test_creating_again_with_other_attributes(sqs: Queues):
    await sqs.create()
    with pytest.raises(ServiceError) as refused:
        await sqs.create(VisibilityTimeout=30, DelaySeconds=5)
    assert refused.value.code == "QueueNameExists"
    assert refused.value.message == (
        "A queue already exists with the same name and a different value for attribute DelaySeconds"
    )


async def test_the_name_of_a_deleted_queue_is_blocked_for_a_minute(sqs: Queues, clock: StillClock):
    await sqs.create()
    await sqs.send("a")
    await sqs.service.queues.delete(an_address())
    clock.advance(59.9)
    with pytest.raises(ServiceError) as refused:
        await sqs.create()
    assert refused.value.code == "QueueDeletedRecently"
    clock.advance(0.1)
    await sqs.create()
    assert await sqs.bodies() == []
    assert await sqs.counts() == (0, 0, 0)


async def test_how_long_a_name_is_blocked_can_be_set(sqs: Queues, clock: StillClock):
    service = SqsService(sqs.engine, clock, name_blocked_s=0)
    await sqs.create()
    await service.queues.delete(an_address())
    await service.queues.create(an_address(), {}, {})


async def test_queues_of_accounts_and_regions_are_apart(sqs: Queues):
    await sqs.create()
    for address in (QueueAddress("111111111111", REGION, "q"), QueueAddress(ACCOUNT, "eu-west-1", "q")):
        with pytest.raises(ServiceError, match="does not exist"):
            await sqs.service.queues.find(address)
    assert await sqs.service.queues.listing("111111111111", REGION) == ([], None)


async def test_listing_by_prefix_and_page(sqs: Queues):
    for name in ("b1", "a1", "a2", "a3", "A", "a_"):
        await sqs.create(name)
    listing = sqs.service.queues.listing

    async def names(**options: Any) -> tuple[list[str], str | None]:
        found, token = await listing(ACCOUNT, REGION, **options)
        return [address.name for address in found], token

    assert await names() == (["A", "a1", "a2", "a3", "a_", "b1"], None)
    assert await names(prefix="a_") == (["a_"], None)
    first, token = await names(prefix="a", limit=2)
    assert first == ["a1", "a2"]
    second, token = await names(prefix="a", limit=2, token=token)
    assert (second, token) == (["a3", "a_"], None)
    for options in ({"limit": 0}, {"limit": 1001}, {"limit": 1, "token": "nonsense"}, {"token": "YQ=="}):
        with pytest.raises(ServiceError):
            await names(**options)


CHANGES: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"VisibilityTimeout": "43200"}, {"VisibilityTimeout": "43200"}),
    ({"DelaySeconds": "900", "MaximumMessageSize": "1024"}, {"DelaySeconds": "900", "MaximumMessageSize": "1024"}),
    ({"Policy": '{"Version":"2012-10-17"}'}, {"Policy": '{"Version":"2012-10-17"}'}),
    ({"KmsMasterKeyId": "alias/x"},
     {"KmsMasterKeyId": "alias/x", "KmsDataKeyReusePeriodSeconds": "300", "SqsManagedSseEnabled": "false"}),
    ({"SqsManagedSseEnabled": "false"}, {"SqsManagedSseEnabled": "false"}),
    ({"RedriveAllowPolicy": '{ "redrivePermission" : "allowAll" }'},
     {"RedriveAllowPolicy": '{"redrivePermission":"allowAll"}'}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), CHANGES)
async def test_setting_attributes(sqs: Queues, clock: StillClock, given: dict[str, str], expected: dict[str, str]):
    await sqs.create()
    before = await sqs.service.queues.attributes(an_address(), ["All"])
    clock.advance(100)
    await sqs.service.queues.set_attributes(an_address(), given)
    after = await sqs.service.queues.attributes(an_address(), ["All"])
    assert after.pop("LastModifiedTimestamp") == str(int(before.pop("LastModifiedTimestamp")) + 100)
    assert after == {**before, **expected}


async def test_empty_texts_take_attributes_away(sqs: Queues):
    await sqs.create("dead")
    redrive = json.dumps({"deadLetterTargetArn": an_address("dead").arn, "maxReceiveCount": "5"})
    given = {"Policy": "{}", "RedrivePolicy": redrive, "RedriveAllowPolicy": "{}", "KmsMasterKeyId": "k"}
    await sqs.create(**given)
    found = await sqs.service.queues.attributes(an_address(), ["All"])
    assert found["RedrivePolicy"] == f'{{"deadLetterTargetArn":"{an_address("dead").arn}","maxReceiveCount":5}}'
    await sqs.service.queues.set_attributes(an_address(), dict.fromkeys(given, ""))
    assert not set(given) & set(await sqs.service.queues.attributes(an_address(), ["All"]))


NUMBERS = {
    "VisibilityTimeout": (0, 43_200),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "DelaySeconds": (0, 900),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_bounds_of_numbers(name: str):
    low, high = NUMBERS[name]
    for value in (low, high):
        attributes.apply(QueueSettings(), {name: str(value)})
    for wrong in (str(low - 1), str(high + 1), "", "x", "1.5"):
        with pytest.raises(ServiceError) as refused:
            attributes.apply(QueueSettings(), {name: wrong})
        assert refused.value.code == "InvalidAttributeValue"
        assert refused.value.message == f"Invalid value for the parameter {name}."


REFUSED: list[tuple[dict[str, str], bool, str, str]] = [
    ({"Nonsense": "1"}, False, "InvalidAttributeName", "Unknown Attribute Nonsense."),
    ({"QueueArn": "x"}, False, "InvalidAttributeName", "Unknown Attribute QueueArn."),
    ({"All": "x"}, False, "InvalidAttributeName", "Unknown Attribute All."),
    ({"FifoQueue": "false"}, False, "InvalidAttributeName", "Unknown Attribute FifoQueue."),
    ({"ContentBasedDeduplication": "true"}, False, "InvalidAttributeName",
     "Unknown Attribute ContentBasedDeduplication."),
    ({"FifoQueue": "false"}, True, "InvalidAttributeValue",
     "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."),
    ({"ContentBasedDeduplication": "maybe"}, True, "InvalidAttributeValue",
     "Invalid value for the parameter ContentBasedDeduplication."),
    ({"DeduplicationScope": "group"}, True, "InvalidAttributeValue",
     "Invalid value for the parameter DeduplicationScope."),
    ({"FifoThroughputLimit": "perMessageGroupId"}, True, "InvalidAttributeValue",
     "Invalid value for the parameter FifoThroughputLimit. Reason: The perMessageGroupId value is allowed only when "
     "the value for DeduplicationScope is messageGroup."),
    ({"Policy": "nonsense"}, False, "InvalidAttributeValue", "Invalid value for the parameter Policy."),
    ({"Policy": "[" * 100_000}, False, "InvalidAttributeValue", "Invalid value for the parameter Policy."),
    ({"Policy": '{"a":"\ud800"}'}, False, "InvalidAttributeValue", "Invalid value for the parameter Policy."),
    ({"SqsManagedSseEnabled": "1"}, False, "InvalidAttributeValue",
     "Invalid value for the parameter SqsManagedSseEnabled."),
]  # fmt: skip


@pytest.mark.parametrize(("given", "is_fifo", "code", "message"), REFUSED)
def test_attributes_that_are_refused(given: dict[str, str], is_fifo: bool, code: str, message: str):
    with pytest.raises(ServiceError) as refused:
        attributes.apply(QueueSettings(is_fifo=is_fifo), given)
    assert (refused.value.code, refused.value.message) == (code, message)


@pytest.mark.parametrize(
    "text",
    ["x", "[]", '{"redrivePermission":"some"}', '{"redrivePermission":"byQueue"}', '{"sourceQueueArns":["x"]}',
     '{"redrivePermission":"denyAll","sourceQueueArns":["arn:aws:sqs:r:0:q"]}',
     json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": ["arn:aws:sqs:r:0:q"] * 11})],
)  # fmt: skip
def test_allow_policies_that_are_refused(text: str):
    with pytest.raises(ServiceError) as refused:
        attributes.apply(QueueSettings(), {"RedriveAllowPolicy": text})
    assert refused.value.code == INVALID


async def test_every_attribute_can_be_set_and_is_shown(sqs: Queues):
    settings = QueueSettings(is_fifo=True, kms_key="k", managed_sse=False, policy="{}")
    await sqs.create("q.fifo")
    queue = await sqs.service.queues.find(an_address("q.fifo"))
    shown = attributes.render(queue, QueueCounts(), ["All"])
    assert set(shown) | {"Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId",
                         "KmsDataKeyReusePeriodSeconds"} == set(attributes.NAMES)  # fmt: skip
    assert set(attributes._texts(settings)) >= {"KmsDataKeyReusePeriodSeconds", "Policy"}


async def test_tags(sqs: Queues):
    control = sqs.service.queues
    await control.create(an_address(), {}, {"a": "1"})
    await control.tag(an_address(), {"b": "2", "a": "3"})
    assert (await control.find(an_address())).tags == {"a": "3", "b": "2"}
    await control.untag(an_address(), ["a", "none"])
    assert (await control.find(an_address())).tags == {"b": "2"}
    with pytest.raises(ServiceError, match="Too many tags added for queue q"):
        await control.tag(an_address(), {str(number): "" for number in range(50)})
    for tags in ({"": "x"}, {"k" * 129: "x"}, {"k": "v" * 257}, {"k": "\ud800"}):
        with pytest.raises(ServiceError):
            await control.tag(an_address(), tags)


async def test_purging_takes_every_message_and_once_a_minute(sqs: Queues, clock: StillClock):
    await sqs.create()
    for _ in range(3):
        await sqs.send("a")
    await sqs.receive(limit=1)
    await sqs.service.queues.purge(an_address())
    assert await sqs.counts() == (0, 0, 0)
    await sqs.send("after")
    clock.advance(59)
    with pytest.raises(ServiceError) as refused:
        await sqs.service.queues.purge(an_address())
    assert refused.value.code == "PurgeQueueInProgress"
    assert refused.value.message == "Only one PurgeQueue operation on q is allowed every 60 seconds."
    assert await sqs.bodies() == ["after"]
    clock.advance(1)
    await sqs.service.queues.purge(an_address())


async def test_permissions_become_statements(sqs: Queues):
    control = sqs.service.queues
    await sqs.create()
    await control.add_permission(an_address(), "one", ["111111111111"], ["SendMessage"])
    await control.add_permission(an_address(), "two", ["111111111111", "222222222222"], ["*", "PurgeQueue"])
    text = (await control.attributes(an_address(), ["Policy"]))["Policy"]
    assert json.loads(text) == {
        "Version": "2008-10-17",
        "Id": "arn:aws:sqs:us-east-1:000000000000:q/SQSDefaultPolicy",
        "Statement": [
            {"Sid": "one", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
             "Action": "SQS:SendMessage", "Resource": an_address().arn},
            {"Sid": "two", "Effect": "Allow",
             "Principal": {"AWS": ["arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:root"]},
             "Action": ["SQS:*", "SQS:PurgeQueue"], "Resource": an_address().arn},
        ],
    }  # fmt: skip
    for label in ("one", "two"):
        await control.remove_permission(an_address(), label)
    assert await control.attributes(an_address(), ["Policy"]) == {}
    with pytest.raises(ServiceError, match="can't find label"):
        await control.remove_permission(an_address(), "one")


PERMISSIONS = [
    (("l", ["111111111111"], ["DeleteQueue"]), INVALID, "Value SQS:DeleteQueue for parameter ActionName is invalid. "
     "Reason: Only the queue owner is allowed to invoke this action."),
    (("l", ["111111111111"], ["Nonsense"]), INVALID, "Value SQS:Nonsense for parameter ActionName is invalid. "
     "Reason: Please refer to the appropriate WSDL for a list of valid actions."),
    (("l", ["x"], ["*"]), INVALID, 'Value "[x]" for parameter PrincipalId is invalid. Reason: Unable to verify.'),
    (("l l", ["111111111111"], ["*"]), INVALID, f"Value l l for parameter Label is invalid. Reason: {STANDARD_NAME}"),
    (("l", [], ["*"]), "MissingRequiredParameterException", "The request must contain the parameter PrincipalId."),
    (("l", ["1"], []), "MissingRequiredParameterException", "The request must contain the parameter Actions."),
    (("taken", ["111111111111"], ["*"]), INVALID, "Value taken for parameter Label is invalid. "
     "Reason: Already exists."),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), PERMISSIONS)
async def test_permissions_that_are_refused(sqs: Queues, arguments: Any, code: str, message: str):
    await sqs.create()
    await sqs.service.queues.add_permission(an_address(), "taken", ["111111111111"], ["*"])
    with pytest.raises(ServiceError) as refused:
        await sqs.service.queues.add_permission(an_address(), *arguments)
    assert (refused.value.code, refused.value.message) == (code, message)


def a_policy(**statement: Any) -> str:
    return json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", **statement}})


ALLOWS = [
    ("", False),
    ("{}", False),
    ('{"Statement":["x",1]}', False),
    (a_policy(), True),
    (a_policy(Principal={"AWS": "*"}), True),
    (a_policy(Principal={"AWS": ["222222222222", "111111111111"]}), True),
    (a_policy(Principal={"AWS": "arn:aws:iam::111111111111:root"}), True),
    (a_policy(Principal={"AWS": "222222222222"}), False),
    (a_policy(Principal={"Service": "sns.amazonaws.com"}), False),
    (a_policy(Action=["SQS:SendMessage"]), True),
    (a_policy(Action="sqs:Send*"), True),
    (a_policy(Action="sqs:Receive*"), False),
    (a_policy(Action=None, Principal=None), False),
    (a_policy(Condition={"ArnEquals": {"aws:SourceArn": "x"}}), False),
    (json.dumps({"Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "*"},
        {"Effect": "Deny", "Principal": {"AWS": "111111111111"}, "Action": "sqs:SendMessage"},
    ]}), False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "allowed"), ALLOWS)
def test_what_a_policy_lets_another_account_do(text: str, allowed: bool):
    assert policy.allows(text, "111111111111", "SendMessage") is allowed


async def test_another_account_may_not_change_a_queue(sqs: Queues):
    await sqs.create(Policy=a_policy(Action="sqs:GetQueueAttributes"))
    control, other = sqs.service.queues, a_caller("111111111111")
    assert await control.attributes(an_address(), ["DelaySeconds"], other) == {"DelaySeconds": "0"}
    calls = [
        control.set_attributes(an_address(), {"DelaySeconds": "1"}, other),
        control.tag(an_address(), {"a": "b"}, other),
        control.purge(an_address(), other),
        control.delete(an_address(), other),
        control.find(an_address(), other),
    ]
    for call in calls:
        with pytest.raises(ServiceError) as refused:
            await call
        assert refused.value.code == "AccessDeniedException"


# --- what is removed behind queues ---


async def rows(sqs: Queues) -> dict[str, int]:
    tables = ("queue_message", "queue_message_content", "queue_group", "queue_deduplication", "queue_bucket")
    return {table: (await sqs.engine.read(f"SELECT COUNT(*) FROM {table}"))[0][0] for table in tables}


async def tidy(sqs: Queues) -> float:
    """Steps of the loop until it has nothing more to do; the pause that it wants then."""
    while (pause := await sqs.service.upkeep.run_once()) is None or pause < 0.1:
        pass
    return pause


async def test_messages_of_purged_and_deleted_queues_are_removed(sqs: Queues):
    await sqs.create()
    await sqs.create("q.fifo", ContentBasedDeduplication="true")
    for number in range(12):
        await sqs.send(str(number))
        await sqs.send(str(number), "q.fifo", group_id=str(number))
    await sqs.receive("q.fifo", attempt_id="a")
    await sqs.service.queues.purge(an_address())
    await sqs.service.queues.delete(an_address("q.fifo"))
    await sqs.send("kept")
    await tidy(sqs)
    assert await rows(sqs) == {
        "queue_message": 1, "queue_message_content": 1, "queue_group": 0, "queue_deduplication": 0, "queue_bucket": 1,
    }  # fmt: skip
    assert await sqs.engine.read("SELECT 1 FROM queue_receive_attempt") == []
    assert await sqs.bodies() == ["kept"]


async def test_expired_messages_and_ids_are_removed_when_their_time_has_come(sqs: Queues, clock: StillClock):
    await sqs.create("q.fifo", ContentBasedDeduplication="true", MessageRetentionPeriod=90)
    await sqs.send("a", "q.fifo", group_id="g")
    await sqs.receive("q.fifo", attempt_id="a")
    assert await tidy(sqs) == 60
    clock.advance(40)
    assert await tidy(sqs) == pytest.approx(50, abs=0.01)
    clock.advance(50)
    await tidy(sqs)
    assert (await rows(sqs))["queue_message"] == 0
    assert (await rows(sqs))["queue_group"] == 0
    assert (await rows(sqs))["queue_deduplication"] == 1
    clock.advance(210)
    await tidy(sqs)
    assert (await rows(sqs))["queue_deduplication"] == 0
    assert await sqs.engine.read("SELECT 1 FROM queue_receive_attempt") == []


async def test_reset_removes_everything_and_frees_names(sqs: Queues):
    await sqs.create()
    await sqs.send("a")
    await sqs.service.queues.delete(an_address())
    await sqs.create("other")
    await sqs.send("b", "other")
    await sqs.service.reset()
    assert await sqs.service.queues.listing(ACCOUNT, REGION) == ([], None)
    await sqs.create()
    await sqs.create("other")
    assert await sqs.bodies("other") == []
    await tidy(sqs)
    assert (await rows(sqs))["queue_message"] == 0
