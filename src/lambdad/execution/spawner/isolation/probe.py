"""Finds out what this machine allows, by doing it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from . import mounts, syscalls


def enter_own_mount_namespace() -> str:
    """Gives the spawner mounts of its own, which end with it. Returns why it cannot, empty if it can."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", "", syscalls.MS_PRIVATE | syscalls.MS_REC)
    except OSError as error:
        return str(error)
    return ""


def try_namespaces(place: Path, uid: int) -> str:
    """Builds a whole environment in a child and changes the user in it; returns what went wrong, empty if nothing."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _try_in_child(place, uid, writer)
        except BaseException as error:
            os.write(writer, str(error).encode()[:1000] or b"unknown")
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read().decode("utf-8", "replace")
    os.waitpid(pid, 0)
    return text


def _try_in_child(place: Path, uid: int, writer: int) -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS)
    mounts.build(str(place), mounts.Template(), users=range(uid, uid + 1))
    syscalls.unmount("/proc")
    mounts.seal()
    syscalls.unshare(syscalls.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        except BaseException as error:
            os.write(writer, str(error).encode()[:1000] or b"unknown")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
