"""Signed links to downloads, such as a function's code: whoever has one may fetch it until it expires."""

from __future__ import annotations

import hmac
from urllib.parse import parse_qs


class SignedLinks:
    """Signs paths with a secret of the installation. `GET` and `HEAD` of that one path are what a link allows."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, path: str, expires_at: float) -> str:
        """The path with the query that makes it valid up to `expires_at` (Unix seconds)."""
        until = int(expires_at)
        return f"{path}?Expires={until}&Signature={self._signature(path, until)}"

    def allows(self, path: str, query: str, now: float) -> bool:
        """Whether the query was signed for exactly this path and has not expired."""
        fields = parse_qs(query)
        expires, signature = fields.get("Expires", [""])[0], fields.get("Signature", [""])[0]
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            return False
        until = int(expires)
        given = signature.encode("utf-8", "replace")
        return hmac.compare_digest(given, self._signature(path, until).encode()) and now < until

    def _signature(self, path: str, until: int) -> str:
        text = f"signed link\0{path}\0{until}".encode("utf-8", "replace")
        return hmac.digest(self._secret, text, "sha256").hex()
