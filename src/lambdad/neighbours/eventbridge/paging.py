"""Pages of lists by name: a token is the last name of the page before."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from lambdad.neighbours.eventbridge.errors import invalid

T = TypeVar("T")
PAGE: Final = 100


def after(token: str | None) -> str:
    """The name after which a page begins. Raises ValidationException (our text)."""
    if not token:
        return ""
    try:
        return base64.b64decode(token, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise invalid("Parameter NextToken is not valid.") from None


def cut(items: Sequence[T], limit: int | None, name: Callable[[T], str]) -> tuple[list[T], str | None]:
    """A page of items of which one more was read than it shows, and the token of the next page."""
    shown = list(items[: limit or PAGE])
    if len(items) <= len(shown):
        return shown, None
    return shown, base64.b64encode(name(shown[-1]).encode("utf-8")).decode("ascii")
