"""A zygote: a single-threaded process that forks one child per execution environment.

Two kinds: a Python interpreter with our bootstrap loaded, whose children only have to import the handler; and a
plain fork of the spawner, whose children execute a program (Node.js, a custom bootstrap, a wrapper script).
A zygote runs inside its template root, with an environment made from nothing: it holds no keys and no descriptors of
the server. Its children share its hash seed and address layout, so the spawner replaces it now and then.
Runs on Python 3.8 and newer.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from . import messages, sdk_models, starting, supervisor
from .isolation import syscalls

if TYPE_CHECKING:
    from .starting import PythonMain

PRELOADED_SDK = ("boto3", "botocore.session", "botocore.client", "botocore.httpsession", "botocore.handlers")
"""What the second preload set imports beside the bootstrap: what making a boto3 client imports anyway."""

_NAMESPACES = syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
USUAL_ENVIRON = {
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1:2000",
    "_AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1",
    "_AWS_XRAY_DAEMON_PORT": "2000",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "LANG": "en_US.UTF-8",
    "LC_CTYPE": "C.UTF-8",
    "LD_LIBRARY_PATH": (
        "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
    ),
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "PWD": "/var/task",
    "PYTHONPATH": "/var/runtime",
    "SHLVL": "0",
    "TZ": ":UTC",
}
"""What nearly every function has in its environment: set once here instead of in each of them. Nothing is wrong if one
has something else."""
WITHOUT_USER = 1
"""Namespaces, but no user namespace: in one, a /proc may only be mounted while there is another."""


_OWN_DESCRIPTOR = 64


class Zygote:
    """Answers the spawner's requests until the spawner is gone."""

    def __init__(self, sock: socket.socket, seccomp: bytes, python_main: PythonMain | None) -> None:
        self._sock = socket.socket(fileno=fcntl.fcntl(sock.detach(), fcntl.F_DUPFD_CLOEXEC, _OWN_DESCRIPTOR))
        self._seccomp = seccomp
        self._python_main = python_main
        # Where a fork's own descriptors will be nothing else is put, so that they need not be moved out of the way.
        for number in (0, 1, *starting.NUMBERS):
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            if null != number:
                os.dup2(null, number, inheritable=number < starting.NUMBERS[0])
                if null not in starting.NUMBERS:
                    os.close(null)

    def serve(self) -> NoReturn:
        """Never returns, neither here nor in a child."""
        version = ".".join(str(part) for part in sys.version_info[:3])
        messages.send(self._sock, messages.encode(messages.STARTED, os.getpid(), version, _loaded_modules()))
        gc.collect()
        gc.freeze()
        while True:
            data, descriptors = messages.receive(self._sock)
            if not data:
                os._exit(0)
            kind, values = messages.decode(data)
            if kind == messages.FORK:
                self._fork(supervisor.Fork(values, descriptors))
            elif kind == messages.REAP:
                os.waitpid(values[0], 0)

    def _fork(self, fork: supervisor.Fork) -> None:
        try:
            fork.take_numbers()
            group = fork.groups.pop() if fork.has(messages.INTO_GROUP) else -1
            pid = syscalls.fork(_NAMESPACES if fork.has(messages.NAMESPACES) else 0, group=group)
        except OSError as error:
            answer = messages.encode(messages.FORK_FAILED, fork.number, error.errno or 0, str(error))
        else:
            if pid == 0:
                supervisor.supervise(fork, self._seccomp, self._python_main)
            answer = messages.encode(messages.FORKED, fork.number, pid)
        fork.close()
        messages.send(self._sock, answer)


def _loaded_modules() -> list[str]:
    return sorted({name.partition(".")[0] for name in sys.modules if not name.startswith("lambdad")})


def python_zygote(argv: list[str]) -> NoReturn:
    """Entry point inside a function's interpreter: descriptors of socket and filter; flags; places."""
    control, seccomp_source, preload_sdk, namespaces = (int(text) for text in argv[:4])
    own_place, runtime_place = argv[4:6]
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=control)
    os.set_inheritable(control, False)
    seccomp = b""
    if seccomp_source >= 0:
        with open(seccomp_source, "rb") as source:
            seccomp = source.read()
    sys.path.remove(own_place)
    sys.path.append(runtime_place)
    python_main = importlib.import_module("lambdad_runtime.main").main_after_fork
    if preload_sdk:
        for name in PRELOADED_SDK:
            __import__(name)
        sdk_models.preload()
    if namespaces:
        syscalls.unmount(own_place + "/lambdad_spawner")
        if namespaces == WITHOUT_USER:
            syscalls.unmount("/proc")
        syscalls.mount("", "/", "", syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY)
    os.environ.update(USUAL_ENVIRON)
    time.tzset()
    zygote = Zygote(sock, seccomp, python_main)
    _forget_this_code(own_place)
    zygote.serve()


def _forget_this_code(own_place: str) -> None:
    """Functions must not see these modules: their own of the same names have to win."""
    package = __name__.rpartition(".")[0]
    for name in list(sys.modules):
        if name == package or name.startswith(package + "."):
            del sys.modules[name]
    for place in list(sys.path_importer_cache):
        if place.startswith(own_place):
            del sys.path_importer_cache[place]
