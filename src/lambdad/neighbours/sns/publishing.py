"""Publishing: checks, deduplication, and the delivery to every subscriber in one transaction."""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from lambdad.clock import Clock
from lambdad.domain.errors import LambdadError, ServiceError
from lambdad.domain.filter_policies import MESSAGE_ATTRIBUTES, ParsedBody, compile_policy
from lambdad.domain.identity import Caller
from lambdad.domain.policies import ServiceCaller
from lambdad.domain.queues import MessageAttribute
from lambdad.domain.topics import Draft, Notification, Subscription, Topic, TopicAddress, parse_topic_arn
from lambdad.neighbours.sns import content
from lambdad.neighbours.sns.attributes import dead_letter_arn
from lambdad.neighbours.sns.deliverers import Delivered, Deliverer, NotDelivered, SqsDeliverer
from lambdad.neighbours.sns.errors import TopicNotFound, invalid_parameter
from lambdad.neighbours.sns.topics import check_service, require
from lambdad.storage import topics as storage
from lambdad.storage.engine import Engine, Transaction

logger = logging.getLogger(__name__)

MAX_BATCH: Final = 10
NO_ATTRIBUTES: Mapping[str, MessageAttribute] = {}
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_NOT_DELIVERED: Final = NotDelivered()


@dataclass(slots=True)
class Published:
    """A message that was published; hand it to `delivered` once its transaction is committed."""

    message_id: str
    sequence_number: str | None = None
    """Of FIFO topics."""
    after: list[Delivered] = field(default_factory=list)
    deliveries: int = 0
    failures: list[str] = field(default_factory=list)
    """What could not be delivered, and why."""


class Publisher:
    """Publishes messages. `caller` is None for calls of the service itself."""

    def __init__(
        self, engine: Engine, clock: Clock, deliverers: Mapping[str, Deliverer], dead_letters: SqsDeliverer
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._deliverers = deliverers
        self._dead_letters = dead_letters
        self._published = 0
        self._delivered = 0
        self._failed = 0

    async def publish(self, address: TopicAddress, draft: Draft, caller: Caller | None = None) -> Published:
        """Publishes one message; it is with its queues and functions, and stored for the others, when this returns.

        Raises NotFound and what `content.check_draft` raises.
        """
        texts, size = content.check_draft(draft), content.size_of(draft)

        def job(tx: Transaction) -> Published:
            topic = require(tx, address, caller, "Publish")
            _check_size(topic, size)
            return self._store(tx, topic, _for_topic(topic, draft), texts)

        published = await self._engine.write(job)
        self.delivered(published)
        return published

    async def publish_batch(
        self, address: TopicAddress, drafts: Sequence[Draft], caller: Caller | None = None
    ) -> list[Published | ServiceError]:
        """Publishes what can be published of 1 to 10 messages, in one transaction; one result for each.

        Raises BatchRequestTooLong, and for FIFO topics what any of the messages lacks. Entry ids are checked by
        `check_batch`.
        """
        checked = [_attempt(draft) for draft in drafts]
        total = sum(content.size_of(draft) for draft in drafts)

        def job(tx: Transaction) -> list[Published | ServiceError]:
            topic = require(tx, address, caller, "Publish")
            if total > topic.max_message_bytes:
                raise ServiceError(
                    "BatchRequestTooLongException",
                    "The length of all the messages put together is more than the limit.",
                )
            ready = [_for_topic(topic, draft) for draft in drafts]
            return [
                texts if isinstance(texts, ServiceError) else self._store(tx, topic, draft, texts)
                for draft, texts in zip(ready, checked, strict=True)
            ]

        results = await self._engine.write(job)
        self.delivered(*(result for result in results if isinstance(result, Published)))
        return results

    def publish_in(
        self,
        tx: Transaction,
        topic_arn: str,
        message: str,
        attributes: Mapping[str, MessageAttribute] = NO_ATTRIBUTES,
        subject: str | None = None,
        *,
        trace: str = "",
        service: ServiceCaller | None = None,
    ) -> Published:
        """Publishes inside a transaction of the caller's, on the writer's thread.

        It happens if and only if that transaction commits; hand the result to `delivered` then. `service` is who
        publishes, if the topic's policy has to allow it. Raises NotFound, AuthorizationError and other ServiceErrors
        before anything is written, so a job can catch them and go on.
        """
        address = parse_topic_arn(topic_arn)
        topic = storage.find(tx, address) if address is not None else None
        if topic is None:
            raise TopicNotFound
        if service is not None:
            check_service(topic, service)
        # A function's error message may name what no text can hold; its dead letter is published all the same.
        draft = content.storable(Draft(message=message, subject=subject, attributes=attributes, trace=trace))
        texts = content.check_draft(draft)
        _check_size(topic, content.size_of(draft))
        return self._store(tx, topic, _for_topic(topic, draft), texts)

    def delivered(self, *published: Published) -> None:
        """Wakes whoever waits for the messages, and reports what could not be delivered. On the event loop, after
        the commit."""
        for each in published:
            self._published += 1
            self._delivered += each.deliveries
            self._failed += len(each.failures)
            for wake in each.after:
                wake()
            for failure in each.failures:
                logger.warning("Message %s: %s", each.message_id, failure)

    def statistics(self) -> dict[str, float]:
        """Messages published; their deliveries that were made, and that failed at once."""
        return {"published": self._published, "delivered": self._delivered, "failed": self._failed}

    # --- on the writer's thread ---

    def _store(self, tx: Transaction, topic: Topic, draft: Draft, texts: Mapping[str, str]) -> Published:
        published = Published(str(uuid.uuid4()))
        if topic.is_fifo:
            scope = (draft.group_id or "") if topic.deduplicates_by_group else ""
            assert draft.deduplication_id is not None
            now_ms = self._clock.time_ms()
            earlier = storage.find_duplicate(tx, topic, scope, draft.deduplication_id, now_ms)
            if earlier is not None:
                return Published(*earlier)
            published.sequence_number = sequence = storage.next_sequence_number(tx, topic)
            storage.remember(tx, topic, scope, draft.deduplication_id, published.message_id, sequence, now_ms)
        note = Notification(
            message_id=published.message_id,
            topic=topic.address,
            texts=texts,
            subject=draft.subject,
            attributes=draft.attributes,
            published=self._clock.now(),
            signature_version=topic.attributes.get("SignatureVersion", "1"),
            group_id=draft.group_id,
            deduplication_id=draft.deduplication_id,
            sequence_number=published.sequence_number,
            trace=draft.trace,
        )
        bodies: dict[str, ParsedBody] = {}
        for subscription in storage.subscribers(tx, topic):
            if _passes(subscription, note, bodies):
                self._deliver(tx, subscription, note, published)
        return published

    def _deliver(self, tx: Transaction, subscription: Subscription, note: Notification, published: Published) -> None:
        deliverer = self._deliverers.get(subscription.protocol, _NOT_DELIVERED)
        try:
            published.after.append(deliverer.deliver_in(tx, subscription, note))
            published.deliveries += 1
        except LambdadError as error:
            # The publisher is not told, as on AWS: such a failure is one of the subscription.
            published.failures.append(
                f"it could not be delivered to {subscription.endpoint} by {subscription.arn}. {error.message} "
                + self._dead_letter(tx, subscription, note, published.after)
            )

    def _dead_letter(
        self, tx: Transaction, subscription: Subscription, note: Notification, after: list[Delivered]
    ) -> str:
        arn = dead_letter_arn(subscription)
        if arn is None:
            return "The subscription has no dead-letter queue, so it is lost."
        try:
            after.append(self._dead_letters.put_in(tx, arn, subscription, note))
        except LambdadError as error:
            return f"Its dead-letter queue {arn} could not take it either, so it is lost. {error.message}"
        return f"It is in the dead-letter queue {arn}."


def _passes(subscription: Subscription, note: Notification, bodies: dict[str, ParsedBody]) -> bool:
    text = subscription.attributes.get("FilterPolicy")
    if text is None:
        return True
    policy = compile_policy(text, subscription.attributes.get("FilterPolicyScope", MESSAGE_ATTRIBUTES))
    message = note.text_for(subscription.protocol)
    body = bodies.get(message)
    if body is None:
        body = bodies[message] = ParsedBody(message)
    return policy.matches(note.attributes, body)


def check_batch(ids: Sequence[str]) -> None:
    """Raises what is wrong with the ids of a batch: none, more than 10, wrong characters, the same twice."""
    if not ids:
        raise ServiceError("EmptyBatchRequestException", "The batch request doesn't contain any entries.")
    if len(ids) > MAX_BATCH:
        raise ServiceError(
            "TooManyEntriesInBatchRequestException", "The batch request contains more entries than permissible."
        )
    if not all(_ENTRY_ID.fullmatch(entry_id) for entry_id in ids):
        raise ServiceError(
            "InvalidBatchEntryIdException",
            "The Id of a batch entry in a batch request doesn't abide by the specification.",
        )
    if len(set(ids)) < len(ids):
        raise ServiceError(
            "BatchEntryIdsNotDistinctException", "Two or more batch entries in the request have the same Id."
        )


def _check_size(topic: Topic, size: int) -> None:
    if size > topic.max_message_bytes:
        raise invalid_parameter("Message too long")


def _for_topic(topic: Topic, draft: Draft) -> Draft:
    """The draft with the deduplication id that it gets. Raises InvalidParameter for what a topic does not take."""
    if not topic.is_fifo:
        if draft.deduplication_id is not None:
            raise invalid_parameter(
                "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not "
                "valid for this topic type"
            )
        return draft
    if draft.group_id is None:
        raise invalid_parameter("The MessageGroupId parameter is required for FIFO topics")
    if draft.deduplication_id is not None:
        return draft
    if not topic.has_content_deduplication:
        raise invalid_parameter(
            "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
            "explicitly"
        )
    digest = hashlib.sha256(draft.message.encode("utf-8", "replace")).hexdigest()
    return replace(draft, deduplication_id=digest)


def _attempt(draft: Draft) -> Mapping[str, str] | ServiceError:
    """The texts of a draft, or the error for this entry of a batch alone."""
    try:
        return content.check_draft(draft)
    except ServiceError as error:
        return error
