"""What one HTTP listener allows its clients: sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Bounds that keep one client from taking the server's memory or connections.

    A time may be `math.inf`: then that wait never ends by itself. Times are checked by a sweep, so that each may be
    exceeded by up to two `tick_s`.
    """

    target_bytes: int = 16 * KIB
    """Request target (path and query); more is answered with 414."""
    header_bytes: int = 64 * KIB
    """All header lines of one request together, and so each; more is answered with 431. Trailers have the same room."""
    header_count: int = 100
    """Header lines of one request; more is answered with 431."""
    header_timeout_s: float = 30.0
    """From the first byte of a request (or from the connection's start) to the end of its head."""
    body_timeout_s: float = 30.0
    """In each span of this length a body must grow by `progress_bytes` or be complete."""
    write_timeout_s: float = 30.0
    """In each span of this length a client must take `progress_bytes` of what waits for it."""
    progress_bytes: int = KIB
    idle_timeout_s: float = 75.0
    """How long a connection is kept open between two requests."""
    linger_timeout_s: float = 10.0
    """How long a connection is kept after an early refusal, for the client to finish sending and read the answer."""
    linger_bytes: int = 128 * MIB
    """How much is read and dropped meanwhile."""

    @property
    def tick_s(self) -> float:
        """Seconds between two sweeps: a quarter of the shortest time, between 10 ms and 1 s."""
        shortest = min(
            self.header_timeout_s,
            self.body_timeout_s,
            self.write_timeout_s,
            self.idle_timeout_s,
            self.linger_timeout_s,
        )
        return max(0.01, min(1.0, shortest / 4))


NO_TIMEOUTS: dict[str, float] = {
    "header_timeout_s": inf,
    "body_timeout_s": inf,
    "write_timeout_s": inf,
    "idle_timeout_s": inf,
}
"""For listeners whose clients are our own children, which may be silent for minutes: `HttpLimits(**NO_TIMEOUTS)`."""
