"""Where archives come from."""

from __future__ import annotations

import pytest

from lambdad.control.code_source import MAX_ZIPPED_BYTES, Archives, CodeSource, ObjectReference, no_object
from lambdad.domain.errors import InvalidParameterValue, RequestEntityTooLarge


async def read(source: CodeSource, archives: Archives | None = None) -> bytes:
    return await (archives or Archives(no_object)).read(source, "000000000000", "eu-west-1")


async def test_an_archive_in_the_request_has_a_limit():
    assert len(await read(CodeSource(zip_file=bytes(MAX_ZIPPED_BYTES)))) == MAX_ZIPPED_BYTES
    with pytest.raises(RequestEntityTooLarge) as error:
        await read(CodeSource(zip_file=bytes(MAX_ZIPPED_BYTES + 1)))
    assert error.value.message == "Zipped size must be smaller than 52428800 bytes"


async def test_an_object_is_read_for_the_account_and_region_of_the_caller():
    asked: list[ObjectReference] = []

    async def read_object(wanted: ObjectReference) -> bytes:
        asked.append(wanted)
        return bytes(MAX_ZIPPED_BYTES + 1)

    source = CodeSource(s3_bucket="b", s3_key="k", s3_object_version="v")
    assert len(await read(source, Archives(read_object))) == MAX_ZIPPED_BYTES + 1
    assert asked == [ObjectReference(account="000000000000", region="eu-west-1", bucket="b", key="k", version="v")]


async def test_without_any_s3_the_refusal_says_what_to_do():
    with pytest.raises(InvalidParameterValue, match=r"pip install 'lambdad\[aws\]'.*--target s3=URL"):
        await read(CodeSource(s3_bucket="b", s3_key="k"))


@pytest.mark.parametrize("source", [CodeSource(), CodeSource(s3_bucket="b")])
async def test_no_archive_at_all(source: CodeSource):
    with pytest.raises(InvalidParameterValue, match="Please provide a source for function code"):
        await read(source)
