"""The provisioned environments of one version: initialised ahead of calls, never idle for too long, made again when
they break.

Owner of its environments in place of the version's pool, which keeps those that calls make on demand. What is to be
made now, and when, is for `invocation/provisioning.py` to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lambdad.execution.calls import PendingCall
from lambdad.execution.environment import Environment

if TYPE_CHECKING:
    from lambdad.execution.pool import VersionPool


class ProvisionedPool:
    """Keeps `wanted` environments of the version that `pool` is of, as it was when this object was made."""

    def __init__(self, pool: VersionPool, changed: Callable[[], None]) -> None:
        """`changed` is called when environments became ready or were lost."""
        self.wanted = 0
        self.peak = 0
        """The most that were busy at once; whoever reads it sets it back."""
        self.failures = 0
        """How often init failed in a row."""
        self.generation = pool.version.generation
        self._pool = pool
        self._changed = changed
        self._starting: set[Environment] = set()
        self._idle: list[Environment] = []
        self._busy: set[Environment] = set()

    # --- calls ---

    @property
    def is_free(self) -> bool:
        """Whether a call can be dispatched."""
        idle = self._idle
        while idle:
            if idle[-1].is_free and idle[-1].is_warm:
                return True
            self._drop(idle.pop())
        return False

    def dispatch(self, call: PendingCall) -> None:
        """Runs the call now, in an environment whose init is long over; there must be one that is free."""
        environment = self._idle.pop()
        self._busy.add(environment)
        self.peak = max(self.peak, len(self._busy))
        environment.invoke(call)

    # --- Owner ---

    def environment_free(self, environment: Environment) -> None:
        self._busy.discard(environment)
        started = environment in self._starting
        self._starting.discard(environment)
        if not environment.is_warm or self.allocated >= self.wanted:
            self._drop(environment)
            self._changed()
            return
        self._idle.append(environment)
        if started:
            self.failures = 0
            self._changed()

    def environment_lost(self, environment: Environment) -> None:
        if environment in self._starting:
            self._starting.discard(environment)
            self.failures += 1
        else:
            self._busy.discard(environment)
            if environment in self._idle:
                self._idle.remove(environment)
        self._drop(environment)
        self._changed()

    def dispatch_again(self, call: PendingCall) -> None:
        if self.is_free:
            self.dispatch(call)
        else:
            self._pool.dispatch(call)

    # --- growing and shrinking ---

    def set_wanted(self, wanted: int) -> None:
        """Ends environments that are too many, free ones now and busy ones when they are done."""
        self.wanted = wanted
        while self._starting and self.allocated + len(self._starting) > wanted:
            self._drop(self._starting.pop())
        while self._idle and self.allocated > wanted:
            self._drop(self._idle.pop(0))
        self._changed()

    def start_one(self) -> None:
        """Makes another environment and begins its init."""
        environment = self._pool.new_provisioned(self)
        self._starting.add(environment)
        environment.initialise()

    @property
    def missing(self) -> int:
        return max(self.wanted - self.allocated - len(self._starting), 0)

    @property
    def starting(self) -> int:
        return len(self._starting)

    @property
    def allocated(self) -> int:
        """Environments that take calls, or run one: broken ones are let go of at once."""
        return len(self._idle) + len(self._busy)

    @property
    def busy(self) -> int:
        return len(self._busy)

    def _drop(self, environment: Environment) -> None:
        self._pool.forget(environment)
        environment.stop()
