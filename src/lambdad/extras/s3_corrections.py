"""What moto's S3 keeps and does not show."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote

from lambdad.http.messages import Request, Response

_CLOSED = re.compile(rb"<NotificationConfiguration([^>]*?)\s*/>")
_END = b"</NotificationConfiguration>"
_SWITCHED_ON = b"<EventBridgeConfiguration/>"


def corrected(request: Request, account: str, response: Response) -> Response:
    """The answer with what is missing in it; on moto's thread."""
    if request.method != "GET" or response.status != 200 or "notification" not in _names(request.query):
        return response
    bucket = _bucket(account, unquote(request.path.strip("/").partition("/")[0]))
    configuration = getattr(bucket, "notification_configuration", None)
    if configuration is None or configuration.event_bridge is None or _SWITCHED_ON[:-2] in response.body:
        return response
    # Terraform would switch it on again and again.
    body = _CLOSED.sub(rb"<NotificationConfiguration\1>" + _END, response.body)
    return replace(response, body=body.replace(_END, _SWITCHED_ON + _END))


def _names(query: str) -> set[str]:
    return {name for name, _ in parse_qsl(query, keep_blank_values=True)}


def _bucket(account: str, name: str) -> Any:
    from moto.s3.models import s3_backends

    return next((backend.buckets[name] for backend in s3_backends[account].values() if name in backend.buckets), None)
