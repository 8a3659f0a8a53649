"""What the kernel tells of processes: children, CPU time, memory. Linux only, as the numbers come from /proc."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
TICK = 1 / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command's name (index 1 is the parent), None if it is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def tree(root: int) -> list[int]:
    """`root` and all its living descendants, parents before children."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the tree, with that of children which ended and were waited for."""
    return sum(sum(map(int, fields[11:15])) for pid in tree(root) if (fields := _stat(pid))) * TICK


def machine_cpu_seconds() -> float:
    """CPU time of everything on this machine in user and system mode (interrupts and idle time left out)."""
    user, nice, system = map(int, (PROC / "stat").read_text().split(None, 5)[1:4])
    return (user + nice + system) * TICK


def pss_bytes(pid: int) -> int | None:
    """Proportional set size: private pages and this process's share of the shared ones; None if not readable."""
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024


def tree_pss_bytes(root: int) -> int | None:
    """The tree's PSS; None if that of one process is not readable (another user's)."""
    sizes = [pss_bytes(pid) for pid in tree(root)]
    return None if None in sizes else sum(sizes)


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    processors = (PROC / "cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in processors if "model name" in line), "unknown")
    memory = next(int(line.split()[1]) for line in (PROC / "meminfo").read_text().splitlines() if "MemTotal" in line)
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 1024**2),
        "kernel": ".".join(os.uname().release.split(".")[:2]),
    }
