"""The first process of an environment: has the runtime's process forked, waits for it, tells how it ended.

Forked from a zygote. With namespaces it is pid 1 of the environment, so its end takes every process of the
environment with it; the function is never pid 1, which would survive its own SIGKILL and would have to reap. Without
namespaces it is the subreaper of the environment's processes, and kills what the runtime left behind.
It does as little as can be: whatever it touches is one more copy of a page of the zygote, in time and in memory. The
isolation is entered by the runtime's process (`starting`); only extensions, which are to be children of nobody else,
and code that comes when the runtime has no rights any more, are for the supervisor.
Runs on Python 3.8 and newer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, NoReturn

from . import messages, starting
from .isolation import network, syscalls
from .restrictions import Restrictions, drop_to

_STATUS = starting.TELL
_FREEZER, _TOLD_END, _TELL_ISOLATED = 3, 4, 5
"""What the supervisor has at the other numbers after it has forked, where it needs it."""

if TYPE_CHECKING:
    from .starting import PythonMain


class Fork:
    """What a zygote was asked for; takes over the descriptors."""

    def __init__(self, values: list[Any], descriptors: list[int]) -> None:
        self.number: int
        self.flags: int
        self.uid: int
        self.number, self.flags, self.uid = values
        self.descriptors = descriptors
        self.status, self.told, *groups = descriptors
        self.freezer = groups.pop(0) if self.has(messages.HAS_FREEZER) else -1
        """Joined by what the supervisor starts, not by itself: it has to work while they are frozen."""
        self.groups = groups

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)

    def take_numbers(self) -> None:
        """Before forking: what the child begins with."""
        os.dup2(self.told, starting.TOLD, inheritable=False)
        os.dup2(self.status, starting.TELL, inheritable=False)

    def close(self) -> None:
        """In the zygote."""
        for number in (starting.TOLD, starting.TELL):
            os.dup2(0, number, inheritable=False)
        for descriptor in self.descriptors:
            os.close(descriptor)


class _Order:
    """What the supervisor is to start beside the runtime; takes over the descriptors."""

    def __init__(self, values: list[Any], descriptors: list[int], seccomp: bytes) -> None:
        flags: int = values[0]
        self.restrictions = Restrictions(flags, values[1:5], values[5], values[6], seccomp)
        self.extensions: list[str] = values[7]
        """Programs."""
        self.environ: list[str] = values[8]
        self.output = descriptors[0]
        self.trees = starting.Trees(flags, descriptors[1:])


def supervise(fork: Fork, seccomp: bytes, python_main: PythonMain | None) -> NoReturn:
    """All that the environment's first process does. Never returns."""
    try:
        _supervise(fork, seccomp, python_main)
    except OSError as error:
        starting.tell(_STATUS, starting.NotRunning(error, "").as_message())
    except BaseException as error:
        starting.tell(_STATUS, messages.encode(messages.NOT_RUNNING, errno.EIO, "", repr(error)))
    finally:
        os._exit(1)


def _supervise(fork: Fork, seccomp: bytes, python_main: PythonMain | None) -> None:
    _enter(fork)
    has_extensions = fork.has(messages.HAS_EXTENSIONS)
    runtime_tells = python_main is not None and not has_extensions
    runtime = _fork_runtime(fork, seccomp, python_main, piped=not runtime_tells)
    os.dup2(0, 2)
    starting.close_rest()
    extensions: dict[int, str] = {}
    failure = b""
    if has_extensions:
        extensions, failure = _start_extensions(fork, seccomp)
    if fork.has(messages.LANDLOCK):
        _hold(runtime, *extensions)
    if not fork.has(messages.UNBOUND):
        _give_up_rights(fork)
    if not runtime_tells:
        failure = failure or os.read(_TOLD_END, messages.MAXIMUM_SIZE)
        starting.tell(_STATUS, failure or messages.encode(messages.RUNNING, runtime))
        if failure:
            os._exit(1)
    if fork.has(messages.UNBOUND):
        _await_code(fork)
    _wait(runtime, extensions, namespaces=fork.has(messages.NAMESPACES))


def _enter(fork: Fork) -> None:
    for group in fork.groups:
        os.write(group, b"0")
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if not fork.has(messages.NAMESPACES):
        # Its own session, so that nothing sent to the server's terminal reaches the function.
        os.setsid()
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    elif fork.has(messages.OWN_NETWORK):
        _enter_own_network()


def _fork_runtime(fork: Fork, seccomp: bytes, python_main: PythonMain | None, *, piped: bool) -> int:
    """With `piped` the runtime tells the supervisor how it started, and waits for its extensions."""
    told_end, tell_end, isolated, tell_isolated = (*os.pipe(), *os.pipe()) if piped else (-1,) * 4
    runtime = os.fork()
    if runtime == 0:
        if not fork.has(messages.NAMESPACES):
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        _join(fork.freezer)
        if piped:
            os.dup2(tell_end, starting.TELL, inheritable=False)
            os.dup2(isolated, starting.ISOLATED, inheritable=False)
        starting.become_runtime(fork.flags, seccomp, python_main)
    for descriptor, number in ((told_end, _TOLD_END), (tell_isolated, _TELL_ISOLATED), (fork.freezer, _FREEZER)):
        if piped and descriptor >= 0:
            os.dup2(descriptor, number, inheritable=False)
    if not piped:
        os.close(starting.TOLD)  # the runtime's alone
    return runtime


def _hold(*pids: int) -> None:
    """A rule of Landlock is bound to what the kernel has cached of a file, which stays only while somebody holds it."""
    for pid in pids:
        os.open(f"/proc/{pid}", os.O_PATH | os.O_CLOEXEC)


def _receive() -> tuple[bytes, list[int]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=os.dup(_STATUS)) as status:
        return messages.receive(status)


def _start_extensions(fork: Fork, seccomp: bytes) -> tuple[dict[int, str], bytes]:
    """Programs by their pid; what to tell if one cannot be executed.

    They are started first, and then start at the same time as the runtime (AWS Lambda developer guide).
    """
    data, descriptors = _receive()
    if not data:
        os._exit(0)  # nobody needs it
    order = _Order(messages.decode(data)[1], descriptors, seccomp)
    order.trees.attach()
    programs, told_ends = {}, []
    for program in order.extensions:
        pid, told_end = _start_extension(order, fork, program)
        programs[pid] = program
        told_ends.append(told_end)
    os.write(_TELL_ISOLATED, b"1")
    failure = b""
    for told_end in told_ends:
        failure = failure or os.read(told_end, messages.MAXIMUM_SIZE)
    for descriptor in (*told_ends, order.output, _TELL_ISOLATED, _FREEZER):
        os.close(descriptor)
    return programs, failure


def _join(freezer: int) -> None:
    if freezer >= 0:
        os.write(freezer, b"0")


def _enter_own_network() -> None:
    """And hands the listener of the Runtime API, which lies in it, to the spawner."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        listener = network.make_listener()
    except OSError as error:
        text = f"this machine gives the function no network of its own, so it is not started: {error}"
        raise network.NoNetwork(error.errno, text) from None
    with socket.socket(fileno=os.dup(_STATUS)) as sock:
        messages.send(sock, messages.encode(messages.LISTENING), [listener.fileno()])
    listener.close()


def _start_extension(order: _Order, fork: Fork, program: str) -> tuple[int, int]:
    """Its pid, and where to read why it could not be executed; empty if it could."""
    told_end, tell_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        if fork.has(messages.HAS_FREEZER):
            _join(_FREEZER)
        starting.become_extension(program, order.environ, order.output, tell_end, order.restrictions)
    os.close(tell_end)
    return pid, told_end


def _give_up_rights(fork: Fork) -> None:
    if fork.has(messages.USER_NAMESPACE):
        syscalls.drop_capabilities()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    elif fork.uid:
        drop_to(fork.uid)
        # Changing the user has cleared it; and leaves the process undumpable, out of the function's reach.
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _await_code(fork: Fork) -> None:
    """Attaches the code that the spawner hands over, then gives up the rights that this takes."""
    _rehearse()
    data, descriptors = _receive()
    if not data:
        os._exit(1)
    try:
        starting.Trees(messages.decode(data)[1][0], descriptors).attach()
        _give_up_rights(fork)
    except OSError as error:
        starting.tell(_STATUS, messages.encode(messages.ATTACHED, str(error)))
        os._exit(1)
    starting.tell(_STATUS, messages.encode(messages.ATTACHED, ""))


def _rehearse() -> None:
    """Does once for nothing what a call will wait for, so that the pages that it touches are copied before."""
    ours, theirs = messages.pair()
    with ours, theirs, contextlib.suppress(OSError):
        messages.send(theirs, messages.encode(messages.ATTACH, 0), [theirs.fileno()])
        data, descriptors = messages.receive(ours)
        os.close(descriptors[0])
        starting.Trees(messages.decode(data)[1][0], []).attach()
        messages.encode(messages.ATTACHED, "")
        os.setresgid(-1, -1, -1)
        os.setresuid(-1, -1, -1)
        syscalls.move_mount(-1, "/")  # fails


def _wait(runtime: int, extensions: dict[int, str], *, namespaces: bool) -> NoReturn:
    """Until the runtime and every extension have ended; extensions outlive the runtime, until the server has enough."""
    if not extensions and namespaces:
        while True:  # the shortest way, which nearly all of them go
            pid, status = os.wait()
            if pid == runtime:
                starting.tell(_STATUS, messages.encode(messages.ENDED, status))
                os._exit(0)
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
            starting.tell(_STATUS, messages.encode(messages.ENDED, status))
        elif pid in extensions:
            starting.tell(_STATUS, messages.encode(messages.EXTENSION_ENDED, extensions[pid], status))
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
