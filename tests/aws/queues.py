"""Queues, mappings and functions that report, as tests of event source mappings use them."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from tests.running import RunningServer

REPORTS = """
import boto3, json, os
queue = boto3.client("sqs")
def report(value):
    queue.send_message(QueueUrl=os.environ["REPORTS"], MessageBody=json.dumps(value))
"""
"""The beginning of functions that tell what they got: `report` sends to the queue of REPORTS."""


class Queue:
    """A queue of a test's own, whose name is unique."""

    def __init__(
        self, server: RunningServer, *, account: str = "test", fifo: bool = False, **attributes: object
    ) -> None:
        self.client = server.client("sqs", account=account)
        self.name = f"q-{uuid.uuid4().hex[:12]}" + (".fifo" if fifo else "")
        given = {key: str(value) for key, value in attributes.items()}
        if fifo:
            given["FifoQueue"] = "true"
        self.url = self.client.create_queue(QueueName=self.name, Attributes=given)["QueueUrl"]
        self.arn = self._attributes("QueueArn")["QueueArn"]

    def send(self, *bodies: object, **members: Any) -> list[str]:
        """Texts as they are, everything else as JSON; returns the ids."""
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        return [self.client.send_message(QueueUrl=self.url, MessageBody=text, **members)["MessageId"] for text in texts]

    def take(self, count: int = 1, timeout_s: float = 30) -> list[Any]:
        """So many messages, as JSON, in the order of arrival; taken off the queue."""
        found: list[Any] = []
        end = time.monotonic() + timeout_s
        while len(found) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} messages came: {found}"
            got = self.client.receive_message(QueueUrl=self.url, WaitTimeSeconds=5, MaxNumberOfMessages=10)
            for message in got.get("Messages", []):
                self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found

    def counts(self) -> tuple[int, int]:
        """Messages that are visible, and that are in flight."""
        attributes = self._attributes("All")
        visible = int(attributes["ApproximateNumberOfMessages"])
        return visible, int(attributes["ApproximateNumberOfMessagesNotVisible"])

    def wait_for_counts(self, *counts: int) -> None:
        """Until the queue has so many messages visible and in flight."""
        end = time.monotonic() + 30
        while (now := self.counts()) != counts:
            assert time.monotonic() < end, f"{counts} expected, not {now}"

    def _attributes(self, name: str) -> dict[str, str]:
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])
        return found["Attributes"]  # type: ignore[no-any-return]


def a_mapping(client: Any, queue: Queue, function: str, *, wait: bool = True, **settings: Any) -> dict[str, Any]:
    """The answer of CreateEventSourceMapping, once the mapping is settled."""
    made = client.create_event_source_mapping(EventSourceArn=queue.arn, FunctionName=function, **settings)
    if wait:
        settled(client, made["UUID"])
    return made  # type: ignore[no-any-return]


def settled(client: Any, uuid: str) -> dict[str, Any]:
    """The mapping once it is in no transition."""
    while (found := client.get_event_source_mapping(UUID=uuid))["State"] not in ("Enabled", "Disabled"):
        time.sleep(0.02)  # what clients do: there is no signal
    return found  # type: ignore[no-any-return]
