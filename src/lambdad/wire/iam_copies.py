"""Copies of our roles and policies for another provider's users, groups and instance profiles.

IAM's truth about roles and policies is ours. A call that the provider answers may name one of them, to attach it to a
user or to put it into an instance profile; the provider then gets a copy first, through the same API.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from lambdad.domain.errors import ServiceError
from lambdad.domain.identity import Caller
from lambdad.http.messages import Request, Response
from lambdad.neighbours.iam import Policies, Roles
from lambdad.wire.fallback import Provider
from lambdad.wire.protocols.query import form_of

VERSION = "2010-05-08"
AWS_OWN = "arn:aws:iam::aws:policy/"


class IamCopies:
    """A Provider in front of another one."""

    def __init__(self, provider: Provider, roles: Roles, policies: Policies) -> None:
        self._provider = provider
        self._roles = roles
        self._policies = policies

    async def answer(self, service: str, caller: Caller, request: Request) -> Response:
        if service == "iam":
            form = form_of(request)
            for field in ("PolicyArn", "PermissionsBoundary"):
                if form.get(field) and not form[field].startswith(AWS_OWN):
                    await self._copy_policy(caller, request, form[field])
            if form.get("RoleName"):
                await self._copy_role(caller, request, form["RoleName"])
        return await self._provider.answer(service, caller, request)

    async def _copy_policy(self, caller: Caller, request: Request, arn: str) -> None:
        try:
            policy = await self._policies.get(caller.account, arn)
        except ServiceError:
            return  # the provider tells that there is none
        fields = {"PolicyName": policy.name, "Path": policy.path, "PolicyDocument": policy.default_document}
        await self._make(caller, request, "CreatePolicy", fields)

    async def _copy_role(self, caller: Caller, request: Request, name: str) -> None:
        try:
            role = await self._roles.get(caller.account, name)
        except ServiceError:
            return
        fields = {"RoleName": role.name, "Path": role.path, "AssumeRolePolicyDocument": role.trust_policy}
        await self._make(caller, request, "CreateRole", fields)

    async def _make(self, caller: Caller, request: Request, action: str, fields: dict[str, str]) -> None:
        """What the provider answers does not matter: if it has the copy already, it refuses a second one."""
        body = urlencode({"Action": action, "Version": VERSION, **fields}).encode()
        headers = {**request.headers, "content-type": "application/x-www-form-urlencoded"}
        await self._provider.answer(
            "iam", caller, replace(request, method="POST", query="", headers=headers, body=body)
        )
