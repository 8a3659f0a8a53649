"""Control groups: one per environment, for memory and the number of tasks. Version 2 is preferred, 1 is accepted.

Everything lies in `<own group>/lambdad-<pid>-<start time>/<environment id>`. The name tells whose it is, so that what
a killed spawner left behind is found and swept by the next one. On version 2 the own group has to be one that may be
divided: one that was delegated (a unit with `Delegate=yes`), else a scope that systemd gives on demand, else, where no
systemd rules, the group that this process happens to be in.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Set
from dataclasses import dataclass

from . import scopes

PREFIX = "lambdad-"
LEAF = f"{PREFIX}service"
"""Where server and spawner go: a group of version 2 that is divided may hold no processes itself."""
_CONTROLLERS = {"memory", "pids"}


@dataclass(frozen=True, slots=True)
class _Hierarchy:
    """One mounted hierarchy and our own place in it."""

    place: str
    version: int
    top: str
    """Where it is mounted."""


class Group:
    """The group of one environment. On version 1 it is a directory in each of two hierarchies."""

    def __init__(self, memory: str, tasks: str, version: int) -> None:
        self.memory = memory
        self.tasks = tasks
        self.version = version
        peak = "memory.peak" if version == 2 else "memory.max_usage_in_bytes"
        self.peak_descriptor = _open_if_there(f"{memory}/{peak}") if memory else -1
        self.tells_peak = self.peak_descriptor >= 0
        """Linux before 5.19 has no `memory.peak`: then it is what `note_usage` was told."""
        if memory and not self.tells_peak:
            self.peak_descriptor = os.memfd_create("lambdad-peak", os.MFD_CLOEXEC)
        self._noted_peak = 0
        self._kills_seen = 0

    def open_members(self) -> list[int]:
        """Descriptors to which a single-threaded process writes `0` to join.

        A thread that moves itself needs no lock that waits for every processor; moving a process costs some 10 ms
        because of that. Only version 1 lets a thread move by itself.
        """
        name = "cgroup.procs" if self.version == 2 else "tasks"
        return [
            os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            for directory in {self.memory, self.tasks}
            if directory
        ]

    def open_directory(self) -> int:
        """A descriptor by which a process begins in the group; -1 where it has to join (version 1)."""
        if self.version != 2:
            return -1
        return os.open(self.memory or self.tasks, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def limit_memory(self, memory_bytes: int, hard_limit_bytes: int) -> None:
        """Never holds more than `hard_limit_bytes`; above `memory_bytes` it is slowed down where the kernel can do that
        (version 2)."""
        if not self.memory:
            return
        if self.version == 2:
            write(f"{self.memory}/memory.max", str(hard_limit_bytes))
            _write_if_there(f"{self.memory}/memory.high", str(memory_bytes))
            _write_if_there(f"{self.memory}/memory.swap.max", "0")
            _write_if_there(f"{self.memory}/memory.oom.group", "1")
        else:
            write(f"{self.memory}/memory.limit_in_bytes", str(hard_limit_bytes))
            _write_if_there(f"{self.memory}/memory.memsw.limit_in_bytes", str(hard_limit_bytes))

    def peak_kib(self) -> int:
        """High-water mark in KiB, 0 if the kernel does not tell."""
        return int(os.pread(self.peak_descriptor, 32, 0) or b"0") // 1024 if self.peak_descriptor >= 0 else 0

    def note_usage(self, usage_bytes: int) -> None:
        """For kernels that do not keep the high-water mark."""
        if usage_bytes > self._noted_peak and not self.tells_peak:
            self._noted_peak = usage_bytes
            os.pwrite(self.peak_descriptor, b"%-20d" % usage_bytes, 0)

    def kill(self) -> bool:
        """SIGKILL to all that is in it at once, which nothing can outrun; False where the kernel cannot do that."""
        try:
            write(f"{self.tasks or self.memory}/cgroup.kill", "1")
        except OSError:  # version 1, or Linux before 5.14
            return False
        return True

    def killed_for_memory(self) -> bool:
        """Whether the kernel has killed a process of the group since this was last asked."""
        seen, self._kills_seen = self._kills_seen, self._count_kills()
        return self._kills_seen > seen

    def has_killed(self) -> bool:
        """The same, without taking it as told."""
        return self._count_kills() > self._kills_seen

    def _count_kills(self) -> int:
        if not self.memory:
            return 0
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        try:
            with open(f"{self.memory}/{name}") as counters:
                for line in counters:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        except OSError:
            pass
        return self._kills_seen

    def remove(self) -> bool:
        """False while processes of the group are still going away."""
        if self.peak_descriptor >= 0:
            os.close(self.peak_descriptor)
            self.peak_descriptor = -1
        return all(remove(directory) for directory in {self.memory, self.tasks} if directory)


class Groups:
    """Makes and sweeps groups; `version` is 0 where none can be made."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self.version = 0
        self._memory = ""
        self._tasks = ""
        self.why_not = ""
        """Why there is no limit of memory, if that is known."""
        for try_version in (self._use_version_2, self._use_version_1):
            try:
                if try_version():
                    return
            except (OSError, scopes.NoScope) as error:
                self.why_not = str(error)

    @property
    def limits_memory(self) -> bool:
        return bool(self._memory)

    @property
    def limits_tasks(self) -> bool:
        return bool(self._tasks)

    @property
    def place(self) -> str:
        """Version 2: the directory that holds those of the environments."""
        return self._memory

    def enable(self, controller: str) -> None:
        """Version 2: has a further controller work in the environments' groups. Raises OSError where it cannot."""
        for directory in (os.path.dirname(self._memory), self._memory):
            write(f"{directory}/cgroup.subtree_control", f"+{controller}")

    def create(self, name: str, *, tasks: int) -> Group:
        """A group that may run `tasks` processes and threads."""
        memory = f"{self._memory}/{name}" if self._memory else ""
        for directory in {memory, f"{self._tasks}/{name}" if self._tasks else ""}:
            if directory:
                os.mkdir(directory)
        group = Group(memory, f"{self._tasks}/{name}" if self._tasks else "", self.version)
        if group.tasks:
            write(f"{group.tasks}/pids.max", str(tasks))
        return group

    def remove(self) -> None:
        """Removes this instance's own directories; the environments' must be gone."""
        for directory in {self._memory, self._tasks}:
            if directory:
                remove(directory)

    def _use_version_2(self) -> bool:
        own = own_hierarchies().get("")
        # Beside version 1 it may be there without any controller; no scope would have one either.
        if own is None or not _has(own.top, "cgroup.controllers"):
            return False
        place = _delegated_part(own.place)
        if scopes.is_delegated(place):
            try:
                self._divide(place, _ancestors())
            except OSError as error:
                self.why_not = str(error)
            else:
                return True
        if not scopes.runs_systemd():
            self._divide(place, _ancestors())
            return True
        try:
            scopes.enter(scopes.unit(self._instance))
        except scopes.NoScope:
            # A group of ours alone may be one that a manager has given to this user without marking it.
            try:
                self._divide(place, {os.getpid(), os.getppid()})
            except OSError:
                pass
            else:
                return True
            raise
        place = own_hierarchies()[""].place
        self._divide(place, {os.getpid()})
        _sweep_scopes(os.path.dirname(place))
        return True

    def _divide(self, place: str, ours: Set[int]) -> None:
        """Makes this instance's directory below `place`, from which nobody but `ours` is sent away."""
        if not _has(place, "cgroup.controllers"):
            raise OSError(f"{place} has no controllers for memory and processes")
        if not _has(place, "cgroup.subtree_control"):
            _empty_inner_group(place, ours)
            write(f"{place}/cgroup.subtree_control", "+memory +pids")
        sweep(place)
        directory = f"{place}/{self._instance}"
        os.mkdir(directory)
        try:
            write(f"{directory}/cgroup.subtree_control", "+memory +pids")
        except OSError:
            remove(directory)
            raise
        self.version = 2
        self._memory = self._tasks = directory

    def _use_version_1(self) -> bool:
        own = own_hierarchies()
        places = {}
        for controller in ("memory", "pids"):
            hierarchy = own.get(controller)
            if hierarchy is None:
                continue
            try:
                sweep(hierarchy.place)
                os.mkdir(f"{hierarchy.place}/{self._instance}")
                places[controller] = f"{hierarchy.place}/{self._instance}"
            except OSError:
                continue
        self._memory, self._tasks = places.get("memory", ""), places.get("pids", "")
        self.version = 1 if places else 0
        return bool(places)


def _delegated_part(place: str) -> str:
    """The group to divide, seen from the one that we are in, which may be a leaf of it already."""
    above = os.path.dirname(place)
    if os.path.basename(place) == LEAF:  # a spawner that was started anew, or a second server beside the first
        return above
    if not scopes.is_delegated(place) and scopes.is_delegated(above):  # DelegateSubgroup= of systemd 254
        return above
    return place


def _empty_inner_group(place: str, ours: Set[int]) -> None:
    """A group with limits below may hold no processes itself: they move into a leaf. Only the root of all may."""
    if not os.path.exists(f"{place}/cgroup.type"):
        return
    members = {int(pid) for pid in _read(f"{place}/cgroup.procs").split()}
    if not members:
        return
    if not members <= ours:
        raise OSError(f"{place} holds processes that are not ours")
    leaf = f"{place}/{LEAF}"
    os.makedirs(leaf, exist_ok=True)
    for pid in members:
        write(f"{leaf}/cgroup.procs", str(pid))


def _ancestors() -> set[int]:
    """This process, the server that started it, and what started that: a shell, a container's init."""
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            text = _read(f"/proc/{pid}/stat")
        except OSError:
            break
        pid = int(text[text.rindex(")") + 2 :].split()[1])
    return found


def _sweep_scopes(place: str) -> None:
    """Ends what spawners that are gone left in scopes; systemd then removes those."""
    for name in os.listdir(place):
        instance = scopes.instance(name)
        if instance and is_abandoned(instance):
            _kill_tree(f"{place}/{name}", "cgroup.procs")


def _has(directory: str, name: str) -> bool:
    """Whether a file lists the controllers that limits need."""
    return set(_read(f"{directory}/{name}").split()) >= _CONTROLLERS


def instance_name(pid: int) -> str:
    """The name of what belongs to the spawner `pid`; its start time makes it unique."""
    return f"{PREFIX}{pid}-{_start_time(pid)}"


def is_abandoned(name: str) -> bool:
    """Whether `name` belongs to a spawner that is gone."""
    parts = name.removeprefix(PREFIX).split("-")
    if not name.startswith(PREFIX) or len(parts) != 2 or not all(part.isdigit() for part in parts):
        return False
    return _start_time(int(parts[0])) != int(parts[1])


def sweep(place: str, members: str = "cgroup.procs") -> None:
    """Kills and removes what spawners that are gone left in a hierarchy; `members` is the file that lists it."""
    for directory in _abandoned(place):
        _kill_tree(directory, members)


def thaw_abandoned(place: str, control: str, text: str) -> None:
    """Writes `text` to each `control` file of what spawners that are gone left in a hierarchy."""
    for directory in _abandoned(place):
        for path, _, _ in os.walk(directory):
            _write_if_there(f"{path}/{control}", text)


def _abandoned(place: str) -> list[str]:
    names = [name for name in os.listdir(place) if is_abandoned(name)]
    return [f"{place}/{name}" for name in names if os.path.isdir(f"{place}/{name}")]


def _kill_tree(directory: str, members: str) -> None:
    """And removes it, as far as that is allowed."""
    _write_if_there(f"{directory}/cgroup.kill", "1")
    for path, _, _ in os.walk(directory, topdown=False):
        _kill_members(path, members)
        remove(path)


def _kill_members(directory: str, members: str) -> None:
    for _ in range(100):
        try:
            pids = _read(f"{directory}/{members}").split()
        except OSError:  # no list: a directory of another type than those made here
            return
        if not pids:
            return
        for pid in pids:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.005)


def _start_time(pid: int) -> int:
    """In clock ticks since boot; 0 if there is no such process, or only its remains."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except OSError:
        return 0
    fields = text[text.rindex(")") + 2 :].split()
    return 0 if fields[0] in ("Z", "X") else int(fields[19])


def own_hierarchies() -> dict[str, _Hierarchy]:
    """By controller; version 2 has the empty name. The group that this process is in, as a path."""
    paths: dict[str, str] = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    found: dict[str, _Hierarchy] = {}
    for line in _read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        root, mounted_at = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        names = [""] if kind == "cgroup2" else options.split(",") if kind == "cgroup" else []
        for name in names:
            controller = name.split()[-1] if name else name  # `rw,memory` and the like stand before the first one
            own = paths.get(controller)
            if own is None or controller in found:
                continue
            below = own.removeprefix(root) if root != "/" else own
            directory = mounted_at + "/" + below.strip("/")
            if os.path.isdir(directory):
                found[controller] = _Hierarchy(directory.rstrip("/"), 2 if kind == "cgroup2" else 1, mounted_at)
    return found


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _write_if_there(path: str, text: str) -> None:
    try:
        write(path, text)
    except OSError:
        return


def _open_if_there(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def remove(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
