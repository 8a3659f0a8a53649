"""Who may run: reserved concurrency of a function, and the account's unreserved pool.

Counters in memory, two integer comparisons a call. A reservation is both ceiling and guarantee: what is reserved is
taken off the pool that all other functions share, and so is what is provisioned of functions without a reservation;
with one, it is taken off that (AWS Lambda developer guide). Lowering a reservation does not stop what runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

from lambdad.domain.errors import TooManyRequests

RESERVED_EXHAUSTED = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT_EXHAUSTED = "ConcurrentInvocationLimitExceeded"
DEFAULT_ACCOUNT_LIMIT = 1000


class Slot(IntEnum):
    """Where the concurrency of one call was taken from."""

    RESERVED = 0
    UNRESERVED = 1
    PROVISIONED = 2


_RESERVED, _UNRESERVED, _PROVISIONED = Slot


class AccountSlots:
    """The concurrency of one account in one region."""

    __slots__ = ("in_flight", "limit", "peak", "set_aside", "unreserved_in_flight", "unreserved_peak")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.set_aside = 0
        """All reservations, and what is provisioned of functions that have none."""
        self.unreserved_in_flight = 0
        self.in_flight = 0
        """With and without reservation."""
        self.peak = 0
        self.unreserved_peak = 0
        """The most that was in flight when something ended; a maximum is always followed by an end."""


class FunctionSlots:
    """The concurrency of one function; one object for all its versions."""

    __slots__ = ("account", "in_flight", "peak", "provisioned", "provisioned_in_flight", "reserved")

    def __init__(self, account: AccountSlots) -> None:
        self.account = account
        self.reserved: int | None = None
        self.in_flight = 0
        """Of every kind."""
        self.peak = 0
        self.provisioned = 0
        """Environments that are allocated to versions and aliases of the function."""
        self.provisioned_in_flight = 0

    def take(self) -> Slot:
        """A slot on demand, which goes back to `give`. Raises TooManyRequests with the limit that was met."""
        reserved = self.reserved
        if reserved is not None:
            if self.in_flight - self.provisioned_in_flight >= reserved - self.provisioned:
                raise TooManyRequests(RESERVED_EXHAUSTED)
            self.in_flight += 1
            self.account.in_flight += 1
            return _RESERVED
        account = self.account
        if account.unreserved_in_flight >= account.limit - account.set_aside:
            raise TooManyRequests(ACCOUNT_EXHAUSTED)
        account.unreserved_in_flight += 1
        account.in_flight += 1
        self.in_flight += 1
        return _UNRESERVED

    def take_provisioned(self) -> Slot:
        """The slot of a call that runs in a provisioned environment: always there, since it was set aside."""
        self.in_flight += 1
        self.provisioned_in_flight += 1
        self.account.in_flight += 1
        return _PROVISIONED

    @property
    def is_full(self) -> bool:
        """Whether calls would be refused now, those that find no provisioned environment at least."""
        if self.provisioned_in_flight < self.provisioned:
            return False
        if self.reserved is not None:
            return self.in_flight - self.provisioned_in_flight >= self.reserved - self.provisioned
        return self.account.unreserved_in_flight >= self.account.limit - self.account.set_aside

    def give(self, slot: Slot) -> None:
        """Frees a slot that was taken."""
        account = self.account
        if self.in_flight > self.peak:  # noqa: PLR1730 - on the hot path, where a call of max() costs three times as much
            self.peak = self.in_flight
        if account.in_flight > account.peak:  # noqa: PLR1730 - as above
            account.peak = account.in_flight
        self.in_flight -= 1
        account.in_flight -= 1
        if slot is _PROVISIONED:
            self.provisioned_in_flight -= 1
        elif slot is _UNRESERVED:
            if account.unreserved_in_flight > account.unreserved_peak:  # noqa: PLR1730 - as above
                account.unreserved_peak = account.unreserved_in_flight
            account.unreserved_in_flight -= 1

    def set_reserved(self, reserved: int | None) -> None:
        """A new reservation, or none; calls that run keep the slots they have."""
        self._set(reserved, self.provisioned)

    def set_provisioned(self, provisioned: int) -> None:
        """How many environments are allocated now."""
        self._set(self.reserved, provisioned)

    def _set(self, reserved: int | None, provisioned: int) -> None:
        before = self.provisioned if self.reserved is None else self.reserved
        self.account.set_aside += (provisioned if reserved is None else reserved) - before
        self.reserved = reserved
        self.provisioned = provisioned


class Admission:
    """All slots of this server."""

    def __init__(self, account_limit: int = DEFAULT_ACCOUNT_LIMIT) -> None:
        self._account_limit = account_limit
        self._accounts: dict[tuple[str, str], AccountSlots] = {}
        self._functions: dict[tuple[str, str, str], FunctionSlots] = {}

    def function(self, account: str, region: str, name: str) -> FunctionSlots:
        """The slots of a function; the same object for as long as the server runs."""
        key = (account, region, name)
        slots = self._functions.get(key)
        if slots is None:
            slots = self._functions[key] = FunctionSlots(self.account(account, region))
        return slots

    def account(self, account: str, region: str) -> AccountSlots:
        """The slots of an account in a region."""
        key = (account, region)
        slots = self._accounts.get(key)
        if slots is None:
            slots = self._accounts[key] = AccountSlots(self._account_limit)
        return slots

    def take_peaks(self) -> Iterator[tuple[str, str, str, str, str, float]]:
        """Account, region, function (empty for the account as a whole), qualifier (empty here), metric and the most
        that ran at once since the last time."""
        for (account, region, name), slots in self._functions.items():
            yield account, region, name, "", "ConcurrentExecutions", max(slots.peak, slots.in_flight)
            slots.peak = 0
        for (account, region), shared in self._accounts.items():
            yield account, region, "", "", "ConcurrentExecutions", max(shared.peak, shared.in_flight)
            unreserved = max(shared.unreserved_peak, shared.unreserved_in_flight)
            yield account, region, "", "", "UnreservedConcurrentExecutions", unreserved
            shared.peak = shared.unreserved_peak = 0

    def forget(self, account: str, region: str, name: str) -> None:
        """The function was deleted: its reservation is free again."""
        slots = self._functions.get((account, region, name))
        if slots is not None:
            slots.set_reserved(None)
            slots.set_provisioned(0)
            if slots.in_flight == 0:
                del self._functions[account, region, name]
