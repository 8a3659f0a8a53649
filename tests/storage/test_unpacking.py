"""Archives of strangers: what is unpacked, and what is refused."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from lambdad.domain.errors import InvalidParameterValue
from lambdad.storage import unpacking
from lambdad.storage.unpacking import CANNOT_UNZIP, BadPackage, PackageTooLarge, unpack
from tests.recordings import Recording

Entry = tuple[str, bytes | str, int]
FILE, LINK = stat.S_IFREG, stat.S_IFLNK


def a_zip(*entries: Entry, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Entries are name, content and mode; names are taken as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo("x", (2026, 1, 1, 0, 0, 0))
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            info.compress_type = compression
            archive.writestr(info, content)
    return buffer.getvalue()


def file(name: str, content: bytes | str = "", mode: int = 0o644) -> Entry:
    return name, content, FILE | mode


def link(name: str, target: str) -> Entry:
    return name, target, LINK | 0o777


def tree(folder: Path) -> dict[str, str]:
    """Everything below a folder: contents of files, `/` for folders, `-> target` for links."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_dir():
            found[name] = "/"
        else:
            found[name] = path.read_text()
    return found


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "outer" / "target"
    folder.mkdir(parents=True)
    return folder


def refuse(archive: bytes, target: Path) -> str:
    """The text of the refusal; neither way of reading lets the archive through, and nothing is written outside."""
    outside = set(target.parent.iterdir()) | set(target.parent.parent.iterdir())
    with pytest.raises(BadPackage) as error:
        unpack(io.BytesIO(archive), target)
    assert set(target.parent.iterdir()) | set(target.parent.parent.iterdir()) == outside
    assert error.value.message.startswith(CANNOT_UNZIP)
    return error.value.message


def test_files_folders_and_links(target: Path) -> None:
    archive = a_zip(
        file("index.py", "code"),
        ("lib/", "", stat.S_IFDIR | 0o700),
        file("lib/a/b.py", "b"),
        file("./lib//c.py", "c"),
        link("lib/a/up", "../c.py"),
        link("current", "lib"),
    )
    assert unpack(io.BytesIO(archive), target) == len("code" + "b" + "c" + "../c.py" + "lib")
    assert tree(target) == {
        "current": "-> lib",
        "index.py": "code",
        "lib": "/",
        "lib/a": "/",
        "lib/a/b.py": "b",
        "lib/a/up": "-> ../c.py",
        "lib/c.py": "c",
    }


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o755, 0o755), (0o700, 0o755), (0o600, 0o644), (0, 0o644), (0o6777, 0o755), (0o111, 0o755)]
)
def test_modes(target: Path, mode: int, expected: int) -> None:
    unpack(io.BytesIO(a_zip(file("d/bootstrap", "", mode))), target)
    assert stat.S_IMODE((target / "d/bootstrap").stat().st_mode) == expected
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o755


def test_modes_do_not_depend_on_the_umask(target: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack(io.BytesIO(a_zip(file("d/f"))), target)
    finally:
        os.umask(before)
    assert stat.S_IMODE((target / "d/f").stat().st_mode) == 0o644
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o755


def test_an_archive_made_on_windows_has_no_modes(target: Path) -> None:
    archive = bytearray(a_zip(file("f", "x", 0o755)))
    archive[archive.index(b"PK\x01\x02") + 5] = 0  # created on MS-DOS
    unpack(io.BytesIO(archive), target)
    assert stat.S_IMODE((target / "f").stat().st_mode) == 0o644


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_last_of_equal_names_counts(target: Path) -> None:
    unpack(io.BytesIO(a_zip(file("f", "first", 0o755), file("f", "second"))), target)
    assert tree(target) == {"f": "second"}


def test_names_that_differ_in_case_are_different(target: Path) -> None:
    unpack(io.BytesIO(a_zip(file("F", "1"), file("f", "2"))), target)
    assert tree(target) == {"F": "1", "f": "2"}


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "a/..",
        "..",
        "/etc/evil",
        "//evil",
        "..\\evil",
        "a\\b",
        "C:evil",
        "c:/evil",
        "a\0b",
        "a/\0",
    ],
)
def test_paths_that_leave(target: Path, name: str) -> None:
    assert "a path that does not stay in the package" in refuse(a_zip(file(name, "x")), target)
    with pytest.raises(BadPackage):
        unpack(io.BytesIO(a_zip(file(name, "x"))), None)


@pytest.mark.parametrize(
    "entries",
    [
        [link("l", "..")],
        [link("l", "../x")],
        [link("l", "/etc/passwd")],
        [link("a/l", "../../x")],
        [link("l", "a/../../x")],
        [link("l", "")],
        [link("l", "a" * 5000)],
        # Harmless by its text, but the first link makes the second one leave.
        [file("d/e/f"), link("d/e/l", "../.."), link("m", "d/e/l/..")],
        [link("a", "b/.."), link("b", "c/d"), file("c/x"), link("c/d", ".."), link("e", "a/../..")],
    ],
)
def test_links_that_leave(target: Path, entries: list[Entry]) -> None:
    assert "leads out of the package" in refuse(a_zip(*entries), target)


@pytest.mark.parametrize(
    "entries",
    [
        [link("l", "d"), file("d/x"), file("l/y", "through")],
        [file("l/y", "through"), link("l", "d"), file("d/x")],
        [link("l", "d"), link("l/m", "x")],
        [link("l", "x"), file("l", "through")],
        [link("l", "d"), ("l/", "", stat.S_IFDIR | 0o755)],
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_nothing_is_written_through_a_link(target: Path, entries: list[Entry]) -> None:
    assert "written through a symbolic link" in refuse(a_zip(*entries), target)


def test_links_in_a_circle_and_to_nowhere_stay_inside(target: Path) -> None:
    unpack(io.BytesIO(a_zip(link("a", "b"), link("b", "a"), link("c", "missing"))), target)
    assert tree(target) == {"a": "-> b", "b": "-> a", "c": "-> missing"}


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_devices(target: Path, kind: int) -> None:
    assert "neither a file nor a folder nor a link" in refuse(a_zip(("d", "", kind | 0o666)), target)


@pytest.mark.parametrize(
    "entries",
    [
        [file("a", "x"), file("a/b", "y")],
        [file("a/b", "y"), file("a", "x")],
        [file("a" * 300, "x")],
    ],
)
def test_names_that_cannot_be_made(target: Path, entries: list[Entry]) -> None:
    refuse(a_zip(*entries), target)


def test_a_tree_that_is_too_deep(target: Path) -> None:
    unpack(io.BytesIO(a_zip(file("a/" * 99 + "f", "x"))), target)
    assert "more than 100 folders deep" in refuse(a_zip(file("b/" * 100 + "f", "x")), target)
    assert not (target / "b").exists()


def test_a_link_in_place_of_an_earlier_file(target: Path) -> None:
    archive = a_zip(file("d/x", "1"), file("a", "2"), link("b", "a"))
    unpack(io.BytesIO(archive), target)
    assert (target / "b").read_text() == "2"


def test_encrypted_entries(target: Path) -> None:
    archive = bytearray(a_zip(file("f", "x")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        archive[archive.index(signature) + offset] |= 1
    assert "encrypted" in refuse(bytes(archive), target)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(target: Path, method: int) -> None:
    # Their decompressors give out any amount at once, so that nothing could be counted in time.
    assert "other than deflate" in refuse(a_zip(file("f", "x" * 100), compression=method), target)


def test_stored_entries(target: Path) -> None:
    unpack(io.BytesIO(a_zip(file("f", "x"), compression=zipfile.ZIP_STORED)), target)
    assert tree(target) == {"f": "x"}


def _cut(archive: bytes) -> bytes:
    return archive[: len(archive) // 2]


def _flip(archive: bytes) -> bytes:
    position = archive.index(b"PK\x03\x04") + 40
    return archive[:position] + bytes([archive[position] ^ 0xFF]) + archive[position + 1 :]


def _bad_crc(archive: bytes) -> bytes:
    position = archive.index(b"PK\x01\x02") + 16
    return archive[:position] + b"\0\0\0\0" + archive[position + 4 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"not a zip",
        lambda _: b"PK",
        lambda _: b"PK\x05\x06" + b"\xff" * 18,
        _cut,
        _flip,
        _bad_crc,
        lambda archive: archive.replace(b"file.txt", b"\xff\xfe\xfd.txt"),
        lambda archive: archive[:-10],
    ],
)
def test_damaged_archives(target: Path, damage: Callable[[bytes], bytes]) -> None:
    archive = damage(a_zip(file("file.txt", os.urandom(200)), file("more", "x" * 500)))
    with pytest.raises(InvalidParameterValue) as error:
        unpack(io.BytesIO(archive), target)
    assert error.value.message.startswith(CANNOT_UNZIP)


def test_the_text_for_what_is_no_archive_is_awss_alone(target: Path) -> None:
    assert refuse(b"not a zip", target) == CANNOT_UNZIP


def test_no_entries(target: Path) -> None:
    with pytest.raises(InvalidParameterValue, match="Uploaded file must be a non-empty zip"):
        unpack(io.BytesIO(a_zip()), target)


@pytest.mark.parametrize("checked_only", [True, False])
def test_bytes_are_counted_while_inflating(target: Path, checked_only: bool) -> None:
    place = None if checked_only else target
    archive = a_zip(file("a", b"\0" * 600), file("b", b"\0" * 400))
    assert unpack(io.BytesIO(archive), place, limit=1000) == 1000
    with pytest.raises(PackageTooLarge, match="Unzipped size must be smaller than 999 bytes"):
        unpack(io.BytesIO(a_zip(file("a", b"\0" * 600), file("c", b"\0" * 400))), None, limit=999)


def test_250_mb_and_one_byte_more_as_recorded() -> None:
    zeros = zlib.compressobj(1, wbits=-15)
    block = bytes(1_024_000)
    stream = b"".join(zeros.compress(block) for _ in range(256)) + zeros.compress(b"\0") + zeros.flush()
    crc = 0
    for _ in range(256):
        crc = zlib.crc32(block, crc)
    archive = bytearray(a_zip(file("big", stream), compression=zipfile.ZIP_STORED))
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        position = archive.rindex(signature)
        struct.pack_into("<H", archive, position + offset, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", archive, position + offset + 6, zlib.crc32(b"\0", crc))
        struct.pack_into("<I", archive, position + offset + 14, 262_144_001)
    with pytest.raises(PackageTooLarge) as error:
        unpack(io.BytesIO(archive), None)
    recorded = Recording.find("TestLambdaSizeLimits::test_oversized_unzipped_lambda").steps["invalid_param_exc"]
    assert error.value.message == recorded["message"]
    assert unpack(io.BytesIO(archive), None, limit=262_144_001) == 262_144_001


def test_a_bomb_stops_at_the_limit(target: Path) -> None:
    bomb = a_zip(file("bomb", b"\0" * 50_000_000))
    with pytest.raises(PackageTooLarge):
        unpack(io.BytesIO(bomb), target, limit=1_000_000)
    assert (target / "bomb").stat().st_size <= 1_000_000


def test_sizes_that_lie(target: Path) -> None:
    archive = bytearray(a_zip(file("f", b"\0" * 100_000)))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", archive, archive.index(signature) + offset, 10)
    with pytest.raises(BadPackage):
        unpack(io.BytesIO(archive), target)


def test_entries_that_share_bytes(target: Path) -> None:
    # One stream, listed by several entries of the directory, as in zip bombs without nesting.
    archive = a_zip(file("a", b"\0" * 100_000))
    start, end = archive.index(b"PK\x01\x02"), archive.index(b"PK\x05\x06")
    directory = archive[start:end]
    tail = bytearray(archive[end:])
    struct.pack_into("<HHI", tail, 8, 50, 50, len(directory) * 50)
    assert "overlap" in refuse(archive[:start] + directory * 50 + bytes(tail), target)


def test_an_entry_that_reaches_into_the_next(target: Path) -> None:
    payload = zlib.compress(b"x")
    archive = bytearray(a_zip(file("a", payload), file("b", payload), compression=zipfile.ZIP_STORED))
    position = archive.index(b"PK\x01\x02")
    size = struct.unpack_from("<I", archive, position + 20)[0] + 30
    struct.pack_into("<II", archive, position + 20, size, size)
    assert "overlap" in refuse(bytes(archive), target)


def test_too_many_entries(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MAX_ENTRIES", 3)
    unpack(io.BytesIO(a_zip(*(file(str(number)) for number in range(3)))), target)
    assert "more than 3 entries" in refuse(a_zip(*(file(str(number)) for number in range(4))), target)
    assert "more than 3 entries" in refuse(a_zip(*(file(str(number)) for number in range(7))), target)
    assert "more than 3 folders" in refuse(a_zip(file("a/b/c/d/e")), target)


def test_a_package_inside_a_package_is_not_counted_as_entries(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MAX_ENTRIES", 4)
    inner = a_zip(*(file(str(number)) for number in range(4)))
    assert unpack(io.BytesIO(a_zip(file("inner.jar", inner), compression=zipfile.ZIP_STORED)), target) == len(inner)


def test_an_archive_behind_other_bytes(target: Path) -> None:
    unpack(io.BytesIO(b"#!/bin/sh\n" + a_zip(file("f", "x"))), target)
    assert tree(target) == {"f": "x"}
