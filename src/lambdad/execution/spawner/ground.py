"""What the spawner stands on: its private directory, and the tier that this machine lets it have."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from .isolation import cgroups, cpu, filters, freezer, obstacles, probe, syscalls, user_namespace
from .settings import Settings
from .users import FIRST, Users

HIGHEST = {"auto": 3, "off": 0, "T0": 0, "T1": 1, "T2": 2, "T3": 3}
"""The highest tier that is tried, by the setting `isolation`."""


class Ground:
    """Found out once, at start, by trying; sweeps what spawners that are gone have left.

    With `place`, the private directory, this is the second start of a spawner of tier T2, inside bubblewrap.
    """

    def __init__(self, settings: Settings, place: str = "") -> None:
        self.obstacles: list[obstacles.Obstacle] = []
        """Of the tiers above the one in force, highest first."""
        self.missing: list[str] = []
        """Sentences for people: what else does not work here, and what that means."""
        self.is_off = HIGHEST[settings.isolation] == 0
        self.landlock = 0
        """Its ABI, 0 where there is none."""
        self.users: Users | None = None
        """Each environment has a user of its own; None: they share the server's, or have user namespaces."""
        self._is_inside = bool(place)
        self._proc_outside = -1
        """The /proc of before this process entered namespaces of its own."""
        self._bubblewrap = ""
        self._program = sys.executable
        self.place = Path(place) if place else _make_place(settings)
        self.number = 2 if place else self._choose(settings)
        if self.is_off:
            self.missing.append("isolation is switched off: functions can do what this user can do")
        # Inside, ids of other processes are not known, which would make every other server seem gone.
        has_groups = not self.is_off and not place and not self._bubblewrap
        if has_groups:
            freezer.sweep()
        self.groups = self._find_groups() if has_groups else None
        self.freezers = self._find_freezers(settings)
        self.cpus = self._find_cpus(settings)
        self.seccomp = b"" if self.is_off else self._find_filter()
        self.measures_memory = self.groups is None or not self.groups.limits_memory
        # Version 2 has no event for passing a threshold that is not also a limit.
        self.polls_memory = self.measures_memory or (self.groups is not None and self.groups.version == 2)

    @property
    def tier(self) -> str:
        return f"T{self.number}"

    @property
    def namespaces(self) -> bool:
        """Environments have mounts and process ids of their own."""
        return self.number >= 2

    @property
    def user_namespaces(self) -> bool:
        """And a user namespace, instead of a user of the machine."""
        return self.number == 2

    @property
    def zygote_place(self) -> Path:
        """Where a template root is mounted; the lower tiers keep their own files there."""
        return self.place / "root" if self.namespaces else self.place

    def enter(self, descriptor: int) -> None:
        """For tier T2: goes on inside a user namespace; the process that called stays outside and waits for it.

        Everything that has to be told from the outside (ids of processes of others, groups) is known by now.
        """
        if not self.user_namespaces:
            return
        if self._is_inside:
            user_namespace.settle()
            return
        if self._bubblewrap:
            os.set_inheritable(descriptor, True)
            start = [self._program, *sys.orig_argv[1:], str(self.place)]
            command = probe.bubblewrap(self._bubblewrap)
            os.execv(command[0], [*command, *start])  # noqa: S606 - that is the way in
        self._proc_outside = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        user_namespace.enter()
        child = os.fork()
        if child:
            _wait_outside(child)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        user_namespace.settle()

    def pid_outside(self, pid: int, pid_descriptor: int) -> int:
        """A process's id as the server sees it; `pid` itself where that cannot be told (behind bubblewrap)."""
        if self._proc_outside < 0:
            return pid
        path = f"self/fdinfo/{pid_descriptor}"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc_outside)
            with open(descriptor) as info:
                return next((int(line.split()[1]) for line in info if line.startswith("Pid:")), pid)
        except OSError:
            return pid

    def _choose(self, settings: Settings) -> int:
        highest, root, uid = HIGHEST[settings.isolation], self.place / "root", FIRST
        is_root = os.geteuid() == 0
        program = shutil.which("bwrap") or ""
        machine = obstacles.Machine.look(has_bubblewrap=bool(program))
        if highest >= 3:
            failure = probe.try_root(root, uid) if is_root else None
            if is_root and failure is None:
                self._look_at_landlock()
                self.users = Users()
                return 3
            self.obstacles.append(obstacles.of_root(failure, machine))
        if highest >= 2:
            failure = bubblewrap = None
            if not is_root:
                failure = probe.try_user_namespace(root, uid)
                if failure is not None:
                    bubblewrap = probe.try_bubblewrap(root, uid)
                if failure is None or bubblewrap is None:
                    self._bubblewrap = program if failure is not None else ""
                    self._look_at_landlock()
                    return 2
            self.obstacles.append(obstacles.of_user_namespaces(failure, bubblewrap, machine))
        if highest >= 1:
            failure = self._look_at_landlock()
            if failure is None:
                self._look_at_users(uid, is_root=is_root)
                return 1
            self.obstacles.append(obstacles.of_landlock(failure, machine))
        return 0

    def _look_at_landlock(self) -> probe.Failure | None:
        self.landlock, failure = probe.try_landlock(self.place)
        return failure

    def _look_at_users(self, uid: int, *, is_root: bool) -> None:
        if is_root:
            for directory in (self.place.parent, self.place, self.place / "tmp"):
                directory.chmod(0o711)
        failure = probe.try_users(self.place, uid) if is_root else None
        self.users = Users() if is_root and failure is None else None
        if failure is not None:
            self.missing.append(f"no user for each environment: {failure.text}")

    def _find_groups(self) -> cgroups.Groups:
        groups = cgroups.Groups(self.place.name)
        if not groups.limits_memory:
            why = f" ({groups.why_not})" if groups.why_not else ""
            self.missing.append(f"no memory control group{why}: memory is measured every 50 ms instead")
        if not groups.limits_tasks and not self.users and not self.user_namespaces:
            self.missing.append("no control group for tasks: the number of processes is not limited")
        return groups

    def _find_freezers(self, settings: Settings) -> freezer.Freezers | None:
        if self.groups is None:
            return None
        return freezer.Freezers(self.place.name, self.groups, settings.freezers)

    def _find_cpus(self, settings: Settings) -> cpu.Cpus | None:
        if self.groups is None:
            return None
        return cpu.Cpus(self.place.name, self.groups, settings.cpu)

    def _find_filter(self) -> bytes:
        program = filters.program()
        if not program:
            self.missing.append(f"no system call filter for {os.uname().machine}")
        return program

    def clear_away(self) -> None:
        if self.freezers is not None:
            self.freezers.remove()
        if self.cpus is not None:
            self.cpus.remove()
        if self.groups is not None:
            self.groups.remove()
        shutil.rmtree(self.place, ignore_errors=True)


def _wait_outside(child: int) -> None:
    """Holds nothing and does nothing until the spawner proper has ended, then ends as it did."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    syscalls.close_range(3)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _make_place(settings: Settings) -> Path:
    base = Path(settings.state_dir or tempfile.gettempdir()) / f"lambdad-{os.geteuid()}"
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    if base.stat().st_uid != os.geteuid():
        raise PermissionError(f"{base} belongs to another user")
    for entry in base.iterdir():
        if cgroups.is_abandoned(entry.name):
            shutil.rmtree(entry, ignore_errors=True)
    place = base / cgroups.instance_name(os.getpid())
    for name in ("root", "tmp"):
        (place / name).mkdir(parents=True)
    return place
