"""The user ids that environments get: a range that no other server on this machine uses at the same time.

Ids are above what distributions and container engines hand out. Whoever has a range holds an abstract socket of its
name, which the kernel takes back when the process ends, however it ends.
"""

from __future__ import annotations

import socket
from collections import deque

FIRST = 1_900_000_000
IN_A_RANGE = 4_096
RANGES = 256


class Users:
    """One range. Raises OSError when all are taken."""

    def __init__(self) -> None:
        self._claim, number = _claim_range()
        first = FIRST + number * IN_A_RANGE
        self.range = range(first, first + IN_A_RANGE)
        self._free = deque(self.range)

    def take(self) -> int:
        """The id that was free for the longest time. Raises BlockingIOError when none is."""
        if not self._free:
            raise BlockingIOError(11, "every user id for environments is taken")
        return self._free.popleft()

    def give_back(self, uid: int) -> None:
        """No process and no file of this user is left."""
        self._free.append(uid)


def _claim_range() -> tuple[socket.socket, int]:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for number in range(RANGES):
        try:
            claim.bind(f"\0lambdad-users-{number}")
        except OSError:
            continue
        return claim, number
    claim.close()
    raise OSError("every range of user ids for environments is taken by another server")
