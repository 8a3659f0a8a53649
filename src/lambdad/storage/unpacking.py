"""Unpacking of deployment packages: zip files of strangers.

Nothing is written outside the target, no entry is trusted about its size, and what an archive may cost is bounded
before and while it is unpacked. Sizes and texts: AWS, recorded 2025-11.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.layers import MAX_UNZIPPED_BYTES

MAX_ENTRIES = 100_000
"""Files and folders of one archive, also folders that only occur in the paths of files. AWS prints no such limit."""
MAX_DEPTH = 100
"""Folders inside each other; deeper trees can hardly be removed again."""
MAX_LINK_BYTES = 4096
CHUNK_BYTES = 256 * 1024

CANNOT_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."
_ENCRYPTED = 0x1
_UNIX = 3
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_DIRECTORY_SIGNATURE = b"PK\x01\x02"
_DRIVE = re.compile(r"[A-Za-z]:")
# What the file system itself says about a path that cannot be made.
_BAD_PATH = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.EINVAL, errno.EILSEQ)
# zipfile's own ways of saying that an archive is broken; RuntimeError and NotImplementedError are for methods and
# versions that it does not know.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, RuntimeError, NotImplementedError)


class BadPackage(InvalidParameterValue):
    """The archive is not one that can be unpacked."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"{CANNOT_UNZIP} {detail}".strip())


class PackageTooLarge(InvalidParameterValue):
    """The files of the archive pass the limit."""

    def __init__(self, limit: int = MAX_UNZIPPED_BYTES) -> None:
        super().__init__(f"Unzipped size must be smaller than {limit} bytes")


@dataclass(slots=True)
class _Entry:
    info: zipfile.ZipInfo
    path: str
    """Relative, normalised, without a slash at the end."""
    kind: int
    """S_IFREG, S_IFDIR or S_IFLNK."""
    mode: int


def unpack(archive: IO[bytes], target: Path | None, *, limit: int = MAX_UNZIPPED_BYTES) -> int:
    """Unpacks a zip file into `target`, an empty folder; with None it is only read and checked. Blocking.

    Files keep whether they may be executed and become readable for all (0644 or 0755). Symbolic links stay when they
    lead to something inside. Of files with the same name the last one counts, as with unzip. Returns the bytes
    written. Raises BadPackage or PackageTooLarge; what was written until then is the caller's to remove.
    """
    _check_size_of_directory(archive)
    try:
        with zipfile.ZipFile(archive) as package:
            entries = _entries(package)
            _check_overlaps(package, archive)
            return _Unpacker(package, target, limit).run(entries)
    except _BROKEN as error:
        raise BadPackage from error
    except OSError as error:
        if error.errno in _BAD_PATH:
            raise BadPackage("A file name in it cannot be used, or two entries need the same path.") from error
        raise


def unzipped_size(archive: IO[bytes]) -> int:
    """Bytes of the files in an archive that can be unpacked, as its directory has them. Blocking."""
    with zipfile.ZipFile(archive) as package:
        return sum(info.file_size for info in package.infolist())


def _check_size_of_directory(archive: IO[bytes]) -> None:
    """Refuses a directory with far too many entries before zipfile makes an object of each."""
    found, tail = 0, b""
    archive.seek(0)
    while chunk := archive.read(1 << 20):
        found += (tail + chunk).count(_DIRECTORY_SIGNATURE)
        tail = chunk[-(len(_DIRECTORY_SIGNATURE) - 1) :]
    if found > 2 * MAX_ENTRIES:  # twice, since a package may hold other archives, not compressed
        raise BadPackage(f"It has more than {MAX_ENTRIES} entries.")


def _entries(package: zipfile.ZipFile) -> list[_Entry]:
    infos = package.infolist()
    if not infos:
        raise InvalidParameterValue("Uploaded file must be a non-empty zip")
    if len(infos) > MAX_ENTRIES:
        raise BadPackage(f"It has more than {MAX_ENTRIES} entries.")
    return [entry for entry in map(_entry, infos) if entry.path]


def _entry(info: zipfile.ZipInfo) -> _Entry:
    name = info.orig_filename  # `filename` is already cut at a NUL
    shown = ascii(name[:200])
    if info.flag_bits & _ENCRYPTED:
        raise BadPackage(f"The entry {shown} is encrypted.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadPackage(f"The entry {shown} is compressed in a way other than deflate.")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not name or "\0" in name or "\\" in name or name.startswith("/") or _DRIVE.match(name) or ".." in parts:
        raise BadPackage(f"The entry {shown} has a path that does not stay in the package.")
    if len(parts) > MAX_DEPTH:
        raise BadPackage(f"The entry {shown} is more than {MAX_DEPTH} folders deep.")
    mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    kind = stat.S_IFMT(mode) or (stat.S_IFDIR if name.endswith("/") else stat.S_IFREG)
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise BadPackage(f"The entry {shown} is neither a file nor a folder nor a link.")
    if name.endswith("/"):
        kind = stat.S_IFDIR
    return _Entry(info, "/".join(parts), kind, 0o755 if mode & 0o111 else 0o644)


def _check_overlaps(package: zipfile.ZipFile, archive: IO[bytes]) -> None:
    """Refuses archives in which entries share bytes: the trick of zip bombs that inflate one stream many times."""
    end = package.start_dir
    for info in sorted(package.infolist(), key=lambda info: info.header_offset, reverse=True):
        archive.seek(info.header_offset)
        header = archive.read(_LOCAL_HEADER.size)
        signature, *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        data_end = info.header_offset + len(header) + name_length + extra_length + info.compress_size
        if signature != b"PK\x03\x04":
            raise BadPackage
        if data_end > end:
            raise BadPackage("Its entries overlap.")
        end = info.header_offset


class _Unpacker:
    def __init__(self, package: zipfile.ZipFile, target: Path | None, limit: int) -> None:
        self._package = package
        self._target = target
        self._limit = limit
        self._bytes = 0
        self._folders: set[str] = {""}

    def run(self, entries: list[_Entry]) -> int:
        links = {entry.path: entry for entry in entries if entry.kind == stat.S_IFLNK}
        for entry in entries:
            self._check_parents(entry, links)
        for entry in entries:
            if entry.kind == stat.S_IFDIR:
                self._make_folder(entry.path)
            elif entry.kind == stat.S_IFREG:
                self._make_folder(entry.path.rpartition("/")[0])
                self._write_file(entry)
        # Links come last, so that nothing can be written through one.
        for entry in links.values():
            self._make_folder(entry.path.rpartition("/")[0])
            self._make_link(entry)
        self._check_links(links)
        return self._bytes

    def _check_parents(self, entry: _Entry, links: dict[str, _Entry]) -> None:
        if not links:
            return
        parent = entry.path if entry.kind != stat.S_IFLNK else entry.path.rpartition("/")[0]
        while parent:
            if parent in links:
                raise BadPackage(f"The entry {entry.path[:200]!a} would be written through a symbolic link.")
            parent = parent.rpartition("/")[0]

    def _make_folder(self, path: str) -> None:
        missing = []
        while path not in self._folders:
            missing.append(path)
            self._folders.add(path)
            path = path.rpartition("/")[0]
        if len(self._folders) > MAX_ENTRIES:
            raise BadPackage(f"It has more than {MAX_ENTRIES} folders.")
        if self._target is not None:
            for folder in reversed(missing):
                full = self._target / folder
                with contextlib.suppress(FileExistsError):
                    full.mkdir()
                if not stat.S_ISDIR(os.lstat(full).st_mode):
                    raise BadPackage(f"{folder[:200]!a} is both a file and a folder.")
                full.chmod(0o755)

    def _write_file(self, entry: _Entry) -> None:
        with self._package.open(entry.info) as source:
            if self._target is None:
                for chunk in iter(lambda: source.read(CHUNK_BYTES), b""):
                    self._count(len(chunk))
                return
            descriptor = _create(self._target / entry.path)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for chunk in iter(lambda: source.read(CHUNK_BYTES), b""):
                    self._count(len(chunk))
                    file.write(chunk)
                os.fchmod(descriptor, entry.mode)

    def _make_link(self, entry: _Entry) -> None:
        with self._package.open(entry.info) as source:
            content = source.read(MAX_LINK_BYTES + 1)
        self._count(len(content))
        destination = content.decode("utf-8")
        inside = os.path.normpath(os.path.join(os.path.dirname(entry.path), destination))
        if (
            not destination
            or len(content) > MAX_LINK_BYTES
            or "\0" in destination
            or destination.startswith("/")
            or inside == ".."
            or inside.startswith("../")
        ):
            raise BadPackage(f"The symbolic link {entry.path[:200]!a} leads out of the package.")
        if self._target is not None:
            path = self._target / entry.path
            path.unlink(missing_ok=True)
            os.symlink(destination, path)

    def _check_links(self, links: dict[str, _Entry]) -> None:
        # Followed for real, since a link by way of another one may leave although its text does not look so.
        if self._target is None:
            return
        root = os.path.realpath(self._target)
        for path in links:
            real = os.path.realpath(os.path.join(root, path))
            if real != root and not real.startswith(root + os.sep):
                raise BadPackage(f"The symbolic link {path[:200]!a} leads out of the package.")

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._limit:
            raise PackageTooLarge(self._limit)


def _create(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:  # an earlier entry of the same name
        path.unlink()
        return os.open(path, flags, 0o600)
