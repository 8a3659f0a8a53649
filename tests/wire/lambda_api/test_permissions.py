"""Resource policies: as recorded, and what other accounts may do with them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.control.building import ACCOUNT, REGION
from tests.recordings import Recording
from tests.wire.lambda_api.conftest import OTHER_CODE, Lambda, code_of, message_of

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
BUCKET = "arn:aws:s3:::bucket"
SNS: dict[str, Any] = {"Action": "lambda:InvokeFunction", "StatementId": "s3", "Principal": "s3.amazonaws.com"}
OTHER_ACCOUNT = "222222222222"


def parsed(answer: dict[str, Any]) -> dict[str, Any]:
    """With the JSON of its policy read, as recordings have it."""
    return {name: json.loads(value) if name in ("Policy", "Statement") else value for name, value in answer.items()}


async def grant(aws: Lambda, statement_id: str = "s", **members: Any) -> dict[str, Any]:
    given = {"FunctionName": "f", "Action": "lambda:InvokeFunction", "Principal": "sns.amazonaws.com", **members}
    return parsed(await aws.add_permission(StatementId=statement_id, **given))


async def policy_of(aws: Lambda, **address: str) -> dict[str, Any]:
    return parsed(await aws.get_policy(FunctionName="f", **address))


async def test_refusals(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaPermissions::test_permission_exceptions", function_name="f")
    await aws.create()

    async def check(step: str, operation: str, **members: Any) -> None:
        values = {"FunctionName": "f", **(SNS if operation == "add_permission" else {}), **members}
        recording.check(step, await aws.refused(operation, **values))

    await check("add_permission_invalid_statement_id", "add_permission", StatementId="example.com")
    qualified = f"{ARN}:f:alias-not-42"
    await check("add_permission_fn_qualifier_mismatch", "add_permission", FunctionName=qualified, Qualifier="42")
    await check("add_permission_fn_qualifier_latest", "add_permission", Qualifier="$LATEST")
    await check("add_permission_principal_invalid", "add_permission", Principal="invalid.nonaws.com")
    await check("get_policy_fn_doesnotexist", "get_policy", FunctionName="doesnotexist")
    await check("get_policy_fn_version_doesnotexist", "get_policy", Qualifier="42")
    await check("add_permission_fn_doesnotexist", "add_permission", FunctionName="doesnotexist")
    await check("remove_permission_policy_doesnotexist", "remove_permission", StatementId="s3")
    await check("add_permission_fn_alias_doesnotexist", "add_permission", Qualifier="alias-doesnotexist")
    await check("add_permission_fn_version_doesnotexist", "add_permission", Qualifier="42")
    await check("add_permission_fn_qualifier_invalid", "add_permission", Qualifier="invalid-qualifier-with-?-char")
    unknown = "valid-with-$-but-doesnotexist"
    await check("add_permission_fn_qualifier_valid_doesnotexist", "add_permission", Qualifier=unknown)
    await grant(aws, "s3")
    await check("add_permission_conflicting_statement_id", "add_permission")
    missing = {"FunctionName": "doesnotexist", "StatementId": "s3"}
    await check("remove_permission_fn_doesnotexist", "remove_permission", **missing)
    alias = {"StatementId": "s3", "Qualifier": "alias-doesnotexist"}
    await check("remove_permission_fn_alias_doesnotexist", "remove_permission", **alias)


async def test_a_statement_and_its_policy(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaPermissions::test_add_lambda_permission_aws")
    await aws.create()
    answer = await aws.add_permission(FunctionName="f", **SNS, SourceArn=BUCKET)
    recording.check("add_permission", parsed(answer))
    policy = await aws.get_policy(FunctionName="f")
    recording.check("get_policy", parsed(policy))
    # The texts themselves: compact, with their members in AWS's order.
    assert answer["Statement"] == (
        '{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction",'
        f'"Resource":"{ARN}:f","Condition":{{"ArnLike":{{"AWS:SourceArn":"{BUCKET}"}}}}}}'
    )
    assert policy["Policy"] == f'{{"Version":"2012-10-17","Id":"default","Statement":[{answer["Statement"]}]}}'


async def test_members_of_statements(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaPermissions::test_add_lambda_permission_fields")
    await aws.create()
    user = f"arn:aws:iam::{ACCOUNT}:user/u"
    steps: dict[str, dict[str, Any]] = {
        "principal_wildcard": {"statement_id": "wilcard", "Principal": "*", "SourceAccount": ACCOUNT},
        "principal_service": {
            "statement_id": "lambda",
            "Principal": "lambda.amazonaws.com",
            "SourceAccount": ACCOUNT,
        },
        "principal_account": {"statement_id": "account-id", "Principal": ACCOUNT},
        "principal_arn": {"statement_id": "user-arn", "Principal": user, "SourceAccount": ACCOUNT},
        "optional_fields": {
            "statement_id": "urlPermission",
            "Action": "lambda:InvokeFunctionUrl",
            "Principal": "*",
            "SourceArn": BUCKET,
            "SourceAccount": ACCOUNT,
            "PrincipalOrgID": "o-1234567890",
            "FunctionUrlAuthType": "NONE",
        },
        "alexa_skill": {
            "statement_id": "alexaSkill",
            "Principal": "*",
            "EventSourceToken": "amzn1.ask.skill.xxxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        },
    }
    for step, members in steps.items():
        recording.check(f"add_permission_{step}", await grant(aws, **members))
    shown = await grant(aws, "via-url", Principal="*", InvokedViaFunctionUrl=True)
    assert shown["Statement"]["Condition"] == {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}


async def test_several_statements(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaPermissions::test_create_multiple_lambda_permissions")
    await aws.create()
    recording.check("add_permission_response_1", await grant(aws, "logs", Principal="logs.amazonaws.com"))
    recording.check("add_permission_response_2", await grant(aws, "kinesis", Principal="kinesis.amazonaws.com"))
    recording.check("policy_after_2_add", await policy_of(aws))
    await aws.remove_permission(FunctionName="f", StatementId="logs")
    left = (await policy_of(aws))["Policy"]["Statement"]
    assert [statement["Sid"] for statement in left] == ["kinesis"]
    error = await aws.refused("remove_permission", FunctionName="f", StatementId="logs")
    assert message_of(error) == "Statement logs is not found in resource policy."
    answer = await aws.remove_permission(FunctionName="f", StatementId="kinesis")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert code_of(await aws.refused("get_policy", FunctionName="f")) == "ResourceNotFoundException"


async def test_policies_of_versions_and_aliases(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaPermissions::test_lambda_permission_fn_versioning")
    await aws.create(Handler="handler.handler", Timeout=30, Environment={"Variables": {}})
    statement = {"FunctionName": "f", **SNS, "SourceArn": BUCKET}
    recording.check("add_permission", parsed(await aws.add_permission(**statement)))
    first = await aws.get_policy(FunctionName="f")
    recording.check("get_policy", parsed(first))
    recording.check("publish_version_result", await aws.publish_version(FunctionName="f"))
    recording.check("get_function_result_after_publishing", await aws.get_function(FunctionName="f"))
    recording.check("get_policy_after_publishing_latest", await policy_of(aws))
    error = await aws.refused("get_policy", FunctionName="f", Qualifier="1")
    recording.check("get_policy_after_publishing_new_version", error)
    await aws.add_permission(**statement, Qualifier="1")
    recording.check("get_policy_version", await policy_of(aws, Qualifier="1"))
    alias = await aws.create_alias(FunctionName="f", FunctionVersion="1", Name="permission-alias")
    recording.check("create_alias_response", alias)
    recording.check("get_alias", await aws.get_alias(FunctionName="f", Name="permission-alias"))
    on_alias = {**statement, "Qualifier": "permission-alias"}
    error = await aws.refused("add_permission", **on_alias, RevisionId="wrong")
    recording.check("add_permission_alias_revision_exception", error)
    await aws.add_permission(**on_alias, RevisionId=alias["RevisionId"])
    recording.check("get_policy_alias", await policy_of(aws, Qualifier="permission-alias"))
    recording.check("get_policy_after_adding_to_new_version", await policy_of(aws))
    await aws.add_permission(**{**statement, "StatementId": "s3_2"}, RevisionId=first["RevisionId"])
    recording.check("get_policy_after_adding_2", await policy_of(aws))


async def test_a_change_of_the_policy_is_a_revision_of_the_function(aws: Lambda) -> None:
    await aws.create()
    before = (await aws.get_function(FunctionName="f"))["Configuration"]["RevisionId"]
    await grant(aws, RevisionId=before)
    policy = (await aws.get_policy(FunctionName="f"))["RevisionId"]
    after = (await aws.get_function(FunctionName="f"))["Configuration"]["RevisionId"]
    assert policy == after != before
    error = await aws.refused("remove_permission", FunctionName="f", StatementId="s", RevisionId=before)
    assert code_of(error) == "PreconditionFailedException"
    await aws.remove_permission(FunctionName="f", StatementId="s", RevisionId=policy)
    assert (await aws.get_function(FunctionName="f"))["Configuration"]["RevisionId"] != after


async def test_a_policy_has_20_kb_at_most(aws: Lambda) -> None:
    await aws.create()
    for number in range(10):
        await grant(aws, f"s{number}", SourceArn="arn:aws:s3:::" + "b" * 1800)
    error = await aws.refused(
        "add_permission", FunctionName="f", **{**SNS, "StatementId": "last"}, SourceArn="arn:aws:s3:::" + "b" * 1800
    )
    assert code_of(error) == "PolicyLengthExceededException"
    assert message_of(error).endswith("is bigger than the limit (20480).")
    assert len((await policy_of(aws))["Policy"]["Statement"]) == 10


async def test_the_type_of_a_url_belongs_to_its_own_action(aws: Lambda) -> None:
    await aws.create()
    error = await aws.refused("add_permission", FunctionName="f", **SNS, FunctionUrlAuthType="NONE")
    assert message_of(error) == "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"


async def test_policies_go_with_what_they_belong_to(aws: Lambda) -> None:
    await aws.create()
    await aws.publish_version(FunctionName="f")
    await aws.create_alias(FunctionName="f", Name="a", FunctionVersion="1")
    for address in ({}, {"Qualifier": "1"}, {"Qualifier": "a"}):
        await grant(aws, **address)
    await aws.delete_alias(FunctionName="f", Name="a")
    await aws.create_alias(FunctionName="f", Name="a", FunctionVersion="$LATEST")
    assert code_of(await aws.refused("get_policy", FunctionName="f", Qualifier="a")) == "ResourceNotFoundException"
    await aws.delete_function(FunctionName="f", Qualifier="1")
    assert code_of(await aws.refused("get_policy", FunctionName="f", Qualifier="1")) == "ResourceNotFoundException"
    assert await policy_of(aws)
    await aws.delete_function(FunctionName="f")
    await aws.create()
    assert code_of(await aws.refused("get_policy", FunctionName="f")) == "ResourceNotFoundException"


async def test_whole_policies(aws: Lambda) -> None:
    await aws.create()
    await grant(aws)
    document = json.dumps({
        "Version": "2012-10-17",
        "Statement": {"Effect": "Deny", "Principal": "*", "Action": "lambda:*", "Resource": f"{ARN}:f"},
    })  # fmt: skip
    put = await aws.put_resource_policy(ResourceArn=f"{ARN}:f", Policy=document)
    assert put["Policy"] == document
    shown = await aws.get_resource_policy(ResourceArn=f"{ARN}:f")
    assert (shown["Policy"], shown["RevisionId"]) == (document, put["RevisionId"])
    assert (await aws.get_policy(FunctionName="f"))["Policy"] == document
    wrong = "00000000-0000-0000-0000-000000000000"
    error = await aws.refused("delete_resource_policy", ResourceArn=f"{ARN}:f", RevisionId=wrong)
    assert code_of(error) == "PreconditionFailedException"
    await aws.delete_resource_policy(ResourceArn=f"{ARN}:f", RevisionId=put["RevisionId"])
    for operation in ("get_resource_policy", "delete_resource_policy"):
        assert code_of(await aws.refused(operation, ResourceArn=f"{ARN}:f")) == "ResourceNotFoundException"
    error = await aws.refused("put_resource_policy", ResourceArn=f"{ARN}:f", Policy='{"Statement": []}')
    assert (code_of(error), message_of(error)) == ("InvalidParameterValueException", "The policy has no Statement.")


@pytest.mark.parametrize(
    ("operation", "members"),
    [("get_function", {}), ("list_versions_by_function", {}), ("update_function_code", {"ZipFile": OTHER_CODE})],
)
async def test_another_account_may_do_what_it_is_granted(aws: Lambda, operation: str, members: dict[str, Any]) -> None:
    await aws.create()
    other = aws.of(key=OTHER_ACCOUNT)
    action = "lambda:" + "".join(word.capitalize() for word in operation.split("_"))
    with pytest.raises(Exception, match="AccessDenied") as error:
        await getattr(other, operation)(FunctionName=f"{ARN}:f", **members)
    assert str(error.value).endswith(
        f"User: arn:aws:iam::{OTHER_ACCOUNT}:root is not authorized to perform: {action} on resource: {ARN}:f "
        f"because no resource-based policy allows the {action} action"
    )
    await grant(aws, "another", Principal=OTHER_ACCOUNT, Action="lambda:GetAlias")
    with pytest.raises(Exception, match="AccessDenied"):
        await getattr(other, operation)(FunctionName=f"{ARN}:f", **members)
    await grant(aws, "this", Principal=OTHER_ACCOUNT, Action=action)
    answer = await getattr(other, operation)(FunctionName=f"{ARN}:f", **members)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    await aws.remove_permission(FunctionName="f", StatementId="this")
    with pytest.raises(Exception, match="AccessDenied"):
        await getattr(other, operation)(FunctionName=f"{ARN}:f", **members)


async def test_what_no_policy_can_grant(aws: Lambda) -> None:
    await aws.create()
    await grant(aws, Principal=OTHER_ACCOUNT, Action="lambda:*")
    with pytest.raises(Exception, match="AccessDenied"):
        await aws.of(key=OTHER_ACCOUNT).update_function_configuration(FunctionName=f"{ARN}:f", Timeout=9)
