"""What a function gets of a request to its URL: payload format 2.0 (AWS Lambda developer guide, function URLs)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from lambdad.domain.function_urls import FunctionUrl
from lambdad.domain.identity import Caller
from lambdad.domain.traces import new_root, parse
from lambdad.http.messages import Request

TRACE_HEADER = "x-amzn-trace-id"

_BETWEEN_HOPS = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "expect"}
)
"""Headers for the connection, which end at the service (AWS: recorded 2025-11 without them)."""
_TEXT_TYPES = ("text", "json", "xml", "javascript")
"""Content types that have one of these words come as text; forms and everything else as base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlCall:
    """A request to a URL, on its way to the function."""

    url: FunctionUrl
    request: Request
    path: str
    """Below the URL, still percent-encoded, with its slash."""
    domain: str
    """The name of the URL, with a port."""
    request_id: str
    received: datetime
    caller: Caller | None = None
    """None where nobody has to sign."""


def trace_of(request: Request, now_s: float) -> tuple[str, str]:
    """The trace header as the event shows it, and the trace for the invocation. A caller's trace is kept, and the
    service puts itself in front of it."""
    given = request.headers.get(TRACE_HEADER, "")
    if parse(given).get("Root"):
        return f"Self={new_root(now_s)};{given}", given
    made = f"Root={new_root(now_s)}"
    return made, made


def event_of(call: UrlCall, trace: str) -> bytes:
    """The event as JSON; `trace` is the header that it shows."""
    request = call.request
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": call.path,
        "rawQueryString": request.query,
    }
    cookies = request.headers.get("cookie")
    if cookies:
        event["cookies"] = [cookie for part in cookies.split(";") if (cookie := part.strip())]
    event["headers"] = _headers(request, trace)
    if request.query:
        event["queryStringParameters"] = _query(request.query)
    event["requestContext"] = _context(call)
    is_encoded = False
    if request.body:
        event["body"], is_encoded = _body(request)
    event["isBase64Encoded"] = is_encoded
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _headers(request: Request, trace: str) -> dict[str, str]:
    """There is no TLS here; the two headers that tell of it are there all the same, as functions find them on AWS."""
    headers = {name: value for name, value in request.headers.items() if name not in _BETWEEN_HOPS}
    if request.body:
        headers["content-length"] = str(len(request.body))
    forwarded = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{forwarded}, {request.peer_host}" if forwarded else request.peer_host
    headers["x-forwarded-port"] = str(request.local_port)
    headers["x-forwarded-proto"] = "http"
    headers["x-amzn-tls-version"] = "TLSv1.3"
    headers["x-amzn-tls-cipher-suite"] = "TLS_AES_128_GCM_SHA256"
    headers[TRACE_HEADER] = trace
    return headers


def _query(query: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def _context(call: UrlCall) -> dict[str, Any]:
    request, url, caller = call.request, call.url, call.caller
    context: dict[str, Any] = {
        "accountId": "anonymous" if caller is None else caller.account,
        "apiId": url.id,
    }
    if caller is not None:
        context["authorizer"] = {
            "iam": {
                "accessKey": caller.access_key_id,
                "accountId": caller.account,
                "callerId": caller.user_id,
                "cognitoIdentity": None,
                "principalOrgId": None,
                "userArn": caller.arn,
                "userId": caller.user_id,
            }
        }
    http = {
        "method": request.method,
        "path": call.path,
        "protocol": f"HTTP/{request.http_version}",
        "sourceIp": request.peer_host,
    }
    if "user-agent" in request.headers:
        http["userAgent"] = request.headers["user-agent"]
    return {
        **context,
        "domainName": call.domain,
        "domainPrefix": url.id,
        "http": http,
        "requestId": call.request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": call.received.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(call.received.timestamp() * 1000),
    }


def _body(request: Request) -> tuple[str, bool]:
    """The body as the event has it, and whether that is base64."""
    content_type = request.headers.get("content-type", "").lower()
    if any(word in content_type for word in _TEXT_TYPES):
        try:
            return request.body.decode("utf-8"), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(request.body).decode("ascii"), True
