"""What a function's processes give up before any of its code runs: users, limits, files, system calls.

Runs on Python 3.8 and newer.
"""

from __future__ import annotations

import os
import resource
import signal
from typing import TYPE_CHECKING

from . import messages
from .isolation import landlock, syscalls, user_namespace

if TYPE_CHECKING:
    from collections.abc import Sequence

_MEMLOCK_BYTES = 65_536
_STACK_BYTES = 8 << 20


class Restrictions:
    """Those of one environment."""

    def __init__(
        self, flags: int, numbers: Sequence[int], readable: list[str], writable: list[str], seccomp: bytes
    ) -> None:
        self._flags = flags
        self.uid, self._open_files, self._tasks, self._file_bytes = numbers
        """The user; open files; processes and threads of that user (0: it is not its own); how large one file may
        become (0: something else limits /tmp)."""
        self._readable = readable
        self._writable = writable
        """With Landlock: the only paths, with all below them, that the function can read or change."""
        self._seccomp = seccomp

    def apply(self) -> None:
        """To this process and all that it will start."""
        namespaces = self._flags & messages.NAMESPACES
        if namespaces:
            os.setsid()
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_NOFILE, self._open_files)
        _limit(resource.RLIMIT_STACK, _STACK_BYTES)
        _limit(resource.RLIMIT_MEMLOCK, _MEMLOCK_BYTES)
        if self._flags & messages.USER_NAMESPACE:
            user_namespace.become(self.uid)
        elif self.uid:
            drop_to(self.uid)
        if self._tasks:
            _limit(resource.RLIMIT_NPROC, self._tasks)
        if self._file_bytes:
            _limit(resource.RLIMIT_FSIZE, self._file_bytes)
        if not namespaces:
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)  # changing the user has cleared it
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        # Without this /proc/self would belong to root, and the function could not even list its own descriptors.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
        if self._flags & messages.LANDLOCK:
            landlock.restrict(self._readable, self._writable)
        elif namespaces:
            landlock.scope()
        if self._seccomp:
            syscalls.set_seccomp_filter(self._seccomp)


def drop_to(uid: int) -> None:
    """Goes on as another user, in no group but its own."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))
