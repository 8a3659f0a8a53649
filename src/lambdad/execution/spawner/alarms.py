"""A small process that asks the kernel to tell when a group passes its memory (control groups, version 1).

Asking takes the kernel some 20 ms, because it waits for all processors; the spawner cannot spend that, and whoever
starts a function should not. The process is forked when the first environment needs it, and ends with the spawner.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from typing import NoReturn

from . import messages
from .isolation import syscalls
from .isolation.memory import MemoryGuard
from .link import close_all

_AT_ONCE = 16


class Alarms:
    """The spawner's side of it."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self.pid = 0

    def arm(self, guard: MemoryGuard) -> None:
        """Has the guard's event asked for, if it needs that and it was not done.

        Without an answer the guard goes on being looked at closely, which is enough.
        """
        wanted = guard.arm()
        if wanted is None:
            return
        text, descriptors = wanted
        try:
            messages.send(self._socket(), text.encode(), descriptors)
        except OSError as error:  # it has ended, or has more than enough to do
            print(f"spawner: the kernel cannot be asked to tell of memory: {error}", file=sys.stderr, flush=True)
        finally:
            close_all(descriptors)

    def _socket(self) -> socket.socket:
        if self._sock is None:
            ours, theirs = messages.pair()
            self.pid = os.fork()
            if self.pid == 0:
                _serve(theirs)
            theirs.close()
            ours.setblocking(False)
            self._sock = ours
        return self._sock

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            with contextlib.suppress(ChildProcessError):  # it had ended before
                os.waitpid(self.pid, 0)


def _serve(sock: socket.socket) -> NoReturn:
    """Until the spawner is gone."""
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        for one in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.setsid()
        own = os.dup2(sock.fileno(), 3, inheritable=False) if sock.fileno() != 3 else 3
        syscalls.close_range(4)
        if own != sock.fileno():
            sock.detach()
            sock = socket.socket(fileno=own)
        for _ in range(_AT_ONCE - 1):
            threading.Thread(target=_ask, args=(sock,), daemon=True).start()
        _ask(sock)
    finally:
        os._exit(1)


def _ask(sock: socket.socket) -> NoReturn:
    """One after the other; as many of these wait for the next as may be under way at once."""
    while True:
        threshold, descriptors = messages.receive(sock)
        if not threshold:
            os._exit(0)
        control, event, counter = descriptors
        try:
            os.write(control, f"{event} {counter} {threshold.decode()}".encode())
            os.write(event, (1).to_bytes(8, sys.byteorder))  # it may have been passed before
        except OSError:
            pass  # the group is gone
        finally:
            close_all(descriptors)
