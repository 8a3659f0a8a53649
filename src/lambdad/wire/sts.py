"""STS on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lambdad.domain.credentials import TemporaryCredentials
from lambdad.neighbours.sts import Tokens
from lambdad.wire.service import Answer, ApiCall, Service


def sts_service(tokens: Tokens) -> Service:
    """GetCallerIdentity, AssumeRole, GetSessionToken."""
    api = _Api(tokens)
    return Service(
        name="sts",
        signing_names=("sts",),
        handlers={
            "GetCallerIdentity": api.get_caller_identity,
            "AssumeRole": api.assume_role,
            "GetSessionToken": api.get_session_token,
        },
    )


class _Api:
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def get_caller_identity(self, call: ApiCall) -> Answer:
        caller = call.caller
        return Answer(members={"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn})

    async def assume_role(self, call: ApiCall) -> Answer:
        params = call.params
        session = await self._tokens.assume_role(
            call.caller, params["RoleArn"], params["RoleSessionName"], params.get("DurationSeconds")
        )
        return Answer(
            members={
                "Credentials": _credentials(session.credentials),
                "AssumedRoleUser": {"AssumedRoleId": session.assumed_role_id, "Arn": session.arn},
                "SourceIdentity": params.get("SourceIdentity"),
            }
        )

    async def get_session_token(self, call: ApiCall) -> Answer:
        credentials = self._tokens.session_token(call.caller, call.params.get("DurationSeconds"))
        return Answer(members={"Credentials": _credentials(credentials)})


def _credentials(credentials: TemporaryCredentials) -> dict[str, Any]:
    return {
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "SessionToken": credentials.session_token,
        "Expiration": datetime.fromtimestamp(credentials.expires_at, UTC),
    }
