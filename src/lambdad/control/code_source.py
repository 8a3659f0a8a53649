"""Where the archive of a function or a layer comes from, and the account's storage for archives."""

from __future__ import annotations

from dataclasses import dataclass

from lambdad.domain.errors import CodeStorageExceeded, InvalidParameterValue
from lambdad.storage.engine import Transaction
from lambdad.storage.functions import FunctionTables

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


def zip_of(source: CodeSource) -> bytes:
    """The archive itself. Raises InvalidParameterValue for sources that are not offered."""
    if source.image_uri is not None:
        raise InvalidParameterValue("Please don't provide ImageUri when updating a function with packageType Zip.")
    if source.s3_bucket is not None or source.s3_key is not None:
        raise InvalidParameterValue(
            "Code from S3 needs the extra lambdad[aws], which this version does not have yet. "
            "Give the archive itself as ZipFile."
        )
    if source.zip_file is None:
        raise InvalidParameterValue("Please provide a source for function code.")
    return source.zip_file


def check_code_storage(tx: Transaction, account: str, region: str, more: int) -> None:
    """Raises CodeStorageExceeded when the account has no room for so many bytes more."""
    if FunctionTables(tx).code_bytes(account, region) + more > CODE_STORAGE_BYTES:
        raise CodeStorageExceeded("Code storage limit exceeded.")
