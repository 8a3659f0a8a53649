"""What the spawner stands on: its private directory, and what this machine lets it do."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from .isolation import cgroups, cpu, filters, freezer, probe
from .settings import Settings


class Ground:
    """Found out once, at start, by trying; sweeps what spawners that are gone have left."""

    def __init__(self, settings: Settings) -> None:
        self.missing: list[str] = []
        """Sentences for people: what does not work here, and what that means."""
        self.place = _make_place(settings)
        self.namespaces = self._try_namespaces(settings)
        is_off = settings.isolation == "off"
        if not is_off:
            freezer.sweep()
        self.groups = None if is_off else self._find_groups()
        self.freezers = self._find_freezers(settings)
        self.cpus = self._find_cpus(settings)
        self.seccomp = b"" if is_off else self._find_filter()
        self.measures_memory = self.groups is None or not self.groups.limits_memory
        # Version 2 has no event for passing a threshold that is not also a limit.
        self.polls_memory = self.measures_memory or (self.groups is not None and self.groups.version == 2)

    @property
    def tier(self) -> str:
        return "T3" if self.namespaces else "T0"

    @property
    def zygote_place(self) -> Path:
        """Where a template root is mounted; the portable tier keeps its own files there."""
        return self.place / "root" if self.namespaces else self.place

    def _try_namespaces(self, settings: Settings) -> bool:
        if settings.isolation == "off":
            self.missing.append("isolation is switched off: functions can do what this user can do")
            return False
        if os.geteuid() != 0:
            self.missing.append("not started by root: functions share this user, its files and its processes")
            return False
        reason = probe.enter_own_mount_namespace() or probe.try_namespaces(self.place / "root", settings.first_uid)
        if reason:
            self.missing.append(f"no namespaces: {reason}")
        return not reason

    def _find_groups(self) -> cgroups.Groups:
        groups = cgroups.Groups(self.place.name)
        if not groups.limits_memory:
            self.missing.append("no memory control group: memory is measured every 50 ms instead")
        if not groups.limits_tasks:
            self.missing.append("no control group for tasks: the number of processes is not limited")
        return groups

    def _find_freezers(self, settings: Settings) -> freezer.Freezers | None:
        if self.groups is None:
            return None
        return freezer.Freezers(self.place.name, self.groups, settings.freezers)

    def _find_cpus(self, settings: Settings) -> cpu.Cpus | None:
        if self.groups is None:
            return None
        cpus = cpu.Cpus(self.place.name, self.groups, settings.cpu)
        if cpus.mode != settings.cpu:
            self.missing.append("no control group for CPU time: it does not grow with the memory size")
        return cpus

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
