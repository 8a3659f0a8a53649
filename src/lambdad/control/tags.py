"""Tags of functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from lambdad.control.changes import Changes, function_not_found, key_of, new_revision_id
from lambdad.domain.arns import FunctionReference
from lambdad.domain.configuration import check_tags
from lambdad.domain.errors import InvalidParameterValue
from lambdad.domain.functions import LATEST
from lambdad.storage.functions import FunctionRepository, FunctionTables, VersionKey

_Change = Callable[[Mapping[str, str]], dict[str, str]]


class Tags:
    """Tags, and the RevisionId of `$LATEST`, which changes with them (AWS: recorded 2025-11)."""

    def __init__(self, repository: FunctionRepository, changes: Changes) -> None:
        self._repository = repository
        self._changes = changes

    async def list(self, reference: FunctionReference) -> Mapping[str, str]:
        function = await self._repository.function(key_of(reference))
        if function is None:
            raise function_not_found(reference.arn)
        return function.tags

    async def add(self, reference: FunctionReference, tags: Mapping[str, str]) -> None:
        """Adds tags, or gives those that are there a new value."""
        if not tags:
            raise InvalidParameterValue("An error occurred and the request cannot be processed.")
        await self._change(reference, lambda current: {**current, **tags})

    async def remove(self, reference: FunctionReference, keys: Iterable[str]) -> None:
        """Removes tags; keys that are not there are fine."""
        gone = set(keys)
        await self._change(reference, lambda current: {key: value for key, value in current.items() if key not in gone})

    async def _change(self, reference: FunctionReference, change: _Change) -> None:
        key = key_of(reference)

        def job(tables: FunctionTables) -> None:
            function = tables.function(key)
            stored = tables.version(VersionKey(key, LATEST))
            if function is None or stored is None:
                raise function_not_found(reference.arn)
            tags = change(function.tags)
            check_tags(tags)
            tables.put_function(replace(function, tags=tags))
            tables.show(replace(stored.current, revision_id=new_revision_id()))

        await self._changes.make(key, job)
