"""Sends what waits for HTTP(S) subscribers, again and again until it arrives or is given up.

Every subscriber has a lane of its own, so that one that is slow or down delays no other. At least once: a post is
removed after the endpoint has taken it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from lambdad.clock import JumpingClock
from lambdad.domain.errors import LambdadError
from lambdad.domain.topics import Subscription
from lambdad.loops import Loop
from lambdad.neighbours.sns.attributes import dead_letter_arn, effective_policy
from lambdad.neighbours.sns.deliverers import SENDER_ID, Delivered, QueueSender, caller_for
from lambdad.neighbours.sns.http_poster import Poster, PostFailed
from lambdad.storage import topic_posts, topics
from lambdad.storage.engine import Engine, Transaction
from lambdad.storage.topic_posts import Post

logger = logging.getLogger(__name__)

AT_ONCE: Final = 10
"""Posts to one subscriber."""
MAX_LANES: Final = 64
"""Subscribers that are worked for at the same time."""


class Posts(Loop):
    """Starts a lane for each subscriber for whom something is due."""

    name = "topic posts"

    def __init__(self, engine: Engine, clock: JumpingClock, poster: Poster, queues: QueueSender) -> None:
        super().__init__()
        self._engine = engine
        self._clock = clock
        self._poster = poster
        self._queues = queues
        self._lanes: dict[int, asyncio.Task[None]] = {}
        self._sent = 0
        self._given_up = 0
        clock.on_advance(self.wake)

    async def run_once(self) -> float | None:
        """Starts what is due. Returns the seconds until more is; lanes that end wake the loop."""
        pause_s: float | None = None
        now_ms = self._clock.time_ms()
        for lane in await topic_posts.lanes(self._engine):
            if lane.subscription_id in self._lanes:
                continue
            if lane.due_ms > now_ms:
                wait_s = (lane.due_ms - now_ms) / 1000 + 0.001
                pause_s = wait_s if pause_s is None else min(pause_s, wait_s)
            elif len(self._lanes) < MAX_LANES:
                work = self._run_lane(lane.subscription_id)
                self._lanes[lane.subscription_id] = asyncio.get_running_loop().create_task(work)
        return pause_s

    async def settle(self) -> None:
        """Runs everything that is due now to its end; for tests, in place of the loop."""
        await self.run_once()
        while self._lanes:
            await asyncio.gather(*self._lanes.values())
            await self.run_once()

    async def stop(self) -> None:
        """What is under way is cut off, and sent again by the next server."""
        await super().stop()
        lanes = list(self._lanes.values())
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)

    def statistics(self) -> dict[str, float]:
        """Posts that arrived and that were given up since the start."""
        return {"posts_sent": self._sent, "posts_given_up": self._given_up}

    async def _run_lane(self, subscription_id: int) -> None:
        try:
            while await self._send_some(subscription_id):
                pass
        except Exception:
            logger.exception("%s: sending to a subscriber failed; it is tried again", self.name)
            await asyncio.sleep(1.0)
        finally:
            del self._lanes[subscription_id]
            self.wake()

    async def _send_some(self, subscription_id: int) -> bool:
        """Sends posts that are due; False when there are none."""
        found = await topics.read_subscriber(self._engine, subscription_id)
        if found is None:
            return False
        subscription, topic_policy = found
        rate = effective_policy(subscription, topic_policy).max_per_second
        limit = AT_ONCE if rate is None else min(AT_ONCE, rate)
        posts = await topic_posts.due(self._engine, subscription_id, self._clock.time_ms(), limit)
        started = time.monotonic()
        tries = [self._try(post, subscription, topic_policy) for post in posts]
        for result in await asyncio.gather(*tries, return_exceptions=True):  # all have ended before one is raised
            if isinstance(result, BaseException):
                raise result
        if rate is not None and posts:
            await asyncio.sleep(max(0.0, started + len(posts) / rate - time.monotonic()))
        return bool(posts)

    async def _try(self, post: Post, subscription: Subscription, topic_policy: str) -> None:
        policy = effective_policy(subscription, topic_policy)
        headers = {**post.headers, "Content-Type": policy.content_type}
        try:
            status = await self._poster.post(subscription.endpoint, headers, post.body.encode("utf-8", "replace"))
        except PostFailed as error:
            reason, may_retry = str(error), True
        else:
            if 200 <= status < 300:
                await self._engine.write(lambda tx: topic_posts.remove(tx, post.id))
                self._sent += 1
                return
            # Other statuses are errors for good (SNS developer guide, message delivery retries).
            reason, may_retry = f"it answered {status}", status >= 500 or status == 429
        delay_s = policy.delay_s(post.tries + 1) if may_retry else None
        if delay_s is None:
            await self._give_up(post, subscription, reason)
        else:
            due_ms = self._clock.time_ms() + round(delay_s * 1000)
            await self._engine.write(lambda tx: topic_posts.postpone(tx, post.id, due_ms))

    async def _give_up(self, post: Post, subscription: Subscription, reason: str) -> None:
        arn = dead_letter_arn(subscription) if post.is_notification else None

        def job(tx: Transaction) -> tuple[Delivered | None, str]:
            if not topic_posts.remove(tx, post.id) or arn is None:
                return None, "It is lost."
            try:
                return self._dead_letter(tx, arn, subscription, post), f"It is in the dead-letter queue {arn}."
            except LambdadError as error:
                return None, f"Its dead-letter queue {arn} could not take it either, so it is lost. {error.message}"

        delivered, end = await self._engine.write(job)
        if delivered is not None:
            delivered()
        self._given_up += 1
        logger.warning(
            "Message %s could not be delivered to %s after %d tries: %s. %s",
            post.headers["x-amz-sns-message-id"],
            subscription.endpoint,
            post.tries + 1,
            reason,
            end,
        )

    def _dead_letter(self, tx: Transaction, arn: str, subscription: Subscription, post: Post) -> Callable[[], None]:
        delivery = self._queues.put_in(tx, arn, post.body, sender_id=SENDER_ID, service=caller_for(subscription))
        return lambda: self._queues.delivered(delivery)
