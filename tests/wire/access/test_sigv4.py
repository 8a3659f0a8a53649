"""Signatures against botocore's own signers."""

from __future__ import annotations

import string
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdad.http.messages import Request
from lambdad.wire.access import sigv4
from lambdad.wire.access.errors import IncompleteSignature, SignatureMismatch
from tests.wire.harness import request_of

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEY = Credentials("AKIDEXAMPLE", SECRET)
HOST = "http://localhost:4566"

words = st.text(alphabet=string.ascii_letters + string.digits + "-_.~:$/+ =&%'()*!ü☃", max_size=12)
segments = st.lists(words.map(lambda word: quote(word, safe="~")), max_size=4)
queries = st.lists(st.tuples(words.filter(bool), words), max_size=4)
header_values = st.text(alphabet=string.ascii_letters + string.digits + " ;=,/", max_size=20).map(str.strip)
bodies = st.binary(max_size=64)


def signed(
    method: str = "POST",
    path: str = "/",
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    *,
    service: str = "lambda",
    token: str | None = None,
) -> Request:
    url = f"{HOST}{path}?{query}" if query else f"{HOST}{path}"
    request = AWSRequest(method, url, data=body, headers=headers or {})
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(Credentials("AKIDEXAMPLE", SECRET, token), service, "eu-west-1").add_auth(request)
    return request_of(request.prepare())


def presigned(path: str = "/", query: str = "", *, service: str = "lambda", expires: int = 600) -> Request:
    url = f"{HOST}{path}?{query}" if query else f"{HOST}{path}"
    request = AWSRequest("GET", url)
    signer = S3SigV4QueryAuth if service == "s3" else SigV4QueryAuth
    signer(KEY, service, "eu-west-1", expires=expires).add_auth(request)
    return request_of(request.prepare())


def check(request: Request, secret: str = SECRET) -> None:
    signature = sigv4.read(request)
    assert signature is not None
    sigv4.verify(request, signature, secret)


@settings(max_examples=150, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    parts=segments,
    query=queries,
    extra=header_values,
    body=bodies,
    service=st.sampled_from(["lambda", "sqs", "logs", "s3"]),
    trailing=st.booleans(),
)
def test_what_botocore_signs_is_accepted_and_any_change_is_not(method, parts, query, extra, body, service, trailing):
    path = "/" + "/".join(parts) + ("/" if trailing else "")
    encoded = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    request = signed(method, path, encoded, {"X-Amz-Meta-Extra": extra, "Content-Type": "a/b"}, body, service=service)
    check(request)

    for change in (
        {"method": "PATCH"},
        {"path": request.path + "x"},
        {"query": (request.query + "&" if request.query else "") + "added=1"},
        {"body": request.body + b"x"},
        {"headers": {**request.headers, "x-amz-meta-extra": extra + "x"}},
        {"headers": {**request.headers, "host": "evil.example"}},
    ):
        changed = Request(**{**_fields(request), **change})
        if service == "s3" and "body" in change:
            continue  # the announced hash is compared below
        with pytest.raises(SignatureMismatch):
            check(changed)
    with pytest.raises(SignatureMismatch):
        check(request, SECRET + "x")


def _fields(request: Request) -> dict[str, object]:
    return {name: getattr(request, name) for name in ("method", "path", "query", "headers", "body")}


@settings(max_examples=60, deadline=None)
@given(parts=segments, query=queries, service=st.sampled_from(["lambda", "sts", "s3"]))
def test_what_botocore_presigns_is_accepted_and_any_change_is_not(parts, query, service):
    path = "/" + "/".join(parts)
    encoded = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    request = presigned(path, encoded, service=service)
    assert sigv4.carries_signature(request)
    check(request)
    request.query = request.query.replace("X-Amz-Expires=600", "X-Amz-Expires=601")
    with pytest.raises(SignatureMismatch):
        check(request)


def test_an_announced_hash_must_be_that_of_the_body():
    request = signed(body=b"abc", headers={"x-amz-content-sha256": sigv4.EMPTY_HASH})
    with pytest.raises(SignatureMismatch):
        check(request)


class _UnsignedPayload(SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        return sigv4.UNSIGNED_PAYLOAD


def test_an_unsigned_payload_is_not_looked_at():
    unsigned = AWSRequest("PUT", f"{HOST}/x", data=b"abc", headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    _UnsignedPayload(KEY, "lambda", "eu-west-1").add_auth(unsigned)
    request = request_of(unsigned.prepare())
    request.body = b"something else"
    check(request)


@pytest.mark.parametrize("query", ["a=x+y", "b=2&a=1&a=0", "flag", "a=%7E~", "list=a%2Fb", "x=%e2%98%83"])
def test_clients_that_sign_the_query_in_its_canonical_form_are_accepted(query: str):
    # The signature is over the decoded and newly encoded query, the wire has another spelling of it.
    canonical = sigv4._normal_query(query, presigned=False)
    request = signed("GET", "/", canonical)
    request.query = query
    check(request)


def test_runs_of_spaces_in_a_header_count_as_one():
    request = signed(headers={"X-Amz-Meta-Note": "a  b   c"})
    check(request)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("Bearer x", "Unsupported AWS 'algorithm': 'Bearer'"),
        ("AWS4-HMAC-SHA256 Foo=1", "Authorization header requires 'Credential' parameter."),
        (
            "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c",
            "Credential must have exactly 5 slash-delimited elements",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/2026/r/s/aws4_request, SignedHeaders=host, Signature=c",
            "Date in Credential scope",
        ),
        ("", "Unsupported AWS 'algorithm'"),
        ("AWS4-HMAC-SHA256 Credential=a/20261123/r/s/aws4_request, SignedHeaders=host, Signature=c", "X-Amz-Date"),
    ],
)
def test_malformed_headers_are_named(header: str, text: str):
    with pytest.raises(IncompleteSignature, match=text.replace("(", r"\(")):
        sigv4.read(Request("POST", "/", headers={"authorization": header, "host": "localhost"}))


def test_the_host_must_be_signed():
    header = "AWS4-HMAC-SHA256 Credential=a/20261123/r/s/aws4_request, SignedHeaders=x-amz-date, Signature=c"
    with pytest.raises(SignatureMismatch, match="must be a 'SignedHeader'"):
        sigv4.read(Request("POST", "/", headers={"authorization": header}))


def test_the_day_of_the_scope_must_be_that_of_the_date():
    request = signed()
    request.headers["x-amz-date"] = "20010101T000000Z"
    with pytest.raises(SignatureMismatch, match="Date in Credential scope does not match"):
        check(request)


@settings(max_examples=200, deadline=None)
@given(header=st.text(max_size=120) | words.map(lambda word: f"AWS4-HMAC-SHA256 {word}"), query=st.text(max_size=60))
def test_no_header_makes_the_reader_fail_otherwise(header: str, query: str):
    headers = {"authorization": header, "host": "localhost", "x-amz-date": "20261123T000000Z"}
    for request in (
        Request("POST", "/", headers=headers),
        Request("GET", "/", "X-Amz-Signature=x&X-Amz-Algorithm=AWS4-HMAC-SHA256&" + query, {"host": "localhost"}),
    ):
        try:
            signature = sigv4.read(request)
            if signature is not None:
                sigv4.verify(request, signature, SECRET)
                pytest.fail("a made-up signature was accepted")
        except (IncompleteSignature, SignatureMismatch):
            pass
