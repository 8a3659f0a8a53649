"""What must be looked at from time to time, because the kernel does not limit it or does not tell: memory and /tmp."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping

from .environments import Environment
from .ground import Ground
from .isolation import trees
from .runs import Run

CLOSE_POLL_S = 0.01
"""How often memory is looked at while a function holds more than its memory size, /tmp and page cache included."""
TMP_POLL_S = 0.25
"""How often a /tmp without a file system of its own is looked through."""
POLL_S = 0.05
"""How often memory is measured where the kernel does not do it."""
MEMORY_FILES_EVERY = 4
"""Measurements of memory per look at memory files, which costs more than all the rest."""


class Limits:
    """Kills the environments that exceed theirs."""

    def __init__(self, ground: Ground, runs: Mapping[int, Run]) -> None:
        self._ground = ground
        self._runs = runs
        self._looks_at_tmp = ground.number == 1
        self._close: set[Environment] = set()
        """Those to be looked at closely."""
        self._next_look_at_tmp = 0.0
        self._next_measurement = 0.0
        self._measurements = 0

    @property
    def interval_s(self) -> float:
        """How long `look` can wait; infinity while the kernel tells everything."""
        if self._close:
            return CLOSE_POLL_S
        if not self._ground.polls_memory and not self._looks_at_tmp:
            return math.inf
        return POLL_S if any(not run.is_waiting for run in self._runs.values()) else math.inf

    def watch(self, environment: Environment) -> None:
        """Something is started in it, or the kernel tells that it holds more than its memory."""
        run, guard = environment.run, environment.guard
        if run is None or guard is None:
            self._close.discard(environment)
            return
        if not run.kill_wanted and guard.is_exceeded():
            run.killed_for_memory = True
            run.kill()
        if guard.is_above and not run.kill_wanted:
            self._close.add(environment)
        else:
            self._close.discard(environment)

    def look(self) -> None:
        """At all that is due."""
        for environment in list(self._close):
            self.watch(environment)
        if self._ground.polls_memory:
            for run in list(self._runs.values()):
                self.watch(run.environment)
        now = time.monotonic()
        if self._ground.measures_memory and now >= self._next_measurement:
            self._measure()
            self._next_measurement = now + POLL_S
        if self._looks_at_tmp and now >= self._next_look_at_tmp:
            self._look_at_tmp()

    def _measure(self) -> None:
        """Where no control group limits memory: the sum over each tree, and SIGKILL above the limit."""
        self._measurements += 1
        looks_at_files = self._measurements % MEMORY_FILES_EVERY == 0
        for run in list(self._runs.values()):
            if not run.pid or run.is_waiting:
                continue
            pids = trees.below(run.pid)
            resident = sum(map(trees.resident_kib, pids))
            if resident > run.environment.memory_kib and len(pids) > 1:
                # Forked processes share most of their pages, which the kernel counts for each of them.
                parts = [trees.proportional_kib(pid) for pid in pids]
                resident = sum(
                    trees.resident_kib(pid) if part is None else part for pid, part in zip(pids, parts, strict=True)
                )
            if looks_at_files:
                resident += trees.unmapped_kib(pids)
            run.environment.record_resident(resident)
            if resident > run.environment.memory_kib:
                run.killed_for_memory = True
                run.kill()

    def _look_at_tmp(self) -> None:
        """Where no file system limits /tmp: whoever keeps more there than allowed is ended."""
        began = time.monotonic()
        for run in list(self._runs.values()):
            if run.pid and not run.is_waiting and not run.kill_wanted and run.environment.is_tmp_exceeded():
                text = f"environment {run.environment.id} had more in /tmp than its {run.environment.tmp_mb} MB: ended"
                print(f"spawner: {text}", file=sys.stderr, flush=True)
                run.kill()
        now = time.monotonic()
        # A twentieth of the time at most is spent on it.
        self._next_look_at_tmp = now + max(TMP_POLL_S, 20 * (now - began))
