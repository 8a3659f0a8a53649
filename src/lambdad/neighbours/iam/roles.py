"""Roles with their inline and attached policies. Errors carry IAM's codes and words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from lambdad.domain.errors import ServiceError
from lambdad.domain.roles import Role, role_id
from lambdad.neighbours.iam import documents
from lambdad.neighbours.iam.aws_policies import aws_policy
from lambdad.storage.roles import Identities, IdentityTables


class Roles:
    """The roles of all accounts. Every method raises ServiceError NoSuchEntity for a role that does not exist."""

    def __init__(self, identities: Identities, now: Callable[[], datetime]) -> None:
        self._identities = identities
        self._now = now

    async def create(
        self,
        account: str,
        name: str,
        *,
        trust_policy: str,
        path: str = "/",
        description: str = "",
        max_session_s: int = 3600,
        permissions_boundary: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> Role:
        """A new role. Raises ServiceError EntityAlreadyExists, MalformedPolicyDocument, LimitExceeded."""
        documents.check_document(trust_policy, is_trust=True)
        role = Role(
            account=account,
            name=name,
            role_id=role_id(f"arn:aws:iam::{account}:role{path}{name}"),
            path=path,
            created_at=self._now().replace(microsecond=0),
            trust_policy=trust_policy,
            description=description,
            max_session_s=max_session_s,
            permissions_boundary=permissions_boundary,
            tags=documents.merged_tags({}, dict(tags or {})),
        )

        def job(tables: IdentityTables) -> Role:
            # Names differ only by more than case (AWS: IAM names are unique without regard to case).
            if any(known.name.lower() == name.lower() for known in tables.roles(account)):
                raise ServiceError("EntityAlreadyExistsException", f"Role with name {name} already exists.")
            tables.put_role(role)
            return role

        return await self._identities.change(job)

    async def get(self, account: str, name: str) -> Role:
        """The role of a name."""
        role = await self._identities.role(account, name)
        if role is None:
            raise _no_role(name)
        return role

    async def below(self, account: str, path_prefix: str = "/") -> list[Role]:
        """The roles below a path, by name."""
        return [role for role in await self._identities.roles(account) if role.path.startswith(path_prefix)]

    async def delete(self, account: str, name: str) -> None:
        """Raises ServiceError DeleteConflict while policies are on the role."""

        def job(tables: IdentityTables) -> None:
            role = _existing(tables, account, name)
            if role.attached_policies:
                message = "Cannot delete entity, must detach all policies first."
                raise ServiceError("DeleteConflictException", message)
            if role.inline_policies:
                raise ServiceError("DeleteConflictException", "Cannot delete entity, must delete policies first.")
            tables.delete_role(account, name)

        await self._identities.change(job)

    async def update(self, account: str, name: str, **changes: str | int | None) -> Role:
        """Changes members of a role, those that are not None: `description`, `max_session_s`, `permissions_boundary`,
        `trust_policy`. Raises ServiceError MalformedPolicyDocument."""
        given = {member: value for member, value in changes.items() if value is not None}
        if "trust_policy" in given:
            documents.check_document(str(given["trust_policy"]), is_trust=True)
        return await self._change(account, name, lambda role: replace(role, **given))  # type: ignore[arg-type]

    # --- inline policies ---

    async def put_policy(self, account: str, name: str, policy_name: str, document: str) -> None:
        """Adds or replaces an inline policy. Raises ServiceError MalformedPolicyDocument, LimitExceeded."""
        documents.check_document(document)

        def change(role: Role) -> Role:
            policies = {**role.inline_policies, policy_name: document}
            if sum(map(documents.weight, policies.values())) > documents.MAX_INLINE_CHARACTERS:
                raise ServiceError(
                    "LimitExceededException",
                    f"Maximum policy size of {documents.MAX_INLINE_CHARACTERS} bytes exceeded for role {name}",
                )
            return replace(role, inline_policies=policies)

        await self._change(account, name, change)

    async def get_policy(self, account: str, name: str, policy_name: str) -> str:
        """The document of an inline policy. Raises ServiceError NoSuchEntity."""
        document = (await self.get(account, name)).inline_policies.get(policy_name)
        if document is None:
            raise _no_inline_policy(policy_name)
        return document

    async def delete_policy(self, account: str, name: str, policy_name: str) -> None:
        """Removes an inline policy. Raises ServiceError NoSuchEntity."""

        def change(role: Role) -> Role:
            if policy_name not in role.inline_policies:
                raise _no_inline_policy(policy_name)
            left = {known: text for known, text in role.inline_policies.items() if known != policy_name}
            return replace(role, inline_policies=left)

        await self._change(account, name, change)

    # --- managed policies ---

    async def attach(self, account: str, name: str, policy_arn: str) -> None:
        """Attaches a policy of the account or of AWS; once more changes nothing. Raises ServiceError NoSuchEntity."""

        def job(tables: IdentityTables) -> None:
            role = _existing(tables, account, name)
            if aws_policy(policy_arn) is None and not _has_policy(tables, account, policy_arn):
                message = f"Policy {policy_arn} does not exist or is not attachable."
                raise ServiceError("NoSuchEntityException", message)
            if policy_arn not in role.attached_policies:
                tables.put_role(replace(role, attached_policies=(*role.attached_policies, policy_arn)))

        await self._identities.change(job)

    async def detach(self, account: str, name: str, policy_arn: str) -> None:
        """Raises ServiceError NoSuchEntity when the policy is not attached."""

        def change(role: Role) -> Role:
            if policy_arn not in role.attached_policies:
                raise ServiceError("NoSuchEntityException", f"Policy {policy_arn} was not found.")
            left = tuple(arn for arn in role.attached_policies if arn != policy_arn)
            return replace(role, attached_policies=left)

        await self._change(account, name, change)

    # --- tags ---

    async def tag(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """Adds and replaces tags. Raises ServiceError LimitExceeded above 50."""
        await self._change(
            account, name, lambda role: replace(role, tags=documents.merged_tags(dict(role.tags), dict(tags)))
        )

    async def untag(self, account: str, name: str, keys: tuple[str, ...]) -> None:
        """Removes tags; those that the role lacks are passed over."""

        def change(role: Role) -> Role:
            return replace(role, tags={key: value for key, value in role.tags.items() if key not in keys})

        await self._change(account, name, change)

    async def _change(self, account: str, name: str, change: Callable[[Role], Role]) -> Role:
        def job(tables: IdentityTables) -> Role:
            role = change(_existing(tables, account, name))
            tables.put_role(role)
            return role

        return await self._identities.change(job)


def _existing(tables: IdentityTables, account: str, name: str) -> Role:
    role = tables.role(account, name)
    if role is None:
        raise _no_role(name)
    return role


def _has_policy(tables: IdentityTables, account: str, arn: str) -> bool:
    policy = tables.policy(account, arn.rpartition("/")[2])
    return policy is not None and policy.arn == arn


def _no_role(name: str) -> ServiceError:
    return ServiceError("NoSuchEntityException", f"The role with name {name} cannot be found.")


def _no_inline_policy(name: str) -> ServiceError:
    return ServiceError("NoSuchEntityException", f"The role policy with name {name} cannot be found.")
