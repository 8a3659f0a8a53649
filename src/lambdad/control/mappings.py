"""Event source mappings: create, look up, update, delete, list, tag; and their way from one state to the next.

A change is stored with a state of transition and answered; a task of its own then halts the poller, if there is one,
and brings the mapping to where it belongs. Tasks that a stop of the server cut off begin again at its next start.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from lambdad.clock import JumpingClock, Sleeper
from lambdad.control import paging
from lambdad.control.changes import key_of
from lambdad.domain.arns import FunctionReference, is_alias_name
from lambdad.domain.configuration import check_tags
from lambdad.domain.errors import InvalidParameterValue, ResourceConflict, ResourceInUse, ResourceNotFound
from lambdad.domain.functions import LATEST, FunctionVersion
from lambdad.domain.mapping_rules import SettingsChange, changed_settings, check_before_source, new_settings
from lambdad.domain.mappings import (
    EventSourceMapping,
    MappingState,
    SourceKind,
    require_kind,
    settled_state,
    state_after_update,
)
from lambdad.storage import mappings as storage
from lambdad.storage.engine import Engine, Transaction
from lambdad.storage.functions import FunctionRepository, VersionKey

logger = logging.getLogger(__name__)

SETTLE_S = 0.2
"""How long a mapping is in transition at least. On AWS it takes seconds to a minute; software that does not wait is
to find out here too."""
MAX_PAGE = 100
"""ListEventSourceMappings returns no more at once, even if asked to (AWS Lambda API reference)."""


class Pollers(Protocol):
    """What reads the sources; told what to read, and asked whether a source is there."""

    async def inspect(self, source_arn: str, kind: SourceKind) -> float | None:
        """The visibility timeout of a queue in seconds, None for a stream or where it is not known.

        Raises InvalidParameterValue for a source that does not exist.
        """

    def run(self, mapping: EventSourceMapping) -> None:
        """Reads the source from now on."""

    async def halt(self, uuid: str) -> None:
        """Returns once nothing of the source is read any more; batches that a function works on have ended."""


class NoPollers:
    """Nothing is read, and every source is there: for a control plane on its own."""

    async def inspect(self, source_arn: str, kind: SourceKind) -> float | None:  # noqa: ARG002 - the Protocol's
        return None

    def run(self, mapping: EventSourceMapping) -> None:
        pass

    async def halt(self, uuid: str) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMapping:
    account: str
    region: str
    source_arn: str | None
    function: FunctionReference
    settings: SettingsChange
    is_enabled: bool = True
    is_self_managed: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateMapping:
    account: str
    region: str
    uuid: str
    settings: SettingsChange
    function: FunctionReference | None = None
    is_enabled: bool | None = None


class Mappings:
    """The resource `event source mapping`."""

    def __init__(
        self,
        engine: Engine,
        functions: FunctionRepository,
        clock: JumpingClock,
        *,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._engine = engine
        self._functions = functions
        self._clock = clock
        self._sleeper = Sleeper(clock)
        self._pollers: Pollers = NoPollers()
        self._settle_s = settle_s
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, pollers: Pollers) -> None:
        """Before `start`."""
        self._pollers = pollers

    async def start(self) -> None:
        """Reads the sources of mappings that are enabled, and settles those that an earlier server left."""
        for mapping in await storage.everything(self._engine):
            if not mapping.state.is_settled:
                self._begin(mapping)
            elif mapping.state is MappingState.ENABLED:
                self._pollers.run(mapping)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_settled(self) -> None:
        """Waits until no mapping is in transition."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def reset(self) -> None:
        """Removes every mapping of every account; whoever runs the pollers ends them."""
        await self.stop()
        await self._engine.write(storage.delete_everything)

    # --- operations ---

    async def create(self, command: CreateMapping) -> EventSourceMapping:
        """Raises InvalidParameterValue, and ResourceConflict when the function has a mapping of the source."""
        check_before_source(command.settings, is_self_managed=command.is_self_managed)
        kind = require_kind(command.source_arn, is_self_managed=command.is_self_managed)
        source_arn = command.source_arn or ""
        settings = new_settings(kind, source_arn, command.settings)
        check_tags(command.tags)
        version = await self._version(command.function)
        await self._check_source(source_arn, kind, version)
        mapping = EventSourceMapping(
            uuid=str(uuid.uuid4()),
            account=command.account,
            region=command.region,
            source_arn=source_arn,
            function=command.function,
            settings=settings,
            # A mapping that is not to be enabled is settled at once (AWS: recorded 2025-11).
            state=MappingState.CREATING if command.is_enabled else MappingState.DISABLED,
            is_enabled=command.is_enabled,
            last_modified=self._clock.now(),
            tags=dict(command.tags),
        )

        def job(tx: Transaction) -> None:
            _check_twin(tx, mapping)
            storage.put(tx, mapping)

        await self._engine.write(job)
        self._begin(mapping)
        return mapping

    async def find(self, account: str, region: str, uuid: str) -> EventSourceMapping:
        """Raises ResourceNotFound."""
        mapping = await storage.read(self._engine, uuid)
        if mapping is None or (mapping.account, mapping.region) != (account, region):
            raise ResourceNotFound("The resource you requested does not exist.")
        return mapping

    async def update(self, command: UpdateMapping) -> EventSourceMapping:
        """Raises ResourceNotFound, ResourceInUse while the mapping is in transition, and the errors of `create`."""
        found = await self.find(command.account, command.region, command.uuid)
        if command.function is not None:
            version = await self._version(command.function)
            await self._check_source(found.source_arn, found.kind, version)

        def change(mapping: EventSourceMapping) -> EventSourceMapping:
            settings = changed_settings(mapping.kind, mapping.settings, command.settings, is_fifo=mapping.is_fifo)
            is_enabled = mapping.is_enabled if command.is_enabled is None else command.is_enabled
            return replace(
                mapping,
                settings=settings,
                function=command.function or mapping.function,
                is_enabled=is_enabled,
                state=state_after_update(was_enabled=mapping.is_enabled, is_enabled=is_enabled),
                last_modified=self._clock.now(),
            )

        return await self._change(found, "update", change)

    async def delete(self, account: str, region: str, uuid: str) -> EventSourceMapping:
        """Raises ResourceNotFound, and ResourceInUse while the mapping is in transition."""
        found = await self.find(account, region, uuid)
        return await self._change(
            found, "delete", lambda mapping: replace(mapping, state=MappingState.DELETING, is_enabled=False)
        )

    async def list(
        self,
        account: str,
        region: str,
        *,
        source_arn: str | None = None,
        function: FunctionReference | None = None,
        marker: str | None = None,
        max_items: int | None = None,
    ) -> paging.Page[EventSourceMapping]:
        """By id. A function without a qualifier has the mappings that were made without one: AWS's answer to the
        question whose mappings those of a version are is not known."""
        size = paging.page_size(max_items, MAX_PAGE)
        position = paging.after(marker, (str,)) or ("",)
        found = await storage.listing(
            self._engine,
            account,
            region,
            source_arn=source_arn,
            function=function,
            after=str(position[0]),
            limit=size + 1,
        )
        return paging.page(found, size, lambda mapping: (mapping.uuid,))

    # --- tags ---

    async def tags(self, account: str, region: str, arn: str) -> Mapping[str, str]:
        """Raises ResourceNotFound, as the others here."""
        mapping = await storage.read(self._engine, arn.rpartition(":")[2])
        return _of_caller(mapping, account, region, arn).tags

    async def add_tags(self, account: str, region: str, arn: str, tags: Mapping[str, str]) -> None:
        if not tags:
            raise InvalidParameterValue("An error occurred and the request cannot be processed.")
        await self._change_tags(account, region, arn, lambda current: {**current, **tags})

    async def remove_tags(self, account: str, region: str, arn: str, keys: Iterable[str]) -> None:
        gone = set(keys)
        await self._change_tags(
            account, region, arn, lambda current: {key: value for key, value in current.items() if key not in gone}
        )

    async def _change_tags(
        self, account: str, region: str, arn: str, change: Callable[[Mapping[str, str]], dict[str, str]]
    ) -> None:
        def job(tx: Transaction) -> None:
            mapping = _of_caller(storage.find(tx, arn.rpartition(":")[2]), account, region, arn)
            tags = change(mapping.tags)
            check_tags(tags)
            storage.put_tags(tx, mapping.uuid, tags)

        await self._engine.write(job)

    # --- parts ---

    async def _version(self, reference: FunctionReference) -> FunctionVersion:
        key = key_of(reference)
        number = reference.qualifier or LATEST
        if is_alias_name(number):
            alias = await self._functions.alias(key, number)
            number = alias.function_version if alias is not None else number
        found = None if is_alias_name(number) else await self._functions.version(VersionKey(key, number))
        if found is None:
            raise InvalidParameterValue("Function does not exist")  # (AWS: recorded 2025-11)
        return found[1].current

    async def _check_source(self, source_arn: str, kind: SourceKind, version: FunctionVersion) -> None:
        """Checked when a mapping gets its function; a later change of either is not refused (AWS: seen 2019-2026)."""
        visibility_s = await self._pollers.inspect(source_arn, kind)
        if visibility_s is not None and visibility_s < version.timeout_s:
            raise InvalidParameterValue(
                f"Queue visibility timeout: {visibility_s:.0f} seconds is less than "
                f"Function timeout: {version.timeout_s} seconds"
            )

    async def _change(
        self, found: EventSourceMapping, verb: str, change: Callable[[EventSourceMapping], EventSourceMapping]
    ) -> EventSourceMapping:
        def job(tx: Transaction) -> EventSourceMapping:
            mapping = _of_caller(storage.find(tx, found.uuid), found.account, found.region, found.arn)
            if not mapping.state.is_settled:
                raise ResourceInUse(f"Cannot {verb} the event source mapping because it is in use.")
            changed = change(mapping)
            _check_twin(tx, changed)
            storage.put(tx, changed)
            return changed

        changed = await self._engine.write(job)
        self._begin(changed)
        return changed

    def _begin(self, mapping: EventSourceMapping) -> None:
        if mapping.state.is_settled:
            return
        task = asyncio.get_running_loop().create_task(self._settle(mapping), name=f"settle {mapping.uuid}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, mapping: EventSourceMapping) -> None:
        try:
            await self._pollers.halt(mapping.uuid)
            await self._sleeper.sleep(self._settle_s)
            state = settled_state(mapping)

            def job(tx: Transaction) -> EventSourceMapping | None:
                if state is None:
                    storage.delete(tx, mapping.uuid)
                    return None
                storage.put_state(tx, mapping.uuid, state, mapping.state)
                return storage.find(tx, mapping.uuid)

            settled = await self._engine.write(job)
            if settled is not None and settled.state is MappingState.ENABLED:
                self._pollers.run(settled)
        except Exception:
            logger.exception("The event source mapping %s could not be settled", mapping.uuid)


def _of_caller(mapping: EventSourceMapping | None, account: str, region: str, arn: str) -> EventSourceMapping:
    if mapping is None or (mapping.account, mapping.region) != (account, region):
        raise ResourceNotFound(f"Event source mapping not found: {arn}")
    return mapping


def _check_twin(tx: Transaction, mapping: EventSourceMapping) -> None:
    """Raises ResourceConflict when the source is mapped to the function already (AWS: recorded 2025-11)."""
    twin = storage.twin(tx, mapping)
    if twin is None or mapping.state is MappingState.DELETING:
        return
    name = mapping.function.name
    advice = f"already exists. Please update or delete the existing mapping with UUID {twin.uuid}"
    if mapping.kind is SourceKind.SQS:
        raise ResourceConflict(
            f'An event source mapping with SQS arn (" {mapping.source_arn} ") and function (" {name} ") {advice}'
        )
    raise ResourceConflict(
        f'The event source arn (" {mapping.source_arn} ") and function (" {name} ") provided mapping {advice}'
    )
