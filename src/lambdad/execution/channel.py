"""The seam between an execution environment and the runtime inside it.

Two implementations: length-prefixed frames on a socketpair (our own bootstraps) and the HTTP Runtime API (official
runtime clients, any `bootstrap`). One contract suite runs over both.
"""

from __future__ import annotations

from typing import Protocol

from lambdad.domain.invocations import Invocation


class ChannelEvents(Protocol):
    """What a runtime tells; every method is called on the event loop and returns at once."""

    def ready(self) -> None:
        """Init is over: the runtime waits for its first invocation."""

    def responded(self, body: bytes, content_type: str, peak_kib: int) -> None:
        """The result of the current invocation; `peak_kib` is the runtime's own high-water mark, 0 if unknown."""

    def failed(self, error_type: str, body: bytes, peak_kib: int) -> None:
        """The current invocation ended in a function error; `body` goes to the caller unchanged."""

    def init_failed(self, error_type: str, body: bytes) -> None:
        """Init ended in an error; the process exits by itself afterwards."""

    def stream_started(self, content_type: str) -> None:
        """A streamed response begins."""

    def stream_chunk(self, data: bytes) -> None:
        """A piece of the streamed response, as written by the function."""

    def stream_ended(self, error_type: str, error_body: bytes, peak_kib: int) -> None:
        """The streamed response is over; `error_type` is empty unless the function failed in mid-stream."""

    def response_too_large(self) -> None:
        """The response passed the limit of 6,291,556 bytes and was dropped."""

    def next_requested(self) -> None:
        """The runtime waits for another invocation (over frames: right after an answer)."""

    def channel_closed(self) -> None:
        """The runtime's end is gone; nothing more will come."""


class RuntimeChannel(Protocol):
    """The server's end of one runtime."""

    def deliver(self, invocation: Invocation) -> None:
        """Hands over one invocation; if the runtime has not asked for one yet, when it does."""

    def keep_turning(self) -> None:
        """There are extensions: whatever else runs in the runtime's process must go on while the runtime waits. To be
        called when the runtime is ready, before the first invocation."""

    def pause(self) -> None:
        """Lets the runtime wait with the rest of its streamed response: its reader is slower."""

    def resume(self) -> None:
        """Takes the response again; harmless without a pause."""

    def silence(self) -> None:
        """Nothing more is told, and nothing more may be delivered; the runtime does not notice."""

    def close(self) -> None:
        """Frees the server's descriptors; the runtime is not told."""
