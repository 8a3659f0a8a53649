"""Provisioned concurrency at run time: makes the environments that functions have asked for, and keeps count.

Told of every loaded function that has some. What is there counts against the function's reservation or the account's
pool from the moment it takes calls, not from the moment it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lambdad.domain.functions import FunctionSnapshot, State
from lambdad.domain.provisioned import INIT_FAILED, Allocation, ProvisionedConfig, ProvisionedStatus, all_shares
from lambdad.execution.pool import Pool, VersionPool
from lambdad.execution.provisioned import ProvisionedPool
from lambdad.invocation.admission import FunctionSlots
from lambdad.loops import Loop

SETTLE_S = 0.1
"""How long a configuration stays IN_PROGRESS at least. On AWS it takes a minute or two; software that does not wait for
it is to find out here too."""
STARTS_AT_ONCE = 8
"""Environments whose init runs at the same time; the calls that come in meanwhile want their share."""
RETRY_S = 60.0
"""Between two tries at an environment whose init failed; a change of the configuration tries at once."""

Key = tuple[str, str, str]
"""Account, region, function."""


@dataclass(slots=True)
class _Kept:
    """The provisioned environments of one version."""

    pool: VersionPool
    provisioned: ProvisionedPool
    not_before: float
    """When environments may be made; monotonic seconds of the service's clock."""
    is_active: bool = False
    """The version can run: it is not Pending, and did not fail."""
    told_failures: int = 0


@dataclass(slots=True)
class _Function:
    slots: FunctionSlots
    shares: dict[str, dict[str, int]] = field(default_factory=dict)
    """By qualifier, then version."""
    versions: dict[str, _Kept] = field(default_factory=dict)

    def count(self) -> None:
        self.slots.set_provisioned(sum(kept.provisioned.allocated for kept in self.versions.values()))


class Provisioning(Loop):
    """Follows the service's clock: wake it when that jumps."""

    name = "provisioning"

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._pool = pool
        self._functions: dict[Key, _Function] = {}

    # --- what is wanted ---

    def apply(self, loaded: FunctionSnapshot, slots: FunctionSlots) -> None:
        """A function as it is now stored; called on each load of it."""
        stored = loaded.function
        key = (stored.account, stored.region, stored.name)
        function = self._functions.get(key)
        if not loaded.provisioned and function is None:
            return
        if function is None or function.slots is not slots:
            self.withdraw(*key)
            function = self._functions[key] = _Function(slots)
        function.shares = all_shares(loaded.provisioned, loaded.aliases, loaded.versions)
        wanted: dict[str, int] = {}
        for shares in function.shares.values():
            for version, number in shares.items():
                wanted[version] = wanted.get(version, 0) + number
        for version in [version for version in function.versions if version not in wanted]:
            self._let_go(function, version)
        for version, number in wanted.items():
            if version in loaded.versions:
                self._want(function, version, number, loaded)
        if not loaded.provisioned and not function.versions:
            del self._functions[key]
        self.wake()

    def withdraw(self, account: str, region: str, name: str) -> None:
        """The function is gone."""
        function = self._functions.pop((account, region, name), None)
        if function is not None:
            for version in list(function.versions):
                self._let_go(function, version)

    def try_again(self, account: str, region: str, name: str) -> None:
        """The configuration was changed, or set once more: what failed is no reason to wait."""
        function = self._functions.get((account, region, name))
        for kept in function.versions.values() if function else ():
            kept.provisioned.failures = kept.told_failures = 0
            kept.not_before = self._now() + SETTLE_S
        self.wake()

    def _want(self, function: _Function, version: str, number: int, loaded: FunctionSnapshot) -> None:
        serving = loaded.versions[version].serving
        pool = self._pool.of(serving)
        kept = function.versions.get(version)
        if kept is None or kept.pool is not pool or pool.provisioned is not kept.provisioned:
            self._let_go(function, version)
            provisioned = ProvisionedPool(pool, lambda: self._changed(function))
            kept = function.versions[version] = _Kept(pool, provisioned, self._now() + SETTLE_S)
            pool.provide(provisioned)
        kept.is_active = serving.state is State.ACTIVE
        if kept.provisioned.wanted != number:
            kept.provisioned.set_wanted(number)

    def _let_go(self, function: _Function, version: str) -> None:
        kept = function.versions.pop(version, None)
        if kept is None:
            return
        if kept.pool.provisioned is kept.provisioned:
            kept.pool.provide(None)
        else:
            kept.provisioned.set_wanted(0)
        function.count()

    # --- what is there ---

    def allocation(self, config: ProvisionedConfig) -> Allocation:
        """How far a configuration is."""
        function = self._functions.get((config.account, config.region, config.function))
        shares = function.shares.get(config.qualifier, {}) if function else {}
        if function is None or sum(shares.values()) != config.requested:
            return Allocation()  # it has just been stored
        allocated, status, reason = 0, ProvisionedStatus.READY, None
        for version, number in shares.items():
            kept = function.versions.get(version)
            provisioned = kept.provisioned if kept is not None else None
            if provisioned is None or provisioned.allocated < provisioned.wanted:
                if provisioned is not None and provisioned.failures:
                    status, reason = ProvisionedStatus.FAILED, INIT_FAILED
                elif status is ProvisionedStatus.READY:
                    status = ProvisionedStatus.IN_PROGRESS
            if provisioned is not None:
                allocated += min(provisioned.allocated, number)
        return Allocation(status=status, allocated=allocated, reason=reason)

    def take_peaks(self) -> Iterator[tuple[str, str, str, str, str, float]]:
        """Account, region, function, qualifier, metric, and the most since the last time. Utilization is a share of
        what is allocated (AWS Lambda developer guide)."""
        for (account, region, name), function in self._functions.items():
            for qualifier, shares in function.shares.items():
                kept = [function.versions[version] for version in shares if version in function.versions]
                peak = sum(max(one.provisioned.peak, one.provisioned.busy) for one in kept)
                allocated = sum(one.provisioned.allocated for one in kept)
                yield account, region, name, qualifier, "ProvisionedConcurrentExecutions", peak
                if allocated:
                    utilization = min(peak / allocated, 1.0)
                    yield account, region, name, qualifier, "ProvisionedConcurrencyUtilization", utilization
            for one in function.versions.values():
                one.provisioned.peak = 0

    def statistics(self) -> dict[str, int]:
        """Environments: asked for, and there."""
        every = [kept.provisioned for function in self._functions.values() for kept in function.versions.values()]
        return {"wanted": sum(one.wanted for one in every), "allocated": sum(one.allocated for one in every)}

    # --- making environments ---

    async def run_once(self) -> float | None:
        """Starts what is missing, as much at once as is good for the machine."""
        now = self._now()
        every = [kept for function in self._functions.values() for kept in function.versions.values()]
        places = STARTS_AT_ONCE - sum(kept.provisioned.starting for kept in every)
        due: list[float] = []
        for kept in every:
            provisioned = kept.provisioned
            if provisioned.failures > kept.told_failures:
                kept.not_before = now + RETRY_S
            kept.told_failures = provisioned.failures
            if not provisioned.missing or not kept.is_active:
                continue
            if kept.not_before > now:
                due.append(kept.not_before - now)
                continue
            # One that has failed is tried alone.
            number = min(provisioned.missing, places, 1 if provisioned.failures else places)
            for _ in range(number):
                provisioned.start_one()
            places -= max(number, 0)
        return min(due, default=None)

    def _changed(self, function: _Function) -> None:
        function.count()
        self.wake()

    def _now(self) -> float:
        return self._pool.clock.monotonic()
