"""Tasks that move the messages of a dead-letter queue back, or to another queue."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Sequence
from typing import Final

from lambdad.domain.errors import ServiceError
from lambdad.domain.identity import Caller
from lambdad.domain.queues import MoveStatus, MoveTask, Queue, parse_queue_arn
from lambdad.loops import Loop
from lambdad.neighbours.sqs.errors import invalid_parameter, invalid_value, not_found, unsupported
from lambdad.neighbours.sqs.queues import check_access
from lambdad.neighbours.sqs.waiting import JumpingClock, WaitingRoom
from lambdad.storage import queue_claims, queue_messages, queue_moves, queues
from lambdad.storage.engine import Engine, Transaction
from lambdad.storage.queue_claims import Move

MAX_RATE: Final = 500
KEPT: Final = 10
"""Tasks remembered for each queue; as many as ListMessageMoveTasks lists at most."""
_STEP: Final = 100


class MoveTasks(Loop):
    """Starts, lists and cancels tasks, and is the loop that moves the messages. Tasks go on after a restart."""

    name = "message move tasks"

    def __init__(self, engine: Engine, clock: JumpingClock, waiting: WaitingRoom) -> None:
        super().__init__()
        self._engine = engine
        self._clock = clock
        self._waiting = waiting
        clock.on_advance(self.wake)

    async def begin(
        self,
        source_arn: str,
        destination_arn: str | None = None,
        rate: int | None = None,
        caller: Caller | None = None,
    ) -> str:
        """Starts to move what the dead-letter queue holds; the handle of the task.

        `rate`: messages a second (1 to 500). Raises ResourceNotFound, UnsupportedOperation when the queue has a task
        already, InvalidParameterValue.
        """
        if rate is not None and not 1 <= rate <= MAX_RATE:
            raise invalid_value(
                rate, "MaxNumberOfMessagesPerSecond", f"Must be an integer between 1 and {MAX_RATE}, if provided."
            )
        task_id, now_ms = str(uuid.uuid4()), self._clock.time_ms()
        address = parse_queue_arn(source_arn)
        source = await queues.read_queue(self._engine, address) if address is not None else None
        if source is None:
            raise not_found("The resource that you specified for the SourceArn parameter doesn't exist.")
        check_access(source, caller, "StartMessageMoveTask")
        counts, _ = await queue_messages.count(self._engine, source, now_ms)

        def job(tx: Transaction) -> None:
            if not queues.is_dead_letter_queue(tx, source_arn):
                raise invalid_parameter("Source queue must be configured as a Dead Letter Queue.")
            if destination_arn is not None:
                _check_destination(source, _find(tx, destination_arn))
            if queue_moves.active(tx, source_arn):
                raise unsupported(
                    "There is already a task running. Only one active task is allowed for a source queue arn at a "
                    "given time."
                )
            queue_moves.insert(
                tx,
                MoveTask(
                    id=task_id,
                    source_arn=source_arn,
                    destination_arn=destination_arn,
                    rate=rate,
                    status=MoveStatus.RUNNING,
                    started_ms=now_ms,
                    to_move=counts.visible,
                    moved=0,
                    failure=None,
                ),
            )
            queue_moves.forget_old(tx, source_arn, KEPT)

        await self._engine.write(job)
        self.wake()
        return _handle(task_id, source_arn)

    async def listing(
        self, source_arn: str, limit: int | None = None, caller: Caller | None = None
    ) -> Sequence[MoveTask]:
        """The latest tasks of a queue, 1 to 10. Raises ResourceNotFound, InvalidParameterValue."""
        limit = 1 if limit is None else limit
        if not 1 <= limit <= KEPT:
            raise invalid_value(limit, "MaxResults", "Must be an integer between 1 and 10, if provided.")
        address = parse_queue_arn(source_arn)
        source = await queues.read_queue(self._engine, address) if address is not None else None
        if source is None:
            raise not_found("The resource that you specified for the SourceArn parameter doesn't exist.")
        check_access(source, caller, "ListMessageMoveTasks")
        return await queue_moves.latest(self._engine, source_arn, limit)

    async def cancel(self, handle: str, caller: Caller | None = None) -> int:
        """Ends a running task; the number of messages that it moved. Raises ResourceNotFound, UnsupportedOperation."""
        task_id, source_arn = _parse_handle(handle)

        def job(tx: Transaction) -> int:
            task = queue_moves.find(tx, task_id)
            source = _find(tx, source_arn)
            if source is not None:
                check_access(source, caller, "CancelMessageMoveTask")
            if task is None or task.source_arn != source_arn:
                raise not_found("Task does not exist.")
            if task.status != MoveStatus.RUNNING:
                raise unsupported("Only active tasks can be cancelled.")
            # Every step is one transaction with its status, so nothing is under way and the task ends here and now.
            queue_moves.update(tx, task_id, status=MoveStatus.CANCELLED, moved=0)
            return task.moved

        return await self._engine.write(job)

    async def run_once(self) -> float | None:
        """Moves one step of every running task. Returns the seconds until the next step is due, None without tasks."""
        pauses = [await self._step(task) for task in await queue_moves.running(self._engine)]
        return min((pause for pause in pauses if pause is not None), default=None)

    async def _step(self, task: MoveTask) -> float | None:
        """Moves some messages of a task. The pause in s after it, None if the task is at its end."""
        now_ms = self._clock.time_ms()
        allowed = _STEP
        if task.rate is not None:
            # One message is due at once, the others evenly afterwards.
            due = 1 + (now_ms - task.started_ms) * task.rate // 1000
            allowed = min(_STEP, due - task.moved)
            if allowed <= 0:
                next_ms = task.started_ms + -(-task.moved * 1000 // task.rate)
                return max(next_ms - now_ms, 1) / 1000
        new_ids = [str(uuid.uuid4()) for _ in range(allowed)]

        def job(tx: Transaction) -> tuple[Move, bool]:
            current = queue_moves.find(tx, task.id)
            if current is None or current.status != MoveStatus.RUNNING:
                return Move(), True
            source = _find(tx, task.source_arn)
            destination = _find(tx, task.destination_arn) if task.destination_arn is not None else None
            if source is None or (destination is None and task.destination_arn is not None):
                move = Move(failure="AWS.SimpleQueueService.NonExistentQueue")
            else:
                move = queue_claims.move_visible(tx, source, destination, new_ids, now_ms)
            is_done = bool(move.failure) or move.moved < allowed
            status = MoveStatus.RUNNING
            if is_done:
                status = MoveStatus.FAILED if move.failure else MoveStatus.COMPLETED
            queue_moves.update(tx, task.id, status=status, moved=move.moved, failure=move.failure or None)
            return move, is_done

        move, is_done = await self._engine.write(job)
        for address in move.reached:
            self._waiting.notify(address, move.moved)
        return None if is_done else 0.0


def _find(tx: Transaction, arn: str) -> Queue | None:
    address = parse_queue_arn(arn)
    return None if address is None else queues.find(tx, address)


def _check_destination(source: Queue, destination: Queue | None) -> None:
    if destination is None:
        raise not_found("The resource that you specified for the DestinationArn parameter doesn't exist.")
    if destination.id == source.id:
        raise invalid_parameter("Source queue arn and destination queue arn cannot be the same.")
    if destination.address.account != source.address.account or destination.address.region != source.address.region:
        raise invalid_parameter("Source and destination queues must be of the same account and region.")
    if destination.settings.is_fifo != source.settings.is_fifo:
        raise invalid_parameter("Source and destination queues must be of the same type.")


def _handle(task_id: str, source_arn: str) -> str:
    document = json.dumps({"taskId": task_id, "sourceArn": source_arn}, separators=(",", ":"))
    return base64.b64encode(document.encode()).decode("ascii")


def handle_of(task: MoveTask) -> str:
    """The handle by which a task is cancelled."""
    return _handle(task.id, task.source_arn)


def _parse_handle(handle: str) -> tuple[str, str]:
    error: ServiceError = invalid_parameter(f"Value {handle} for parameter TaskHandle is invalid.")
    try:
        document = json.loads(base64.b64decode(handle, validate=True))
        task_id, source_arn = document["taskId"], document["sourceArn"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        raise error from None
    if not (isinstance(task_id, str) and isinstance(source_arn, str) and task_id.isascii() and source_arn.isascii()):
        raise error
    return task_id, source_arn
