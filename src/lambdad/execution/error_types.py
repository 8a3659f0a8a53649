"""The error types that a runtime may declare."""

from __future__ import annotations

import re

_DECLARABLE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")


def declared_error_type(text: str) -> str:
    """The error type that goes to logs and metrics; the payload is never touched.

    Only `Runtime.Word` and `Function.Word` pass; anything else, such as an exception's class name, becomes
    `Function.Unknown` if it at least begins with `Function.`, and `Runtime.Unknown` otherwise (RIE).
    """
    if _DECLARABLE.fullmatch(text):
        return text
    return "Function.Unknown" if text.startswith("Function.") else "Runtime.Unknown"
