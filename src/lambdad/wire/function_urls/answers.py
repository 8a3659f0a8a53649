"""What a function's result becomes over HTTP (AWS Lambda developer guide, function URLs: response payload)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lambdad.domain.invocations import Outcome

HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"
"""The content type of a stream that begins with a prelude: JSON with status, headers and cookies, then eight NULs."""
PRELUDE_END = b"\0" * 8
MAX_PRELUDE_BYTES = 1_048_576

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS_WITHOUT_MEANING = "the statusCode is not one of 200 to 599"

Headers = list[tuple[str, str]]


class BadAnswer(Exception):
    """The function's result cannot be an HTTP response; the text says why, for the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlAnswer:
    """A response as the function meant it."""

    status: int
    headers: Headers
    """Names in lower case."""
    body: bytes = b""


def answer_of(outcome: Outcome) -> UrlAnswer:
    """The response for a result that came whole. Raises BadAnswer."""
    payload = outcome.payload
    if outcome.content_type.startswith(HTTP_INTEGRATION):
        prelude, separator, body = payload.partition(PRELUDE_END)
        if not separator:
            raise BadAnswer("the stream ended before its prelude did")
        return replace(prelude_of(prelude), body=body)
    if not outcome.content_type.startswith("application/json"):
        return UrlAnswer(status=200, headers=[("content-type", outcome.content_type)], body=payload)
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        raise BadAnswer("the result is not JSON") from None
    if isinstance(value, dict) and "statusCode" in value:
        headers = _headers_of(value, default_type="application/json")
        return UrlAnswer(status=_status_of(value), headers=headers, body=_body_of(value))
    return UrlAnswer(status=200, headers=[("content-type", "application/json")], body=_plain_body(value, payload))


def _plain_body(value: Any, payload: bytes) -> bytes:
    """A text goes out without its quotes, other values without the blanks between their parts (AWS: recorded
    2025-11)."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, dict | list) and any(blank in payload for blank in (b" ", b"\n", b"\t")):
        try:
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        except ValueError:  # a number or a text that is better left as the function wrote it
            return payload
    return payload


def prelude_of(prelude: bytes) -> UrlAnswer:
    """Status and headers of a stream. Raises BadAnswer."""
    try:
        value = json.loads(prelude)
    except (ValueError, RecursionError):
        raise BadAnswer("the prelude is not JSON") from None
    if not isinstance(value, dict):
        raise BadAnswer("the prelude is not an object")
    status = 200 if "statusCode" not in value else _status_of(value)
    return UrlAnswer(status=status, headers=_headers_of(value, default_type="application/octet-stream"))


def _status_of(value: Mapping[str, Any]) -> int:
    status = value["statusCode"]
    if isinstance(status, str) and status.isascii() and status.isdigit():
        status = int(status[:9])
    if isinstance(status, float) and status.is_integer():
        status = int(status)
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise BadAnswer(_STATUS_WITHOUT_MEANING)
    return status


def _headers_of(value: Mapping[str, Any], *, default_type: str) -> Headers:
    given, cookies = value.get("headers") or {}, value.get("cookies") or []
    if not isinstance(given, dict) or not isinstance(cookies, list):
        raise BadAnswer("headers have to be an object and cookies a list")
    headers = [(str(name).lower(), _text_of(name, one)) for name, one in given.items() if one is not None]
    headers += [("set-cookie", _text_of("cookies", cookie)) for cookie in cookies]
    for name, _ in headers:
        if not _HEADER_NAME.fullmatch(name):
            raise BadAnswer(f"{name!r} is not the name of a header")
    if not any(name == "content-type" for name, _ in headers):
        headers.insert(0, ("content-type", default_type))
    return headers


def _text_of(name: str, value: Any) -> str:
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int | float):
        value = json.dumps(value)
    if not isinstance(value, str):
        raise BadAnswer(f"the value of the header {name} is not a text")
    text: str = value
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        # What is not latin-1 goes out as UTF-8, which is what most clients read it as.
        text = text.encode("utf-8", "replace").decode("latin-1")
    if any(ord(character) < 32 and character != "\t" for character in text) or "\x7f" in text:
        raise BadAnswer(f"the value of the header {name} has control characters")
    return text


def _body_of(value: Mapping[str, Any]) -> bytes:
    body = value.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise BadAnswer("the body is not a text")
    if value.get("isBase64Encoded") is not True:
        return body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise BadAnswer("the body is not base64") from None
