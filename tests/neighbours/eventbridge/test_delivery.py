"""Events reach the targets of matching rules, as a whole or as the target wants them; what cannot arrive is kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from lambdad.domain.errors import ServiceError
from lambdad.domain.rules import BusAddress, BusEvent, BusSettings
from lambdad.domain.topics import TopicAddress
from lambdad.neighbours.eventbridge.targets import TargetBusy, TargetRefused
from lambdad.neighbours.logs.service import LogService
from lambdad.storage.engine import Transaction
from tests.neighbours.eventbridge.conftest import (
    ACCOUNT,
    DEAD_ARN,
    FUNCTION_ARN,
    QUEUE_ARN,
    REGION,
    TOPIC_ARN,
    Bridge,
    a_caller,
    an_entry,
)
from tests.neighbours.sqs.conftest import a_policy

BUS_ARN = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus"


async def test_an_event_as_it_arrives(bridge: Bridge):
    await bridge.queue()
    await bridge.rule("r", QUEUE_ARN, FUNCTION_ARN)
    moment = datetime(2026, 1, 31, 12, 0, 5, 999_000, tzinfo=UTC)
    (result,) = await bridge.put(an_entry({"a": "é"}, time=moment, resources=("arn:x",)))
    (message,) = await bridge.messages()
    assert message.body == (
        f'{{"version":"0","id":"{result.event_id}","detail-type":"order","source":"shop","account":"{ACCOUNT}",'
        f'"time":"2026-01-31T12:00:05Z","region":"{REGION}","resources":["arn:x"],"detail":{{"a":"\\u00e9"}}}}'
    )
    assert bridge.functions.delivered == [(FUNCTION_ARN, json.loads(message.body))]


async def test_a_topic_hands_on(bridge: Bridge):
    await bridge.queue()
    await bridge.queue("dead")
    topic = TopicAddress(ACCOUNT, REGION, "t")
    await bridge.sns.topics.create(topic, {"Policy": a_policy("events.amazonaws.com", "sns:Publish", topic.arn)})
    await bridge.sns.subscriptions.subscribe(topic, "sqs", QUEUE_ARN, {}, a_caller())
    await bridge.rule("r", TOPIC_ARN, {"Arn": f"{TOPIC_ARN}2", "DeadLetterConfig": {"Arn": DEAD_ARN}})
    (result,) = await bridge.put()
    (envelope,) = await bridge.bodies()
    assert envelope["TopicArn"] == TOPIC_ARN
    assert json.loads(envelope["Message"])["id"] == result.event_id
    (dead,) = await bridge.messages("dead")
    assert attributes_of(dead)["ERROR_CODE"] == "NO_RESOURCE"


async def test_only_matching_rules_that_are_enabled(bridge: Bridge):
    await bridge.queue()
    await bridge.rule("matching", QUEUE_ARN, pattern={"detail": {"n": [{"numeric": [">", 5]}]}})
    await bridge.rule("disabled", QUEUE_ARN)
    await bridge.service.rules.set_state(a_caller(), None, "disabled", "DISABLED")
    await bridge.put(an_entry({"n": 5}), an_entry({"n": 6}))
    assert [body["detail"] for body in await bridge.bodies()] == [{"n": 6}]


async def test_changed_rules_count_from_the_next_event(bridge: Bridge):
    for pattern in ({"source": ["x"]}, {"source": ["shop"]}, {"source": ["x"]}):
        await bridge.rule("r", FUNCTION_ARN, pattern=pattern)
        await bridge.put()
    assert len(bridge.functions.delivered) == 1
    await bridge.rule("r", pattern={"source": ["shop"]})
    await bridge.service.rules.remove_targets(a_caller(), None, "r", ["0"])
    await bridge.put()
    await bridge.service.rules.delete(a_caller(), None, "r")
    await bridge.put()
    await bridge.rule("other", FUNCTION_ARN)
    await bridge.put()
    assert len(bridge.functions.delivered) == 2


async def test_the_detail_keeps_its_numbers(bridge: Bridge):
    await bridge.queue()
    await bridge.rule("r", QUEUE_ARN)
    await bridge.put(an_entry(detail='{ "n" : 1.50E2,\n "text": "a  b" }'))
    (message,) = await bridge.messages()
    assert message.body.endswith('"detail":{"n":1.50E2,"text":"a  b"}}')


async def test_inputs(bridge: Bridge):
    transformer = {"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": '{"n": <n>, "rule": <aws.events.rule-name>}'}
    await bridge.rule(
        "r",
        {"Arn": FUNCTION_ARN, "Input": '{"constant": true}'},
        {"Arn": FUNCTION_ARN, "InputPath": "$.detail"},
        {"Arn": FUNCTION_ARN, "InputTransformer": transformer},
    )
    await bridge.put(an_entry({"n": 7}))
    assert [event for _, event in bridge.functions.delivered] == [{"constant": True}, {"n": 7}, {"n": 7, "rule": "r"}]


async def test_a_fifo_queue_gets_its_group(bridge: Bridge):
    await bridge.queue("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    await bridge.rule("r", {"Arn": f"{QUEUE_ARN}.fifo", "SqsParameters": {"MessageGroupId": "g"}})
    await bridge.put()
    (message,) = await bridge.messages("q.fifo")
    assert message.group_id == "g"


async def test_the_trace_goes_along(bridge: Bridge):
    await bridge.queue()
    await bridge.rule("r", QUEUE_ARN)
    await bridge.put(an_entry(trace="Root=1-2-3"))
    (message,) = await bridge.messages()
    assert message.trace_header == "Root=1-2-3"


async def test_a_log_group(bridge: Bridge):
    logs = LogService(bridge.engine, bridge.clock)
    await logs.groups.create(ACCOUNT, REGION, "/aws/events/g", tags={})
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group"
    await bridge.queue("dead")
    await bridge.rule("r", f"{arn}:/aws/events/g", f"{arn}:/aws/events/g:*", {
        "Arn": f"{arn}:/aws/events/none", "DeadLetterConfig": {"Arn": DEAD_ARN},
    })  # fmt: skip
    await bridge.put()
    page = await logs.events.filter(await logs.groups.find(ACCOUNT, REGION, "/aws/events/g"))
    assert [json.loads(event.message)["source"] for event in page.events] == ["shop", "shop"]
    (dead,) = await bridge.messages("dead")
    assert dead.attributes["ERROR_CODE"].string_value == "NO_RESOURCE"


# --- other buses ---


async def test_another_bus(bridge: Bridge):
    await bridge.service.buses.create(a_caller(), "other", BusSettings(), {})
    await bridge.rule("on", f"{BUS_ARN}/other", pattern={"source": ["shop"]})
    await bridge.rule("there", FUNCTION_ARN, bus="other")
    await bridge.put(an_entry(), an_entry(bus="other", detail={"n": 2}), an_entry(bus=f"{BUS_ARN}/other", source="x"))
    assert [event["source"] for _, event in bridge.functions.delivered] == ["shop", "shop", "x"]


async def test_a_circle_of_buses_ends(bridge: Bridge):
    await bridge.service.buses.create(a_caller(), "other", BusSettings(), {})
    await bridge.rule("on", f"{BUS_ARN}/other", FUNCTION_ARN)
    await bridge.rule("back", f"{BUS_ARN}/default", FUNCTION_ARN, bus="other")
    await bridge.put()
    assert len(bridge.functions.delivered) == 2


async def test_an_account_needs_leave(bridge: Bridge):
    other = a_caller("111111111111")
    arn = f"arn:aws:events:{REGION}:111111111111:event-bus/default"
    await bridge.rule("theirs", FUNCTION_ARN, caller=other)
    await bridge.rule("ours", arn)
    await bridge.put()
    with pytest.raises(ServiceError) as refused:
        await bridge.put(an_entry(bus=arn))
    assert refused.value.code == "AccessDeniedException"
    assert bridge.functions.delivered == []
    await bridge.service.buses.put_permission(
        other, None, statement_id="s", action="events:PutEvents", principal=ACCOUNT, condition=None, whole_policy=None
    )
    await bridge.put()
    await bridge.put(an_entry(bus=arn))
    assert len(bridge.functions.delivered) == 2


async def test_a_bus_that_does_not_exist_drops_events(bridge: Bridge):
    (result,) = await bridge.put(an_entry(bus="none"))
    assert result.event_id


# --- what cannot be delivered ---


def attributes_of(message: object) -> dict[str, str]:
    return {name: attribute.string_value for name, attribute in message.attributes.items()}  # type: ignore[attr-defined]


async def test_a_target_that_is_not_there(bridge: Bridge):
    await bridge.queue("dead")
    missing = FUNCTION_ARN.replace(":f", ":g")
    rule_arn = await bridge.rule(
        "r",
        {"Arn": missing, "DeadLetterConfig": {"Arn": DEAD_ARN}, "InputPath": "$.detail"},
        {"Arn": QUEUE_ARN, "DeadLetterConfig": {"Arn": DEAD_ARN}},
        {"Arn": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"},
        FUNCTION_ARN,
    )
    (result,) = await bridge.put()
    assert len(bridge.functions.delivered) == 1  # the others do not suffer
    first, second = await bridge.messages("dead")
    assert json.loads(first.body)["id"] == result.event_id  # the event, not the input
    assert attributes_of(first) == {
        "RULE_ARN": rule_arn,
        "TARGET_ARN": missing,
        "ERROR_CODE": "NO_RESOURCE",
        "ERROR_MESSAGE": f"Function not found: {missing}",
        "RETRY_ATTEMPTS": "0",
    }
    assert attributes_of(second)["ERROR_CODE"] == "NO_RESOURCE"


async def test_an_input_that_a_function_cannot_take(bridge: Bridge):
    await bridge.queue("dead")
    template = {"InputTemplate": '"one"\n"two"'}
    await bridge.rule("r", {"Arn": FUNCTION_ARN, "InputTransformer": template, "DeadLetterConfig": {"Arn": DEAD_ARN}})
    await bridge.put()
    (dead,) = await bridge.messages("dead")
    assert attributes_of(dead)["ERROR_CODE"] == "INVALID_JSON"


async def test_a_busy_target_is_tried_again(bridge: Bridge):
    await bridge.rule("r", {"Arn": FUNCTION_ARN, "Input": '"x"'})
    bridge.functions.error = TargetBusy("later")
    await bridge.put()
    redelivery = bridge.service.redelivery
    assert await redelivery.run_once() == 1.0
    bridge.clock.advance(1)
    assert await redelivery.run_once() == 2.0
    bridge.functions.error = None
    bridge.clock.advance(1.9)
    assert await redelivery.run_once() == pytest.approx(0.1)
    assert bridge.functions.delivered == []
    bridge.clock.advance(0.1)
    assert await redelivery.run_once() is None
    assert bridge.functions.delivered == [(FUNCTION_ARN, "x")]


@pytest.mark.parametrize(
    ("retry_policy", "condition", "retries"),
    [
        ({"MaximumRetryAttempts": 0}, "MaximumRetryAttempts", "0"),
        ({"MaximumRetryAttempts": 3}, "MaximumRetryAttempts", "3"),
        ({"MaximumEventAgeInSeconds": 60}, "MaximumEventAgeInSeconds", "5"),
    ],
)
async def test_a_retry_policy_ends(bridge: Bridge, retry_policy: dict[str, int], condition: str, retries: str):
    await bridge.queue("dead")
    await bridge.rule("r", {"Arn": FUNCTION_ARN, "RetryPolicy": retry_policy, "DeadLetterConfig": {"Arn": DEAD_ARN}})
    bridge.functions.error = TargetBusy("later")
    await bridge.put()
    while (pause_s := await bridge.service.redelivery.run_once()) is not None:
        bridge.clock.advance(pause_s)
    (dead,) = await bridge.messages("dead")
    attributes = attributes_of(dead)
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == condition
    assert attributes["RETRY_ATTEMPTS"] == retries
    assert attributes["ERROR_CODE"] == "THROTTLING"


async def test_targets_outside_of_the_server(bridge: Bridge):
    await bridge.queue("dead")
    await bridge.rule("r", {
        "Arn": f"{QUEUE_ARN}-remote", "InputPath": "$.detail", "DeadLetterConfig": {"Arn": DEAD_ARN},
    })  # fmt: skip
    bridge.remote.error = ConnectionError("down")
    await bridge.put()
    redelivery = bridge.service.redelivery
    assert await redelivery.run_once() == 1.0
    bridge.remote.error = None
    bridge.clock.advance(1)
    assert await redelivery.run_once() is None
    assert bridge.remote.sent == ['{"n":1}']
    bridge.remote.error = TargetRefused("NO_PERMISSIONS", "no")
    await bridge.put()
    assert await redelivery.run_once() is None
    (dead,) = await bridge.messages("dead")
    assert attributes_of(dead)["ERROR_CODE"] == "NO_PERMISSIONS"


# --- transactions ---


async def test_an_event_of_a_transaction_that_fails_never_was(bridge: Bridge):
    await bridge.queue()
    await bridge.rule("r", QUEUE_ARN)
    event = BusEvent(
        id="1", detail_type="t", source="lambda", account=ACCOUNT, time=bridge.clock.now(), region=REGION, detail="{}"
    )

    def job(tx: Transaction, *, fails: bool) -> object:
        delivered = bridge.service.put_in(tx, f"{BUS_ARN}/default", event)
        if fails:
            raise RuntimeError("undo")
        return delivered

    with pytest.raises(RuntimeError):
        await bridge.engine.write(lambda tx: job(tx, fails=True))
    assert await bridge.messages() == []
    delivered = await bridge.engine.write(lambda tx: job(tx, fails=False))
    delivered()  # type: ignore[operator]
    assert [body["source"] for body in await bridge.bodies()] == ["lambda"]


async def test_the_record_of_an_invocation(bridge: Bridge):
    from lambdad.domain.destinations import OutgoingMessage

    await bridge.queue()
    await bridge.rule("r", QUEUE_ARN, pattern={"source": ["lambda"]})
    message = OutgoingMessage(
        request_id="1", account=ACCOUNT, region=REGION, function_arn=f"{FUNCTION_ARN}:$LATEST",
        body=b'{"version":"1.0","requestPayload":{"a":1}}', is_success=True,
    )  # fmt: skip
    arn = BusAddress(ACCOUNT, REGION, "default").arn
    (await bridge.engine.write(lambda tx: bridge.service.records.put_in(tx, arn, message)))()
    (body,) = await bridge.bodies()
    assert list(body) == ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"]
    assert body["detail-type"] == "Lambda Function Invocation Result - Success"
    assert body["resources"] == [arn, f"{FUNCTION_ARN}:$LATEST"]
    assert body["detail"] == {"version": "1.0", "requestPayload": {"a": 1}}
    with pytest.raises(ServiceError):
        await bridge.engine.write(lambda tx: bridge.service.records.put_in(tx, QUEUE_ARN, message))
