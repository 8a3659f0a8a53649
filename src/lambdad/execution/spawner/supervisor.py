"""The first process of an environment: enters its isolation, starts the runtime, waits for it, tells how it ended.

Forked from a zygote. With namespaces it is pid 1 of the environment, so its end takes every process of the
environment with it; the function is never pid 1, which would survive its own SIGKILL and would have to reap. Without
namespaces it is the subreaper of the environment's processes, and kills what the runtime left behind.
Runs on Python 3.8 and newer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import socket
import time
from typing import Callable, Dict, List, NoReturn, Optional

from . import messages
from .isolation import syscalls

HAS_FRAMES = 1
HAS_TASK = 2
HAS_LAYERS = 4
HAS_TMP = 8
NAMESPACES = 16
WRAPPED = 32

FRAMES_DESCRIPTOR = 3
_SAFE_DESCRIPTOR = 64
"""Descriptors are first moved up here, so that none is overwritten on its way to a low number."""
_MEMLOCK_BYTES = 65_536
_STACK_BYTES = 8 << 20

PythonMain = Callable[[Dict[str, str]], None]


class Order:
    """What a zygote was asked for; takes over the descriptors."""

    def __init__(self, values: List[object], descriptors: List[int], seccomp: bytes) -> None:
        (
            self.sequence,
            self.mode,
            self.argv,
            environ,
            self.directory,
            self.uid,
            self.open_files,
            self.tasks,
            self.flags,
        ) = values  # type: ignore[misc]
        self.environ: Dict[str, str] = dict(item.partition("=")[::2] for item in environ)  # type: ignore[attr-defined]
        self.seccomp = seccomp
        self.descriptors = descriptors
        waiting = list(descriptors)
        self.status = waiting.pop(0)
        self.output = waiting.pop(0)
        self.frames = self._take(waiting, HAS_FRAMES)
        self.task = self._take(waiting, HAS_TASK)
        self.layers = self._take(waiting, HAS_LAYERS)
        self.tmp = self._take(waiting, HAS_TMP)
        self.groups = waiting

    def _take(self, waiting: List[int], flag: int) -> int:
        return waiting.pop(0) if self.flags & flag else -1  # type: ignore[operator]

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)  # type: ignore[operator]


class _NotRunning(Exception):
    """The runtime cannot be started; what the server is to know of it."""

    def __init__(self, error: OSError, path: str) -> None:
        super().__init__(str(error))
        self.number = error.errno or errno.EIO
        self.path = path


def supervise(order: Order, null: int, python_main: Optional[PythonMain]) -> NoReturn:
    """All that the environment's first process does. Never returns."""
    try:
        _supervise(order, null, python_main)
    except _NotRunning as error:
        _tell(order.status, messages.encode(messages.NOT_RUNNING, error.number, error.path, str(error)))
    except OSError as error:
        _tell(order.status, messages.encode(messages.NOT_RUNNING, error.errno or errno.EIO, "", str(error)))
    except BaseException as error:
        _tell(order.status, messages.encode(messages.NOT_RUNNING, errno.EIO, "", repr(error)))
    finally:
        os._exit(1)


def _supervise(order: Order, null: int, python_main: Optional[PythonMain]) -> None:
    for group in order.groups:
        os.write(group, b"0")
    namespaces = order.has(NAMESPACES)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if namespaces:
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS)
        _attach(order.task, "/var/task")
        _attach(order.layers, "/opt")
        _attach(order.tmp, "/tmp")
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC, "")
        socket.sethostname("localhost")
    else:
        # Its own session, so that nothing sent to the server's terminal reaches the function.
        os.setsid()
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    told_end, tell_end = os.pipe()
    runtime = os.fork()
    if runtime == 0:
        _become_runtime(order, null, tell_end, python_main)
    _settle_down(order, null, told_end)
    failure = os.read(3, messages.MAXIMUM_SIZE)
    os.close(3)
    _tell(4, failure or messages.encode(messages.RUNNING, runtime))
    if failure:
        os._exit(1)
    _wait(runtime, namespaces)


def _attach(tree: int, target: str) -> None:
    if tree >= 0:
        syscalls.move_mount(tree, target)


def _settle_down(order: Order, null: int, told_end: int) -> None:
    """The supervisor keeps the status socket and nothing else, and the rights of nobody."""
    ends = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _SAFE_DESCRIPTOR) for descriptor in (told_end, order.status)]
    order.status = ends[1]
    for number in range(3):
        os.dup2(null, number)
    os.dup2(ends[0], 3, inheritable=False)
    os.dup2(ends[1], 4, inheritable=False)
    order.status = 4
    syscalls.close_from(5)
    if order.uid:
        _drop_to(order.uid)  # type: ignore[arg-type]
        # Changing the user has cleared it; and leaves the process undumpable, out of the function's reach.
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _drop_to(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _wait(runtime: int, namespaces: bool) -> None:
    while True:
        pid, status = os.wait()
        if pid == runtime:
            _tell(4, messages.encode(messages.ENDED, status))
            break
    if not namespaces:
        kill_children()
    os._exit(0)


def kill_children() -> None:
    """Kills and reaps every process below this one, including those that come to it as its subreaper."""
    me = os.getpid()
    while True:
        try:
            with open("/proc/%d/task/%d/children" % (me, me)) as children:
                pids = [int(text) for text in children.read().split()]
        except OSError:
            pids = []
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _tell(descriptor: int, message: bytes) -> None:
    try:
        os.write(descriptor, message)
    except OSError:
        pass  # the spawner is gone, and takes the environment with it


def _become_runtime(order: Order, null: int, tell_end: int, python_main: Optional[PythonMain]) -> NoReturn:
    number = FRAMES_DESCRIPTOR
    try:
        wanted = [null, order.output, order.output]
        if order.frames >= 0:
            wanted.append(order.frames)
        moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _SAFE_DESCRIPTOR) for one in [*wanted, tell_end]]
        tell_end = moved.pop()
        for number, descriptor in enumerate(moved):
            os.dup2(descriptor, number)
        os.dup2(tell_end, len(moved), inheritable=False)
        tell_end = len(moved)
        syscalls.close_from(tell_end + 1)
        _restrict(order)
        if order.frames >= 0:
            order.environ["_LAMBDAD_FRAMES_FD"] = str(FRAMES_DESCRIPTOR)
        if order.mode == "python" and python_main is not None:
            os.chdir(order.directory)  # type: ignore[arg-type]
            os.close(tell_end)
            python_main(order.environ)
            os._exit(0)
        _exec(order)
    except _NotRunning as error:
        _tell(tell_end, messages.encode(messages.NOT_RUNNING, error.number, error.path, str(error)))
    except OSError as error:
        _tell(tell_end, messages.encode(messages.NOT_RUNNING, error.errno or errno.EIO, "", str(error)))
    finally:
        os._exit(1)


def _restrict(order: Order) -> None:
    if order.has(NAMESPACES):
        os.setsid()
    else:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, order.open_files)  # type: ignore[arg-type]
    _limit(resource.RLIMIT_STACK, _STACK_BYTES)
    _limit(resource.RLIMIT_MEMLOCK, _MEMLOCK_BYTES)
    if order.uid:
        _drop_to(order.uid)  # type: ignore[arg-type]
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    # Without this /proc/self would belong to root, and the function could not even list its own descriptors.
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    if order.seccomp:
        syscalls.set_seccomp_filter(order.seccomp)


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _exec(order: Order) -> None:
    os.chdir(order.directory)  # type: ignore[arg-type]
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would hand that on
        signal.signal(number, signal.SIG_DFL)
    argv: List[str] = order.argv  # type: ignore[assignment]
    try:
        os.execve(argv[0], argv, order.environ)
    except OSError as error:
        if not order.has(WRAPPED):
            raise _NotRunning(error, argv[0]) from None
        _exec_wrapper_as_a_shell_does(error, argv, order.environ)


def _exec_wrapper_as_a_shell_does(error: OSError, argv: List[str], environ: Dict[str, str]) -> None:
    """AWS starts AWS_LAMBDA_EXEC_WRAPPER from a shell script, so a bad one ends as it does in a shell.

    127 for a missing wrapper (AWS: recorded 2025-11), 126 for one that cannot be executed; a script without an
    interpreter line is run by the shell itself.
    """
    if error.errno == errno.ENOEXEC:
        os.execve("/bin/sh", ["/bin/sh", *argv], environ)
    os.write(2, ("/var/runtime/bootstrap: %s: %s\n" % (argv[0], os.strerror(error.errno or 0))).encode())
    os._exit(127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126)
