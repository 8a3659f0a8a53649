"""What leaves the event queue: invocation records, dead letters, and which targets they may have.

The layout of records is AWS's to the byte (AWS: recorded 2025-11, captured 2026): compact, keys in a fixed order, with
the event and the response pasted in as the bytes that they were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lambdad.domain import json_syntax
from lambdad.domain.arns import FunctionReference
from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.events import (
    Attempt,
    DestinationConfig,
    Event,
    FunctionFailed,
    FunctionGone,
    NotCapable,
    Overdue,
    Recursive,
    Returned,
    SystemFailed,
    Throttled,
)
from lambdad.domain.functions import LATEST
from lambdad.domain.retries import Condition

ERROR_MESSAGE_BYTES = 1024
"""Of the error's text in a dead letter."""
_NOT_JSON = (
    '"deliveryError":{"statusCode":400,"errorCode":"InvalidRequestContentException",'
    '"errorMessage":"The function response payload could not be parsed as JSON."}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """A message attribute as SQS and SNS know it."""

    data_type: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """A record or a dead letter on its way to a target."""

    request_id: str
    account: str
    region: str
    function_arn: str
    """Qualified."""
    body: bytes
    """JSON: the record, or for a dead letter the event."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    """Of a dead letter."""
    trace: str = ""
    """Trace header of the last attempt; empty for dead letters."""
    is_dead_letter: bool = False
    is_success: bool = False


# --- the invocation record ---


def invocation_record(event: Event, attempt: Attempt, condition: Condition, invoke_count: int, now: datetime) -> bytes:
    """The record of an event that ended with this attempt."""
    context = {
        "requestId": event.request_id,
        "functionArn": event.function_arn,
        "condition": condition.value,
        "approximateInvokeCount": invoke_count,
    }
    head = f'{{"version":"1.0","timestamp":"{record_time(now)}","requestContext":{_compact(context)},"requestPayload":'
    parts = [head.encode(), event.payload]
    response_context = _response_context(attempt)
    if response_context is not None:
        parts.append(f',"responseContext":{_compact(response_context)}'.encode())
    if isinstance(attempt, Returned | FunctionFailed) and attempt.payload:
        if json_syntax.is_json(attempt.payload):
            parts += [b',"responsePayload":', attempt.payload]
        else:  # what a streaming function wrote
            parts.append(f",{_NOT_JSON}".encode())
    return b"".join([*parts, b"}"])


def _response_context(attempt: Attempt) -> dict[str, object] | None:
    match attempt:
        case Returned():
            return {"statusCode": 200, "executedVersion": attempt.executed_version}
        case FunctionFailed():
            return {"statusCode": 200, "executedVersion": attempt.executed_version, "functionError": "Unhandled"}
        case FunctionGone():
            return {"statusCode": 404}
        case Throttled() | Overdue():
            # An event that waits until its age runs out is one that its function had no room for.
            return {"statusCode": 429}
        case SystemFailed():
            return {"statusCode": 500}
        case _:
            return None


def record_time(now: datetime) -> str:
    """`2019-11-14T18:16:05.568Z`"""
    return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"


def event_bridge_envelope(message: OutgoingMessage, bus_arn: str, event_id: str, now: datetime) -> bytes:
    """The event that a bus gets (AWS: recorded 2025-11). Its source is `lambda`, not `aws.lambda`."""
    kind = "Success" if message.is_success else "Failure"
    members = {
        "version": "0",
        "id": event_id,
        "detail-type": f"Lambda Function Invocation Result - {kind}",
        "source": "lambda",
        "account": message.account,
        "time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "region": message.region,
        "resources": [bus_arn, message.function_arn],
    }
    return _compact(members)[:-1].encode() + b',"detail":' + message.body + b"}"


def s3_key(function: str, unique: str, now: datetime) -> str:
    """The key of a record that goes into a bucket."""
    return f"aws/lambda/async/{function}/{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{unique}"


# --- dead letters ---


def dead_letter_attributes(event: Event, attempt: Attempt) -> dict[str, Attribute]:
    """The message attributes of a dead letter; its body is the event itself."""
    code, message = _error_of(event, attempt)
    attributes = {"RequestID": Attribute(data_type="String", value=event.request_id)}
    if code is not None:
        attributes["ErrorCode"] = Attribute(data_type="Number", value=str(code))
    if message:
        attributes["ErrorMessage"] = Attribute(data_type="String", value=_cut(message))
    return attributes


def _error_of(event: Event, attempt: Attempt) -> tuple[int | None, str]:
    match attempt:
        case Returned() | FunctionFailed():
            return 200, _error_message(attempt.payload)
        case FunctionGone():
            return 404, f"Function not found: {event.function_arn}"
        case Throttled() | Overdue():
            return 429, "Rate Exceeded."
        case SystemFailed():
            return 500, "An error occurred and the request cannot be processed."
        case Recursive():
            # Our own words: no dead letter of a stopped loop has been recorded.
            return None, "Function not invoked. It was called in a recursive loop, which was stopped"
        case NotCapable():
            # The missing space is AWS's own.
            return None, "Function not invoked. Function isconfigured with zero reserved concurrent executions"


def _error_message(payload: bytes) -> str:
    try:
        error = json.loads(payload)
    except (ValueError, RecursionError):
        return ""
    message = error.get("errorMessage") if isinstance(error, dict) else None
    return message if isinstance(message, str) else ""


def _cut(text: str) -> str:
    """The first 1,024 bytes; a character that is cut becomes U+FFFD (AWS: captured 2026)."""
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) <= ERROR_MESSAGE_BYTES else encoded[:ERROR_MESSAGE_BYTES].decode("utf-8", "replace")


# --- which targets are allowed ---


def check_dead_letter_target(arn: str, region: str) -> None:
    """Raises InvalidParameterValue unless the ARN is that of a standard queue or topic of the function's region."""
    prefix = "Invalid dead letter queue ARN: "
    parts = arn.split(":")
    if len(parts) != 6 or parts[2] not in ("sqs", "sns"):
        raise InvalidParameterValue(f"{prefix}Only Amazon SQS queues and Amazon SNS topics are supported.")
    if parts[3] != region:
        raise InvalidParameterValue(
            f"{prefix}The queue or topic must be in the same region as the function ({region})."
        )
    if arn.endswith(".fifo"):
        kind = "SQS queue" if parts[2] == "sqs" else "SNS topic"
        raise InvalidParameterValue(f"{prefix}FIFO {kind} is not supported for dead letter configuration")


def check_destinations(config: DestinationConfig, function: FunctionReference) -> None:
    """Raises InvalidParameterValue for destinations that cannot be; whether a function exists is for the caller."""
    for arn, is_failure in ((config.on_success, False), (config.on_failure, True)):
        if not arn:
            continue
        parts = arn.split(":", 5)
        service = parts[2] if len(parts) == 6 else ""
        if service not in ("sqs", "sns", "lambda", "events") and not (service == "s3" and is_failure):
            raise InvalidParameterValue(f"The provided destination config {_shown(config)} is invalid.")
        if service in ("sqs", "sns") and arn.endswith(".fifo"):
            kind = "SQS queues" if service == "sqs" else "SNS topics"
            raise InvalidParameterValue(f"FIFO-type Amazon {kind} aren't supported as a destination.")
        if service == "lambda":
            target = function_target(arn)
            if target is None:
                raise InvalidParameterValue(f"The destination ARN {arn} is invalid.")
            if (target.account, target.region, target.name) == (function.account, function.region, function.name):
                raise InvalidParameterValue("You can't specify the function as a destination for itself.")


def function_target(arn: str) -> FunctionReference | None:
    """The function of an ARN; None for anything that is not the ARN of a function."""
    parts = arn.split(":")
    if len(parts) not in (7, 8) or parts[2] != "lambda" or parts[5] != "function" or not all(parts[3:]):
        return None
    return FunctionReference(parts[4], parts[3], parts[6], parts[7] if len(parts) == 8 else None)


def qualifier_of(reference: FunctionReference) -> str:
    """The qualifier that settings are kept under."""
    return reference.qualifier or LATEST


def _shown(config: DestinationConfig) -> str:
    def side(name: str, arn: str | None) -> str:
        return f"On{name}(destination={arn})" if arn else "null"

    return (
        f"DestinationConfig(onSuccess={side('Success', config.on_success)}, "
        f"onFailure={side('Failure', config.on_failure)})"
    )


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
