"""Delivery policies: the delays of each phase, what overrides what, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdad.domain.delivery_policies import DEFAULT, BadDeliveryPolicy, DeliveryPolicy, of_subscription, of_topic


def delays(policy: DeliveryPolicy) -> list[float]:
    found = []
    while (delay_s := policy.delay_s(len(found) + 1)) is not None:
        found.append(delay_s)
    return found


def a_policy(**members: Any) -> DeliveryPolicy:
    return of_subscription(json.dumps({"healthyRetryPolicy": members}))


def test_the_default_retries_three_times_every_20_seconds():
    assert delays(DEFAULT) == [20, 20, 20]
    assert DEFAULT.document() == {
        "http": {
            "defaultHealthyRetryPolicy": {
                "minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 3, "numMaxDelayRetries": 0,
                "numNoDelayRetries": 0, "numMinDelayRetries": 0, "backoffFunction": "linear",
            },
            "disableSubscriptionOverrides": False,
            "defaultRequestPolicy": {"headerContentType": "text/plain; charset=UTF-8"},
        }
    }  # fmt: skip


def test_phases_follow_each_other():
    policy = a_policy(numRetries=8, numNoDelayRetries=1, numMinDelayRetries=2, numMaxDelayRetries=2, minDelayTarget=1,
                      maxDelayTarget=21)  # fmt: skip
    assert delays(policy) == [0, 1, 1, 1, 11, 21, 21, 21]


@pytest.mark.parametrize("function", ["arithmetic", "exponential", "geometric", "linear"])
def test_back_off_grows_from_the_shortest_to_the_longest(function: str):
    found = delays(a_policy(numRetries=10, minDelayTarget=1, maxDelayTarget=100, backoffFunction=function))
    assert found == sorted(found)
    assert len(set(found)) == 10
    assert (found[0], found[-1]) == (1, pytest.approx(100))


def test_a_subscription_overrides_its_topic_unless_the_topic_says_no():
    topic = of_topic(
        '{"http":{"defaultHealthyRetryPolicy":{"numRetries":5},"defaultThrottlePolicy":{"maxReceivesPerSecond":7}}}'
    )
    own = '{"healthyRetryPolicy":{"numRetries":1}}'
    assert of_subscription("", topic) is topic
    assert of_subscription(own, topic).retries == 1
    assert of_subscription(own, topic).max_per_second == 7
    closed = of_topic('{"http":{"defaultHealthyRetryPolicy":{"numRetries":5},"disableSubscriptionOverrides":true}}')
    assert of_subscription(own, closed).retries == 5


def test_the_content_type_can_be_set():
    own = of_subscription('{"requestPolicy":{"headerContentType":"application/json"}}')
    assert own.content_type == "application/json"


REFUSED = [
    ("x", "failed to parse JSON."),
    ("[]", "DeliveryPolicy must be a JSON object"),
    ('{"healthyRetryPolicy":{"x":1}}', "Unexpected JSON member: x"),
    ('{"healthyRetryPolicy":{"numRetries":101}}', "numRetries must be less than or equal to 100"),
    ('{"healthyRetryPolicy":{"numRetries":-1}}', "numRetries must be a whole number"),
    ('{"healthyRetryPolicy":{"minDelayTarget":30}}', "maxDelayTarget must be greater than or equal to minDelayTarget"),
    ('{"healthyRetryPolicy":{"numNoDelayRetries":4}}',
     "numRetries must be at least the sum of the other numbers of retries"),
    ('{"healthyRetryPolicy":{"numRetries":2,"minDelayTarget":1801,"maxDelayTarget":1801}}',
     "All delays together must not exceed 3600 seconds"),
    ('{"healthyRetryPolicy":{"backoffFunction":"slow"}}',
     "backoffFunction must be one of arithmetic, exponential, geometric, linear"),
    ('{"throttlePolicy":{"maxReceivesPerSecond":0}}', "maxReceivesPerSecond must be greater than or equal to 1"),
    ('{"requestPolicy":{"headerContentType":"a\\nb"}}', "headerContentType is not a content type"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_a_policy_cannot_be(text: str, message: str):
    with pytest.raises(BadDeliveryPolicy) as refused:
        of_subscription(text)
    assert str(refused.value) == message
