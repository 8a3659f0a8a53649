"""Program: compiles the modules below the directories it is given, for the interpreter that runs it.

/var/task is read-only, so a function could never keep what it compiled. The result is not checked against the source
when it is loaded (PEP 552, unchecked hash): archives carry times of all kinds, and code trees never change.
Only parses; nothing of the function is executed. Whatever cannot be compiled is left alone: importing it tells why.
Runs on Python 3.8 and newer.
"""

from __future__ import annotations

import contextlib
import importlib.util
import marshal
import os
import resource
import stat
import sys

MAX_SOURCE_BYTES = 4 << 20
MEMORY_BYTES = 1 << 30
CPU_S = 60
UNCHECKED = 1
"""The flag word of a .pyc whose hash nobody compares."""


def main(directories: list[str]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(5)
    os.umask(0o022)
    for directory in directories:
        for place, names, files in os.walk(directory):
            names[:] = [name for name in names if name not in ("__pycache__", "node_modules")]
            for name in files:
                if name.endswith(".py"):
                    with contextlib.suppress(Exception):
                        compile_module(place, name)


def compile_module(place: str, name: str) -> None:
    source_path = os.path.join(place, name)
    target = importlib.util.cache_from_source(source_path)
    if os.path.lexists(target) and is_lasting(target):
        return
    source = read(source_path)
    code = compile(source, source_path, "exec", dont_inherit=True)
    data = importlib.util.MAGIC_NUMBER + UNCHECKED.to_bytes(4, "little") + importlib.util.source_hash(source)
    write(target, data + marshal.dumps(code))


def is_lasting(path: str) -> bool:
    """Whether it needs no comparison with times that the archive may not have kept."""
    with open(path, "rb") as file:
        head = file.read(8)
    return head[:4] == importlib.util.MAGIC_NUMBER and int.from_bytes(head[4:8], "little") & UNCHECKED != 0


def read(path: str) -> bytes:
    """The bytes of a regular file, never what a link leads to."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SOURCE_BYTES:
            raise ValueError(path)
        return file.read()


def write(path: str, data: bytes) -> None:
    """Complete or not at all: environments may be looking."""
    folder = os.path.dirname(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise ValueError(folder)
    temporary = f"{path}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


if __name__ == "__main__":
    sys.setrecursionlimit(5000)
    main(sys.argv[1:])
