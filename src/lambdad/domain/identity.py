"""Who calls."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The signer of a request, and the account and region that the call is for."""

    account: str
    region: str
    access_key_id: str
    arn: str
    """`arn:aws:iam::ACCOUNT:root`, or the assumed role of a function's own keys."""
    user_id: str
