"""S3 at the edge: where the bucket is named, and what its clients wrap around a body.

Buckets are named in the path or in the host (`BUCKET.localhost`, `BUCKET.s3.localhost`, `BUCKET.s3.REGION.localhost`).
Bodies may come in the content coding `aws-chunked`, with signatures of their chunks and checksums behind them (AWS:
S3 user guide, "Signature calculations… multiple chunks"). What is behind the edge gets the bucket in the path and
the plain body, whose checksums were compared.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from lambdad.domain.errors import ServiceError
from lambdad.http.messages import Request
from lambdad.wire import aws_chunked

SIGNING_NAMES = frozenset({"s3", "s3express"})
STREAMING = "STREAMING-"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

_ENDPOINT = re.compile(r"s3(\.dualstack)?([.-][a-z]{2}(-[a-z]+)+-\d)?", re.ASCII)
"""What may stand between the bucket and the server's own name."""
_CHECKSUM = re.compile(r"x-amz-checksum-(crc32|crc32c|crc64nvme|sha1|sha256)", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)

_CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
}
"""Those that the standard library computes fast. CRC32C and CRC64NVME are stored as they come."""


def plain(request: Request, subdomain: str = "") -> Request:
    """The request in path style with a plain body; `subdomain` is what its Host has before the server's own name.

    Raises ServiceError for a body that is broken or not what its checksums say.
    """
    bucket = bucket_of(subdomain)
    headers, body = dict(request.headers), request.body
    if headers.get("x-amz-content-sha256", "").startswith(STREAMING):
        chunked = aws_chunked.read(body)
        body, trailers = chunked.content, chunked.trailers
        declared = headers.pop("x-amz-decoded-content-length", "")
        if declared.isdigit() and int(declared) != len(body):
            raise ServiceError(
                "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header"
            )
        headers |= {name: text for name, text in trailers.items() if name.startswith("x-amz-checksum-")}
        headers.pop("x-amz-trailer", None)
        headers["x-amz-content-sha256"] = UNSIGNED_PAYLOAD
        codings = [each.strip() for each in headers.get("content-encoding", "").split(",")]
        codings = [each for each in codings if each not in ("", "aws-chunked")]
        if codings:
            headers["content-encoding"] = ",".join(codings)
        else:
            headers.pop("content-encoding", None)
    if request.method == "PUT":
        _compare_checksums(headers, body)
        algorithm = next((name for name in headers if _CHECKSUM.fullmatch(name)), None)
        if algorithm is not None:  # whoever stores the object looks at this header to learn of the other
            headers.setdefault("x-amz-sdk-checksum-algorithm", algorithm.rpartition("-")[2].upper())
    path = request.path if bucket is None else f"/{bucket}{request.path}"
    return replace(request, path=path, headers=headers, body=body)


def bucket_of(subdomain: str) -> str | None:
    """The bucket that a host names before the server's own name; None for path style, such as `s3.localhost`."""
    if not subdomain or _ENDPOINT.fullmatch(subdomain):
        return None
    bucket, dot, rest = subdomain.rpartition(".s3")
    if not (dot and _ENDPOINT.fullmatch(f"s3{rest}")):
        bucket = subdomain
    return bucket if _BUCKET.fullmatch(bucket) else None


def too_large(limit_bytes: int) -> ServiceError:
    """For an object whose single upload passes what this server takes at once."""
    return ServiceError(
        "EntityTooLarge",
        f"Your proposed upload exceeds the maximum allowed size, which is {limit_bytes} bytes on this server. "
        "Upload it in parts.",
    )


def _compare_checksums(headers: Mapping[str, str], body: bytes) -> None:
    given = headers.get("content-md5")
    if given is not None and given != _base64(hashlib.md5(body, usedforsecurity=False).digest()):
        raise ServiceError("BadDigest", "The Content-MD5 you specified did not match what we received.")
    for name, compute in _CHECKSUMS.items():
        given = headers.get(name)
        if given is not None and given != _base64(compute(body)):
            kind = name.rpartition("-")[2].upper()
            raise ServiceError("BadDigest", f"The {kind} you specified did not match the calculated checksum.")


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")
