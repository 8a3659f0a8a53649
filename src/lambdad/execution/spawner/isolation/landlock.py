"""Landlock: a process gives up, for itself and all that it starts, every file that it does not name.

Needs no privileges and no namespaces. What a kernel's version of it (its ABI) does not know is left out, so an older
one stops less: see `version`. Paths are followed when a rule is made and must not be replaced afterwards.
Runs on Python 3.8 and newer: zygotes load it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from typing import TYPE_CHECKING

from . import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterable

SIGNALS_ABI = 6
"""From here on signals to processes outside and abstract sockets of others are refused too (Linux 6.12)."""

_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15
_FILES_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""The rights over files that a version handles: all bits below its newest one."""
_SCOPE_ABSTRACT_SOCKETS = 1 << 0
_SCOPE_SIGNALS = 1 << 1

_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""The rights that make sense for what is no directory; the kernel refuses a rule with any other."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1


class _RulesetAttr(ctypes.Structure):
    _fields_ = [
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


_ATTR_SIZES = {1: 8, 4: 16, 6: 24}


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def version() -> int:
    """The kernel's ABI. Raises OSError: ENOSYS without Landlock, EOPNOTSUPP when it was not enabled at boot."""
    return syscalls.syscall(
        "landlock_create_ruleset", _CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)
    )


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """From now on only `readable` can be read and executed, only `writable` changed, each with all below it.

    Paths that are not there, or that this user cannot get to, are left out: they are refused then. Needs
    no_new_privs. Processes that are not restricted with this one cannot be traced any more, nor, where the kernel
    can tell, be sent signals, nor their abstract sockets be reached.
    """
    abi = version()
    handled = _at_or_below(_FILES_BY_ABI, abi)
    ruleset = _create(abi, handled)
    try:
        for path in readable:
            _allow(ruleset, path, _READ)
        for path in writable:
            _allow(ruleset, path, handled & ~_IOCTL_DEV)
        _enter(ruleset)
    finally:
        os.close(ruleset)


def scope() -> None:
    """Only cuts off signals to processes outside and abstract sockets of others; nothing where it cannot be done."""
    with contextlib.suppress(OSError):
        abi = version()
        if abi >= SIGNALS_ABI:
            ruleset = _create(abi, 0)
            try:
                _enter(ruleset)
            finally:
                os.close(ruleset)


def _at_or_below(table: dict[int, int], abi: int) -> int:
    return table[max(key for key in table if key <= abi)]


def _create(abi: int, files: int) -> int:
    attributes = _RulesetAttr(handled_access_fs=files)
    if abi >= SIGNALS_ABI:
        attributes.scoped = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS
    size = ctypes.c_size_t(_at_or_below(_ATTR_SIZES, abi))
    return syscalls.syscall(
        "landlock_create_ruleset", _CREATE_RULESET, ctypes.byref(attributes), size, ctypes.c_uint32(0)
    )


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            return
        raise
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            access &= _OF_FILES
        rule = _PathBeneathAttr(allowed_access=access, parent_fd=place)
        syscalls.syscall(
            "landlock_add_rule",
            _ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
    finally:
        os.close(place)


def _enter(ruleset: int) -> None:
    syscalls.syscall("landlock_restrict_self", _RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
