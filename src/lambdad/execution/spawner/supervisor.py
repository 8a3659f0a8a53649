"""The first process of an environment: enters its isolation, starts the runtime, waits for it, tells how it ended.

Forked from a zygote. With namespaces it is pid 1 of the environment, so its end takes every process of the
environment with it; the function is never pid 1, which would survive its own SIGKILL and would have to reap. Without
namespaces it is the subreaper of the environment's processes, and kills what the runtime left behind.
With a user namespace the function is an ordinary user of an inner one; with Landlock it gives up all files but its own.
Runs on Python 3.8 and newer.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from . import messages
from .isolation import landlock, network, syscalls, user_namespace

HAS_FRAMES = 1
HAS_TASK = 2
HAS_LAYERS = 4
HAS_TMP = 8
NAMESPACES = 16
WRAPPED = 32
HAS_EVENTS = 64
HAS_EXTENSIONS = 128
HAS_HOSTS = 256
HAS_FREEZER = 1024
OWN_NETWORK = 2048
UNBOUND = 4096
"""The runtime waits for its function, whose code comes later; until then nothing of a user's runs."""
USER_NAMESPACE = 8192
LANDLOCK = 16384

FRAMES_DESCRIPTOR = 3
_SAFE_DESCRIPTOR = 64
"""Descriptors are first moved up here, so that none is overwritten on its way to a low number."""
_MEMLOCK_BYTES = 65_536
_STACK_BYTES = 8 << 20

if TYPE_CHECKING:
    from collections.abc import Callable

    PythonMain = Callable[[dict[str, str]], None]


class Order:
    """What a zygote was asked for; takes over the descriptors."""

    def __init__(self, values: list[Any], descriptors: list[int], seccomp: bytes) -> None:
        self.sequence: int = values[0]
        self.mode: str = values[1]
        """`python`: the bootstrap is run in the forked process. `exec`: `argv` is executed."""
        self.argv: list[str] = values[2]
        self.environ: dict[str, str] = dict(item.partition("=")[::2] for item in values[3])
        self.directory: str = values[4]
        self.uid: int = values[5]
        self.open_files: int = values[6]
        self.tasks: int = values[7]
        """How many processes and threads its user may have; 0 where that user is not its own."""
        self.file_bytes: int = values[8]
        """How large one file may become; 0 where something else limits /tmp."""
        self.memory_bytes: int = values[9]
        """Where the kernel is to tell that the environment's memory has passed it."""
        self.flags: int = values[10]
        self.extensions: list[str] = values[11]
        """Programs that run beside the runtime."""
        self.extension_environ: list[str] = values[12]
        self.readable: list[str] = values[13]
        self.writable: list[str] = values[14]
        """With Landlock: the only paths, with all below them, that the function can read or change."""
        self.seccomp = seccomp
        self.descriptors = descriptors
        waiting = list(descriptors)
        self.status = waiting.pop(0)
        self.output = waiting.pop(0)
        self.frames = self._take(waiting, HAS_FRAMES)
        self.extension_output = self._take(waiting, HAS_EXTENSIONS)
        self.task = self._take(waiting, HAS_TASK)
        self.layers = self._take(waiting, HAS_LAYERS)
        self.tmp = self._take(waiting, HAS_TMP)
        self.hosts = self._take(waiting, HAS_HOSTS)
        self.events: list[int] = []
        """Of the memory group: where to ask for events, the event, the counter."""
        if self.has(HAS_EVENTS):
            self.events, waiting = waiting[:3], waiting[3:]
        self.freezer = waiting.pop() if self.has(HAS_FREEZER) else -1
        """Joined by what the supervisor starts, not by itself: it has to work while they are frozen."""
        self.groups = waiting
        self.kept: list[int] = []
        """What the supervisor holds until its end."""

    def _take(self, waiting: list[int], flag: int) -> int:
        return waiting.pop(0) if self.flags & flag else -1

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)


class _NotRunning(Exception):
    """The runtime cannot be started; what the server is to know of it."""

    def __init__(self, error: OSError, path: str) -> None:
        super().__init__(str(error))
        self.number = error.errno or errno.EIO
        self.path = path


def supervise(order: Order, null: int, python_main: PythonMain | None) -> NoReturn:
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


def _supervise(order: Order, null: int, python_main: PythonMain | None) -> None:
    for group in order.groups:
        os.write(group, b"0")
    namespaces = order.has(NAMESPACES)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if namespaces:
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS)
        if order.has(OWN_NETWORK):
            _enter_own_network(order)
        _attach(order.task, "/var/task")
        _attach(order.layers, "/opt")
        _attach(order.tmp, "/tmp")  # noqa: S108 - the environment's own
        _attach(order.hosts, "/etc/hosts")
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC, "")
        socket.sethostname("localhost")
    else:
        # Its own session, so that nothing sent to the server's terminal reaches the function.
        os.setsid()
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    # They are started first, and then start at the same time as the runtime (AWS Lambda developer guide).
    extensions = {}
    waiting = []
    for program in order.extensions:
        pid, told_extension = _start_extension(order, null, program)
        extensions[pid] = program
        waiting.append(told_extension)
    told_end, tell_end = os.pipe()
    runtime = os.fork()
    if runtime == 0:
        _become_runtime(order, null, tell_end, python_main)
    if order.has(LANDLOCK):
        # The rule for it is bound to what the kernel has cached of it, which stays only while somebody holds it.
        order.kept = [os.open(f"/proc/{pid}", os.O_PATH | os.O_CLOEXEC) for pid in (runtime, *extensions)]
    waiting = _settle_down(order, null, told_end, waiting)
    failure = os.read(3, messages.MAXIMUM_SIZE)
    os.close(3)
    for told_extension in waiting:
        failure = os.read(told_extension, messages.MAXIMUM_SIZE) or failure
        os.close(told_extension)
    _tell(4, failure or messages.encode(messages.RUNNING, runtime))
    if failure:
        os._exit(1)
    if order.events:
        control, event, counter = order.events
        with contextlib.suppress(OSError):
            os.write(control, f"{event} {counter} {order.memory_bytes}".encode())
            os.write(event, (1).to_bytes(8, sys.byteorder))  # it may have been passed before
        for descriptor in order.events:
            os.close(descriptor)
    if order.has(UNBOUND):
        _await_code(order)
    _wait(runtime, extensions, namespaces)


def _await_code(order: Order) -> None:
    """Attaches the code that the spawner hands over, then gives up the rights that this takes."""
    with socket.socket(fileno=os.dup(4)) as status:
        data, descriptors = messages.receive(status)
    if not data:
        os._exit(1)
    _, (flags,) = messages.decode(data)
    try:
        _attach(descriptors.pop(0), "/var/task")
        if flags & HAS_LAYERS:
            _attach(descriptors.pop(0), "/opt")
        syscalls.close_range(5)
        _give_up_rights(order)
    except OSError as error:
        _tell(4, messages.encode(messages.ATTACHED, str(error)))
        os._exit(1)
    _tell(4, messages.encode(messages.ATTACHED, ""))


def _enter_own_network(order: Order) -> None:
    """And hands the listener of the Runtime API, which lies in it, to the spawner."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        listener = network.make_listener()
    except OSError as error:
        text = f"this machine gives the function no network of its own, so it is not started: {error}"
        raise network.NoNetwork(error.errno, text) from None
    with socket.socket(fileno=os.dup(order.status)) as status:
        messages.send(status, messages.encode(messages.LISTENING), [listener.fileno()])
    listener.close()


def _attach(tree: int, target: str) -> None:
    if tree >= 0:
        syscalls.move_mount(tree, target)


def _settle_down(order: Order, null: int, told_end: int, told_extensions: list[int]) -> list[int]:
    """The supervisor keeps the status socket and nothing else, and the rights of nobody, unless code is to come."""
    kept = [told_end, order.status, *order.events, *told_extensions, *order.kept]
    moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _SAFE_DESCRIPTOR) for one in kept]
    for number in range(3):
        os.dup2(null, number)
    numbers = [os.dup2(one, number, inheritable=False) for number, one in enumerate(moved, start=3)]
    order.status, rest = numbers[1], numbers[2:]
    order.events, rest = rest[: len(order.events)], rest[len(order.events) :]
    waiting = rest[: len(told_extensions)]
    syscalls.close_range(3 + len(numbers))
    if not order.has(UNBOUND):
        _give_up_rights(order)
    return waiting


def _give_up_rights(order: Order) -> None:
    if order.has(USER_NAMESPACE):
        syscalls.drop_capabilities()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    elif order.uid:
        _drop_to(order.uid)
        # Changing the user has cleared it; and leaves the process undumpable, out of the function's reach.
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _drop_to(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _wait(runtime: int, extensions: dict[int, str], namespaces: bool) -> None:
    """Until the runtime and every extension have ended; extensions outlive the runtime, until the server has enough."""
    running = {runtime, *extensions}
    if extensions:

        def pass_on(number: int, _frame: object) -> None:
            if runtime in running:
                os.kill(runtime, signal.SIGKILL if number == signal.SIGUSR1 else signal.SIGTERM)

        signal.signal(signal.SIGTERM, pass_on)
        signal.signal(signal.SIGUSR1, pass_on)
    while running:
        pid, status = os.wait()
        if pid == runtime:
            _tell(4, messages.encode(messages.ENDED, status))
        elif pid in extensions:
            _tell(4, messages.encode(messages.EXTENSION_ENDED, extensions[pid], status))
        running.discard(pid)
    if not namespaces:
        kill_children()
    os._exit(0)


def kill_children() -> None:
    """Kills and reaps every process below this one, including those that come to it as its subreaper."""
    me = os.getpid()
    while True:
        try:
            with open(f"/proc/{me}/task/{me}/children") as children:
                pids = [int(text) for text in children.read().split()]
        except OSError:
            pids = []
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _tell(descriptor: int, message: bytes) -> None:
    with contextlib.suppress(OSError):  # the spawner is gone, and takes the environment with it
        os.write(descriptor, message)


def _become_runtime(order: Order, null: int, tell_end: int, python_main: PythonMain | None) -> NoReturn:
    number = FRAMES_DESCRIPTOR
    try:
        _join_freezer(order)
        wanted = [null, order.output, order.output]
        if order.frames >= 0:
            wanted.append(order.frames)
        moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _SAFE_DESCRIPTOR) for one in [*wanted, tell_end]]
        tell_end = moved.pop()
        for number, descriptor in enumerate(moved):
            os.dup2(descriptor, number)
        os.dup2(tell_end, len(moved), inheritable=False)
        tell_end = len(moved)
        syscalls.close_range(tell_end + 1)
        _restrict(order)
        if order.frames >= 0:
            order.environ["_LAMBDAD_FRAMES_FD"] = str(FRAMES_DESCRIPTOR)
        if order.mode == "python" and python_main is not None:
            os.chdir(order.directory)
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


def _start_extension(order: Order, null: int, program: str) -> tuple[int, int]:
    """Its pid, and where to read why it could not be executed; empty if it could."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tell)
        return pid, told
    try:
        _join_freezer(order)
        wanted = [null, order.extension_output, order.extension_output]
        moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _SAFE_DESCRIPTOR) for one in [*wanted, tell]]
        for number, descriptor in enumerate(moved[:3]):
            os.dup2(descriptor, number)
        tell = os.dup2(moved[3], 3, inheritable=False)
        syscalls.close_range(4)
        _restrict(order)
        environ = dict(item.partition("=")[::2] for item in order.extension_environ)
        _execute([program], environ, "/")
    except OSError as error:
        _tell(tell, messages.encode(messages.NOT_RUNNING, error.errno or errno.EIO, program, str(error)))
    finally:
        os._exit(1)


def _join_freezer(order: Order) -> None:
    if order.freezer >= 0:
        os.write(order.freezer, b"0")


def _restrict(order: Order) -> None:
    if order.has(NAMESPACES):
        os.setsid()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, order.open_files)
    _limit(resource.RLIMIT_STACK, _STACK_BYTES)
    _limit(resource.RLIMIT_MEMLOCK, _MEMLOCK_BYTES)
    if order.has(USER_NAMESPACE):
        user_namespace.become(order.uid)
    elif order.uid:
        _drop_to(order.uid)
    if order.tasks:
        _limit(resource.RLIMIT_NPROC, order.tasks)
    if order.file_bytes:
        _limit(resource.RLIMIT_FSIZE, order.file_bytes)
    if not order.has(NAMESPACES):
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)  # changing the user would have cleared it
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    # Without this /proc/self would belong to root, and the function could not even list its own descriptors.
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    if order.has(LANDLOCK):
        landlock.restrict(order.readable, order.writable)
    elif order.has(NAMESPACES):
        landlock.scope()
    if order.seccomp:
        syscalls.set_seccomp_filter(order.seccomp)


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _exec(order: Order) -> None:
    argv: list[str] = order.argv
    try:
        _execute(argv, order.environ, order.directory)
    except OSError as error:
        if not order.has(WRAPPED):
            raise _NotRunning(error, argv[0]) from None
        _exec_wrapper_as_a_shell_does(error, argv, order.environ)


def _execute(argv: list[str], environ: dict[str, str], directory: str) -> NoReturn:
    os.chdir(directory)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would hand that on
    if resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY:  # else: an error instead of the end
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execve(argv[0], argv, environ)  # noqa: S606 - what was asked for


def _exec_wrapper_as_a_shell_does(error: OSError, argv: list[str], environ: dict[str, str]) -> None:
    """AWS starts AWS_LAMBDA_EXEC_WRAPPER from a shell script, so a bad one ends as it does in a shell.

    127 for a missing wrapper (AWS: recorded 2025-11), 126 for one that cannot be executed; a script without an
    interpreter line is run by the shell itself.
    """
    if error.errno == errno.ENOEXEC:
        os.execve("/bin/sh", ["/bin/sh", *argv], environ)  # noqa: S606 - as a shell does
    os.write(2, (f"/var/runtime/bootstrap: {argv[0]}: {os.strerror(error.errno or 0)}\n").encode())
    os._exit(127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126)
