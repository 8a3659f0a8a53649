"""What changes in buckets reaches functions, queues, topics and the default bus of this server."""

from __future__ import annotations

import contextlib
import logging
import uuid
from datetime import UTC, datetime

from lambdad.app.targets import Functions
from lambdad.domain.errors import InvalidParameterValue, LambdadError, ServiceError
from lambdad.domain.identity import Caller
from lambdad.domain.object_events import (
    SERVICE,
    TEST_EVENT,
    NotificationTarget,
    ObjectEvent,
    bus_event,
    notification,
)
from lambdad.domain.policies import ServiceCaller
from lambdad.domain.rules import BusEvent
from lambdad.event_queue.targets import Delivered
from lambdad.neighbours.eventbridge.service import EventBridgeService
from lambdad.neighbours.sns.service import SnsService
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage.engine import Engine, Transaction

logger = logging.getLogger(__name__)

SENDER_ID = "AROA:S3"
SUBJECT = "Amazon S3 Notification"


class _Undone(Exception):
    """Ends a trial."""


class ObjectNotifications:
    """Delivers in one transaction, before the call that changed the object is answered."""

    def __init__(
        self, engine: Engine, *, functions: Functions, sqs: SqsService, sns: SnsService, eventbridge: EventBridgeService
    ) -> None:
        self._engine = engine
        self._functions = functions
        self._sqs = sqs
        self._sns = sns
        self._eventbridge = eventbridge

    async def deliver(self, event: ObjectEvent) -> None:
        """A target that cannot take it is logged, as nobody waits for it on AWS either."""

        def job(tx: Transaction) -> tuple[list[Delivered], list[tuple[str, LambdadError]]]:
            made: list[Delivered] = []
            failures: list[tuple[str, LambdadError]] = []
            for target in event.targets:
                try:
                    made.append(self._put_in(tx, event, target))
                except LambdadError as error:
                    failures.append((target.arn, error))
            if event.is_for_bus:
                made += self._put_on_bus_in(tx, event)
            return made, failures

        made, failures = await self._engine.write(job)
        for delivered in made:
            delivered()
        for arn, error in failures:
            logger.warning(
                "%s did not get %s of s3://%s/%s: %s", arn, event.name, event.bucket, event.key, error.message
            )

    async def check(self, caller: Caller, bucket: str, arns: list[str]) -> None:
        """Raises ServiceError InvalidArgument unless every target would take an event of the bucket.

        (AWS: S3 user guide, "Granting permissions to publish event notification messages".)
        """
        event = ObjectEvent(
            account=caller.account,
            region=caller.region,
            bucket=bucket,
            name=TEST_EVENT,
            time=datetime.now(UTC),
            request_id="",
            targets=tuple(NotificationTarget(arn=arn) for arn in arns),
        )

        def job(tx: Transaction) -> None:
            for target in event.targets:
                try:
                    self._put_in(tx, event, target)
                except LambdadError as error:
                    raise _refused(target.arn, error.message) from error
            raise _Undone  # what was put in was only tried

        with contextlib.suppress(_Undone):
            await self._engine.write(job)

    def _put_in(self, tx: Transaction, event: ObjectEvent, target: NotificationTarget) -> Delivered:
        body = notification(event, target)
        caller = ServiceCaller(service=SERVICE, source_arn=event.bucket_arn, source_account=event.account)
        service = target.arn.split(":")[2] if target.arn.count(":") >= 5 else ""
        if service == "lambda":
            return self._functions.accept_in(tx, target.arn, body, caller)
        if service == "sqs":
            delivery = self._sqs.put_in(tx, target.arn, body.decode(), sender_id=SENDER_ID, service=caller)
            return lambda: self._sqs.delivered(delivery)
        if service != "sns":
            raise InvalidParameterValue(f"{target.arn} is not the ARN of a function, a queue or a topic.")
        published = self._sns.publish_in(tx, target.arn, body.decode(), subject=SUBJECT, service=caller)
        return lambda: self._sns.delivered(published)

    def _put_on_bus_in(self, tx: Transaction, event: ObjectEvent) -> list[Delivered]:
        told = bus_event(event)
        if told is None:
            return []
        detail_type, detail = told
        return [
            self._eventbridge.put_in(
                tx,
                f"arn:aws:events:{event.region}:{event.account}:event-bus/default",
                BusEvent(
                    id=str(uuid.uuid4()),
                    detail_type=detail_type,
                    source="aws.s3",
                    account=event.account,
                    time=event.time,
                    region=event.region,
                    resources=(event.bucket_arn,),
                    detail=detail,
                ),
            )
        ]


def _refused(arn: str, reason: str) -> ServiceError:
    return ServiceError(
        "InvalidArgument", f"Unable to validate the following destination configurations: {arn}: {reason}"
    )
