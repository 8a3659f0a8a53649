"""How many batches of a queue may run at once: five at first, more while that is not enough (AWS Lambda developer
guide: five, then up to 300 more a minute, up to 1,250)."""

from __future__ import annotations

START = 5
MOST = 1250
MORE_PER_S = 5.0


class Scale:
    """The limit of one mapping. Pure: time in seconds is an argument."""

    def __init__(self, maximum: int | None = None) -> None:
        """`maximum` is the mapping's MaximumConcurrency."""
        self._most = MOST if maximum is None else maximum
        self.limit = min(START, self._most)
        self._full_since_s: float | None = None

    def has_room(self, running: int, now_s: float) -> bool:
        """Whether one more may begin. Whoever asks in vain makes the limit grow with time."""
        if running == 0:
            self.limit = min(START, self._most)
        if running < self.limit:
            self._full_since_s = None
            return True
        if self._full_since_s is None:
            self._full_since_s = now_s
        more = int((now_s - self._full_since_s) * MORE_PER_S)
        if more:
            self.limit = min(self._most, self.limit + more)
            self._full_since_s = now_s
        return running < self.limit

    @property
    def step_s(self) -> float | None:
        """After what time it is worth asking again; None when the limit does not grow any more."""
        return 1 / MORE_PER_S if self.limit < self._most else None
