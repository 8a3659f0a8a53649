"""Process trees seen from outside, for machines without pid namespaces and memory groups."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterable

_LOOKS = 20
_TRIES = 500
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


def below(root: int) -> list[int]:
    """All processes below `root`, parents first. Asks the kernel for each one's children, which takes a fraction of a
    pass over /proc on a machine that does other things too; it may miss some of those that are just being made."""
    if not os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children"):  # not every kernel keeps it
        return descendants(root, children_by_parent())
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _children(pid: int) -> list[int]:
    """Of all threads; none if the process is gone."""
    children: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return children
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children") as listed:
                children += map(int, listed.read().split())
        except OSError:
            continue
    return children


def resident_kib(pid: int) -> int:
    """Resident memory of one process; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * _PAGE_KIB
    except OSError:
        return 0


def unmapped_kib(pids: Iterable[int]) -> int:
    """What processes hold in memory files (memfd_create) beyond what they have mapped, which counts as resident."""
    held: dict[int, int] = {}
    holders = []
    for pid in pids:
        before = len(held)
        try:
            with os.scandir(f"/proc/{pid}/fd") as descriptors:
                for entry in descriptors:
                    if os.readlink(entry.path).startswith("/memfd:"):
                        status = os.stat(entry.path)
                        held[status.st_ino] = status.st_blocks // 2
        except OSError:  # gone, or closed meanwhile: the next look tells
            pass
        if len(held) > before:
            holders.append(pid)
    return max(sum(held.values()) - sum(map(_shared_kib, holders)), 0) if held else 0


def _shared_kib(pid: int) -> int:
    """Resident pages of memory files and the like."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("RssShmem:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def kill_user(uid: int) -> None:
    """SIGKILL to all processes of a user at once, which none of them can outrun; for root."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def proportional_kib(pid: int) -> int | None:
    """Memory of one process, of what it shares only its part (PSS); None if the kernel does not tell. Slow."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    except OSError:
        return None
    return None


def kill_all(pids: list[int]) -> None:
    """SIGKILL to each; those that are gone already are fine."""
    signal_all(pids, signal.SIGKILL)


def signal_all(pids: Iterable[int], number: int) -> None:
    """A signal to each; those that are gone already are fine."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            continue


def stop_all(root: int) -> None:
    """SIGSTOP to all processes below `root`, again and again until two looks find nothing that runs.

    Once is not enough: a process may have forked meanwhile, or may go on sending SIGCONT until it is hit at a moment
    when it does not. Gives up in the end; whoever wants more needs a control group.
    """
    times_quiet = 0
    for _ in range(_LOOKS):
        running = below(root)
        is_quiet = True
        for _ in range(_TRIES):
            running = [pid for pid in running if not _is_stopped(pid)]
            if not running:
                break
            is_quiet = False
            signal_all(running, signal.SIGSTOP)
        times_quiet = times_quiet + 1 if is_quiet else 0
        if times_quiet == 2:
            return


def _is_stopped(pid: int) -> bool:
    """Stopped, dead or gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            text = stat.read()
    except OSError:
        return True
    return text[text.rindex(")") + 2] in "TtZX"


def continue_all(root: int) -> None:
    """SIGCONT to all processes below `root`."""
    signal_all(below(root), signal.SIGCONT)
