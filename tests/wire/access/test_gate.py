"""Who is let in, and as whom."""

from __future__ import annotations

import re
import time

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambdad.domain.credentials import KnownKey, TemporaryKeys, root_arn
from lambdad.domain.identity import Caller
from lambdad.http.messages import Request
from lambdad.wire.access.errors import (
    ExpiredToken,
    MissingAuthenticationToken,
    SignatureMismatch,
    UnknownAccessKey,
)
from lambdad.wire.access.gate import AuthMode, Gate
from tests.wire.harness import SECRET, Keys, request_of

ISSUED = KnownKey(
    access_key_id="AKIAISSUED", secret="s3cret", account="123456789012", arn=root_arn("123456789012"), user_id="x"
)


def a_gate(mode: AuthMode = AuthMode.DEV, *, skew_s: float = 0) -> Gate:
    return Gate(mode, Keys(ISSUED), TemporaryKeys(SECRET), lambda: time.time() + skew_s)


def a_request(key: str = "test", secret: str = "test", token: str | None = None, region: str = "eu-west-1") -> Request:
    request = AWSRequest("POST", "http://localhost:4566/", data=b"{}")
    SigV4Auth(Credentials(key, secret, token), "lambda", region).add_auth(request)
    return request_of(request.prepare())


def a_presigned_request(expires: int, key: str = "test", secret: str = "test") -> Request:
    request = AWSRequest("GET", "http://localhost:4566/x")
    SigV4QueryAuth(Credentials(key, secret), "lambda", "eu-west-1", expires=expires).add_auth(request)
    return request_of(request.prepare())


@pytest.mark.parametrize(
    ("key", "secret", "account"),
    [
        ("test", "test", "000000000000"),
        ("111122223333", "test", "111122223333"),
        ("AKIAISSUED", "s3cret", "123456789012"),
        ("AKIAUNKNOWN", "whatever", "000000000000"),
    ],
)
def test_dev_takes_a_caller_for_the_root_of_its_keys_account(key: str, secret: str, account: str):
    caller, service = a_gate().identify(a_request(key, secret))
    assert caller == Caller(
        account=account,
        region="eu-west-1",
        access_key_id=key,
        arn=f"arn:aws:iam::{account}:root",
        user_id="x" if key == "AKIAISSUED" else account,
    )
    assert service == "lambda"


@pytest.mark.parametrize(("key", "secret"), [("test", "x"), ("111122223333", "x"), ("AKIAISSUED", "test")])
def test_dev_verifies_keys_whose_secret_it_knows(key: str, secret: str):
    with pytest.raises(SignatureMismatch, match=r"^The request signature we calculated does not match"):
        a_gate().identify(a_request(key, secret))


@pytest.mark.parametrize("mode", AuthMode)
def test_a_request_without_signature_is_refused(mode: AuthMode):
    with pytest.raises(MissingAuthenticationToken, match="Missing Authentication Token"):
        a_gate(mode).identify(Request("POST", "/", headers={"host": "localhost"}))


@pytest.mark.parametrize("key", ["test", "111122223333", "AKIAUNKNOWN"])
def test_strict_knows_issued_keys_only(key: str):
    gate = a_gate(AuthMode.STRICT)
    for look in (gate.identify, gate.refuse_early):
        with pytest.raises(UnknownAccessKey):
            look(a_request(key, "test"))
    assert gate.identify(a_request("AKIAISSUED", "s3cret"))[0].account == "123456789012"
    gate.refuse_early(a_request("AKIAISSUED", "s3cret"))


@pytest.mark.parametrize(
    ("skew_s", "text"),
    [
        (301, r"Signature expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z \(\d{8}T\d{6}Z - 5 min.\)"),
        (-301, r"Signature not yet current: \d{8}T\d{6}Z is still later than \d{8}T\d{6}Z \(\d{8}T\d{6}Z \+ 5 min.\)"),
    ],
)
def test_strict_wants_a_clock_within_five_minutes(skew_s: float, text: str):
    with pytest.raises(SignatureMismatch) as caught:
        a_gate(AuthMode.STRICT, skew_s=skew_s).identify(a_request("AKIAISSUED", "s3cret"))
    assert re.fullmatch(text, caught.value.message)
    a_gate(AuthMode.STRICT, skew_s=290 if skew_s > 0 else -290).identify(a_request("AKIAISSUED", "s3cret"))
    a_gate(AuthMode.DEV, skew_s=skew_s).identify(a_request("AKIAISSUED", "s3cret"))


@pytest.mark.parametrize("mode", AuthMode)
def test_a_presigned_request_is_good_until_it_expires(mode: AuthMode):
    request = a_presigned_request(60, "AKIAISSUED", "s3cret")
    assert a_gate(mode, skew_s=58).identify(request)[0].account == "123456789012"
    with pytest.raises(SignatureMismatch, match="Signature expired"):
        a_gate(mode, skew_s=62).identify(request)


class TestTemporaryKeys:
    ARN = "arn:aws:sts::123456789012:assumed-role/r/session"

    def issue(self, expires_in: float = 60):
        return TemporaryKeys(SECRET).issue(
            account="123456789012", arn=self.ARN, user_id="AROAX:session", expires_at=time.time() + expires_in
        )

    @pytest.mark.parametrize("mode", AuthMode)
    def test_stand_for_whom_they_were_issued(self, mode: AuthMode):
        keys = self.issue()
        assert keys.access_key_id.startswith("ASIA")
        assert len(keys.access_key_id) == 20
        assert len(keys.secret_access_key) == 40
        caller, _ = a_gate(mode).identify(a_request(keys.access_key_id, keys.secret_access_key, keys.session_token))
        assert (caller.account, caller.arn, caller.user_id) == ("123456789012", self.ARN, "AROAX:session")

    def test_are_verified(self):
        keys = self.issue()
        with pytest.raises(SignatureMismatch):
            a_gate().identify(a_request(keys.access_key_id, "wrong", keys.session_token))

    def test_expire(self):
        keys = self.issue(-1)
        with pytest.raises(ExpiredToken, match="The security token included in the request is expired"):
            a_gate().identify(a_request(keys.access_key_id, keys.secret_access_key, keys.session_token))

    def test_are_not_known_with_another_ones_token(self):
        one, other = self.issue(), self.issue()
        with pytest.raises(UnknownAccessKey, match="The security token included in the request is invalid"):
            a_gate(AuthMode.STRICT).identify(a_request(one.access_key_id, one.secret_access_key, other.session_token))

    def test_are_not_known_to_another_installation(self):
        keys = TemporaryKeys(b"another secret of 32 bytes length").issue(
            account="123456789012", arn=self.ARN, user_id="x", expires_at=time.time() + 60
        )
        request = a_request(keys.access_key_id, keys.secret_access_key, keys.session_token)
        with pytest.raises(UnknownAccessKey):
            a_gate(AuthMode.STRICT).identify(request)
        assert a_gate().identify(request)[0].account == "000000000000", "dev: an unknown key of some other place"

    def test_a_token_cannot_be_altered(self):
        keys = self.issue()
        opener = TemporaryKeys(SECRET)
        assert opener.open(keys.access_key_id, keys.session_token) is not None
        for token in (keys.session_token[:-8], "A" + keys.session_token[1:], "", "not base64!", "AAAA"):
            assert opener.open(keys.access_key_id, token) is None
