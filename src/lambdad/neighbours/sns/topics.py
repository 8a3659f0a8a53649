"""The control plane of topics: create, list, attributes, tags, permissions, delete."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from lambdad.clock import Clock
from lambdad.domain.errors import ServiceError
from lambdad.domain.identity import Caller
from lambdad.domain.policies import Decision, ServiceCaller, by_service, decide
from lambdad.domain.topics import Topic, TopicAddress
from lambdad.neighbours.sns import attributes as sns_attributes
from lambdad.neighbours.sns import policy
from lambdad.neighbours.sns.errors import TopicNotFound, invalid_parameter, resource_not_found
from lambdad.storage import topics as storage
from lambdad.storage.engine import Engine, Transaction

MAX_TAGS: Final = 50
PAGE: Final = 100
_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_FIFO_NAME = re.compile(r"(?=.{1,256}\Z)[A-Za-z0-9_-]{1,251}\.fifo")


def check_access(topic: Topic, caller: Caller | None, action: str) -> None:
    """Raises AuthorizationError for a caller of another account that the topic's policy does not let in.

    `caller` is None for the service itself.
    """
    if caller is None or caller.account == topic.address.account:
        return
    if not policy.allows(topic.attributes.get("Policy", ""), caller.account, action):
        raise ServiceError(
            "AuthorizationErrorException",
            f"User: {caller.arn} is not authorized to perform: SNS:{action} on resource: {topic.arn} because no "
            f"resource-based policy allows the SNS:{action} action",
        )


def check_service(topic: Topic, service: ServiceCaller) -> None:
    """Raises AuthorizationError, with the command that adds what is missing, unless the topic's policy lets another
    service publish. The policy that every topic starts with lets in none (Amazon SNS developer guide)."""
    text = topic.attributes.get("Policy") or policy.default_policy(topic.address)
    if decide(text, by_service(service, "sns:Publish", topic.arn)) is not Decision.ALLOW:
        raise ServiceError(
            "AuthorizationErrorException",
            f"User: {service.service} is not authorized to perform: SNS:Publish on resource: {topic.arn} because no "
            f"resource-based policy allows the SNS:Publish action. This adds it: {policy.command_for(topic, service)}",
        )


def require(tx: Transaction, address: TopicAddress, caller: Caller | None, action: str) -> Topic:
    """The topic of a call. Raises NotFound, and AuthorizationError as `check_access` does."""
    topic = storage.find(tx, address)
    if topic is None:
        raise TopicNotFound
    check_access(topic, caller, action)
    return topic


class TopicControl:
    """What is done to topics themselves. `caller` is None for calls of the service itself, which may do all."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def create(
        self, address: TopicAddress, given: Mapping[str, str], tags: Sequence[tuple[str, str]] = ()
    ) -> TopicAddress:
        """A new topic, or the one of this name if it has the same values of the given attributes and tags.

        Raises InvalidParameter.
        """
        is_fifo = given.get("FifoTopic", "").lower() == "true"
        _check_name(address.name, is_fifo=is_fifo)
        wanted = {
            name: value
            for name, value in sns_attributes.check_topic_attributes(given, is_fifo=is_fifo, is_new=True).items()
            if value
        }
        wanted_tags = _checked_tags({}, tags)

        def job(tx: Transaction) -> None:
            existing = storage.find(tx, address)
            if existing is None:
                storage.insert(tx, address, wanted, wanted_tags, self._clock.time_ms())
                return
            shown = sns_attributes.render_topic(existing, 0, 0)
            if any(shown.get(name, "") != value for name, value in given.items() if name != "FifoTopic"):
                raise invalid_parameter("Attributes Reason: Topic already exists with different attributes")
            if tags and dict(existing.tags) != wanted_tags:
                raise invalid_parameter("Tags Reason: Topic already exists with different tags")

        await self._engine.write(job)
        return address

    async def find(
        self, address: TopicAddress, caller: Caller | None = None, action: str = "GetTopicAttributes"
    ) -> Topic:
        """The topic of this name. Raises NotFound."""
        topic = await storage.read_topic(self._engine, address)
        if topic is None:
            raise TopicNotFound
        check_access(topic, caller, action)
        return topic

    async def listing(self, account: str, region: str, after: str = "") -> tuple[list[TopicAddress], str | None]:
        """100 topics by name after a name, and the name that the next page is after."""
        found = await storage.listing(self._engine, account, region, after=after, limit=PAGE + 1)
        return found[:PAGE], found[PAGE - 1].name if len(found) > PAGE else None

    async def attributes(self, address: TopicAddress, caller: Caller | None = None) -> dict[str, str]:
        """All attributes, by AWS's names."""
        topic = await self.find(address, caller)
        return sns_attributes.render_topic(topic, *await storage.counts(self._engine, topic))

    async def set_attribute(self, address: TopicAddress, name: str, value: str, caller: Caller | None = None) -> None:
        """Sets an attribute; an empty text takes it away. Raises InvalidParameter."""

        def change(tx: Transaction, topic: Topic) -> None:
            kept = sns_attributes.check_topic_attributes({name: value}, is_fifo=topic.is_fifo, is_new=False)
            merged = {key: text for key, text in {**topic.attributes, **kept}.items() if text}
            storage.update(tx, topic, merged, topic.tags)

        await self._change(address, caller, "SetTopicAttributes", change)

    async def delete(self, address: TopicAddress, caller: Caller | None = None) -> None:
        """Deletes a topic with its subscriptions; without error when there is none."""

        def job(tx: Transaction) -> None:
            topic = storage.find(tx, address)
            if topic is not None:
                check_access(topic, caller, "DeleteTopic")
                storage.delete(tx, topic)

        await self._engine.write(job)

    async def tags(self, address: TopicAddress, caller: Caller | None = None) -> Mapping[str, str]:
        """Raises ResourceNotFound."""
        try:
            return (await self.find(address, caller, "ListTagsForResource")).tags
        except TopicNotFound:
            raise resource_not_found() from None

    async def tag(self, address: TopicAddress, tags: Sequence[tuple[str, str]], caller: Caller | None = None) -> None:
        """Raises InvalidParameter, TagLimitExceeded and ResourceNotFound."""

        def change(tx: Transaction, topic: Topic) -> None:
            storage.update(tx, topic, topic.attributes, _checked_tags(topic.tags, tags))

        await self._change_tags(address, caller, "TagResource", change)

    async def untag(self, address: TopicAddress, keys: Collection[str], caller: Caller | None = None) -> None:
        def change(tx: Transaction, topic: Topic) -> None:
            left = {key: value for key, value in topic.tags.items() if key not in keys}
            storage.update(tx, topic, topic.attributes, left)

        await self._change_tags(address, caller, "UntagResource", change)

    async def add_permission(
        self,
        address: TopicAddress,
        label: str,
        accounts: Sequence[str],
        actions: Sequence[str],
        caller: Caller | None = None,
    ) -> None:
        """Adds a statement to the policy, for whole accounts. Raises InvalidParameter."""

        def change(tx: Transaction, topic: Topic) -> None:
            text = policy.with_statement(topic.attributes.get("Policy", ""), address, label, accounts, actions)
            storage.update(tx, topic, {**topic.attributes, "Policy": text}, topic.tags)

        await self._change(address, caller, "AddPermission", change)

    async def remove_permission(self, address: TopicAddress, label: str, caller: Caller | None = None) -> None:
        """Removes a statement of the policy; without error when there is none of this label."""

        def change(tx: Transaction, topic: Topic) -> None:
            text = policy.without_statement(topic.attributes.get("Policy", ""), address, label)
            storage.update(tx, topic, {**topic.attributes, "Policy": text}, topic.tags)

        await self._change(address, caller, "RemovePermission", change)

    async def _change_tags(
        self, address: TopicAddress, caller: Caller | None, action: str, change: Callable[[Transaction, Topic], None]
    ) -> None:
        try:
            await self._change(address, caller, action, change)
        except TopicNotFound:
            raise resource_not_found() from None

    async def _change(
        self, address: TopicAddress, caller: Caller | None, action: str, change: Callable[[Transaction, Topic], None]
    ) -> None:
        await self._engine.write(lambda tx: change(tx, require(tx, address, caller, action)))


def _check_name(name: str, *, is_fifo: bool) -> None:
    if is_fifo and not _FIFO_NAME.fullmatch(name):
        raise invalid_parameter(
            "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, "
            "numbers, underscores, and hyphens, and must be between 1 and 256 characters long."
        )
    if not is_fifo and not _NAME.fullmatch(name):
        raise invalid_parameter("Topic Name")


def _checked_tags(existing: Mapping[str, str], tags: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The tags with the given ones over them. Raises InvalidParameter and TagLimitExceeded."""
    keys = [key for key, _ in tags]
    if len(set(keys)) < len(keys):
        raise invalid_parameter("Duplicated keys are not allowed.")
    for key, value in tags:
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise invalid_parameter("Tags Reason: a key has 1 to 128 characters and no aws: before it, a value 256")
    merged = {**existing, **dict(tags)}
    if len(merged) > MAX_TAGS:
        raise sns_attributes.tag_limit_exceeded()
    return merged
