"""The spawner's loop: everything happens in callbacks of one selector."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import Any


class Loop:
    """Calls back when descriptors become readable."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, target: Any, callback: Callable[[], None]) -> None:
        self._selector.register(target, selectors.EVENT_READ, callback)

    def unwatch(self, target: Any) -> None:
        """Nothing if it is not watched."""
        try:
            self._selector.unregister(target)
        except (KeyError, ValueError):
            return

    def turn(self, timeout: float | None) -> None:
        """Waits for what is readable, at most `timeout` seconds, and calls back."""
        for key, _ in self._selector.select(timeout):
            if self._selector.get_map().get(key.fd) is key:  # not closed, perhaps reused, by one before it
                key.data()
