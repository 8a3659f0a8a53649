"""Unpacked trees over each other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from lambdad.storage import trees

LINK = "-> "


def a_tree(folder: Path, files: Mapping[str, str]) -> Path:
    """Files with their text, and links as `-> destination`."""
    folder.mkdir()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith(LINK):
            path.symlink_to(text.removeprefix(LINK))
        else:
            path.write_text(text)
    return folder


def shown(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"{LINK}{os.readlink(path)}" if path.is_symlink() else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"a": "1", "d/b": "1"}, {"d/c": "2"}, {"a": "1", "d/b": "1", "d/c": "2"}),
        ({"d/a": "1"}, {"d/a": "2"}, {"d/a": "2"}),
        ({"a": "1"}, {"a/b": "2"}, {"a/b": "2"}),
        ({"a/b": "1"}, {"a": "2"}, {"a": "2"}),
        ({"d/x": "1", "a": "-> d"}, {"a/b": "2"}, {"d/x": "1", "a/b": "2"}),  # not written through the link
        ({"d/x": "1", "a": "-> d/x"}, {"a": "2"}, {"d/x": "1", "a": "2"}),
        ({"d/x": "1"}, {"d": "-> e", "e/y": "2"}, {"d": "-> e", "e/y": "2"}),
        ({"a": "-> b"}, {"a": "-> c"}, {"a": "-> c"}),
        ({"m.py": "1", "__pycache__/m.pyc": "of 1"}, {"m.py": "2"}, {"m.py": "2"}),
    ],
)
def test_a_later_tree_wins(
    tmp_path: Path, first: dict[str, str], second: dict[str, str], expected: dict[str, str]
) -> None:
    sources = [a_tree(tmp_path / "1", first), a_tree(tmp_path / "2", second)]
    target = tmp_path / "target"
    target.mkdir()
    for source in sources:
        trees.lay(source, target)
    assert shown(target) == expected
    assert [shown(source) for source in sources] == [first, second]


def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    files = {"d/a": "1", "l": "-> d/a"}
    source, target = a_tree(tmp_path / "1", files), tmp_path / "target"
    (source / "d" / "a").chmod(0o755)
    target.mkdir()
    trees.lay(source, target)
    assert shown(target) == files
    assert (target / "d" / "a").stat().st_mode & 0o777 == 0o755
