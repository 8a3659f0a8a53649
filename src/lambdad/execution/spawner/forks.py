"""What zygotes are asked for: supervisors with their runtimes, for those that wait and, ahead of need, for the next.

A fork of a warm interpreter, and the copies of memory that the child makes, are most of a cold start. So of every
zygote that was called for, some environments are kept forked and isolated that wait for what they are to be.
"""

from __future__ import annotations

import errno
import math
import time
from collections import deque
from collections.abc import Callable

from . import messages
from .environments import Environment, Environments
from .loop import Loop
from .runs import Run
from .settings import Settings
from .zygotes import ZygoteKind, ZygoteProcess, ZygoteStarter

QUIET_S = 0.03
"""After a start, so long nothing is forked ahead: what was started needs the processors itself."""


class Forks:
    """Keeps zygotes, and what they have forked ahead."""

    def __init__(
        self,
        settings: Settings,
        starter: ZygoteStarter,
        environments: Environments,
        loop: Loop,
        *,
        flags: int,
        on_news: Callable[[Run], None],
        on_ended: Callable[[Run], None],
    ) -> None:
        """`flags`: of every FORK here. `on_news`: more is known of a run, or can be read from it. `on_ended`: its
        supervisor is gone, or never came to be."""
        self._settings = settings
        self._starter = starter
        self._environments = environments
        self._loop = loop
        self._flags = flags
        self._on_news = on_news
        self._on_ended = on_ended
        self._made = 0
        self.runs: dict[int, Run] = {}
        """By number, until the supervisor is gone."""
        self._zygotes: dict[ZygoteKind, ZygoteProcess] = {}
        self.all_zygotes: list[ZygoteProcess] = []
        self._reserves: dict[ZygoteProcess, deque[Run]] = {}
        self._fill_at: dict[ZygoteProcess, float] = {}

    # --- zygotes ---

    def zygote(self, kind: ZygoteKind) -> ZygoteProcess:
        zygote = self._zygotes.get(kind)
        if zygote is None:
            zygote = self._starter.start(kind)
            self._zygotes[kind] = zygote
            self.all_zygotes.append(zygote)
            self._reserves[zygote] = deque()
            self._loop.watch(zygote.sock, lambda: self._on_zygote(zygote))
        return zygote

    @property
    def ready(self) -> dict[ZygoteKind, frozenset[str]]:
        """The zygotes that can be asked without waiting, and the modules they hold."""
        return {kind: zygote.modules for kind, zygote in self._zygotes.items() if zygote.is_ready}

    def prepare(self, kind: ZygoteKind, answer: Callable[[str], None] = lambda _: None) -> None:
        """Calls back with the empty text when there is a zygote, and forks ahead from it; else with a reason."""
        zygote = self.zygote(kind)
        self._fill_at[zygote] = 0.0
        if zygote.is_ready:
            answer("")
        else:
            zygote.on_ready.append(answer)

    def _on_zygote(self, zygote: ZygoteProcess) -> None:
        try:
            data, _ = messages.receive(zygote.sock)
        except BlockingIOError:
            return
        except (OSError, messages.Malformed):
            data = b""
        if not data:
            self._zygote_gone(zygote)
            return
        kind, values = messages.decode(data)
        if kind == messages.STARTED:
            zygote.version = values[1]
            zygote.modules = frozenset(values[2])
            zygote.is_ready = True
            waiting, zygote.on_ready = zygote.on_ready, []
            for callback in waiting:
                callback("")
        elif kind == messages.FORKED:
            self._forked(zygote, *values)
        elif kind == messages.FORK_FAILED:
            self._failed(zygote, values[0], values[1], values[2])

    def _zygote_gone(self, zygote: ZygoteProcess) -> None:
        self._loop.unwatch(zygote.sock)
        zygote.close()
        if self._zygotes.get(zygote.kind) is zygote:
            del self._zygotes[zygote.kind]
        self.all_zygotes.remove(zygote)
        self._fill_at.pop(zygote, None)
        for callback in zygote.on_ready:
            callback("the interpreter could not be started; see the server's standard error")
        for number in list(zygote.pending):
            text = f"the interpreter {zygote.kind.interpreter} could not be started"
            self._failed(zygote, number, errno.EIO, text)
        del self._reserves[zygote]

    def retire_zygotes(self) -> None:
        """Lets go of zygotes that were replaced, once their last child is gone: it would not survive them."""
        for zygote in list(self.all_zygotes):
            if zygote.is_idle and self._zygotes.get(zygote.kind) is not zygote:
                self._zygote_gone(zygote)

    def _replace(self, zygote: ZygoteProcess) -> None:
        """It takes no more orders: the next one starts another."""
        if self._zygotes.get(zygote.kind) is zygote:
            del self._zygotes[zygote.kind]
        self._fill_at.pop(zygote, None)
        self._discard(zygote)

    # --- forks ---

    def fork(self, environment: Environment, zygote: ZygoteProcess, flags: int = 0) -> Run:
        """Has a supervisor and a runtime forked for an environment; they wait for their orders. Raises OSError."""
        environment.thaw()  # what ran here before may have been killed while it was frozen
        group_flags, members = environment.open_groups()
        self._made += 1
        status, their_status = messages.pair()
        start, their_start = messages.pair()
        for sock in (status, start):
            sock.setblocking(False)
        run = environment.run = Run(self._made, environment, zygote, status, start)
        self.runs[run.number] = run
        zygote.pending.add(run.number)
        zygote.forks += 1
        self._loop.watch(status, lambda: self._on_news(run))
        message = messages.encode(messages.FORK, run.number, self._flags | flags | group_flags, environment.uid)
        zygote.send(message, [their_status.detach(), their_start.detach(), *members])
        if zygote.forks >= self._settings.forks_per_zygote:
            self._replace(zygote)
        return run

    def _forked(self, zygote: ZygoteProcess, number: int, pid: int) -> None:
        zygote.pending.discard(number)
        zygote.children.add(pid)
        run = self.runs.get(number)
        if run is None:
            zygote.send(messages.encode(messages.REAP, pid), [])
            return
        # The zygote reaps only when it is told, so this is still the same process.
        run.set_pid(pid)
        self._loop.watch(run.pid_descriptor, lambda: self._on_ended(run))
        if run.kill_wanted:
            run.kill()
        self._on_news(run)

    def _failed(self, zygote: ZygoteProcess, number: int, error: int, text: str) -> None:
        zygote.pending.discard(number)
        run = self.runs.get(number)
        if run is not None and not run.pid:
            run.failure = run.failure or (error, "", text)
            self._on_ended(run)

    def end(self, run: Run) -> None:
        """Forgets a run whose supervisor is gone."""
        self._loop.unwatch(run.status)
        if run.pid:
            self._loop.unwatch(run.pid_descriptor)
            run.zygote.send(messages.encode(messages.REAP, run.pid), [])
            run.zygote.children.discard(run.pid)
        run.close()
        self.runs.pop(run.number, None)
        run.environment.run = None
        reserve = self._reserves.get(run.zygote)
        if reserve and run in reserve:
            reserve.remove(run)

    # --- ahead of need ---

    def take(self, zygote: ZygoteProcess) -> Run | None:
        """One that was forked ahead; None if there is none."""
        reserve = self._reserves[zygote]
        while reserve:
            run = reserve.popleft()
            if not run.is_gone:
                return run
        return None

    def fill_later(self, zygote: ZygoteProcess) -> None:
        """Something was started from it, so that more may be."""
        if self._zygotes.get(zygote.kind) is zygote:
            self._fill_at[zygote] = time.monotonic() + QUIET_S

    @property
    def next_fill(self) -> float:
        """When `fill` is to be called, by the monotonic clock; infinity if there is nothing to do."""
        return min((at for zygote, at in self._fill_at.items() if zygote.is_ready), default=math.inf)

    def fill(self) -> None:
        """Forks ahead what is missing, where it is due."""
        now = time.monotonic()
        for zygote, at in list(self._fill_at.items()):
            if at > now or not zygote.is_ready:
                continue
            if any(run.is_starting for run in self.runs.values()):
                self._fill_at[zygote] = now + QUIET_S
                continue
            del self._fill_at[zygote]
            reserve = self._reserves[zygote]
            while len(reserve) < self._settings.reserve and self._zygotes.get(zygote.kind) is zygote:
                if (run := self._fork_ahead(zygote)) is None:
                    return
                if self._zygotes.get(zygote.kind) is not zygote:
                    run.kill()  # that was its last one, and it is not to be kept for a function that may never come
                    return
                reserve.append(run)

    def _fork_ahead(self, zygote: ZygoteProcess) -> Run | None:
        """None when the machine has no more to give; whoever needs an environment is told why."""
        try:
            environment = self._environments.make()
        except OSError:
            return None
        try:
            return self.fork(environment, zygote)
        except OSError:
            self._environments.remove(environment)
            return None

    def _discard(self, zygote: ZygoteProcess) -> None:
        for run in self._reserves[zygote]:
            run.kill()
        self._reserves[zygote].clear()

    def describe(self) -> list[dict[str, object]]:
        return [
            {
                "interpreter": one.kind.interpreter,
                "sdk": one.kind.with_sdk,
                "pid": one.pid,
                "forks": one.forks,
                "reserve": sum(1 for run in self._reserves[one] if run.pid),
            }
            for one in self.all_zygotes
        ]

    def stop(self) -> None:
        """Nothing more is forked ahead, and what was goes away."""
        self._fill_at.clear()
        for zygote in self.all_zygotes:
            self._discard(zygote)
