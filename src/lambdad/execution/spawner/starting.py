"""The second process of an environment: waits until it is told what it is, gives up its rights, becomes the runtime.

Forked by the supervisor before anything is known of the function, so that no call waits for the fork. In a Python
zygote's child the bootstrap goes on in this very process; everything else is executed.
Runs on Python 3.8 and newer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
from typing import TYPE_CHECKING, Any, NoReturn

from . import messages
from .isolation import syscalls
from .restrictions import Restrictions

FRAMES_DESCRIPTOR = 3
TOLD, ISOLATED, TELL = 4, 5, 6
NUMBERS = range(3, 7)
"""The descriptors with which a fork begins: nothing, where START comes from, nothing, the supervisor's socket. The
first is free for frames."""
_TARGETS = {
    messages.HAS_TASK: "/var/task",
    messages.HAS_LAYERS: "/opt",
    messages.HAS_TMP: "/tmp",  # noqa: S108 - the environment's own
    messages.HAS_HOSTS: "/etc/hosts",
}
_MAX_DESCRIPTOR = 4_096
"""A zygote never has one as high."""

if TYPE_CHECKING:
    from collections.abc import Callable

    PythonMain = Callable[[dict[str, str]], None]


class Start:
    """What the runtime was told; takes over the descriptors."""

    def __init__(self, values: list[Any], descriptors: list[int], seccomp: bytes) -> None:
        self.flags: int = values[0]
        self.restrictions = Restrictions(self.flags, values[1:5], values[5], values[6], seccomp)
        self.mode: str = values[7]
        """`python`: the bootstrap is run in this process. `exec`: `argv` is executed."""
        self.argv: list[str] = values[8]
        self.environ: dict[str, str] = dict(item.partition("=")[::2] for item in values[9])
        self.directory: str = values[10]
        waiting = list(descriptors)
        self.output = waiting.pop(0)
        self.frames = waiting.pop(0) if self.flags & messages.HAS_FRAMES else -1
        self.trees = Trees(self.flags, waiting)


class Trees:
    """What of an environment's files is its own: detached mounts."""

    def __init__(self, flags: int, descriptors: list[int]) -> None:
        self._targets = {}
        for flag, target in _TARGETS.items():
            if flags & flag:
                self._targets[target] = descriptors.pop(0)

    def attach(self) -> None:
        """In this mount namespace."""
        for target, tree in self._targets.items():
            syscalls.move_mount(tree, target)
            os.close(tree)


class NotRunning(Exception):
    """The runtime cannot be started; what the server is to know of it."""

    def __init__(self, error: OSError, path: str) -> None:
        super().__init__(str(error))
        self.number = error.errno or errno.EIO
        self.path = path

    def as_message(self) -> bytes:
        return messages.encode(messages.NOT_RUNNING, self.number, self.path, str(self))


def close_rest() -> None:
    """Leaves nothing but the standard ones and NUMBERS."""
    os.closerange(NUMBERS[-1] + 1, _MAX_DESCRIPTOR)


def become_runtime(flags: int, seccomp: bytes, python_main: PythonMain | None) -> NoReturn:
    """`flags` as of a FORK. Its descriptors are NUMBERS: where START comes from; with extensions, where a byte comes
    when they are there; where to tell why there is no runtime, which is closed when there is one or, for Python without
    extensions, told that there is."""
    try:
        close_rest()
        namespaces = flags & messages.NAMESPACES
        if namespaces:
            syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC, "")
            with contextlib.suppress(OSError):  # a unit with ProtectHostname=yes refuses it
                socket.sethostname("localhost")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=TOLD) as sock:
            data, received = messages.receive(sock)
        if not data:
            os._exit(0)  # nobody needs it
        start = Start(messages.decode(data)[1], received, seccomp)
        _take_numbers(start.output, start.frames)
        start.trees.attach()
        if flags & messages.HAS_EXTENSIONS and not os.read(ISOLATED, 1):
            os._exit(0)
        os.close(ISOLATED)
        start.restrictions.apply()
        if start.frames >= 0:
            start.environ["_LAMBDAD_FRAMES_FD"] = str(FRAMES_DESCRIPTOR)
        if start.mode == "python" and python_main is not None:
            os.chdir(start.directory)
            if not flags & messages.HAS_EXTENSIONS:
                tell(TELL, messages.encode(messages.RUNNING, os.getpid()))
            os.close(TELL)
            python_main(start.environ)
            os._exit(0)
        _exec(start)
    except NotRunning as error:
        tell(TELL, error.as_message())
    except OSError as error:
        tell(TELL, NotRunning(error, "").as_message())
    finally:
        os._exit(1)


def _take_numbers(output: int, frames: int) -> None:
    """What the runtime has as descriptors 1 to 3, of which the last was kept free. What was received lies above those
    that were settled."""
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    if frames >= 0:
        os.dup2(frames, FRAMES_DESCRIPTOR)
        os.close(frames)
    else:
        os.close(FRAMES_DESCRIPTOR)


def become_extension(
    program: str, environ: list[str], output: int, tell_end: int, restrictions: Restrictions
) -> NoReturn:
    """The same for a program beside the runtime, which is executed at once; descriptor 0 is as it has to be."""
    try:
        for number in (1, 2):
            os.dup2(output, number)
        os.dup2(tell_end, TELL, inheritable=False)
        tell_end = TELL
        os.closerange(FRAMES_DESCRIPTOR, TELL)
        close_rest()
        restrictions.apply()
        execute([program], dict(item.partition("=")[::2] for item in environ), "/")
    except OSError as error:
        tell(tell_end, NotRunning(error, program).as_message())
    finally:
        os._exit(1)


def tell(descriptor: int, message: bytes) -> None:
    try:
        os.write(descriptor, message)
    except OSError:
        return  # the spawner is gone, and takes the environment with it


def _exec(start: Start) -> None:
    argv: list[str] = start.argv
    try:
        execute(argv, start.environ, start.directory)
    except OSError as error:
        if not start.flags & messages.WRAPPED:
            raise NotRunning(error, argv[0]) from None
        _exec_wrapper_as_a_shell_does(error, argv, start.environ)


def execute(argv: list[str], environ: dict[str, str], directory: str) -> NoReturn:
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
