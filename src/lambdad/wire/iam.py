"""IAM on the wire: roles, their policies, and managed policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

from lambdad.domain.errors import ServiceError
from lambdad.domain.roles import ManagedPolicy, PolicyVersion, Role
from lambdad.neighbours.iam import Policies, Roles
from lambdad.neighbours.iam.paging import page
from lambdad.wire.fallback import PassedOn
from lambdad.wire.service import Answer, ApiCall, Handler, Service

T = TypeVar("T")
NOTHING = Answer()
ACCOUNT_SINCE = datetime(2015, 1, 1, tzinfo=UTC)
"""When the root user was created, as GetUser shows it."""


def iam_service(roles: Roles, policies: Policies) -> Service:
    """The operations on roles and policies that deployment tools use."""
    return Service(
        name="iam",
        signing_names=("iam",),
        handlers={**_RoleApi(roles).handlers(), **_PolicyApi(policies).handlers(), **_account_handlers()},
    )


class _RoleApi:
    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreateRole": self.create_role,
            "GetRole": self.get_role,
            "ListRoles": self.list_roles,
            "DeleteRole": self.delete_role,
            "UpdateRole": self.update_role,
            "UpdateRoleDescription": self.update_role_description,
            "UpdateAssumeRolePolicy": self.update_assume_role_policy,
            "PutRolePermissionsBoundary": self.put_role_permissions_boundary,
            "DeleteRolePermissionsBoundary": self.delete_role_permissions_boundary,
            "PutRolePolicy": self.put_role_policy,
            "GetRolePolicy": self.get_role_policy,
            "ListRolePolicies": self.list_role_policies,
            "DeleteRolePolicy": self.delete_role_policy,
            "AttachRolePolicy": self.attach_role_policy,
            "DetachRolePolicy": self.detach_role_policy,
            "ListAttachedRolePolicies": self.list_attached_role_policies,
            "ListInstanceProfilesForRole": self.list_instance_profiles_for_role,
            "TagRole": self.tag_role,
            "UntagRole": self.untag_role,
            "ListRoleTags": self.list_role_tags,
        }

    async def create_role(self, call: ApiCall) -> Answer:
        params = call.params
        role = await self._roles.create(
            call.caller.account,
            params["RoleName"],
            trust_policy=params["AssumeRolePolicyDocument"],
            path=params.get("Path", "/"),
            description=params.get("Description", ""),
            max_session_s=params.get("MaxSessionDuration", 3600),
            permissions_boundary=params.get("PermissionsBoundary", ""),
            tags=_tags_of(params),
        )
        return Answer(members={"Role": _role(role)})

    async def get_role(self, call: ApiCall) -> Answer:
        return Answer(members={"Role": {**_role(await self._role(call)), "RoleLastUsed": {}}})

    async def list_roles(self, call: ApiCall) -> Answer:
        roles = await self._roles.below(call.caller.account, call.params.get("PathPrefix", "/"))
        # Lists leave out tags and boundaries (AWS: API reference of ListRoles).
        shown = [{**_role(role), "Tags": None, "PermissionsBoundary": None} for role in roles]
        return _page(call, "Roles", shown, lambda role: role["RoleName"])

    async def delete_role(self, call: ApiCall) -> Answer:
        await self._roles.delete(call.caller.account, call.params["RoleName"])
        return NOTHING

    async def update_role(self, call: ApiCall) -> Answer:
        params = call.params
        await self._update(call, description=params.get("Description"), max_session_s=params.get("MaxSessionDuration"))
        return NOTHING

    async def update_role_description(self, call: ApiCall) -> Answer:
        role = await self._update(call, description=call.params["Description"])
        return Answer(members={"Role": _role(role)})

    async def update_assume_role_policy(self, call: ApiCall) -> Answer:
        await self._update(call, trust_policy=call.params["PolicyDocument"])
        return NOTHING

    async def put_role_permissions_boundary(self, call: ApiCall) -> Answer:
        await self._update(call, permissions_boundary=call.params["PermissionsBoundary"])
        return NOTHING

    async def delete_role_permissions_boundary(self, call: ApiCall) -> Answer:
        await self._update(call, permissions_boundary="")
        return NOTHING

    async def put_role_policy(self, call: ApiCall) -> Answer:
        params = call.params
        await self._roles.put_policy(
            call.caller.account, params["RoleName"], params["PolicyName"], params["PolicyDocument"]
        )
        return NOTHING

    async def get_role_policy(self, call: ApiCall) -> Answer:
        role_name, policy_name = call.params["RoleName"], call.params["PolicyName"]
        document = await self._roles.get_policy(call.caller.account, role_name, policy_name)
        return Answer(members={"RoleName": role_name, "PolicyName": policy_name, "PolicyDocument": _encoded(document)})

    async def list_role_policies(self, call: ApiCall) -> Answer:
        role = await self._role(call)
        return _page(call, "PolicyNames", sorted(role.inline_policies), str)

    async def delete_role_policy(self, call: ApiCall) -> Answer:
        params = call.params
        await self._roles.delete_policy(call.caller.account, params["RoleName"], params["PolicyName"])
        return NOTHING

    async def attach_role_policy(self, call: ApiCall) -> Answer:
        await self._roles.attach(call.caller.account, call.params["RoleName"], call.params["PolicyArn"])
        return NOTHING

    async def detach_role_policy(self, call: ApiCall) -> Answer:
        await self._roles.detach(call.caller.account, call.params["RoleName"], call.params["PolicyArn"])
        return NOTHING

    async def list_attached_role_policies(self, call: ApiCall) -> Answer:
        prefix = call.params.get("PathPrefix", "/")
        role = await self._role(call)
        below = [arn for arn in sorted(role.attached_policies) if arn.partition(":policy")[2].startswith(prefix)]
        attached = [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in below]
        return _page(call, "AttachedPolicies", attached, lambda policy: policy["PolicyArn"])

    async def list_instance_profiles_for_role(self, call: ApiCall) -> Answer:
        await self._role(call)
        return _page(call, "InstanceProfiles", [], str)

    async def tag_role(self, call: ApiCall) -> Answer:
        await self._roles.tag(call.caller.account, call.params["RoleName"], _tags_of(call.params))
        return NOTHING

    async def untag_role(self, call: ApiCall) -> Answer:
        await self._roles.untag(call.caller.account, call.params["RoleName"], tuple(call.params["TagKeys"]))
        return NOTHING

    async def list_role_tags(self, call: ApiCall) -> Answer:
        role = await self._role(call)
        return _page(call, "Tags", _tags(dict(sorted(role.tags.items()))), lambda tag: tag["Key"])

    async def _role(self, call: ApiCall) -> Role:
        return await self._roles.get(call.caller.account, call.params["RoleName"])

    async def _update(self, call: ApiCall, **changes: str | int | None) -> Role:
        return await self._roles.update(call.caller.account, call.params["RoleName"], **changes)


class _PolicyApi:
    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreatePolicy": self.create_policy,
            "GetPolicy": self.get_policy,
            "ListPolicies": self.list_policies,
            "DeletePolicy": self.delete_policy,
            "GetPolicyVersion": self.get_policy_version,
            "ListPolicyVersions": self.list_policy_versions,
            "CreatePolicyVersion": self.create_policy_version,
            "DeletePolicyVersion": self.delete_policy_version,
            "SetDefaultPolicyVersion": self.set_default_policy_version,
            "ListEntitiesForPolicy": self.list_entities_for_policy,
            "TagPolicy": self.tag_policy,
            "UntagPolicy": self.untag_policy,
            "ListPolicyTags": self.list_policy_tags,
        }

    async def create_policy(self, call: ApiCall) -> Answer:
        params = call.params
        policy = await self._policies.create(
            call.caller.account,
            params["PolicyName"],
            document=params["PolicyDocument"],
            path=params.get("Path", "/"),
            description=params.get("Description", ""),
            tags=_tags_of(params),
        )
        return Answer(members={"Policy": {**_policy(policy, 0), "Description": None}})

    async def get_policy(self, call: ApiCall) -> Answer:
        policy = await self._policy(call)
        return Answer(members={"Policy": _policy(policy, await self._attachments(call, policy))})

    async def list_policies(self, call: ApiCall) -> Answer:
        params = call.params
        policies: list[ManagedPolicy] = []
        if params.get("Scope", "All") != "AWS":
            policies = await self._policies.below(call.caller.account, params.get("PathPrefix", "/"))
        shown = [_policy(policy, await self._attachments(call, policy)) for policy in policies]
        if params.get("OnlyAttached"):
            shown = [policy for policy in shown if policy["AttachmentCount"]]
        listed = [{**policy, "Description": None, "Tags": None} for policy in shown]
        return _page(call, "Policies", listed, lambda policy: policy["PolicyName"])

    async def delete_policy(self, call: ApiCall) -> Answer:
        await self._policies.delete(call.caller.account, call.params["PolicyArn"])
        return NOTHING

    async def get_policy_version(self, call: ApiCall) -> Answer:
        policy = await self._policy(call)
        version = await self._policies.version(call.caller.account, policy.arn, call.params["VersionId"])
        members = {**_version(policy, version), "Document": _encoded(version.document)}
        return Answer(members={"PolicyVersion": members})

    async def list_policy_versions(self, call: ApiCall) -> Answer:
        policy = await self._policy(call)
        versions = [_version(policy, version) for version in reversed(policy.versions)]
        return Answer(members={"Versions": versions, "IsTruncated": False})

    async def create_policy_version(self, call: ApiCall) -> Answer:
        params = call.params
        version = await self._policies.add_version(
            call.caller.account,
            params["PolicyArn"],
            params["PolicyDocument"],
            make_default=params.get("SetAsDefault", False),
        )
        return Answer(members={"PolicyVersion": _version(await self._policy(call), version)})

    async def delete_policy_version(self, call: ApiCall) -> Answer:
        await self._policies.delete_version(call.caller.account, call.params["PolicyArn"], call.params["VersionId"])
        return NOTHING

    async def set_default_policy_version(self, call: ApiCall) -> Answer:
        await self._policies.set_default(call.caller.account, call.params["PolicyArn"], call.params["VersionId"])
        return NOTHING

    async def list_entities_for_policy(self, call: ApiCall) -> Answer:
        policy = await self._policy(call)
        roles = await self._policies.attached_to(call.caller.account, policy.arn)
        shown = [{"RoleName": role.name, "RoleId": role.role_id} for role in roles]
        answer = _page(call, "PolicyRoles", shown, lambda role: role["RoleName"])
        return Answer(members={"PolicyGroups": [], "PolicyUsers": [], **answer.members})

    async def tag_policy(self, call: ApiCall) -> Answer:
        await self._policies.tag(call.caller.account, call.params["PolicyArn"], _tags_of(call.params))
        return NOTHING

    async def untag_policy(self, call: ApiCall) -> Answer:
        await self._policies.untag(call.caller.account, call.params["PolicyArn"], tuple(call.params["TagKeys"]))
        return NOTHING

    async def list_policy_tags(self, call: ApiCall) -> Answer:
        policy = await self._policy(call)
        return _page(call, "Tags", _tags(dict(sorted(policy.tags.items()))), lambda tag: tag["Key"])

    async def _policy(self, call: ApiCall) -> ManagedPolicy:
        return await self._policies.get(call.caller.account, call.params["PolicyArn"])

    async def _attachments(self, call: ApiCall, policy: ManagedPolicy) -> int:
        return len(await self._policies.attached_to(call.caller.account, policy.arn))


def _account_handlers() -> dict[str, Handler]:
    async def get_user(call: ApiCall) -> Answer:
        """The root user; any other is kept by another provider. Terraform asks for the account's number."""
        name = call.params.get("UserName")
        if name is not None:
            raise PassedOn(ServiceError("NoSuchEntityException", f"The user with name {name} cannot be found."))
        caller = call.caller
        if not caller.arn.endswith(":root"):
            message = "Must specify userName when calling with non-User credentials"
            raise ServiceError("ValidationError", message)
        return Answer(members={"User": {"UserId": caller.user_id, "Arn": caller.arn, "CreateDate": ACCOUNT_SINCE}})

    async def list_account_aliases(call: ApiCall) -> Answer:
        return _page(call, "AccountAliases", [], str)

    return {"GetUser": get_user, "ListAccountAliases": list_account_aliases}


# --- rendering ---


def _page(call: ApiCall, member: str, items: Sequence[T], name: Callable[[T], str]) -> Answer:
    found, marker = page(items, name, call.params.get("Marker"), call.params.get("MaxItems"))
    return Answer(members={member: found, "IsTruncated": marker is not None, "Marker": marker})


def _role(role: Role) -> dict[str, Any]:
    boundary = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": role.permissions_boundary}
    return {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.role_id,
        "Arn": role.arn,
        "CreateDate": role.created_at,
        "AssumeRolePolicyDocument": _encoded(role.trust_policy),
        "Description": role.description or None,
        "MaxSessionDuration": role.max_session_s,
        "PermissionsBoundary": boundary if role.permissions_boundary else None,
        "Tags": _tags(role.tags) if role.tags else None,
    }


def _policy(policy: ManagedPolicy, attachments: int) -> dict[str, Any]:
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.policy_id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": f"v{policy.default_version}",
        "AttachmentCount": attachments,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "Description": policy.description or None,
        "CreateDate": policy.created_at,
        "UpdateDate": policy.updated_at,
        "Tags": _tags(policy.tags) if policy.tags else None,
    }


def _version(policy: ManagedPolicy, version: PolicyVersion) -> dict[str, Any]:
    return {
        "VersionId": version.version_id,
        "IsDefaultVersion": version.number == policy.default_version,
        "CreateDate": version.created_at,
    }


def _encoded(document: str) -> str:
    """Documents in answers are percent-encoded (RFC 3986)."""
    return quote(document, safe="")


def _tags(tags: Any) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tags_of(params: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in params.get("Tags", ())}
