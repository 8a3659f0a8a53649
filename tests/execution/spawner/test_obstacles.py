"""Why a tier does not work is told with what to do about it."""

from __future__ import annotations

import errno

import pytest

from lambdad.execution.spawner.isolation.obstacles import Machine, of_landlock, of_root, of_user_namespaces
from lambdad.execution.spawner.isolation.probe import Failure

REFUSED = Failure(errno.EPERM, "unshare: Operation not permitted")


@pytest.mark.parametrize(
    ("machine", "advice"),
    [
        (Machine(apparmor_restricts=True), "install bubblewrap and give /usr/bin/bwrap an AppArmor profile"),
        (Machine(apparmor_restricts=True, has_bubblewrap=True), "apparmor_restrict_unprivileged_userns=0"),
        (Machine(clone_forbidden=True), "kernel.unprivileged_userns_clone=1"),
        (Machine(namespaces_maximum=0), "user.max_user_namespaces"),
        (Machine(is_container=True), "--security-opt seccomp=unconfined"),
        (Machine(), "install bubblewrap"),
    ],
)
def test_what_forbids_user_namespaces_is_named(machine: Machine, advice: str) -> None:
    obstacle = of_user_namespaces(REFUSED, None, machine)
    assert obstacle.tier == "T2"
    assert advice in obstacle.remedy
    assert "Operation not permitted" in obstacle.reason


def test_a_unit_that_hides_parts_of_proc_is_named() -> None:
    obstacle = of_user_namespaces(Failure(errno.EPERM, "mount /proc: Operation not permitted"), None, Machine())
    assert "take ProtectKernelTunables= and ProtectKernelLogs= out" in obstacle.remedy


def test_what_bubblewrap_said_is_told_too() -> None:
    obstacle = of_user_namespaces(REFUSED, Failure(1, "bwrap: setting up uid map\nmore"), Machine(has_bubblewrap=True))
    assert obstacle.reason.endswith("bwrap does not get them either (bwrap: setting up uid map)")


@pytest.mark.parametrize(
    ("failure", "machine", "advice"),
    [
        (None, Machine(), "start lambdad as root"),
        (REFUSED, Machine(is_container=True), "--privileged"),
        (REFUSED, Machine(), "CAP_SYS_ADMIN"),
        (Failure(errno.ENOSYS, "mount_setattr"), Machine(), "Linux 5.12"),
    ],
)
def test_what_root_lacks_is_named(failure: Failure | None, machine: Machine, advice: str) -> None:
    assert advice in of_root(failure, machine).remedy


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSYS, "Linux 5.13"), (errno.EOPNOTSUPP, "lsm="), (errno.EPERM, "seccomp profile")],
)
def test_why_there_is_no_landlock_is_told(number: int, advice: str) -> None:
    assert advice in of_landlock(Failure(number, "landlock_create_ruleset"), Machine()).remedy
