"""Where the archive of a function or a layer comes from, and the account's storage for archives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lambdad.domain.errors import CodeStorageExceeded, InvalidParameterValue, RequestEntityTooLarge
from lambdad.storage.engine import Transaction
from lambdad.storage.functions import FunctionTables

MAX_ZIPPED_BYTES = 52_428_800
"""Of an archive in a request."""
CODE_STORAGE_BYTES = 80_530_636_800
"""75 GB for an account and region: every version of every function, and every layer version (AWS Lambda quotas)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSource:
    """Where an archive comes from."""

    zip_file: bytes | None = None
    s3_bucket: str | None = None
    s3_key: str | None = None
    s3_object_version: str | None = None
    image_uri: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReference:
    """An object in S3, of a bucket in the region of whoever wants it."""

    account: str
    region: str
    bucket: str
    key: str
    version: str | None = None


ReadObject = Callable[[ObjectReference], Awaitable[bytes | None]]
"""Reads an archive from S3; None if this server reaches no S3 for the bucket. Raises InvalidParameterValue in AWS's
words for what is not there or too large."""


async def no_object(_: ObjectReference) -> None:
    """For a server without any S3."""


class Archives:
    """Gets archives from where they are."""

    def __init__(self, read_object: ReadObject) -> None:
        self._read_object = read_object

    async def read(self, source: CodeSource, account: str, region: str) -> bytes:
        """The archive itself.

        Raises InvalidParameterValue for sources that are not offered or have no archive, and RequestEntityTooLarge for
        an archive in the request that passes 50 MB (AWS: recorded); from S3 it is the unzipped size that counts.
        """
        if source.image_uri is not None:
            raise InvalidParameterValue("Please don't provide ImageUri when updating a function with packageType Zip.")
        if source.s3_bucket is not None and source.s3_key is not None:
            wanted = ObjectReference(
                account=account,
                region=region,
                bucket=source.s3_bucket,
                key=source.s3_key,
                version=source.s3_object_version,
            )
            archive = await self._read_object(wanted)
            if archive is None:
                raise InvalidParameterValue(
                    "Code from S3 needs an S3: `pip install 'lambdad[aws]'` brings one, `--target s3=URL` names "
                    "another. Or give the archive itself as ZipFile."
                )
            return archive
        if source.zip_file is None:
            raise InvalidParameterValue("Please provide a source for function code.")
        if len(source.zip_file) > MAX_ZIPPED_BYTES:
            raise RequestEntityTooLarge(f"Zipped size must be smaller than {MAX_ZIPPED_BYTES} bytes")
        return source.zip_file


def check_code_storage(tx: Transaction, account: str, region: str, more: int) -> None:
    """Raises CodeStorageExceeded when the account has no room for so many bytes more."""
    if FunctionTables(tx).code_bytes(account, region) + more > CODE_STORAGE_BYTES:
        raise CodeStorageExceeded("Code storage limit exceeded.")
