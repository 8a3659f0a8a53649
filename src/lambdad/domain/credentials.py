"""Access keys: the long-lived ones that are issued, and temporary ones that need no storage.

A temporary key's secret is derived from its id, its session token carries who it stands for: both with a secret of the
installation, so that they outlive a restart and every server of one database accepts them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
from dataclasses import dataclass

_MAC_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """An access key whose secret this server knows, and whom it stands for."""

    access_key_id: str
    secret: str
    account: str
    arn: str
    user_id: str
    session_token: str = ""
    """Empty for a long-lived key; else the request must carry it."""
    expires_at: float | None = None
    """Unix seconds; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryCredentials:
    """What a caller gets: the three parts of a temporary key and its end in Unix seconds."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: float


def new_key_id(prefix: str = "AKIA") -> str:
    """An id of 20 characters: `AKIA` for issued keys, `ASIA` for temporary ones."""
    # At the start of every environment, so the system is asked for all of it at once.
    return prefix + base64.b32encode(secrets.token_bytes(10)).decode("ascii")


def new_secret() -> str:
    """A secret access key of 40 characters."""
    return base64.b64encode(secrets.token_bytes(30)).decode("ascii")


def root_arn(account: str) -> str:
    """The ARN that stands for a whole account."""
    return f"arn:aws:iam::{account}:root"


class TemporaryKeys:
    """Issues temporary keys and recognises them. `secret` is the installation's, at least 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def issue(self, *, account: str, arn: str, user_id: str, expires_at: float) -> TemporaryCredentials:
        """A new key for `arn` of `account`, valid to `expires_at` (Unix seconds)."""
        key_id = new_key_id("ASIA")
        claims = json.dumps([account, arn, user_id, expires_at], separators=(",", ":")).encode()
        token = base64.b64encode(self._mac(key_id, claims) + claims).decode("ascii")
        return TemporaryCredentials(
            access_key_id=key_id, secret_access_key=self._secret_of(key_id), session_token=token, expires_at=expires_at
        )

    def open(self, access_key_id: str, session_token: str) -> KnownKey | None:
        """The key behind an id and its token; None when the two were not issued here together. May have expired."""
        try:
            raw = base64.b64decode(session_token, validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, claims = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not claims or not hmac.compare_digest(mac, self._mac(access_key_id, claims)):
            return None
        account, arn, user_id, expires_at = json.loads(claims)
        return KnownKey(
            access_key_id=access_key_id,
            secret=self._secret_of(access_key_id),
            account=account,
            arn=arn,
            user_id=user_id,
            session_token=session_token,
            expires_at=expires_at,
        )

    def _secret_of(self, key_id: str) -> str:
        derived = hmac.digest(self._secret, b"secret access key\0" + key_id.encode(), "sha256")
        return base64.b64encode(derived[:30]).decode("ascii")

    def _mac(self, key_id: str, claims: bytes) -> bytes:
        return hmac.digest(self._secret, b"session token\0" + key_id.encode() + b"\0" + claims, "sha256")[:_MAC_BYTES]
