"""How large a request's body may be, decided from its head and enforced while it is read."""

from __future__ import annotations

from collections.abc import Callable

from lambdad.http.messages import Request
from lambdad.wire.access.sigv2 import is_presigned

INVOKE_BYTES = 6_291_456
INVOKE_SLACK_BYTES = 1_048_576
"""So much over the limit Invoke still reads: it answers with the exact number of bytes (AWS: two texts)."""
UPLOAD_BYTES = 70_167_211
LAMBDA_BYTES = 6_291_456
OTHER_BYTES = 10_485_760
"""PutLogEvents and the like take 1 MiB of text, which JSON may escape to several times that."""
OBJECT_BYTES = 268_435_456
"""A single upload to S3, kept in memory while it arrives. Clients send larger objects in parts."""
OWN_BYTES = 1_048_576

_FUNCTIONS = "/2015-03-31/functions"
_INVOKE_ENDINGS = ("/invocations", "/response-streaming-invocations", "/invoke-async", "/invoke-async/")

Limit = tuple[int, int, str]
"""Bytes read at most, bytes that the error names, and the operation that it names ("" if not known yet)."""

_INVOKE: Limit = (INVOKE_BYTES + INVOKE_SLACK_BYTES, INVOKE_BYTES, "InvokeFunction")
_CREATE: Limit = (UPLOAD_BYTES, UPLOAD_BYTES, "CreateFunction")
_UPDATE: Limit = (UPLOAD_BYTES, UPLOAD_BYTES, "UpdateFunctionCode")
_LAYER: Limit = (UPLOAD_BYTES, UPLOAD_BYTES, "PublishLayerVersion")
_LAMBDA: Limit = (LAMBDA_BYTES, LAMBDA_BYTES, "")
_OTHER: Limit = (OTHER_BYTES, OTHER_BYTES, "")
OBJECT: Limit = (OBJECT_BYTES, OBJECT_BYTES, "")

LIMITS = (_INVOKE, _CREATE, _UPDATE, _LAYER, _LAMBDA, _OTHER, OBJECT)


def limit_of(request: Request) -> Limit:
    """The limit for a request to one of AWS's operations."""
    path = request.path
    if request.method == "PUT" and is_for_s3(request):
        return OBJECT
    if path.endswith(_INVOKE_ENDINGS):
        return _INVOKE
    if request.method == "POST":
        if path in (_FUNCTIONS, f"{_FUNCTIONS}/"):
            return _CREATE
        if path.startswith("/2018-10-31/layers/") and path.endswith("/versions"):
            return _LAYER
    elif request.method == "PUT" and path.startswith(_FUNCTIONS) and path.endswith("/code"):
        return _UPDATE
    return _LAMBDA if path.startswith("/20") else _OTHER


def is_for_s3(request: Request) -> bool:
    """Whether the signature is one for S3, as far as the head tells without reading it in full."""
    if "/s3/aws4_request" in request.headers.get("authorization", ""):
        return True
    return "%2Fs3%2Faws4_request" in request.query or is_presigned(request.query)


def too_large_text(limit: Limit, find_operation: Callable[[], str]) -> str:
    """AWS's text (recorded 2025-11): `Request must be smaller than N bytes for the X operation`."""
    return f"Request must be smaller than {limit[1]} bytes for the {limit[2] or find_operation()} operation"
