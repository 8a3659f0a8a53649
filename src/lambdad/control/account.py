"""Limits and use of an account in a region."""

from __future__ import annotations

from dataclasses import dataclass

from lambdad.control.code_source import CODE_STORAGE_BYTES, MAX_ZIPPED_BYTES
from lambdad.domain.concurrency import ACCOUNT_LIMIT, unreserved
from lambdad.domain.layers import MAX_UNZIPPED_BYTES
from lambdad.storage.functions import FunctionRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """Sizes in bytes."""

    code_bytes_limit: int = CODE_STORAGE_BYTES
    unzipped_bytes_limit: int = MAX_UNZIPPED_BYTES
    zipped_bytes_limit: int = MAX_ZIPPED_BYTES
    concurrency_limit: int
    unreserved_concurrency: int
    code_bytes: int
    functions: int


class Accounts:
    """What GetAccountSettings tells."""

    def __init__(self, repository: FunctionRepository, account_concurrency: int = ACCOUNT_LIMIT) -> None:
        self._repository = repository
        self._account_concurrency = account_concurrency

    async def settings(self, account: str, region: str) -> AccountSettings:
        usage = await self._repository.usage(account, region)
        return AccountSettings(
            concurrency_limit=self._account_concurrency,
            unreserved_concurrency=unreserved([usage.set_aside_concurrency], self._account_concurrency),
            code_bytes=usage.code_bytes,
            functions=usage.functions,
        )
