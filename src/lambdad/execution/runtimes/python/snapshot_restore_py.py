"""Runtime hooks of SnapStart, under the name that Python functions import them by (AWS Lambda developer guide).

The runtime runs those registered for before a snapshot after init, last one first, then those for after a restore in
their order. Elsewhere than in a SnapStart version they are never run. Also found in functions: runs on Python 3.9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_before_snapshot: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
_after_restore: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []


def register_before_snapshot(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Also a decorator."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Also a decorator."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot() -> list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]:
    """What was registered, in order."""
    return _before_snapshot


def get_after_restore() -> list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]:
    """What was registered, in order."""
    return _after_restore
