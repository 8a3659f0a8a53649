"""Which external extensions a function's layers bring."""

from __future__ import annotations

import os
import stat
from functools import lru_cache


@lru_cache(maxsize=1024)  # layers never change; each cold start asks
def external_extensions(opt_dir: str) -> tuple[str, ...]:
    """File names in /opt/extensions that are to be started, sorted: executable files directly in it (AWS Lambda
    developer guide). `opt_dir` is where the merged layers lie."""
    try:
        with os.scandir(f"{opt_dir}/extensions") as entries:
            return tuple(sorted(entry.name for entry in entries if _is_program(entry)))
    except OSError:
        return ()


def _is_program(entry: os.DirEntry[str]) -> bool:
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link that leads nowhere on this side of the environment
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o111)
