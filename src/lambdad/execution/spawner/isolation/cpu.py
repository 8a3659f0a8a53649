"""CPU time by memory size, as on AWS: a share of it while others want it too, or a quota.

AWS gives a function memory / 1,769 MB of a virtual CPU (AWS Lambda developer guide). Shares do that among functions
that compete and leave idle time to whoever can use it; a quota does it always, which makes every small function as slow
as it is on AWS. A quota begins when init is over: init is not to fail for it.
"""

from __future__ import annotations

import os

from . import cgroups

MB_PER_CPU = 1_769
PERIOD_US = 100_000
_MINIMUM_QUOTA_US = 1_000
"""The kernel takes no less."""


class CpuGroup:
    """That of one environment."""

    def __init__(self, directory: str, version: int, *, has_quota: bool, is_own: bool) -> None:
        self._directory = directory
        self._version = version
        self._has_quota = has_quota
        self._quota_us = 0
        """0 for shares alone."""
        self._is_own = is_own

    def weigh(self, memory_mb: int) -> None:
        """Gives it the share, and for `limit` the quota, of a memory size."""
        if self._has_quota:
            self._quota_us = max(memory_mb * PERIOD_US // MB_PER_CPU, _MINIMUM_QUOTA_US)
        if self._version == 2:
            weight = min(max(100 * memory_mb // MB_PER_CPU, 1), 10_000)
            cgroups.write(f"{self._directory}/cpu.weight", str(weight))
        else:
            cgroups.write(f"{self._directory}/cpu.shares", str(max(1024 * memory_mb // MB_PER_CPU, 2)))

    def open_members(self) -> list[int]:
        """Descriptors to which a single-threaded process writes `0` to join; none if it joins anyway."""
        return [os.open(f"{self._directory}/tasks", os.O_WRONLY | os.O_CLOEXEC)] if self._is_own else []

    def limit(self) -> None:
        """Begins to hold it to its quota, if it has one."""
        if not self._quota_us:
            return
        if self._version == 2:
            cgroups.write(f"{self._directory}/cpu.max", f"{self._quota_us} {PERIOD_US}")
        else:
            cgroups.write(f"{self._directory}/cpu.cfs_period_us", str(PERIOD_US))
            cgroups.write(f"{self._directory}/cpu.cfs_quota_us", str(self._quota_us))

    def unlimit(self) -> None:
        """For the next init."""
        if not self._quota_us:
            return
        if self._version == 2:
            cgroups.write(f"{self._directory}/cpu.max", f"max {PERIOD_US}")
        else:
            cgroups.write(f"{self._directory}/cpu.cfs_quota_us", "-1")

    def remove(self) -> bool:
        """False while processes of the group are still going away."""
        return not self._is_own or cgroups.remove(self._directory)


class Cpus:
    """Makes them. `mode` is what is in force: `shares`, `quota`, or `off` where nothing else was wanted or works."""

    def __init__(self, instance: str, groups: cgroups.Groups, mode: str) -> None:
        self.mode = "off"
        self._place = ""
        self._version = groups.version
        is_real_time = os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)  # such may not join a group
        if mode == "off" or not groups.version or is_real_time:
            return
        try:
            self._prepare(instance, groups)
            if mode == "quota":  # found out here, not when the first function needs it
                self._try_quota()
        except OSError:
            self.remove()
            return
        self.mode = mode

    def _prepare(self, instance: str, groups: cgroups.Groups) -> None:
        # As much as one task on each processor would get, so that functions together do not starve, nor the server.
        processors = os.cpu_count() or 1
        if groups.version == 2:
            groups.enable("cpu")
            cgroups.write(f"{groups.place}/cpu.weight", str(min(100 * processors, 10_000)))
            return
        hierarchy = cgroups.own_hierarchies().get("cpu")
        if hierarchy is None:
            raise OSError("no hierarchy for cpu")
        cgroups.sweep(hierarchy.place)
        os.mkdir(f"{hierarchy.place}/{instance}")
        self._place = f"{hierarchy.place}/{instance}"
        cgroups.write(f"{self._place}/cpu.shares", str(1024 * processors))

    def _try_quota(self) -> None:
        if self._version == 1 and not os.path.exists(f"{self._place}/cpu.cfs_quota_us"):
            raise OSError("this kernel has no quotas")

    def create(self, name: str, group: cgroups.Group | None) -> CpuGroup | None:
        """The group of one environment, which may be the one for memory and tasks."""
        if self.mode == "off" or group is None:
            return None
        directory = group.memory
        if self._version == 1:
            directory = f"{self._place}/{name}"
            os.mkdir(directory)
        return CpuGroup(directory, self._version, has_quota=self.mode == "quota", is_own=self._version == 1)

    def remove(self) -> None:
        """Removes this instance's own directory; the environments' must be gone."""
        if self._place:
            cgroups.remove(self._place)
            self._place = ""
