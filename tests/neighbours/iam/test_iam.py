"""The minimal IAM through boto3: what deployment tools do with roles and policies."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdad.neighbours.iam import Policies, Roles
from lambdad.storage.roles import Identities
from lambdad.storage.sqlite import SqliteEngine
from lambdad.wire.iam import iam_service
from tests.wire.harness import Boto, a_front_door

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*", "Sid": "ü"}]}
)
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
NOW = datetime(2026, 11, 23, 10, 5, 9, 123456, tzinfo=UTC)


def a_boto(engine: SqliteEngine) -> Boto:
    identities = Identities(engine)
    return Boto(a_front_door(iam_service(Roles(identities, lambda: NOW), Policies(identities, lambda: NOW))))


@pytest.fixture
async def iam(tmp_path: Path) -> AsyncIterator[Any]:
    engine = await SqliteEngine.open(tmp_path)
    yield a_boto(engine)("iam")
    await engine.close()


async def refused(call: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        await call
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


async def test_a_role_is_given_back_as_it_was_made(iam: Any):
    tags = [{"Key": "team", "Value": "a b"}]
    made = await iam.create_role(
        RoleName="r", AssumeRolePolicyDocument=TRUST, Path="/svc/", Description="d", MaxSessionDuration=7200, Tags=tags
    )
    role = made["Role"]
    assert role["Arn"] == "arn:aws:iam::000000000000:role/svc/r"
    assert re.fullmatch("AROA[A-Z2-7]{17}", role["RoleId"])
    assert role["CreateDate"] == NOW.replace(microsecond=0)
    assert role["AssumeRolePolicyDocument"] == json.loads(TRUST)
    found = (await iam.get_role(RoleName="r"))["Role"]
    assert {**role, "RoleLastUsed": {}} == found
    assert found["Tags"] == tags
    assert found["MaxSessionDuration"] == 7200
    listed = (await iam.list_roles(PathPrefix="/svc/"))["Roles"]
    assert [(entry["RoleName"], "Tags" in entry) for entry in listed] == [("r", False)]
    assert (await iam.list_roles(PathPrefix="/other/"))["Roles"] == []


async def test_roles_survive_a_restart(tmp_path: Path):
    engine = await SqliteEngine.open(tmp_path)
    await a_boto(engine)("iam").create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    await a_boto(engine)("iam").create_policy(PolicyName="p", PolicyDocument=POLICY)
    await engine.close()
    engine = await SqliteEngine.open(tmp_path)
    iam = a_boto(engine)("iam")
    assert (await iam.get_role(RoleName="r"))["Role"]["CreateDate"] == NOW.replace(microsecond=0)
    arn = "arn:aws:iam::000000000000:policy/p"
    version = await iam.get_policy_version(PolicyArn=arn, VersionId="v1")
    assert version["PolicyVersion"]["Document"] == json.loads(POLICY)
    await engine.close()


async def test_errors_have_the_words_of_aws(iam: Any):
    await iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    again = iam.create_role(RoleName="R", AssumeRolePolicyDocument=TRUST)
    assert await refused(again) == (409, "EntityAlreadyExists", "Role with name R already exists.")
    missing = (404, "NoSuchEntity", "The role with name x cannot be found.")
    assert await refused(iam.get_role(RoleName="x")) == missing
    assert await refused(iam.delete_role(RoleName="x")) == missing
    assert await refused(iam.list_role_policies(RoleName="x")) == missing
    assert await refused(iam.get_role_policy(RoleName="r", PolicyName="p")) == (
        404, "NoSuchEntity", "The role policy with name p cannot be found.",
    )  # fmt: skip
    arn = "arn:aws:iam::000000000000:policy/x"
    assert await refused(iam.get_policy(PolicyArn=arn)) == (404, "NoSuchEntity", f"Policy {arn} was not found.")
    assert await refused(iam.attach_role_policy(RoleName="r", PolicyArn=arn)) == (
        404, "NoSuchEntity", f"Policy {arn} does not exist or is not attachable.",
    )  # fmt: skip
    status, code, text = await refused(iam.create_role(RoleName="r!", AssumeRolePolicyDocument=TRUST))
    assert (status, code) == (400, "ValidationError")
    assert text.startswith("1 validation error detected: Value 'r!' at 'roleName' failed to satisfy constraint: Member")


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("{", "This policy contains invalid Json"),
        ("[]", "Syntax error at position (1,1)"),
        ('{"Version":"2020-01-01","Statement":[]}', "The policy must contain a valid version string"),
        ('{"Statement":[{"Effect":"Maybe"}]}', "Syntax errors in policy."),
        ('{"Statement":5}', "Syntax errors in policy."),
        ('{"Statement":[{"Effect":"Allow","Resource":"*"}]}', "Policy statement must contain actions."),
        ('{"Statement":[{"Effect":"Allow","Action":"*"}]}', "Policy statement must contain resources."),
        (TRUST, "Policy document should not specify a principal."),
    ],
)
async def test_documents_that_are_no_policies_are_refused(iam: Any, document: str, text: str):
    await iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    refusal = (400, "MalformedPolicyDocument", text)
    assert await refused(iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=document)) == refusal
    assert await refused(iam.create_policy(PolicyName="p", PolicyDocument=document)) == refusal


async def test_the_life_of_an_inline_policy(iam: Any):
    await iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    await iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=POLICY)
    assert (await iam.list_role_policies(RoleName="r"))["PolicyNames"] == ["p"]
    found = await iam.get_role_policy(RoleName="r", PolicyName="p")
    assert found["PolicyDocument"] == json.loads(POLICY)
    assert await refused(iam.delete_role(RoleName="r")) == (
        409, "DeleteConflict", "Cannot delete entity, must delete policies first.",
    )  # fmt: skip
    await iam.delete_role_policy(RoleName="r", PolicyName="p")
    await iam.delete_role(RoleName="r")
    assert (await iam.list_roles())["Roles"] == []


async def test_the_life_of_a_managed_policy(iam: Any):
    """The calls that Terraform makes for a policy, its attachment and their end."""
    await iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    made = await iam.create_policy(PolicyName="p", Path="/x/", PolicyDocument=POLICY, Description="d")
    arn = made["Policy"]["Arn"]
    assert arn == "arn:aws:iam::000000000000:policy/x/p"
    await iam.attach_role_policy(RoleName="r", PolicyArn=arn)
    await iam.attach_role_policy(RoleName="r", PolicyArn=arn)
    policy = (await iam.get_policy(PolicyArn=arn))["Policy"]
    assert (policy["AttachmentCount"], policy["DefaultVersionId"], policy["Description"]) == (1, "v1", "d")
    attached = await iam.list_attached_role_policies(RoleName="r")
    assert attached["AttachedPolicies"] == [{"PolicyName": "p", "PolicyArn": arn}]
    roles = (await iam.list_entities_for_policy(PolicyArn=arn))["PolicyRoles"]
    assert [role["RoleName"] for role in roles] == ["r"]

    await iam.create_policy_version(PolicyArn=arn, PolicyDocument=POLICY, SetAsDefault=True)
    versions = (await iam.list_policy_versions(PolicyArn=arn))["Versions"]
    assert [(version["VersionId"], version["IsDefaultVersion"]) for version in versions] == [
        ("v2", True),
        ("v1", False),
    ]
    assert (await refused(iam.delete_policy_version(PolicyArn=arn, VersionId="v2")))[1] == "DeleteConflict"
    await iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    assert (await iam.create_policy_version(PolicyArn=arn, PolicyDocument=POLICY))["PolicyVersion"]["VersionId"] == "v3"
    await iam.set_default_policy_version(PolicyArn=arn, VersionId="v3")
    await iam.delete_policy_version(PolicyArn=arn, VersionId="v2")

    assert (await refused(iam.delete_policy(PolicyArn=arn)))[2] == "Cannot delete a policy attached to entities."
    assert (await refused(iam.delete_role(RoleName="r")))[2] == "Cannot delete entity, must detach all policies first."
    await iam.detach_role_policy(RoleName="r", PolicyArn=arn)
    assert (await refused(iam.detach_role_policy(RoleName="r", PolicyArn=arn)))[1] == "NoSuchEntity"
    assert (await iam.list_instance_profiles_for_role(RoleName="r"))["InstanceProfiles"] == []
    await iam.delete_policy(PolicyArn=arn)
    await iam.delete_role(RoleName="r")


async def test_a_policy_has_five_versions_at_most(iam: Any):
    arn = (await iam.create_policy(PolicyName="p", PolicyDocument=POLICY))["Policy"]["Arn"]
    for _ in range(4):
        await iam.create_policy_version(PolicyArn=arn, PolicyDocument=POLICY)
    assert (await refused(iam.create_policy_version(PolicyArn=arn, PolicyDocument=POLICY)))[:2] == (
        409,
        "LimitExceeded",
    )


async def test_policies_of_aws_exist(iam: Any):
    await iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    for arn in (BASIC, "arn:aws:iam::aws:policy/SomethingOfNextYear"):
        await iam.attach_role_policy(RoleName="r", PolicyArn=arn)
        policy = (await iam.get_policy(PolicyArn=arn))["Policy"]
        assert policy["Arn"] == arn
        await iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])
    version = await iam.get_policy_version(PolicyArn=BASIC, VersionId="v1")
    (statement,) = version["PolicyVersion"]["Document"]["Statement"]
    assert statement["Action"] == ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    assert (await refused(iam.delete_policy(PolicyArn=BASIC)))[:2] == (403, "AccessDenied")


async def test_changes_of_a_role(iam: Any):
    await iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    await iam.update_role(RoleName="r", Description="new", MaxSessionDuration=3601)
    trust = {**json.loads(TRUST), "Id": "x"}
    await iam.update_assume_role_policy(RoleName="r", PolicyDocument=json.dumps(trust))
    await iam.put_role_permissions_boundary(RoleName="r", PermissionsBoundary=BASIC)
    role = (await iam.get_role(RoleName="r"))["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("new", 3601)
    assert role["AssumeRolePolicyDocument"] == trust
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == BASIC
    await iam.delete_role_permissions_boundary(RoleName="r")
    changed = (await iam.update_role_description(RoleName="r", Description=""))["Role"]
    assert "Description" not in changed
    assert "PermissionsBoundary" not in changed


async def test_tags(iam: Any):
    await iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    arn = (await iam.create_policy(PolicyName="p", PolicyDocument=POLICY))["Policy"]["Arn"]
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]
    await iam.tag_role(RoleName="r", Tags=tags)
    await iam.tag_policy(PolicyArn=arn, Tags=tags)
    await iam.untag_role(RoleName="r", TagKeys=["a", "x"])
    await iam.untag_policy(PolicyArn=arn, TagKeys=["b"])
    assert (await iam.list_role_tags(RoleName="r"))["Tags"] == tags[1:]
    assert (await iam.list_policy_tags(PolicyArn=arn))["Tags"] == tags[:1]
    many = [{"Key": f"k{number}", "Value": "v"} for number in range(50)]
    assert (await refused(iam.tag_role(RoleName="r", Tags=many)))[1] == "LimitExceeded"


async def test_pages(iam: Any):
    for name in ("a", "b", "c"):
        await iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    first = await iam.list_roles(MaxItems=2)
    assert ([role["RoleName"] for role in first["Roles"]], first["IsTruncated"]) == (["a", "b"], True)
    second = await iam.list_roles(MaxItems=2, Marker=first["Marker"])
    assert ([role["RoleName"] for role in second["Roles"]], second["IsTruncated"]) == (["c"], False)
    assert (await refused(iam.list_roles(Marker="nonsense")))[:2] == (400, "ValidationError")


async def test_accounts_do_not_see_each_other(tmp_path: Path):
    engine = await SqliteEngine.open(tmp_path)
    boto = a_boto(engine)
    await boto("iam").create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    other = boto("iam", key="111122223333")
    assert (await other.list_roles())["Roles"] == []
    assert (await other.get_user())["User"]["Arn"] == "arn:aws:iam::111122223333:root"
    await engine.close()


async def test_the_user_that_terraform_asks_for(iam: Any):
    user = (await iam.get_user())["User"]
    assert user["Arn"] == "arn:aws:iam::000000000000:root"
    assert await refused(iam.get_user(UserName="bob")) == (
        404, "NoSuchEntity", "The user with name bob cannot be found.",
    )  # fmt: skip
    assert (await iam.list_account_aliases())["AccountAliases"] == []
