"""Runs events: claims what is due, lets the invoker run it, and stores what follows.

Claims bring a handful of events of each due function into memory. From there they start one by one, as far as the
function's own limit, the worker's and admission allow. A function that is throttled waits as a whole: its other events
are not touched.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any

from lambdad.clock import JumpingClock
from lambdad.domain.arns import FunctionReference
from lambdad.domain.errors import AccessDenied, LambdadError, ResourceConflict, ResourceNotFound, TooManyRequests
from lambdad.domain.events import (
    Attempt,
    Event,
    FunctionFailed,
    FunctionGone,
    NotCapable,
    Overdue,
    Recursive,
    Returned,
    SystemFailed,
    Throttled,
)
from lambdad.domain.functions import FunctionVersion
from lambdad.domain.identity import Caller
from lambdad.domain.invocations import Outcome
from lambdad.domain.ledger import Run
from lambdad.domain.retries import Decision, Finish, PutBack, RetryAt, SetBack, expiry_ms, is_recursive
from lambdad.event_queue.conclusion import Concluded, Conclusion
from lambdad.event_queue.lanes import Agenda, Lane
from lambdad.invocation.catalog import Target
from lambdad.invocation.invoker import Invoker
from lambdad.loops import Loop
from lambdad.storage import events
from lambdad.storage.engine import Engine, StorageError, Transaction
from lambdad.storage.events import Claim, Claimed, ClaimedEvent
from lambdad.storage.functions import FunctionKey
from lambdad.telemetry import EventAttempted, Telemetry

logger = logging.getLogger(__name__)

LEASE_MS = 1_200_000
"""Longer than the longest attempt: 15 minutes of function and its init."""
CLAIM_EVENTS = 64
"""Events of one function that are in memory at once, beside the running ones."""
CLAIM_LANES = 64
"""Functions in one transaction of claims."""
EVERYBODYS_SHARE = 2
"""So many events of a function may run however many others run."""
RAMP_TICK_S = 0.02
STORE_AGAIN_S = 1.0
DEFAULT_CONCURRENCY = 64
STOP_GRACE_S = 10.0


class Worker(Loop):
    """The one consumer of the queue on this server."""

    name = "event worker"

    def __init__(
        self,
        engine: Engine,
        invoker: Invoker,
        conclusion: Conclusion,
        clock: JumpingClock,
        telemetry: Telemetry,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> None:
        """`concurrency`: how many events may run at once, beyond the two that every function may."""
        super().__init__()
        self._engine = engine
        self._invoker = invoker
        self._conclusion = conclusion
        self._clock = clock
        self._telemetry = telemetry
        self._concurrency = concurrency
        self._lanes: dict[int, Lane] = {}
        self._agenda = Agenda()
        self._turns: deque[Lane] = deque()
        self._ramping: set[Lane] = set()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: set[int] = set()
        self._set_back: Callable[[], None] = _nothing
        self._stopping = False  # nothing starts any more
        self._stopped = False  # what ends from here on counts as never finished
        self._idle = asyncio.Event()
        self._idle.set()
        self._attempts = 0
        clock.on_advance(self.wake)

    # --- what others call ---

    @property
    def held(self) -> Collection[int]:
        """Ids of the events that this worker has claimed and not concluded."""
        return self._held

    def on_set_back(self, listener: Callable[[], None]) -> None:
        """Calls `listener` when an event was set back, so that it is returned in time."""
        self._set_back = listener

    def announce(self, queue_id: int, key: FunctionKey, due_ms: int) -> None:
        """An event of a function is stored and due then."""
        lane = self._lanes.get(queue_id)
        if lane is None:
            lane = self._lanes[queue_id] = Lane(queue_id, key)
        lane.announce(due_ms)
        self._schedule(lane)

    async def load(self) -> None:
        """Takes up what is stored."""
        for row in await events.queues(self._engine):
            lane = self._lanes.setdefault(row.id, Lane(row.id, row.key))
            lane.throttles, lane.resume_ms, lane.due_ms = row.throttles, row.resume_ms, row.next_due_ms
            self._agenda.put(lane)

    async def stop(self) -> None:
        """Starts nothing any more, lets what runs end for a while, and gives back what was claimed."""
        self._stopping = True
        await super().stop()
        waiting = [claimed for lane in self._lanes.values() for claimed in lane.waiting]
        for lane in self._lanes.values():
            lane.waiting.clear()
        if waiting:
            await self._put_back(waiting)
        if self._held or self._tasks:
            try:
                await asyncio.wait_for(self.wait_idle(), STOP_GRACE_S)
            except TimeoutError:
                logger.info("%d events are still running; they will run again at the next start", len(self._held))
        self._stopped = True
        for task in self._tasks:
            task.cancel()

    async def wait_idle(self) -> None:
        """Waits until nothing that was claimed is unfinished."""
        await self._idle.wait()

    def forget(self) -> None:
        """The store was emptied. What runs ends, and leaves nothing behind."""
        for lane in self._lanes.values():
            self._release(lane.waiting)
            lane.waiting.clear()
            lane.due_ms = None
            lane.throttles = lane.resume_ms = 0
        self._lanes.clear()
        self._agenda = Agenda()
        self._turns.clear()
        self._ramping.clear()

    async def run_once(self) -> float | None:
        """Claims and starts what is due. Returns the seconds until something else is."""
        for lane in list(self._ramping):
            self._ramping.discard(lane)
            self._serve(lane)
        now_ms = self._clock.time_ms()
        wanted: dict[int, tuple[Lane, Claim]] = {}
        for lane in self._agenda.take(now_ms, CLAIM_LANES):
            if not lane.blocked and len(lane.waiting) < CLAIM_EVENTS // 2:
                claim = Claim(queue_id=lane.id, key=lane.key, limit=CLAIM_EVENTS - len(lane.waiting))
                wanted[lane.id] = (lane, claim)
                lane.claiming = True
                lane.due_ms = None  # what is announced from here on is told apart from what the claim will find
        if wanted:
            await self._claim(wanted, now_ms)
        next_ms = self._agenda.next_ms()
        pause_s = None if next_ms is None else max(0.0, (next_ms - self._clock.time_ms()) / 1000)
        if self._ramping:
            return RAMP_TICK_S if pause_s is None else min(RAMP_TICK_S, pause_s)
        return pause_s

    async def run_due(self) -> int:
        """Runs everything that is due now to its end; how many attempts that were. For tests."""
        before = self._attempts
        while True:
            await self.run_once()
            if not self._held and (self._agenda.next_ms() or 1 << 62) > self._clock.time_ms():
                return self._attempts - before
            await self._idle.wait()

    def statistics(self) -> dict[str, float]:
        """Attempts begun since the start; events claimed, running, and functions with events now."""
        return {
            "attempts": self._attempts,
            "claimed": len(self._held),
            "running": self._running,
            "functions": len(self._lanes),
        }

    # --- claiming ---

    async def _claim(self, wanted: dict[int, tuple[Lane, Claim]], now_ms: int) -> None:
        claims = [claim for _, claim in wanted.values()]

        def job(tx: Transaction) -> list[Claimed]:
            return [events.claim(tx, claim, now_ms, now_ms + LEASE_MS) for claim in claims]

        try:
            brought = await self._engine.write(job)
        except BaseException:
            # Not known what was stored: look again. What was claimed comes back when its lease ends.
            for lane, _ in wanted.values():
                lane.claiming = False
                lane.announce(now_ms)
                self._agenda.put(lane)
            raise
        for claimed in brought:
            lane = wanted[claimed.queue_id][0]
            lane.claiming = False
            if claimed.next_due_ms is not None:
                lane.announce(claimed.next_due_ms)
            lane.waiting.extend(claimed.events)
            self._hold(claimed.events)
            self._serve(lane)

    def _schedule(self, lane: Lane) -> None:
        self._agenda.put(lane)
        if lane.agenda_ms is not None:
            self.wake()
        elif lane.is_idle:
            self._lanes.pop(lane.id, None)

    # --- starting ---

    def _serve(self, lane: Lane) -> None:
        """Starts what may start of a lane, and lets it claim more."""
        while lane.waiting and not lane.blocked and not self._stopping:
            if lane.running >= lane.limit(time.monotonic()):
                self._ramping.add(lane)
                self.wake()
                break
            if self._running >= self._concurrency and lane.running >= EVERYBODYS_SHARE:
                self._give_turn(lane)
                break
            if not self._start(lane, lane.waiting.popleft()):
                break
        if not lane.blocked and not self._stopping and len(lane.waiting) < CLAIM_EVENTS // 2:
            self._schedule(lane)

    def _give_turn(self, lane: Lane) -> None:
        if not lane.has_turn:
            lane.has_turn = True
            self._turns.append(lane)

    def _ended(self, lane: Lane, duration_ms: float | None = None) -> None:
        """An attempt has left its slot: another may start, of the lane whose turn it is."""
        self._leave(lane, duration_ms)
        if lane.running < EVERYBODYS_SHARE or not self._turns:
            self._serve(lane)
        elif lane.waiting:
            self._give_turn(lane)
        while self._turns and self._running < self._concurrency:
            other = self._turns.popleft()
            other.has_turn = False
            self._serve(other)

    def _leave(self, lane: Lane, duration_ms: float | None = None) -> None:
        lane.ended(time.monotonic(), duration_ms)
        self._running -= 1

    def _start(self, lane: Lane, claimed: ClaimedEvent) -> bool:
        """Begins an attempt, or ends the event without one. False when the lane has to wait."""
        lane.began(time.monotonic())
        self._running += 1
        event = claimed.event
        target = self._invoker.cached_target(event.account, event.region, event.function, event.qualifier)
        if target is None:
            self._spawn(self._resolve(lane, claimed))
        elif not self._launch(lane, claimed, target):
            self._leave(lane)
            return not lane.waiting or lane.waiting[0] is not claimed
        return True

    async def _resolve(self, lane: Lane, claimed: ClaimedEvent) -> None:
        event = claimed.event
        launched = False
        try:
            target = await self._find(event)
        except ResourceNotFound:
            self._conclude(lane, claimed, FunctionGone(), event.dead_letter_arn)
        except (LambdadError, OSError):
            logger.exception("Event %s of %s could not be run", event.request_id, event.function_arn)
            self._conclude(lane, claimed, SystemFailed(), event.dead_letter_arn)
        else:
            launched = self._launch(lane, claimed, target)
        if not launched:
            self._ended(lane)

    async def _find(self, event: Event) -> Target:
        """An event without a qualifier is resolved as a call of its account would be, and the target kept for the
        next ones; where a policy shuts that account out, the event was let in all the same."""
        try:
            return await self._invoker.resolve(_service(event), event.function, event.qualifier)
        except AccessDenied:
            qualifier = event.qualifier or None
            return await self._invoker.find(FunctionReference(event.account, event.region, event.function, qualifier))

    def _launch(self, lane: Lane, claimed: ClaimedEvent, target: Target) -> bool:
        """Begins the attempt; False when it ended before it began."""
        event = claimed.event
        if self._stopping or lane.blocked:
            self._spawn(self._give_back(lane, claimed))
            return False
        version = self._invoker.version_of(target)
        refused = self._refusal(claimed, target)
        if refused is None:
            slots = target.entry.slots
            if lane.running > 1 and slots.is_full:
                # Its own events have all the room there is: the next starts when one of them ends.
                lane.waiting.appendleft(claimed)
                return False
            self._tell_attempt(event)
            done = partial(self._done, lane, claimed, version.version, self._clock.time_ms())
            try:
                self._invoker.start(
                    target,
                    version,
                    request_id=event.request_id,
                    event=event.payload,
                    done=done,
                    trace=event.trace,
                    asynchronous=True,
                )
                self._attempts += 1
                return True
            except TooManyRequests:
                refused = Throttled()
        if isinstance(refused, Throttled):
            lane.blocked = True
        self._conclude(lane, claimed, refused, version.version.dead_letter_target)
        return False

    def _refusal(self, claimed: ClaimedEvent, target: Target) -> Attempt | None:
        """Why the attempt does not begin, before admission is asked."""
        event = claimed.event
        if target.entry.slots.reserved == 0:
            return NotCapable()
        if self._clock.time_ms() >= expiry_ms(event, claimed.settings):
            return Overdue()
        if is_recursive(event.trace) and target.entry.loaded.function.recursive_loop == "Terminate":
            return Recursive()
        try:
            self._invoker.check_state(target)
        except ResourceConflict:
            return SystemFailed()
        return None

    def _done(
        self,
        lane: Lane,
        claimed: ClaimedEvent,
        version: FunctionVersion,
        started_ms: int,
        outcome: Outcome,
    ) -> None:
        if self._stopped:  # the environment was ended because the server stops, not by the function
            return
        kind = FunctionFailed if outcome.is_function_error else Returned
        attempt = kind(executed_version=version.version, payload=outcome.payload, trace=outcome.trace_id)
        run = Run(
            started_ms=started_ms,
            ended_ms=self._clock.time_ms(),
            duration_ms=outcome.duration_ms,
            error_type=outcome.error_type,
            log_group=version.logging.log_group,
            log_stream=outcome.log_stream,
        )
        self._conclude(lane, claimed, attempt, version.dead_letter_target, run)
        self._ended(lane, outcome.duration_ms)

    def _tell_attempt(self, event: Event) -> None:
        for listener in self._telemetry.event_attempted:
            listener(
                EventAttempted(
                    request_id=event.request_id,
                    account=event.account,
                    region=event.region,
                    function=event.function,
                    qualifier=event.qualifier,
                    age_ms=max(0, self._clock.time_ms() - event.accepted_ms),
                )
            )

    # --- what follows ---

    def _conclude(
        self,
        lane: Lane,
        claimed: ClaimedEvent,
        attempt: Attempt,
        dead_letter_arn: str | None,
        run: Run | None = None,
    ) -> None:
        self._spawn(self._store_conclusion(lane, claimed, attempt, dead_letter_arn, run))

    async def _store_conclusion(
        self, lane: Lane, claimed: ClaimedEvent, attempt: Attempt, dead_letter_arn: str | None, run: Run | None
    ) -> None:
        throttled = isinstance(attempt, Throttled)
        throttles = lane.throttles
        others: list[ClaimedEvent] = []
        if throttled:
            others = list(lane.waiting)
            lane.waiting.clear()

        def job(tx: Transaction) -> Concluded:
            concluded = self._conclusion.conclude_in(
                tx, claimed, attempt, throttles=throttles, dead_letter_arn=dead_letter_arn, run=run
            )
            if isinstance(concluded.decision, PutBack):
                events.hold(tx, lane.id, throttles + 1, concluded.decision.resume_ms)
            elif throttles and isinstance(attempt, Returned | FunctionFailed):
                events.hold(tx, lane.id, 0, 0)
            if others:
                events.put_back(tx, [other.id for other in others])
            return concluded

        concluded = await self._store(job)
        self._release([claimed, *others])
        if throttled:
            lane.blocked = False
            for other in others:
                lane.announce(other.place_ms)
        elif throttles and isinstance(attempt, Returned | FunctionFailed):
            lane.throttles, lane.resume_ms = 0, 0
        self._apply(lane, claimed, concluded.decision)
        concluded.tell(self._telemetry)
        self._serve(lane)

    async def _store(self, job: Callable[[Transaction], Concluded]) -> Concluded:
        """Stores what is known to have happened, however long the disk is full."""
        while True:
            try:
                return await self._engine.write(job)
            except StorageError as error:
                if self._stopping:
                    raise
                logger.error("An event's end could not be stored, trying again: %s", error)
                await asyncio.sleep(STORE_AGAIN_S)

    def _apply(self, lane: Lane, claimed: ClaimedEvent, decision: Decision) -> None:
        match decision:
            case RetryAt():
                lane.announce(decision.due_ms)
            case PutBack():
                lane.throttles += 1
                lane.resume_ms = decision.resume_ms
                lane.announce(claimed.place_ms)
            case SetBack():
                self._set_back()
            case Finish():
                pass

    async def _give_back(self, lane: Lane, claimed: ClaimedEvent) -> None:
        """A claimed event that was not started returns to its place."""
        await self._put_back([claimed])
        lane.announce(claimed.place_ms)
        self._serve(lane)

    async def _put_back(self, claimed: Sequence[ClaimedEvent]) -> None:
        ids = [one.id for one in claimed]
        await self._engine.write(lambda tx: events.put_back(tx, ids))
        self._release(claimed)

    # --- small steps ---

    def _hold(self, claimed: Collection[ClaimedEvent]) -> None:
        self._held.update(one.id for one in claimed)
        if self._held:
            self._idle.clear()

    def _release(self, claimed: Collection[ClaimedEvent]) -> None:
        self._held.difference_update(one.id for one in claimed)
        if not self._held:
            self._idle.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its event stays claimed, and comes back when the lease ends.
            logger.error("A step of the event worker failed", exc_info=error)


def _service(event: Event) -> Caller:
    """The queue itself, as the caller of an attempt."""
    return Caller(
        account=event.account,
        region=event.region,
        access_key_id="",
        arn=f"arn:aws:iam::{event.account}:root",
        user_id=event.account,
    )


def _nothing() -> None:
    pass
