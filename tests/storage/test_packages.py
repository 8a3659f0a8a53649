"""Archives and trees on disk."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lambdad.domain.errors import InvalidParameterValue
from lambdad.storage.engine import StorageFull
from lambdad.storage.packages import PackageStore
from tests.control.building import zipped

CODE = zipped({"index.py": "code"})
OTHER = zipped({"index.py": "other"})


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[PackageStore]:
    store = await PackageStore.open(tmp_path)
    yield store
    store.close()


def digest(archive: bytes) -> str:
    return base64.b64encode(hashlib.sha256(archive).digest()).decode()


def name(archive: bytes) -> str:
    return hashlib.sha256(archive).hexdigest()


async def add(store: PackageStore, archive: bytes) -> str:
    async with store.added(archive) as package:
        return package.code_sha256


async def nothing_in_use() -> set[str]:
    return set()


async def test_an_archive_is_kept_under_its_digest(store: PackageStore, tmp_path: Path) -> None:
    async with store.added(CODE) as package:
        assert (package.code_sha256, package.size) == (digest(CODE), len(CODE))
        assert (tmp_path / "packages" / f"{name(CODE)}.zip").read_bytes() == CODE
        tree = await store.tree(package.code_sha256)
    assert tree == tmp_path / "unpacked" / name(CODE)
    assert (tree / "index.py").read_text() == "code"
    assert await store.read(package.code_sha256) == CODE


async def test_others_can_read_the_tree_but_not_the_archives(store: PackageStore, tmp_path: Path) -> None:
    tree = await store.tree(await add(store, CODE))
    assert stat.S_IMODE(tree.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "unpacked").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "packages").stat().st_mode) == 0o700


async def test_the_archive_is_synced_before_it_gets_its_name(
    store: PackageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def recorded_fsync(descriptor: int) -> None:
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    def recorded_rename(source: Any, target: Any) -> None:
        if str(target).endswith(".zip"):
            steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "rename", recorded_rename)
    await add(store, CODE)
    assert steps == ["sync file", "rename", "sync folder"]


async def test_the_same_archive_many_times_at_once(store: PackageStore, tmp_path: Path) -> None:
    await asyncio.gather(*(add(store, CODE) for _ in range(20)))
    assert [path.name for path in (tmp_path / "packages").iterdir()] == [f"{name(CODE)}.zip"]
    assert {path.name for path in (tmp_path / "unpacked").iterdir()} == {".boot", name(CODE)}


async def test_the_check_stores_nothing(store: PackageStore, tmp_path: Path) -> None:
    assert (await store.check(CODE)).code_sha256 == digest(CODE)
    assert not list((tmp_path / "packages").iterdir())
    with pytest.raises(InvalidParameterValue):
        await store.check(b"no zip")


@pytest.mark.parametrize("archive", [b"no zip", b"", zipped({"../x": ""})])
async def test_a_bad_archive_leaves_nothing_behind(store: PackageStore, tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(InvalidParameterValue):
        await add(store, archive)
    assert not list((tmp_path / "packages").iterdir())
    assert [path.name for path in (tmp_path / "unpacked").iterdir()] == [".boot"]


async def test_a_tree_is_unpacked_again_when_it_is_gone(tmp_path: Path) -> None:
    first = await PackageStore.open(tmp_path)
    code = await add(first, CODE)
    first.close()
    (tmp_path / "unpacked" / ".boot").write_text("another start of the machine")
    second = await PackageStore.open(tmp_path)
    assert [path.name for path in (tmp_path / "unpacked").iterdir()] == [".boot"]
    trees = await asyncio.gather(*(second.tree(code) for _ in range(5)))
    assert (trees[0] / "index.py").read_text() == "code"
    second.close()


async def test_trees_survive_a_restart_of_the_server(tmp_path: Path) -> None:
    first = await PackageStore.open(tmp_path)
    tree = await first.tree(await add(first, CODE))
    first.close()
    before = tree.stat()
    second = await PackageStore.open(tmp_path)
    assert (await second.tree(digest(CODE))).stat().st_ino == before.st_ino
    second.close()


async def test_leftovers_of_a_killed_server_are_removed(tmp_path: Path) -> None:
    (await PackageStore.open(tmp_path)).close()
    (tmp_path / "packages" / ".tmp-x").write_bytes(b"half")
    (tmp_path / "unpacked" / ".tmp-y" / "a").mkdir(parents=True)
    (await PackageStore.open(tmp_path)).close()
    assert not list((tmp_path / "packages").iterdir())
    assert [path.name for path in (tmp_path / "unpacked").iterdir()] == [".boot"]


async def test_an_archive_that_is_not_there(store: PackageStore) -> None:
    for call in (store.tree, store.read):
        with pytest.raises(FileNotFoundError):
            await call(digest(CODE))


async def test_the_size_of_the_files_is_that_of_the_archive(store: PackageStore) -> None:
    async with store.added(CODE) as package:
        assert package.unzipped_size == len("code")
        tree = await store.tree(package.code_sha256)
        (tree / "compiled.pyc").write_bytes(b"x" * 100)  # what comes to the tree later is nobody's package
        async with store.added(CODE) as again:
            assert again.unzipped_size == len("code")
        assert await store.unzipped_size(package.code_sha256) == len("code")
    assert (await store.check(CODE)).unzipped_size == len("code")


async def test_archives_are_merged_in_their_order(store: PackageStore) -> None:
    first, second = await add(store, CODE), await add(store, OTHER)
    for archives, text in (([first, second], "other"), ([second, first], "code"), ([first], "code")):
        assert ((await store.merged_tree(archives)) / "index.py").read_text() == text
    assert await store.merged_tree([first]) == await store.tree(first)
    with pytest.raises(FileNotFoundError):
        await store.merged_tree([first, digest(b"absent")])


async def test_a_merged_tree_that_nothing_needs_is_removed(store: PackageStore) -> None:
    archives = [await add(store, CODE), await add(store, OTHER)]
    merged = await store.merged_tree(archives)

    async def in_use() -> set[str]:
        return set(archives)

    await store.collect(in_use)
    assert not merged.exists()
    assert (await store.merged_tree(archives)).exists()


async def test_what_nothing_needs_is_removed(store: PackageStore, tmp_path: Path) -> None:
    used, unused = await add(store, CODE), await add(store, OTHER)

    async def in_use() -> set[str]:
        return {used}

    assert await store.collect(in_use) == 1
    assert (tmp_path / "packages" / f"{name(CODE)}.zip").exists()
    assert not (tmp_path / "packages" / f"{name(OTHER)}.zip").exists()
    assert not (tmp_path / "unpacked" / name(OTHER)).exists()
    with pytest.raises(FileNotFoundError):
        await store.tree(unused)


async def test_what_still_runs_stays(store: PackageStore) -> None:
    code = await add(store, CODE)
    assert await store.collect(nothing_in_use, busy=lambda candidate: candidate == code) == 0
    assert (await store.tree(code)).exists()


async def test_what_is_being_added_stays(store: PackageStore) -> None:
    async with store.added(CODE) as package:
        assert await store.collect(nothing_in_use) == 0
        assert (await store.tree(package.code_sha256)).exists()


async def test_what_was_added_while_the_rows_were_read_stays(store: PackageStore) -> None:
    # An unused archive is added again, and its row committed, between the reading of rows and the removal.
    await add(store, CODE)

    async def in_use() -> set[str]:
        await add(store, CODE)
        return set()

    assert await store.collect(in_use) == 0
    assert await store.read(digest(CODE)) == CODE


async def test_an_addition_that_ends_during_a_collection_stays(store: PackageStore) -> None:
    async with store.added(CODE):
        reading, committed = asyncio.Event(), asyncio.Event()

        async def in_use() -> set[str]:
            reading.set()
            await committed.wait()
            return set()

        collection = asyncio.create_task(store.collect(in_use))
        await reading.wait()
    committed.set()
    assert await collection == 0
    assert await store.read(digest(CODE)) == CODE


async def test_a_full_disk(store: PackageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull):
        await add(store, CODE)
    assert not list((tmp_path / "packages").iterdir())
    monkeypatch.undo()
    assert await add(store, CODE) == digest(CODE)
