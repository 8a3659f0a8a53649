"""Topics themselves: creation, attributes, tags, permissions."""

from __future__ import annotations

import json

import pytest

from lambdad.domain.errors import ServiceError
from tests.neighbours.sns.conftest import Topics, a_topic
from tests.neighbours.sqs.conftest import a_caller

POLICY = '{"Version":"2012-10-17","Statement":[]}'


async def test_creating_again_gives_the_same_topic(sns: Topics):
    await sns.create(DisplayName="d")
    await sns.create()
    await sns.create(DisplayName="d")
    assert (await sns.service.topics.listing("000000000000", "us-east-1"))[0] == [a_topic()]


REFUSED = [
    ("t", {"DisplayName": "other"}, "Attributes Reason: Topic already exists with different attributes"),
    ("t!", {}, "Topic Name"),
    ("", {}, "Topic Name"),
    ("x" * 257, {}, "Topic Name"),
    ("t.fifo", {}, "Topic Name"),
    ("n", {"FifoTopic": "true"},
     "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, numbers, "
     "underscores, and hyphens, and must be between 1 and 256 characters long."),
    ("n", {"Nonsense": "x"}, "Attributes Reason: AttributeName"),
    ("n", {"Policy": "x"}, "Attributes Reason: Policy Error: null"),
    ("n", {"DisplayName": "x" * 101}, "Attributes Reason: DisplayName"),
    ("n", {"SignatureVersion": "3"}, "Attributes Reason: SignatureVersion Reason: must be one of 1, 2"),
    ("n", {"MaximumMessageSize": "1023"},
     "Attributes Reason: MaximumMessageSize Reason: must be between 1024 and 1048576"),
    ("n", {"DeliveryPolicy": "x"}, "Attributes Reason: DeliveryPolicy: failed to parse JSON."),
    ("n", {"ContentBasedDeduplication": "true"},
     "Attributes Reason: ContentBasedDeduplication is only supported for FIFO topics"),
    ("n.fifo", {"FifoTopic": "true", "ArchivePolicy": '{"MessageRetentionPeriod":"1"}'},
     "Attributes Reason: ArchivePolicy Reason: lambdad keeps no archive of published messages"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "attributes", "reason"), REFUSED)
async def test_what_a_topic_cannot_be(sns: Topics, name: str, attributes: dict[str, str], reason: str):
    await sns.create(DisplayName="d")
    with pytest.raises(ServiceError) as refused:
        await sns.service.topics.create(a_topic(name), attributes)
    assert (refused.value.code, refused.value.message) == ("InvalidParameterException", f"Invalid parameter: {reason}")


async def test_the_attributes_of_a_new_topic(sns: Topics):
    await sns.create()
    attributes = await sns.service.topics.attributes(a_topic())
    policy = json.loads(attributes.pop("Policy"))
    assert policy["Statement"][0]["Condition"] == {"StringEquals": {"AWS:SourceOwner": "000000000000"}}
    assert json.loads(attributes.pop("EffectiveDeliveryPolicy"))["http"]["defaultHealthyRetryPolicy"]["numRetries"] == 3
    assert attributes == {
        "TopicArn": "arn:aws:sns:us-east-1:000000000000:t", "Owner": "000000000000", "DisplayName": "",
        "SubscriptionsConfirmed": "0", "SubscriptionsPending": "0", "SubscriptionsDeleted": "0",
    }  # fmt: skip


async def test_a_fifo_topic_says_so(sns: Topics):
    await sns.create("t.fifo", ContentBasedDeduplication="true")
    attributes = await sns.service.topics.attributes(a_topic("t.fifo"))
    assert (attributes["FifoTopic"], attributes["ContentBasedDeduplication"]) == ("true", "true")


async def test_subscriptions_are_counted_by_state(sns: Topics):
    await sns.create()
    gone = await sns.subscribe()
    await sns.service.subscriptions.unsubscribe(gone.arn)
    await sns.subscribe()
    await sns.subscribe("http://example.com/", protocol="http")
    attributes = await sns.service.topics.attributes(a_topic())
    assert [attributes[f"Subscriptions{state}"] for state in ("Confirmed", "Pending", "Deleted")] == ["1", "1", "1"]


async def test_an_attribute_is_set_and_taken_away(sns: Topics):
    await sns.create()
    await sns.service.topics.set_attribute(a_topic(), "Policy", POLICY)
    assert (await sns.service.topics.attributes(a_topic()))["Policy"] == POLICY
    await sns.service.topics.set_attribute(a_topic(), "Policy", "")
    assert (await sns.service.topics.attributes(a_topic()))["Policy"] != POLICY


async def test_an_unknown_attribute_is_refused_in_short(sns: Topics):
    await sns.create()
    with pytest.raises(ServiceError) as refused:
        await sns.service.topics.set_attribute(a_topic(), "FifoTopic", "true")
    assert refused.value.message == "Invalid parameter: AttributeName"


async def test_deleting_takes_the_subscriptions_along(sns: Topics):
    await sns.create()
    await sns.subscribe()
    await sns.service.topics.delete(a_topic())
    await sns.service.topics.delete(a_topic())
    assert (await sns.service.subscriptions.listing("000000000000", "us-east-1"))[0] == []
    await sns.create()
    await sns.publish()
    assert await sns.bodies() == []


async def test_tags(sns: Topics):
    await sns.create()
    await sns.service.topics.tag(a_topic(), [("a", "1"), ("b", "2")])
    await sns.service.topics.tag(a_topic(), [("a", "3")])
    await sns.service.topics.untag(a_topic(), ["b", "c"])
    assert await sns.service.topics.tags(a_topic()) == {"a": "3"}
    await sns.service.topics.create(a_topic(), {}, [("a", "3")])


TAG_REFUSALS = [
    ([("a", "1"), ("a", "2")], "InvalidParameterException", "Invalid parameter: Duplicated keys are not allowed."),
    ([(str(n), "") for n in range(51)], "TagLimitExceededException",
     "Could not complete request: tag quota of per resource exceeded"),
]  # fmt: skip


@pytest.mark.parametrize(("tags", "code", "message"), TAG_REFUSALS)
async def test_tags_that_cannot_be(sns: Topics, tags: list[tuple[str, str]], code: str, message: str):
    await sns.create()
    with pytest.raises(ServiceError) as refused:
        await sns.service.topics.tag(a_topic(), tags)
    assert (refused.value.code, refused.value.message) == (code, message)


async def test_other_tags_make_another_topic(sns: Topics):
    await sns.service.topics.create(a_topic(), {}, [("a", "1")])
    with pytest.raises(ServiceError, match="Tags Reason: Topic already exists with different tags"):
        await sns.service.topics.create(a_topic(), {}, [("a", "2")])


async def test_another_account_is_let_in_by_a_statement(sns: Topics):
    await sns.create()
    other = a_caller("111111111111")
    with pytest.raises(ServiceError) as refused:
        await sns.service.topics.attributes(a_topic(), other)
    assert refused.value.code == "AuthorizationErrorException"
    await sns.service.topics.add_permission(a_topic(), "l", ["111111111111"], ["GetTopicAttributes"])
    await sns.service.topics.attributes(a_topic(), other)
    with pytest.raises(ServiceError):
        await sns.service.topics.delete(a_topic(), other)
    await sns.service.topics.remove_permission(a_topic(), "l")
    with pytest.raises(ServiceError):
        await sns.service.topics.attributes(a_topic(), other)


PERMISSION_REFUSALS = [
    ("taken", ["111111111111"], ["Publish"], "Statement already exists"),
    ("l", ["111111111111"], ["Fly"], "Policy statement action out of service scope!"),
    ("l", ["x"], ["Publish"], "Policy Error: PrincipalNotFound"),
]


@pytest.mark.parametrize(("label", "accounts", "actions", "reason"), PERMISSION_REFUSALS)
async def test_permissions_that_cannot_be(
    sns: Topics, label: str, accounts: list[str], actions: list[str], reason: str
):
    await sns.create()
    await sns.service.topics.add_permission(a_topic(), "taken", ["111111111111"], ["Publish"])
    with pytest.raises(ServiceError) as refused:
        await sns.service.topics.add_permission(a_topic(), label, accounts, actions)
    assert refused.value.message == f"Invalid parameter: {reason}"


async def test_pages_of_topics(sns: Topics):
    for number in range(101):
        await sns.create(f"t{number:03}")
    first, after = await sns.service.topics.listing("000000000000", "us-east-1")
    assert after is not None
    second, end = await sns.service.topics.listing("000000000000", "us-east-1", after)
    assert [address.name for address in first + second] == [f"t{number:03}" for number in range(101)]
    assert (len(first), end) == (100, None)
