"""SNS as a whole: what the wire, the event queue and rules use."""

from __future__ import annotations

from collections.abc import Mapping

from lambdad.clock import JumpingClock
from lambdad.domain.policies import ServiceCaller
from lambdad.domain.queues import MessageAttribute
from lambdad.neighbours.sns.deliverers import (
    AcceptIn,
    BaseUrl,
    Deliverer,
    FunctionDeliverer,
    HttpDeliverer,
    QueueSender,
    SqsDeliverer,
)
from lambdad.neighbours.sns.http_poster import HttpPoster, Poster
from lambdad.neighbours.sns.posts import Posts
from lambdad.neighbours.sns.publishing import NO_ATTRIBUTES, Published, Publisher
from lambdad.neighbours.sns.subscriptions import SubscriptionControl
from lambdad.neighbours.sns.topics import TopicControl
from lambdad.neighbours.sns.upkeep import TopicUpkeep
from lambdad.storage import topics as storage
from lambdad.storage.engine import Engine, Transaction


class SnsService:
    """Topics on the store of `engine`, in the time of `clock`.

    `queues` takes what goes to SQS, `accept_in` what goes to functions; `base_url` is this server's URL, for the links
    in messages.
    """

    def __init__(
        self,
        engine: Engine,
        clock: JumpingClock,
        *,
        queues: QueueSender,
        accept_in: AcceptIn,
        base_url: BaseUrl,
        poster: Poster | None = None,
    ) -> None:
        self._engine = engine
        self.posts = Posts(engine, clock, poster or HttpPoster(), queues)
        self.upkeep = TopicUpkeep(engine, clock)
        http, sqs = HttpDeliverer(clock, self.posts.wake, base_url), SqsDeliverer(queues, base_url)
        deliverers: dict[str, Deliverer] = {
            "http": http,
            "https": http,
            "sqs": sqs,
            "lambda": FunctionDeliverer(accept_in, base_url),
        }
        self.topics = TopicControl(engine, clock)
        self.subscriptions = SubscriptionControl(engine, clock, http)
        self.publisher = Publisher(engine, clock, deliverers, sqs)

    def start(self) -> None:
        """Starts the background loops."""
        self.posts.start()
        self.upkeep.start()

    async def stop(self) -> None:
        """Ends the background loops. Nothing is lost: all of it is in the store."""
        await self.posts.stop()
        await self.upkeep.stop()

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
        return self.publisher.publish_in(tx, topic_arn, message, attributes, subject, trace=trace, service=service)

    def delivered(self, *published: Published) -> None:
        """Wakes whoever waits for what `publish_in` published; on the event loop, after the commit."""
        self.publisher.delivered(*published)

    async def reset(self) -> None:
        """Removes every topic of every account, with what waits to be sent."""
        await self._engine.write(storage.delete_everything)

    def statistics(self) -> dict[str, float]:
        """Messages published; deliveries made, failed, sent over HTTP and given up since the start."""
        return {**self.publisher.statistics(), **self.posts.statistics()}
