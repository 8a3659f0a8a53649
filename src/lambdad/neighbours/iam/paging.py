"""Pages of lists: the marker is where the next one begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from lambdad.domain.errors import ServiceError

T = TypeVar("T")
DEFAULT_ITEMS = 100


def page(
    items: Sequence[T], name: Callable[[T], str], marker: str | None, max_items: int | None
) -> tuple[list[T], str | None]:
    """The items of one page, which are sorted by `name`, and the marker of the next one, None at the end.

    Raises ServiceError ValidationError for a marker that is not one of ours.
    """
    if marker is not None:
        after = _decode(marker)
        items = [item for item in items if name(item) > after]
    limit = max_items or DEFAULT_ITEMS
    found = list(items[:limit])
    return found, _encode(name(found[-1])) if len(items) > limit else None


def _encode(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode("ascii")


def _decode(marker: str) -> str:
    try:
        return base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise ServiceError("ValidationError", "Invalid Marker.") from None
