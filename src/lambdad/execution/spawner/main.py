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
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import messages, plans, supervisor
from .environments import Environment, Run
from .ground import Ground
from .isolation import cgroups, network, syscalls, trees
from .isolation.memory import MemoryGuard
from .link import Link, close_all
from .reach import Reach
from .settings import Settings
from .users import FIRST
from .zygotes import ZygoteKind, ZygoteProcess, ZygoteStarter

CLOSE_POLL_S = 0.01
"""How often memory is looked at while a function holds more than its memory size, /tmp and page cache included."""
TMP_POLL_S = 0.25
"""How often a /tmp without a file system of its own is looked through."""
POLL_S = 0.05
"""How often memory is measured, and remainders are cleared away, where the kernel does not do it."""
MEMORY_FILES_EVERY = 4
"""Measurements of memory per look at memory files, which costs more than all the rest."""
_EXIT_WAIT_S = 3.0


class Spawner:
    """Everything happens in callbacks of one selector."""

    def __init__(self, sock: socket.socket, settings: Settings, ground: Ground) -> None:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        self._link = Link(sock)
        self._settings = settings
        self._ground = ground
        self._namespaces = ground.namespaces
        self._reach = Reach(ground.place, users=ground.users is not None) if ground.number == 1 else None
        self._starter = ZygoteStarter(
            settings,
            namespaces=ground.namespaces,
            user_namespaces=ground.user_namespaces,
            users=ground.users.range if ground.users else range(FIRST, FIRST + 1),
            place=ground.zygote_place,
            seccomp=ground.seccomp,
            reach=self._reach,
        )
        self._plans = plans.Plans(settings, self._starter.runtime_place, self._reach)
        self._selector = selectors.DefaultSelector()
        self._environments: dict[str, Environment] = {}
        self._runs: dict[int, Run] = {}  # by sequence, until the supervisor is gone
        self._zygotes: dict[ZygoteKind, ZygoteProcess] = {}
        self._all_zygotes: list[ZygoteProcess] = []
        self._removing: list[Environment] = []
        self._next_look_at_tmp = 0.0
        self._stopping = False
        self._stop_deadline = 0.0
        self._next_poll = math.inf
        self._measurements = 0

    # --- loop ---

    def run(self) -> None:
        """Serves until the server is gone."""
        wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._watch(wake, lambda: self._on_signal(wake))
        self._watch(self._link.sock, self._on_server)
        while not (self._stopping and self._all_ended()):
            self._turn()
        self._clear_away()

    def _turn(self) -> None:
        interval = self._poll_interval()
        now = time.monotonic()
        if interval is not None:
            self._next_poll = min(self._next_poll, now + interval)
        events = self._selector.select(None if interval is None else max(self._next_poll - now, 0))
        for key, _ in events:
            if self._selector.get_map().get(key.fd) is key:  # not closed, perhaps reused, by one before it
                key.data()
        if interval is not None:
            self._poll_guards()
            if time.monotonic() >= self._next_poll:  # not after every event: it may be costly
                self._poll()
                self._next_poll = time.monotonic() + interval
        self._link.flush()
        if self._stopping and time.monotonic() > self._stop_deadline:
            self._runs.clear()

    def _poll_interval(self) -> float | None:
        """None while the kernel tells everything."""
        if any(guard.is_above for _, guard in self._guards()):
            return CLOSE_POLL_S
        if (
            self._stopping
            or self._removing
            or self._link.has_unsent
            or (self._runs and (self._ground.polls_memory or self._reach is not None))
            or any(run.kill_wanted for run in self._runs.values())
        ):
            return POLL_S
        return None

    def _guards(self) -> list[tuple[Environment, MemoryGuard]]:
        """Those of environments in which something runs."""
        environments = [run.environment for run in self._runs.values()]
        return [(one, one.guard) for one in environments if one.guard is not None]

    def _watch(self, target: Any, callback: Callable[[], None]) -> None:
        self._selector.register(target, selectors.EVENT_READ, callback)

    def _unwatch(self, target: Any) -> None:
        try:
            self._selector.unregister(target)
        except (KeyError, ValueError):
            return

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
                self._launch(values, descriptors)
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
                "zygotes": [
                    {"interpreter": one.kind.interpreter, "sdk": one.kind.with_sdk, "pid": one.pid, "forks": one.forks}
                    for one in self._all_zygotes
                ],
            }
        )

    # --- launching ---

    def _launch(self, values: list[Any], descriptors: list[int]) -> None:
        plan = plans.Plan(*values)
        handed = descriptors
        try:
            if plan.own_network and not self._namespaces:
                raise network.NoNetwork(
                    errno.ENOTSUP,
                    "the function must not reach a network, which takes namespaces (tier T2 or T3, see `lambdad "
                    "doctor`) that this machine does not give; it is not started",
                )
            environment = self._environment_for(plan)
            zygote_kind, order = self._plans.resolve(
                plan, namespaces=self._namespaces, environment=environment, zygotes=self._zygotes
            )
            if order.wanted_sdk is not None:
                self._zygote(order.wanted_sdk)
            zygote = self._zygote(zygote_kind)
            flags = self._add_descriptors(plan, environment, handed)
        except plans.NoEntryPoint as error:
            close_all(handed)
            self._link.tell(messages.LAUNCH_FAILED, plan.sequence, error.number, error.path, str(error))
            return
        except OSError as error:
            close_all(handed)
            self._link.tell(messages.LAUNCH_FAILED, plan.sequence, error.errno or 0, "", str(error))
            return
        status, theirs = messages.pair()
        status.setblocking(False)
        run = environment.run = Run(plan.sequence, environment, zygote, status)
        if order.argv:
            run.shown_programs[order.argv[0]] = order.shown_program
        run.shown_programs.update(zip(order.extensions, plan.extensions, strict=True))
        run.has_extensions = bool(order.extensions)
        run.is_unbound = bool(flags & supervisor.UNBOUND)
        self._runs[plan.sequence] = run
        zygote.pending.add(plan.sequence)
        zygote.forks += 1
        self._watch(status, lambda: self._on_status(run))
        message = messages.encode(
            messages.FORK,
            plan.sequence,
            order.mode,
            order.argv,
            order.environ,
            order.directory,
            environment.uid,
            self._settings.open_files,
            self._tasks(environment) if self._ground.users or self._ground.user_namespaces else 0,
            0 if self._namespaces or not self._reach else environment.tmp_mb << 20,
            environment.memory_kib * 1024,
            flags | (supervisor.WRAPPED if order.wrapped else 0) | (supervisor.LANDLOCK if self._reach else 0),
            order.extensions,
            order.extension_environ,
            order.readable,
            order.writable,
        )
        zygote.send(message, [theirs.detach(), *handed])
        if zygote.forks >= self._settings.forks_per_zygote and self._zygotes.get(zygote.kind) is zygote:
            del self._zygotes[zygote.kind]

    def _add_descriptors(self, plan: plans.Plan, environment: Environment, handed: list[int]) -> int:
        """Adds to output and frames what else a FORK message hands over, in its order; returns the flags."""
        flags = supervisor.HAS_EXTENSIONS if plan.extensions else 0
        flags |= supervisor.HAS_FRAMES if len(handed) > (2 if plan.extensions else 1) else 0
        flags |= supervisor.OWN_NETWORK if plan.own_network else 0
        if self._namespaces:
            flags |= supervisor.NAMESPACES | supervisor.HAS_TMP
            flags |= supervisor.USER_NAMESPACE if self._ground.user_namespaces else 0
            if plan.task_dir:
                flags |= supervisor.HAS_TASK
                handed.append(self._plans.open_code(plan.task_dir))
            else:
                flags |= supervisor.UNBOUND
            if plan.layer_dirs:
                flags |= supervisor.HAS_LAYERS
                handed.append(self._plans.open_layers(plan.layer_dirs, self._ground.place / "layers"))
            handed.append(environment.open_tmp())
            if plan.sandbox_address:
                flags |= supervisor.HAS_HOSTS
                handed.append(environment.open_hosts(self._ground.place / "hosts", plan.sandbox_address))
        events = environment.guard.arm() if environment.guard is not None else []
        if events:
            flags |= supervisor.HAS_EVENTS
            handed += events
        if environment.group is not None:
            handed += environment.group.open_members()
        if environment.cpu is not None:
            environment.cpu.unlimit()
            handed += environment.cpu.open_members()
        if environment.freezer is not None:
            environment.thaw()  # what ran here before may have been killed while it was frozen
            members = environment.freezer.open_members()
            flags |= supervisor.HAS_FREEZER if members else 0
            handed += members
        return flags

    def _bind(self, sequence: int, environment_id: str, bound_id: str, task_dir: str, layer_dirs: list[str]) -> None:
        """Gives an environment that waits for its function the function's code, and the id that it has from now on."""
        environment = self._environments.get(environment_id)
        run = environment.run if environment is not None else None
        if environment is None or run is None or not run.is_unbound or bound_id in self._environments:
            self._link.tell(messages.BOUND, sequence, "no environment waits under this id, or the new one is taken")
            return
        run.is_unbound = False
        run.binding = sequence
        trees: list[int] = []
        try:
            trees.append(self._plans.open_code(task_dir))
            if layer_dirs:
                trees.append(self._plans.open_layers(layer_dirs, self._ground.place / "layers"))
            flags = supervisor.HAS_LAYERS if layer_dirs else 0
            messages.send(run.status, messages.encode(messages.ATTACH, flags), trees)
        except OSError as error:
            run.attach_failure = str(error)
            self._answer_binding(run)
            return
        finally:
            close_all(trees)
        del self._environments[environment_id]
        environment.id = bound_id
        self._environments[bound_id] = environment

    def _answer_binding(self, run: Run) -> None:
        if run.binding is not None and run.attach_failure is not None:
            self._link.tell(messages.BOUND, run.binding, run.attach_failure)
            run.binding = None
            if run.attach_failure:
                self._release(run.environment.id)

    def _environment_for(self, plan: plans.Plan) -> Environment:
        environment = self._environments.get(plan.environment_id)
        if environment is not None:
            if environment.run is not None or environment.release_wanted:
                raise BlockingIOError(16, "a runtime is still running in this environment")
            return environment
        environment = Environment(plan.environment_id, memory_kib=plan.memory_mb * 1024, tmp_mb=plan.tmp_mb)
        try:
            if self._ground.user_namespaces:
                environment.uid = FIRST  # each in a user namespace of its own
            elif self._ground.users:
                environment.uid = self._ground.users.take()
            environment.make_tmp(self._ground.place / "tmp", mounted=self._namespaces)
            if self._ground.groups is not None and self._ground.groups.version:
                self._limit(environment, self._ground.groups)
            if self._ground.cpus is not None:
                environment.cpu = self._ground.cpus.create(environment.id, environment.group, memory_mb=plan.memory_mb)
            if self._ground.freezers is not None:
                environment.freezer = self._ground.freezers.create(environment.id, environment.group)
        except OSError:
            self._remove(environment)
            raise
        self._environments[environment.id] = environment
        return environment

    def _tasks(self, environment: Environment) -> int:
        """The limit that `ulimit -u` shows: 742 with 128 MB (AWS: recorded).

        That is what Linux grants by default to a machine of 185.5 MiB: half a thread for each 128 KiB. So it is taken
        to grow with the memory size, up to the documented 1,024.
        """
        return min(self._settings.tasks, environment.memory_kib // 256 + 230)

    def _limit(self, environment: Environment, groups: cgroups.Groups) -> None:
        memory_bytes = environment.memory_kib * 1024
        # A tmpfs is charged to the group. Elsewhere the room above the memory size is for the guard to act in: the
        # kernel would kill one process of version 1, not the environment.
        tmp_bytes = environment.tmp_mb << 20
        environment.group = groups.create(
            environment.id,
            memory_bytes=memory_bytes,
            hard_limit_bytes=memory_bytes + tmp_bytes,
            tasks=self._settings.tasks,
        )
        if environment.group.memory:
            tmp = str(environment.tmp) if self._namespaces else ""
            guard = MemoryGuard(environment.group, limit_bytes=memory_bytes, tmp=tmp)
            environment.guard = guard
            if guard.descriptor >= 0:
                self._watch(guard.descriptor, lambda: self._on_memory(environment, guard))

    def _on_memory(self, environment: Environment, guard: MemoryGuard) -> None:
        guard.drain()
        self._check_memory(environment, guard)

    def _check_memory(self, environment: Environment, guard: MemoryGuard) -> None:
        run = environment.run
        if run is not None and not run.kill_wanted and guard.is_exceeded():
            run.killed_for_memory = True
            run.kill(namespaces=self._namespaces)

    # --- zygotes ---

    def _zygote(self, kind: ZygoteKind) -> ZygoteProcess:
        zygote = self._zygotes.get(kind)
        if zygote is None:
            zygote = self._starter.start(kind)
            self._zygotes[kind] = zygote
            self._all_zygotes.append(zygote)
            self._watch(zygote.sock, lambda: self._on_zygote(zygote))
        return zygote

    def _prepare(self, sequence: int, runtime_kind: str, interpreter: str, with_sdk: int) -> None:
        kind = self._plans.zygote_kind(runtime_kind, interpreter, with_sdk=bool(with_sdk))
        zygote = self._zygote(kind)

        def answer(text: str) -> None:
            self._link.tell(messages.PREPARED, sequence, text)

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
            zygote.pending.discard(values[0])
            run = self._runs.get(values[0])
            if run is not None:
                run.failure = (values[1], "", values[2])
                self._run_ended(run)

    def _zygote_gone(self, zygote: ZygoteProcess) -> None:
        self._unwatch(zygote.sock)
        zygote.close()
        if self._zygotes.get(zygote.kind) is zygote:
            del self._zygotes[zygote.kind]
        self._all_zygotes.remove(zygote)
        for callback in zygote.on_ready:
            callback("the interpreter could not be started; see the server's standard error")
        for sequence in list(zygote.pending):
            run = self._runs.get(sequence)
            if run is not None and not run.pid:
                run.failure = (5, "", f"the interpreter {zygote.kind.interpreter} could not be started")
                self._run_ended(run)

    def _retire_zygotes(self) -> None:
        """Lets go of zygotes that were replaced, once their last child is gone: it would not survive them."""
        for zygote in list(self._all_zygotes):
            if zygote.is_idle and self._zygotes.get(zygote.kind) is not zygote:
                self._zygote_gone(zygote)

    # --- runs ---

    def _forked(self, zygote: ZygoteProcess, sequence: int, pid: int) -> None:
        zygote.pending.discard(sequence)
        run = self._runs.get(sequence)
        zygote.children.add(pid)
        if run is None:
            zygote.send(messages.encode(messages.REAP, pid), [])
            return
        run.pid = pid
        # The zygote reaps only when it is told, so this is still the same process.
        run.pid_descriptor = os.pidfd_open(pid)
        self._watch(run.pid_descriptor, lambda: self._run_ended(run))
        if run.kill_wanted:
            run.kill(namespaces=self._namespaces)
        self._answer_launch(run)

    def _on_status(self, run: Run) -> None:
        if not run.read_status():
            self._unwatch(run.status)
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

    def _run_ended(self, run: Run) -> None:
        """The supervisor is gone, and with it every process of the environment."""
        environment, zygote = run.environment, run.zygote
        if not run.failure:
            run.read_status()
        self._unwatch(run.status)
        if run.pid:
            self._unwatch(run.pid_descriptor)
            zygote.send(messages.encode(messages.REAP, run.pid), [])
            zygote.children.discard(run.pid)
        self._answer_launch(run)
        if run.binding is not None:
            run.attach_failure = run.attach_failure or "the environment ended before its function was there"
            self._answer_binding(run)
        killed_for_memory = run.killed_for_memory
        if environment.group is not None and environment.group.killed_for_memory():
            killed_for_memory = True
        if run.answered:
            self._tell_parts(run, killed_for_memory=killed_for_memory)
            self._tell_exit(run, killed_for_memory)
        else:
            number, path, text = run.failure or (5, "", "the environment ended before its runtime was started")
            shown = run.shown_programs.get(path, path)
            self._link.tell(messages.LAUNCH_FAILED, run.sequence, number, shown, "" if path else text)
        run.close()
        self._runs.pop(run.sequence, None)
        environment.run = None
        if environment.release_wanted:
            self._remove(environment)
        self._retire_zygotes()

    def _tell_exit(self, run: Run, killed_for_memory: bool) -> None:
        has_status, status, number = _ending(run.wait_status)
        peak, oom = run.environment.peak_kib(), int(killed_for_memory)
        self._link.tell(messages.EXITED, run.environment.id, run.sequence, has_status, status, number, oom, peak)

    def _tell_parts(self, run: Run, *, killed_for_memory: bool = False) -> None:
        """Of an environment with extensions: which of its programs have ended while others live on."""
        if not run.parts_ended or not run.answered:
            return
        parts, run.parts_ended = run.parts_ended, []
        group = run.environment.group
        if any(os.WIFSIGNALED(status) for _, status in parts) and group is not None and group.killed_for_memory():
            killed_for_memory = run.killed_for_memory = True
        for program, status in parts:
            name = run.shown_programs.get(program, program).rpartition("/")[2]
            end = (*_ending(status), int(killed_for_memory))
            self._link.tell(messages.PART_ENDED, run.environment.id, run.sequence, name, *end)

    def _terminate(self, environment_id: str, force: int) -> None:
        environment = self._environments.get(environment_id)
        if environment is not None and environment.run is not None:
            environment.run.terminate(force=bool(force))

    def _kill(self, environment_id: str) -> None:
        environment = self._environments.get(environment_id)
        if environment is not None and environment.run is not None:
            environment.run.kill(namespaces=self._namespaces)

    def _freeze(self, environment_id: str, *, wanted: bool) -> None:
        environment = self._environments.get(environment_id)
        if environment is not None and environment.run is not None:
            if wanted:
                environment.run.freeze()
            else:
                environment.run.thaw()

    def _init_over(self, environment_id: str) -> None:
        environment = self._environments.get(environment_id)
        if environment is not None and environment.cpu is not None:
            environment.cpu.limit()

    def _release(self, environment_id: str) -> None:
        environment = self._environments.get(environment_id)
        if environment is None:
            return
        environment.release_wanted = True
        if environment.run is not None:
            environment.run.kill(namespaces=self._namespaces)
        else:
            self._remove(environment)

    def _remove(self, environment: Environment) -> None:
        self._environments.pop(environment.id, None)
        if environment.guard is not None and environment.guard.descriptor >= 0:
            self._unwatch(environment.guard.descriptor)
        if not environment.remove(mounted=self._namespaces):
            self._removing.append(environment)
            return
        if self._reach is not None:
            self._reach.release(environment.id)
        if environment.uid and self._ground.users:
            self._ground.users.give_back(environment.uid)

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
            known = {zygote.pid for zygote in self._all_zygotes}
            me = os.getpid()
            try:
                children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
            except OSError:
                return
            trees.kill_all([int(pid) for pid in children if int(pid) not in known])

    def _poll(self) -> None:
        for run in list(self._runs.values()):
            if run.kill_wanted and (run.dies_slowly or not self._namespaces):
                run.kill(namespaces=self._namespaces)
        for environment in self._removing[:]:
            self._removing.remove(environment)
            self._remove(environment)
        if self._ground.measures_memory and self._runs:
            self._measure()
        if self._reach is not None and time.monotonic() >= self._next_look_at_tmp:
            self._look_at_tmp()

    def _look_at_tmp(self) -> None:
        """Where no file system limits /tmp: whoever keeps more there than allowed is ended."""
        began = time.monotonic()
        for run in list(self._runs.values()):
            if run.pid and not run.kill_wanted and run.environment.is_tmp_exceeded():
                text = f"environment {run.environment.id} had more in /tmp than its {run.environment.tmp_mb} MB: ended"
                print(f"spawner: {text}", file=sys.stderr, flush=True)
                run.kill(namespaces=self._namespaces)
        now = time.monotonic()
        # A twentieth of the time at most is spent on it.
        self._next_look_at_tmp = now + max(TMP_POLL_S, 20 * (now - began))

    def _poll_guards(self) -> None:
        for environment, guard in self._guards():
            if guard.needs_polling:
                self._check_memory(environment, guard)

    def _measure(self) -> None:
        """Where no control group limits memory: the sum over each tree, and SIGKILL above the limit."""
        self._measurements += 1
        looks_at_files = self._measurements % MEMORY_FILES_EVERY == 0
        for run in list(self._runs.values()):
            if not run.pid:
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
                run.kill(namespaces=self._namespaces)

    # --- the end ---

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._stop_deadline = time.monotonic() + _EXIT_WAIT_S
        self._unwatch(self._link.sock)
        for environment in list(self._environments.values()):
            environment.release_wanted = True
            if environment.run is not None:
                environment.run.kill(namespaces=self._namespaces)
            else:
                self._remove(environment)

    def _all_ended(self) -> bool:
        return not self._runs and not self._removing

    def _clear_away(self) -> None:
        for zygote in self._all_zygotes:
            try:
                os.kill(zygote.pid, signal.SIGKILL)
                os.waitpid(zygote.pid, 0)
            except OSError:
                continue
        if not self._namespaces:
            self._reap()
        self._plans.close()
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
