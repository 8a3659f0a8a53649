"""Code archives by their SHA-256, and their unpacked trees.

`packages/<hex>.zip` is on disk, with its folder, before a row refers to it. `unpacked/<hex>/` is made from it under
another name and renamed when complete; it is only a cache and is not synced, so a restart of the machine begins with
an empty one. The layers of a function are merged into one such tree, so that every kind of isolation shows it them in
the same way. Everything here runs on threads of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import hashlib
import io
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.layers import merged_sha256
from lambdad.storage.engine import StorageFull
from lambdad.storage.trees import lay
from lambdad.storage.unpacking import unpack, unzipped_size

T = TypeVar("T")

THREADS = 2
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_BOOT_FILE = ".boot"
_TEMPORARY = ".tmp-"


@dataclass(frozen=True, slots=True)
class Package:
    """An archive: the base64 of its SHA-256, as AWS prints it, its bytes, and those of the files in it."""

    code_sha256: str
    size: int
    unzipped_size: int


class PackageStore:
    """The archives of one data folder. Make it with `open`."""

    def __init__(self, folder: Path) -> None:
        self._archives = folder / "packages"
        self._trees = folder / "unpacked"
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="lambdad-packages")
        self._ready: dict[str, Path] = {}
        self._making: dict[str, asyncio.Task[None]] = {}
        self._pins: Counter[str] = Counter()
        self._added_since_collection: set[str] = set()

    @classmethod
    async def open(cls, folder: Path) -> PackageStore:
        """Makes the folders and removes what an earlier server left half done."""
        store = cls(folder)
        await store._run(store._prepare_folders)
        return store

    @asynccontextmanager
    async def added(self, archive: bytes) -> AsyncIterator[Package]:
        """Checks, stores and unpacks an archive; it is safe from `collect` until the block ends.

        Raises InvalidParameterValue in AWS's words for archives that cannot be taken, and StorageFull.
        """
        _check_not_empty(archive)
        code_sha256 = await self._run(lambda: _code_sha256(archive))
        name = _hex(code_sha256)
        self._pins[name] += 1
        self._added_since_collection.add(name)
        try:
            unzipped_bytes = await self._run(lambda: self._add(name, archive))
            self._ready[name] = self._trees / name
            yield Package(code_sha256, len(archive), unzipped_bytes)
        finally:
            self._pins[name] -= 1
            if not self._pins[name]:
                del self._pins[name]

    async def check(self, archive: bytes) -> Package:
        """The same checks without storing anything."""
        _check_not_empty(archive)

        def checked() -> Package:
            return Package(_code_sha256(archive), len(archive), unpack(io.BytesIO(archive), None))

        return await self._run(checked)

    async def tree(self, code_sha256: str) -> Path:
        """The folder with the unpacked code; unpacks the stored archive if that is not done yet.

        Raises FileNotFoundError when there is no such archive.
        """
        name = _hex(code_sha256)
        return await self._once(name, lambda: self._unpack_stored(name))

    async def merged_tree(self, archives: Sequence[str]) -> Path:
        """The folder with the unpacked archives (by code_sha256) over each other; later ones win.

        Raises FileNotFoundError when one of them is missing.
        """
        if len(archives) == 1:
            return await self.tree(archives[0])
        name = _hex(merged_sha256(archives))
        return await self._once(name, lambda: self._merge(name, archives))

    async def unzipped_size(self, code_sha256: str) -> int:
        """Bytes of the files of a stored archive. Raises FileNotFoundError when there is no such archive."""

        def measured() -> int:
            with self._archive(_hex(code_sha256)).open("rb") as archive:
                return unzipped_size(archive)

        return await self._run(measured)

    async def read(self, code_sha256: str) -> bytes:
        """The archive itself. Raises FileNotFoundError when there is none."""
        return await self._run(self._archive(_hex(code_sha256)).read_bytes)

    async def collect(
        self, in_use: Callable[[], Awaitable[set[str]]], *, busy: Callable[[str], bool] = lambda _: False
    ) -> int:
        """Removes the archives and trees that nothing needs; returns how many archives went.

        `in_use` gives the code_sha256 that rows refer to; `busy` tells of one whether something still runs from it.
        """
        self._added_since_collection = set(self._pins)
        present = await self._run(self._present)
        # Asked for after the listing: what is added from now on is in `_added_since_collection`.
        needed = {_hex(code_sha256) for code_sha256 in await in_use()}
        removed = 0
        for name in sorted(present - needed):
            if name in self._pins or name in self._added_since_collection or busy(_base64(name)):
                continue
            self._ready.pop(name, None)
            await self._run(lambda name=name: self._remove(name))  # type: ignore[misc]
            removed += 1
        return removed

    def close(self) -> None:
        """Waits for what is being written."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    # --- on the threads ---

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _storage_errors, call)

    def _prepare_folders(self) -> None:
        self._archives.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._forget_trees_of_another_boot()
        for folder in (self._archives, self._trees):
            for leftover in folder.glob(f"{_TEMPORARY}*"):
                _remove_all(leftover)

    def _forget_trees_of_another_boot(self) -> None:
        boot = _BOOT_ID.read_text() if _BOOT_ID.exists() else ""
        marker = self._trees / _BOOT_FILE
        self._trees.mkdir(exist_ok=True)
        self._trees.chmod(0o755)
        if boot and marker.exists() and marker.read_text() == boot:
            return
        for tree in self._trees.iterdir():
            _remove_all(tree)
        with contextlib.suppress(OSError):  # on a full disk the server starts all the same, so that users can clean up
            marker.write_text(boot)

    def _add(self, name: str, archive: bytes) -> int:
        # Unpacked first: a bad archive is never stored.
        self._unpack(name, io.BytesIO(archive))
        self._write_archive(name, archive)
        return unzipped_size(io.BytesIO(archive))

    def _write_archive(self, name: str, archive: bytes) -> None:
        path = self._archive(name)
        if path.exists():  # complete, since it got its name after it was synced; its name itself may not be
            _sync_folder(self._archives)
            return
        descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=self._archives)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(archive)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        _sync_folder(self._archives)

    async def _once(self, name: str, make: Callable[[], Coroutine[Any, Any, None]]) -> Path:
        """The tree of this name; whoever comes while it is being made waits for it."""
        ready = self._ready.get(name)
        if ready is not None:
            return ready
        task = self._making.get(name)
        if task is None:
            task = asyncio.create_task(make())
            self._making[name] = task
            task.add_done_callback(lambda _: self._making.pop(name, None))
        await asyncio.shield(task)
        return self._ready.setdefault(name, self._trees / name)

    async def _unpack_stored(self, name: str) -> None:
        def unpack_archive() -> None:
            with self._archive(name).open("rb") as archive:
                self._unpack(name, archive)

        await self._run(unpack_archive)

    async def _merge(self, name: str, archives: Sequence[str]) -> None:
        trees = [await self.tree(code_sha256) for code_sha256 in archives]

        def lay_over(target: Path) -> None:
            for tree in trees:
                lay(tree, target)

        await self._run(lambda: self._make_tree(name, lay_over))

    def _unpack(self, name: str, archive: IO[bytes]) -> None:
        self._make_tree(name, lambda target: unpack(archive, target))

    def _make_tree(self, name: str, fill: Callable[[Path], object]) -> None:
        tree = self._trees / name
        if tree.exists():
            return
        temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._trees))
        try:
            fill(temporary)
            temporary.chmod(0o755)
            try:
                temporary.rename(tree)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another thread was faster
                    raise
        finally:
            if temporary.exists():
                _remove_all(temporary)

    def _present(self) -> set[str]:
        archives = {path.stem for path in self._archives.glob("*.zip")}
        return archives | {path.name for path in self._trees.iterdir() if not path.name.startswith(".")}

    def _remove(self, name: str) -> None:
        tree = self._trees / name
        if tree.exists():
            # Under another name first, so that a tree with a good name is always complete.
            going = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._trees))
            tree.rename(going / name)
            _remove_all(going)
        self._archive(name).unlink(missing_ok=True)

    def _archive(self, name: str) -> Path:
        return self._archives / f"{name}.zip"


def _check_not_empty(archive: bytes) -> None:
    if not archive:
        raise InvalidParameterValue("Uploaded file must be a non-empty zip")


def _code_sha256(archive: bytes) -> str:
    return base64.b64encode(hashlib.sha256(archive).digest()).decode("ascii")


def _hex(code_sha256: str) -> str:
    return base64.b64decode(code_sha256).hex()


def _base64(name: str) -> str:
    return base64.b64encode(bytes.fromhex(name)).decode("ascii")


def _remove_all(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_errors(call: Callable[[], T]) -> T:
    try:
        return call()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull(
                "The disk of the data folder is full: nothing was stored. Free some space, then try again."
            ) from error
        raise
