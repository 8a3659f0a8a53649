"""Finds out what this machine allows, by doing it: each attempt builds a whole environment and takes it down again."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import landlock, mounts, syscalls, user_namespace

BUBBLEWRAP_TIMEOUT_S = 5.0
_PACKAGE_ROOT = Path(__file__).resolve().parents[4]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not work."""

    number: int
    """errno; 0 if it was something else."""
    text: str


def try_root(place: Path, uid: int) -> Failure | None:
    """Namespaces and users with root's own rights. Gives the spawner mounts of its own, which end with it."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", "", syscalls.MS_PRIVATE | syscalls.MS_REC)
    except OSError as error:
        return Failure(error.errno or 0, str(error))

    def build() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        _build_environment(place, uid, lambda: _change_user(uid), keep_proc=False)

    return _in_child(build)


def try_user_namespace(place: Path, uid: int) -> Failure | None:
    """The same in a user namespace that this process makes."""

    def build() -> None:
        user_namespace.enter()
        failure = _in_child(lambda: _build_below(place, uid))
        if failure is not None:
            raise OSError(failure.number, failure.text)

    return _in_child(build)


def try_bubblewrap(place: Path, uid: int) -> Failure | None:
    """The same in a user namespace that bubblewrap makes, which may be allowed to where others are not."""
    program = shutil.which("bwrap")
    if program is None:
        return Failure(errno.ENOENT, "bwrap is not installed")
    start = (
        f"import sys; sys.path.insert(0, {str(_PACKAGE_ROOT)!r}); "
        f"from lambdad.execution.spawner.isolation import probe; probe.tell_from_below({str(place)!r}, {uid})"
    )
    try:
        done = subprocess.run(  # noqa: S603 - our own code, in a program of the system's
            [*bubblewrap(program), sys.executable, "-I", "-S", "-c", start],
            capture_output=True,
            text=True,
            timeout=BUBBLEWRAP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Failure(0, str(error))
    if done.returncode != 0:
        return Failure(errno.EPERM, done.stderr.strip() or f"bwrap ended with status {done.returncode}")
    told = json.loads(done.stdout)
    return Failure(*told) if told else None


def bubblewrap(program: str) -> list[str]:
    """A command that runs another as root of a user namespace, with all that the host has to see."""
    return [
        program,
        *("--unshare-user", "--uid", "0", "--gid", "0", "--unshare-pid", "--as-pid-1", "--cap-add", "ALL"),
        *("--dev-bind", "/", "/", "--proc", "/proc", "--die-with-parent", "--"),
    ]


def tell_from_below(place: str, uid: int) -> None:
    """For the program that `try_bubblewrap` starts: prints what came of it."""
    failure = _in_child(lambda: _build_below(Path(place), uid))
    print(json.dumps([failure.number, failure.text] if failure else None))


def try_landlock(place: Path) -> tuple[int, Failure | None]:
    """The version that is there, and what goes wrong when a process restricts itself with it."""
    try:
        abi = landlock.version()
    except OSError as error:
        return 0, Failure(error.errno or 0, str(error))

    def restrict() -> None:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        landlock.restrict(["/usr"], [str(place)])
        try:
            os.listdir("/")
        except PermissionError:
            return
        raise OSError(errno.EOPNOTSUPP, "Landlock does not refuse anything")

    return abi, _in_child(restrict)


def try_users(place: Path, uid: int) -> Failure | None:
    """Whether each environment can have a user of its own, who can get to `place` and whom this one can kill."""

    def change() -> None:
        _change_user(uid)
        os.stat(place / "tmp")

    return _in_child(change)


def _change_user(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _build_below(place: Path, uid: int) -> None:
    user_namespace.settle()
    syscalls.unshare(syscalls.CLONE_NEWNS)
    _build_environment(place, uid, lambda: user_namespace.become(uid), keep_proc=True)


def _build_environment(place: Path, uid: int, become: Callable[[], None], *, keep_proc: bool) -> None:
    syscalls.unshare(syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS)
    mounts.build(str(place), mounts.Template(), users=range(uid, uid + 1))
    mounts.seal(keep_proc=keep_proc)
    syscalls.unshare(syscalls.CLONE_NEWPID)

    def live() -> None:
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
        become()
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)

    failure = _in_child(live)
    if failure is not None:
        raise OSError(failure.number, failure.text)


def _in_child(attempt: Callable[[], None]) -> Failure | None:
    """Runs it in a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
            attempt()
        except OSError as error:
            os.write(writer, json.dumps([error.errno or 0, error.strerror or str(error)]).encode()[:4000])
        except BaseException as error:
            os.write(writer, json.dumps([0, repr(error)[:1000]]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return Failure(*json.loads(text)) if text else None
