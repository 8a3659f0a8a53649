"""Environments as the spawner keeps them: user, groups and /tmp, which outlive the runtimes started in them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
from pathlib import Path

from . import messages
from .isolation import cgroups, cpu, freezer, memory, mounts, syscalls, trees
from .zygotes import ZygoteProcess

_TMP_ATTRIBUTES = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV


def _most_files(tmp_mb: int) -> int:
    return max(tmp_mb, 64) * 256


class Run:
    """One runtime started in an environment, from the server's request until its end."""

    def __init__(self, sequence: int, environment: Environment, zygote: ZygoteProcess, status: socket.socket) -> None:
        self.sequence = sequence
        self.environment = environment
        self.zygote = zygote
        self.status = status
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

    def terminate(self, *, force: bool) -> None:
        """SIGTERM, or SIGKILL, to the runtime alone; its supervisor passes it on."""
        if self.pid_descriptor >= 0 and not self.kill_wanted:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pid_descriptor, signal.SIGUSR1 if force else signal.SIGTERM)

    def kill(self, *, namespaces: bool) -> None:
        """SIGKILL to everything in the environment. Without a namespace or a user it takes rounds until it is empty."""
        self.kill_wanted = True
        if self.pid_descriptor < 0:
            return
        if self.dies_slowly:
            self.environment.thaw()
        if not namespaces and self.environment.group is not None and self.environment.group.kill():
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
        if self.listener >= 0:
            os.close(self.listener)
            self.listener = -1
        if self.pid_descriptor >= 0:
            os.close(self.pid_descriptor)
            self.pid_descriptor = -1


class Environment:
    """What belongs to an environment as long as it lives."""

    def __init__(self, environment_id: str, *, memory_kib: int, tmp_mb: int) -> None:
        self.id = environment_id
        self.uid = 0
        self.memory_kib = memory_kib
        self.tmp_mb = tmp_mb
        self.group: cgroups.Group | None = None
        self.guard: memory.MemoryGuard | None = None
        self.freezer: freezer.Freezer | None = None
        self.cpu: cpu.CpuGroup | None = None
        self.tmp: Path | None = None
        self.hosts: Path | None = None
        self.run: Run | None = None
        self.release_wanted = False
        self.peak_file = -1
        self.polled_peak_kib = 0

    def make_tmp(self, place: Path, *, mounted: bool) -> None:
        """A private /tmp: memory-backed and of fixed size in a mount namespace, a plain directory elsewhere."""
        self.tmp = place / self.id
        self.tmp.mkdir(mode=0o700)
        if self.uid and not mounted:
            os.chown(self.tmp, self.uid, self.uid)
        if mounted:
            options = f"mode=1777,size={self.tmp_mb}m,nr_inodes={_most_files(self.tmp_mb)}"
            syscalls.mount("tmp", str(self.tmp), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)

    def is_tmp_exceeded(self) -> bool:
        """Whether the directory holds more than its size, or more files than a tmpfs of it would take. Reads it all."""
        files, blocks = 0, 0
        waiting = [str(self.tmp)]
        while waiting:
            try:
                with os.scandir(waiting.pop()) as entries:
                    for entry in entries:
                        files += 1
                        blocks += entry.stat(follow_symlinks=False).st_blocks
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        if files > _most_files(self.tmp_mb):
                            return True
            except OSError:  # removed meanwhile
                continue
        return blocks * 512 > self.tmp_mb << 20

    def open_tmp(self) -> int:
        return syscalls.open_tree(str(self.tmp), _TMP_ATTRIBUTES)

    def thaw(self) -> None:
        if self.freezer is not None:
            self.freezer.thaw()

    def open_hosts(self, place: Path, address: str) -> int:
        """A detached mount of an /etc/hosts in which `sandbox.localdomain` is this environment's own address."""
        if self.hosts is None:
            place.mkdir(mode=0o755, exist_ok=True)
            self.hosts = place / self.id
            self.hosts.write_text(mounts.hosts_text(address))
            self.hosts.chmod(0o644)
        return syscalls.open_tree(str(self.hosts), mounts.READ_ONLY)

    def open_peak(self) -> int:
        """A descriptor that always reads as the high-water mark of memory in bytes."""
        if self.group is not None and self.group.peak_descriptor >= 0:
            return self.group.peak_descriptor
        if self.peak_file < 0:
            self.peak_file = os.memfd_create("lambdad-peak", os.MFD_CLOEXEC)
        return self.peak_file

    def record_resident(self, resident_kib: int) -> None:
        """Notes a measurement of the whole tree."""
        if resident_kib > self.polled_peak_kib:
            self.polled_peak_kib = resident_kib
            if self.peak_file >= 0:
                os.pwrite(self.peak_file, b"%-20d" % (resident_kib * 1024), 0)

    def peak_kib(self) -> int:
        if self.group is not None and self.group.peak_descriptor >= 0:
            return min(self.group.peak_kib(), self.memory_kib)
        return self.polled_peak_kib

    def remove(self, *, mounted: bool) -> bool:
        """Takes everything away; False while something still holds on to it, to be tried again."""
        if self.tmp is not None:
            if mounted:
                with contextlib.suppress(OSError):  # done already, and only the directory was busy
                    syscalls.unmount(str(self.tmp))
                try:
                    self.tmp.rmdir()
                except OSError:
                    return False
            else:
                shutil.rmtree(self.tmp, ignore_errors=True)
            self.tmp = None
        if self.hosts is not None:
            self.hosts.unlink(missing_ok=True)
            self.hosts = None
        if self.peak_file >= 0:
            os.close(self.peak_file)
            self.peak_file = -1
        if self.guard is not None:
            self.guard.close()
            self.guard = None
        for part in (self.cpu, self.freezer, self.group):
            if part is not None and not part.remove():
                return False
        self.cpu = self.freezer = self.group = None
        return True
