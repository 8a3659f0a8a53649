"""Where events go: a small Protocol for services that take them, and its implementations for those beside us.

An embedded target takes what it gets inside the transaction in which the event was accepted: both happen or neither.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from lambdad.clock import Clock
from lambdad.domain import errors as domain
from lambdad.domain.errors import LambdadError, ServiceError
from lambdad.domain.policies import ServiceCaller, account_of
from lambdad.domain.queues import FIFO_SUFFIX, MessageAttribute
from lambdad.domain.rules import Target
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage import logs
from lambdad.storage.engine import Transaction
from lambdad.storage.log_segments import Kind, pack
from lambdad.storage.logs import StreamBatch, StreamName

Delivered = Callable[[], None]
"""Called on the event loop once the transaction is committed: wakes whoever waits for what was delivered."""

MAX_INPUT_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetInput:
    """What one target of one rule is to get."""

    rule_arn: str
    target: Target
    text: str
    """The event, or what the rule makes of it for this target; usually JSON."""
    trace: str = ""
    """A trace header; empty for none."""


class TargetRefused(LambdadError):
    """The target cannot take it, now or later; `code` is for the attribute ERROR_CODE of a dead letter."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TargetBusy(LambdadError):
    """The target cannot take it now: it is tried again, as the target's retry policy says."""


class EmbeddedTarget(Protocol):
    """A service of this server."""

    def put_in(self, tx: Transaction, item: TargetInput) -> Delivered:
        """Stores the input in a transaction of the caller's, on the writer's thread.

        Raises a LambdadError before it has written anything: TargetBusy to be asked again, any other for good.
        """


class RemoteTargets(Protocol):
    """Sends to targets outside of this server."""

    def sends_to(self, arn: str) -> bool:
        """Whether what this target gets leaves the server."""

    async def send(self, item: TargetInput) -> None:
        """Raises TargetRefused when trying again is of no use; any other exception means: try again later."""


class NoRemoteTargets:
    """Everything stays in this server."""

    def sends_to(self, arn: str) -> bool:  # noqa: ARG002 - the Protocol's signature
        return False

    async def send(self, item: TargetInput) -> None:
        raise TargetRefused("SDK_CLIENT_ERROR", f"{item.target.arn} is not a target outside of this server.")


class FunctionEvents(Protocol):
    """The way into the queue of asynchronous invocations."""

    def accept_in(self, tx: Transaction, function_arn: str, event: bytes, caller: ServiceCaller) -> Delivered:
        """Accepts an event. Raises a LambdadError if the function's policy does not let the rule in, there is no such
        function or the event is too large."""


class TopicMessages(Protocol):
    """The way into topics."""

    def publish_in(self, tx: Transaction, topic_arn: str, message: str, caller: ServiceCaller) -> Delivered:
        """Publishes a message. Raises a LambdadError if the topic's policy does not let the rule in, there is no such
        topic or the message is too large."""


class FunctionTarget:
    """Functions, through their queue of events."""

    def __init__(self, functions: FunctionEvents) -> None:
        self._functions = functions

    def put_in(self, tx: Transaction, item: TargetInput) -> Delivered:
        try:
            json.loads(item.text)
        except (ValueError, RecursionError):
            raise TargetRefused("INVALID_JSON", "The input of a function must be JSON.") from None
        return self._functions.accept_in(tx, item.target.arn, item.text.encode(), _caller_for(item.rule_arn))


class TopicTarget:
    """Topics."""

    def __init__(self, topics: TopicMessages) -> None:
        self._topics = topics

    def put_in(self, tx: Transaction, item: TargetInput) -> Delivered:
        return self._topics.publish_in(tx, item.target.arn, item.text, _caller_for(item.rule_arn))


class QueueTarget:
    """Queues, as targets and for dead letters."""

    def __init__(self, sqs: SqsService) -> None:
        self._sqs = sqs

    def put_in(self, tx: Transaction, item: TargetInput) -> Delivered:
        trace = {"AWSTraceHeader": MessageAttribute("String", item.trace)} if item.trace else {}
        is_fifo = item.target.arn.endswith(FIFO_SUFFIX)
        group = item.target.message_group if is_fifo else None
        return self._put(tx, item.target.arn, item.text, {}, trace, group, item.rule_arn)

    def dead_letter_in(self, tx: Transaction, arn: str, event: str, attributes: Mapping[str, str]) -> Delivered:
        """An event that a target did not get."""
        shown = {name: MessageAttribute("String", value) for name, value in attributes.items()}
        return self._put(tx, arn, event, shown, {}, None, attributes["RULE_ARN"])

    def _put(
        self,
        tx: Transaction,
        arn: str,
        body: str,
        attributes: Mapping[str, MessageAttribute],
        system_attributes: Mapping[str, MessageAttribute],
        group: str | None,
        rule_arn: str,
    ) -> Delivered:
        delivery = self._sqs.put_in(
            tx,
            arn,
            body,
            attributes,
            system_attributes,
            sender_id="events.amazonaws.com",
            group_id=group,
            service=_caller_for(rule_arn),
        )
        return lambda: self._sqs.delivered(delivery)


class LogGroupTarget:
    """Log groups. All events of one rule go to one stream, which is named after it and is made when missing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def put_in(self, tx: Transaction, item: TargetInput) -> Delivered:
        parts = item.target.arn.split(":")
        if len(parts) < 7 or parts[5] != "log-group":
            raise TargetRefused("INVALID_PARAMETER", f"{item.target.arn} is not the ARN of a log group.")
        account, region, group = parts[4], parts[3], parts[6]
        if not logs.has_group(tx, account, region, group):
            raise TargetRefused("NO_RESOURCE", "The specified log group does not exist.")
        stream = StreamName(account, region, group, str(uuid.uuid5(uuid.NAMESPACE_URL, item.rule_arn)))
        now_ms = self._clock.time_ms()
        segments = list(pack([(now_ms, Kind.EVENT, item.text.encode("utf-8", "replace"))]))
        logs.append_in(tx, StreamBatch(stream, None, segments), now_ms)
        return _nobody_waits


class EmbeddedTargets:
    """The services of this server by their names in ARNs: `lambda`, `sqs`, `sns`, `logs`."""

    def __init__(self, targets: Mapping[str, EmbeddedTarget]) -> None:
        self._targets = dict(targets)

    def add(self, service: str, target: EmbeddedTarget) -> None:
        self._targets[service] = target

    def put_in(self, tx: Transaction, item: TargetInput) -> Delivered:
        """Raises as `EmbeddedTarget.put_in` does, and TargetRefused for services that this server does not have."""
        service = service_of(item.target.arn)
        target = self._targets.get(service)
        if target is None:
            raise TargetRefused("ERROR_FROM_TARGET", f"lambdad has no service {service!r} that takes events.")
        if len(item.text.encode("utf-8", "replace")) > MAX_INPUT_BYTES:
            raise TargetRefused("INVALID_PARAMETER", f"The input is larger than {MAX_INPUT_BYTES} bytes.")
        return target.put_in(tx, item)


def _caller_for(rule_arn: str) -> ServiceCaller:
    """EventBridge, which delivers for a rule."""
    return ServiceCaller(service="events.amazonaws.com", source_arn=rule_arn, source_account=account_of(rule_arn))


def service_of(arn: str) -> str:
    parts = arn.split(":", 3)
    return parts[2] if len(parts) > 2 else ""


def error_code(error: BaseException) -> str:
    """The word for ERROR_CODE of a dead letter (EventBridge guide, dead-letter queues)."""
    match error:
        case TargetRefused():
            return error.code
        case TargetBusy() | domain.TooManyRequests():
            return "THROTTLING"
        case domain.ResourceNotFound():
            return "NO_RESOURCE"
        case domain.AccessDenied():
            return "NO_PERMISSIONS"
        case ServiceError():
            return _SERVICE_CODES.get(error.code, "ERROR_FROM_TARGET")
        case _:
            return "ERROR_FROM_TARGET"


_SERVICE_CODES: Final = {
    "QueueDoesNotExist": "NO_RESOURCE",
    "NotFound": "NO_RESOURCE",
    "NotFoundException": "NO_RESOURCE",
    "ResourceNotFoundException": "NO_RESOURCE",
    "AccessDeniedException": "NO_PERMISSIONS",
    "AuthorizationError": "NO_PERMISSIONS",
    "InvalidParameter": "INVALID_PARAMETER",
    "InvalidParameterException": "INVALID_PARAMETER",
    "InvalidParameterValueException": "INVALID_PARAMETER",
    "MissingRequiredParameterException": "INVALID_PARAMETER",
}


def _nobody_waits() -> None:
    """Nothing to wake: readers of logs ask the store."""
