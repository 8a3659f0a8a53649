"""The boto3 that Python functions find under /var/runtime: the server's own copy, which is pure Python."""

from __future__ import annotations

import functools
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
"""boto3 and all that it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk:
    """An installed boto3."""

    version: str
    paths: tuple[str, ...]
    """Host path of each package or module."""
    first_python: tuple[int, int]
    """The oldest Python that it supports, by its own metadata."""

    def why_not(self, python: tuple[int, int]) -> str:
        """Why functions on this Python find no boto3; empty if they do."""
        if python >= self.first_python:
            return ""
        return (
            f"boto3 {self.version} needs Python {_dotted(self.first_python)} or newer, so functions on Python "
            f"{_dotted(python)} have to bring their own"
        )


@functools.cache
def installed() -> Sdk | None:
    """The server's boto3; None if a part of it is missing."""
    paths = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin:
            return None
        origin = Path(spec.origin)
        paths.append(str(origin.parent if origin.name == "__init__.py" else origin))
    metadata = _metadata(Path(paths[0]))
    lowest = re.search(r">=\s*(\d+)\.(\d+)", metadata.get("Requires-Python", ""))
    first = (int(lowest[1]), int(lowest[2])) if lowest else (3, 8)
    return Sdk(version=metadata.get("Version", ""), paths=tuple(paths), first_python=first)


def _metadata(package: Path) -> dict[str, str]:
    """The head of what was installed with a package. Not importlib.metadata, which takes a tenth of the server's whole
    start to import."""
    for file in package.parent.glob(f"{package.name}-*.dist-info/METADATA"):
        head = file.read_text(encoding="utf-8").partition("\n\n")[0]
        return {name: value for name, _, value in (line.partition(": ") for line in head.splitlines())}
    return {}


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
