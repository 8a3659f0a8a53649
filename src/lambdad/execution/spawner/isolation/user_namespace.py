"""User namespaces: what lets an unprivileged user have mounts and process ids of its own.

Two are stacked. In the outer one the spawner lives, as its root, with every capability over it and none over the host;
there it does what root does elsewhere. Each environment gets an inner one, in which it is an ordinary user without
capabilities, and in which the kernel counts its processes apart from everybody's.
Loaded by zygotes: runs on Python 3.8 and newer.
"""

from __future__ import annotations

import os

from . import syscalls


def enter() -> None:
    """Makes this process root of a user namespace of its own, with mounts and, for its children, process ids.

    The next child is process 1 there. The process must be dumpable, or it cannot write its own id maps.
    """
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
    _map(0, 0, uid, gid)


def settle() -> None:
    """For that first child: mounts that spread nowhere, and a /proc that shows its own processes."""
    syscalls.mount("", "/", "", syscalls.MS_PRIVATE | syscalls.MS_REC)
    syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)


def become(uid: int) -> None:
    """In the outer namespace: goes on as the user `uid` of an inner one, without any capability."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    _map(uid, uid, outer_uid, outer_gid)
    syscalls.drop_capabilities()


def _map(inner_uid: int, inner_gid: int, outer_uid: int, outer_gid: int) -> None:
    # The kernel wants setgroups forbidden before an unprivileged user may map a group.
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inner_uid} {outer_uid} 1"),
        ("gid_map", f"{inner_gid} {outer_gid} 1"),
    ):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
