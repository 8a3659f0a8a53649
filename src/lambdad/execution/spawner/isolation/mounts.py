"""The template root: what every environment of one interpreter sees, built once, copied with the mount namespace.

Programs and libraries come from the host, read-only and without set-user-id; of /etc only what name lookups, TLS and
the loader need. Code, layers, /tmp and /proc are attached for each environment by its supervisor. As on AWS there is
no /dev/shm, so semaphores and pools of `multiprocessing` fail here as they do there.
"""

from __future__ import annotations

import functools
import glob
import os
import shutil
from dataclasses import dataclass, field

from . import syscalls

READ_ONLY = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
OWN_CODE = "/run/lambdad"
"""Where a Python zygote finds the spawner's code; it is gone before the first environment is made."""
USER_NAME = "sbx_user1051"
"""The user that functions run as (AWS: recorded)."""

_TOP_LEVEL = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_STORES = ("/nix/store", "/gnu/store")
_ETC = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "gai.conf",
    "host.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "os-release",
    "pki",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
)
_DEVICES = ("null", "zero", "full", "random", "urandom")
_SYSTEM_PREFIXES = ("/usr", "/usr/local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What makes one template differ from another."""

    interpreter: str = ""
    """Host path of the program under /var/lang/bin; empty for none."""
    is_python: bool = False
    runtime_files: dict[str, str] = field(default_factory=dict)
    """Host path of each entry of /var/runtime, by name."""
    own_code: str = ""
    """Directory of the spawner's package, if a zygote has to load it."""


def build(place: str, template: Template, *, users: range) -> None:
    """Builds the root over the directory `place` and makes it this process's own; in a mount namespace of its own."""
    syscalls.mount("lambdad", place, "tmpfs", syscalls.MS_NOSUID, "mode=755,size=16m")
    os.umask(0o022)
    for path in (
        "etc",
        "dev",
        "proc",
        "run",
        "sys",
        "tmp",
        "opt",
        "var/task",
        "var/runtime",
        "var/tmp",
        "var/lang/bin",
    ):
        os.makedirs(f"{place}/{path}")
    os.chmod(f"{place}/tmp", 0o1777)  # noqa: S103, S108 - a mount point
    _add_system(place)
    _add_etc(place, users)
    _add_devices(place)
    if template.interpreter:
        _add_interpreter(place, template)
    for name, source in template.runtime_files.items():
        _add(source, f"{place}/var/runtime/{name}")
    if template.own_code:
        _add(template.own_code, f"{place}{OWN_CODE}/lambdad_spawner")
    syscalls.mount("proc", f"{place}/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    os.chdir(place)
    syscalls.pivot_root(".", ".")
    syscalls.unmount(".")
    os.chdir("/")


def seal(*, keep_proc: bool) -> None:
    """Makes the root itself read-only, once the zygote is ready.

    In a user namespace the kernel lets an environment mount its /proc only where there is one already.
    """
    if not keep_proc:
        syscalls.unmount("/proc")
    syscalls.mount("", "/", "", syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY)


def _add(source: str, target: str, attributes: int = READ_ONLY) -> None:
    """Shows the host's file or directory `source` at `target`."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "x"):
            pass
    tree = syscalls.open_tree(source, attributes, recursive=os.path.isdir(source))
    try:
        syscalls.move_mount(tree, target)
    finally:
        os.close(tree)


def _add_system(place: str) -> None:
    _add("/usr", f"{place}/usr")
    for name in _TOP_LEVEL:
        path = f"/{name}"
        if os.path.islink(path):
            os.symlink(os.readlink(path), place + path)
        elif os.path.isdir(path):
            _add(path, place + path)
    for store in _STORES:
        if os.path.isdir(store):
            _add(store, place + store)


def _add_etc(place: str, users: range) -> None:
    with open(f"{place}/etc/hosts", "w") as hosts:
        hosts.write(hosts_text("127.0.0.1"))
    for name in _ETC:
        source = os.path.realpath(f"/etc/{name}")
        target = f"{place}/etc/{name}"
        if os.path.isdir(source) or name == "resolv.conf":
            if os.path.exists(source):
                _add(source, target)
        elif os.path.isfile(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
    # Each environment has a user id of its own, and the same name for it.
    user = f"{USER_NAME}:x:{{0}}:{{0}}::/home/{USER_NAME}:/sbin/nologin\n"
    with open(f"{place}/etc/passwd", "w") as passwd:
        passwd.write("root:x:0:0:root:/root:/sbin/nologin\n" + "".join(map(user.format, users)))
    group = f"{USER_NAME}:x:{{0}}:\n"
    with open(f"{place}/etc/group", "w") as groups:
        groups.write("root:x:0:\n" + "".join(map(group.format, users)))


def hosts_text(sandbox_address: str) -> str:
    """The host's /etc/hosts, and the name under which an environment reaches itself (AWS Lambda developer guide)."""
    try:
        with open("/etc/hosts") as hosts:
            text = hosts.read()
    except OSError:
        text = "127.0.0.1 localhost\n"
    return f"{text.rstrip()}\n{sandbox_address} sandbox.localdomain sandbox\n"


def _add_devices(place: str) -> None:
    without_devices = syscalls.MOUNT_ATTR_NOSUID
    for name in _DEVICES:
        _add(f"/dev/{name}", f"{place}/dev/{name}", without_devices)
    for name, target in {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}.items():
        os.symlink(f"/proc/self/{target}", f"{place}/dev/{name}")


def _add_interpreter(place: str, template: Template) -> None:
    """Puts the interpreter under /var/lang, where AWS has it and where tracebacks are expected to show it."""
    program = os.path.realpath(template.interpreter)
    prefix = os.path.dirname(os.path.dirname(program))
    name = os.path.basename(program)
    lang = f"{place}/var/lang"
    if prefix in _SYSTEM_PREFIXES or not template.is_python:
        _add(program, f"{lang}/bin/{name}")
        if template.is_python:
            _add(f"{prefix}/lib/{name}", f"{lang}/lib/{name}")
    else:
        _add(prefix, lang)
        # A shared libpython is looked for where it was installed.
        for library in glob.glob(f"{prefix}/lib/libpython*.so*"):
            _add(library, place + library)
    if template.is_python:
        packages = f"{lang}/lib/{name}/site-packages"
        if os.path.isdir(packages):
            empty = f"{place}/run/empty"
            os.makedirs(empty, exist_ok=True)
            _add(empty, packages)
    elif name != "node" and not os.path.exists(f"{lang}/bin/node"):
        os.symlink(name, f"{lang}/bin/node")


@functools.lru_cache(maxsize=64)
def interpreter_inside(interpreter: str) -> str:
    """Where a program of the host is found in its template root."""
    return f"/var/lang/bin/{os.path.basename(os.path.realpath(interpreter))}"
