"""Settings of asynchronous invocation: retries, age and destinations, for each qualifier of a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lambdad.clock import Clock
from lambdad.control import paging
from lambdad.control.changes import key_of
from lambdad.domain.arns import FunctionReference, function_arn, is_version_number
from lambdad.domain.destinations import check_destinations, function_target, qualifier_of
from lambdad.domain.errors import InvalidParameterValue, ResourceNotFound
from lambdad.domain.events import DestinationConfig, EventInvokeConfig
from lambdad.domain.functions import LATEST
from lambdad.storage import event_configs
from lambdad.storage.functions import FunctionRepository, FunctionTables, VersionKey


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInvokeChange:
    """What a client sets; None is not given. A destination that is empty clears the one that was there."""

    reference: FunctionReference
    maximum_retry_attempts: int | None = None
    maximum_event_age_s: int | None = None
    on_success: str | None = None
    on_failure: str | None = None


class EventInvokeConfigs:
    """The resource `event-invoke-config`. An unqualified name and `$LATEST` have the same settings."""

    def __init__(
        self, repository: FunctionRepository, clock: Clock, elsewhere: Callable[[str], bool] = lambda _: False
    ) -> None:
        """`elsewhere` tells of the ARN of a destination whether it is outside of this server."""
        self._elsewhere = elsewhere
        self._repository = repository
        self._clock = clock

    async def put(self, change: EventInvokeChange) -> EventInvokeConfig:
        """Replaces all settings of the qualifier; what is not given is AWS's default again."""
        return await self._store(change, keep=False)

    async def update(self, change: EventInvokeChange) -> EventInvokeConfig:
        """Changes what is given and keeps the rest. Raises ResourceNotFound when there are no settings yet."""
        return await self._store(change, keep=True)

    async def get(self, reference: FunctionReference) -> EventInvokeConfig:
        """The settings of exactly this qualifier."""
        key, qualifier = key_of(reference), qualifier_of(reference)
        config = await self._repository.write(lambda tables: event_configs.find(tables.transaction, key, qualifier))
        if config is None:
            raise _no_config(reference)
        return config

    async def delete(self, reference: FunctionReference) -> None:
        """The qualifier has AWS's defaults again."""
        key, qualifier = key_of(reference), qualifier_of(reference)
        if not await self._repository.write(lambda tables: event_configs.delete(tables.transaction, key, qualifier)):
            raise _no_config(reference)

    async def list(
        self, reference: FunctionReference, *, marker: str | None = None, max_items: int | None = None
    ) -> paging.Page[EventInvokeConfig]:
        """The settings of all qualifiers of a function, at most 50 at once."""
        if reference.qualifier is not None:
            raise InvalidParameterValue("The function name must not include a version number or alias.")
        key = key_of(reference)
        if await self._repository.function(key) is None:
            raise _no_function()
        start = paging.after(marker, (str,)) or ("",)
        size = paging.page_size(max_items)
        found = await event_configs.listing(self._repository.engine, key, after=str(start[0]), limit=size + 1)
        return paging.page(found, size, lambda config: (config.qualifier,))

    async def _store(self, change: EventInvokeChange, *, keep: bool) -> EventInvokeConfig:
        settings = (change.maximum_retry_attempts, change.maximum_event_age_s, change.on_success, change.on_failure)
        if all(setting is None for setting in settings):
            raise InvalidParameterValue("You must specify at least one of error handling or destination setting.")
        reference = change.reference
        key, qualifier = key_of(reference), qualifier_of(reference)

        def job(tables: FunctionTables) -> EventInvokeConfig:
            if not _exists(tables, reference):
                raise _no_function()
            current = event_configs.find(tables.transaction, key, qualifier) if keep else None
            if keep and current is None:
                raise _no_config(reference)
            if current is None:
                current = EventInvokeConfig(
                    account=key.account,
                    region=key.region,
                    function=key.name,
                    qualifier=qualifier,
                    last_modified=self._clock.now(),
                )
            config = _changed(current, change)
            _check(tables, config, reference, self._elsewhere)
            config = replace(config, last_modified=self._clock.now())
            event_configs.put(tables.transaction, config)
            return config

        return await self._repository.write(job)


def _changed(config: EventInvokeConfig, change: EventInvokeChange) -> EventInvokeConfig:
    destinations = config.destinations
    retries, age_s = change.maximum_retry_attempts, change.maximum_event_age_s
    return replace(
        config,
        maximum_retry_attempts=config.maximum_retry_attempts if retries is None else retries,
        maximum_event_age_s=config.maximum_event_age_s if age_s is None else age_s,
        destinations=DestinationConfig(
            on_success=(destinations.on_success if change.on_success is None else change.on_success) or None,
            on_failure=(destinations.on_failure if change.on_failure is None else change.on_failure) or None,
        ),
    )


def _check(
    tables: FunctionTables, config: EventInvokeConfig, reference: FunctionReference, elsewhere: Callable[[str], bool]
) -> None:
    check_destinations(config.destinations, reference)
    for arn in (config.destinations.on_success, config.destinations.on_failure):
        target = function_target(arn) if arn and not elsewhere(arn) else None
        if target is not None and not _exists(tables, target):
            raise InvalidParameterValue(f"The destination ARN {arn} is invalid.")


def _exists(tables: FunctionTables, reference: FunctionReference) -> bool:
    key, qualifier = key_of(reference), qualifier_of(reference)
    if qualifier == LATEST or is_version_number(qualifier):
        return tables.version(VersionKey(key, qualifier)) is not None
    return tables.alias(key, qualifier) is not None


def _no_function() -> ResourceNotFound:
    return ResourceNotFound("The function doesn't exist.")


def _no_config(reference: FunctionReference) -> ResourceNotFound:
    arn = function_arn(reference.region, reference.account, reference.name, qualifier_of(reference))
    return ResourceNotFound(f"The function {arn} doesn't have an EventInvokeConfig")
