"""The extensions of one boot: who registered, who waits for an event, who has failed."""

from __future__ import annotations

import json
import uuid
from collections import deque
from typing import Protocol

from lambdad.domain.extensions import (
    MAX_EXTENSIONS,
    NEXT_STATE,
    Call,
    Event,
    Refused,
    ShutdownReason,
    State,
    checked_events,
    reported_reason,
    wrong_order,
)
from lambdad.domain.invocations import Invocation
from lambdad.http import Exchange, Response


class ExtensionEvents(Protocol):
    """What extensions tell their environment; every method is called on the event loop and returns at once."""

    def extension_ready(self) -> None:
        """One of them waits for its next event."""

    def extension_failed(self, error_type: str, reason: str) -> None:
        """One of them told that it cannot go on. It ends by itself afterwards."""


class Extension:
    """One extension."""

    def __init__(self, name: str, *, is_external: bool) -> None:
        self.name = name
        self.is_external = is_external
        self.id = ""
        self.state = State.STARTED
        self.events: tuple[Event, ...] = ()
        self.error_type = ""
        self._waiting: Exchange | None = None
        self._pending: deque[bytes] = deque()

    def step(self, call: Call) -> None:
        """Raises Refused for a call out of order."""
        following = NEXT_STATE[self.state].get(call)
        if following is None:
            raise wrong_order(self.name, self.state, call)
        self.state = following

    def wait(self, exchange: Exchange) -> None:
        """It asks for its next event and gets it on this exchange, at once or later."""
        self.step(Call.NEXT)
        self._waiting = exchange

    def give(self, event: bytes) -> None:
        """Hands over an event, or keeps it until the extension asks."""
        self._pending.append(event)
        self.give_pending()

    def give_pending(self) -> None:
        waiting = self._waiting
        if self.state is not State.READY or waiting is None or waiting.closed or not self._pending:
            return
        self._waiting = None
        self.step(Call.EVENT)
        headers = (("Content-Type", "application/json"), ("Lambda-Extension-Event-Identifier", str(uuid.uuid4())))
        waiting.send(Response(200, headers, self._pending.popleft()))


class _Nobody:
    """Listens to extensions whose environment has other things to do."""

    def extension_ready(self) -> None:
        pass

    def extension_failed(self, error_type: str, reason: str) -> None:
        pass


class Registry:
    """Routes ask it what is allowed and tell it what came; the environment gives it events.

    Methods that extensions call raise Refused.
    """

    def __init__(self, listener: ExtensionEvents) -> None:
        self._listener = listener
        self._by_name: dict[str, Extension] = {}
        self._by_id: dict[str, Extension] = {}
        self.is_open = True
        """Extensions may register: init is not over."""

    @property
    def all(self) -> list[Extension]:
        """In the order of their start or registration."""
        return list(self._by_name.values())

    @property
    def registered(self) -> list[Extension]:
        return list(self._by_id.values())

    @property
    def has_external(self) -> bool:
        return any(one.is_external for one in self._by_id.values())

    @property
    def is_init_complete(self) -> bool:
        """Everyone waits for an event; one that was started must have registered first."""
        return all(one.state is State.READY for one in self._by_name.values())

    @property
    def is_idle(self) -> bool:
        """Nobody works on an invocation any more."""
        return all(one.state is State.READY for one in self._by_id.values() if Event.INVOKE in one.events)

    # --- what extensions call ---

    def register(self, name: str, events: object) -> Extension:
        if not name:
            raise Refused("Extension.InvalidExtensionName", "Empty extension name")
        extension = self._by_name.get(name)
        if not self.is_open:
            raise Refused("Extension.RegistrationClosed", "Extension registration closed already")
        if extension is None:
            if len(self._by_name) >= MAX_EXTENSIONS:
                raise Refused("Extension.TooManyExtensions", f"Extension limit ({MAX_EXTENSIONS}) reached")
            extension = Extension(name, is_external=False)
        wanted = checked_events(events, is_external=extension.is_external)
        extension.step(Call.REGISTER)
        extension.events = wanted
        extension.id = str(uuid.uuid4())
        self._by_name[name] = self._by_id[extension.id] = extension
        return extension

    def find(self, identifier: str) -> Extension:
        """The extension that a call is from."""
        if not identifier:
            raise Refused("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
        try:
            known = str(uuid.UUID(identifier))
        except ValueError:
            raise Refused("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier") from None
        extension = self._by_id.get(known)
        if extension is None:
            raise Refused("Extension.UnknownExtensionIdentifier", f"Unknown extension {known}")
        return extension

    def wait(self, extension: Extension, exchange: Exchange) -> None:
        """It asks for its next event."""
        extension.wait(exchange)
        self._listener.extension_ready()
        extension.give_pending()

    def report(self, extension: Extension, call: Call, error_type: str) -> None:
        """It tells that init failed, or that it is about to end."""
        if not error_type:
            raise Refused("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found")
        extension.step(call)
        extension.error_type = error_type
        kind = "Extension.InitError" if call is Call.INIT_ERROR else "Extension.ExitError"
        self._listener.extension_failed(kind, reported_reason(extension.name, call, error_type))

    # --- what the environment calls ---

    def silence(self) -> None:
        """The listener is told nothing any more."""
        self._listener = _Nobody()

    def expect(self, names: tuple[str, ...]) -> None:
        """These external extensions are about to be started."""
        for name in names:
            self._by_name[name] = Extension(name, is_external=True)

    def launch_failed(self, name: str, error_type: str) -> None:
        """An external extension could not be executed."""
        extension = self._by_name[name]
        extension.step(Call.LAUNCH_ERROR)
        extension.error_type = error_type

    def ended(self, name: str) -> bool:
        """The process of an external extension is gone; False if it has told before that it would be."""
        extension = self._by_name[name]
        had_told = extension.state in (State.INIT_ERROR, State.EXIT_ERROR)
        extension.step(Call.EXIT)
        return not had_told

    def invoke(self, invocation: Invocation) -> None:
        """Tells everyone who wants to know of an invocation."""
        event: bytes | None = None
        for extension in self._by_id.values():
            if Event.INVOKE in extension.events:
                event = event or _invoke_event(invocation)
                extension.give(event)

    def shut_down(self, reason: ShutdownReason, deadline_ms: int) -> None:
        members = {"eventType": "SHUTDOWN", "deadlineMs": deadline_ms, "shutdownReason": reason.value}
        event = json.dumps(members, separators=(",", ":")).encode()
        for extension in self.to_shut_down:
            extension.give(event)

    @property
    def to_shut_down(self) -> list[Extension]:
        """Those whose end is waited for."""
        return [one for one in self._by_id.values() if Event.SHUTDOWN in one.events and one.state is not State.EXITED]


def _invoke_event(invocation: Invocation) -> bytes:
    members = {
        "eventType": "INVOKE",
        "deadlineMs": invocation.deadline_ms,
        "requestId": invocation.request_id,
        "invokedFunctionArn": invocation.invoked_function_arn,
        "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id},
    }
    return json.dumps(members, separators=(",", ":")).encode()
