"""Presigned S3 URLs of the older kind, as boto3 makes them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from lambdad.domain.credentials import TemporaryKeys
from lambdad.http.messages import Request
from lambdad.wire.access.errors import AccessRefused, IncompleteSignature, SignatureMismatch, UnknownAccessKey
from lambdad.wire.access.gate import AuthMode, Gate
from tests.wire.harness import SECRET, Keys

NOW = 1_900_000_000.0


def presigned(
    operation: str, *, key: str = "111122223333", secret: str = "test", token: str | None = None, **params: Any
) -> Request:
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url="http://localhost:4566",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(signature_version="s3"),
    )
    url = client.generate_presigned_url(operation, Params=params, ExpiresIn=60)
    parts = urlsplit(url)
    assert "Signature=" in parts.query
    assert "X-Amz-" not in parts.query
    return Request("PUT" if operation == "put_object" else "GET", parts.path, parts.query, {"host": "localhost:4566"})


def a_gate(mode: AuthMode = AuthMode.DEV, now: float = 0.0) -> Gate:
    return Gate(mode, Keys(), TemporaryKeys(SECRET), lambda: now)


def test_the_account_of_the_key_is_the_caller():
    caller, service = a_gate().identify(presigned("get_object", Bucket="b", Key="a b/ü"))
    assert (caller.account, caller.region, service) == ("111122223333", "us-east-1", "s3")


def test_subresources_and_headers_are_signed_too():
    request = presigned("get_object", Bucket="b", Key="k", VersionId="v", ResponseContentType="text/plain; x=y")
    a_gate().identify(request)
    request.query = request.query.replace("versionId=v", "versionId=w")
    with pytest.raises(SignatureMismatch):
        a_gate().identify(request)


def test_an_upload_with_a_content_type():
    request = presigned("put_object", Bucket="b", Key="k", ContentType="text/plain")
    a_gate().identify(request)
    request.query = request.query.replace("plain", "html")
    with pytest.raises(SignatureMismatch):
        a_gate().identify(request)


def test_temporary_keys_whose_token_needs_encoding():
    temporary = TemporaryKeys(SECRET)
    for number in range(20):  # some of the tokens have signs that queries encode
        keys = temporary.issue(
            account="111122223333",
            arn=f"arn:aws:sts::111122223333:assumed-role/r/s{number}",
            user_id=f"AROA:s{number}",
            expires_at=NOW,
        )
        token = keys.session_token
        request = presigned(
            "get_object", key=keys.access_key_id, secret=keys.secret_access_key, token=token, Bucket="b", Key="k"
        )
        caller, _ = a_gate().identify(request)
        assert caller.arn.endswith(f"/s{number}")


def test_a_wrong_secret_and_another_path_are_refused():
    with pytest.raises(SignatureMismatch):
        a_gate().identify(presigned("get_object", secret="other", Bucket="b", Key="k"))
    request = presigned("get_object", Bucket="b", Key="k")
    request.path = "/b/other"
    with pytest.raises(SignatureMismatch):
        a_gate().identify(request)


def test_it_expires():
    with pytest.raises(AccessRefused, match="Request has expired"):
        a_gate(now=NOW * 2).identify(presigned("get_object", Bucket="b", Key="k"))


def test_strict_takes_issued_keys_only():
    gate = a_gate(AuthMode.STRICT)
    with pytest.raises(UnknownAccessKey):
        gate.refuse_early(presigned("get_object", Bucket="b", Key="k"))


def test_a_broken_expiry():
    with pytest.raises(IncompleteSignature):
        a_gate().identify(Request("GET", "/b/k", "AWSAccessKeyId=test&Signature=x&Expires=soon", {"host": "localhost"}))
