"""SQS as a whole: what the wire, the event queue, topics, rules and pollers use."""

from __future__ import annotations

from collections.abc import Mapping

from lambdad.domain.policies import ServiceCaller
from lambdad.domain.queues import MessageAttribute
from lambdad.neighbours.sqs.messages import Delivery, Draft, Messages
from lambdad.neighbours.sqs.moves import MoveTasks
from lambdad.neighbours.sqs.queues import NAME_BLOCKED_S, QueueControl
from lambdad.neighbours.sqs.upkeep import Upkeep
from lambdad.neighbours.sqs.waiting import JumpingClock, WaitingRoom
from lambdad.storage import queues as storage
from lambdad.storage.engine import Engine, Transaction

NO_ATTRIBUTES: Mapping[str, MessageAttribute] = {}


class SqsService:
    """Queues and messages on the store of `engine`, in the time of `clock`.

    `name_blocked_s`: how long the name of a deleted queue cannot be used again (60 on AWS).
    """

    def __init__(self, engine: Engine, clock: JumpingClock, *, name_blocked_s: float = NAME_BLOCKED_S) -> None:
        self._engine = engine
        self._waiting = WaitingRoom(clock)
        self.queues = QueueControl(engine, clock, self._waiting, name_blocked_s=name_blocked_s)
        self.messages = Messages(engine, clock, self._waiting)
        self.moves = MoveTasks(engine, clock, self._waiting)
        self.upkeep = Upkeep(engine, clock, self.queues)

    def start(self) -> None:
        """Starts the background loops."""
        self.moves.start()
        self.upkeep.start()

    def release_waiters(self) -> None:
        """Ends all long polls with what they have; before the server waits for calls in progress."""
        self._waiting.close()

    async def stop(self) -> None:
        """Ends long polls and background loops. Nothing is lost: all of it is in the store."""
        self.release_waiters()
        await self.moves.stop()
        await self.upkeep.stop()

    def put_in(
        self,
        tx: Transaction,
        queue_arn: str,
        body: str,
        attributes: Mapping[str, MessageAttribute] = NO_ATTRIBUTES,
        system_attributes: Mapping[str, MessageAttribute] = NO_ATTRIBUTES,
        *,
        sender_id: str,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        service: ServiceCaller | None = None,
    ) -> Delivery:
        """Sends a message inside a transaction of the caller's, on the writer's thread.

        It is there if and only if that transaction commits; hand the result to `delivered` then. `service` is who
        sends, if the queue's policy has to allow it. Raises AccessDenied, NonExistentQueue and other ServiceErrors
        before anything is written, so a job can catch them and go on.
        """
        draft = Draft(
            body=body,
            attributes=attributes,
            system_attributes=system_attributes,
            group_id=group_id,
            deduplication_id=deduplication_id,
        )
        return self.messages.put_in(tx, queue_arn, draft, sender_id=sender_id, service=service)

    def delivered(self, *deliveries: Delivery) -> None:
        """Wakes receivers of what `put_in` stored; on the event loop, after the commit."""
        self.messages.delivered(*deliveries)

    async def reset(self) -> None:
        """Removes every queue of every account; takes no longer for many messages, which go bit by bit."""
        await self._engine.write(storage.delete_everything)
        self._waiting.look_again()
        self.upkeep.wake()

    def statistics(self) -> dict[str, float]:
        """Messages sent, received and deleted since the start; receivers that wait now."""
        return {**self.messages.statistics(), **self._waiting.statistics()}
