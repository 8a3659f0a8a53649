"""Subscriptions: who is confirmed at once, who is asked, attributes and what they cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdad.domain.errors import ServiceError
from tests.neighbours.sns.conftest import BASE_URL, Topics, a_topic
from tests.neighbours.sqs.conftest import StillClock, a_caller

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
SITE = "http://example.com/a?b=c"


async def refusal(call: Any) -> str:
    with pytest.raises(ServiceError) as refused:
        await call
    return refused.value.message


async def test_the_attributes_of_a_subscription(sns: Topics):
    await sns.create()
    found = await sns.subscribe()
    assert await sns.service.subscriptions.attributes(found.arn) == {
        "SubscriptionArn": found.arn, "TopicArn": a_topic().arn, "Protocol": "sqs", "Endpoint": QUEUE,
        "Owner": "000000000000", "SubscriptionPrincipal": "arn:aws:iam::000000000000:root",
        "ConfirmationWasAuthenticated": "true", "PendingConfirmation": "false", "RawMessageDelivery": "false",
    }  # fmt: skip


async def test_subscribing_again_gives_the_same_subscription(sns: Topics):
    await sns.create()
    first = await sns.subscribe(RawMessageDelivery="true")
    assert (await sns.subscribe()).arn == first.arn
    assert (await sns.subscribe(RawMessageDelivery="true")).arn == first.arn
    message = await refusal(sns.subscribe(RawMessageDelivery="false"))
    assert message == "Invalid parameter: Attributes Reason: Subscription already exists with different attributes"


REFUSED: list[tuple[str, str, str, dict[str, Any], str]] = [
    ("t", "smoke", "x", {}, "Amazon SNS does not support this protocol string: smoke"),
    ("t", "sqs", "q", {}, "SQS endpoint ARN"),
    ("t", "sqs", "", {}, "Endpoint Reason: no value for required parameter"),
    ("t", "lambda", "f", {}, "Lambda endpoint ARN"),
    ("t", "http", "https://example.com", {}, "Endpoint must match the specified protocol"),
    ("t", "http", "http://", {}, "Endpoint Reason: not a URL"),
    ("t", "http", "http://a b/", {}, "Endpoint Reason: not a URL"),
    ("t", "http", "http://a:b/", {}, "Endpoint Reason: not a URL"),
    ("t", "sms", "call me", {}, "Invalid SMS endpoint: call me"),
    ("t", "sqs", f"{QUEUE}.fifo", {},
     "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"),
    ("f.fifo", "lambda", FUNCTION, {}, "Invalid parameter: Endpoint Reason: Please use FIFO SQS queue"),
    ("t", "sqs", QUEUE, {"Nonsense": "x"}, "Attributes Reason: AttributeName"),
    ("t", "sqs", QUEUE, {"RawMessageDelivery": "maybe"},
     "Attributes Reason: RawMessageDelivery: Invalid value [maybe]. Must be true or false."),
    ("t", "lambda", FUNCTION, {"RawMessageDelivery": "true"},
     "Attributes Reason: Delivery protocol [lambda] does not support raw message delivery."),
    ("t", "sqs", QUEUE, {"FilterPolicy": "x"}, "Attributes Reason: FilterPolicy: failed to parse JSON."),
    ("t", "sqs", QUEUE, {"FilterPolicy": {"a": "x"}},
     'Attributes Reason: FilterPolicy: "a" must be an object or an array'),
    ("t", "sqs", QUEUE, {"FilterPolicyScope": "Everything"},
     "Attributes Reason: FilterPolicyScope: Invalid value [Everything]. Please use either MessageBody or "
     "MessageAttributes"),
    ("t", "sqs", QUEUE, {"RedrivePolicy": "x"}, "Attributes Reason: RedrivePolicy: failed to parse JSON."),
    ("t", "sqs", QUEUE, {"RedrivePolicy": {"deadLetterTargetArn": "x"}},
     "Attributes Reason: RedrivePolicy: deadLetterTargetArn is an invalid arn"),
    ("f.fifo", "sqs", f"{QUEUE}.fifo", {"RedrivePolicy": {"deadLetterTargetArn": QUEUE}},
     "Attributes Reason: RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."),
    ("t", "sqs", QUEUE, {"DeliveryPolicy": "{}"},
     "Attributes Reason: DeliveryPolicy: Delivery protocol [sqs] does not support delivery policies."),
    ("t", "sqs", QUEUE, {"ReplayPolicy": '{"a":1}'},
     "Attributes Reason: ReplayPolicy: lambdad keeps no archive of published messages"),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "protocol", "endpoint", "attributes", "reason"), REFUSED)
async def test_what_a_subscription_cannot_be(
    sns: Topics, topic: str, protocol: str, endpoint: str, attributes: dict[str, Any], reason: str
):
    await sns.create(topic)
    assert await refusal(sns.subscribe(endpoint, topic, protocol, **attributes)) == f"Invalid parameter: {reason}"


async def test_a_topic_must_exist(sns: Topics):
    assert await refusal(sns.subscribe()) == "Topic does not exist"


async def test_an_attribute_is_set_and_taken_away(sns: Topics):
    await sns.create()
    arn, control = (await sns.subscribe()).arn, sns.service.subscriptions
    await control.set_attribute(arn, "FilterPolicy", '{"a":["x"]}')
    attributes = await control.attributes(arn)
    assert (attributes["FilterPolicy"], attributes["FilterPolicyScope"]) == ('{"a":["x"]}', "MessageAttributes")
    await control.set_attribute(arn, "FilterPolicy", "{}")
    assert "FilterPolicy" not in await control.attributes(arn)
    assert await refusal(control.set_attribute(arn, "Nonsense", "x")) == "Invalid parameter: AttributeName"


async def test_the_scope_must_fit_the_policy(sns: Topics):
    await sns.create()
    arn = (await sns.subscribe(FilterPolicy={"a": {"b": ["x"]}}, FilterPolicyScope="MessageBody")).arn
    message = await refusal(sns.service.subscriptions.set_attribute(arn, "FilterPolicyScope", "MessageAttributes"))
    assert message == (
        "Invalid parameter: FilterPolicyScope: Filter policy scope MessageAttributes does not support nested filter "
        "policy"
    )


ARNS = [
    ("x", "Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements, not 1"),
    ("arn:aws:sns:us-east-1:000000000000:t:x", "Invalid parameter: SubscriptionId"),
    ("arn:aws:sns:us-east-1:000000000000:t:00000000-0000-0000-0000-000000000000", "Subscription does not exist"),
]


@pytest.mark.parametrize(("arn", "message"), ARNS)
async def test_subscriptions_that_are_not_there(sns: Topics, arn: str, message: str):
    await sns.create()
    assert await refusal(sns.service.subscriptions.attributes(arn)) == message
    assert await refusal(sns.service.subscriptions.set_attribute(arn, "RawMessageDelivery", "true")) == message


async def test_unsubscribing_twice_is_fine(sns: Topics):
    await sns.create()
    arn = (await sns.subscribe()).arn
    for _ in range(2):
        await sns.service.subscriptions.unsubscribe(arn)
    await sns.publish()
    assert await sns.bodies() == []


async def test_others_may_not_touch_a_subscription(sns: Topics):
    await sns.create()
    arn, other = (await sns.subscribe()).arn, a_caller("111111111111")
    for call in (
        sns.service.subscriptions.attributes(arn, other),
        sns.service.subscriptions.unsubscribe(arn, other),
        sns.service.subscriptions.set_attribute(arn, "RawMessageDelivery", "true", other),
    ):
        assert (await refusal(call)).startswith("User: arn:aws:iam::111111111111:root is not authorized to perform")


# --- confirmation ---


async def test_an_endpoint_is_asked_and_confirms(sns: Topics):
    await sns.create()
    pending = await sns.subscribe(SITE, protocol="http")
    await sns.publish("before")
    await sns.service.posts.settle()
    ((url, headers, body),) = sns.endpoints.posts
    assert url == SITE
    document = json.loads(body)
    assert headers == {
        "x-amz-sns-message-type": "SubscriptionConfirmation", "x-amz-sns-message-id": document["MessageId"],
        "x-amz-sns-topic-arn": a_topic().arn, "Content-Type": "text/plain; charset=UTF-8",
    }  # fmt: skip
    assert list(document) == ["Type", "MessageId", "Token", "TopicArn", "Message", "SubscribeURL", "Timestamp",
                              "SignatureVersion", "Signature", "SigningCertURL"]  # fmt: skip
    assert document["SubscribeURL"].startswith(f"{BASE_URL}/_lambdad/sns?Action=ConfirmSubscription&TopicArn=arn%3A")
    confirmed = await sns.service.subscriptions.confirm(a_topic(), document["Token"], is_authenticated=False)
    assert confirmed.arn == pending.arn
    attributes = await sns.service.subscriptions.attributes(pending.arn)
    assert (attributes["PendingConfirmation"], attributes["ConfirmationWasAuthenticated"]) == ("false", "false")
    await sns.publish("after")
    await sns.service.posts.settle()
    assert json.loads(sns.endpoints.posts[1][2])["Message"] == "after"


async def test_confirming_twice_is_fine_and_a_wrong_token_is_not(sns: Topics):
    await sns.create()
    pending = await sns.subscribe(SITE, protocol="http")
    for _ in range(2):
        found = await sns.service.subscriptions.confirm(a_topic(), pending.token, is_authenticated=True)
        assert found.arn == pending.arn
    for token in ("", "x"):
        call = sns.service.subscriptions.confirm(a_topic(), token, is_authenticated=True)
        assert await refusal(call) == "Invalid parameter: Token"


async def test_a_token_is_valid_for_two_days(sns: Topics, clock: StillClock):
    await sns.create()
    pending = await sns.subscribe(SITE, protocol="http")
    clock.advance(172_800)
    call = sns.service.subscriptions.confirm(a_topic(), pending.token, is_authenticated=True)
    assert await refusal(call) == "Invalid parameter: Token"
    await sns.subscribe(SITE, protocol="http")
    await sns.service.subscriptions.confirm(a_topic(), pending.token, is_authenticated=True)


async def test_what_is_never_confirmed_is_removed(sns: Topics, clock: StillClock):
    await sns.create()
    await sns.subscribe(SITE, protocol="http")
    kept = await sns.subscribe()
    clock.advance(172_800)
    await sns.service.upkeep.run_once()
    found, _ = await sns.service.subscriptions.of_topic(a_topic())
    assert [each.arn for each in found] == [kept.arn]


async def test_a_protected_subscription_ends_by_a_signed_call_only(sns: Topics):
    await sns.create()
    pending = await sns.subscribe(SITE, protocol="http")
    control = sns.service.subscriptions
    await control.confirm(a_topic(), pending.token, is_authenticated=True, protects_deletion=True)
    await refusal(control.unsubscribe(pending.arn, is_authenticated=False))
    await control.unsubscribe(pending.arn, a_caller())
    assert (await control.of_topic(a_topic()))[0] == []


async def test_email_stays_pending(sns: Topics):
    await sns.create()
    assert not (await sns.subscribe("a@example.com", protocol="email")).is_confirmed


async def test_pages_of_subscriptions(sns: Topics):
    await sns.create()
    for number in range(101):
        await sns.subscribe(f"arn:aws:sqs:us-east-1:000000000000:q{number}")
    first, after = await sns.service.subscriptions.of_topic(a_topic())
    assert after is not None
    second, end = await sns.service.subscriptions.of_topic(a_topic(), after)
    assert (len(first), len(second), end) == (100, 1, None)
    assert len({each.endpoint for each in first + second}) == 101
