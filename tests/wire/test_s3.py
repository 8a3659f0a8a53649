"""S3 at the edge: buckets in hosts, the content coding aws-chunked, checksums, limits."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest

from lambdad.domain.errors import ServiceError
from lambdad.http.messages import Request
from lambdad.wire import aws_chunked, limits, s3
from lambdad.wire.access.hosts import HostNames


def a_put(body: bytes, **headers: str) -> Request:
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return Request("PUT", "/bucket/key", "", {"host": "localhost:4566", **given}, body)


def base64_of(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("localhost:4566", None),
        ("127.0.0.1:4566", None),
        ("s3.localhost:4566", None),
        ("s3.eu-west-1.localhost", None),
        ("s3-eu-west-1.localhost", None),
        ("my-bucket.localhost:4566", "my-bucket"),
        ("my.dotted.bucket.localhost", "my.dotted.bucket"),
        ("my-bucket.s3.localhost:4566", "my-bucket"),
        ("MY-bucket.s3.eu-west-1.LOCALHOST:4566", "my-bucket"),
        ("a.s3.b.s3.us-gov-west-1.localhost", "a.s3.b"),
        ("my-bucket.s3.lambdad.example", "my-bucket"),
    ],
)
def test_the_bucket_of_a_host(host: str, bucket: str | None):
    hosts = HostNames("127.0.0.1", ["lambdad.example"])
    assert hosts.serves(host)
    assert s3.bucket_of(hosts.subdomain(host)) == bucket


def test_a_bucket_in_the_host_moves_into_the_path():
    assert s3.plain(a_put(b""), "my-bucket.s3").path == "/my-bucket/bucket/key"
    assert s3.plain(a_put(b""), "s3").path == "/bucket/key"


def test_chunks_with_a_checksum_behind_them():
    crc = base64_of(zlib.crc32(b"hello, world").to_bytes(4, "big"))
    body = f"7\r\nhello, \r\n5\r\nworld\r\n0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n".encode()
    made = s3.plain(
        a_put(
            body,
            content_encoding="gzip,aws-chunked",
            x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            x_amz_decoded_content_length="12",
            x_amz_trailer="x-amz-checksum-crc32",
        )
    )
    assert made.body == b"hello, world"
    assert made.headers["content-encoding"] == "gzip"
    assert made.headers["x-amz-checksum-crc32"] == crc
    assert made.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert "x-amz-trailer" not in made.headers
    assert "x-amz-decoded-content-length" not in made.headers


def test_signed_chunks():
    body = b"5;chunk-signature=ab\r\nhello\r\n0;chunk-signature=cd\r\n\r\n"
    made = s3.plain(
        a_put(body, content_encoding="aws-chunked", x_amz_content_sha256="STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    )
    assert made.body == b"hello"
    assert "content-encoding" not in made.headers


@pytest.mark.parametrize(
    "body", [b"", b"5\r\nhel", b"x\r\nhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"3\r\nabc\r\n"]
)
def test_broken_chunks(body: bytes):
    with pytest.raises(ServiceError) as caught:
        aws_chunked.read(body)
    assert caught.value.code == "InvalidChunkSizeError"


def test_fewer_bytes_than_announced():
    with pytest.raises(ServiceError) as caught:
        s3.plain(
            a_put(
                b"2\r\nab\r\n0\r\n\r\n",
                x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                x_amz_decoded_content_length="3",
            )
        )
    assert caught.value.code == "IncompleteBody"


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("content_md5", hashlib.md5(b"text").digest()),
        ("x_amz_checksum_crc32", zlib.crc32(b"text").to_bytes(4, "big")),
        ("x_amz_checksum_sha1", hashlib.sha1(b"text").digest()),
        ("x_amz_checksum_sha256", hashlib.sha256(b"text").digest()),
    ],
)
def test_checksums_are_compared(name: str, digest: bytes):
    assert s3.plain(a_put(b"text", **{name: base64_of(digest)})).body == b"text"
    with pytest.raises(ServiceError) as caught:
        s3.plain(a_put(b"other", **{name: base64_of(digest)}))
    assert caught.value.code == "BadDigest"


@pytest.mark.parametrize(
    "request_",
    [
        Request(
            "PUT", "/b/k", "", {"authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/s3/aws4_request"}
        ),
        Request("PUT", "/b/k", "X-Amz-Credential=test%2F20260101%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Signature=1"),
        Request("PUT", "/b/k", "AWSAccessKeyId=test&Signature=x&Expires=1"),
    ],
)
def test_uploads_have_a_limit_of_their_own(request_: Request):
    assert limits.limit_of(request_) is limits.OBJECT
    request_.method = "POST"
    assert limits.limit_of(request_) is not limits.OBJECT
