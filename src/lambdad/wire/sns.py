"""SNS on the wire, in the query protocol: from parameters to the service and back; and the links in its messages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from lambdad.domain.errors import LambdadError, ServiceError
from lambdad.domain.queues import MessageAttribute
from lambdad.domain.topics import Draft, Subscription, TopicAddress, parse_topic_arn
from lambdad.http.messages import Response
from lambdad.http.protocol import Exchange
from lambdad.neighbours.sns.envelopes import URL_PATH
from lambdad.neighbours.sns.errors import invalid_parameter, missing_parameter
from lambdad.neighbours.sns.publishing import Published, check_batch
from lambdad.neighbours.sns.service import SnsService
from lambdad.wire import errors
from lambdad.wire.own import OwnEndpoints
from lambdad.wire.protocols import model as models
from lambdad.wire.protocols.query import Query, form_of
from lambdad.wire.request_ids import new_request_id
from lambdad.wire.service import Answer, ApiCall, Handler, Service

_LINKED = ("ConfirmSubscription", "Unsubscribe")
_CODES = {"InvalidParameterException": "InvalidParameter", "InvalidParameterValueException": "ParameterValueInvalid"}


def sns_service(sns: SnsService) -> Service:
    """The service for the front door."""
    return Service(name="sns", signing_names=("sns",), handlers=handlers(sns), checks_itself=True)


def handlers(sns: SnsService) -> dict[str, Handler]:
    """A handler for every operation on topics, subscriptions and messages."""
    topics, subscriptions, messages = _TopicHandlers(sns), _SubscriptionHandlers(sns), _MessageHandlers(sns)
    return {
        "CreateTopic": topics.create,
        "DeleteTopic": topics.delete,
        "ListTopics": topics.listing,
        "GetTopicAttributes": topics.get_attributes,
        "SetTopicAttributes": topics.set_attributes,
        "AddPermission": topics.add_permission,
        "RemovePermission": topics.remove_permission,
        "TagResource": topics.tag,
        "UntagResource": topics.untag,
        "ListTagsForResource": topics.list_tags,
        "Subscribe": subscriptions.subscribe,
        "ConfirmSubscription": subscriptions.confirm,
        "Unsubscribe": subscriptions.unsubscribe,
        "GetSubscriptionAttributes": subscriptions.get_attributes,
        "SetSubscriptionAttributes": subscriptions.set_attributes,
        "ListSubscriptions": subscriptions.listing,
        "ListSubscriptionsByTopic": subscriptions.of_topic,
        "Publish": messages.publish,
        "PublishBatch": messages.publish_batch,
    }


class SubscriberLinks:
    """`GET /_lambdad/sns?Action=…`: what the links in messages lead to. As on AWS no signature is asked for: only who
    got the message knows the token, or the subscription's ARN."""

    def __init__(self, sns: SnsService) -> None:
        self._sns = sns

    def register(self, endpoints: OwnEndpoints) -> None:
        endpoints.add("GET", URL_PATH, self.follow, is_open=True)

    async def follow(self, exchange: Exchange) -> Response:
        """Confirms or unsubscribes, and answers as the operation does."""
        request_id = new_request_id()
        try:
            return await self._follow(exchange, request_id)
        except LambdadError as error:
            return errors.render(error, errors.QUERY, request_id, self._codec.model)

    async def _follow(self, exchange: Exchange, request_id: str) -> Response:
        form = form_of(exchange.request)
        operation = self._codec.find(exchange.request)[0]
        if operation.name not in _LINKED:
            raise invalid_parameter("Action Reason: links confirm subscriptions and end them, nothing else")
        if operation.name == "Unsubscribe":
            await self._sns.subscriptions.unsubscribe(form.get("SubscriptionArn", ""), is_authenticated=False)
            return self._codec.answer(operation, Answer(), request_id)
        found = await self._sns.subscriptions.confirm(
            _parse_topic(form.get("TopicArn"), "TopicArn"), form.get("Token", ""), is_authenticated=False
        )
        return self._codec.answer(operation, Answer(members={"SubscriptionArn": found.arn}), request_id)

    @cached_property
    def _codec(self) -> Query:
        return Query(models.load("sns", _LINKED))


class _TopicHandlers:
    def __init__(self, sns: SnsService) -> None:
        self._topics = sns.topics

    async def create(self, call: ApiCall) -> Answer:
        if call.params.get("DataProtectionPolicy"):
            raise invalid_parameter("DataProtectionPolicy Reason: lambdad does not look for sensitive data in messages")
        address = TopicAddress(call.caller.account, call.caller.region, _required(call, "Name"))
        await self._topics.create(address, _texts(call.params.get("Attributes")), _tags(call.params.get("Tags")))
        return Answer(members={"TopicArn": address.arn})

    async def delete(self, call: ApiCall) -> Answer:
        await self._topics.delete(_topic(call), call.caller)
        return Answer()

    async def listing(self, call: ApiCall) -> Answer:
        after = _after(call)
        found, last = await self._topics.listing(call.caller.account, call.caller.region, after)
        topics = [{"TopicArn": address.arn} for address in found]
        return Answer(members={"Topics": topics, "NextToken": _token(last)})

    async def get_attributes(self, call: ApiCall) -> Answer:
        return Answer(members={"Attributes": await self._topics.attributes(_topic(call), call.caller)})

    async def set_attributes(self, call: ApiCall) -> Answer:
        address, name = _topic(call), _required(call, "AttributeName")
        await self._topics.set_attribute(address, name, call.params.get("AttributeValue") or "", call.caller)
        return Answer()

    async def add_permission(self, call: ApiCall) -> Answer:
        await self._topics.add_permission(
            _topic(call),
            _required(call, "Label"),
            _list(call, "AWSAccountId"),
            _list(call, "ActionName"),
            call.caller,
        )
        return Answer()

    async def remove_permission(self, call: ApiCall) -> Answer:
        await self._topics.remove_permission(_topic(call), _required(call, "Label"), call.caller)
        return Answer()

    async def tag(self, call: ApiCall) -> Answer:
        await self._topics.tag(_topic(call, "ResourceArn"), _tags(_required(call, "Tags")), call.caller)
        return Answer()

    async def untag(self, call: ApiCall) -> Answer:
        await self._topics.untag(_topic(call, "ResourceArn"), _list(call, "TagKeys"), call.caller)
        return Answer()

    async def list_tags(self, call: ApiCall) -> Answer:
        tags = await self._topics.tags(_topic(call, "ResourceArn"), call.caller)
        return Answer(members={"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]})


class _SubscriptionHandlers:
    def __init__(self, sns: SnsService) -> None:
        self._subscriptions = sns.subscriptions

    async def subscribe(self, call: ApiCall) -> Answer:
        address, protocol = _topic(call), _required(call, "Protocol")
        found = await self._subscriptions.subscribe(
            address, protocol, call.params.get("Endpoint") or "", _texts(call.params.get("Attributes")), call.caller
        )
        shows_arn = found.is_confirmed or call.params.get("ReturnSubscriptionArn")
        return Answer(members={"SubscriptionArn": found.arn if shows_arn else "pending confirmation"})

    async def confirm(self, call: ApiCall) -> Answer:
        found = await self._subscriptions.confirm(
            _topic(call),
            _required(call, "Token"),
            is_authenticated=True,
            protects_deletion=(call.params.get("AuthenticateOnUnsubscribe") or "").lower() == "true",
        )
        return Answer(members={"SubscriptionArn": found.arn})

    async def unsubscribe(self, call: ApiCall) -> Answer:
        await self._subscriptions.unsubscribe(_required(call, "SubscriptionArn"), call.caller)
        return Answer()

    async def get_attributes(self, call: ApiCall) -> Answer:
        attributes = await self._subscriptions.attributes(_required(call, "SubscriptionArn"), call.caller)
        return Answer(members={"Attributes": attributes})

    async def set_attributes(self, call: ApiCall) -> Answer:
        arn, name = _required(call, "SubscriptionArn"), _required(call, "AttributeName")
        await self._subscriptions.set_attribute(arn, name, call.params.get("AttributeValue") or "", call.caller)
        return Answer()

    async def listing(self, call: ApiCall) -> Answer:
        found, last = await self._subscriptions.listing(call.caller.account, call.caller.region, _row(call))
        return _listed(found, last)

    async def of_topic(self, call: ApiCall) -> Answer:
        found, last = await self._subscriptions.of_topic(_topic(call), _row(call), call.caller)
        return _listed(found, last)


class _MessageHandlers:
    def __init__(self, sns: SnsService) -> None:
        self._publisher = sns.publisher

    async def publish(self, call: ApiCall) -> Answer:
        params = call.params
        if params.get("PhoneNumber"):
            raise invalid_parameter("PhoneNumber Reason: lambdad sends no text messages")
        arn = params.get("TopicArn") or params.get("TargetArn")
        if not arn:
            raise missing_parameter("TopicArn or TargetArn")
        address = _parse_topic(arn, "TopicArn" if params.get("TopicArn") else "TargetArn", call.caller.region)
        published = await self._publisher.publish(address, _draft(params, call), call.caller)
        return Answer(members=_published(published))

    async def publish_batch(self, call: ApiCall) -> Answer:
        address = _topic(call)
        entries = [entry or {} for entry in call.params.get("PublishBatchRequestEntries") or []]
        check_batch([entry.get("Id") or "" for entry in entries])
        drafts = [_draft(entry, call) for entry in entries]
        results = await self._publisher.publish_batch(address, drafts, call.caller)
        successful, failed = [], []
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, ServiceError):
                code = _CODES.get(result.code, result.code)
                failed.append({"Id": entry["Id"], "Code": code, "Message": result.message, "SenderFault": True})
            else:
                successful.append({"Id": entry["Id"], **_published(result)})
        return Answer(members={"Successful": successful, "Failed": failed})


# --- parameters ---


def _required(call: ApiCall, member: str) -> Any:
    """A member that the call must have. Raises InvalidParameter."""
    value = call.params.get(member)
    if value is None or value in ("", {}, []):
        raise missing_parameter(member)
    return value


def _topic(call: ApiCall, member: str = "TopicArn") -> TopicAddress:
    return _parse_topic(call.params.get(member), member, call.caller.region)


def _parse_topic(arn: str | None, member: str, region: str | None = None) -> TopicAddress:
    """The topic of an ARN. Raises InvalidParameter for what is none, and for one of another region."""
    if not arn:
        raise missing_parameter(member)
    count = len(arn.split(":"))
    if count < 6:
        raise invalid_parameter(f"{member} Reason: An ARN must have at least 6 elements, not {count}")
    address = parse_topic_arn(arn)
    if address is None or (region is not None and address.region != region):
        raise invalid_parameter(member)
    return address


def _draft(params: Mapping[str, Any], call: ApiCall) -> Draft:
    return Draft(
        message=params.get("Message") or "",
        subject=params.get("Subject"),
        structure=params.get("MessageStructure"),
        attributes={
            name: MessageAttribute(
                (value or {}).get("DataType") or "", (value or {}).get("StringValue"), (value or {}).get("BinaryValue")
            )
            for name, value in (params.get("MessageAttributes") or {}).items()
        },
        group_id=params.get("MessageGroupId"),
        deduplication_id=params.get("MessageDeduplicationId"),
        trace=call.request.headers.get("x-amzn-trace-id", ""),
    )


def _texts(given: Mapping[str, str | None] | None) -> dict[str, str]:
    return {name: value or "" for name, value in (given or {}).items()}


def _list(call: ApiCall, member: str) -> list[str]:
    return [text for text in call.params.get(member) or () if text is not None]


def _tags(given: list[Mapping[str, str] | None] | None) -> list[tuple[str, str]]:
    return [(tag.get("Key", ""), tag.get("Value", "")) for tag in given or () if tag is not None]


# --- pages ---


def _token(last: str | int | None) -> str | None:
    return None if last is None else base64.urlsafe_b64encode(str(last).encode()).decode("ascii")


def _after(call: ApiCall) -> str:
    """What the page of a call is after. Raises InvalidParameter for a token that is not from here."""
    try:
        return base64.b64decode(call.params.get("NextToken") or "", altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        raise invalid_parameter("NextToken") from None


def _row(call: ApiCall) -> int:
    text = _after(call)
    if text and not (text.isdigit() and len(text) < 19):
        raise invalid_parameter("NextToken")
    return int(text or 0)


# --- answers ---


def _published(published: Published) -> dict[str, Any]:
    return {"MessageId": published.message_id, "SequenceNumber": published.sequence_number}


def _listed(found: list[Subscription], last: int | None) -> Answer:
    subscriptions = [
        {
            "SubscriptionArn": each.arn if each.is_confirmed else "PendingConfirmation",
            "Owner": each.owner,
            "Protocol": each.protocol,
            "Endpoint": each.endpoint,
            "TopicArn": each.topic.arn,
        }
        for each in found
    ]
    return Answer(members={"Subscriptions": subscriptions, "NextToken": _token(last)})
