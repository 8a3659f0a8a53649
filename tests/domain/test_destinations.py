"""Invocation records and dead letters, to the byte; which targets are allowed."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from lambdad.domain.arns import FunctionReference
from lambdad.domain.destinations import (
    OutgoingMessage,
    check_dead_letter_target,
    check_destinations,
    dead_letter_attributes,
    event_bridge_envelope,
    function_target,
    invocation_record,
    s3_key,
)
from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.events import (
    Attempt,
    DestinationConfig,
    Event,
    FunctionFailed,
    FunctionGone,
    NotCapable,
    Overdue,
    Returned,
    Throttled,
)
from lambdad.domain.retries import Condition

NOW = datetime(2019, 11, 14, 18, 16, 5, 568999, tzinfo=UTC)
ARN = "arn:aws:lambda:us-east-1:111111111111:function:f"
REQUEST = "e4b46cbf-b738-xmpl-8880-a18cdf61200e"


def an_event(payload: bytes = b'{"ORDER_IDS": [ "9e07af03-ce31-4ff3" ]}', qualifier: str = "") -> Event:
    return Event(
        request_id=REQUEST,
        account="111111111111",
        region="us-east-1",
        function="f",
        qualifier=qualifier,
        payload=payload,
        accepted_ms=0,
    )


def failed(message: str = "boom") -> FunctionFailed:
    return FunctionFailed(
        executed_version="$LATEST", payload=json.dumps({"errorMessage": message, "errorType": "E"}).encode()
    )


def record(attempt: Attempt, condition: Condition, count: int, event: Event | None = None) -> bytes:
    return invocation_record(event or an_event(), attempt, condition, count, NOW)


def head(condition: str, count: int, qualifier: str = "$LATEST") -> bytes:
    return (
        f'{{"version":"1.0","timestamp":"2019-11-14T18:16:05.568Z","requestContext":{{"requestId":"{REQUEST}",'
        f'"functionArn":"{ARN}:{qualifier}","condition":"{condition}","approximateInvokeCount":{count}}},'
        '"requestPayload":{"ORDER_IDS": [ "9e07af03-ce31-4ff3" ]}'
    ).encode()


def test_the_record_of_a_success() -> None:
    made = record(Returned(executed_version="$LATEST", payload=b'{"a": 1}'), Condition.SUCCESS, 1)
    context = b',"responseContext":{"statusCode":200,"executedVersion":"$LATEST"}'
    assert made == head("Success", 1) + context + b',"responsePayload":{"a": 1}}'


def test_the_record_of_failures() -> None:
    made = record(failed(), Condition.RETRIES_EXHAUSTED, 3)
    assert made == head("RetriesExhausted", 3) + (
        b',"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"}'
        b',"responsePayload":{"errorMessage": "boom", "errorType": "E"}}'
    )


@pytest.mark.parametrize(
    ("attempt", "condition", "count", "context"),
    [
        (Throttled(), Condition.EVENT_AGE_EXCEEDED, 0, b',"responseContext":{"statusCode":429}'),
        (Overdue(), Condition.EVENT_AGE_EXCEEDED, 0, b',"responseContext":{"statusCode":429}'),
        (FunctionGone(), Condition.RETRIES_EXHAUSTED, 2, b',"responseContext":{"statusCode":404}'),
        (NotCapable(), Condition.ZERO_RESERVED_CONCURRENCY, 0, b""),
    ],
)
def test_the_record_of_an_event_that_did_not_run(
    attempt: Attempt, condition: Condition, count: int, context: bytes
) -> None:
    assert record(attempt, condition, count) == head(condition.value, count) + context + b"}"


def test_output_that_is_not_json_is_told_as_an_error_of_delivery() -> None:
    made = record(Returned(executed_version="7", payload=b"<html>"), Condition.SUCCESS, 1, an_event(qualifier="7"))
    assert made == head("Success", 1, "7") + (
        b',"responseContext":{"statusCode":200,"executedVersion":"7"},"deliveryError":{"statusCode":400,'
        b'"errorCode":"InvalidRequestContentException",'
        b'"errorMessage":"The function response payload could not be parsed as JSON."}}'
    )


def test_empty_output_leaves_the_payload_out() -> None:
    made = record(Returned(executed_version="$LATEST", payload=b""), Condition.SUCCESS, 1)
    assert made == head("Success", 1) + b',"responseContext":{"statusCode":200,"executedVersion":"$LATEST"}}'


def test_the_event_of_a_bus() -> None:
    message = OutgoingMessage(
        request_id=REQUEST,
        account="111111111111",
        region="us-east-1",
        function_arn=f"{ARN}:$LATEST",
        body=b'{"x": 1}',
        is_success=False,
    )
    bus = "arn:aws:events:us-east-1:111111111111:event-bus/b"
    made = json.loads(event_bridge_envelope(message, bus, "some-id", NOW))
    assert made == {
        "version": "0",
        "id": "some-id",
        "detail-type": "Lambda Function Invocation Result - Failure",
        "source": "lambda",
        "account": "111111111111",
        "time": "2019-11-14T18:16:05Z",
        "region": "us-east-1",
        "resources": [bus, f"{ARN}:$LATEST"],
        "detail": {"x": 1},
    }


def test_the_key_in_a_bucket() -> None:
    assert s3_key("f", "uuid", NOW) == "aws/lambda/async/f/2019/11/14/2019-11-14T18.16.05-uuid"


# --- dead letters ---


def attributes(attempt: Attempt) -> dict[str, tuple[str, str]]:
    made = dead_letter_attributes(an_event(), attempt)
    return {name: (attribute.data_type, attribute.value) for name, attribute in made.items()}


@pytest.mark.parametrize(
    ("attempt", "code", "message"),
    [
        (failed(), "200", "boom"),
        (Throttled(), "429", "Rate Exceeded."),
        (FunctionGone(), "404", f"Function not found: {ARN}:$LATEST"),
        (
            NotCapable(),
            None,
            "Function not invoked. Function isconfigured with zero reserved concurrent executions",
        ),
    ],
)
def test_attributes_of_dead_letters(attempt: Attempt, code: str | None, message: str) -> None:
    expected = {"RequestID": ("String", REQUEST), "ErrorMessage": ("String", message)}
    if code is not None:
        expected["ErrorCode"] = ("Number", code)
    assert attributes(attempt) == expected


def test_the_text_of_an_error_is_cut_at_1024_bytes() -> None:
    assert attributes(failed("x" * 1024))["ErrorMessage"][1] == "x" * 1024
    assert attributes(failed("x" * 2000))["ErrorMessage"][1] == "x" * 1024
    assert attributes(failed("x" * 1023 + "ä"))["ErrorMessage"][1] == "x" * 1023 + "\ufffd"


@pytest.mark.parametrize("payload", [b"not json", b"[]", b'{"errorMessage": 7}', b'{"errorMessage": ""}', b"{}"])
def test_an_error_without_text_has_no_message(payload: bytes) -> None:
    assert "ErrorMessage" not in attributes(FunctionFailed(executed_version="1", payload=payload))


# --- allowed targets ---


@pytest.mark.parametrize("arn", ["arn:aws:sqs:us-east-1:1:q", "arn:aws:sns:us-east-1:1:t"])
def test_queues_and_topics_take_dead_letters(arn: str) -> None:
    check_dead_letter_target(arn, "us-east-1")


@pytest.mark.parametrize(
    ("arn", "text"),
    [
        (
            "arn:aws:lambda:us-east-1:1:function:f",
            "Invalid dead letter queue ARN: Only Amazon SQS queues and Amazon SNS topics are supported.",
        ),
        (
            "arn:aws:sqs:us-east-1:1:q.fifo",
            "Invalid dead letter queue ARN: FIFO SQS queue is not supported for dead letter configuration",
        ),
        (
            "arn:aws:sqs:eu-west-1:1:q",
            "Invalid dead letter queue ARN: The queue or topic must be in the same region as the function (us-east-1).",
        ),
    ],
)
def test_other_targets_of_dead_letters_are_refused(arn: str, text: str) -> None:
    with pytest.raises(InvalidParameterValue) as error:
        check_dead_letter_target(arn, "us-east-1")
    assert error.value.message == text


FUNCTION = FunctionReference("111111111111", "us-east-1", "f")
TABLE = "arn:aws:dynamodb:us-east-1:111111111111:table/t"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (DestinationConfig(on_success=f"{ARN}:prod"), "You can't specify the function as a destination for itself."),
        (
            DestinationConfig(on_success=TABLE),
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination="
            f"{TABLE}), onFailure=null) is invalid.",
        ),
        (
            DestinationConfig(on_failure=TABLE),
            "The provided destination config DestinationConfig(onSuccess=null, "
            f"onFailure=OnFailure(destination={TABLE})) is invalid.",
        ),
        (
            DestinationConfig(on_success="arn:aws:s3:::bucket"),
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=arn:aws:s3:::bucket), "
            "onFailure=null) is invalid.",
        ),
        (
            DestinationConfig(on_failure="arn:aws:sns:us-east-1:111111111111:t.fifo"),
            "FIFO-type Amazon SNS topics aren't supported as a destination.",
        ),
        (
            DestinationConfig(on_failure="arn:aws:lambda:us-east-1:111111111111:layer:l:1"),
            "The destination ARN arn:aws:lambda:us-east-1:111111111111:layer:l:1 is invalid.",
        ),
    ],
)
def test_destinations_that_cannot_be(config: DestinationConfig, text: str) -> None:
    with pytest.raises(InvalidParameterValue) as error:
        check_destinations(config, FUNCTION)
    assert error.value.message == text


@pytest.mark.parametrize(
    "config",
    [
        DestinationConfig(),
        DestinationConfig(on_success="", on_failure=""),
        DestinationConfig(on_success=f"{ARN}2", on_failure="arn:aws:s3:::bucket"),
        DestinationConfig(on_success="arn:aws:events:us-east-1:111111111111:event-bus/b"),
    ],
)
def test_destinations_that_can_be(config: DestinationConfig) -> None:
    check_destinations(config, FUNCTION)


def test_the_function_of_an_arn() -> None:
    assert function_target(f"{ARN}:prod") == FunctionReference("111111111111", "us-east-1", "f", "prod")
    assert function_target("arn:aws:lambda:us-east-1::function:f") is None
