"""Asks systemd for a control group of this process's own that it may divide.

Where systemd runs, control groups belong to it, and a shell's group holds the shell too, so nobody can make limits
there. A transient scope with `Delegate=yes` is what systemd has for that (systemd.io, Control Group APIs and
Delegation): root gets it from the system's manager, a user who is logged in from its own one. `busctl`, which comes
with systemd, asks over D-Bus; it is done once, at start, and only where no group was delegated already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time

_PREFIX = "lambdad-spawner-"
_SUFFIX = ".scope"
_TIMEOUT_S = 5
_JOIN_WAIT_S = 3.0
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_NO_LIMIT = (1 << 64) - 1


class NoScope(Exception):
    """systemd gives none; `str()` is why."""


def is_delegated(directory: str) -> bool:
    """Whether systemd has left this group to whoever runs in it."""
    for attribute in ("user.delegate", "trusted.delegate"):  # the second is older, and only root can see it
        try:
            if os.getxattr(directory, attribute) == b"1":
                return True
        except OSError:
            continue
    return False


def runs_systemd() -> bool:
    """As sd_booted(3) finds out."""
    return os.path.isdir("/run/systemd/system")


def unit(instance: str) -> str:
    """The scope's name for a spawner's, which is `lambdad-<pid>-<start time>`."""
    return _PREFIX + instance.partition("-")[2] + _SUFFIX


def instance(name: str) -> str:
    """The other way; empty if `name` is not a scope of a spawner."""
    if not (name.startswith(_PREFIX) and name.endswith(_SUFFIX)):
        return ""
    return "lambdad-" + name.removeprefix(_PREFIX).removesuffix(_SUFFIX)


def enter(name: str) -> None:
    """Moves this process, alone, into a new scope of that name. Raises NoScope."""
    program = shutil.which("busctl")
    if program is None:
        raise NoScope("busctl, which asks systemd for a control group, is not installed")
    uid = os.geteuid()
    if uid and not os.path.exists(f"/run/user/{uid}/bus"):
        raise NoScope("this user has no session of systemd with a D-Bus")
    try:
        done = subprocess.run(  # noqa: S603 - a program of systemd's
            [program, *command(name, os.getpid(), of_user=bool(uid))],
            env={"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath), "XDG_RUNTIME_DIR": f"/run/user/{uid}"},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoScope(f"systemd could not be asked for a control group: {error}") from None
    if done.returncode:
        raise NoScope(f"systemd gives no control group: {done.stderr.strip()}")
    give_up = time.monotonic() + _JOIN_WAIT_S
    while name not in _own_groups():  # it answers before it has moved us
        if time.monotonic() > give_up:
            raise NoScope("systemd promised a control group, but did not give it in time")
        time.sleep(0.002)


def command(name: str, pid: int, *, of_user: bool) -> list[str]:
    """The arguments of `busctl`: the call StartTransientUnit with the properties of the scope."""
    properties = [
        ["Description", "s", "Environments of lambdad's functions"],
        ["Delegate", "b", "true"],
        ["PIDs", "au", "1", str(pid)],
        ["TasksMax", "t", str(_NO_LIMIT)],
        ["CollectMode", "s", "inactive-or-failed"],
    ]
    return [
        "--user" if of_user else "--system",
        *("--quiet", f"--timeout={_TIMEOUT_S}", "--allow-interactive-authorization=no", "call", *_MANAGER),
        *("StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail"),
        *(str(len(properties)), *(word for one in properties for word in one), "0"),
    ]


def _own_groups() -> str:
    with open("/proc/self/cgroup") as groups:
        return groups.read()
