"""Signature Version 2 in the query, which boto3 still makes for presigned S3 URLs in older regions by default.

`?AWSAccessKeyId=…&Signature=…&Expires=…`; nothing of it names a region, so that of its time counts: us-east-1. The
canonical form is that of the S3 developer guide, "Signing and authenticating REST requests".
"""

from __future__ import annotations

import base64
import hmac
from urllib.parse import parse_qs, unquote_plus

from lambdad.http.messages import Request
from lambdad.wire.access.errors import AccessRefused, IncompleteSignature, SignatureMismatch
from lambdad.wire.access.sigv4 import Scope

REGION = "us-east-1"
SERVICE = "s3"
_SUBRESOURCES = frozenset(
    {
        "accelerate", "acl", "cors", "defaultObjectAcl", "delete", "lifecycle", "location", "logging", "notification",
        "partNumber", "policy", "replication", "requestPayment", "response-cache-control",
        "response-content-disposition", "response-content-encoding", "response-content-language",
        "response-content-type", "response-expires", "restore", "tagging", "torrent", "uploadId", "uploads",
        "versionId", "versioning", "versions", "website",
    }
)  # fmt: skip
"""Query parameters that are part of what is signed."""


class PresignedV2:
    """The signature of such a URL."""

    __slots__ = ("expires_at", "scope", "session_token", "value")

    def __init__(self, scope: Scope, value: str, session_token: str, expires_at: int) -> None:
        self.scope = scope
        self.value = value
        self.session_token = session_token
        self.expires_at = expires_at
        """Unix seconds."""


def is_presigned(query: str) -> bool:
    """Whether a query has such a signature."""
    return "AWSAccessKeyId=" in query and "Signature=" in query and "X-Amz-Signature=" not in query


def read(request: Request) -> PresignedV2 | None:
    """The signature of a request, None if it has none of this kind. Raises IncompleteSignature."""
    if not is_presigned(request.query):
        return None
    fields = parse_qs(request.query)
    expires = fields.get("Expires", [""])[0]
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
        raise IncompleteSignature(
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        )
    scope = Scope(fields.get("AWSAccessKeyId", [""])[0], "", REGION, SERVICE)
    token = fields.get("x-amz-security-token", [""])[0]
    return PresignedV2(scope, fields.get("Signature", [""])[0], token, int(expires))


def check_time(signature: PresignedV2, now: float) -> None:
    """Raises AccessRefused after the time that the URL was made for (AWS: S3, 403 AccessDenied)."""
    if signature.expires_at < now:
        raise AccessRefused("Request has expired")


def verify(request: Request, signature: PresignedV2, secret: str) -> None:
    """Raises SignatureMismatch unless the URL was signed with `secret`."""
    text = _string_to_sign(request, signature.expires_at)
    made = base64.b64encode(hmac.digest(secret.encode(), text.encode("utf-8", "replace"), "sha1"))
    if not hmac.compare_digest(made, signature.value.encode("utf-8", "replace")):
        raise SignatureMismatch


def _string_to_sign(request: Request, expires_at: int) -> str:
    query = [
        (name, unquote_plus(value)) for name, _, value in (pair.partition("=") for pair in request.query.split("&"))
    ]
    # Headers that were signed may travel in the query.
    headers = request.headers | {name.lower(): value for name, value in query}
    own = sorted(f"{name}:{value}" for name, value in headers.items() if name.startswith("x-amz-"))
    chosen = sorted((name, value) for name, value in query if name in _SUBRESOURCES)
    resource = request.path
    if chosen:
        resource += "?" + "&".join(f"{name}={value}" if value else name for name, value in chosen)
    lines = [request.method, headers.get("content-md5", ""), headers.get("content-type", ""), str(expires_at)]
    return "\n".join([*lines, *own, resource])
