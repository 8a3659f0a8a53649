"""What is started in an environment, as the spawner keeps it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from typing import TYPE_CHECKING

from . import messages
from .isolation import trees

if TYPE_CHECKING:
    from .environments import Environment
    from .zygotes import ZygoteProcess


class Run:
    """A supervisor and its runtime, from the request to fork them until their end.

    While `is_waiting`, they wait for what the environment is to be.
    """

    def __init__(
        self, number: int, environment: Environment, zygote: ZygoteProcess, status: socket.socket, start: socket.socket
    ) -> None:
        self.number = number
        """By which the zygote knows it."""
        self.sequence = 0
        """Of the server's request."""
        self.environment = environment
        self.zygote = zygote
        self.status = status
        """To and from the supervisor."""
        self._start = start
        """To the runtime, until it has been told what to run."""
        self.is_waiting = True
        self.pid = 0
        self.pid_descriptor = -1
        self.is_running = False
        self.answered = False
        self.failure: tuple[int, str, str] | None = None
        self.wait_status: int | None = None
        self.kill_wanted = False
        self.killed_for_memory = False
        self.rounds = 0
        self.has_extensions = False
        self.is_unbound = False
        """Waits for its code."""
        self.binding: int | None = None
        """The sequence of the request to bind it, until that is answered."""
        self.attach_failure: str | None = None
        self.parts_ended: list[tuple[str, int]] = []
        """Extensions (empty: the runtime) that have ended and their wait status, until the server is told."""
        self.listener = -1
        """In the environment's own network, until it is handed to the server."""
        self.shown_programs: dict[str, str] = {}
        """By the path that is executed: the path to tell of, which is that of AWS."""

    def read_status(self) -> bool:
        """Takes in what the supervisor has told; False at the end of it."""
        while True:
            try:
                data, descriptors = messages.receive(self.status)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            kind, values = messages.decode(data)
            if kind == messages.RUNNING:
                self.is_running = True
            elif kind == messages.LISTENING and descriptors:
                self.listener = descriptors[0]
            elif kind == messages.NOT_RUNNING:
                self.failure = (values[0], values[1], values[2])
            elif kind == messages.ENDED:
                self.wait_status = values[0]
                if self.has_extensions:
                    self.parts_ended.append(("", values[0]))
            elif kind == messages.EXTENSION_ENDED:
                self.parts_ended.append((values[0], values[1]))
            elif kind == messages.ATTACHED:
                self.attach_failure = values[0]

    def set_pid(self, pid: int) -> None:
        self.pid = pid
        self.pid_descriptor = os.pidfd_open(pid)

    def order(self, order: bytes, to_supervisor: list[int], start: bytes, to_runtime: list[int]) -> None:
        """Tells the runtime what it is to be, and the supervisor (unless empty). Raises OSError when they are gone."""
        self.is_waiting = False
        messages.send(self._start, start, to_runtime)
        self._start.close()
        if order:
            messages.send(self.status, order, to_supervisor)

    @property
    def is_gone(self) -> bool:
        """The supervisor has ended, which has not been dealt with yet."""
        if not self.pid:
            return False
        poll = select.poll()
        poll.register(self.pid_descriptor, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def is_starting(self) -> bool:
        return not self.is_waiting and not self.answered

    def terminate(self, *, force: bool) -> None:
        """SIGTERM, or SIGKILL, to the runtime alone; its supervisor passes it on."""
        if self.pid_descriptor >= 0 and not self.kill_wanted:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pid_descriptor, signal.SIGUSR1 if force else signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to everything in the environment. Without a namespace or a user it takes rounds until it is empty."""
        self.kill_wanted = True
        if self.pid_descriptor < 0:
            return
        if self.dies_slowly:
            self.environment.thaw()
        namespaces, group = self.environment.namespaces, self.environment.group
        if not namespaces and group is not None and group.kill():
            return
        if not namespaces and self.environment.uid:
            trees.kill_user(self.environment.uid)
        elif not namespaces:
            trees.stop_all(self.pid)  # so that none starts another one before it is killed
            below = trees.below(self.pid)
            trees.kill_all(below)
            self.rounds += 1
            if below and self.rounds < 20:
                return  # what they leave comes to the supervisor, and the next round finds it
        try:
            signal.pidfd_send_signal(self.pid_descriptor, signal.SIGKILL)
        except ProcessLookupError:
            return

    @property
    def dies_slowly(self) -> bool:
        """Killing it takes more than one attempt: the server may freeze it anew before it has noticed."""
        return self.environment.freezer is not None and self.environment.freezer.holds_up_kills

    def freeze(self) -> None:
        """For environments without a freezer."""
        if self.pid and not self.kill_wanted:
            trees.stop_all(self.pid)

    def thaw(self) -> None:
        if self.pid:
            trees.continue_all(self.pid)

    def close(self) -> None:
        self.status.close()
        self._start.close()
        if self.listener >= 0:
            os.close(self.listener)
            self.listener = -1
        if self.pid_descriptor >= 0:
            os.close(self.pid_descriptor)
            self.pid_descriptor = -1
