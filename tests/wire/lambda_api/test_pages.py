"""How much listings return at once, and what their markers lead to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.control.building import ACCOUNT, REGION
from tests.wire.lambda_api.conftest import CODE, Lambda

COUNT = 53
PUBLISHERS = {"SigningProfileVersionArns": [f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p/0123456789"]}


async def pages(aws: Lambda, operation: str, member: str, **params: Any) -> AsyncIterator[list[Any]]:
    """The pages of a listing that is asked for as much as possible."""
    marker: dict[str, str] = {}
    while True:
        answer = await getattr(aws, operation)(**params, **marker)
        yield answer[member]
        if "NextMarker" not in answer:
            return
        marker = {"Marker": answer["NextMarker"]}


@pytest.fixture
async def many(aws: Lambda) -> Lambda:
    """An account with more of everything than a page holds."""
    await aws.create("f-00", Publish=True)
    csc = (await aws.create_code_signing_config(AllowedPublishers=PUBLISHERS))["CodeSigningConfig"]
    for number in range(COUNT):
        if number:
            await aws.create(f"f-{number:02}", wait=False, CodeSigningConfigArn=csc["CodeSigningConfigArn"])
            await aws.create_code_signing_config(AllowedPublishers=PUBLISHERS)
        await aws.create_alias(FunctionName="f-00", Name=f"a-{number:02}", FunctionVersion="1")
        await aws.publish_layer_version(LayerName="l-00", Content={"ZipFile": CODE})
        await aws.publish_layer_version(LayerName=f"l-{number:02}", Content={"ZipFile": CODE})
    await aws.bench.settle()
    return aws


async def test_listings_return_fifty_at_once_and_aliases_more(many: Lambda) -> None:
    csc = (await many.get_function_code_signing_config(FunctionName="f-01"))["CodeSigningConfigArn"]
    for operation, member, params, sizes in (
        ("list_functions", "Functions", {"MaxItems": 10_000}, [50, 3]),
        ("list_functions", "Functions", {"FunctionVersion": "ALL"}, [50, 4]),
        ("list_aliases", "Aliases", {"FunctionName": "f-00", "MaxItems": 10_000}, [53]),
        ("list_aliases", "Aliases", {"FunctionName": "f-00", "MaxItems": 52}, [52, 1]),
        ("list_layers", "Layers", {"MaxItems": 50}, [50, 3]),
        ("list_layer_versions", "LayerVersions", {"LayerName": "l-00"}, [50, 4]),
        ("list_code_signing_configs", "CodeSigningConfigs", {"MaxItems": 10_000}, [50, 3]),
        (
            "list_functions_by_code_signing_config",
            "FunctionArns",
            {"CodeSigningConfigArn": csc, "MaxItems": 10_000},
            [50, 2],
        ),
    ):
        found = [page async for page in pages(many, operation, member, **params)]
        assert [len(page) for page in found] == sizes, operation
        items = [str(item) for page in found for item in page]
        assert len(set(items)) == len(items), operation


async def test_versions_are_listed_fifty_at_once(aws: Lambda) -> None:
    await aws.create()
    for number in range(51):
        await aws.update_function_configuration(FunctionName="f", Description=str(number))
        await aws.bench.settle()
        await aws.publish_version(FunctionName="f")
    found = [page async for page in pages(aws, "list_versions_by_function", "Versions", FunctionName="f")]
    numbers = [version["Version"] for page in found for version in page]
    assert [len(page) for page in found] == [50, 2]
    assert numbers == ["$LATEST", *map(str, range(1, 52))]
