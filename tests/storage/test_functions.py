"""The repository of functions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lambdad.domain.functions import LATEST, Alias, Function, FunctionVersion, LoggingConfig, State, StoredVersion
from lambdad.storage import documents
from lambdad.storage.functions import (
    FunctionKey,
    FunctionRepository,
    FunctionTables,
    VersionKey,
    fingerprint,
)
from lambdad.storage.sqlite import SqliteEngine
from tests.domain.test_configuration import FULL, a_version

KEY = FunctionKey("111111111111", "us-east-1", "f")
FUNCTION = Function(account=KEY.account, region=KEY.region, name=KEY.name)


@pytest.fixture
async def functions(tmp_path: Path) -> AsyncIterator[FunctionRepository]:
    engine = await SqliteEngine.open(tmp_path)
    yield FunctionRepository(engine)
    await engine.close()


def an_alias(name: str = "prod") -> Alias:
    return Alias(account=KEY.account, region=KEY.region, function="f", name=name, function_version="1", revision_id="a")


async def put(functions: FunctionRepository, *versions: FunctionVersion, settled: bool = True) -> None:
    def job(tables: FunctionTables) -> None:
        for version in versions:
            tables.put_function(replace(FUNCTION, name=version.name, region=version.region, account=version.account))
            tables.put_version(StoredVersion(current=version), settled=settled)

    await functions.write(job)


def test_documents_give_back_what_they_were_made_from() -> None:
    rich = replace(
        FULL,
        logging=LoggingConfig(log_format="JSON", log_group="g", application_log_level="INFO", system_log_level="WARN"),
        state=State.FAILED,
        environment={"Ü": "\n"},
    )
    assert documents.decode_version(documents.encode(rich)) == rich
    assert documents.decode_version(documents.encode(a_version())) == a_version()
    alias = replace(an_alias(), routing={"2": 0.25})
    assert documents.decode_alias(documents.encode(alias)) == alias


def test_documents_of_other_releases() -> None:
    members = json.loads(documents.encode(a_version()))
    members["later"] = 1
    del members["ephemeral_mb"]
    assert documents.decode_version(json.dumps(members)) == a_version()


async def test_a_function_with_everything(functions: FunctionRepository) -> None:
    first = a_version(version="1")
    updating = StoredVersion(current=a_version(generation=3), previous=a_version(generation=2))

    def job(tables: FunctionTables) -> None:
        tables.put_function(replace(FUNCTION, reserved_concurrency=0, tags={"k": "ü"}, recursive_loop="Allow"))
        tables.put_version(updating, settled=False)
        tables.put_version(StoredVersion(current=first), settled=True)
        tables.put_alias(an_alias())

    await functions.write(job)
    found = await functions.load(*KEY.arguments.values())  # type: ignore[arg-type]
    assert found is not None
    assert found.function == replace(FUNCTION, reserved_concurrency=0, tags={"k": "ü"}, recursive_loop="Allow")
    assert found.versions == {LATEST: updating, "1": StoredVersion(current=first)}
    assert found.versions[LATEST].serving.generation == 2
    assert found.aliases == {"prod": an_alias()}
    assert await functions.unsettled() == [VersionKey(KEY, LATEST)]
    assert await functions.version(VersionKey(KEY, "1")) == (found.function, StoredVersion(current=first))


async def test_what_is_not_there(functions: FunctionRepository) -> None:
    assert await functions.load(KEY.account, KEY.region, KEY.name) is None
    assert await functions.function(KEY) is None
    assert await functions.version(VersionKey(KEY, "1")) is None
    assert await functions.alias(KEY, "prod") is None
    assert not await functions.write(lambda tables: tables.delete_function(KEY))
    assert not await functions.write(lambda tables: tables.delete_version(VersionKey(KEY, "1")))


async def test_accounts_and_regions_do_not_see_each_other(functions: FunctionRepository) -> None:
    await put(functions, a_version(), a_version(region="eu-west-1"), a_version(account="222222222222", code_size=7))
    await functions.write(lambda tables: tables.delete_function(KEY))
    assert await functions.load("111111111111", "eu-west-1", "f") is not None
    assert await functions.list_latest(KEY.account, KEY.region, limit=10) == []
    assert [version.account for version in await functions.list_latest("222222222222", KEY.region, limit=10)] == [
        "222222222222"
    ]
    assert (await functions.usage("222222222222", KEY.region)).code_bytes == 7


async def test_numbers_are_never_used_again(functions: FunctionRepository) -> None:
    def take(tables: FunctionTables) -> tuple[str, int]:
        return tables.next_version(KEY), tables.next_generation(KEY)

    assert [await functions.write(take) for _ in range(2)] == [("1", 1), ("2", 2)]
    await functions.write(lambda tables: tables.delete_function(KEY))
    assert await functions.write(take) == ("3", 3)


async def test_listings_are_in_order_and_continue(functions: FunctionRepository) -> None:
    await put(
        functions,
        *(a_version(name=name, version=version) for name in "cab" for version in (LATEST, "1", "2", "10")),
    )
    account, region = KEY.account, KEY.region
    latest = await functions.list_latest(account, region, limit=10)
    assert [version.name for version in latest] == ["a", "b", "c"]
    assert [version.name for version in await functions.list_latest(account, region, after="a", limit=1)] == ["b"]
    every = [(version.name, version.version) for version in await functions.list_all(account, region, limit=100)]
    assert every == [(name, version) for name in "abc" for version in (LATEST, "1", "2", "10")]
    rest = await functions.list_all(account, region, after=("b", 2), limit=2)
    assert [(version.name, version.version) for version in rest] == [("b", "10"), ("c", LATEST)]
    versions = await functions.list_versions(FunctionKey(account, region, "a"), limit=100)
    assert [version.version for version in versions] == [LATEST, "1", "2", "10"]
    versions = await functions.list_versions(FunctionKey(account, region, "a"), after=2, limit=100)
    assert [version.version for version in versions] == ["10"]


async def test_the_code_that_is_needed(functions: FunctionRepository) -> None:
    await put(functions, a_version(version="1", code_sha256="one"))

    def job(tables: FunctionTables) -> None:
        tables.put_version(
            StoredVersion(current=a_version(code_sha256="new"), previous=a_version(code_sha256="old")), settled=False
        )

    await functions.write(job)
    assert await functions.code_in_use() == {"one", "new", "old"}


async def test_the_last_published_version(functions: FunctionRepository) -> None:
    def job(tables: FunctionTables) -> tuple[FunctionVersion, str] | None:
        assert tables.latest_published(KEY) is None
        for number in ("9", "10"):
            version = a_version(version=number)
            tables.put_version(StoredVersion(current=version), settled=True, fingerprint=f"print {number}")
        tables.put_version(StoredVersion(current=a_version()), settled=True)
        # Settled later: the fingerprint stays.
        tables.put_version(StoredVersion(current=a_version(version="10")), settled=True)
        return tables.latest_published(KEY)

    assert await functions.write(job) == (a_version(version="10"), "print 10")


def test_a_fingerprint_is_of_the_content() -> None:
    same = replace(a_version(), version="3", generation=9, revision_id="r9", last_modified="then", state=State.ACTIVE)
    assert fingerprint(same) == fingerprint(a_version())
    changes: list[dict[str, Any]] = [{"code_sha256": "y"}, {"description": "d"}, {"environment": {}}, {"timeout_s": 4}]
    for change in changes:
        assert fingerprint(a_version(**change)) != fingerprint(a_version())


async def test_reservations_and_use(functions: FunctionRepository) -> None:
    def job(tables: FunctionTables) -> int:
        for name, reserved in (("f", 5), ("g", 7), ("h", None)):
            tables.put_function(replace(FUNCTION, name=name, reserved_concurrency=reserved))
            tables.put_version(StoredVersion(current=a_version(name=name, code_size=10)), settled=True)
        return tables.set_aside_by_others(KEY)

    assert await functions.write(job) == 7
    assert sorted(await functions.reservations(), key=str) == [(KEY, 5), (replace(KEY, name="g"), 7)]
    usage = await functions.usage(KEY.account, KEY.region)
    assert (usage.functions, usage.code_bytes, usage.set_aside_concurrency) == (3, 30, 12)


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    engine = await SqliteEngine.open(tmp_path)
    await put(FunctionRepository(engine), FULL)
    await engine.close()
    engine = await SqliteEngine.open(tmp_path)
    found = await FunctionRepository(engine).load(KEY.account, KEY.region, KEY.name)
    await engine.close()
    assert found is not None
    assert found.versions[LATEST].current == FULL
