"""The spawner process: takes requests from the server, keeps zygotes and environments, tells how runtimes end.

Single-threaded, imports nothing of lambdad but this package, holds no key and no descriptor of the server. It ends
when the server's end of the socket closes, and takes every environment with it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import signal
import socket
import sys
import time
from pathlib import Path

from . import messages, plans
from .alarms import Alarms
from .environments import Environment, Environments
from .forks import Forks
from .ground import Ground
from .isolation import network, syscalls, trees
from .limits import POLL_S, Limits
from .link import Link, close_all
from .loop import Loop
from .reach import Reach
from .runs import Run
from .settings import Settings
from .users import FIRST
from .zygotes import ZygoteStarter

_EXIT_WAIT_S = 3.0


class Spawner:
    """Does what the server asks for, and tells it what happens."""

    def __init__(self, sock: socket.socket, settings: Settings, ground: Ground) -> None:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        self._link = Link(sock)
        self._settings = settings
        self._ground = ground
        self._namespaces = ground.namespaces
        self._loop = Loop()
        reach = Reach(ground.place, users=ground.users is not None) if ground.number == 1 else None
        starter = ZygoteStarter(
            settings,
            namespaces=ground.namespaces,
            user_namespaces=ground.user_namespaces,
            users=ground.users.range if ground.users else range(FIRST, FIRST + 1),
            place=ground.zygote_place,
            seccomp=ground.seccomp,
            reach=reach,
        )
        self._plans = plans.Plans(settings, starter.runtime_place, reach)
        self._flags = messages.NAMESPACES if ground.namespaces else 0
        self._flags |= messages.USER_NAMESPACE if ground.user_namespaces else 0
        self._flags |= messages.LANDLOCK if reach is not None else 0
        self._environments = Environments(settings, ground, reach, self._loop)
        self._forks = Forks(
            settings,
            starter,
            self._environments,
            self._loop,
            flags=self._flags,
            on_news=self._on_news,
            on_ended=self._on_ended,
        )
        self._alarms = Alarms()
        self._limits = Limits(ground, self._forks.runs)
        self._environments.on_memory = self._limits.watch
        freezers = ground.freezers
        self._kills_in_rounds = not ground.namespaces or (freezers is not None and freezers.holds_up_kills)
        self._stopping = False
        self._stop_deadline = 0.0
        self._next_look = math.inf

    # --- loop ---

    def run(self) -> None:
        """Serves until the server is gone."""
        wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._loop.watch(wake, lambda: self._on_signal(wake))
        self._loop.watch(self._link.sock, self._on_server)
        while not (self._stopping and self._all_ended()):
            self._turn()
        self._clear_away()

    def _turn(self) -> None:
        now = time.monotonic()
        interval = min(self._limits.interval_s, POLL_S if self._has_rest() else math.inf)
        self._next_look = min(self._next_look, now + interval) if interval < math.inf else math.inf
        wake = min(self._next_look, self._forks.next_fill)
        self._loop.turn(max(wake - now, 0) if wake < math.inf else None)
        if time.monotonic() >= self._next_look:  # not after every event: it may be costly
            self._next_look = math.inf
            self._look()
        self._forks.fill()
        self._link.flush()
        if self._stopping and time.monotonic() > self._stop_deadline:
            self._forks.runs.clear()
            self._environments.give_up()

    def _has_rest(self) -> bool:
        """Whether something waits that nobody will tell of."""
        return (
            self._stopping
            or self._environments.has_rest
            or self._link.has_unsent
            or (self._kills_in_rounds and any(run.kill_wanted for run in self._forks.runs.values()))
        )

    # --- the server ---

    def _on_server(self) -> None:
        for _ in range(16):
            try:
                received = self._link.receive()
            except EOFError:
                self._stop()
                return
            if received is None:
                return
            kind, values, descriptors = received
            if kind == messages.LAUNCH:
                self._launch(plans.Plan(*values), descriptors)
            elif kind == messages.BIND:
                self._bind(*values)
            elif kind == messages.TERMINATE:
                self._terminate(*values)
            elif kind == messages.KILL:
                self._kill(values[0])
            elif kind == messages.RELEASE:
                self._release(values[0])
            elif kind in (messages.FREEZE, messages.THAW):
                self._freeze(values[0], wanted=kind == messages.FREEZE)
            elif kind == messages.INIT_OVER:
                self._init_over(values[0])
            elif kind == messages.PREPARE:
                self._prepare(*values)
            elif kind == messages.REPORT:
                self._link.tell(messages.REPORTED, values[0], self._report())

    def _report(self) -> str:
        groups = self._ground.groups
        return json.dumps(
            {
                "tier": self._ground.tier,
                "obstacles": [one.as_dict() for one in self._ground.obstacles],
                "missing": [one.sentence() for one in self._ground.obstacles] + self._ground.missing,
                "landlock": self._ground.landlock,
                "users": self._ground.users is not None,
                "cgroups": groups.version if groups else 0,
                "limits_memory": groups is not None and groups.limits_memory,
                "limits_tasks": groups is not None and groups.limits_tasks,
                "seccomp": bool(self._ground.seccomp),
                "cpu": self._ground.cpus.mode if self._ground.cpus else "off",
                "freezer": self._ground.freezers.version if self._ground.freezers else 0,
                "environments": len(self._environments),
                "zygotes": self._forks.describe(),
            }
        )

    def _prepare(self, sequence: int, runtime_kind: str, interpreter: str, with_sdk: int) -> None:
        kind = self._plans.zygote_kind(runtime_kind, interpreter, with_sdk=bool(with_sdk))
        self._forks.prepare(kind, lambda text: self._link.tell(messages.PREPARED, sequence, text))

    # --- launching ---

    def _launch(self, plan: plans.Plan, handed: list[int]) -> None:
        try:
            run, order = self._find_run(plan)
        except plans.NoEntryPoint as error:
            close_all(handed)
            self._link.tell(messages.LAUNCH_FAILED, plan.sequence, error.number, error.path, str(error))
        except OSError as error:
            close_all(handed)
            self._link.tell(messages.LAUNCH_FAILED, plan.sequence, error.errno or 0, "", str(error))
        else:
            self._order(run, plan, order, handed)

    def _find_run(self, plan: plans.Plan) -> tuple[Run, plans.Order]:
        """A supervisor and a runtime that wait for the plan, in the environment that it names."""
        if plan.own_network and not self._namespaces:
            raise network.NoNetwork(
                errno.ENOTSUP,
                "the function must not reach a network, which takes namespaces (tier T2 or T3, see `lambdad "
                "doctor`) that this machine does not give; it is not started",
            )
        kind, order = self._plans.resolve(plan, self._forks.ready)
        if order.wanted_sdk is not None:
            self._forks.prepare(order.wanted_sdk)
        zygote = self._forks.zygote(kind)
        environment = self._environments.get(plan.environment_id)
        if environment is None:
            is_plain = plan.task_dir and not plan.own_network and not plan.extensions
            environment = self._make_environment(plan, self._forks.take(zygote) if is_plain else None)
            if is_plain:
                self._forks.fill_later(zygote)
        run = environment.run
        if environment.release_wanted or (run is not None and not run.is_waiting):
            raise BlockingIOError(errno.EAGAIN, "a runtime is still running in this environment")
        if not self._namespaces:
            self._plans.move_out(plan, order, environment)
        if run is None:
            flags = messages.OWN_NETWORK if plan.own_network else 0
            flags |= messages.HAS_EXTENSIONS if plan.extensions else 0
            flags |= 0 if plan.task_dir else messages.UNBOUND
            run = self._forks.fork(environment, zygote, flags)
        return run, order

    def _make_environment(self, plan: plans.Plan, waiting: Run | None) -> Environment:
        """One of those that were made ahead, or a new one; with the limits of the plan."""
        environment = waiting.environment if waiting is not None else self._environments.make()
        try:
            self._environments.assign(environment, plan.environment_id, memory_mb=plan.memory_mb, tmp_mb=plan.tmp_mb)
        except OSError:
            self._let_go(environment)
            raise
        return environment

    def _order(self, run: Run, plan: plans.Plan, order: plans.Order, handed: list[int]) -> None:
        """Tells the supervisor and the runtime what they are to be."""
        environment = run.environment
        run.sequence = plan.sequence
        if order.argv:
            run.shown_programs[order.argv[0]] = order.shown_program
        run.shown_programs.update(zip(order.extensions, plan.extensions, strict=True))
        run.has_extensions = bool(order.extensions)
        run.is_unbound = not plan.task_dir and self._namespaces
        extension_output = [handed[-1]] if plan.extensions else []
        own = handed[: len(handed) - len(extension_output)]
        opened: list[int] = []
        try:
            if environment.cpu is not None:
                environment.cpu.unlimit()
            if environment.guard is not None:
                self._alarms.arm(environment.guard)
                self._limits.watch(environment)
            flags = self._flags | self._open_trees(plan, environment, opened)
            restrictions = (
                environment.uid,
                self._settings.open_files,
                self._tasks(environment) if self._ground.users or self._ground.user_namespaces else 0,
                0 if self._namespaces or not self._flags & messages.LANDLOCK else environment.tmp_mb << 20,
                order.readable,
                order.writable,
            )
            to_supervisor = b""
            own_flags = self._flags if plan.extensions else flags
            own_flags |= messages.HAS_FRAMES if len(own) > 1 else 0
            own_flags |= messages.WRAPPED if order.wrapped else 0
            if plan.extensions:
                to_supervisor = messages.encode(
                    messages.ORDER, flags, *restrictions, order.extensions, order.extension_environ
                )
            to_runtime = messages.encode(
                messages.START, own_flags, *restrictions, order.mode, order.argv, order.environ, order.directory
            )
            if plan.extensions:
                run.order(to_supervisor, [*extension_output, *opened], to_runtime, own)
            else:
                run.order(b"", [], to_runtime, [*own, *opened])
        except ConnectionError:
            return  # it is gone, or its zygote was before it came to be: both are noticed elsewhere
        except OSError as error:
            run.failure = (error.errno or errno.EIO, "", str(error))
            run.kill()
        finally:
            close_all([*handed, *opened])

    def _tasks(self, environment: Environment) -> int:
        """The limit that `ulimit -u` shows: 742 with 128 MB (AWS: recorded).

        That is what Linux grants by default to a machine of 185.5 MiB: half a thread for each 128 KiB. So it is taken
        to grow with the memory size, up to the documented 1,024.
        """
        return min(self._settings.tasks, environment.memory_kib // 256 + 230)

    def _open_trees(self, plan: plans.Plan, environment: Environment, opened: list[int]) -> int:
        """Adds what is to be attached in a mount namespace, in the order of an ORDER; returns the flags."""
        if not self._namespaces:
            return 0
        flags = messages.HAS_TMP
        if plan.task_dir:
            flags |= messages.HAS_TASK
            opened.append(self._plans.open_code(plan.task_dir))
        if plan.opt_dir:
            flags |= messages.HAS_LAYERS
            opened.append(self._plans.open_code(plan.opt_dir))
        opened.append(environment.open_tmp())
        if plan.sandbox_address:
            flags |= messages.HAS_HOSTS
            opened.append(environment.open_hosts(self._ground.place / "hosts", plan.sandbox_address))
        return flags

    def _bind(self, sequence: int, environment_id: str, bound_id: str, task_dir: str, opt_dir: str) -> None:
        """Gives an environment that waits for its function the function's code, and the id that it has from now on."""
        environment = self._environments.get(environment_id)
        run = environment.run if environment is not None else None
        if environment is None or run is None or not run.is_unbound or self._environments.get(bound_id) is not None:
            self._link.tell(messages.BOUND, sequence, "no environment waits under this id, or the new one is taken")
            return
        run.is_unbound = False
        run.binding = sequence
        opened: list[int] = []
        try:
            opened.append(self._plans.open_code(task_dir))
            if opt_dir:
                opened.append(self._plans.open_code(opt_dir))
            flags = messages.HAS_TASK | (messages.HAS_LAYERS if opt_dir else 0)
            messages.send(run.status, messages.encode(messages.ATTACH, flags), opened)
        except OSError as error:
            run.attach_failure = str(error)
            self._answer_binding(run)
            return
        finally:
            close_all(opened)
        self._environments.rename(environment, bound_id)

    def _answer_binding(self, run: Run) -> None:
        if run.binding is not None and run.attach_failure is not None:
            self._link.tell(messages.BOUND, run.binding, run.attach_failure)
            run.binding = None
            if run.attach_failure:
                self._let_go(run.environment)

    # --- runs ---

    def _on_news(self, run: Run) -> None:
        if not run.read_status():
            self._loop.unwatch(run.status)
        self._answer_launch(run)
        self._answer_binding(run)
        self._tell_parts(run)

    def _answer_launch(self, run: Run) -> None:
        if run.answered or not (run.is_running and run.pid):
            return
        run.answered = True
        environment = run.environment
        descriptors = [os.dup(environment.open_peak())]
        freezer_version = 0
        has_listener = run.listener >= 0
        if has_listener:
            descriptors.append(run.listener)
            run.listener = -1
        if environment.freezer is not None:
            freezer_version = environment.freezer.version
            descriptors.append(environment.freezer.open_control())
        self._link.tell(
            messages.LAUNCHED,
            run.sequence,
            self._ground.pid_outside(run.pid, run.pid_descriptor),
            environment.id,
            0 if self._ground.user_namespaces else environment.uid,
            freezer_version,
            int(has_listener),
            descriptors=descriptors,
        )

    def _on_ended(self, run: Run) -> None:
        """The supervisor is gone, and with it every process of the environment."""
        environment = run.environment
        if not run.failure:
            run.read_status()
        if run.sequence:
            self._tell_ended(run)
        self._forks.end(run)
        if environment.release_wanted or not environment.id:
            self._environments.remove(environment)
        self._forks.retire_zygotes()

    def _tell_ended(self, run: Run) -> None:
        self._answer_launch(run)
        if run.binding is not None:
            run.attach_failure = run.attach_failure or "the environment ended before its function was there"
            self._answer_binding(run)
        group = run.environment.group
        if group is not None and group.killed_for_memory():
            run.killed_for_memory = True
        if run.answered:
            self._tell_parts(run)
            self._tell_exit(run)
            return
        number, path, text = run.failure or (errno.EIO, "", "the environment ended before its runtime was started")
        shown = run.shown_programs.get(path, path)
        self._link.tell(messages.LAUNCH_FAILED, run.sequence, number, shown, "" if path else text)

    def _tell_exit(self, run: Run) -> None:
        has_status, status, number = _ending(run.wait_status)
        peak, oom = run.environment.peak_kib(), int(run.killed_for_memory)
        self._link.tell(messages.EXITED, run.environment.id, run.sequence, has_status, status, number, oom, peak)

    def _tell_parts(self, run: Run) -> None:
        """Of an environment with extensions: which of its programs have ended while others live on."""
        if not run.parts_ended or not run.answered:
            return
        parts, run.parts_ended = run.parts_ended, []
        group = run.environment.group
        if any(os.WIFSIGNALED(status) for _, status in parts) and group is not None and group.killed_for_memory():
            run.killed_for_memory = True
        for program, status in parts:
            name = run.shown_programs.get(program, program).rpartition("/")[2]
            end = (*_ending(status), int(run.killed_for_memory))
            self._link.tell(messages.PART_ENDED, run.environment.id, run.sequence, name, *end)

    def _run_of(self, environment_id: str) -> Run | None:
        environment = self._environments.get(environment_id)
        return environment.run if environment is not None else None

    def _terminate(self, environment_id: str, force: int) -> None:
        if (run := self._run_of(environment_id)) is not None:
            run.terminate(force=bool(force))

    def _kill(self, environment_id: str) -> None:
        if (run := self._run_of(environment_id)) is not None:
            run.kill()

    def _freeze(self, environment_id: str, *, wanted: bool) -> None:
        if (run := self._run_of(environment_id)) is not None:
            if wanted:
                run.freeze()
            else:
                run.thaw()

    def _init_over(self, environment_id: str) -> None:
        environment = self._environments.get(environment_id)
        if environment is not None and environment.cpu is not None:
            environment.cpu.limit()

    def _release(self, environment_id: str) -> None:
        environment = self._environments.get(environment_id)
        if environment is not None:
            self._let_go(environment)

    def _let_go(self, environment: Environment) -> None:
        environment.release_wanted = True
        if environment.run is not None:
            environment.run.kill()
        else:
            self._environments.remove(environment)

    # --- what must be looked after from time to time ---

    def _on_signal(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        self._reap()

    def _reap(self) -> None:
        """Zygotes that ended, and orphans that came to the spawner because their supervisor was killed."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
        if not self._namespaces:
            known = {self._alarms.pid, *(zygote.pid for zygote in self._forks.all_zygotes)}
            me = os.getpid()
            try:
                children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
            except OSError:
                return
            trees.kill_all([int(pid) for pid in children if int(pid) not in known])

    def _look(self) -> None:
        if self._kills_in_rounds:
            for run in list(self._forks.runs.values()):
                if run.kill_wanted:
                    run.kill()
        self._environments.remove_rest()
        self._limits.look()

    # --- the end ---

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._stop_deadline = time.monotonic() + _EXIT_WAIT_S
        self._loop.unwatch(self._link.sock)
        self._forks.stop()
        for environment in self._environments.all():
            self._let_go(environment)

    def _all_ended(self) -> bool:
        return not self._forks.runs and not self._environments.has_rest

    def _clear_away(self) -> None:
        for zygote in self._forks.all_zygotes:
            try:
                os.kill(zygote.pid, signal.SIGKILL)
                os.waitpid(zygote.pid, 0)
            except OSError:
                continue
        if not self._namespaces:
            self._reap()
        self._alarms.close()
        self._ground.clear_away()


def _ending(wait_status: int | None) -> tuple[int, int, int]:
    """Whether there is a status, the status, and the signal; without a wait status it was killed."""
    if wait_status is None:
        return 0, 0, int(signal.SIGKILL)
    if os.WIFSIGNALED(wait_status):
        return 0, 0, os.WTERMSIG(wait_status)
    return 1, os.WEXITSTATUS(wait_status), 0


def main() -> None:
    """`argv`: the descriptor of the server's socket, the settings, and a place that is there already (`Ground`)."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(sock.fileno(), False)
    settings = Settings.load(sys.argv[2])
    ground = Ground(settings, place=sys.argv[3] if len(sys.argv) > 3 else "")
    ground.enter(sock.fileno())
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    Spawner(sock, settings, ground).run()
