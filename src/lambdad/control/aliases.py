"""Aliases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lambdad.control import paging
from lambdad.control.changes import Changes, check_revision, function_not_found, key_of, new_revision_id
from lambdad.domain.aliases import check_routing, check_versions
from lambdad.domain.arns import FunctionReference, function_arn
from lambdad.domain.errors import ResourceConflict, ResourceNotFound
from lambdad.domain.functions import Alias
from lambdad.storage.functions import FunctionRepository, FunctionTables, VersionKey

MAX_ALIASES_PAGE = 10_000
"""Unlike other listings, more than 50 aliases were seen in one page (AWS: captured 2026)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAlias:
    reference: FunctionReference
    name: str
    function_version: str
    description: str = ""
    routing: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAlias:
    """None keeps what is there; an empty `routing` clears it."""

    reference: FunctionReference
    name: str
    function_version: str | None = None
    description: str | None = None
    routing: Mapping[str, float] | None = None
    revision_id: str | None = None


class Aliases:
    """The resource `alias`."""

    def __init__(self, repository: FunctionRepository, changes: Changes) -> None:
        self._repository = repository
        self._changes = changes

    async def create(self, command: CreateAlias) -> Alias:
        reference = command.reference
        key = key_of(reference)
        alias = Alias(
            account=key.account,
            region=key.region,
            function=key.name,
            name=command.name,
            function_version=command.function_version,
            description=command.description,
            routing=dict(command.routing),
            revision_id=new_revision_id(),
        )
        check_routing(alias.function_version, alias.routing)

        def job(tables: FunctionTables) -> Alias:
            _check_versions(tables, reference, alias)
            if tables.alias(key, alias.name) is not None:
                raise ResourceConflict(f"Alias already exists: {alias.arn}")
            tables.put_alias(alias)
            return alias

        return await self._changes.make(key, job)

    async def get(self, reference: FunctionReference, name: str) -> Alias:
        alias = await self._repository.alias(key_of(reference), name)
        if alias is None:
            raise ResourceNotFound(f"Cannot find alias arn: {_arn(reference, name)}")
        return alias

    async def update(self, command: UpdateAlias) -> Alias:
        reference = command.reference
        key = key_of(reference)

        def job(tables: FunctionTables) -> Alias:
            current = tables.alias(key, command.name)
            if current is None:
                raise ResourceNotFound(f"Alias not found: {_arn(reference, command.name)}")
            check_revision(command.revision_id, current.revision_id)
            alias = replace(
                current,
                function_version=command.function_version or current.function_version,
                description=current.description if command.description is None else command.description,
                routing=current.routing if command.routing is None else dict(command.routing),
                revision_id=new_revision_id(),
            )
            check_routing(alias.function_version, alias.routing)
            _check_versions(tables, reference, alias)
            tables.put_alias(alias)
            return alias

        return await self._changes.make(key, job)

    async def delete(self, reference: FunctionReference, name: str) -> None:
        """An alias that is not there counts as deleted (AWS: recorded 2025-11)."""
        key = key_of(reference)

        def job(tables: FunctionTables) -> None:
            if tables.function(key) is None:
                raise function_not_found(reference.arn)
            tables.delete_alias(key, name)

        await self._changes.make(key, job)

    async def list(
        self,
        reference: FunctionReference,
        *,
        function_version: str | None = None,
        marker: str | None = None,
        max_items: int | None = None,
    ) -> paging.Page[Alias]:
        """Aliases by name; with `function_version` those that lead calls to it."""
        key = key_of(reference)
        start = paging.after(marker, (str,)) or ("",)
        aliases = await self._repository.list_aliases(key)
        if not aliases and await self._repository.function(key) is None:
            raise function_not_found(reference.arn)
        wanted = [
            alias
            for alias in aliases
            if alias.name > str(start[0])
            and (function_version is None or function_version in (alias.function_version, *alias.routing))
        ]
        return paging.page(wanted, paging.page_size(max_items, MAX_ALIASES_PAGE), lambda alias: (alias.name,))


def _check_versions(tables: FunctionTables, reference: FunctionReference, alias: Alias) -> None:
    found = []
    for version in (alias.function_version, *alias.routing):
        stored = tables.version(VersionKey(key_of(reference), version))
        if stored is None:
            raise function_not_found(_arn(reference, version))
        found.append(stored.current)
    check_versions(found)


def _arn(reference: FunctionReference, qualifier: str) -> str:
    return function_arn(reference.region, reference.account, reference.name, qualifier)
