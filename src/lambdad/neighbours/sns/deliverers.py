"""How a message gets to subscribers: one deliverer for each protocol, all inside the publisher's transaction.

Queues and functions are in the same store, so that publishing and delivery are one commit. What goes out over HTTP
waits in the store in that commit, and is sent after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from lambdad.clock import Clock
from lambdad.domain.errors import ServiceError
from lambdad.domain.policies import ServiceCaller
from lambdad.domain.queues import MessageAttribute
from lambdad.domain.topics import Notification, Subscription
from lambdad.neighbours.sns import envelopes
from lambdad.neighbours.sqs.messages import Delivery
from lambdad.storage import topic_posts
from lambdad.storage.engine import Transaction

Delivered = Callable[[], None]
"""Called on the event loop once the transaction is committed: wakes whoever waits for the message."""
BaseUrl = Callable[[], str]
"""The URL of this server, as subscribers reach it."""
AcceptIn = Callable[[Transaction, str, bytes, ServiceCaller], Delivered]
"""Takes transaction, function ARN, event, and for which topic SNS calls. Raises a LambdadError before it has written
anything."""

SENDER_ID: Final = "AIDAIT2UOQQY3AUEKVGXU"
"""SNS's own user, as messages in queues show it (AWS Lambda developer guide, SNS messages in SQS)."""


class QueueSender(Protocol):
    """What is needed of SQS."""

    def put_in(
        self,
        tx: Transaction,
        queue_arn: str,
        body: str,
        attributes: Mapping[str, MessageAttribute] = ...,
        system_attributes: Mapping[str, MessageAttribute] = ...,
        *,
        sender_id: str,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        service: ServiceCaller | None = None,
    ) -> Delivery:
        """Sends a message inside a transaction. Raises ServiceErrors before it has written anything."""

    def delivered(self, *deliveries: Delivery) -> None:
        """Wakes receivers, after the commit."""


class Deliverer(Protocol):
    """Delivers to the endpoints of one protocol."""

    def deliver_in(self, tx: Transaction, subscription: Subscription, note: Notification) -> Delivered:
        """Writes the delivery, on the writer's thread. Raises a LambdadError, before it has written anything, when
        the endpoint cannot take the message."""


def caller_for(subscription: Subscription) -> ServiceCaller:
    """SNS, which delivers for the topic of a subscription."""
    topic = subscription.topic
    return ServiceCaller(service="sns.amazonaws.com", source_arn=topic.arn, source_account=topic.account)


class SqsDeliverer:
    """Queues: the message in its envelope, or raw with its attributes."""

    def __init__(self, queues: QueueSender, base_url: BaseUrl) -> None:
        self._queues = queues
        self._base_url = base_url

    def deliver_in(self, tx: Transaction, subscription: Subscription, note: Notification) -> Delivered:
        return self.put_in(tx, subscription.endpoint, subscription, note)

    def put_in(self, tx: Transaction, queue_arn: str, subscription: Subscription, note: Notification) -> Delivered:
        """Puts the message into a queue, that of the subscription or its dead-letter queue."""
        attributes: Mapping[str, MessageAttribute] = {}
        if subscription.is_raw:
            body, attributes = note.text_for(subscription.protocol), note.attributes
        else:
            body = envelopes.notification(note, subscription, self._base_url())
        is_fifo = queue_arn.endswith(".fifo")
        delivery = self._queues.put_in(
            tx,
            queue_arn,
            body,
            attributes,
            {"AWSTraceHeader": MessageAttribute("String", note.trace)} if note.trace else {},
            sender_id=SENDER_ID,
            group_id=note.group_id,
            deduplication_id=note.deduplication_id if is_fifo else None,
            service=caller_for(subscription),
        )
        return lambda: self._queues.delivered(delivery)


class FunctionDeliverer:
    """Functions: the message becomes an event of the asynchronous queue, with its retries and destinations."""

    def __init__(self, accept_in: AcceptIn, base_url: BaseUrl) -> None:
        self._accept_in = accept_in
        self._base_url = base_url

    def deliver_in(self, tx: Transaction, subscription: Subscription, note: Notification) -> Delivered:
        event = envelopes.function_event(note, subscription, self._base_url())
        return self._accept_in(tx, subscription.endpoint, event, caller_for(subscription))


class HttpDeliverer:
    """HTTP(S) endpoints: a post that waits in the store."""

    def __init__(self, clock: Clock, wake: Delivered, base_url: BaseUrl) -> None:
        self._clock = clock
        self._wake = wake
        self._base_url = base_url

    def deliver_in(self, tx: Transaction, subscription: Subscription, note: Notification) -> Delivered:
        headers = {
            "x-amz-sns-message-type": "Notification",
            "x-amz-sns-message-id": note.message_id,
            "x-amz-sns-topic-arn": note.topic.arn,
            "x-amz-sns-subscription-arn": subscription.arn,
        }
        if subscription.is_raw:
            headers["x-amz-sns-rawdelivery"] = "true"
            body = note.text_for(subscription.protocol)
        else:
            body = envelopes.notification(note, subscription, self._base_url())
        topic_posts.put(tx, subscription.id, headers=headers, body=body, now_ms=self._clock.time_ms())
        return self._wake

    def ask_in(self, tx: Transaction, subscription: Subscription, message_id: str, signature_version: str) -> Delivered:
        """Asks the endpoint to confirm the subscription."""
        now = self._clock.now()
        headers = {
            "x-amz-sns-message-type": "SubscriptionConfirmation",
            "x-amz-sns-message-id": message_id,
            "x-amz-sns-topic-arn": subscription.topic.arn,
        }
        body = envelopes.confirmation(subscription, message_id, now, signature_version, self._base_url())
        topic_posts.put(tx, subscription.id, headers=headers, body=body, now_ms=self._clock.time_ms())
        return self._wake


class NotDelivered:
    """Protocols that lambdad does not speak: every message is refused, with a reason that says so."""

    def deliver_in(self, tx: Transaction, subscription: Subscription, note: Notification) -> Delivered:  # noqa: ARG002
        raise ServiceError(
            "InvalidParameterException",
            f"lambdad delivers to HTTP(S) endpoints, queues and functions, not to {subscription.protocol}.",
        )
