"""Which external extensions a function's layers bring."""

from __future__ import annotations

import os
import stat
from functools import lru_cache


@lru_cache(maxsize=1024)  # layers never change; each cold start asks
def external_extensions(layer_dirs: tuple[str, ...]) -> tuple[str, ...]:
    """File names in /opt/extensions that are to be started, sorted: executable files directly in it.

    Later layers lie over earlier ones, so a file there decides for its name (AWS Lambda developer guide).
    """
    found: dict[str, bool] = {}
    for layer in layer_dirs:
        try:
            entries = list(os.scandir(f"{layer}/extensions"))
        except OSError:
            continue
        for entry in entries:
            found[entry.name] = _is_program(entry)
    return tuple(sorted(name for name, is_program in found.items() if is_program))


def _is_program(entry: os.DirEntry[str]) -> bool:
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link that leads nowhere on this side of the environment
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o111)
