"""Unpacked trees: how large they are, and one laid over another. Blocking."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


def size_of(tree: Path) -> int:
    """Bytes of all files in a tree; links count with the length of what they say."""
    total = 0
    for entry in os.scandir(tree):
        if entry.is_dir(follow_symlinks=False):
            total += size_of(Path(entry.path))
        else:
            total += entry.stat(follow_symlinks=False).st_size
    return total


def lay(tree: Path, target: Path) -> None:
    """Adds a tree to `target`: folders are united, and what is there already gives way to a file or link of the tree.

    Files are linked, not copied: both trees are only ever read. Nothing is written through a symbolic link of an
    earlier tree; a folder takes its place.
    """
    for entry in os.scandir(tree):
        place = target / entry.name
        if entry.is_dir(follow_symlinks=False):
            if place.is_symlink() or not place.is_dir():
                place.unlink(missing_ok=True)
                place.mkdir()
                place.chmod(0o755)
            lay(Path(entry.path), place)
        else:
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
            _link(entry.path, place)


def _link(source: str, place: Path) -> None:
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError as error:
        # Some file systems have no links of this kind, or no more of them for this file.
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV):
            raise
        shutil.copy2(source, place, follow_symlinks=False)
