"""What connects the services of this server: queues, topics and functions as targets of one another."""

from __future__ import annotations

import uuid

from lambdad.domain.destinations import OutgoingMessage
from lambdad.domain.policies import ServiceCaller
from lambdad.domain.queues import MessageAttribute
from lambdad.event_queue import permissions
from lambdad.event_queue.targets import Delivered, EmbeddedTargets
from lambdad.neighbours.sns.service import SnsService
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage.engine import Transaction


class QueueTarget:
    """Queues as targets of records and dead letters."""

    def __init__(self, sqs: SqsService) -> None:
        self._sqs = sqs

    def put_in(self, tx: Transaction, arn: str, message: OutgoingMessage) -> Delivered:
        function = message.function_arn.split(":")[6]
        trace = {"AWSTraceHeader": MessageAttribute("String", message.trace)} if message.trace else {}
        delivery = self._sqs.put_in(
            tx,
            arn,
            message.body.decode("utf-8"),
            {name: MessageAttribute(one.data_type, one.value) for name, one in message.attributes.items()},
            trace,
            sender_id=f"AROA:{function}",
        )
        return lambda: self._sqs.delivered(delivery)


class Topics:
    """Topics as targets of records and dead letters, and of rules."""

    def __init__(self, sns: SnsService) -> None:
        self._sns = sns

    def put_in(self, tx: Transaction, arn: str, message: OutgoingMessage) -> Delivered:
        attributes = {name: MessageAttribute(one.data_type, one.value) for name, one in message.attributes.items()}
        published = self._sns.publish_in(tx, arn, message.body.decode("utf-8"), attributes, trace=message.trace)
        return lambda: self._sns.delivered(published)

    def publish_in(self, tx: Transaction, topic_arn: str, message: str, caller: ServiceCaller) -> Delivered:
        """A message without attributes, for rules."""
        published = self._sns.publish_in(tx, topic_arn, message, service=caller)
        return lambda: self._sns.delivered(published)


class Functions:
    """Functions as targets of topics and rules: what they get becomes an event of the durable queue."""

    def __init__(self, targets: EmbeddedTargets) -> None:
        self._targets = targets

    def accept_in(self, tx: Transaction, function_arn: str, event: bytes, caller: ServiceCaller) -> Delivered:
        """Accepts an event in a transaction of the caller's. Raises a LambdadError if the policy of the function does
        not let the service in, there is no such function or the event is too large."""
        permissions.check_in(tx, function_arn, caller)
        _, _, _, region, account, *_ = function_arn.split(":")
        message = OutgoingMessage(
            request_id=str(uuid.uuid4()), account=account, region=region, function_arn=function_arn, body=event
        )
        return self._targets.put_in(tx, function_arn, message)
