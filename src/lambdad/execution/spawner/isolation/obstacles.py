"""Why a tier does not work on this machine, and what would make it work, in words for whoever runs the server."""

from __future__ import annotations

import errno
import os
from dataclasses import asdict, dataclass

from .probe import Failure

_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """What stands in the way of one tier."""

    tier: str
    reason: str
    remedy: str

    def sentence(self) -> str:
        return f"{self.tier}: {self.reason}; {self.remedy}."

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is to be known of a machine to tell why it refuses something."""

    is_container: bool = False
    apparmor_restricts: bool = False
    """Ubuntu since 23.10: user namespaces come without capabilities unless a profile allows them."""
    clone_forbidden: bool = False
    """Debian's and Ubuntu's older switch is off."""
    namespaces_maximum: int | None = None
    """`user.max_user_namespaces`; RHEL and derivatives set it to 0 on some installations."""
    has_bubblewrap: bool = False

    @classmethod
    def look(cls, *, has_bubblewrap: bool) -> Machine:
        maximum = _read("/proc/sys/user/max_user_namespaces")
        return cls(
            is_container=any(map(os.path.exists, _CONTAINER_MARKS)) or "container=" in _read("/proc/1/environ"),
            apparmor_restricts=_read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1",
            clone_forbidden=_read("/proc/sys/kernel/unprivileged_userns_clone") == "0",
            namespaces_maximum=int(maximum) if maximum.isdigit() else None,
            has_bubblewrap=has_bubblewrap,
        )


def of_root(failure: Failure | None, machine: Machine) -> Obstacle:
    """T3; None: it was not tried, because this is not root."""
    if failure is None:
        return Obstacle(
            tier="T3",
            reason="not started by root",
            remedy="start lambdad as root (a systemd unit with Delegate=yes, or sudo): its small spawner uses that, "
            "functions never do",
        )
    if failure.number in (errno.EPERM, errno.EACCES) and machine.is_container:
        remedy = (
            "run the container with --privileged, or with --cap-add SYS_ADMIN --security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined --security-opt systempaths=unconfined"
        )
    elif failure.number in (errno.EPERM, errno.EACCES):
        remedy = "give this root CAP_SYS_ADMIN and let no seccomp or AppArmor profile take unshare and mount away"
    elif failure.number in (errno.ENOSYS, errno.EINVAL):
        remedy = "it needs Linux 5.12 or newer with namespaces built in"
    else:
        remedy = "see what the system log tells of it"
    return Obstacle(tier="T3", reason=f"root is refused namespaces and mounts here ({failure.text})", remedy=remedy)


def of_user_namespaces(failure: Failure | None, bubblewrap: Failure | None, machine: Machine) -> Obstacle:
    """T2; no `failure`: it was not tried, because this is root."""
    if failure is None:
        # Processes would have the id of the machine's root, to whom much of /proc/sys belongs.
        return Obstacle(
            tier="T2", reason="it is the tier of unprivileged users", remedy="start lambdad as a user who is not root"
        )
    reason = f"no user namespaces with capabilities ({failure.text})"
    if machine.apparmor_restricts:
        reason = f"AppArmor restricts unprivileged user namespaces, as on Ubuntu 24.04 ({failure.text})"
        remedy = "as root once: " + (
            "give /usr/bin/bwrap an AppArmor profile with `userns,` and flags=(unconfined), or set"
            if machine.has_bubblewrap
            else "install bubblewrap and give /usr/bin/bwrap an AppArmor profile with `userns,` and "
            "flags=(unconfined), or set"
        )
        remedy += " `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
    elif machine.clone_forbidden:
        remedy = "as root once: `sysctl kernel.unprivileged_userns_clone=1`"
        if not machine.has_bubblewrap:
            remedy += ", or install bubblewrap, where it is set-user-id"
    elif machine.namespaces_maximum == 0:
        remedy = "as root once: `sysctl user.max_user_namespaces=15000`"
    elif machine.is_container:
        remedy = (
            "the container engine refuses them: run it with --security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined --security-opt systempaths=unconfined, "
            "or start lambdad as the container's root, which gives T1 with a user for each environment"
        )
    elif failure.text.startswith("mount /proc"):
        # The kernel lets a user namespace mount its own only where nothing of the one that it sees is hidden.
        remedy = (
            "something hides a part of /proc: if lambdad is a service, take ProtectKernelTunables= and "
            "ProtectKernelLogs= out of its unit"
        )
    elif failure.number in (errno.ENOSYS, errno.EINVAL):
        remedy = "it needs Linux 5.12 or newer with user namespaces built in"
    elif not machine.has_bubblewrap:
        remedy = "install bubblewrap (package `bubblewrap`), which may be allowed to make them"
    else:
        remedy = "ask whoever looks after this machine to allow unprivileged user namespaces"
    if bubblewrap is not None and machine.has_bubblewrap:
        reason += f"; bwrap does not get them either ({_first_line(bubblewrap.text)})"
    return Obstacle(tier="T2", reason=reason, remedy=remedy)


def of_landlock(failure: Failure, machine: Machine) -> Obstacle:
    """T1."""
    remedy = "see what the system log tells of it"
    if failure.number == errno.ENOSYS:
        remedy = "it needs Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK"
    elif failure.number == errno.EOPNOTSUPP:
        remedy = "add landlock to the list of the kernel parameter lsm= and restart the machine"
    elif failure.number in (errno.EPERM, errno.EACCES):
        who = "the container engine's" if machine.is_container else "a"
        remedy = f"{who} seccomp profile refuses it: use a newer one, or --security-opt seccomp=unconfined"
    return Obstacle(tier="T1", reason=f"no Landlock ({failure.text})", remedy=remedy)


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
