"""Node.js functions' modules, compiled when a version is published instead of at each of its cold starts.

Node.js keeps what V8 has compiled in a compile cache of its own, but only of code that it has loaded, and nothing of a
function runs at publish. So `runtimes/node/compile.mjs` makes what it would hold, in an environment like a function's:
V8 reads a stranger's code there. What comes back is bytes that only this very code's environments will read; it is
stored beside the code, where they read and cannot write, and `runtimes/node/compile_cache.mjs` shows it to Node.js,
which compares it with the source before it uses it. A deployment never fails for it, and never waits for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import shutil
import socket
import stat
import struct
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from lambdad.execution.runtimes import catalog
from lambdad.execution.runtimes.interpreters import Interpreter
from lambdad.execution.spawner.client import LaunchError, LaunchPlan, SpawnerClient, SpawnerGone

logger = logging.getLogger(__name__)

VARIABLE: Final = "_LAMBDAD_COMPILED"
"""The environment variable that tells our Node.js bootstrap where in /var/task its function's cache is."""
FOLDER = ".lambdad"
"""In a code tree: a folder for each way in which the code is run."""
FIRST_NODE = (22, 10)
"""The first with what `compile.mjs` calls: `module.flushCompileCache`."""
WORTH_BYTES = 128 << 10
"""Less source than that loads as fast without (measured: docs/performance.md)."""
PATIENCE_S = 10.0
"""How long a deployment waits. Without a cache the code is compiled at cold starts."""
AT_ONCE = 1
MAX_BYTES = 96 << 20
MAX_ENTRIES = 10_001
KEPT = 4
"""Caches of one tree, the last made: for other memory sizes, layers and versions of Node.js."""

_FORM = 1
_MEMORY_MB = 1024
_TMP_MB = 64
_OURS = stat.S_ISVTX | 0o755
"""The mode of our folder. What is unpacked from an archive is never sticky, so no archive can bring one."""
_TAG = re.compile(r"v[0-9.]+-[a-z0-9]+-[0-9a-f]{8}")
_ENTRY = re.compile(r"[0-9a-f]{8}")
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How code is run, as far as it decides what V8 takes from a cache, and where Node.js looks for it."""

    runtime: str
    interpreter: Interpreter
    options: tuple[str, ...]
    """Of the interpreter: V8 does not take what was compiled under other flags."""
    task_dir: Path
    layer_dir: Path | None


class _Incomplete(Exception):
    """The compiler ended early, or told what it cannot have been asked for."""


class CompileCache:
    """Compiles each tree once for each way it is run."""

    def __init__(self, spawner: SpawnerClient, patience_s: float = PATIENCE_S) -> None:
        self._spawner = spawner
        self._patience_s = patience_s
        self._done: set[tuple[Path, str]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, way: Way) -> str:
        """Where the cache is, below the code's folder; empty if there is none."""
        name = self._name(way)
        folder = way.task_dir / FOLDER
        return f"{FOLDER}/{name}" if _is_ours(folder) and (folder / name).is_dir() else ""

    async def prepare(self, way: Way) -> None:
        """Returns when the cache is there, or is not worth it, or it takes too long."""
        if not way.runtime.startswith("nodejs") or way.interpreter.version < FIRST_NODE:
            return
        name = self._name(way)
        folder = way.task_dir / FOLDER
        try:
            async with asyncio.timeout(self._patience_s):
                async with self._places:
                    if self.find(way) or not await asyncio.to_thread(_is_worth_it, _module_directories(way), folder):
                        self._done.add((way.task_dir, name))
                        return
                    await self._compile(way, folder, name)
            self._done.add((way.task_dir, name))
        except (TimeoutError, _Incomplete, LaunchError, OSError) as error:
            reason = str(error) or f"it took longer than {self._patience_s:g} seconds"
            logger.warning("The Node.js code in %s could not be compiled ahead: %s", way.task_dir, reason)
        except SpawnerGone:
            return

    def prepare_later(self, way: Way) -> None:
        """The same in the background: for trees that were unpacked again, and after another Node.js was installed."""
        key = (way.task_dir, self._name(way))
        if key in self._done:
            return
        self._done.add(key)
        task = asyncio.get_running_loop().create_task(self.prepare(way))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compile(self, way: Way, folder: Path, name: str) -> None:
        ours, theirs = socket.socketpair()
        with ours:
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            try:
                process = await self._spawner.launch(self._plan(way, theirs.fileno(), nowhere))
            finally:
                theirs.close()
                os.close(nowhere)
            receiving = asyncio.ensure_future(asyncio.to_thread(_keep, ours, folder, name))
            try:
                await asyncio.shield(receiving)
            finally:
                # Its end is the end of what is received.
                process.release()
                with contextlib.suppress(_Incomplete, OSError):
                    await receiving

    def _plan(self, way: Way, frames_fd: int, log_fd: int) -> LaunchPlan:
        modules = ("/var/task",) if way.layer_dir is None else ("/var/task", "/opt/nodejs")
        return LaunchPlan(
            environment_id=uuid.uuid4().hex,
            runtime_kind="node",
            interpreter=way.interpreter.path,
            # Nothing that the function says about its Node.js, which could be to load a module.
            argv=(*way.options, "--experimental-vm-modules", "/var/runtime/compile.mjs", *modules),
            environ=catalog.common_environment(way.runtime),
            task_dir=str(way.task_dir),
            opt_dir=str(way.layer_dir or ""),
            memory_mb=_MEMORY_MB,
            tmp_mb=_TMP_MB,
            frames_fd=frames_fd,
            log_fd=log_fd,
            own_network=self._spawner.has_namespaces,
        )

    def _name(self, way: Way) -> str:
        """That of the cache's folder; another one whenever Node.js would not take what is in it."""
        try:
            program = os.stat(way.interpreter.path)
            build = (program.st_size, program.st_mtime_ns)
        except OSError:  # the launch tells
            build = (0, 0)
        parts = (
            _FORM,
            way.interpreter.path,
            build,
            way.options,
            way.layer_dir and way.layer_dir.name,
            # Entries are found by the paths of modules, which are the host's where there are no namespaces.
            "" if self._spawner.has_namespaces else (way.task_dir, way.layer_dir),
        )
        version = ".".join(map(str, way.interpreter.version))
        return f"{version}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def _module_directories(way: Way) -> list[Path]:
    return [way.task_dir] if way.layer_dir is None else [way.task_dir, way.layer_dir / "nodejs"]


def _is_worth_it(directories: Sequence[Path], folder: Path) -> bool:
    """Whether there is a good deal of JavaScript, and room for what is made of it."""
    if os.path.lexists(folder) and not _is_ours(folder):
        return False  # the archive's own
    found = 0
    for directory in directories:
        for place, _, files in os.walk(directory):
            for name in files:
                if name.endswith((".js", ".mjs", ".cjs")):
                    with contextlib.suppress(OSError):
                        found += os.lstat(os.path.join(place, name)).st_size
                    if found >= WORTH_BYTES:
                        return True
    return False


def _is_ours(folder: Path) -> bool:
    try:
        mode = os.lstat(folder).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and bool(mode & stat.S_ISVTX)


def _keep(sock: socket.socket, folder: Path, name: str) -> None:
    """Stores what the compiler tells, complete or not at all: environments may be looking."""
    if not _is_ours(folder):
        folder.mkdir()
        folder.chmod(_OURS)
    temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder))
    try:
        with sock.makefile("rb") as stream:
            if not _store(stream, temporary):
                return
        temporary.chmod(0o755)
        with contextlib.suppress(OSError):  # another one was faster
            temporary.rename(folder / name)
        _forget(folder, name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _store(stream: BinaryIO, place: Path) -> bool:
    """Whether it was not too much to be compiled. Names and sizes are checked: a stranger's code may have taken over
    who sends them."""
    left, entries = MAX_BYTES, 0
    kind, tag = _record(stream, left)
    if kind == "end":
        return False
    if kind != "tag" or not _TAG.fullmatch(tag.decode("ascii", "replace")):
        raise _Incomplete("nothing was compiled")
    target = place / tag.decode()
    target.mkdir()
    target.chmod(0o755)
    while True:
        kind, data = _record(stream, left)
        if kind == "end":
            return True
        left -= len(data)
        entries += 1
        if not _ENTRY.fullmatch(kind) or entries > MAX_ENTRIES:
            raise _Incomplete("the compiler's answer makes no sense")
        path = target / kind
        path.write_bytes(data)
        path.chmod(0o644)


def _record(stream: BinaryIO, limit: int) -> tuple[str, bytes]:
    name = _text(stream, 16)
    return name.decode("ascii", "replace"), _text(stream, limit)


def _text(stream: BinaryIO, limit: int) -> bytes:
    head = stream.read(_LENGTH.size)
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else limit + 1
    if length > limit:
        raise _Incomplete("the compiler ended early, or told too much")
    data = stream.read(length)
    if len(data) != length:
        raise _Incomplete("the compiler ended early")
    return data


def _forget(folder: Path, name: str) -> None:
    """Removes caches for other versions of the same Node.js, and the oldest of too many."""
    version = name.partition("-")[0]
    major = f"{version.partition('.')[0]}."
    others = [path for path in folder.iterdir() if path.name != name and not path.name.startswith(".")]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    old = [path for path in others if path.name.startswith(major) and not path.name.startswith(f"{version}-")]
    for path in {*old, *others[KEPT - 1 :]}:
        shutil.rmtree(path, ignore_errors=True)
