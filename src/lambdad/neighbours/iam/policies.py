"""Managed policies of accounts, with up to five versions each, and AWS's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from lambdad.domain.errors import ServiceError
from lambdad.domain.roles import ManagedPolicy, PolicyVersion, Role
from lambdad.neighbours.iam import documents
from lambdad.neighbours.iam.aws_policies import aws_policy
from lambdad.storage.roles import Identities, IdentityTables

MAX_VERSIONS = 5


class Policies:
    """The managed policies. Methods that take an ARN raise ServiceError NoSuchEntity for one that does not exist."""

    def __init__(self, identities: Identities, now: Callable[[], datetime]) -> None:
        self._identities = identities
        self._now = now

    async def create(
        self,
        account: str,
        name: str,
        *,
        document: str,
        path: str = "/",
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> ManagedPolicy:
        """A new policy. Raises ServiceError EntityAlreadyExists, MalformedPolicyDocument, LimitExceeded."""
        _check(document)
        now = self._now().replace(microsecond=0)
        policy = ManagedPolicy(
            account=account,
            name=name,
            policy_id=documents.new_id("ANPA"),
            path=path,
            created_at=now,
            updated_at=now,
            default_version=1,
            versions=(PolicyVersion(number=1, document=document, created_at=now),),
            last_version=1,
            description=description,
            tags=documents.merged_tags({}, dict(tags or {})),
        )

        def job(tables: IdentityTables) -> ManagedPolicy:
            if tables.policy(account, name) is not None:
                message = f"A policy called {name} already exists. Duplicate names are not allowed."
                raise ServiceError("EntityAlreadyExistsException", message)
            tables.put_policy(policy)
            return policy

        return await self._identities.change(job)

    async def get(self, account: str, arn: str) -> ManagedPolicy:
        """The policy of an ARN, the account's own or AWS's."""
        policy = aws_policy(arn) or await self._identities.policy(account, _name(arn))
        if policy is None or policy.arn != arn:
            raise _no_policy(arn)
        return policy

    async def below(self, account: str, path_prefix: str = "/") -> list[ManagedPolicy]:
        """The account's own policies below a path, by name."""
        return [policy for policy in await self._identities.policies(account) if policy.path.startswith(path_prefix)]

    async def attached_to(self, account: str, arn: str) -> list[Role]:
        """The roles that have the policy."""
        return [role for role in await self._identities.roles(account) if arn in role.attached_policies]

    async def version(self, account: str, arn: str, version_id: str) -> PolicyVersion:
        """One version of a policy. Raises ServiceError NoSuchEntity."""
        return _version(await self.get(account, arn), version_id)

    async def delete(self, account: str, arn: str) -> None:
        """Raises ServiceError DeleteConflict while the policy is attached or has further versions."""

        def job(tables: IdentityTables) -> None:
            policy = _own(tables, account, arn)
            if any(arn in role.attached_policies for role in tables.roles(account)):
                raise ServiceError("DeleteConflictException", "Cannot delete a policy attached to entities.")
            if len(policy.versions) > 1:
                message = "This policy has more than one version. Before you delete a policy, you must delete the "
                raise ServiceError("DeleteConflictException", f"{message}policy's versions.")
            tables.delete_policy(account, policy.name)

        await self._identities.change(job)

    async def add_version(self, account: str, arn: str, document: str, *, make_default: bool) -> PolicyVersion:
        """A further version. Raises ServiceError LimitExceeded for a sixth one."""
        _check(document)
        now = self._now().replace(microsecond=0)

        def job(tables: IdentityTables) -> PolicyVersion:
            policy = _own(tables, account, arn)
            if len(policy.versions) >= MAX_VERSIONS:
                raise ServiceError(
                    "LimitExceededException",
                    "A managed policy can have up to 5 versions. Before you create a new version, you must delete an "
                    "existing version.",
                )
            version = PolicyVersion(number=policy.last_version + 1, document=document, created_at=now)
            default = version.number if make_default else policy.default_version
            versions = (*policy.versions, version)
            tables.put_policy(
                replace(
                    policy,
                    versions=versions,
                    default_version=default,
                    last_version=version.number,
                    updated_at=now,
                )
            )
            return version

        return await self._identities.change(job)

    async def delete_version(self, account: str, arn: str, version_id: str) -> None:
        """Raises ServiceError DeleteConflict for the default version."""

        def job(tables: IdentityTables) -> None:
            policy = _own(tables, account, arn)
            version = _version(policy, version_id)
            if version.number == policy.default_version:
                raise ServiceError("DeleteConflictException", "Cannot delete the default version of a policy.")
            left = tuple(known for known in policy.versions if known != version)
            tables.put_policy(replace(policy, versions=left))

        await self._identities.change(job)

    async def set_default(self, account: str, arn: str, version_id: str) -> None:
        """Makes a version the one that applies."""

        def job(tables: IdentityTables) -> None:
            policy = _own(tables, account, arn)
            tables.put_policy(replace(policy, default_version=_version(policy, version_id).number))

        await self._identities.change(job)

    async def tag(self, account: str, arn: str, tags: Mapping[str, str]) -> None:
        """Adds and replaces tags. Raises ServiceError LimitExceeded above 50."""

        def job(tables: IdentityTables) -> None:
            policy = _own(tables, account, arn)
            tables.put_policy(replace(policy, tags=documents.merged_tags(dict(policy.tags), dict(tags))))

        await self._identities.change(job)

    async def untag(self, account: str, arn: str, keys: tuple[str, ...]) -> None:
        """Removes tags; those that the policy lacks are passed over."""

        def job(tables: IdentityTables) -> None:
            policy = _own(tables, account, arn)
            left = {key: value for key, value in policy.tags.items() if key not in keys}
            tables.put_policy(replace(policy, tags=left))

        await self._identities.change(job)


def _check(document: str) -> None:
    documents.check_document(document)
    if documents.weight(document) > documents.MAX_MANAGED_CHARACTERS:
        raise ServiceError(
            "LimitExceededException", f"Cannot exceed quota for PolicySize: {documents.MAX_MANAGED_CHARACTERS}"
        )


def _own(tables: IdentityTables, account: str, arn: str) -> ManagedPolicy:
    if aws_policy(arn) is not None:
        raise ServiceError("AccessDenied", f"AWS managed policies cannot be changed: {arn}", 403)
    policy = tables.policy(account, _name(arn))
    if policy is None or policy.arn != arn:
        raise _no_policy(arn)
    return policy


def _version(policy: ManagedPolicy, version_id: str) -> PolicyVersion:
    for version in policy.versions:
        if version.version_id == version_id:
            return version
    message = f"Policy {policy.arn} version {version_id} does not exist or is not attachable."
    raise ServiceError("NoSuchEntityException", message)


def _name(arn: str) -> str:
    return arn.rpartition("/")[2]


def _no_policy(arn: str) -> ServiceError:
    return ServiceError("NoSuchEntityException", f"Policy {arn} was not found.")
