"""Temporary keys for roles and for the caller itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lambdad.domain import roles
from lambdad.domain.credentials import TemporaryCredentials, TemporaryKeys
from lambdad.domain.errors import ServiceError
from lambdad.domain.identity import Caller
from lambdad.storage.roles import Identities

DEFAULT_ROLE_S = 3_600
DEFAULT_SESSION_S = 43_200
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role(/.*)?/([\w+=,.@-]{1,64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumedRole:
    """A session of a role: its ARN, its id (`AROA…:session`) and its keys."""

    arn: str
    assumed_role_id: str
    credentials: TemporaryCredentials


class Tokens:
    """Issues temporary keys. `now` gives Unix seconds of the real clock: their expiry is checked against it.

    Trust policies are not evaluated. With `requires_roles` (strict access) a role must exist and be of the caller's own
    account; without it every role of every account may be assumed, as tools for deployment expect of a test server.
    """

    def __init__(
        self, identities: Identities, keys: TemporaryKeys, now: Callable[[], float], *, requires_roles: bool
    ) -> None:
        self._identities = identities
        self._keys = keys
        self._now = now
        self._requires_roles = requires_roles

    async def assume_role(
        self, caller: Caller, role_arn: str, session_name: str, duration_s: int | None = None
    ) -> AssumedRole:
        """A session of a role. Raises ServiceError ValidationError, AccessDenied."""
        match = _ROLE_ARN.fullmatch(role_arn)
        if match is None:
            raise ServiceError("ValidationError", f"{role_arn} is invalid")
        account, name = match[1], match[3]
        role = await self._identities.role(account, name)
        if role is not None and role.arn != role_arn:
            role = None
        if self._requires_roles and (role is None or account != caller.account):
            message = f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
            raise ServiceError("AccessDenied", message, 403)
        duration_s = duration_s or DEFAULT_ROLE_S
        longest_s = role.max_session_s if role is not None else DEFAULT_SESSION_S
        if duration_s > longest_s:
            message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            raise ServiceError("ValidationError", message)
        role_id = role.role_id if role is not None else roles.role_id(role_arn)
        arn = f"arn:aws:sts::{account}:assumed-role/{name}/{session_name}"
        user_id = f"{role_id}:{session_name}"
        credentials = self._keys.issue(
            account=account, arn=arn, user_id=user_id, expires_at=int(self._now()) + duration_s
        )
        return AssumedRole(arn=arn, assumed_role_id=user_id, credentials=credentials)

    def session_token(self, caller: Caller, duration_s: int | None = None) -> TemporaryCredentials:
        """Temporary keys for the caller itself."""
        expires_at = int(self._now()) + (duration_s or DEFAULT_SESSION_S)
        return self._keys.issue(account=caller.account, arn=caller.arn, user_id=caller.user_id, expires_at=expires_at)
