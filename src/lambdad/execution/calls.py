"""A call on its way through an environment: who waits for its outcome, and where a streamed response goes."""

from __future__ import annotations

from typing import Protocol

from lambdad.domain import failures
from lambdad.domain.invocations import Ending, Invocation, Outcome


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


class StreamIntake:
    """The streamed responses of an environment, one after another: piece by piece to a caller who takes them so, and
    gathered for one who wants them whole (AWS: buffered, with the limit of Invoke)."""

    def __init__(self) -> None:
        self._content_type = ""
        self._data = bytearray()
        self._is_too_large = False

    def started(self, call: PendingCall | None, content_type: str, flow: Flow) -> None:
        if call is not None and call.sink is not None:
            call.sink.started(content_type, flow)
        else:
            self._content_type = content_type
            self._data.clear()
            self._is_too_large = False

    def chunk(self, call: PendingCall | None, data: bytes) -> None:
        if call is not None and call.sink is not None:
            call.sink.chunk(data)
        elif len(self._data) + len(data) > failures.RESPONSE_LIMIT_BYTES:
            self._is_too_large = True
            self._data.clear()
        elif not self._is_too_large:
            self._data += data

    def ended(self, call: PendingCall, error_type: str, error_body: bytes) -> Outcome:
        """What the stream came to."""
        if error_type:
            return Outcome(payload=error_body, ending=Ending.ERROR, error_type=error_type)
        if call.sink is not None:
            return Outcome(payload=error_body)
        if self._is_too_large:
            return too_large()
        outcome = Outcome(payload=bytes(self._data), content_type=self._content_type)
        self._data.clear()
        return outcome


def too_large() -> Outcome:
    """Of a response that passed the limit."""
    payload = failures.response_too_large()
    return Outcome(payload=payload, ending=Ending.ERROR, error_type="Function.ResponseSizeTooLarge")
