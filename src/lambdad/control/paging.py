"""Markers of listings: where the next page begins, opaque to clients."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from lambdad.domain.errors import InvalidParameterValue

T = TypeVar("T")

MAX_PAGE = 50
"""Most listings return no more at once, even if asked to (AWS Lambda developer guide)."""

_MAX_NUMBER = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A part of a listing."""

    items: Sequence[T]
    next_marker: str | None = None


def page_size(asked: int | None, maximum: int = MAX_PAGE) -> int:
    return maximum if asked is None else min(asked, maximum)


def page(found: Sequence[T], size: int, position: Callable[[T], Sequence[str | int]]) -> Page[T]:
    """The first `size` of `found`, for which one more was looked up; `position` is what `after` gets back."""
    if len(found) <= size:
        return Page(items=found)
    return Page(items=found[:size], next_marker=_encode(position(found[size - 1])))


def after(marker: str | None, kinds: tuple[type, ...]) -> tuple[str | int, ...] | None:
    """The position in a marker; None without marker. Raises InvalidParameterValue for one that is not ours."""
    if not marker:
        return None
    try:
        position = json.loads(base64.urlsafe_b64decode(marker.encode("ascii")))
    except (ValueError, binascii.Error, UnicodeError):
        position = None
    if (
        not isinstance(position, list)
        or tuple(map(type, position)) != kinds
        or any(isinstance(part, int) and abs(part) > _MAX_NUMBER for part in position)
    ):
        raise InvalidParameterValue("The marker is not one that a listing of this kind has returned.")
    return tuple(position)


def _encode(position: Sequence[str | int]) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(position)).encode()).decode("ascii")
