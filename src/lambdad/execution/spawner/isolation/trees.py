"""Process trees seen from outside, for machines without pid namespaces and memory groups."""

from __future__ import annotations

import os
import signal
from collections import defaultdict

_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def children_by_parent() -> dict[int, list[int]]:
    """Every process's children, from one pass over /proc."""
    children: dict[int, list[int]] = defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    text = stat.read()
            except OSError:
                continue
            children[int(text[text.rindex(")") + 2 :].split()[1])].append(int(name))
    return children


def descendants(root: int, children: dict[int, list[int]]) -> list[int]:
    """All processes below `root`, parents first."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def resident_kib(pid: int) -> int:
    """Resident memory of one process; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * _PAGE_KIB
    except OSError:
        return 0


def kill_all(pids: list[int]) -> None:
    """SIGKILL to each; those that are gone already are fine."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
