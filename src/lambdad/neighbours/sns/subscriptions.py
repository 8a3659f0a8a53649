"""The control plane of subscriptions: subscribe, confirm, attributes, list, unsubscribe."""

from __future__ import annotations

import logging
import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from lambdad.clock import Clock
from lambdad.domain.errors import ServiceError
from lambdad.domain.identity import Caller
from lambdad.domain.queues import parse_queue_arn
from lambdad.domain.topics import (
    DELIVERED_PROTOCOLS,
    HTTP_PROTOCOLS,
    PROTOCOLS,
    TOKEN_MS,
    Subscription,
    Topic,
    TopicAddress,
    parse_subscription_arn,
)
from lambdad.neighbours.sns import attributes as sns_attributes
from lambdad.neighbours.sns.deliverers import Delivered, HttpDeliverer
from lambdad.neighbours.sns.errors import SubscriptionNotFound, TopicNotFound, invalid_parameter
from lambdad.neighbours.sns.topics import PAGE, check_access, require
from lambdad.storage import topics as storage
from lambdad.storage.engine import Engine, Transaction

logger = logging.getLogger(__name__)

_CONFIRMED_BY_ENDPOINT: Final = (*HTTP_PROTOCOLS, "email", "email-json")
_FUNCTION_ARN = re.compile(
    r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9_$-]+)?"
)
_URL = re.compile(r"[!-~]{1,2048}")


class SubscriptionControl:
    """What is done to subscriptions. `caller` is None for calls of the service itself."""

    def __init__(self, engine: Engine, clock: Clock, http: HttpDeliverer) -> None:
        self._engine = engine
        self._clock = clock
        self._http = http

    async def subscribe(
        self,
        address: TopicAddress,
        protocol: str,
        endpoint: str,
        given: Mapping[str, str],
        caller: Caller,
    ) -> Subscription:
        """A new subscription, or the one of this endpoint if it has the same values of the given attributes.

        Queues, functions and what else belongs to AWS are confirmed at once; HTTP endpoints are asked to. Raises
        NotFound and InvalidParameter.
        """
        if protocol not in PROTOCOLS:
            raise invalid_parameter(f"Amazon SNS does not support this protocol string: {protocol}")
        _check_endpoint(protocol, endpoint, address)

        def job(tx: Transaction) -> tuple[Subscription, Delivered | None]:
            topic = require(tx, address, caller, "Subscribe")
            wanted = sns_attributes.check_subscription_attributes(
                given, topic=topic, protocol=protocol, endpoint=endpoint
            )
            now_ms = self._clock.time_ms()
            found = storage.find_endpoint(tx, topic, protocol, endpoint)
            if found is not None:
                if sns_attributes.difference(found, wanted, given):
                    raise invalid_parameter("Attributes Reason: Subscription already exists with different attributes")
                if found.is_confirmed:
                    return found, None
                found = replace(found, created_ms=now_ms)
                storage.update_subscription(tx, found)
            else:
                found = _new(topic, protocol, endpoint, wanted, caller, now_ms)
                found = replace(found, id=storage.insert_subscription(tx, topic, found))
            if found.is_confirmed or protocol not in HTTP_PROTOCOLS:
                return found, None
            version = topic.attributes.get("SignatureVersion", "1")
            return found, self._http.ask_in(tx, found, str(uuid.uuid4()), version)

        subscription, asked = await self._engine.write(job)
        if asked is not None:
            asked()
        if protocol not in DELIVERED_PROTOCOLS:
            logger.warning(
                "%s: lambdad does not deliver to %s; messages of this subscription go nowhere but to its dead-letter "
                "queue",
                subscription.arn,
                protocol,
            )
        return subscription

    async def confirm(
        self, address: TopicAddress, token: str, *, is_authenticated: bool, protects_deletion: bool = False
    ) -> Subscription:
        """Confirms the subscription that a token was sent for; again without effect. Raises NotFound and
        InvalidParameter for a token that is not or no longer valid."""
        now_ms = self._clock.time_ms()

        def job(tx: Transaction) -> Subscription:
            topic = storage.find(tx, address)
            if topic is None:
                raise TopicNotFound
            found = storage.find_token(tx, topic, token)
            if found is None or (not found.is_confirmed and found.created_ms <= now_ms - TOKEN_MS):
                raise invalid_parameter("Token")
            if found.is_confirmed:
                return found
            confirmed = replace(
                found,
                is_confirmed=True,
                was_authenticated=is_authenticated,
                protects_deletion=protects_deletion and is_authenticated,
            )
            storage.update_subscription(tx, confirmed)
            return confirmed

        return await self._engine.write(job)

    async def unsubscribe(self, arn: str, caller: Caller | None = None, *, is_authenticated: bool = True) -> None:
        """Deletes a subscription; without error when there is none. Raises AuthorizationError, also for callers
        without a signature where the subscription asks for one."""
        topic, unique = parse_arn(arn)

        def job(tx: Transaction) -> None:
            found = storage.find_subscription(tx, topic, unique)
            if found is None:
                return
            if not is_authenticated and found.protects_deletion:
                raise ServiceError(
                    "AuthorizationErrorException", "Unsubscribe of this subscription needs a signed call of its owner"
                )
            if is_authenticated:
                _check_owner(found, caller, "Unsubscribe")
            storage.delete_subscription(tx, found)

        await self._engine.write(job)

    async def attributes(self, arn: str, caller: Caller | None = None) -> dict[str, str]:
        """All attributes, by AWS's names. Raises NotFound."""
        address, unique = parse_arn(arn)
        found = await storage.read_subscription(self._engine, address, unique)
        topic = await storage.read_topic(self._engine, address)
        if found is None or topic is None:
            raise SubscriptionNotFound
        _check_owner(found, caller, "GetSubscriptionAttributes")
        return sns_attributes.render_subscription(found, topic.attributes.get("DeliveryPolicy", ""))

    async def set_attribute(self, arn: str, name: str, value: str, caller: Caller | None = None) -> None:
        """Sets an attribute; an empty text or object takes it away. Raises NotFound and InvalidParameter."""
        address, unique = parse_arn(arn)

        def job(tx: Transaction) -> None:
            topic = storage.find(tx, address)
            found = storage.find_subscription(tx, address, unique)
            if found is None or topic is None:
                raise SubscriptionNotFound
            _check_owner(found, caller, "SetSubscriptionAttributes")
            attributes = sns_attributes.check_subscription_attributes(
                {name: value},
                topic=topic,
                protocol=found.protocol,
                endpoint=found.endpoint,
                kept=found.attributes,
            )
            storage.update_subscription(tx, replace(found, attributes=attributes))

        await self._engine.write(job)

    async def listing(self, account: str, region: str, after: int = 0) -> tuple[list[Subscription], int | None]:
        """100 subscriptions of an account after a row, and the row that the next page is after."""
        found = await storage.subscription_listing(self._engine, account, region, after=after, limit=PAGE + 1)
        return _cut(found)

    async def of_topic(
        self, address: TopicAddress, after: int = 0, caller: Caller | None = None
    ) -> tuple[list[Subscription], int | None]:
        """The same for one topic. Raises NotFound."""
        topic = await storage.read_topic(self._engine, address)
        if topic is None:
            raise TopicNotFound
        check_access(topic, caller, "ListSubscriptionsByTopic")
        found = await storage.subscription_listing(
            self._engine, address.account, address.region, topic=topic, after=after, limit=PAGE + 1
        )
        return _cut(found)


def parse_arn(arn: str) -> tuple[TopicAddress, str]:
    """Raises InvalidParameter for what is no subscription's ARN."""
    parts = arn.split(":")
    if len(parts) < 6:
        raise invalid_parameter(f"SubscriptionArn Reason: An ARN must have at least 6 elements, not {len(parts)}")
    found = parse_subscription_arn(arn)
    if found is None or not _is_uuid(found[1]):
        raise invalid_parameter("SubscriptionId")
    return found


def _new(
    topic: Topic, protocol: str, endpoint: str, attributes: Mapping[str, str], caller: Caller, now_ms: int
) -> Subscription:
    is_confirmed = protocol not in _CONFIRMED_BY_ENDPOINT
    return Subscription(
        id=0,
        topic=topic.address,
        unique=str(uuid.uuid4()),
        protocol=protocol,
        endpoint=endpoint,
        owner=caller.account,
        principal=caller.arn,
        attributes=attributes,
        is_confirmed=is_confirmed,
        was_authenticated=is_confirmed,
        token="" if is_confirmed else secrets.token_hex(128),
        created_ms=now_ms,
    )


def _check_owner(subscription: Subscription, caller: Caller | None, action: str) -> None:
    """The owners of the subscription and of its topic may do everything with it, others nothing."""
    if caller is not None and caller.account not in (subscription.owner, subscription.topic.account):
        raise ServiceError(
            "AuthorizationErrorException",
            f"User: {caller.arn} is not authorized to perform: SNS:{action} on resource: {subscription.arn}",
        )


def _check_endpoint(protocol: str, endpoint: str, topic: TopicAddress) -> None:
    if not endpoint:
        raise invalid_parameter("Endpoint Reason: no value for required parameter")
    check = _ENDPOINT_CHECKS.get(protocol)
    reason = check(endpoint) if check is not None else None
    if reason is not None:
        raise invalid_parameter(reason)
    is_fifo_topic, is_fifo_queue = topic.name.endswith(".fifo"), protocol == "sqs" and endpoint.endswith(".fifo")
    if is_fifo_queue and not is_fifo_topic:
        raise invalid_parameter(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"
        )
    if is_fifo_topic and protocol != "sqs":
        raise invalid_parameter("Invalid parameter: Endpoint Reason: Please use FIFO SQS queue")


def _check_http(scheme: str) -> Callable[[str], str | None]:
    def check(endpoint: str) -> str | None:
        if not endpoint.lower().startswith(f"{scheme}://"):
            return "Endpoint must match the specified protocol"
        try:
            parts = urlsplit(endpoint)
            good = bool(parts.hostname) and parts.port != 0 and _URL.fullmatch(endpoint) is not None
        except ValueError:
            good = False
        return None if good else "Endpoint Reason: not a URL"

    return check


_ENDPOINT_CHECKS: Final[dict[str, Callable[[str], str | None]]] = {
    "http": _check_http("http"),
    "https": _check_http("https"),
    "sqs": lambda endpoint: None if parse_queue_arn(endpoint) is not None else "SQS endpoint ARN",
    "lambda": lambda endpoint: None if _FUNCTION_ARN.fullmatch(endpoint) else "Lambda endpoint ARN",
    "email": lambda endpoint: None if "@" in endpoint else "Email address",
    "email-json": lambda endpoint: None if "@" in endpoint else "Email address",
    "sms": lambda endpoint: (
        None if re.fullmatch(r"\+?[0-9 ()./-]{3,30}", endpoint) else f"Invalid SMS endpoint: {endpoint}"
    ),
}


def _is_uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def _cut(found: list[Subscription]) -> tuple[list[Subscription], int | None]:
    return found[:PAGE], found[PAGE - 1].id if len(found) > PAGE else None
