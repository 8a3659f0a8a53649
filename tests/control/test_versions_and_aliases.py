"""Versions, aliases, concurrency, tags and smaller settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lambdad.control.aliases import CreateAlias, UpdateAlias
from lambdad.control.paging import after
from lambdad.control.versions import PublishVersion
from lambdad.domain.errors import InvalidParameterValue, PreconditionFailed, ResourceConflict, ResourceNotFound
from lambdad.domain.functions import RuntimeUpdate, State
from tests.control.building import ACCOUNT, REGION, Bench, a_bench
from tests.control.test_functions import CODE, configure, create, ref, shown, update_code

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"


async def publish(bench: Bench, **members: Any) -> Any:
    return await bench.plane.versions.publish(PublishVersion(reference=ref(), **members))


async def published(bench: Bench, count: int) -> None:
    """The function `f` with so many versions."""
    await bench.plane.functions.create(create())
    await bench.settle()
    for number in range(count):
        await bench.plane.functions.update_configuration(configure(description=str(number)))
        await bench.settle()
        await publish(bench)


async def test_a_version_is_a_copy_that_stays(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create())
        await bench.settle()
        latest = await shown(bench)
        version = await publish(bench, description="first")
        assert version == replace(
            latest,
            version="1",
            description="first",
            revision_id=version.revision_id,
            generation=version.generation,
            last_modified=version.last_modified,
        )
        assert version.generation != latest.generation
        assert (await shown(bench)).revision_id not in (latest.revision_id, version.revision_id)
        await bench.plane.functions.update_code(update_code())
        await bench.settle()
        assert await shown(bench, "1") == version


async def test_nothing_new_is_published_without_a_change(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create())
        await bench.settle()
        first = await publish(bench, description="first")
        revision = (await shown(bench)).revision_id
        assert await publish(bench, description="second") == first
        assert (await shown(bench)).revision_id == revision
        # The same code once more is no change, as deployment tools rely on.
        await bench.plane.functions.update_code(update_code(CODE))
        await bench.settle()
        assert await publish(bench) == first
        again = await bench.plane.functions.update_code(update_code(CODE, publish=True))
        assert again == first
        await bench.settle()
        await bench.plane.functions.update_configuration(configure(timeout_s=10))
        await bench.settle()
        assert (await publish(bench)).version == "2"


async def test_numbers_go_on(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await published(bench, 2)
        await bench.plane.functions.delete(ref("f", "2"))
        await bench.plane.functions.update_configuration(configure(timeout_s=10))
        await bench.settle()
        assert (await publish(bench)).version == "3"
        await bench.plane.functions.delete(ref())
        await bench.plane.functions.create(create(publish=True))
        assert (await shown(bench, "4")).version == "4"


async def test_an_update_that_publishes(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create())
        await bench.settle()
        version = await bench.plane.functions.update_code(update_code(publish=True))
        assert (version.version, version.state) == ("1", State.PENDING)
        await bench.settle()
        assert (await shown(bench, "1")).state is State.ACTIVE
        assert (await shown(bench)).code_sha256 == version.code_sha256


async def test_a_snap_start_version_is_pending_first(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create(configuration={"snap_start": "PublishedVersions"}))
        await bench.settle()
        assert (await publish(bench)).state is State.PENDING
        await bench.settle()
        assert (await shown(bench, "1")).state is State.ACTIVE


async def test_the_code_can_be_named(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create())
        await bench.settle()
        digest = (await shown(bench)).code_sha256
        with pytest.raises(InvalidParameterValue) as error:
            await publish(bench, code_sha256="other")
        assert str(error.value) == (
            f"CodeSHA256 (other) is different from current CodeSHA256 in $LATEST ({digest}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )
        assert (await publish(bench, code_sha256=digest)).version == "1"


async def test_listing_versions(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await published(bench, 3)
        versions = bench.plane.versions
        page = await versions.list(ref(), max_items=3)
        assert [version.version for version in page.items] == ["$LATEST", "1", "2"]
        page = await versions.list(ref(), max_items=3, marker=page.next_marker)
        assert [version.version for version in page.items] == ["3"]
        assert page.next_marker is None
        with pytest.raises(ResourceNotFound, match="Function not found"):
            await versions.list(ref("missing"))


@pytest.mark.parametrize("marker", ["x", "é", "e30=", "WyJhIl0=", "WzEsIDJd", "////"])
def test_markers_of_others_are_refused(marker: str) -> None:
    with pytest.raises(InvalidParameterValue, match="marker"):
        after(marker, (int,))


async def test_an_alias_lives_and_moves(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await published(bench, 2)
        aliases = bench.plane.aliases
        made = await aliases.create(
            CreateAlias(reference=ref(), name="prod", function_version="1", routing={"2": 0.25}, description="d")
        )
        assert await aliases.get(ref(), "prod") == made
        view = await bench.plane.functions.find(ref("f", "prod"))
        assert (view.version.version, view.arn) == ("1", f"{ARN}:f:prod")
        kept = await aliases.update(UpdateAlias(reference=ref(), name="prod", revision_id=made.revision_id))
        assert kept == replace(made, revision_id=kept.revision_id)
        assert kept.revision_id != made.revision_id
        moved = await aliases.update(
            UpdateAlias(reference=ref(), name="prod", function_version="2", routing={}, description="")
        )
        assert (moved.function_version, moved.routing, moved.description) == ("2", {}, "")
        with pytest.raises(PreconditionFailed):
            await aliases.update(UpdateAlias(reference=ref(), name="prod", revision_id=made.revision_id))
        await aliases.delete(ref(), "prod")
        with pytest.raises(ResourceNotFound, match=f"^Cannot find alias arn: {ARN}:f:prod$"):
            await aliases.get(ref(), "prod")
        with pytest.raises(ResourceNotFound, match=f"^Function not found: {ARN}:f:prod$"):
            await bench.plane.functions.find(ref("f", "prod"))


@pytest.mark.parametrize(
    ("name", "members", "error", "text"),
    [
        ("f", {"function_version": "10"}, ResourceNotFound, f"Function not found: {ARN}:f:10"),
        ("f", {"function_version": "1", "routing": {"9": 0.1}}, ResourceNotFound, f"Function not found: {ARN}:f:9"),
        ("missing", {"function_version": "1"}, ResourceNotFound, f"Function not found: {ARN}:missing:1"),
        (
            "f",
            {"function_version": "1", "routing": {"1": 0.1}},
            InvalidParameterValue,
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
        ),
        ("f", {"function_version": "1", "name": "taken"}, ResourceConflict, f"Alias already exists: {ARN}:f:taken"),
    ],
)
async def test_refused_aliases(
    tmp_path: Path, name: str, members: dict[str, Any], error: type[Exception], text: str
) -> None:
    async with a_bench(tmp_path) as bench:
        await published(bench, 1)
        aliases = bench.plane.aliases
        await aliases.create(CreateAlias(reference=ref(), name="taken", function_version="$LATEST"))
        with pytest.raises(error) as refused:
            await aliases.create(CreateAlias(**{"reference": ref(name), "name": "new", **members}))
        assert str(refused.value) == text


async def test_a_version_that_an_alias_needs_cannot_be_deleted(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await published(bench, 2)
        await bench.plane.aliases.create(
            CreateAlias(reference=ref(), name="prod", function_version="1", routing={"2": 0.5})
        )
        for number in "12":
            with pytest.raises(ResourceConflict, match="prod"):
                await bench.plane.functions.delete(ref("f", number))
        await bench.plane.functions.delete(ref())  # the function itself goes with all of it
        await bench.plane.functions.create(create())
        assert (await bench.plane.aliases.list(ref())).items == []


async def test_listing_aliases(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await published(bench, 2)
        aliases = bench.plane.aliases
        for number in range(60):
            await aliases.create(
                CreateAlias(reference=ref(), name=f"a{number:02}", function_version="1" if number % 2 else "2")
            )
        page = await aliases.list(ref())
        assert (len(page.items), page.next_marker) == (60, None)
        page = await aliases.list(ref(), function_version="1", max_items=20)
        assert [alias.name for alias in page.items] == [f"a{number:02}" for number in range(1, 41, 2)]
        page = await aliases.list(ref(), function_version="1", max_items=20, marker=page.next_marker)
        assert [alias.name for alias in page.items] == [f"a{number:02}" for number in range(41, 60, 2)]
        with pytest.raises(ResourceNotFound):
            await aliases.list(ref("missing"))
        with pytest.raises(ResourceNotFound):
            await aliases.delete(ref("missing"), "a")


async def test_reservations(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        concurrency = bench.plane.concurrency
        for name in "fg":
            await bench.plane.functions.create(create(name))
        await concurrency.reserve(ref("f"), 400)
        await concurrency.reserve(ref("g"), 500)
        with pytest.raises(InvalidParameterValue, match="below its minimum"):
            await concurrency.reserve(ref("f"), 401)
        assert await concurrency.reserved(ref("f")) == 400
        assert (await bench.plane.accounts.settings(ACCOUNT, REGION)).unreserved_concurrency == 100
        await concurrency.release(ref("g"))
        await concurrency.release(ref("g"))
        await concurrency.reserve(ref("f"), 900)
        for call in (concurrency.reserved(ref("x")), concurrency.release(ref("x"))):
            with pytest.raises(ResourceNotFound, match=f"^Function not found: {ARN}:x$"):
                await call


async def test_tags_change_the_revision_but_not_the_generation(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create(tags={"a": "1"}))
        await bench.settle()
        before = await shown(bench)
        await bench.plane.tags.add(ref(), {"b": "2", "a": "3"})
        await bench.plane.tags.remove(ref(), ["b", "missing"])
        assert await bench.plane.tags.list(ref()) == {"a": "3"}
        after_tags = await shown(bench)
        assert after_tags == replace(before, revision_id=after_tags.revision_id)
        assert after_tags.revision_id != before.revision_id


async def test_tags_during_an_update_do_not_end_it(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create())
        await bench.settle()
        bench.preparation.hold()
        await bench.plane.functions.update_code(update_code())
        await bench.plane.tags.add(ref(), {"a": "1"})
        assert (await shown(bench)).last_update_status == "InProgress"
        bench.preparation.release()
        await bench.settle()
        assert (await shown(bench)).last_update_status == "Successful"


async def test_recursion_and_runtime_management(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create(publish=True))
        recursion, management = bench.plane.recursion, bench.plane.runtime_management
        assert await recursion.get(ref()) == "Terminate"
        await recursion.put(ref(), "Allow")
        assert await recursion.get(ref()) == "Allow"
        manual = RuntimeUpdate(update_on="Manual", runtime_version_arn="arn")
        await management.put(ref("f", "1"), manual)
        assert await management.get(ref("f", "1")) == manual
        assert await management.get(ref()) == RuntimeUpdate()
        await bench.settle()
        assert await management.get(ref("f", "1")) == manual
        for bad in (RuntimeUpdate(update_on="Manual"), RuntimeUpdate(runtime_version_arn="arn")):
            with pytest.raises(InvalidParameterValue):
                await management.put(ref(), bad)
        for reference in (ref("x"), ref("f", "9"), ref("f", "prod")):
            for call in (management.get(reference), management.put(reference, RuntimeUpdate())):
                with pytest.raises(ResourceNotFound):
                    await call
        for other in (recursion.get(ref("x")), recursion.put(ref("x"), "Allow")):
            with pytest.raises(ResourceNotFound):
                await other
