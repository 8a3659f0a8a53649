"""Smaller settings of a function: recursion detection and runtime management."""

from __future__ import annotations

from dataclasses import replace

from lambdad.control.changes import Changes, function_not_found, key_of
from lambdad.domain.arns import FunctionReference, is_version_number
from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.functions import LATEST, RuntimeUpdate
from lambdad.storage.functions import FunctionRepository, FunctionTables, VersionKey


class RecursionSettings:
    """What recursion detection does with a function: `Terminate` or `Allow`."""

    def __init__(self, repository: FunctionRepository, changes: Changes) -> None:
        self._repository = repository
        self._changes = changes

    async def get(self, reference: FunctionReference) -> str:
        function = await self._repository.function(key_of(reference))
        if function is None:
            raise function_not_found(reference.arn)
        return function.recursive_loop

    async def put(self, reference: FunctionReference, recursive_loop: str) -> None:
        key = key_of(reference)

        def job(tables: FunctionTables) -> None:
            function = tables.function(key)
            if function is None:
                raise function_not_found(reference.arn)
            tables.put_function(replace(function, recursive_loop=recursive_loop))

        await self._changes.make(key, job)


class RuntimeManagement:
    """When a version takes a newer build of its runtime. Kept and shown; here the machine's interpreters decide."""

    def __init__(self, repository: FunctionRepository, changes: Changes) -> None:
        self._repository = repository
        self._changes = changes

    async def get(self, reference: FunctionReference) -> RuntimeUpdate:
        key = _version_key(reference)
        if await self._repository.version(key) is None:
            raise function_not_found(reference.arn)
        return await self._repository.runtime_update(key)

    async def put(self, reference: FunctionReference, update: RuntimeUpdate) -> None:
        """Raises InvalidParameterValue unless a RuntimeVersionArn comes with Manual and only then."""
        if (update.update_on == "Manual") != (update.runtime_version_arn is not None):
            raise InvalidParameterValue(
                "RuntimeVersionArn is needed when UpdateRuntimeOn is Manual, and cannot be set otherwise."
            )
        key = _version_key(reference)

        def job(tables: FunctionTables) -> None:
            if not tables.put_runtime_update(key, update):
                raise function_not_found(reference.arn)

        await self._changes.make(key.function, job)


def _version_key(reference: FunctionReference) -> VersionKey:
    qualifier = reference.qualifier or LATEST
    if qualifier != LATEST and not is_version_number(qualifier):
        raise function_not_found(reference.arn)
    return VersionKey(key_of(reference), qualifier)
