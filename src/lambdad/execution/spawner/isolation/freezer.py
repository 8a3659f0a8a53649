"""Stops every process of an environment between invocations: timers, threads and daemons too.

Best is version 2's `cgroup.freeze`, which works without any controller, so also beside version 1 as many machines have
it: there the groups are threaded ones, because a process may join those by itself without a lock that waits for every
processor. Version 1's freezer comes second; a process that it has frozen does not even die before it is thawed. Where
there is neither, the spawner sends SIGSTOP to each process of the tree.

An open control file is handed to the server: a write freezes or thaws, without a message to anybody.
"""

from __future__ import annotations

import os

from . import cgroups

CONTROL = {1: "freezer.state", 2: "cgroup.freeze"}
FREEZE = {1: b"FROZEN", 2: b"1"}
THAW = {1: b"THAWED", 2: b"0"}
_MEMBERS = {1: "tasks", 2: "cgroup.threads"}


class Freezer:
    """That of one environment."""

    def __init__(self, directory: str, version: int, *, is_own: bool) -> None:
        self.version = version
        self._directory = directory
        self._is_own = is_own
        """The directory is for freezing alone: processes have to join it, and it is to be removed."""
        self._control = os.open(f"{directory}/{CONTROL[version]}", os.O_WRONLY | os.O_CLOEXEC)

    def open_members(self) -> list[int]:
        """Descriptors to which a single-threaded process writes `0` to join; none if it joins anyway."""
        if not self._is_own:
            return []
        return [os.open(f"{self._directory}/{_MEMBERS[self.version]}", os.O_WRONLY | os.O_CLOEXEC)]

    def open_control(self) -> int:
        """A descriptor that takes FREEZE and THAW; the caller's to close."""
        return os.dup(self._control)

    def thaw(self) -> None:
        os.write(self._control, THAW[self.version])

    @property
    def holds_up_kills(self) -> bool:
        """A frozen process does not end before it is thawed."""
        return self.version == 1

    def remove(self) -> bool:
        """False while processes of the group are still going away."""
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
        return not self._is_own or cgroups.remove(self._directory)


class Freezers:
    """Makes freezers; `version` is 0 where no control group can do it."""

    def __init__(self, instance: str, groups: cgroups.Groups, versions: tuple[int, ...] = (2, 1)) -> None:
        """`versions`: those that may be used, best first."""
        self.version = 0
        self._place = ""
        own = cgroups.own_hierarchies()
        for version in versions:
            if version == 2 == groups.version:
                self.version = 2
                return
            hierarchy = own.get("" if version == 2 else "freezer")
            if hierarchy is None:
                continue
            place = f"{hierarchy.place}/{instance}"
            try:
                self._make(place, hierarchy.version)
            except OSError:
                cgroups.remove(place)
                continue
            self.version, self._place = hierarchy.version, place
            return

    @property
    def holds_up_kills(self) -> bool:
        """A frozen process does not end before it is thawed."""
        return self.version == 1

    def create(self, name: str, group: cgroups.Group | None) -> Freezer | None:
        """The freezer of one environment, whose group for memory and tasks may be the one to freeze."""
        if self._place:
            directory = f"{self._place}/{name}"
            self._make(directory, self.version)
            return Freezer(directory, self.version, is_own=True)
        if self.version == 2 and group is not None:
            return Freezer(group.memory or group.tasks, 2, is_own=False)
        return None

    def _make(self, directory: str, version: int) -> None:
        os.mkdir(directory)
        if version == 2:
            cgroups.write(f"{directory}/cgroup.type", "threaded")
        if not os.path.exists(f"{directory}/{CONTROL[version]}"):
            raise OSError(f"{directory} has no {CONTROL[version]}")

    def remove(self) -> None:
        """Removes this instance's own directory; the environments' must be gone."""
        if self._place:
            cgroups.remove(self._place)


def sweep() -> None:
    """Ends what spawners that are gone have left frozen. Comes before any other sweep, which would wait for it."""
    own = cgroups.own_hierarchies()
    for hierarchy, members in ((own.get(""), "cgroup.threads"), (own.get("freezer"), "cgroup.procs")):
        if hierarchy is None:
            continue
        try:
            cgroups.thaw_abandoned(hierarchy.place, CONTROL[hierarchy.version], THAW[hierarchy.version].decode())
            cgroups.sweep(hierarchy.place, members)
        except OSError:
            continue
