"""One runtime's dealings with the Runtime API: its state, its current invocation, its waiting `next`."""

from __future__ import annotations

from typing import Protocol

from lambdad.domain.invocations import Invocation
from lambdad.execution.channel import ChannelEvents
from lambdad.execution.extensions.session import ExtensionSession
from lambdad.execution.runtime_api import answers
from lambdad.execution.runtime_api.states import NEXT_STATE, Call, State
from lambdad.http import BodyPolicy, Exchange, Response

# Identical on every `next`. AWS's clients in C++ end the process when the content type is missing.
_CONTENT_TYPE = ("Content-Type", "application/json")
# Named once: on Python 3.11 each look at an enum's member is a call in Python.
_READY = State.READY
_STARTED = State.STARTED
_RESTORING = State.RESTORING
_RESPONSE_SENT = State.RESPONSE_SENT
_NEXT = Call.NEXT
_DELIVER = Call.DELIVER


class OpeningStream(Protocol):
    """A streamed response whose exchange is not there yet."""

    def begin(self, exchange: Exchange) -> None: ...


class Session:
    """Routes ask it what is allowed and tell it what came; the environment gives it invocations."""

    def __init__(self, events: ChannelEvents, extensions: ExtensionSession) -> None:
        self.events = events
        self.extensions = extensions
        self.state = State.STARTED
        self.result_policy: BodyPolicy | None = None
        """How every buffered result is taken; `response` makes it once."""
        self.opening: OpeningStream | None = None
        """A streamed response between the check of its head and its beginning, which follows at once."""
        self.streaming: Exchange | None = None
        """A streamed response while it comes in."""
        self._current_id = ""
        self._waiting: Exchange | None = None
        self._pending: Invocation | None = None

    def refusal(self, call: Call) -> Response | None:
        """The answer to a call out of order; None if it may be made."""
        return None if call in NEXT_STATE[self.state] else answers.wrong_order(self.state, call)

    def answer_refusal(self, call: Call, request_id: str) -> Response | None:
        """Like `refusal`, for results and errors: an id that is not the current one, or is answered already, is
        wrong in itself, whatever the state."""
        if self._current_id and request_id != self._current_id:
            return answers.INVALID_REQUEST_ID
        if self._current_id and (self.state is _RESPONSE_SENT or self.state is _READY):
            return answers.INVALID_REQUEST_ID
        return self.refusal(call)

    def advance(self, call: Call) -> None:
        """The call is made; it must be allowed."""
        self.state = NEXT_STATE[self.state][call]

    def wait(self, exchange: Exchange) -> None:
        """The runtime asks for its next invocation and gets it on this exchange, at once or later."""
        waiting = self._waiting
        if waiting is not None and not waiting.closed:
            exchange.send(answers.wrong_order(self.state, _NEXT))
            return
        state_before = self.state
        self.advance(_NEXT)
        self._waiting = exchange
        if state_before is _STARTED or state_before is _RESTORING:
            self.events.ready()
        elif state_before is _RESPONSE_SENT:
            self.events.next_requested()
        pending, self._pending = self._pending, None
        if pending is not None:
            self.deliver(pending)

    def deliver(self, invocation: Invocation) -> None:
        """Hands over an invocation, or keeps it until the runtime asks."""
        waiting = self._waiting
        if self.state is _READY and waiting is not None and not waiting.closed:
            self._waiting = None
            self.advance(_DELIVER)
            self._current_id = invocation.request_id
            waiting.send(Response(200, _headers(invocation), invocation.event))
        elif self.state in _MAY_WAIT and self._pending is None:
            self._pending = invocation
        elif self.state is not State.CLOSED:
            raise RuntimeError(f"the runtime is in state {self.state.value}: it cannot take another invocation")

    def close(self) -> None:
        """Nothing more is told, and nothing more is allowed."""
        self.state = State.CLOSED
        self._pending = self._waiting = self.streaming = None


_MAY_WAIT = frozenset({State.STARTED, State.RESTORING, State.READY, State.RESPONSE_SENT})


def _headers(invocation: Invocation) -> list[tuple[str, str]]:
    headers = [
        _CONTENT_TYPE,
        ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
        ("Lambda-Runtime-Deadline-Ms", str(invocation.deadline_ms)),
        ("Lambda-Runtime-Invoked-Function-Arn", invocation.invoked_function_arn),
        ("Lambda-Runtime-Trace-Id", invocation.trace_id),
    ]
    if invocation.client_context:
        headers.append(("Lambda-Runtime-Client-Context", _header_text(invocation.client_context)))
    if invocation.cognito_identity:
        headers.append(("Lambda-Runtime-Cognito-Identity", _header_text(invocation.cognito_identity)))
    if invocation.tenant_id:
        headers.append(("Lambda-Runtime-Aws-Tenant-Id", _header_text(invocation.tenant_id)))
    return headers


def _header_text(text: str) -> str:
    """JSON as a header's value: its UTF-8 bytes, on one line. Line breaks in JSON are never part of a string."""
    return text.replace("\r", " ").replace("\n", " ").encode().decode("latin-1")
