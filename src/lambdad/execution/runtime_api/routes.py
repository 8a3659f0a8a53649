"""The table of routes: Runtime API, Extensions API, Telemetry and Logs API."""

from __future__ import annotations

from typing import Final, Protocol
from urllib.parse import unquote

from lambdad.domain.extensions import Call
from lambdad.domain.telemetry_subscriptions import Api
from lambdad.execution.runtime_api import (
    error,
    extensions,
    init_error,
    next_invocation,
    response,
    restore,
    telemetry,
)
from lambdad.execution.runtime_api.session import Session
from lambdad.http import BodyPolicy, Exchange, Request, Response

BASE: Final = "/2018-06-01/runtime"
EXTENSION: Final = "/2020-01-01/extension"
_INVOCATION: Final = f"{BASE}/invocation/"


class Route(Protocol):
    """What a route's file has. `request_id` is the one in the path, empty where there is none."""

    def head(self, session: Session, request: Request, request_id: str) -> BodyPolicy | Response:
        """Refuses a call before its body is read, or says how to take the body."""

    def handle(self, session: Session, exchange: Exchange, request_id: str) -> None:
        """The call itself; what `head` checked may have changed while the body arrived."""


Found = tuple[str, Route, str]
"""Method, route and request id of a path."""

FIXED: Final[dict[str, tuple[str, Route]]] = {
    f"{BASE}/invocation/next": ("GET", next_invocation),
    f"{BASE}/init/error": ("POST", init_error),
    f"{BASE}/restore/next": ("GET", restore.Next()),
    f"{BASE}/restore/error": ("POST", restore.Error()),
    f"{EXTENSION}/register": ("POST", extensions.Register()),
    f"{EXTENSION}/event/next": ("GET", extensions.Next()),
    f"{EXTENSION}/init/error": ("POST", extensions.Report(Call.INIT_ERROR)),
    f"{EXTENSION}/exit/error": ("POST", extensions.Report(Call.EXIT_ERROR)),
    "/2022-07-01/telemetry": ("PUT", telemetry.Subscribe(Api.TELEMETRY)),
    "/2020-08-15/logs": ("PUT", telemetry.Subscribe(Api.LOGS)),
}
OF_INVOCATION: Final[dict[str, tuple[str, Route]]] = {
    "response": ("POST", response),
    "error": ("POST", error),
}


def find(path: str) -> Found | None:
    """The route of a path; None for an unknown one."""
    fixed = FIXED.get(path)
    if fixed is not None:
        return *fixed, ""
    if path.startswith(_INVOCATION):
        request_id, _, what = path[len(_INVOCATION) :].partition("/")
        found = OF_INVOCATION.get(what)
        if found is not None and request_id:
            return *found, unquote(request_id) if "%" in request_id else request_id
    return None
