"""Errors that the runtime itself puts into words, and the form of every error payload (awslambdaric)."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType
from typing import Any

IMPORT_MODULE_ERROR = "Runtime.ImportModuleError"
USER_CODE_SYNTAX_ERROR = "Runtime.UserCodeSyntaxError"
HANDLER_NOT_FOUND = "Runtime.HandlerNotFound"
MALFORMED_HANDLER_NAME = "Runtime.MalformedHandlerName"
BUILT_IN_MODULE_CONFLICT = "Runtime.BuiltInModuleConflict"
MARSHAL_ERROR = "Runtime.MarshalError"
UNMARSHAL_ERROR = "Runtime.UnmarshalError"
CONTEXT_UNMARSHAL_ERROR = "Runtime.LambdaContextUnmarshalError"

_CALL_OF_THE_HANDLER = (
    '  File "/var/runtime/awslambdaric/bootstrap.py", line 178, in handle_event_request\n'
    "    response = request_handler(event, lambda_context)\n"
)
"""The one frame of a call that never got into the handler (awslambdaric 4.2.2, where it lies on AWS)."""
_OWN_PLACE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Fault(Exception):
    """An error of the runtime's making, with its type and the stack trace to show."""

    def __init__(self, kind: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trace = trace


class Places:
    """Where the environment's files lie, if they do not lie where functions expect them.

    Without mount namespaces the code is not under /var/task and Python not under /var/lang; what callers and logs
    are shown says so nevertheless.
    """

    def __init__(self) -> None:
        self.moved: list[tuple[str, str]] = []

    def add(self, real: str, shown: str) -> None:
        real = real.rstrip("/")
        if real and real != shown:
            self.moved.append((real + "/", shown + "/"))

    def shown(self, path: str) -> str:
        for real, shown in self.moved:
            if path.startswith(real):
                return shown + path[len(real) :]
        return path


places = Places()


def payload(message: str, kind: str, trace: list[str] | None, request_id: str = "") -> dict[str, Any]:
    """The error as its payload is written: the keys in AWS's order.

    The runtime of Python 3.8 is older than the key requestId (AWS: recorded 2026-01).
    """
    error: dict[str, Any] = {"errorMessage": message or "", "errorType": kind or ""}
    if sys.version_info >= (3, 9):  # noqa: UP036 - functions may run on 3.8
        error["requestId"] = request_id
    error["stackTrace"] = trace or []
    return error


def describe(value: BaseException, request_id: str = "") -> dict[str, Any]:
    """The payload of an exception that user code has raised; the runtime's own leading frames are left out.

    awslambdaric keeps its own where there are no others: of a handler that takes other arguments or cannot be called.
    """
    return payload(str(value), type(value).__name__, stack(value.__traceback__), request_id)


def stack(trace: TracebackType | None) -> list[str]:
    """One text for each frame, as `traceback.format_list` has printed frames before Python 3.11 drew carets."""
    frames = traceback.extract_tb(trace)
    first = 0
    while first < len(frames) and frames[first].filename.startswith(_OWN_PLACE):
        first += 1
    if first == len(frames):
        return [_CALL_OF_THE_HANDLER]
    return traceback.format_list(
        [(places.shown(frame.filename), frame.lineno or 0, frame.name, frame.line) for frame in frames[first:]]
    )
