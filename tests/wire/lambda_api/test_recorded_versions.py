"""Versions, aliases, concurrency and tags, replayed against what AWS answered."""

from __future__ import annotations

from typing import Any

from tests.control.building import ACCOUNT, REGION
from tests.recordings import Recording
from tests.wire.lambda_api.conftest import CODE, OTHER_CODE, Lambda

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
EMPTY: dict[str, Any] = {"Variables": {}}


async def test_publish_on_create(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaVersions::test_publish_version_on_create")
    recording.check("create_response", await aws.create(Publish=True))
    recording.check("get_function_result", await aws.get_function(FunctionName="f"))
    recording.check("get_function_version_result", await aws.get_function(FunctionName="f", Qualifier="1"))
    recording.check("get_function_latest_result", await aws.get_function(FunctionName="f", Qualifier="$LATEST"))
    recording.check("list_versions_result", await aws.list_versions_by_function(FunctionName="f"))
    recording.check("repeated_publish_response", await aws.publish_version(FunctionName="f"))
    recording.check("list_versions_result_after_publish", await aws.list_versions_by_function(FunctionName="f"))


async def test_versions_of_changing_code(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaVersions::test_lambda_versions_with_code_changes")
    created = await aws.create(Handler="handler.handler", Description="No version :(")
    recording.check("create_response", created)
    first = await aws.publish_version(FunctionName="f", Description="First version description :)")
    recording.check("first_publish_response", first)
    recording.check("update_lambda_response", await aws.update_function_code(FunctionName="f", ZipFile=OTHER_CODE))
    await aws.bench.settle()
    second = await aws.publish_version(FunctionName="f", Description="Second version description :)")
    recording.check("second_publish_response", second)
    third = await aws.update_function_code(FunctionName="f", ZipFile=CODE, Publish=True)
    recording.check("update_lambda_response_with_publish", third)


async def test_a_moving_alias(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaAliases::test_lambda_alias_moving")
    created = await aws.create(Handler="handler.handler", Description="No version :(")
    recording.check("create_response", created)
    await aws.publish_version(FunctionName="f", Description="First version description :)")
    alias = await aws.create_alias(FunctionName="f", FunctionVersion="1", Name="alias1")
    recording.check("create_alias_response", alias)
    recording.check("update_lambda_response", await aws.update_function_code(FunctionName="f", ZipFile=OTHER_CODE))
    await aws.bench.settle()
    second = await aws.publish_version(FunctionName="f", Description="Second version description :)")
    recording.check("second_publish_response", second)
    moved = await aws.update_alias(FunctionName="f", FunctionVersion="2", Name="alias1")
    recording.check("update_alias_response", moved)


async def test_deleting_an_alias_that_does_not_exist(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaAlias::test_non_existent_alias_deletion")
    recording.check("create_response", await aws.create(Environment={"Variables": {"testenv": "staging"}}))
    recording.check("delete_alias_response", await aws.delete_alias(FunctionName="f", Name="non-existent"))


async def test_updating_an_alias_that_does_not_exist(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaAlias::test_non_existent_alias_update")
    recording.check("create_response", await aws.create(Environment={"Variables": {"testenv": "staging"}}))
    error = await aws.refused("update_alias", FunctionName="f", Name="non-existent")
    recording.check("update_alias_response", error)


async def test_revisions_of_versions_and_aliases(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaRevisions::test_function_revisions_version_and_alias")
    recorded = recording.steps["create_function_response_rev1"]["CreateFunctionResponse"]
    created = await aws.create(
        **{member: recorded[member] for member in ("Handler", "Timeout", "Environment", "Runtime", "MemorySize")}
    )
    recording.check("create_function_response_rev1", created)
    active = await aws.get_function(FunctionName="f")
    recording.check("get_function_active_rev2", active)
    error = await aws.refused("publish_version", FunctionName="f", RevisionId=created["RevisionId"])
    recording.check("publish_version_revision_exception", error)
    revision = active["Configuration"]["RevisionId"]
    recording.check("publish_version_response_rev_v1", await aws.publish_version(FunctionName="f", RevisionId=revision))
    version = await aws.get_function(FunctionName="f", Qualifier="1")
    recording.check("get_function_published_version_rev_v2", version)
    recording.check("get_function_latest_rev3", await aws.get_function(FunctionName="f"))
    alias = await aws.create_alias(FunctionName="f", Name="revision_alias", FunctionVersion="1")
    expected = recording.steps["create_alias_response_rev_a1"]
    alias_name = str(expected["Name"])
    assert alias_name == alias["Name"]
    recording.check("create_alias_response_rev_a1", alias)
    recording.check("get_function_latest_rev4", await aws.get_function(FunctionName="f"))
    recording.check("get_function_published_version_rev_v3", await aws.get_function(FunctionName="f", Qualifier="1"))
    change: dict[str, Any] = {"FunctionName": "f", "Name": "revision_alias", "Description": "something changed"}
    error = await aws.refused("update_alias", **change, RevisionId="wrong")
    recording.check("update_alias_revision_exception", error)
    updated = await aws.update_alias(**change, RevisionId=alias["RevisionId"])
    recording.check("update_alias_response_rev_a2", updated)


async def test_reserved_concurrency(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaReservedConcurrency::test_function_concurrency")
    await aws.create()
    for executions in (0, 1):
        answer = await aws.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=executions)
        recording.check(f"put_function_concurrency_with_reserved_{executions}", answer)
    recording.check("get_function_concurrency", await aws.get_function_concurrency(FunctionName="f"))
    recording.check("delete_response", await aws.delete_function_concurrency(FunctionName="f"))
    recording.check("get_function_concurrency_after_delete", await aws.get_function_concurrency(FunctionName="f"))


async def test_refused_concurrency(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaReservedConcurrency::test_function_concurrency_exceptions")
    await aws.create()
    step = "put_function_concurrency_with_function_name_doesnotexist"
    for suffix, executions in (("", 1), ("_and_invalid_concurrency", 0)):
        error = await aws.refused(
            "put_function_concurrency", FunctionName="doesnotexist", ReservedConcurrentExecutions=executions
        )
        recording.check(step + suffix, error)
    error = await aws.refused(
        "put_function_concurrency", FunctionName=f"{ARN}:f:$LATEST", ReservedConcurrentExecutions=0
    )
    recording.check("put_function_concurrency_with_qualified_arn", error)


async def test_concurrency_is_shown_with_the_function(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaConcurrency::test_lambda_concurrency_update")
    recorded = recording.steps["get_function_concurrency_info"]["Configuration"]
    await aws.create(**{member: recorded[member] for member in ("Handler", "Timeout", "Environment", "Runtime")})
    answer = await aws.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=3)
    recording.check("put_function_concurrency", answer)
    recording.check("get_function_concurrency_updated", await aws.get_function_concurrency(FunctionName="f"))
    recording.check("get_function_concurrency_info", await aws.get_function(FunctionName="f"))
    await aws.delete_function_concurrency(FunctionName="f")
    recording.check("get_function_concurrency_deleted", await aws.get_function_concurrency(FunctionName="f"))


async def test_tags_given_at_creation(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaTag::test_create_tag_on_fn_create")
    recorded = recording.steps["get_function_result"]["Configuration"]
    settings: dict[str, Any] = {
        member: recorded[member] for member in ("Handler", "Timeout", "Environment", "Runtime", "MemorySize")
    }
    await aws.create(**settings, Tags={"testtag": "value"})
    recording.check("get_function_result", await aws.get_function(FunctionName="f"))
    recording.check("list_tags_result", await aws.list_tags(Resource=f"{ARN}:f"))


async def test_tags(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaTags::test_tag_lifecycle")
    recorded = recording.steps["get_fn_response_postfncreate"]["Configuration"]
    settings: dict[str, Any] = {
        member: recorded[member] for member in ("Handler", "Timeout", "Environment", "Runtime", "MemorySize")
    }
    await aws.create(**settings, Tags={"key_a": "value_a"})
    resource: dict[str, Any] = {"Resource": f"{ARN}:f"}

    async def check(suffix: str) -> None:
        recording.check(f"list_tags_response_{suffix}", await aws.list_tags(**resource))
        recording.check(f"get_fn_response_{suffix}", await aws.get_function(FunctionName="f"))

    await check("postfncreate")
    added = await aws.tag_resource(**resource, Tags={f"key_{name}": f"value_{name}" for name in "bcde"})
    recording.check("tag_resource_response", added)
    await check("postaddtags")
    recording.check("tag_resource_overwrite", await aws.tag_resource(**resource, Tags={"key_c": "value_x"}))
    await check("overwrite")
    await aws.untag_resource(**resource, TagKeys=["key_c", "key_d"])
    await check("postuntag")
    await aws.untag_resource(**resource, TagKeys=["key_a", "key_b", "key_e"])
    await check("postuntagall")
    await aws.delete_function(FunctionName="f")
    recording.check("list_tags_postdelete", await aws.refused("list_tags", **resource))


async def test_refused_tags(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaTags::test_tag_exceptions")
    await aws.create()
    tags = {"Tags": {"key": "value"}}
    for step, arn in (
        ("tag_lambda_invalidarn", "arn:aws:something"),
        ("tag_lambda_doesnotexist", f"{ARN}:doesnotexist"),
        ("tag_lambda_qualifier_doesnotexist", f"{ARN}:f:v1"),
    ):
        recording.check(step, await aws.refused("tag_resource", Resource=arn, **tags))
    resource: dict[str, Any] = {"Resource": f"{ARN}:f"}
    recording.check("list_tag_lambda_empty", await aws.list_tags(**resource))
    recording.check("untag_nomatch", await aws.untag_resource(**resource, TagKeys=["somekey"]))
    recording.check("untag_empty_keys", await aws.refused("untag_resource", **resource, TagKeys=[]))
    recording.check("tag_empty_tags", await aws.refused("tag_resource", **resource, Tags={}))


async def test_too_many_tags(aws: Lambda) -> None:
    recording = Recording.find("TestLambdaTags::test_tag_limits")
    recorded = recording.steps["get_fn_response"]["Configuration"]
    await aws.create(
        **{member: recorded[member] for member in ("Handler", "Timeout", "Environment", "Runtime", "MemorySize")}
    )
    resource: dict[str, Any] = {"Resource": f"{ARN}:f"}

    def tags(count: int) -> dict[str, str]:
        return {f"{number}_key": f"{number}_value" for number in range(count)}

    recording.check("tag_lambda_too_many_tags", await aws.refused("tag_resource", **resource, Tags=tags(51)))
    recording.check("tag_response", await aws.tag_resource(**resource, Tags=tags(50)))
    recording.check("list_tags_response", await aws.list_tags(**resource))
    recording.check("get_fn_response", await aws.get_function(FunctionName="f"))
    error = await aws.refused("tag_resource", **resource, Tags={"more": "one"})
    recording.check("tag_lambda_too_many_tags_additional", error)
    error = await aws.refused(
        "create_function",
        FunctionName="g",
        Runtime="python3.12",
        Handler="index.handler",
        Role=f"arn:aws:iam::{ACCOUNT}:role/r",
        Code={"ZipFile": CODE},
        Tags=tags(51),
    )
    recording.check("create_function_invalid_tags", error)
