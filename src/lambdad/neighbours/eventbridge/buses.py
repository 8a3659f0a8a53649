"""Buses: create, describe, list, update, delete, permissions, tags; and how calls name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from lambdad.clock import Clock
from lambdad.domain.identity import Caller
from lambdad.domain.rules import DEFAULT_BUS, Bus, BusAddress, BusSettings, parse_bus_arn
from lambdad.neighbours.eventbridge import paging, policy
from lambdad.neighbours.eventbridge.errors import (
    access_denied,
    already_exists,
    invalid,
    limit_exceeded,
    no_such_bus,
)
from lambdad.storage import rules as storage
from lambdad.storage.engine import Engine, Transaction

T = TypeVar("T")
MAX_BUSES: Final = 100
MAX_TAGS: Final = 50
MAX_POLICY_BYTES: Final = 10_240


def address_of(caller: Caller, name_or_arn: str | None) -> BusAddress:
    """The bus that a call names; without a name the default one. The names of other accounts' buses are ARNs."""
    if not name_or_arn:
        return BusAddress(caller.account, caller.region, DEFAULT_BUS)
    address = parse_bus_arn(name_or_arn)
    return address or BusAddress(caller.account, caller.region, name_or_arn)


def require(tx: Transaction, caller: Caller, name_or_arn: str | None, action: str, now_ms: int) -> Bus:
    """The bus of a call.

    Raises ResourceNotFoundException, and AccessDeniedException for another account's bus whose policy does not let the
    caller do this.
    """
    address = address_of(caller, name_or_arn)
    if address.region != caller.region:
        raise no_such_bus(name_or_arn or "")
    bus = storage.find_bus(tx, address)
    if address.account != caller.account:
        if not policy.allows(bus.policy if bus else "", caller.account, action):
            raise access_denied(caller, action, address.arn)
    elif bus is None:
        bus = storage.require_bus(tx, address, now_ms)
    if bus is None:
        raise no_such_bus(address.name)
    return bus


def check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > MAX_TAGS:
        raise limit_exceeded()


class BusControl:
    """What is done to buses. The default bus of every account and region is always there."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def create(self, caller: Caller, name: str, settings: BusSettings, tags: Mapping[str, str]) -> Bus:
        """A new bus. Raises ResourceAlreadyExistsException, LimitExceededException, and ValidationException for a
        slash in its name, which only buses of partners have (our text)."""
        if "/" in name:
            raise invalid("Event bus name must not contain '/'.")
        check_tags(tags)
        address = BusAddress(caller.account, caller.region, name)
        now_ms = self._clock.time_ms()

        def job(tx: Transaction) -> Bus:
            if storage.require_bus(tx, address, now_ms) is not None:
                raise already_exists(f"Event bus {name} already exists.")
            counted = storage.list_buses(tx, address.account, address.region, prefix="", after="", limit=MAX_BUSES)
            if len(counted) >= MAX_BUSES:
                raise limit_exceeded()
            return storage.insert_bus(tx, address, settings, tags, now_ms)

        return await self._engine.write(job)

    async def describe(self, caller: Caller, name_or_arn: str | None) -> Bus:
        """Raises ResourceNotFoundException."""
        return await self._with(caller, name_or_arn, "DescribeEventBus", lambda _, bus: bus)

    async def listing(
        self, caller: Caller, *, prefix: str = "", limit: int | None = None, token: str | None = None
    ) -> tuple[list[Bus], str | None]:
        """Buses by name, and the token of the next page."""
        after = paging.after(token)
        default = BusAddress(caller.account, caller.region, DEFAULT_BUS)

        def job(tx: Transaction) -> list[Bus]:
            storage.require_bus(tx, default, self._clock.time_ms())
            return storage.list_buses(
                tx, caller.account, caller.region, prefix=prefix, after=after, limit=(limit or paging.PAGE) + 1
            )

        return paging.cut(await self._engine.write(job), limit, lambda bus: bus.address.name)

    async def update(
        self, caller: Caller, name: str | None, change: Callable[[BusSettings], BusSettings]
    ) -> tuple[BusAddress, BusSettings]:
        """Replaces the settings by what `change` makes of them. Raises ResourceNotFoundException."""

        def step(tx: Transaction, bus: Bus) -> tuple[BusAddress, BusSettings]:
            settings = change(bus.settings)
            storage.update_bus(tx, bus, self._clock.time_ms(), settings=settings)
            return bus.address, settings

        return await self._with(caller, name, "UpdateEventBus", step)

    async def delete(self, caller: Caller, name: str) -> None:
        """Raises ResourceNotFoundException, and ValidationException for the default bus and one that has rules."""
        if name == DEFAULT_BUS:
            raise invalid(f"Cannot delete event bus {DEFAULT_BUS}.")

        def step(tx: Transaction, bus: Bus) -> None:
            if storage.count_rules(tx, bus):
                raise invalid("Event bus can't be deleted since it has rules.")  # our words
            storage.delete_bus(tx, bus)

        await self._with(caller, name, "DeleteEventBus", step)

    # --- permissions ---

    async def put_permission(
        self,
        caller: Caller,
        name: str | None,
        *,
        statement_id: str | None,
        action: str | None,
        principal: str | None,
        condition: Mapping[str, str] | None,
        whole_policy: str | None,
    ) -> None:
        """Adds a statement to the policy of a bus, or replaces all of it by `whole_policy`."""

        def step(tx: Transaction, bus: Bus) -> None:
            if whole_policy is not None:
                text = policy.checked(whole_policy)
            elif statement_id is None or action is None or principal is None:
                raise invalid("Parameter(s) StatementId, Action and Principal must be specified.")  # our words
            else:
                text = policy.with_statement(bus.policy, bus.address.arn, statement_id, action, principal, condition)
            if len(text.encode("utf-8", "replace")) > MAX_POLICY_BYTES:
                raise policy.too_long()
            storage.update_bus(tx, bus, self._clock.time_ms(), policy=text)

        await self._with(caller, name, "PutPermission", step)

    async def remove_permission(
        self, caller: Caller, name: str | None, statement_id: str | None, *, all_of_them: bool
    ) -> None:
        """Raises ResourceNotFoundException for a statement that is not there."""

        def step(tx: Transaction, bus: Bus) -> None:
            text = "" if all_of_them else policy.without_statement(bus.policy, statement_id or "")
            storage.update_bus(tx, bus, self._clock.time_ms(), policy=text)

        await self._with(caller, name, "RemovePermission", step)

    # --- tags ---

    async def tags(self, caller: Caller, arn: str) -> Mapping[str, str]:
        return (await self._with(caller, arn, "ListTagsForResource", lambda _, bus: bus)).tags

    async def tag(self, caller: Caller, arn: str, tags: Mapping[str, str]) -> None:
        def step(tx: Transaction, bus: Bus) -> None:
            merged = {**bus.tags, **tags}
            check_tags(merged)
            storage.update_bus_tags(tx, bus, merged)

        await self._with(caller, arn, "TagResource", step)

    async def untag(self, caller: Caller, arn: str, keys: Sequence[str]) -> None:
        def step(tx: Transaction, bus: Bus) -> None:
            storage.update_bus_tags(tx, bus, {key: value for key, value in bus.tags.items() if key not in keys})

        await self._with(caller, arn, "UntagResource", step)

    async def _with(
        self, caller: Caller, name_or_arn: str | None, action: str, step: Callable[[Transaction, Bus], T]
    ) -> T:
        now_ms = self._clock.time_ms()
        return await self._engine.write(lambda tx: step(tx, require(tx, caller, name_or_arn, action, now_ms)))
