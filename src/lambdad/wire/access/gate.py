"""Who may call: modes `dev` and `strict`.

dev: every call carries a signature, which a web page cannot forge across origins; it is verified where the secret is
known, and an unknown key is taken for its account's root, so that existing profiles work. strict: only issued keys,
always verified, and the clock of the signature within five minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from lambdad.domain.credentials import KnownKey, TemporaryKeys, root_arn
from lambdad.domain.identity import Caller
from lambdad.http.messages import Request
from lambdad.wire.access import sigv2, sigv4, sigv4_chunks
from lambdad.wire.access.errors import (
    ExpiredToken,
    MissingAuthenticationToken,
    SignatureMismatch,
    UnknownAccessKey,
)

DEFAULT_ACCOUNT = "000000000000"
WELL_KNOWN_SECRET = "test"  # noqa: S105 - what every local profile for tests has
SKEW_S = 300
S3_SKEW_S = 900
KEYS_REMEMBERED = 10_000


class AuthMode(StrEnum):
    """How strictly callers are looked at."""

    DEV = "dev"
    STRICT = "strict"


class KeySource(Protocol):
    """The long-lived keys that were issued, in memory."""

    def secret_for(self, access_key_id: str) -> KnownKey | None:
        """The key of an id, None when it was never issued or is revoked."""


class Gate:
    """Identifies the callers of requests.

    `now` gives Unix seconds of the real clock: signatures are made by clients, whose time the server cannot advance.
    """

    def __init__(
        self,
        mode: AuthMode,
        keys: KeySource,
        temporary: TemporaryKeys,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.mode = mode
        self._strict = mode is AuthMode.STRICT
        self._keys = keys
        self._temporary = temporary
        self._now = now
        self._opened: dict[tuple[str, str], KnownKey | None] = {}

    def refuse_early(self, request: Request) -> None:
        """Before the body is read, for requests that carry a signature: strict refuses unknown keys at once."""
        if self._strict:
            signature = sigv4.read(request) or sigv2.read(request)
            if signature is not None:
                self._key_of(signature)

    def identify(self, request: Request) -> tuple[Caller, str]:
        """The caller and the service that the signature is for. Raises AccessRefused with the reason."""
        signature = sigv4.read(request) or sigv2.read(request)
        if signature is None:
            raise MissingAuthenticationToken
        key = self._key_of(signature)
        if isinstance(signature, sigv4.Signature):
            if self._strict or signature.presigned:
                self._check_time(signature)
        else:
            sigv2.check_time(signature, self._now())
        scope = signature.scope
        if key is None:  # dev only
            account = scope.access_key_id
            if not _is_account(account):
                account = DEFAULT_ACCOUNT
            return _caller(account, scope.region, scope.access_key_id, root_arn(account), account), scope.service
        if key.expires_at is not None and key.expires_at <= self._now():
            raise ExpiredToken
        if isinstance(signature, sigv4.Signature):
            sigv4.verify(request, signature, key.secret)
            if scope.service == "s3" and sigv4_chunks.are_signed(request):
                sigv4_chunks.verify(request, signature, key.secret)
        else:
            sigv2.verify(request, signature, key.secret)
        return _caller(key.account, scope.region, key.access_key_id, key.arn, key.user_id), scope.service

    def _key_of(self, signature: sigv4.Signature | sigv2.PresignedV2) -> KnownKey | None:
        """The key that must have signed; None when dev takes the caller's word. Raises UnknownAccessKey."""
        key_id = signature.scope.access_key_id
        key = self._keys.secret_for(key_id)
        if key is None and signature.session_token:
            key = self._open(key_id, signature.session_token)
        if key is not None:
            return key
        if self._strict:
            raise UnknownAccessKey
        return _well_known(key_id)

    def _open(self, key_id: str, session_token: str) -> KnownKey | None:
        # Opening a token costs more than verifying a request, and a function calls with the same one all its life.
        try:
            return self._opened[key_id, session_token]
        except KeyError:
            if len(self._opened) >= KEYS_REMEMBERED:
                self._opened.clear()
            key = self._temporary.open(key_id, session_token)
            self._opened[key_id, session_token] = key
            return key

    def _check_time(self, signature: sigv4.Signature) -> None:
        signed, now = sigv4.moment(signature.amz_date), self._now()
        skew = S3_SKEW_S if signature.scope.service.startswith("s3") else SKEW_S
        allowed = skew if signature.expires_s is None else signature.expires_s
        if signed < now - allowed:
            earliest, minutes = _basic(now - allowed), f"{allowed / 60:g} min."
            raise SignatureMismatch(
                f"Signature expired: {signature.amz_date} is now earlier than {earliest} ({_basic(now)} - {minutes})"
            )
        if self._strict and signed > now + skew:
            latest, minutes = _basic(now + skew), f"{skew / 60:g} min."
            raise SignatureMismatch(
                f"Signature not yet current: {signature.amz_date} is still later than {latest} "
                f"({_basic(now)} + {minutes})"
            )


@lru_cache(maxsize=KEYS_REMEMBERED)
def _caller(account: str, region: str, access_key_id: str, arn: str, user_id: str) -> Caller:
    return Caller(account=account, region=region, access_key_id=access_key_id, arn=arn, user_id=user_id)


@lru_cache(maxsize=KEYS_REMEMBERED)
def _well_known(key_id: str) -> KnownKey | None:
    """`test` and 12-digit ids have the secret `test` everywhere; others are not known."""
    account = key_id if _is_account(key_id) else DEFAULT_ACCOUNT
    if key_id not in ("test", account):
        return None
    return KnownKey(
        access_key_id=key_id, secret=WELL_KNOWN_SECRET, account=account, arn=root_arn(account), user_id=account
    )


def _is_account(text: str) -> bool:
    return len(text) == 12 and text.isascii() and text.isdigit()


def _basic(seconds: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
