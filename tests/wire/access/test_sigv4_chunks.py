"""The examples of AWS's documentation for signed chunks."""

from __future__ import annotations

import pytest

from lambdad.domain.errors import ServiceError
from lambdad.http.messages import Request
from lambdad.wire.access import sigv4_chunks
from lambdad.wire.access.errors import SignatureMismatch
from lambdad.wire.access.sigv4 import Scope, Signature

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SIZES = (65_536, 1024, 0)
PLAIN = (
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)
"""The signature of the head, then those of the chunks."""
WITH_TRAILER = (
    "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
)
TRAILERS = (
    "x-amz-checksum-crc32c:sOO8/Q==\r\n"
    "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
)


def a_request(signatures: tuple[str, ...], trailers: str = "", letter: bytes = b"a") -> Request:
    parts = [
        f"{size:x};chunk-signature={signature}\r\n".encode() + letter * size + (b"\r\n" if size else b"")
        for size, signature in zip(SIZES, signatures[1:], strict=True)
    ]
    kind = sigv4_chunks.SIGNED + ("-TRAILER" if trailers else "")
    return Request("PUT", "/b/k", "", {"x-amz-content-sha256": kind}, b"".join([*parts, trailers.encode(), b"\r\n"]))


def signature_of(signatures: tuple[str, ...]) -> Signature:
    scope = Scope("AKIAIOSFODNN7EXAMPLE", "20130524", "us-east-1", "s3")
    return Signature(scope, ("host",), signatures[0], "20130524T000000Z", "")


@pytest.mark.parametrize(("signatures", "trailers"), [(PLAIN, ""), (WITH_TRAILER, TRAILERS)])
def test_the_documented_examples(signatures: tuple[str, ...], trailers: str):
    request = a_request(signatures, trailers)
    assert sigv4_chunks.are_signed(request)
    sigv4_chunks.verify(request, signature_of(signatures), SECRET)


@pytest.mark.parametrize(
    "request_",
    [
        a_request(PLAIN, letter=b"b"),
        a_request((*PLAIN[:3], PLAIN[2])),
        a_request(PLAIN, TRAILERS),
        a_request(WITH_TRAILER, TRAILERS.replace("sOO8", "sOO9")),
        a_request(WITH_TRAILER, "x-amz-checksum-crc32c:sOO8/Q==\r\n"),
        a_request(("", "", "", "")),
    ],
)
def test_anything_else_is_refused(request_: Request):
    signatures = WITH_TRAILER if request_.headers["x-amz-content-sha256"] != sigv4_chunks.SIGNED else PLAIN
    with pytest.raises(SignatureMismatch):
        sigv4_chunks.verify(request_, signature_of(signatures), SECRET)


def test_a_body_that_ends_early_is_refused():
    request = a_request(PLAIN)
    request.body = request.body[:60_000]
    with pytest.raises(ServiceError):
        sigv4_chunks.verify(request, signature_of(PLAIN), SECRET)
