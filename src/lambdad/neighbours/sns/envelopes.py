"""The forms in which messages reach subscribers: the JSON of queues and HTTP endpoints, the event of functions.

Messages are not signed: nobody but AWS has the key that clients would check against. `Signature` is there, since
clients expect it, and says so (base64 of `unsigned`); what checks signatures refuses these messages, as it should. As
on AWS, messages of FIFO topics have no such members.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from lambdad.domain.queues import MessageAttribute
from lambdad.domain.topics import FIFO_SUFFIX, Notification, Subscription, TopicAddress

URL_PATH: Final = "/_lambdad/sns"
"""Where subscribers confirm and unsubscribe without a signature, by the links in their messages."""
SIGNATURE: Final = base64.b64encode(b"unsigned").decode("ascii")


def notification(note: Notification, subscription: Subscription, base_url: str) -> str:
    """The body for queues and HTTP endpoints that take no raw messages, in AWS's order and layout (recorded)."""
    members: dict[str, Any] = {"Type": "Notification", "MessageId": note.message_id}
    if note.sequence_number is not None:
        members["SequenceNumber"] = note.sequence_number
    members["TopicArn"] = note.topic.arn
    if note.subject is not None:
        members["Subject"] = note.subject
    members["Message"] = note.text_for(subscription.protocol)
    members["Timestamp"] = time_text(note.published)
    members.update(_signature(note.topic, note.signature_version, base_url, "SigningCertURL"))
    members["UnsubscribeURL"] = unsubscribe_url(subscription.arn, base_url)
    if note.attributes:
        members["MessageAttributes"] = attributes_document(note.attributes)
    return _layout(members)


def confirmation(subscription: Subscription, message_id: str, now: datetime, version: str, base_url: str) -> str:
    """The body that asks an HTTP endpoint to confirm its subscription."""
    topic = subscription.topic
    members = {
        "Type": "SubscriptionConfirmation",
        "MessageId": message_id,
        "Token": subscription.token,
        "TopicArn": topic.arn,
        "Message": f"You have chosen to subscribe to the topic {topic.arn}.\n"
        "To confirm the subscription, visit the SubscribeURL included in this message.",
        "SubscribeURL": subscribe_url(topic.arn, subscription.token, base_url),
        "Timestamp": time_text(now),
        **_signature(topic, version, base_url, "SigningCertURL"),
    }
    return _layout(members)


def function_event(note: Notification, subscription: Subscription, base_url: str) -> bytes:
    """The event of a function (AWS: recorded)."""
    members = {
        "Type": "Notification",
        "MessageId": note.message_id,
        "TopicArn": note.topic.arn,
        "Subject": note.subject,
        "Message": note.text_for(subscription.protocol),
        "Timestamp": time_text(note.published),
        **_signature(note.topic, note.signature_version, base_url, "SigningCertUrl"),
        "UnsubscribeUrl": unsubscribe_url(subscription.arn, base_url),
        "MessageAttributes": attributes_document(note.attributes),
    }
    record = {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription.arn,
        "Sns": members,
    }
    text = json.dumps({"Records": [record]}, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace")


def attributes_document(attributes: Mapping[str, MessageAttribute]) -> dict[str, dict[str, str]]:
    """`{name: {"Type", "Value"}}`, binary values as base64."""
    return {
        name: {
            "Type": value.data_type,
            "Value": base64.b64encode(value.binary_value).decode("ascii")
            if value.binary_value is not None
            else value.string_value or "",
        }
        for name, value in attributes.items()
    }


def subscribe_url(topic_arn: str, token: str, base_url: str) -> str:
    query = urlencode({"Action": "ConfirmSubscription", "TopicArn": topic_arn, "Token": token}, quote_via=quote)
    return f"{base_url}{URL_PATH}?{query}"


def unsubscribe_url(subscription_arn: str, base_url: str) -> str:
    return f"{base_url}{URL_PATH}?Action=Unsubscribe&SubscriptionArn={subscription_arn}"


def time_text(moment: datetime) -> str:
    """`2019-11-14T18:16:05.568Z`"""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _signature(topic: TopicAddress, version: str, base_url: str, certificate: str) -> dict[str, str]:
    if topic.name.endswith(FIFO_SUFFIX):
        return {}
    return {
        "SignatureVersion": version,
        "Signature": SIGNATURE,
        certificate: f"{base_url}{URL_PATH}/SimpleNotificationService-unsigned.pem",
    }


def _layout(members: Mapping[str, Any]) -> str:
    """JSON as SNS writes it: a line for each member, spaces around the colons, what is below on one line."""
    lines = []
    for name, value in members.items():
        if isinstance(value, dict):
            inner = ",\n".join(
                f'    "{key}" : {json.dumps(each, separators=(",", ":"), ensure_ascii=False)}'
                for key, each in value.items()
            )
            lines.append(f'  "{name}" : {{\n{inner}\n  }}')
        else:
            lines.append(f'  "{name}" : {json.dumps(value, ensure_ascii=False)}')
    return "{\n" + ",\n".join(lines) + "\n}"
