"""What environments of tier T1 can get to: paths for Landlock, and copies of what their own users could not reach.

Without mounts a function uses the host's paths. Where it has a user of its own, every directory above its code has to
let that user through; a data folder in root's home does not. Such trees are linked, or copied, into the spawner's
directory, which does.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import stat
from collections import OrderedDict
from pathlib import Path

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store")
_ETC = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "gai.conf",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
)
_PROC = (
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "sys/kernel",
    "sys/vm",
    "uptime",
    "version",
)
"""Of /proc, beside the process's own directory: what tells of the machine and of no process."""
_DEVICES = ("null", "zero", "full", "random", "urandom")
_KEPT_COPIES = 32


class SystemPaths:
    """What every environment can read, and the devices that it can write to."""

    def __init__(self) -> None:
        self.readable = [*SYSTEM, *(f"/etc/{name}" for name in _ETC)]
        proc = [f"/proc/{name}" for name in _PROC if os.path.exists(f"/proc/{name}")]
        self.readable += [*proc, "/proc/self"]
        self.writable = [f"/dev/{name}" for name in _DEVICES]
        # A rule is bound to what the kernel has cached of these, which it forgets unless somebody holds it.
        self._held = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in proc]

    def close(self) -> None:
        for descriptor in self._held:
            os.close(descriptor)


def interpreter_paths(interpreter: str, *, is_python: bool) -> list[str]:
    """The program and, for Python, its libraries: not the whole prefix, which may be a home directory."""
    if not interpreter:
        return []
    program = os.path.realpath(interpreter)
    paths = [interpreter, program]
    if is_python:
        prefix, name = os.path.dirname(os.path.dirname(program)), os.path.basename(program)
        paths += [f"{prefix}/lib/{name}", *glob.glob(f"{prefix}/lib/libpython*.so*")]
    return paths


def is_open_to_all(path: str) -> bool:
    """Whether every user can get to `path` through the directories above it."""
    whole = Path(os.path.realpath(path))
    return all(_mode(directory) & stat.S_IXOTH for directory in whole.parents)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


class Copies:
    """Trees that only root can get to, once more where everybody can; those used last are kept."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._kept: OrderedDict[str, Path] = OrderedDict()
        self._holders: dict[str, set[str]] = {}
        self._made = 0

    def shown(self, path: str, holder: str) -> str:
        """`path` itself if everybody can get to it, else its copy, which stays at least until `release`.

        Raises OSError when there is no room for one.
        """
        if is_open_to_all(path):
            return path
        copy = self._kept.get(path)
        if copy is None:
            copy = self._kept[path] = self._make(path)
        self._kept.move_to_end(path)
        self._holders.setdefault(path, set()).add(holder)
        self._forget()
        return str(copy)

    def release(self, holder: str) -> None:
        for holders in self._holders.values():
            holders.discard(holder)

    def _make(self, path: str) -> Path:
        self._place.mkdir(exist_ok=True)
        self._place.chmod(0o711)
        self._made += 1
        target = self._place / str(self._made)
        if os.path.isdir(path):
            shutil.copytree(path, target, symlinks=True, copy_function=_link_or_copy)
        else:
            _link_or_copy(path, str(target))
        return target

    def _forget(self) -> None:
        for path, copy in list(self._kept.items())[:-_KEPT_COPIES]:
            if not self._holders.get(path):
                del self._kept[path]
                self._holders.pop(path, None)
                shutil.rmtree(copy, ignore_errors=True)


class Reach:
    """What Landlock is told for each environment; None of it exists on other tiers."""

    def __init__(self, place: Path, *, users: bool) -> None:
        self.system = SystemPaths()
        self._copies = Copies(place / "copies") if users else None

    def shown(self, path: str, holder: str = "the spawner") -> str:
        """Where the environment `holder` finds `path`."""
        return self._copies.shown(path, holder) if self._copies is not None else path

    def release(self, holder: str) -> None:
        if self._copies is not None:
            self._copies.release(holder)

    def check_interpreter(self, interpreter: str) -> None:
        """Raises PermissionError if environments cannot get to it: an installation is not copied."""
        if self._copies is not None and interpreter and not is_open_to_all(interpreter):
            raise PermissionError(
                errno.EACCES,
                f"{interpreter} lies in a folder that only root can enter, and functions have users of their own here: "
                "install it for all users, or name another one with --python or --node",
            )


def _link_or_copy(source: str, target: str) -> str:
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return target
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
