"""The queues as the worker knows them: one lane for each function that has events, and the agenda of all lanes.

Lanes are what keeps functions from delaying each other. Each has its own place in the agenda, its own claimed events,
and its own share of what may run at once.
"""

from __future__ import annotations

import heapq
from collections import deque

from lambdad.storage.events import ClaimedEvent
from lambdad.storage.functions import FunctionKey

FEWEST_RUNNING = 4
"""So many events of a function may run at once from the beginning."""
RAMP_MS = 5.0
"""A function may run one event more at once for so many milliseconds that its invocations take: starting environments
for functions that are done sooner than an environment starts would only slow them down."""


class Lane:
    """The queue of one function. Times are Unix milliseconds of the service's clock."""

    __slots__ = (
        "agenda_ms", "average_ms", "blocked", "claiming", "due_ms", "has_turn", "id", "key", "last_end_s", "resume_ms",
        "running", "throttles", "waiting",
    )  # fmt: skip

    def __init__(self, lane_id: int, key: FunctionKey, *, throttles: int = 0, resume_ms: int = 0) -> None:
        self.id = lane_id
        self.key = key
        self.throttles = throttles
        self.resume_ms = resume_ms
        self.due_ms: int | None = None
        """When the first stored event is due; None if none waits there."""
        self.agenda_ms: int | None = None
        """Its place in the agenda; None if it is not there."""
        self.waiting: deque[ClaimedEvent] = deque()
        """Claimed, not started."""
        self.running = 0
        self.claiming = False
        self.blocked = False
        """A throttle is being stored: nothing starts until that is done."""
        self.has_turn = False
        self.average_ms = 0.0
        self.last_end_s = 0.0
        """When the last attempt ended, or the first began (real monotonic seconds)."""

    def announce(self, due_ms: int) -> None:
        """An event is stored that is due then."""
        if self.due_ms is None or due_ms < self.due_ms:
            self.due_ms = due_ms

    def began(self, now_s: float) -> None:
        if self.running == 0:
            self.last_end_s = now_s
        self.running += 1

    def ended(self, now_s: float, duration_ms: float | None) -> None:
        """`duration_ms` of the function; None when it did not run."""
        self.running -= 1
        self.last_end_s = now_s
        if duration_ms is not None:
            self.average_ms += (duration_ms - self.average_ms) / 8

    def limit(self, now_s: float) -> int:
        """How many may run at once, as far as the lane itself is concerned."""
        duration_ms = max(self.average_ms, (now_s - self.last_end_s) * 1000 if self.running else 0.0)
        return max(FEWEST_RUNNING, int(duration_ms / RAMP_MS))

    @property
    def is_idle(self) -> bool:
        """Nothing of it has to be remembered."""
        is_busy = self.waiting or self.running or self.claiming or self.blocked
        return self.due_ms is None and not is_busy and not self.throttles


class Agenda:
    """Which lanes have to be looked at, and when. Looking costs nothing for lanes that are not due."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Lane]] = []
        self._count = 0

    def put(self, lane: Lane) -> None:
        """Enters a lane for the moment at which its first stored event may be claimed."""
        if lane.due_ms is None:
            return
        at_ms = max(lane.due_ms, lane.resume_ms)
        if lane.agenda_ms is not None and lane.agenda_ms <= at_ms:
            return  # it is looked at soon enough, and entered again then
        lane.agenda_ms = at_ms
        self._count += 1
        heapq.heappush(self._heap, (at_ms, self._count, lane))

    def take(self, now_ms: int, limit: int) -> list[Lane]:
        """Up to `limit` lanes that are due, the longest waiting first; they leave the agenda."""
        taken: list[Lane] = []
        while self._heap and self._heap[0][0] <= now_ms and len(taken) < limit:
            at_ms, _, lane = heapq.heappop(self._heap)
            if lane.agenda_ms == at_ms:
                lane.agenda_ms = None
                taken.append(lane)
        return taken

    def next_ms(self) -> int | None:
        """When a lane is due next."""
        while self._heap and self._heap[0][2].agenda_ms != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
