"""Unpacked trees laid over each other. Blocking."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

_PYTHON_CACHE = "__pycache__"


def lay(tree: Path, target: Path) -> None:
    """Adds a tree to `target`: folders are united, and what is there already gives way to a file or link of the tree.

    Files are linked, not copied: they never change. Nothing is written through a symbolic link of an earlier tree; a
    folder takes its place. Python's caches stay behind: a module may come from one tree and what was compiled of the
    same name from another, and nothing compares the two.
    """
    for entry in os.scandir(tree):
        if entry.name == _PYTHON_CACHE:
            continue
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
