"""Functions as calls need them, cached in memory: a warm call resolves its name with one dictionary look-up.

The control plane tells every committed change; the entry is then dropped and loaded again at the next call, or at
once when environments of the function are alive, so that old ones end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from lambdad.domain.arns import FunctionReference, no_policy_allows, parse_function_reference, policy_denies
from lambdad.domain.errors import ResourceNotFound
from lambdad.domain.functions import LATEST, Alias, FunctionSnapshot, FunctionVersion, State
from lambdad.domain.identity import Caller
from lambdad.domain.policies import Decision, by_principal, decide, has_deny
from lambdad.execution.pool import Pool, VersionPool
from lambdad.invocation.admission import Admission, FunctionSlots
from lambdad.invocation.provisioning import Provisioning

INVOKE = "lambda:InvokeFunction"
MAX_TARGETS = 20_000
"""Addresses kept resolved; beyond it the cache starts anew."""


class FunctionSource(Protocol):
    """The stored functions. What serves calls is `serving`: during an update that is still the version before."""

    async def load(self, account: str, region: str, name: str) -> FunctionSnapshot | None: ...


class Entry:
    """A cached function."""

    __slots__ = ("loaded", "name", "pools", "slots", "valid")

    def __init__(self, loaded: FunctionSnapshot, slots: FunctionSlots) -> None:
        self.loaded = loaded
        self.slots = slots
        self.pools: dict[str, VersionPool] = {}
        self.valid = True
        self.name = loaded.function.name


class Target:
    """A resolved address: what `name` and `Qualifier` of a call stand for. `alias` is set for an alias."""

    __slots__ = ("alias", "entry", "function_arn", "invoked_arn", "pool", "qualifier", "version")

    def __init__(
        self, entry: Entry, version: FunctionVersion, pool: VersionPool, alias: Alias | None, invoked_arn: str
    ) -> None:
        self.entry = entry
        self.version = version
        self.pool = pool
        self.alias = alias
        self.invoked_arn = invoked_arn
        self.function_arn = version.unqualified_arn
        self.qualifier = ""


class Catalog:
    """Resolves addresses to targets."""

    def __init__(
        self,
        source: FunctionSource,
        pool: Pool,
        admission: Admission,
        *,
        provisioning: Provisioning | None = None,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self._source = source
        self._pool = pool
        self._admission = admission
        self._provisioning = provisioning
        self._roll = roll
        self._entries: dict[tuple[str, str, str], Entry] = {}
        self._targets: dict[tuple[str, str, str, str], Target] = {}
        self._loading: dict[tuple[str, str, str], asyncio.Task[Entry | None]] = {}

    def cached(self, account: str, region: str, name: str, qualifier: str) -> Target | None:
        """The target of an address as it was written (`name` and `qualifier` as the client sent them)."""
        target = self._targets.get((account, region, name, qualifier))
        if target is None or not target.entry.valid:
            return None
        return target

    async def resolve(self, caller: Caller, name: str, qualifier: str) -> Target:
        """Like `cached`, but parses, loads, and asks the function's policy. Whether the version is Active is for the
        caller to check: a target that is not is never cached, and neither is one whose policy depends on the caller.

        Raises the errors of a bad address, ResourceNotFound, and AccessDenied: for a function of another account
        unless its policy lets the caller in, and whenever it shuts the caller out.
        """
        reference = parse_function_reference(
            name, qualifier or None, account=caller.account, region=caller.region, other_accounts=True
        )
        entry = await self.entry(reference.account, reference.region, reference.name)
        policy = entry.loaded.policy_of(reference.qualifier) if entry is not None else None
        is_foreign = reference.account != caller.account
        if is_foreign or has_deny(policy):
            request = by_principal(caller.arn, INVOKE, reference.arn)
            decision = decide(policy, request)
            if decision is Decision.DENY:
                raise policy_denies(caller.arn, INVOKE, reference.arn)
            if is_foreign and decision is not Decision.ALLOW:
                raise no_policy_allows(caller.arn, INVOKE, reference.arn)
            return self._found(entry, reference)
        target = self._found(entry, reference)
        if target.entry.valid and target.version.state is State.ACTIVE:
            if len(self._targets) >= MAX_TARGETS:
                self._targets.clear()
            self._targets[caller.account, caller.region, name, qualifier] = target
        return target

    async def find(self, reference: FunctionReference) -> Target:
        """The target of a call that was let in already. Raises ResourceNotFound."""
        return self._found(await self.entry(reference.account, reference.region, reference.name), reference)

    def _found(self, entry: Entry | None, reference: FunctionReference) -> Target:
        if entry is None:
            raise ResourceNotFound(f"Function not found: {_arn(reference, reference.qualifier or LATEST)}")
        return self._target(entry, reference)

    async def entry(self, account: str, region: str, name: str) -> Entry | None:
        """The cached function, loaded if need be; one load at a time for each function."""
        key = (account, region, name)
        entry = self._entries.get(key)
        if entry is not None and entry.valid:
            return entry
        loading = self._loading.get(key)
        if loading is None:
            loading = self._begin(key)
        return await asyncio.shield(loading)

    def changed(self, account: str, region: str, name: str) -> None:
        """The function was changed or deleted: what is cached of it no longer counts."""
        key = (account, region, name)
        if self._drop(key):
            self._begin(key)

    def load(self, account: str, region: str, name: str) -> None:
        """Like `changed`, for a function that has to be known even if nobody calls it: it has provisioned concurrency,
        or had."""
        key = (account, region, name)
        self._drop(key)
        if self._provisioning is not None:
            self._provisioning.try_again(*key)
        self._begin(key)

    def _drop(self, key: tuple[str, str, str]) -> bool:
        """Forgets a function; True if it was known, or on its way."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            entry.valid = False
            for address in [address for address, target in self._targets.items() if target.entry is entry]:
                del self._targets[address]
        loading = self._loading.pop(key, None)  # a load that is under way may have read the old state
        return entry is not None or loading is not None

    def _begin(self, key: tuple[str, str, str]) -> asyncio.Task[Entry | None]:
        loading = self._loading[key] = asyncio.get_running_loop().create_task(self._load(key))
        return loading

    def choose(self, target: Target) -> VersionPool:
        """The version that one call runs, by the weights of an alias."""
        alias = target.alias
        if alias is None or not alias.routing:
            return target.pool
        number = alias.choose(self._roll())
        if number == alias.function_version:
            return target.pool
        return self._version_pool(target.entry, target.entry.loaded.versions[number].serving)

    async def _load(self, key: tuple[str, str, str]) -> Entry | None:
        task = asyncio.current_task()
        try:
            loaded = await self._source.load(*key)
        finally:
            current = self._loading.get(key) is task
            if current:
                del self._loading[key]
        if loaded is None:
            self._pool.retire(*key)
            if current:
                if self._provisioning is not None:
                    self._provisioning.withdraw(*key)
                self._admission.forget(*key)
            return None
        entry = Entry(loaded, self._admission.function(*key))
        if current:
            entry.slots.set_reserved(loaded.function.reserved_concurrency)
            self._pool.retire(*key, keep=frozenset(loaded.versions))
            for stored in loaded.versions.values():
                self._pool.renew(stored.serving)
            if self._provisioning is not None:
                self._provisioning.apply(loaded, entry.slots)
            self._entries[key] = entry
        else:
            entry.valid = False  # good for the call that waits for it, not for the next one
        return entry

    def _target(self, entry: Entry, reference: FunctionReference) -> Target:
        qualifier = reference.qualifier
        loaded = entry.loaded
        alias = loaded.aliases.get(qualifier) if qualifier else None
        number = alias.function_version if alias else qualifier or LATEST
        stored = loaded.versions.get(number)
        if stored is None:
            raise ResourceNotFound(f"Function not found: {_arn(reference, qualifier or LATEST)}")
        version = stored.serving
        arn = _arn(reference, qualifier) if qualifier else version.unqualified_arn
        target = Target(entry, version, self._version_pool(entry, version), alias, arn)
        target.qualifier = qualifier or ""
        return target

    def _version_pool(self, entry: Entry, version: FunctionVersion) -> VersionPool:
        pool = entry.pools.get(version.version)
        if pool is None:
            pool = entry.pools[version.version] = self._pool.of(version)
        return pool


def _arn(reference: FunctionReference, qualifier: str) -> str:
    return f"arn:aws:lambda:{reference.region}:{reference.account}:function:{reference.name}:{qualifier}"
