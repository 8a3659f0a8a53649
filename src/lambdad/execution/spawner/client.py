"""The server's side of the spawner: starts it, asks it to launch runtimes, learns how they end.

Works on any asyncio event loop that has `add_reader`. The server itself never forks: `SpawnerClient.start` executes
the spawner before the loop runs, and everything else happens over one message socket.

    client = SpawnerClient.start(SpawnerOptions())
    await client.attach(asyncio.get_running_loop())
    process = await client.launch(LaunchPlan(...))    # LaunchError: errno, path and AWS's words for it
    process.kill()
    end = await process.exited                        # ProcessExit
    process.release()
    await client.stop()
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lambdad.execution.runtimes import sdk
from lambdad.execution.spawner import messages
from lambdad.execution.spawner.isolation import freezer
from lambdad.execution.spawner.settings import Settings

_PACKAGE_ROOT = Path(__file__).resolve().parents[3]
_RUNTIMES = Path(__file__).resolve().parents[1] / "runtimes"
_STOP_WAIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnerOptions:
    """How the spawner is to work."""

    isolation: str = "auto"
    """`auto`: the strongest tier that works here. `T1`, `T2`, `T3`: no higher one than this. `off`: T0."""
    zygotes: bool = True
    """Python environments are forked from a warm interpreter; off: each executes Python anew."""
    forks_per_zygote: int = 500
    reserve: int = 4
    """How many environments of each kind are forked ahead of need."""
    cpu: str = "shares"
    """How CPU time follows the memory size: by `shares`, by a `quota` once init is over, or not (`off`)."""
    freezers: tuple[int, ...] = (2, 1)
    """Versions of control groups that may freeze environments, best first; signals where none can."""
    state_dir: str = ""
    """Where private directories are made; empty for the system's place for temporary files."""
    node_runtime_dir: str = str(_RUNTIMES / "node")
    python_runtime_dir: str = str(_RUNTIMES / "python")
    python: str = sys.executable
    """The interpreter that runs the spawner itself; Python 3.11 or newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """One runtime to start. Paths of files inside an environment are those of AWS: /var/task, /opt, /var/runtime."""

    environment_id: str
    """32 hexadecimal digits."""
    runtime_kind: str
    """`python`: our Python bootstrap, frames. `node`: our Node bootstrap, frames. `bootstrap`: /var/task/bootstrap or
    /opt/bootstrap. `official`: awslambdaric, HTTP, which `runtime_files` bring. `command`: `argv`."""
    interpreter: str = ""
    """Host path of python3.N or node; shown as /var/lang/bin/<name>. Also for a `command` that needs one."""
    argv: tuple[str, ...] = ()
    """`command`: the whole command, its program as an absolute path inside. `node`: what follows the interpreter,
    by default /var/runtime/index.mjs."""
    environ: dict[str, str] = field(default_factory=dict)
    """Complete: nothing of the server's environment is added. The frames descriptor is added by the spawner."""
    task_dir: str
    """Host directory of the unpacked code. It and what is in it must be readable for everyone (0755, 0644), as on
    AWS; the directories above need not be. Empty, with namespaces: the runtime starts without code, see `bind`."""
    opt_dir: str = ""
    """Host directories of the layers, in order: later ones win."""
    memory_mb: int
    tmp_mb: int = 512
    frames_fd: int | None = None
    """The runtime's end of the socketpair. It and `log_fd` stay the caller's, who closes them after the launch."""
    log_fd: int
    """Write end of the pipe that becomes standard output and standard error."""
    runtime_files: tuple[str, ...] = ()
    """Host paths of what /var/runtime has beside our bootstrap."""
    own_network: bool = False
    """No network but a loopback interface of its own. The process then has a listener in it (`take_listener`)."""
    extensions: tuple[str, ...] = ()
    """Programs that run beside the runtime, as seen inside: /opt/extensions/<name>."""
    extension_environ: dict[str, str] = field(default_factory=dict)
    extension_log_fd: int | None = None
    """Like `log_fd`, for the extensions; wanted where there are some."""
    sandbox_address: str = ""
    """The loopback address that `sandbox.localdomain` is inside; empty for 127.0.0.1. Heeded with namespaces only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessExit:
    """How a runtime ended. Either `status` or `signal` is set; a runtime that was killed has signal 9."""

    status: int | None
    signal: int | None
    oom_killed: bool
    peak_kib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEnd:
    """One program of an environment with extensions has ended; what else runs in it lives on."""

    extension: str
    """File name of the extension; empty for the runtime."""
    status: int | None
    signal: int | None
    oom_killed: bool


class SpawnerGone(Exception):
    """The spawner has ended; no environment is left."""


class LaunchError(Exception):
    """The runtime could not be started. `str()` is what AWS says after `RequestId: ... Error: ` where AWS has words."""

    def __init__(self, number: int, path: str, text: str) -> None:
        self.errno = number
        self.path = path
        """What could not be executed, as seen inside; empty if it did not come to that."""
        self.text = text
        super().__init__(self._words())

    @property
    def is_entry_point(self) -> bool:
        """The function's own entry point is at fault, not the machine: AWS answers Runtime.InvalidEntrypoint."""
        return bool(self.path)

    def _words(self) -> str:
        if self.text or not self.path:
            return self.text
        # Go, in which AWS's supervisor is written, has the C library's texts in lower case.
        reason = os.strerror(self.errno)
        return f"fork/exec {self.path}: {reason[:1].lower()}{reason[1:]}"


class EnvironmentProcess:
    """A running runtime and all that it starts."""

    def __init__(
        self,
        client: SpawnerClient,
        environment_id: str,
        *,
        pid: int,
        uid: int,
        memory_mb: int,
        peak: int,
        freezing: tuple[int, int],
        listener: socket.socket | None = None,
    ) -> None:
        """`freezing`: the freezer's version and control file, (0, -1) for none."""
        self.environment_id = environment_id
        self.pid = pid
        """The supervisor's, as the host sees it."""
        self.uid = uid
        """The user that the runtime and all that it starts run as; 0 if the environment has none of its own."""
        self.exited: asyncio.Future[ProcessExit] = client.loop.create_future()
        self._parts: list[PartEnd] = []
        self._part_ended: Callable[[PartEnd], None] = self._parts.append
        self._client = client
        self._memory_kib = memory_mb * 1024
        self._peak_descriptor = peak
        self._peak_text = b""
        self._peak_kib = 0
        self._freezer_version, self._freezer_descriptor = freezing
        self._listener = listener

    def watch_parts(self, ended: Callable[[PartEnd], None]) -> None:
        """From now on `ended` is told which programs of an environment with extensions have ended, earlier ones too."""
        self._part_ended = ended
        for end in self._parts:
            ended(end)
        self._parts.clear()

    def part_ended(self, end: PartEnd) -> None:
        """For the client."""
        self._part_ended(end)

    def terminate(self, *, force: bool = False) -> None:
        """SIGTERM to the runtime, or SIGKILL with `force`; for environments with extensions, which live on."""
        if not self.exited.done():
            self._client.send(messages.encode(messages.TERMINATE, self.environment_id, int(force)))

    def kill(self) -> None:
        """SIGKILL to the whole tree, daemons too. `exited` tells when nothing of it is left."""
        if not self.exited.done():
            self._client.send(messages.encode(messages.KILL, self.environment_id))

    def init_over(self) -> None:
        """From now on CPU time may be held to a quota."""
        if self._client.cpu == "quota" and not self.exited.done():
            self._client.send(messages.encode(messages.INIT_OVER, self.environment_id))

    def take_listener(self) -> socket.socket | None:
        """The listener of the Runtime API in the environment's own network, if it has one; the caller's from now on."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.setblocking(False)
        return listener

    def freeze(self) -> None:
        """Stops every process of the environment until `thaw`; harmless once it has ended."""
        self._write_freezer(freezer.FREEZE, messages.FREEZE)

    def thaw(self) -> None:
        """Lets them run on. What is written to the runtime meanwhile just waits for it."""
        self._write_freezer(freezer.THAW, messages.THAW)

    def _write_freezer(self, words: dict[int, bytes], message: int) -> None:
        if self.exited.done():
            return
        if self._freezer_version == 0:
            self._client.send(messages.encode(message, self.environment_id))
            return
        with contextlib.suppress(OSError):  # the group is being removed
            os.write(self._freezer_descriptor, words[self._freezer_version])

    def release(self) -> None:
        """The environment is gone for good: kills what runs, then removes its /tmp, user and groups."""
        self._client.release(self.environment_id)

    def peak_kib(self) -> int:
        """High-water mark of the environment's memory, at most its limit; one `pread`, 0 if unknown."""
        if self._peak_descriptor >= 0:
            try:
                text = os.pread(self._peak_descriptor, 32, 0)
            except OSError:  # the group is being removed
                text = b""
            if text and text != self._peak_text:
                self._peak_text = text
                self._peak_kib = max(self._peak_kib, min(int(text) // 1024, self._memory_kib))
        return self._peak_kib

    def ended(self, end: ProcessExit) -> None:
        """For the client: the last word about this process."""
        self._peak_kib = max(self._peak_kib, end.peak_kib)
        if self._peak_descriptor >= 0:
            os.close(self._peak_descriptor)
            self._peak_descriptor = -1
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._freezer_descriptor >= 0:
            os.close(self._freezer_descriptor)
            self._freezer_descriptor = -1
        if not self.exited.done():
            self.exited.set_result(end)


class SpawnerClient:
    """One spawner. Made by `start`, then bound to a loop by `attach`."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket) -> None:
        self.loop: asyncio.AbstractEventLoop
        self.cpu = "off"
        """`shares`, `quota` or `off`: what is in force. Known after `attach`."""
        self.tier = ""
        """`T0` to `T3`, see the package. Known after `attach`."""
        self._process = process
        self._sock = sock
        self._sequence = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._plans: dict[int, LaunchPlan] = {}
        self._running: dict[int, EnvironmentProcess] = {}
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self.gone: asyncio.Future[None]
        """Done when the spawner has ended; unasked for, that is the end of the server."""

    @classmethod
    def start(cls, options: SpawnerOptions) -> SpawnerClient:
        """Executes the spawner and does not wait for it. To be called before the event loop runs."""
        ours, theirs = messages.pair()
        copy = sdk.installed()
        settings = Settings(
            isolation=options.isolation,
            zygotes=options.zygotes,
            forks_per_zygote=options.forks_per_zygote,
            reserve=options.reserve if options.zygotes else 0,
            cpu=options.cpu,
            freezers=options.freezers,
            state_dir=options.state_dir,
            python_runtime_dir=options.python_runtime_dir,
            node_runtime_dir=options.node_runtime_dir,
            sdk_paths=copy.paths if copy else (),
            sdk_python=copy.first_python if copy else (3, 10),
        )
        start = (
            f"import sys; sys.path.insert(0, {str(_PACKAGE_ROOT)!r}); sys.argv[0] = 'lambdad-spawner'; "
            "from lambdad.execution.spawner.main import main; main()"
        )
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
            [options.python, "-I", "-S", "-c", start, str(theirs.fileno()), settings.dump()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)},
            cwd="/",
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        ours.setblocking(False)
        return cls(process, ours)

    async def attach(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Binds to the running loop and waits until the spawner has found out what works here (some 20 ms)."""
        self.loop = loop or asyncio.get_running_loop()
        self.gone = self.loop.create_future()
        self.loop.add_reader(self._sock, self._on_readable)
        report = await self.report()
        self.tier, self.cpu = str(report["tier"]), str(report["cpu"])

    @property
    def has_namespaces(self) -> bool:
        """Environments have a root of their own, with /opt, /etc/hosts and the rest. Known after `attach`."""
        return self.tier in ("T2", "T3")

    @property
    def pid(self) -> int:
        return self._process.pid

    async def report(self) -> dict[str, Any]:
        """What is in force: `tier`, `obstacles` (of higher ones: tier, reason, remedy), `missing` (those and others, as
        sentences), `landlock` (its ABI or 0), `users` (each environment has its own), `cgroups` (version or 0),
        `seccomp`, `environments`, `zygotes` (interpreter, sdk, pid, forks)."""
        return json.loads(await self._ask(messages.REPORT))  # type: ignore[no-any-return]

    async def prepare(self, interpreter: str, runtime_kind: str = "python", *, sdk: bool = False) -> None:
        """Starts the zygote for an interpreter ahead of need; with `sdk` the one that has boto3 loaded.

        Raises LaunchError if the interpreter does not start.
        """
        reason = await self._ask(messages.PREPARE, runtime_kind, interpreter, int(sdk))
        if reason:
            raise LaunchError(errno.EIO, "", reason)

    async def launch(self, plan: LaunchPlan, *, reuse: str | None = None) -> EnvironmentProcess:
        """Starts a runtime; returns when a program is executed, or a Python handler is about to be imported.

        With `reuse`, the id of an environment whose runtime has ended, the new one gets that environment's /tmp, user
        and memory accounting; it must be the plan's id. Raises LaunchError, SpawnerGone.
        """
        if reuse is not None and reuse != plan.environment_id:
            raise ValueError("an environment is reused under its own id")
        return await self._ask_to_launch(plan)  # type: ignore[no-any-return]

    async def bind(self, process: EnvironmentProcess, environment_id: str, task_dir: str, opt_dir: str = "") -> None:
        """Gives an environment that was launched without code its code, and the id that it has from now on.

        Raises LaunchError; nothing is left of the environment then.
        """
        waiting_id, process.environment_id = process.environment_id, environment_id
        reason = await self._ask(messages.BIND, waiting_id, environment_id, task_dir, opt_dir)
        if reason:
            process.environment_id = waiting_id
            process.release()
            raise LaunchError(errno.EIO, "", reason)

    def release(self, environment_id: str) -> None:
        """Ends an environment for good, also one whose launch failed; unknown ids are fine."""
        self.send(messages.encode(messages.RELEASE, environment_id))

    async def stop(self) -> None:
        """Ends the spawner and every environment; waits until nothing is left."""
        self._close()
        await asyncio.to_thread(self._wait)
        self._on_end()

    def _wait(self) -> None:
        try:
            self._process.wait(_STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # --- messages ---

    def send(self, message: bytes, descriptors: list[int] | None = None) -> None:
        """Sends now, or as soon as the spawner has room; copies of the descriptors are kept until then."""
        if self._sock.fileno() < 0:
            return
        if not self._unsent:
            try:
                messages.send(self._sock, message, descriptors or [])
                return
            except BlockingIOError:
                self.loop.add_writer(self._sock, self._on_writable)
            except OSError:
                return  # gone: told by the reader
        self._unsent.append((message, [os.dup(one) for one in descriptors or []]))

    def _on_writable(self) -> None:
        while self._unsent:
            message, descriptors = self._unsent[0]
            try:
                messages.send(self._sock, message, descriptors)
            except BlockingIOError:
                return
            except OSError:
                pass
            self._unsent.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        self.loop.remove_writer(self._sock)

    def _new_answer(self) -> tuple[int, asyncio.Future[Any]]:
        if self._sock.fileno() < 0:
            raise SpawnerGone
        self._sequence += 1
        answer: asyncio.Future[Any] = self.loop.create_future()
        self._answers[self._sequence] = answer
        return self._sequence, answer

    async def _ask(self, kind: int, *values: Any) -> Any:
        sequence, answer = self._new_answer()
        self.send(messages.encode(kind, sequence, *values))
        return await answer

    async def _ask_to_launch(self, plan: LaunchPlan) -> Any:
        sequence, answer = self._new_answer()
        self._plans[sequence] = plan
        message = messages.encode(
            messages.LAUNCH,
            sequence,
            plan.environment_id,
            plan.runtime_kind,
            plan.interpreter,
            plan.argv,
            [f"{name}={value}" for name, value in plan.environ.items()],
            plan.task_dir,
            plan.opt_dir,
            plan.memory_mb,
            plan.tmp_mb,
            plan.extensions,
            [f"{name}={value}" for name, value in plan.extension_environ.items()],
            plan.sandbox_address,
            plan.runtime_files,
            int(plan.own_network),
        )
        descriptors = [plan.log_fd, plan.frames_fd, plan.extension_log_fd]
        self.send(message, [one for one in descriptors if one is not None])
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            # Nobody waits for it any more: end what the spawner may be starting.
            self.release(plan.environment_id)
            raise

    def _on_readable(self) -> None:
        for _ in range(32):
            try:
                data, descriptors = messages.receive(self._sock)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._on_end()
                return
            kind, values = messages.decode(data)
            if kind == messages.LAUNCHED:
                self._launched(values, descriptors)
            elif kind == messages.LAUNCH_FAILED:
                sequence, number, path, text = values
                self._plans.pop(sequence, None)
                self._settle(sequence, LaunchError(number, path, text))
            elif kind == messages.PART_ENDED:
                self._part_ended(*values)
            elif kind == messages.EXITED:
                self._exited(*values)
            elif kind in (messages.PREPARED, messages.REPORTED, messages.BOUND):
                self._settle(values[0], values[1])

    def _launched(self, values: list[Any], descriptors: list[int]) -> None:
        sequence, pid, environment_id, uid, freezer_version, has_listener = values
        plan = self._plans.pop(sequence)
        peak, *further = descriptors
        listener = socket.socket(fileno=further.pop(0)) if has_listener else None
        process = EnvironmentProcess(
            self,
            environment_id,
            pid=pid,
            uid=uid,
            memory_mb=plan.memory_mb,
            peak=peak,
            freezing=(freezer_version, further.pop() if freezer_version else -1),
            listener=listener,
        )
        self._running[sequence] = process
        self._settle(sequence, process)

    def _part_ended(
        self, _environment_id: str, sequence: int, extension: str, has_status: int, status: int, number: int, oom: int
    ) -> None:
        process = self._running.get(sequence)
        if process is not None:
            end = PartEnd(
                extension=extension,
                status=status if has_status else None,
                signal=None if has_status else number,
                oom_killed=bool(oom),
            )
            process.part_ended(end)

    def _exited(
        self, _environment_id: str, sequence: int, has_status: int, status: int, number: int, oom: int, peak: int
    ) -> None:
        process = self._running.pop(sequence, None)
        if process is not None:
            end = ProcessExit(
                status=status if has_status else None,
                signal=None if has_status else number,
                oom_killed=bool(oom),
                peak_kib=peak,
            )
            process.ended(end)

    def _settle(self, sequence: int, result: Any) -> None:
        answer = self._answers.pop(sequence, None)
        if answer is None or answer.done():
            return
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    def _close(self) -> None:
        if self._sock.fileno() >= 0:
            if hasattr(self, "loop"):
                self.loop.remove_reader(self._sock)
                self.loop.remove_writer(self._sock)
            self._sock.close()
        for _, descriptors in self._unsent:
            for descriptor in descriptors:
                os.close(descriptor)
        self._unsent.clear()

    def _on_end(self) -> None:
        self._close()
        for sequence in list(self._answers):
            self._settle(sequence, SpawnerGone("the spawner has ended"))
        running, self._running = self._running, {}
        for process in running.values():
            process.thaw()  # version 1: what is frozen does not die with its spawner
            process.ended(ProcessExit(status=None, signal=9, oom_killed=False, peak_kib=process.peak_kib()))
        if hasattr(self, "gone") and not self.gone.done():
            self.gone.set_result(None)
