"""Targets outside of this server: another emulator, a queue server, or AWS itself, called through botocore.

botocore is imported with the first message that leaves the server.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from lambdad.clock import Clock
from lambdad.domain.destinations import OutgoingMessage, event_bridge_envelope, s3_key
from lambdad.event_queue.clients import EMBEDDED, Clients
from lambdad.event_queue.targets import TargetRefused
from lambdad.event_queue.threads import on_thread

logger = logging.getLogger(__name__)

THREADS = 4
_TIMESTAMP = re.compile(rb'"timestamp":"([^"]+)"')
"""The record's own, which stands before all that a function has a say in."""
PASSING_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InternalException",
        "InternalFailure",
        "KMSThrottlingException",
        "KmsThrottled",
        "OverLimit",
        "ProvisionedThroughputExceededException",
        "RequestExpired",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "SlowDown",
        "Throttled",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Codes of answers with a 4xx status after which trying again may help: throttles, and keys that are renewed."""
PASSING_STATUSES = frozenset({408, 425, 429})


class RemoteTargets:
    """Sends messages to the endpoints that rules name; a RemoteSender.

    `rules` are patterns with their endpoints: a pattern is an ARN, in which `*` stands for any text, or a service
    (`sqs`, `sns`, `events`, `lambda`, `s3`); an endpoint is a URL or the word `aws`. The first ARN pattern that matches
    counts, then the rule of the service. A target without a rule belongs to this server, which reaches buckets as
    it reaches remote targets if it has any: they are embedded, and not part of its store.
    """

    def __init__(self, rules: Mapping[str, str], clock: Clock, clients: Clients | None = None) -> None:
        self._services = {name: endpoint for name, endpoint in rules.items() if name in _SERVICES}
        self._arns = [(_matcher(name), endpoint) for name, endpoint in rules.items() if name not in _SERVICES]
        self._clock = clock
        self.clients = clients or Clients()
        self._slots = asyncio.Semaphore(THREADS)
        self._unreachable: set[str] = set()

    def sends_to(self, arn: str) -> bool:
        return self.endpoint_of(arn) is not None

    def endpoint_of(self, arn: str) -> str | None:
        """The URL that messages to the target go to, `aws` or `embedded`; None for those that the store takes."""
        service = _service_of(arn)
        if service not in _SERVICES:
            return None
        for matches, endpoint in self._arns:
            if matches(arn):
                return endpoint
        return self._services.get(service, EMBEDDED if service in _FROM_EXTRA and self.clients.has_embedded else None)

    async def send(self, arn: str, message: OutgoingMessage) -> None:
        """Raises TargetRefused when the target has refused the message for good, whatever botocore raises otherwise."""
        endpoint = self.endpoint_of(arn)
        if endpoint is None:
            # The message was put away under a rule that the server is not started with any more.
            raise TargetRefused(f"No rule names an endpoint for it any more: give `--target {_service_of(arn)}=URL`.")
        try:
            async with self._slots:
                await on_thread(lambda: self._send(endpoint, arn, message))
        except TargetRefused:
            raise
        except Exception as error:
            if arn not in self._unreachable:
                self._unreachable.add(arn)
                logger.warning("%s at %s does not take messages, which wait for it: %s", arn, endpoint, error)
            raise
        if arn in self._unreachable:
            self._unreachable.discard(arn)
            logger.info("%s at %s takes messages again.", arn, endpoint)

    def _send(self, endpoint: str, arn: str, message: OutgoingMessage) -> None:
        """On a thread."""
        from botocore.exceptions import ClientError, ParamValidationError  # noqa: PLC0415

        service = _service_of(arn)
        try:
            # Buckets have no region in their ARNs.
            client = self.clients.client(service, endpoint, arn.split(":")[3] or message.region, message.account)
            _SENDERS[service](client, arn, message, self._clock.now())
        except ParamValidationError as error:
            raise TargetRefused(str(error)) from error
        except ClientError as error:
            if _is_final(error.response):
                raise TargetRefused(str(error)) from error
            raise


# --- one request for each service, on a thread ---


def _to_queue(client: Any, arn: str, message: OutgoingMessage, _: datetime) -> None:
    account, name = arn.split(":")[4:6]
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": message.trace}} if message.trace else {}
    client.send_message(
        QueueUrl=f"{client.meta.endpoint_url.rstrip('/')}/{account}/{name}",
        MessageBody=message.body.decode("utf-8"),
        MessageAttributes=_attributes(message),
        MessageSystemAttributes=trace,
    )


def _to_topic(client: Any, arn: str, message: OutgoingMessage, _: datetime) -> None:
    client.publish(TopicArn=arn, Message=message.body.decode("utf-8"), MessageAttributes=_attributes(message))


def _to_bus(client: Any, arn: str, message: OutgoingMessage, now: datetime) -> None:
    envelope = json.loads(event_bridge_envelope(replace(message, body=b"{}"), arn, "", now))  # its head alone
    entry: dict[str, Any] = {
        "Time": now,
        "Source": envelope["source"],
        "Resources": envelope["resources"],
        "DetailType": envelope["detail-type"],
        "Detail": message.body.decode("utf-8"),
        "EventBusName": arn,
    }
    if message.trace:
        entry["TraceHeader"] = message.trace
    answer = client.put_events(Entries=[entry])
    if answer.get("FailedEntryCount"):
        failure = answer["Entries"][0]
        told = f"{failure.get('ErrorCode')}: {failure.get('ErrorMessage')}"
        if failure.get("ErrorCode") in PASSING_CODES:
            raise ConnectionError(told)
        raise TargetRefused(told)


def _to_function(client: Any, arn: str, message: OutgoingMessage, _: datetime) -> None:
    client.invoke(FunctionName=arn, InvocationType="Event", Payload=message.body, TraceHeader=message.trace)


def _to_bucket(client: Any, arn: str, message: OutgoingMessage, _: datetime) -> None:
    # Key and time are the record's own, so that a second try replaces what a first one may have stored.
    stamp = _TIMESTAMP.search(message.body)  # not parsed: what functions return may be nested too deep for that
    assert stamp is not None
    recorded = datetime.fromisoformat(stamp[1].decode())
    unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{message.request_id} {recorded.isoformat()}")
    client.put_object(
        Bucket=arn.split(":", 5)[5],
        Key=s3_key(message.function_arn.split(":")[6], str(unique), recorded),
        Body=message.body,
        ContentType="application/octet-stream",
    )


_SENDERS: dict[str, Callable[[Any, str, OutgoingMessage, datetime], None]] = {
    "sqs": _to_queue,
    "sns": _to_topic,
    "events": _to_bus,
    "lambda": _to_function,
    "s3": _to_bucket,
}


_SERVICES = frozenset({*_SENDERS, "kinesis", "dynamodb"})
"""What rules can name. Of the last two the streams are read."""
_FROM_EXTRA = frozenset({"s3", "kinesis", "dynamodb"})
"""Embedded, if they are there, and not part of the store."""


def _attributes(message: OutgoingMessage) -> dict[str, dict[str, str]]:
    return {name: {"DataType": one.data_type, "StringValue": one.value} for name, one in message.attributes.items()}


def _is_final(response: Mapping[str, Any]) -> bool:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    code = response.get("Error", {}).get("Code", "").rpartition(".")[2]
    if not code or code.isdigit():
        # botocore puts the status where there is no code: not the service has answered, but a proxy before it.
        return False
    return 400 <= status < 500 and status not in PASSING_STATUSES and code not in PASSING_CODES


def _service_of(arn: str) -> str:
    parts = arn.split(":", 5)
    return parts[2] if len(parts) == 6 else ""


def _matcher(pattern: str) -> Callable[[str], object]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL).fullmatch
