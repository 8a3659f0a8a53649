"""Signatures of the chunks of a body, each of which covers the one before it (AWS: S3 API reference, "Signature
calculations for the authorization header: transferring payload in multiple chunks")."""

from __future__ import annotations

import hashlib
import hmac

from lambdad.http.messages import Request
from lambdad.wire import aws_chunked
from lambdad.wire.access.errors import SignatureMismatch
from lambdad.wire.access.sigv4 import EMPTY_HASH, Signature, signing_key

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
"""What the head says of such a body; `-TRAILER` behind it if the trailers are signed too."""
TRAILER_SIGNATURE = "x-amz-trailer-signature"


def are_signed(request: Request) -> bool:
    return request.headers.get("x-amz-content-sha256", "").startswith(SIGNED)


def verify(request: Request, signature: Signature, secret: str) -> None:
    """For a body whose head `signature` signs. Raises SignatureMismatch, and ServiceError for broken chunks."""
    scope = signature.scope
    key = signing_key(secret, scope.date, scope.region, scope.service)
    before = signature.value
    body = aws_chunked.read(request.body)

    def check(kind: str, hashes: str, given: str) -> None:
        text = f"AWS4-HMAC-SHA256-{kind}\n{signature.amz_date}\n{scope.text}\n{before}\n{hashes}"
        made = hmac.digest(key, text.encode("latin-1", "replace"), "sha256").hex()
        if not (given.isascii() and hmac.compare_digest(made, given)):
            raise SignatureMismatch

    for chunk in body.chunks:
        check("PAYLOAD", f"{EMPTY_HASH}\n{hashlib.sha256(chunk.data).hexdigest()}", chunk.signature)
        before = chunk.signature
    if request.headers["x-amz-content-sha256"] != SIGNED:
        lines = [f"{name}:{text}\n" for name, text in body.trailers.items() if name != TRAILER_SIGNATURE]
        hashed = hashlib.sha256("".join(lines).encode("latin-1", "replace")).hexdigest()
        check("TRAILER", hashed, body.trailers.get(TRAILER_SIGNATURE, ""))
