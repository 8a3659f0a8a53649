"""Environments as the spawner keeps them: user, groups and /tmp, which outlive the runtimes started in them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from . import messages
from .ground import Ground
from .isolation import cgroups, cpu, freezer, memory, mounts, syscalls
from .loop import Loop
from .reach import Reach
from .runs import Run
from .settings import Settings
from .users import FIRST

_TMP_ATTRIBUTES = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV


def _most_files(tmp_mb: int) -> int:
    return max(tmp_mb, 64) * 256


class Environment:
    """What belongs to an environment as long as it lives.

    It may be made before it is known whose it will be; until then it has no id, no memory size and no /tmp.
    """

    def __init__(self, name: str, *, namespaces: bool) -> None:
        self.name = name
        """Of its directories."""
        self.namespaces = namespaces
        self.id = ""
        """By which the server knows it."""
        self.uid = 0
        self.memory_kib = 0
        self.tmp_mb = 0
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

    def make_tmp(self, place: Path) -> None:
        """A private /tmp: memory-backed and of fixed size in a mount namespace, a plain directory elsewhere."""
        self.tmp = place / self.name
        self.tmp.mkdir(mode=0o700)
        if self.uid and not self.namespaces:
            os.chown(self.tmp, self.uid, self.uid)
        if self.namespaces:
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

    def open_groups(self) -> tuple[int, list[int]]:
        """What a FORK says of the groups that its processes are to be in: flags, and descriptors in their order."""
        flags, descriptors = 0, []
        if self.freezer is not None and (members := self.freezer.open_members()):
            flags |= messages.HAS_FREEZER
            descriptors += members
        if self.group is not None:
            directory = self.group.open_directory()
            if directory >= 0:
                flags |= messages.INTO_GROUP
                descriptors.append(directory)
            else:
                descriptors += self.group.open_members()
        if self.cpu is not None:
            descriptors += self.cpu.open_members()
        return flags, descriptors

    def open_hosts(self, place: Path, address: str) -> int:
        """A detached mount of an /etc/hosts in which `sandbox.localdomain` is this environment's own address."""
        if self.hosts is None:
            place.mkdir(mode=0o755, exist_ok=True)
            self.hosts = place / self.name
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

    def remove(self) -> bool:
        """Takes everything away; False while something still holds on to it, to be tried again."""
        if self.tmp is not None:
            if self.namespaces:
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


class Environments:
    """Makes them and takes them away; finds those that the server knows by their id."""

    def __init__(self, settings: Settings, ground: Ground, reach: Reach | None, loop: Loop) -> None:
        self._settings = settings
        self._ground = ground
        self._reach = reach
        self._loop = loop
        self._made = 0
        self._by_id: dict[str, Environment] = {}
        self._removing: list[Environment] = []
        self.on_memory: Callable[[Environment], None] = lambda _: None
        """Called when it is worth looking at the memory of one."""

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, environment_id: str) -> Environment | None:
        return self._by_id.get(environment_id)

    def all(self) -> list[Environment]:
        return list(self._by_id.values())

    def rename(self, environment: Environment, environment_id: str) -> None:
        self._by_id.pop(environment.id, None)
        environment.id = environment_id
        self._by_id[environment_id] = environment

    def make(self) -> Environment:
        """One that is nobody's yet: user and groups. Raises OSError."""
        self._made += 1
        environment = Environment(str(self._made), namespaces=self._ground.namespaces)
        try:
            if self._ground.user_namespaces:
                environment.uid = FIRST  # each in a user namespace of its own
            elif self._ground.users:
                environment.uid = self._ground.users.take()
            groups = self._ground.groups
            if groups is not None and groups.version:
                environment.group = groups.create(environment.name, tasks=self._settings.tasks)
            if self._ground.cpus is not None:
                environment.cpu = self._ground.cpus.create(environment.name, environment.group)
            if self._ground.freezers is not None:
                environment.freezer = self._ground.freezers.create(environment.name, environment.group)
        except OSError:
            self.remove(environment)
            raise
        return environment

    def assign(self, environment: Environment, environment_id: str, *, memory_mb: int, tmp_mb: int) -> None:
        """Makes it the server's, with the limits and the /tmp of a function. Raises OSError."""
        environment.memory_kib, environment.tmp_mb = memory_mb * 1024, tmp_mb
        self.rename(environment, environment_id)
        environment.make_tmp(self._ground.place / "tmp")
        if environment.group is not None:
            self._limit_memory(environment, environment.group)
        if environment.cpu is not None:
            environment.cpu.weigh(memory_mb)

    def _limit_memory(self, environment: Environment, group: cgroups.Group) -> None:
        memory_bytes = environment.memory_kib * 1024
        # A tmpfs is charged to the group. Elsewhere the room above the memory size is for the guard to act in: the
        # kernel would kill one process of version 1, not the environment.
        tmp_bytes = environment.tmp_mb << 20
        group.limit_memory(memory_bytes, memory_bytes + tmp_bytes)
        if group.memory:
            tmp = str(environment.tmp) if environment.namespaces else ""
            guard = environment.guard = memory.MemoryGuard(group, limit_bytes=memory_bytes, tmp=tmp)
            if guard.descriptor >= 0:

                def look() -> None:
                    guard.drain()
                    self.on_memory(environment)

                self._loop.watch(guard.descriptor, look)

    def remove(self, environment: Environment) -> None:
        """Now, or by `remove_rest` as soon as nothing holds on to it any more."""
        if self._by_id.get(environment.id) is environment:
            del self._by_id[environment.id]
        if environment.guard is not None and environment.guard.descriptor >= 0:
            self._loop.unwatch(environment.guard.descriptor)
        if not environment.remove():
            self._removing.append(environment)
            return
        if self._reach is not None:
            self._reach.release(environment.id)
        if environment.uid and self._ground.users:
            self._ground.users.give_back(environment.uid)

    def remove_rest(self) -> None:
        removing, self._removing = self._removing, []
        for environment in removing:
            self.remove(environment)

    def give_up(self) -> None:
        """What cannot be removed stays: the next spawner sweeps what it can."""
        self._removing.clear()

    @property
    def has_rest(self) -> bool:
        return bool(self._removing)
