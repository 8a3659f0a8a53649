"""Linux system calls that the standard library lacks, by ctypes.

Also loaded by zygotes, so it runs on every Python that a function may run on (3.8 and newer). Failures raise OSError
with the call's name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522

# Numbers given out since Linux 5.2 are the same on every architecture; older ones are not.
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_CLOSE_RANGE = 436
_MOUNT_SETATTR = 442
_CLONE3 = 435
_CLONE = {"x86_64": 56, "aarch64": 220}
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CLONE_INTO_CGROUP = 0x200000000
_MACHINE = os.uname().machine

_libc = ctypes.CDLL(None, use_errno=True)
_libc_held = ctypes.PyDLL(None, use_errno=True)
"""The same, without letting go of the interpreter's lock."""


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


class _CloneArguments(ctypes.Structure):
    """Of clone3, up to the descriptor of a control group."""

    _fields_ = [
        ("flags", ctypes.c_uint64),
        ("pidfd", ctypes.c_uint64),
        ("child_tid", ctypes.c_uint64),
        ("parent_tid", ctypes.c_uint64),
        ("exit_signal", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("stack_size", ctypes.c_uint64),
        ("tls", ctypes.c_uint64),
        ("set_tid", ctypes.c_uint64),
        ("set_tid_size", ctypes.c_uint64),
        ("cgroup", ctypes.c_uint64),
    ]


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _SockFilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _check(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(name: str, number: int, *arguments: object) -> int:
    """Calls by number; `name` is for the error."""
    return _check(int(_libc.syscall(ctypes.c_long(number), *arguments)), name)


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def fork(namespaces: int = 0, *, group: int = -1) -> int:
    """As os.fork, in new namespaces (CLONE_NEW*) and in the control group whose directory `group` is (version 2).

    For single-threaded processes that go on with code of ours alone: nothing of what the C library and the interpreter
    do in a child is done (new random numbers, the standard library's locks, the thread's id), and none of the memory
    copied that this takes, which is most of the time of a fork. What the child forks itself by os.fork has all of it.
    A group is entered at birth, because moving there later waits for every processor. Raises OSError.
    """
    member = -1
    if group >= 0:
        wanted = _CloneArguments(flags=namespaces | _CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD, cgroup=group)
        size = ctypes.c_size_t(ctypes.sizeof(wanted))
        try:
            return _check(int(_libc_held.syscall(ctypes.c_long(_CLONE3), ctypes.byref(wanted), size)), "clone3")
        except OSError as error:
            # Linux before 5.7, or a container's filter, which says so of calls that it does not know.
            if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.E2BIG):
                raise
        member = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=group)
    pid = _clone(namespaces)
    if member >= 0:
        if pid == 0:
            os.write(member, b"0")
        os.close(member)
    return pid


def _clone(namespaces: int) -> int:
    number = _CLONE.get(_MACHINE)
    if number is None:
        if namespaces:
            raise OSError(errno.ENOSYS, f"clone: not known for {_MACHINE}")
        return os.fork()
    nothing = ctypes.c_long(0)
    flags = ctypes.c_long(namespaces | signal.SIGCHLD)
    result = _libc_held.syscall(ctypes.c_long(number), flags, nothing, nothing, nothing, nothing)
    return _check(int(result), "clone")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2); empty texts are passed as NULL."""
    arguments = [os.fsencode(text) if text else None for text in (source, target, kind)]
    result = _libc.mount(*arguments, ctypes.c_ulong(flags), os.fsencode(data) if data else None)
    _check(result, f"mount {target}")


def bind(source: str, target: str, flags: int = 0) -> None:
    """Binds `source` on `target` and gives the new mount the flags, which a bind alone ignores."""
    mount(source, target, "", MS_BIND | MS_REC)
    if flags:
        mount("", target, "", MS_BIND | MS_REMOUNT | flags)


def unmount(target: str) -> None:
    """Detaches what is mounted on `target`, even if it is busy."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    syscall("pivot_root", _PIVOT_ROOT[_MACHINE], os.fsencode(new_root), os.fsencode(put_old))


def open_tree(path: str, attributes: int, *, recursive: bool = False) -> int:
    """A detached copy of the mount that holds `path`, rooted there, with `attributes` (MOUNT_ATTR_*) set.

    The descriptor can be passed to another process and attached there by `move_mount`, in a root where `path` does
    not exist. Mounts below `path` are only taken along if `recursive`. Needs Linux 5.12.
    """
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    descriptor = syscall("open_tree", _OPEN_TREE, ctypes.c_int(_AT_FDCWD), os.fsencode(path), ctypes.c_uint(flags))
    if attributes:
        wanted = _MountAttr(attr_set=attributes)
        try:
            syscall(
                "mount_setattr",
                _MOUNT_SETATTR,
                ctypes.c_int(descriptor),
                b"",
                ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE),
                ctypes.byref(wanted),
                ctypes.c_size_t(ctypes.sizeof(wanted)),
            )
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def move_mount(descriptor: int, target: str) -> None:
    """Attaches a detached mount on `target`."""
    syscall(
        "move_mount",
        _MOVE_MOUNT,
        ctypes.c_int(descriptor),
        b"",
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
    )


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """Closes every descriptor from `first` to `last`."""
    try:
        syscall("close_range", _CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), ctypes.c_uint(0))
    except OSError:  # Linux before 5.9
        os.closerange(first, min(last, 4095) + 1)


def prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl")


def set_seccomp_filter(program: bytes) -> None:
    """Installs a classic BPF program (8 bytes an instruction) for this process and all it starts, for good."""
    holder = _SockFilterProgram(len(program) // 8, program)
    result = _libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(holder), 0, 0)
    _check(result, "seccomp")


def drop_capabilities() -> None:
    """Gives up every capability, and that any program could give one back."""
    for number in range(64):
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError:  # past the last one that the kernel knows
            break
    nothing = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice
    header = _CapabilityHeader(version=_CAPABILITY_VERSION_3)
    _check(_libc.capset(ctypes.byref(header), nothing), "capset")
