"""Functions: creation, states, updates, deletion."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lambdad.control.code_source import CodeSource
from lambdad.control.functions import CreateFunction, UpdateFunctionCode, UpdateFunctionConfiguration
from lambdad.control.versions import PublishVersion
from lambdad.domain.arns import FunctionReference
from lambdad.domain.configuration import ConfigurationChange
from lambdad.domain.errors import (
    CodeSigningConfigNotFound,
    CodeStorageExceeded,
    InvalidParameterValue,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from lambdad.domain.functions import FunctionVersion, State, UpdateStatus
from lambdad.domain.lifecycle import PrepareFailure
from tests.control.building import ACCOUNT, REGION, ROLE, Bench, a_bench, zipped

CODE = zipped({"app.py": "1"})
OTHER = zipped({"app.py": "2"})
NO_PYTHON = PrepareFailure(code="InvalidRuntime", reason="There is no Python 3.12 on this machine.")


def ref(name: str = "f", qualifier: str | None = None) -> FunctionReference:
    return FunctionReference(ACCOUNT, REGION, name, qualifier)


def create(name: str = "f", *, code: CodeSource | None = None, **members: Any) -> CreateFunction:
    configuration = members.pop("configuration", {})
    return CreateFunction(
        reference=ref(name),
        configuration=ConfigurationChange(
            **{"role": ROLE, "runtime": "python3.12", "handler": "app.handler", **configuration}
        ),
        code=code or CodeSource(zip_file=CODE),
        **members,
    )


def update_code(archive: bytes | None = OTHER, **members: Any) -> UpdateFunctionCode:
    return UpdateFunctionCode(reference=ref(), code=CodeSource(zip_file=archive), **members)


def configure(**members: Any) -> UpdateFunctionConfiguration:
    revision_id = members.pop("revision_id", None)
    return UpdateFunctionConfiguration(
        reference=ref(), configuration=ConfigurationChange(**members), revision_id=revision_id
    )


async def shown(bench: Bench, qualifier: str | None = None) -> FunctionVersion:
    return (await bench.plane.functions.find(ref("f", qualifier))).version


async def serving(bench: Bench) -> FunctionVersion:
    found = await bench.repository.load(ACCOUNT, REGION, "f")
    assert found is not None
    return found.versions["$LATEST"].serving


async def test_a_function_is_pending_until_it_is_prepared(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        bench.preparation.hold()
        created = await bench.plane.functions.create(create())
        assert created.state is State.PENDING
        assert await shown(bench) == created
        bench.preparation.release()
        await bench.settle()
        active = await shown(bench)
        assert (active.state, active.last_update_status) == (State.ACTIVE, UpdateStatus.SUCCESSFUL)
        assert active.revision_id != created.revision_id
        assert active.generation == created.generation
        assert bench.changed == [(ACCOUNT, REGION, "f")] * 2


async def test_it_takes_a_moment(tmp_path: Path) -> None:
    async with a_bench(tmp_path, settle_s=0.03) as bench:
        before = asyncio.get_running_loop().time()
        await bench.plane.functions.create(create())
        await bench.settle()
        assert asyncio.get_running_loop().time() - before >= 0.03


async def test_a_function_that_cannot_run_here_fails_with_the_reason(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        bench.preparation.failure = NO_PYTHON
        await bench.plane.functions.create(create())
        await bench.settle()
        version = await shown(bench)
        assert (version.state, version.state_reason_code, version.state_reason) == (
            State.FAILED,
            NO_PYTHON.code,
            NO_PYTHON.reason,
        )
        with pytest.raises(ResourceConflict, match="state: Failed"):
            await bench.plane.versions.publish(PublishVersion(reference=ref()))
        bench.preparation.failure = None
        assert (await bench.plane.functions.update_configuration(configure(runtime="python3.11"))).state is (
            State.PENDING
        )
        await bench.settle()
        assert (await shown(bench)).state is State.ACTIVE


async def test_an_error_of_the_preparation_is_a_failure_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with a_bench(tmp_path) as bench:

        async def broken(_: FunctionVersion) -> None:
            raise OSError("no more files")

        bench.plane.activation._prepare = broken
        await bench.plane.functions.create(create())
        await bench.settle()
        version = await shown(bench)
        assert (version.state, version.state_reason_code) == (State.FAILED, "InternalError")
        assert "no more files" in str(version.state_reason)
        assert "could not be prepared" in caplog.text


async def test_old_code_serves_until_the_new_one_is_ready(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create())
        await bench.settle()
        before = await shown(bench)
        bench.preparation.hold()
        updating = await bench.plane.functions.update_code(update_code())
        assert (updating.state, updating.last_update_status) == (State.ACTIVE, UpdateStatus.IN_PROGRESS)
        assert updating.generation > before.generation
        assert await serving(bench) == before
        for call in (
            bench.plane.functions.update_code(update_code(CODE)),
            bench.plane.functions.update_configuration(configure(description="d")),
            bench.plane.versions.publish(PublishVersion(reference=ref())),
        ):
            with pytest.raises(ResourceConflict, match=f"An update is in progress for resource: {ref().arn}$"):
                await call
        bench.preparation.release()
        await bench.settle()
        after = await serving(bench)
        assert (after.code_sha256, after.generation) == (updating.code_sha256, updating.generation)
        assert after.last_update_status is UpdateStatus.SUCCESSFUL


async def test_a_failed_update_leaves_the_old_code_serving(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create())
        await bench.settle()
        before = await shown(bench)
        bench.preparation.failure = NO_PYTHON
        await bench.plane.functions.update_code(update_code())
        await bench.settle()
        after = await shown(bench)
        assert (after.state, after.last_update_status, after.last_update_status_reason) == (
            State.ACTIVE,
            UpdateStatus.FAILED,
            NO_PYTHON.reason,
        )
        assert await serving(bench) == before
        # A second failure does not forget what serves; tags do not either.
        await bench.plane.functions.update_configuration(configure(description="d"))
        await bench.settle()
        await bench.plane.tags.add(ref(), {"a": "b"})
        assert await serving(bench) == before
        # What such an update published has to be prepared by itself.
        published = await bench.plane.versions.publish(PublishVersion(reference=ref()))
        assert published.state is State.PENDING
        bench.preparation.failure = None
        await bench.plane.functions.update_configuration(configure(description="e"))
        await bench.settle()
        assert (await serving(bench)).description == "e"


async def test_nothing_changes_while_a_function_is_created(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        bench.preparation.hold()
        await bench.plane.functions.create(create())
        for call in (
            bench.plane.functions.update_code(update_code()),
            bench.plane.functions.update_configuration(configure(description="d")),
            bench.plane.versions.publish(PublishVersion(reference=ref())),
        ):
            with pytest.raises(ResourceConflict, match="currently in the following state: Pending"):
                await call
        bench.preparation.release()


async def test_one_of_many_updates_at_once_wins(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create())
        await bench.settle()
        revision = (await shown(bench)).revision_id
        bench.preparation.hold()
        updates = [
            bench.plane.functions.update_configuration(configure(description=str(number), revision_id=revision))
            for number in range(10)
        ]
        results = await asyncio.gather(*updates, return_exceptions=True)
        won = [result for result in results if isinstance(result, FunctionVersion)]
        assert len(won) == 1
        assert sum(isinstance(result, ResourceConflict) for result in results) == 9
        bench.preparation.release()
        await bench.settle()
        assert (await shown(bench)).description == won[0].description


async def test_a_stale_revision(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        stale = (await bench.plane.functions.create(create())).revision_id
        await bench.settle()
        for call in (
            bench.plane.functions.update_code(update_code(revision_id=stale)),
            bench.plane.functions.update_code(update_code(revision_id=stale, dry_run=True)),
            bench.plane.functions.update_configuration(configure(revision_id=stale)),
            bench.plane.versions.publish(PublishVersion(reference=ref(), revision_id=stale)),
        ):
            with pytest.raises(PreconditionFailed):
                await call


async def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create())
        await bench.settle()
        before, told = await shown(bench), len(bench.changed)
        would_be = await bench.plane.functions.update_code(update_code(dry_run=True, architectures=("arm64",)))
        assert would_be.code_sha256 != before.code_sha256
        assert would_be.architectures == ("arm64",)
        assert await shown(bench) == before
        assert len(bench.changed) == told
        with pytest.raises(InvalidParameterValue):
            await bench.plane.functions.update_code(update_code(b"no zip", dry_run=True))


async def test_a_stop_during_activation_is_made_up_for_at_the_next_start(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        bench.preparation.hold()
        await bench.plane.functions.create(create(publish=True))
        assert bench.plane.activation.statistics() == {"unsettled": 2}
    async with a_bench(tmp_path) as bench:
        await bench.settle()
        for qualifier in (None, "1"):
            assert (await shown(bench, qualifier)).state is State.ACTIVE


async def test_a_function_deleted_while_it_is_prepared_stays_deleted(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        bench.preparation.hold()
        await bench.plane.functions.create(create())
        await bench.plane.functions.delete(ref())
        second = await bench.plane.functions.create(create(configuration={"description": "second"}))
        bench.preparation.release()
        await bench.settle()
        version = await shown(bench)
        assert (version.description, version.state, version.generation) == ("second", State.ACTIVE, second.generation)


@pytest.mark.parametrize(
    ("members", "error", "text"),
    [
        (
            {"configuration": {"runtime": None}},
            InvalidParameterValue,
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ),
        (
            {"configuration": {"handler": None}},
            InvalidParameterValue,
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ),
        ({"code": CodeSource(zip_file=b"x")}, InvalidParameterValue, "Could not unzip uploaded file."),
        ({"code": CodeSource(zip_file=b"")}, InvalidParameterValue, "Uploaded file must be a non-empty zip"),
        ({"code": CodeSource()}, InvalidParameterValue, "Please provide a source for function code."),
        ({"code": CodeSource(s3_bucket="b", s3_key="k")}, InvalidParameterValue, "lambdad[aws]"),
        ({"code": CodeSource(image_uri="i")}, InvalidParameterValue, "container images are not offered"),
        ({"package_type": "Image"}, InvalidParameterValue, "container images are not offered"),
        (
            {"configuration": {"layers": (f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l:1",)}},
            InvalidParameterValue,
            f"Layer version arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l:1 does not exist.",
        ),
        (
            {"code_signing_config_arn": "arn:csc"},
            CodeSigningConfigNotFound,
            "Check that the provided configuration is not deleted: arn:csc.",
        ),
        ({"tags": dict.fromkeys(map(str, range(51)), "")}, InvalidParameterValue, "Number of tags exceeds"),
    ],
)
async def test_functions_that_cannot_be_created(
    tmp_path: Path, members: dict[str, Any], error: type[Exception], text: str
) -> None:
    async with a_bench(tmp_path) as bench:
        with pytest.raises(error) as refused:
            await bench.plane.functions.create(create(**members))
        assert text in str(refused.value)
        with pytest.raises(ResourceNotFound):
            await shown(bench)
        assert bench.changed == []


async def test_a_name_can_be_taken_once(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        results = await asyncio.gather(
            *(bench.plane.functions.create(create()) for _ in range(5)), return_exceptions=True
        )
        assert sum(isinstance(result, FunctionVersion) for result in results) == 1
        for result in results:
            if not isinstance(result, FunctionVersion):
                assert str(result) == "Function already exist: f"


async def test_an_account_has_75_gb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambdad.control.code_source.CODE_STORAGE_BYTES", 2 * len(CODE))
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create("f"))
        await bench.plane.functions.create(create("g"))
        await bench.settle()
        with pytest.raises(CodeStorageExceeded, match=r"Code storage limit exceeded\."):
            await bench.plane.functions.create(create("h"))
        await bench.plane.functions.update_code(update_code(OTHER))  # of the same size
        await bench.settle()
        with pytest.raises(CodeStorageExceeded):
            await bench.plane.functions.update_code(update_code(zipped({"app.py": "1" * 1000, "b": "x"})))


async def test_deleting(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        functions = bench.plane.functions
        await functions.create(create(publish=True))
        await bench.settle()
        for qualifier, text in (
            ("$LATEST", "$LATEST version cannot be deleted without deleting the function."),
            ("prod", "Deletion of aliases is not currently supported."),
        ):
            with pytest.raises(InvalidParameterValue) as error:
                await functions.delete(ref("f", qualifier))
            assert str(error.value) == text
        await functions.delete(ref("f", "7"))  # a version that is not there
        await functions.delete(ref("f", "1"))
        with pytest.raises(ResourceNotFound, match=r":f:1$"):
            await shown(bench, "1")
        await functions.delete(ref())
        for reference in (ref(), ref("f", "1"), ref("f", "$latest")):
            with pytest.raises(ResourceNotFound, match=f"^Function not found: {ref().arn}$"):
                await functions.delete(reference)


async def test_code_that_nothing_needs_is_removed(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.plane.functions.create(create(publish=True))
        await bench.settle()
        await bench.plane.functions.update_code(update_code())
        await bench.settle()
        await bench.plane.garbage.run_once()
        assert len(list((tmp_path / "packages").iterdir())) == 2  # version 1 needs the first
        await bench.plane.functions.delete(ref("f", "1"))
        await bench.plane.garbage.run_once()
        assert len(list((tmp_path / "packages").iterdir())) == 1
        await bench.plane.functions.delete(ref())
        await bench.plane.garbage.run_once()
        assert not list((tmp_path / "packages").iterdir())
