"""Queues outside of this server, read by long polling through botocore on threads."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lambdad.domain.queue_records import QueueMessage, message_attribute
from lambdad.sources.queues import QueueUnavailable
from lambdad.sources.streams import OnThread

LONGEST_POLL_S: Final = 5
"""Shorter than clients wait for an answer."""


class RemoteQueues:
    """Queues of the services that `client` gives clients of, by ARN."""

    def __init__(self, client: Callable[[str], Any], on_thread: OnThread) -> None:
        self._client = client
        self._on_thread = on_thread
        self._urls: dict[str, str] = {}

    async def receive(self, arn: str, *, limit: int, wait_s: float) -> list[QueueMessage]:
        answer = await self._call(
            arn,
            "receive_message",
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=math.ceil(min(wait_s, LONGEST_POLL_S)),  # never 0 in a loop that waits
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return [_message(message) for message in answer.get("Messages", [])]

    async def delete(self, arn: str, handles: Sequence[str]) -> None:
        entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles)]
        await self._call(arn, "delete_message_batch", Entries=entries)

    async def release(self, arn: str, handles: Sequence[str]) -> None:
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
            for number, handle in enumerate(handles)
        ]
        await self._call(arn, "change_message_visibility_batch", Entries=entries)

    async def visibility_timeout_s(self, arn: str) -> float:
        answer = await self._call(arn, "get_queue_attributes", AttributeNames=["VisibilityTimeout"])
        return float(answer["Attributes"]["VisibilityTimeout"])

    async def _call(self, arn: str, operation: str, **params: Any) -> Any:
        return await self._on_thread(lambda: self._on_a_thread(arn, operation, params))

    def _on_a_thread(self, arn: str, operation: str, params: dict[str, Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            client = self._client(arn)
            if arn not in self._urls:
                account, name = arn.split(":")[4:6]
                self._urls[arn] = client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
            return getattr(client, operation)(QueueUrl=self._urls[arn], **params)
        except ClientError as error:
            raise QueueUnavailable(error.response.get("Error", {}).get("Message") or str(error)) from error
        except BotoCoreError as error:
            raise QueueUnavailable(str(error)) from error


def _message(message: Mapping[str, Any]) -> QueueMessage:
    body: str = message["Body"]
    md5 = message.get("MD5OfBody") or hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    return QueueMessage(
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=body,
        md5_of_body=md5,
        attributes=message.get("Attributes", {}),
        message_attributes={name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()},
        md5_of_attributes=message.get("MD5OfMessageAttributes"),
    )


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    if "BinaryValue" in value:
        return message_attribute(
            value["DataType"], binary_base64=base64.b64encode(value["BinaryValue"]).decode("ascii")
        )
    return message_attribute(value["DataType"], text=value.get("StringValue"))
