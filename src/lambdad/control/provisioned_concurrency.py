"""Provisioned concurrency of published versions and aliases."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lambdad.clock import Clock
from lambdad.control import paging
from lambdad.control.changes import Changes, function_not_found, key_of
from lambdad.domain.arns import FunctionReference, is_version_number
from lambdad.domain.concurrency import ACCOUNT_LIMIT, check_provisioned
from lambdad.domain.errors import (
    InvalidParameterValue,
    ProvisionedConcurrencyConfigNotFound,
    ResourceConflict,
    ResourceNotFound,
)
from lambdad.domain.functions import LATEST, Alias
from lambdad.domain.provisioned import Allocation, ProvisionedConfig, check_alias, last_modified, unpublished
from lambdad.storage import provisioned
from lambdad.storage.functions import FunctionKey, FunctionRepository, FunctionTables, VersionKey

AllocationOf = Callable[[ProvisionedConfig], Allocation]
"""Tells how far the environments of a configuration are: the execution side knows."""
Requested = Callable[[str, str, str], None]
"""Called with account, region and name of a function after its provisioned concurrency was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """A configuration, and what has come of it."""

    config: ProvisionedConfig
    allocation: Allocation


class ProvisionedConcurrency:
    """The resource `provisioned-concurrency-config`."""

    def __init__(
        self,
        repository: FunctionRepository,
        changes: Changes,
        clock: Clock,
        *,
        allocation: AllocationOf,
        requested: Requested,
        account_concurrency: int = ACCOUNT_LIMIT,
    ) -> None:
        self._repository = repository
        self._changes = changes
        self._clock = clock
        self._allocation = allocation
        self._requested = requested
        self._account_concurrency = account_concurrency

    async def put(self, reference: FunctionReference, executions: int) -> Provisioned:
        """Asks for `executions` environments of a version or alias; they are initialised in the background."""
        key, qualifier = key_of(reference), _qualifier(reference)
        if qualifier == LATEST:
            raise unpublished()
        config = ProvisionedConfig(
            account=key.account,
            region=key.region,
            function=key.name,
            qualifier=qualifier,
            requested=executions,
            last_modified=last_modified(self._clock.now()),
        )

        def job(tables: FunctionTables) -> None:
            alias = _find(tables, reference)
            others = provisioned.by_qualifier(tables.transaction, key)
            others.pop(qualifier, None)
            function = tables.function(key)
            assert function is not None  # a version or an alias of it is there
            check_provisioned(
                executions,
                others=sum(others.values()),
                reserved=function.reserved_concurrency,
                elsewhere=tables.set_aside_by_others(key),
                limit=self._account_concurrency,
            )
            _check_alone(tables, key, qualifier, alias, others.keys())
            _check_no_snapshot(tables, key, qualifier if alias is None else alias.function_version)
            provisioned.put(tables.transaction, config)

        await self._changes.make(key, job)
        self._requested(key.account, key.region, key.name)
        return Provisioned(config=config, allocation=Allocation())

    async def get(self, reference: FunctionReference) -> Provisioned:
        """The configuration of exactly this qualifier."""
        key, qualifier = key_of(reference), _published(reference)
        await self._repository.write(lambda tables: _find(tables, reference))
        config = await provisioned.find(self._repository.engine, key, qualifier)
        if config is None:
            raise ProvisionedConcurrencyConfigNotFound("No Provisioned Concurrency Config found for this function")
        return Provisioned(config=config, allocation=self._allocation(config))

    async def delete(self, reference: FunctionReference) -> None:
        """Takes it back; none is fine (AWS: recorded 2025-11)."""
        key, qualifier = key_of(reference), _published(reference)

        def job(tables: FunctionTables) -> bool:
            _find(tables, reference)
            return provisioned.delete(tables.transaction, key, qualifier)

        if await self._changes.make(key, job):
            self._requested(key.account, key.region, key.name)

    async def list(
        self, reference: FunctionReference, *, marker: str | None = None, max_items: int | None = None
    ) -> paging.Page[Provisioned]:
        """All configurations of a function by qualifier, at most 50 at once."""
        key = key_of(reference)
        start = paging.after(marker, (str,)) or ("",)
        size = paging.page_size(max_items)
        found = await provisioned.listing(self._repository.engine, key, after=str(start[0]), limit=size + 1)
        if not found and await self._repository.function(key) is None:
            raise function_not_found(reference.arn)
        shown = [Provisioned(config=config, allocation=self._allocation(config)) for config in found]
        return paging.page(shown, size, lambda one: (one.config.qualifier,))


def _qualifier(reference: FunctionReference) -> str:
    return reference.qualifier or LATEST


def _published(reference: FunctionReference) -> str:
    qualifier = _qualifier(reference)
    if qualifier == LATEST:
        raise InvalidParameterValue("The function resource provided must be an alias or a published version.")
    return qualifier


def _find(tables: FunctionTables, reference: FunctionReference) -> Alias | None:
    """The alias; None for a version. Raises ResourceNotFound, which for an alias is told in words of its own even when
    the function is unknown (AWS: recorded 2025-11)."""
    key, qualifier = key_of(reference), _qualifier(reference)
    if is_version_number(qualifier):
        if tables.version(VersionKey(key, qualifier)) is None:
            raise function_not_found(reference.arn)
        return None
    alias = tables.alias(key, qualifier)
    if alias is None:
        raise ResourceNotFound(f"Cannot find alias arn: {reference.arn}")
    return alias


def _check_alone(
    tables: FunctionTables, key: FunctionKey, qualifier: str, alias: Alias | None, others: Iterable[str]
) -> None:
    """A version has it of its own or by an alias, not both (AWS: recorded 2025-11)."""
    taken = set(others)
    if alias is not None:
        check_alias(alias)
        if alias.function_version in taken:
            raise ResourceConflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            )
    elif any(one.function_version == qualifier and one.name in taken for one in tables.aliases(key)):
        raise ResourceConflict("Version is pointed by a Provisioned Concurrency alias")


def _check_no_snapshot(tables: FunctionTables, key: FunctionKey, version: str) -> None:
    # That both do not go together is documented (AWS Lambda developer guide); the words are ours.
    stored = tables.version(VersionKey(key, version))
    if stored is not None and stored.current.snap_start != "None":
        raise InvalidParameterValue("Provisioned Concurrency is not supported for versions with SnapStart enabled.")
