"""The control plane of queues: create, find, list, attributes, tags, permissions, purge, delete."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from lambdad.clock import Clock
from lambdad.domain.errors import ServiceError
from lambdad.domain.identity import Caller
from lambdad.domain.policies import Decision, ServiceCaller, by_service, decide
from lambdad.domain.queues import FIFO_SUFFIX, Queue, QueueAddress, QueueCounts, QueueSettings, parse_queue_arn
from lambdad.neighbours.sqs import attributes as queue_attributes
from lambdad.neighbours.sqs import policy
from lambdad.neighbours.sqs.errors import (
    NonExistentQueue,
    invalid_parameter,
    invalid_value,
    missing_parameter,
    unsupported,
)
from lambdad.neighbours.sqs.waiting import WaitingRoom
from lambdad.storage import queue_messages
from lambdad.storage import queues as storage
from lambdad.storage.engine import Engine, Transaction

PURGE_INTERVAL_MS: Final = 60_000
NAME_BLOCKED_S: Final = 60
MAX_TAGS: Final = 50
PAGE: Final = 1000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_COUNTED = frozenset({
    "All", "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed",
})  # fmt: skip


def check_access(queue: Queue, caller: Caller | None, action: str) -> None:
    """Raises AccessDenied for a caller of another account that the queue's policy does not let in.

    `caller` is None for the service itself.
    """
    if caller is None or caller.account == queue.address.account:
        return
    if not policy.allows(queue.settings.policy, caller.account, action):
        raise ServiceError(
            "AccessDeniedException",
            f"User: {caller.arn} is not authorized to perform: sqs:{action.lower()} on resource: {queue.arn} "
            f"because no resource-based policy allows the sqs:{action.lower()} action",
        )


def check_service(queue: Queue, service: ServiceCaller) -> None:
    """Raises AccessDenied, with the command that adds what is missing, unless the queue's policy lets another service
    send (AWS: it asks, also within one account)."""
    request = by_service(service, "sqs:SendMessage", queue.arn)
    if decide(queue.settings.policy, request) is not Decision.ALLOW:
        raise ServiceError(
            "AccessDeniedException",
            f"User: {service.service} is not authorized to perform: sqs:sendmessage on resource: {queue.arn} because "
            "no resource-based policy allows the sqs:sendmessage action. This adds it: "
            + policy.command_for(queue, service),
        )


def require(tx: Transaction, address: QueueAddress, caller: Caller | None, action: str) -> Queue:
    """The queue of a call. Raises NonExistentQueue, and AccessDenied as `check_access` does."""
    queue = storage.find(tx, address)
    if queue is None:
        raise NonExistentQueue
    check_access(queue, caller, action)
    return queue


class QueueControl:
    """What is done to queues themselves. `caller` is None for calls of the service itself, which may do all."""

    def __init__(
        self, engine: Engine, clock: Clock, waiting: WaitingRoom, *, name_blocked_s: float = NAME_BLOCKED_S
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._waiting = waiting
        self._name_blocked_ms = round(name_blocked_s * 1000)

    async def create(self, address: QueueAddress, given: Mapping[str, str], tags: Mapping[str, str]) -> QueueAddress:
        """A new queue, or the one of this name if it has the same values of the given attributes.

        Raises QueueNameExists, QueueDeletedRecently, and errors of names and attributes.
        """
        _check_name(address.name, is_fifo=given.get("FifoQueue") == "true")
        _check_tags(address.name, tags)
        wanted = queue_attributes.apply(QueueSettings(), given, is_new=True)
        now_ms = self._clock.time_ms()

        def job(tx: Transaction) -> None:
            existing = storage.find(tx, address)
            if existing is not None:
                name = queue_attributes.difference(existing.settings, given, wanted)
                if name is not None:
                    raise ServiceError(
                        "QueueNameExists",
                        f"A queue already exists with the same name and a different value for attribute {name}",
                    )
                return
            deleted_ms = storage.deleted_ms(tx, address)
            if deleted_ms is not None and deleted_ms > now_ms - self._name_blocked_ms:
                raise ServiceError(
                    "QueueDeletedRecently",
                    "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
                )
            if wanted.redrive is not None:
                _check_redrive(tx, address, wanted)
            storage.insert(tx, address, wanted, tags, now_ms)

        await self._engine.write(job)
        return address

    async def find(self, address: QueueAddress, caller: Caller | None = None, action: str = "GetQueueUrl") -> Queue:
        """The queue of this name. Raises NonExistentQueue."""
        queue = await storage.read_queue(self._engine, address)
        if queue is None:
            raise NonExistentQueue
        check_access(queue, caller, action)
        return queue

    async def listing(
        self, account: str, region: str, *, prefix: str = "", limit: int | None = None, token: str | None = None
    ) -> tuple[list[QueueAddress], str | None]:
        """Queues by name, and the token of the next page, which only calls with a limit (1 to 1000) get."""
        after = _page(limit, token)
        if not prefix.isascii():
            return [], None
        names = await storage.listing(
            self._engine, account, region, prefix=prefix, after=after, limit=(limit or PAGE) + 1
        )
        shown, next_token = _cut(names, limit)
        return [QueueAddress(account, region, name) for name in shown], next_token

    async def dead_letter_sources(
        self,
        address: QueueAddress,
        *,
        limit: int | None = None,
        token: str | None = None,
        caller: Caller | None = None,
    ) -> tuple[list[QueueAddress], str | None]:
        """The queues that have this one as their dead-letter queue, paged as in `listing`."""
        after = _page(limit, token)
        queue = await self.find(address, caller, "ListDeadLetterSourceQueues")
        sources = await storage.dead_letter_sources(
            self._engine, queue.arn, after=replace(address, name=after), limit=(limit or PAGE) + 1
        )
        shown, next_token = _cut([source.name for source in sources], limit)
        return sources[: len(shown)], next_token

    async def attributes(
        self, address: QueueAddress, names: Collection[str], caller: Caller | None = None
    ) -> dict[str, str]:
        """The attributes of these names, `All` for every one. Raises InvalidAttributeName."""
        queue_attributes.check_names(names)
        queue = await self.find(address, caller, "GetQueueAttributes")
        counts = await self.counts(queue) if _COUNTED & set(names) else QueueCounts()
        return queue_attributes.render(queue, counts, names)

    async def counts(self, queue: Queue) -> QueueCounts:
        """The numbers of messages now; expired ones do not count, also if they are still to be removed."""
        now_ms = self._clock.time_ms()
        counts, oldest_ms = await queue_messages.count(self._engine, queue, now_ms)
        if oldest_ms is not None and oldest_ms <= now_ms - queue.settings.retention_s * 1000:
            await self.expire(queue.address)
            counts, _ = await queue_messages.count(self._engine, queue, now_ms)
        return counts

    async def expire(self, address: QueueAddress) -> None:
        """Removes the messages of a queue that are older than it keeps them."""
        now_ms = self._clock.time_ms()

        def job(tx: Transaction) -> bool:
            queue = storage.find(tx, address)
            return queue is not None and queue_messages.expire(tx, queue, now_ms)

        while await self._engine.write(job):
            pass

    async def set_attributes(
        self, address: QueueAddress, given: Mapping[str, str], caller: Caller | None = None
    ) -> None:
        """Sets attributes; an empty text takes a policy or key away. Raises InvalidAttributeName and -Value."""
        now_ms = self._clock.time_ms()

        def change(tx: Transaction, queue: Queue) -> None:
            settings = queue_attributes.apply(queue.settings, given)
            if "RedrivePolicy" in given and settings.redrive is not None:
                _check_redrive(tx, address, settings)
            storage.update_settings(tx, queue, settings, now_ms)

        await self._change(address, caller, "SetQueueAttributes", change)
        self._waiting.notify(address)

    async def add_permission(
        self,
        address: QueueAddress,
        label: str,
        accounts: Sequence[str],
        actions: Sequence[str],
        caller: Caller | None = None,
    ) -> None:
        """Adds a statement to the policy, for whole accounts. Raises InvalidParameterValue."""
        if not _NAME.fullmatch(label):
            raise invalid_value(
                label, "Label", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
            )
        if not accounts:
            raise missing_parameter("PrincipalId")
        if not actions:
            raise missing_parameter("Actions")
        now_ms = self._clock.time_ms()

        def change(tx: Transaction, queue: Queue) -> None:
            text = policy.with_statement(queue.settings.policy, queue.arn, label, accounts, actions)
            storage.update_settings(tx, queue, replace(queue.settings, policy=text), now_ms)

        await self._change(address, caller, "AddPermission", change)

    async def remove_permission(self, address: QueueAddress, label: str, caller: Caller | None = None) -> None:
        """Takes a statement out of the policy. Raises InvalidParameterValue."""
        now_ms = self._clock.time_ms()

        def change(tx: Transaction, queue: Queue) -> None:
            text = policy.without_statement(queue.settings.policy, label)
            storage.update_settings(tx, queue, replace(queue.settings, policy=text), now_ms)

        await self._change(address, caller, "RemovePermission", change)

    async def tag(self, address: QueueAddress, tags: Mapping[str, str], caller: Caller | None = None) -> None:
        """Sets tags beside those that are there. Raises InvalidParameterValue for more than 50."""

        def change(tx: Transaction, queue: Queue) -> None:
            merged = {**queue.tags, **tags}
            _check_tags(address.name, merged)
            storage.update_tags(tx, queue, merged)

        await self._change(address, caller, "TagQueue", change)

    async def untag(self, address: QueueAddress, keys: Collection[str], caller: Caller | None = None) -> None:
        def change(tx: Transaction, queue: Queue) -> None:
            storage.update_tags(tx, queue, {key: value for key, value in queue.tags.items() if key not in keys})

        await self._change(address, caller, "UntagQueue", change)

    async def purge(self, address: QueueAddress, caller: Caller | None = None) -> None:
        """Removes all messages. Raises PurgeQueueInProgress within 60 s of the last time."""
        now_ms = self._clock.time_ms()

        def change(tx: Transaction, queue: Queue) -> None:
            if queue.purged_ms is not None and queue.purged_ms > now_ms - PURGE_INTERVAL_MS:
                raise ServiceError(
                    "PurgeQueueInProgress",
                    f"Only one PurgeQueue operation on {address.name} is allowed every 60 seconds.",
                )
            storage.purge(tx, queue, now_ms)

        await self._change(address, caller, "PurgeQueue", change)

    async def delete(self, address: QueueAddress, caller: Caller | None = None) -> None:
        """Deletes a queue with its messages. Raises NonExistentQueue."""
        now_ms = self._clock.time_ms()
        await self._change(address, caller, "DeleteQueue", lambda tx, queue: storage.delete(tx, queue, now_ms))
        self._waiting.notify(address, PAGE)

    async def _change(
        self,
        address: QueueAddress,
        caller: Caller | None,
        action: str,
        change: Callable[[Transaction, Queue], None],
    ) -> None:
        await self._engine.write(lambda tx: change(tx, require(tx, address, caller, action)))


def _check_name(name: str, *, is_fifo: bool) -> None:
    if is_fifo:
        stem = name.removesuffix(FIFO_SUFFIX)
        if stem == name or len(name) > 80 or not _NAME.fullmatch(stem):
            raise invalid_parameter(
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end "
                "with .fifo suffix and be 1 to 80 in length."
            )
    elif not _NAME.fullmatch(name):
        raise invalid_parameter("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")


def _check_tags(queue_name: str, tags: Mapping[str, str]) -> None:
    if len(tags) > MAX_TAGS:
        raise invalid_parameter(f"Too many tags added for queue {queue_name}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or _SURROGATE.search(key):
            raise invalid_value(key[:200], "TagKey", "A tag key has 1 to 128 characters.")
        if len(value) > 256 or _SURROGATE.search(value):
            raise invalid_value(value[:300], "TagValue", "A tag value has up to 256 characters.")


def _check_redrive(tx: Transaction, address: QueueAddress, settings: QueueSettings) -> None:
    assert settings.redrive is not None
    target = parse_queue_arn(settings.redrive.dead_letter_arn)
    assert target is not None
    queue_attributes.check_dead_letter_queue(address.arn, settings, storage.find(tx, target))


def _page(limit: int | None, token: str | None) -> str:
    """The name after which a page begins. Raises InvalidParameterValue."""
    if limit is not None and not 1 <= limit <= PAGE:
        raise invalid_value(limit, "MaxResults", "MaxResults must be an integer between 1 and 1000.")
    if not token:
        return ""
    if limit is None:
        raise unsupported("MaxResults is a mandatory parameter when you provide a value for NextToken.")
    try:
        return base64.b64decode(token, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise invalid_parameter("Invalid or expired next token.") from None


def _cut(names: list[str], limit: int | None) -> tuple[list[str], str | None]:
    """A page of names of which one more was read than it shows, and the token of the next page."""
    shown = names[: limit or PAGE]
    if limit is None or len(names) <= limit:
        return shown, None
    return shown, base64.b64encode(shown[-1].encode("ascii")).decode("ascii")
