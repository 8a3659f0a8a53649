"""Zygotes as the spawner handles them: started on first need, asked for children, replaced after many."""

from __future__ import annotations

import fcntl
import functools
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from . import messages
from .isolation import mounts, syscalls
from .reach import Reach
from .settings import Settings
from .zygote import Zygote

OWN_DIRECTORY = os.path.dirname(os.path.abspath(__file__))
_CHILD_ENVIRON = {"LANG": "C.UTF-8", "LC_CTYPE": "C.UTF-8", "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin:/bin"}


@dataclass(frozen=True, slots=True)
class ZygoteKind:
    """What a zygote's children can be."""

    interpreter: str
    """Host path; empty for programs that bring their own."""
    is_python: bool
    """The children run Python handlers; else they execute a program."""
    with_sdk: bool = False
    shows_python: bool = False
    """The template root holds a Python interpreter and the files it needs."""
    also: tuple[str, ...] = ()
    """Host paths of what else lies in /var/runtime."""


class ZygoteProcess:
    """One running zygote. `on_message` gets what it tells, `on_gone` is called once when it has ended."""

    def __init__(self, kind: ZygoteKind, pid: int, sock: socket.socket) -> None:
        self.kind = kind
        self.pid = pid
        self.sock = sock
        self.version = ""
        self.modules: frozenset[str] = frozenset()
        self.is_ready = False
        self.failure = ""
        self.forks = 0
        self.children: set[int] = set()
        self.pending: set[int] = set()
        self.on_ready: list[Callable[[str], None]] = []
        self._unsent: deque[tuple[bytes, list[int]]] = deque()

    def send(self, message: bytes, descriptors: list[int]) -> None:
        """Hands over a message; the descriptors are closed once they are sent."""
        self._unsent.append((message, descriptors))
        self.flush()

    def flush(self) -> bool:
        """Sends what could not be sent before; True when nothing is left."""
        while self._unsent:
            message, descriptors = self._unsent[0]
            try:
                messages.send(self.sock, message, descriptors)
            except BlockingIOError:
                return False
            except OSError:
                pass  # it is gone; its end is noticed elsewhere
            self._unsent.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    @property
    def is_idle(self) -> bool:
        return not self.children and not self.pending and not self._unsent

    def close(self) -> None:
        for _, descriptors in self._unsent:
            for descriptor in descriptors:
                os.close(descriptor)
        self._unsent.clear()
        self.sock.close()


class ZygoteStarter:
    """Knows how to start zygotes on this machine."""

    def __init__(
        self,
        settings: Settings,
        *,
        namespaces: bool,
        user_namespaces: bool,
        users: range,
        place: Path,
        seccomp: bytes,
        reach: Reach | None,
    ) -> None:
        self._user_namespaces = user_namespaces
        self._settings = settings
        self._users = users
        self._reach = reach
        self._namespaces = namespaces
        self._place = place
        self._seccomp = seccomp

    def start(self, kind: ZygoteKind) -> ZygoteProcess:
        """Forks a zygote; it tells STARTED when it is ready."""
        if kind.is_python and not self._namespaces:
            self.runtime_place(kind.interpreter)  # made here, since orders for its children are made with it meanwhile
        ours, theirs = messages.pair()
        pid = os.fork()
        if pid == 0:
            self._become_zygote(kind, theirs)
        theirs.close()
        ours.setblocking(False)
        return ZygoteProcess(kind, pid, ours)

    def _become_zygote(self, kind: ZygoteKind, sock: socket.socket) -> NoReturn:
        try:
            control, seccomp = self._settle(sock)
            if self._namespaces:
                syscalls.unshare(syscalls.CLONE_NEWNS)
                mounts.build(str(self._place), self._template(kind), users=self._users)
            if kind.is_python:
                self._exec_python(kind, control, seccomp)
            if self._namespaces:
                mounts.seal(keep_proc=self._user_namespaces)
            Zygote(socket.socket(fileno=control), self._seccomp, None).serve()
        except BaseException as error:
            message = f"zygote: {error!r}\n"
            os.write(2, message.encode())
        finally:
            os._exit(1)

    def _settle(self, sock: socket.socket) -> tuple[int, int]:
        """Keeps standard error, the control socket and the filter; closes everything else."""
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        for one in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        # Numbers are moved up first, so that none is overwritten on its way down.
        high = [_move_up(sock.fileno()), self._filter_descriptor()]
        for number in (0, 1):
            os.dup2(null, number)
        syscalls.close_range(3, 63)
        kept = [-1, -1]
        for index, descriptor in enumerate(high):
            if descriptor >= 0:
                kept[index] = os.dup2(descriptor, 3 + index, inheritable=False)
        syscalls.close_range(5)
        sock.detach()
        return kept[0], kept[1]

    def _filter_descriptor(self) -> int:
        if not self._seccomp:
            return -1
        descriptor = os.memfd_create("lambdad-filter", os.MFD_CLOEXEC)
        os.write(descriptor, self._seccomp)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return _move_up(descriptor)

    def _exec_python(self, kind: ZygoteKind, control: int, seccomp: int) -> NoReturn:
        for descriptor in (control, seccomp):
            if descriptor >= 0:
                os.set_inheritable(descriptor, True)
        name = "lambdad_spawner"
        if self._namespaces:
            program, flags = mounts.interpreter_inside(kind.interpreter), []
            own_code, runtime = mounts.OWN_CODE, "/var/runtime"
        else:
            # The interpreter's own packages are not the function's: no site, no user site.
            program, flags = kind.interpreter, ["-s", "-S"]
            own_code, runtime = str(self._place / "own"), self.runtime_place(kind.interpreter)
        namespaces = int(self._namespaces) + int(self._user_namespaces)
        numbers = [control, seccomp, int(kind.with_sdk), namespaces]
        start = f"import sys; sys.path.insert(0, {own_code!r}); from {name}.zygote import python_zygote; "
        start += f"python_zygote({[*map(str, numbers), own_code, runtime]!r})"
        environ = {**_CHILD_ENVIRON, "PYTHONDONTWRITEBYTECODE": "1"}
        os.execve(program, [program, *flags, "-c", start], environ)  # noqa: S606 - a zygote

    def _template(self, kind: ZygoteKind) -> mounts.Template:
        return mounts.Template(
            interpreter=kind.interpreter,
            is_python=kind.shows_python,
            runtime_files=self.runtime_files(kind),
            own_code=OWN_DIRECTORY if kind.is_python else "",
        )

    def runtime_files(self, kind: ZygoteKind) -> dict[str, str]:
        """What lies in /var/runtime."""
        settings = self._settings
        directory = settings.python_runtime_dir if kind.shows_python else settings.node_runtime_dir
        files = {}
        if kind.interpreter and directory:
            with os.scandir(directory) as entries:
                files = {one.name: one.path for one in entries if not one.name.startswith("__")}
        if kind.shows_python and supports_sdk(kind.interpreter, settings):
            files.update({os.path.basename(path): path for path in settings.sdk_paths})
        files.update({os.path.basename(path): path for path in kind.also})
        return files

    def runtime_place(self, interpreter: str, also: tuple[str, ...] = ()) -> str:
        """The portable tier's /var/runtime for Python: a directory of links."""
        with_sdk = supports_sdk(interpreter, self._settings)
        name = "runtime" if with_sdk else "runtime-without-sdk"
        if also:
            name += f"-{os.path.basename(os.path.realpath(interpreter))}"
        place = self._place / name
        if not place.exists():
            place.mkdir()
            place.chmod(0o755)
            kind = ZygoteKind(interpreter, is_python=True, shows_python=True, also=also)
            for name, source in self.runtime_files(kind).items():
                (place / name).symlink_to(self._reach.shown(source) if self._reach is not None else source)
            own = self._place / "own"
            own.mkdir(exist_ok=True)
            if not (own / "lambdad_spawner").exists():
                (own / "lambdad_spawner").symlink_to(OWN_DIRECTORY)
        return str(place)


def supports_sdk(interpreter: str, settings: Settings) -> bool:
    """Whether the server's boto3 runs on this interpreter, by the version in its name."""
    return python_version(interpreter) >= settings.sdk_python and bool(settings.sdk_paths)


@functools.lru_cache(maxsize=64)
def python_version(interpreter: str) -> tuple[int, int]:
    """(3, 12) for a path that ends in `python3.12`; (0, 0) if the name does not tell."""
    name = os.path.basename(os.path.realpath(interpreter))
    try:
        major, minor = name.removeprefix("python").split(".")[:2]
        return int(major), int(minor)
    except ValueError:
        return 0, 0


def _move_up(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64)
