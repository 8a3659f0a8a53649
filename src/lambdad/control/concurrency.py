"""Reserved concurrency."""

from __future__ import annotations

from dataclasses import replace

from lambdad.control.changes import Changes, function_not_found, key_of
from lambdad.domain.arns import FunctionReference, function_arn
from lambdad.domain.concurrency import ACCOUNT_LIMIT, check_reservation
from lambdad.domain.functions import LATEST
from lambdad.storage import provisioned
from lambdad.storage.functions import FunctionRepository, FunctionTables


class Concurrency:
    """What functions reserve of their account's concurrency."""

    def __init__(
        self, repository: FunctionRepository, changes: Changes, account_concurrency: int = ACCOUNT_LIMIT
    ) -> None:
        self._repository = repository
        self._changes = changes
        self._account_concurrency = account_concurrency

    async def reserve(self, reference: FunctionReference, executions: int) -> None:
        """Reserves for a function, and limits it to that; 0 lets no call through."""
        key = key_of(reference)

        def job(tables: FunctionTables) -> None:
            function = tables.function(key)
            if function is None:
                # With the qualifier, as otherwise only Invoke prints it (AWS: recorded 2025-11).
                raise function_not_found(function_arn(key.region, key.account, key.name, LATEST))
            check_reservation(
                executions,
                tables.set_aside_by_others(key),
                self._account_concurrency,
                provisioned=sum(provisioned.by_qualifier(tables.transaction, key).values()),
            )
            tables.put_function(replace(function, reserved_concurrency=executions))

        await self._changes.make(key, job)

    async def reserved(self, reference: FunctionReference) -> int | None:
        """None when the function has no reservation."""
        function = await self._repository.function(key_of(reference))
        if function is None:
            raise function_not_found(reference.arn)
        return function.reserved_concurrency

    async def release(self, reference: FunctionReference) -> None:
        """Takes a reservation back; none is fine."""
        key = key_of(reference)

        def job(tables: FunctionTables) -> None:
            function = tables.function(key)
            if function is None:
                raise function_not_found(reference.arn)
            tables.put_function(replace(function, reserved_concurrency=None))

        await self._changes.make(key, job)
