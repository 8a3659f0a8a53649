"""A call on its way through an environment: who waits for its outcome, and where a streamed response goes."""

from __future__ import annotations

from typing import Protocol

from lambdad.domain import failures
from lambdad.domain.invocations import Invocation, Outcome


class Flow(Protocol):
    """The source of a streamed response."""

    def pause_stream(self) -> None:
        """The reader is full: no more for now. The function waits when it writes on."""

    def resume_stream(self) -> None: ...


class ResponseSink(Protocol):
    """Takes a streamed response piece by piece; the outcome that follows has an empty payload."""

    def started(self, content_type: str, flow: Flow) -> None: ...

    def chunk(self, data: bytes) -> None: ...


class PendingCall:
    """An invocation and, in subclasses, where its outcome goes."""

    __slots__ = ("invocation", "sink")

    def __init__(self, invocation: Invocation, sink: ResponseSink | None = None) -> None:
        self.invocation = invocation
        self.sink = sink

    def finish(self, outcome: Outcome) -> None:
        """Answers the caller and ends the call."""
        self.end()
        self.answer(outcome)

    def answer(self, outcome: Outcome) -> None:
        """Answers the caller, while extensions still work on the invocation."""
        raise NotImplementedError

    def end(self) -> None:
        """The environment is free again."""

    def measured(self, outcome: Outcome) -> None:
        """Follows the end at once; only now the outcome tells what memory was used."""


class GatheredStream:
    """A streamed response on its way to a caller who wants it whole (AWS: buffered, with the limit of Invoke)."""

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        self.data = bytearray()
        self.too_large = False

    def add(self, data: bytes) -> None:
        if len(self.data) + len(data) > failures.RESPONSE_LIMIT_BYTES:
            self.too_large = True
            self.data.clear()
        elif not self.too_large:
            self.data += data
