"""Which environment takes a call: a free one of the version, most recently used first, else a new one.

No queue here: admission has already decided that the call may run, so it runs at once. Environments of an older
generation finish what they run and are dropped (AWS: an update makes new environments, old ones finish).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from dataclasses import replace

from lambdad.clock import Clock
from lambdad.domain.extensions import EXTERNAL_BUDGET_S
from lambdad.domain.functions import FunctionVersion
from lambdad.domain.layers import trees_of
from lambdad.domain.provisioned import INITIALIZATION_TYPE
from lambdad.execution.calls import PendingCall
from lambdad.execution.deadlines import Deadlines
from lambdad.execution.environment import Environment, Owner
from lambdad.execution.freezing import DEFAULT_FREEZE_AFTER_S, Freezing
from lambdad.execution.journal import RuntimeVersion
from lambdad.execution.log_lines import system_lines
from lambdad.execution.provisioned import ProvisionedPool
from lambdad.execution.sandbox import ON_DEMAND, SNAP_START, LogStreams, Sandbox
from lambdad.loops import Loop

logger = logging.getLogger(__name__)

DEFAULT_IDLE_TIMEOUT_S = 600.0
"""AWS keeps idle environments for some five to fifteen minutes (observations; it makes no promise)."""

Key = tuple[str, str, str, str]
"""Account, region, function, version."""


class VersionPool:
    """The environments of one version. Kept by the caller's cached target, so that a warm call needs no lookup."""

    __slots__ = ("_pool", "all", "idle", "key", "provisioned", "version")

    def __init__(self, pool: Pool, key: Key, version: FunctionVersion) -> None:
        self._pool = pool
        self.key = key
        self.version = version
        self.idle: list[Environment] = []
        self.all: set[Environment] = set()
        self.provisioned: ProvisionedPool | None = None
        """Environments that were initialised ahead of calls; whoever dispatches looks there first."""

    def dispatch(self, call: PendingCall) -> None:
        """Runs the call now, in an environment on demand."""
        idle = self.idle
        while idle:
            environment = idle.pop()
            if environment.is_free:
                environment.invoke(call)
                return
        self._pool.new_environment(self).invoke(call)

    # --- Owner: what environments tell ---

    def environment_free(self, environment: Environment) -> None:
        if environment.version.generation != self.version.generation or environment not in self.all:
            self._drop(environment)
        else:
            self.idle.append(environment)
            environment.idle_since = self._pool.clock.monotonic()

    def environment_lost(self, environment: Environment) -> None:
        if environment in self.idle:
            self.idle.remove(environment)
        self._drop(environment)

    def dispatch_again(self, call: PendingCall) -> None:
        self.dispatch(call)

    # --- changes ---

    def renew(self, version: FunctionVersion) -> None:
        """The version has new code or configuration: free environments end now, busy ones when they are done."""
        self.version = version
        self.provide(None)
        idle, self.idle = self.idle, []
        for environment in idle:
            self._drop(environment)

    def provide(self, provisioned: ProvisionedPool | None) -> None:
        """Puts other provisioned environments, or none, in the place of those that are there."""
        before, self.provisioned = self.provisioned, provisioned
        if before is not None:
            before.set_wanted(0)

    def new_provisioned(self, owner: ProvisionedPool) -> Environment:
        """A new environment for provisioned concurrency."""
        return self._pool.new_environment(self, owner=owner, initialization_type=INITIALIZATION_TYPE)

    def forget(self, environment: Environment) -> None:
        """A provisioned environment has ended."""
        self._pool.forget(environment)

    def retire(self) -> None:
        """The version is gone. What runs may finish."""
        self.provide(None)
        idle, self.idle = self.idle, []
        for environment in idle:
            self._drop(environment)
        self.all = {environment for environment in self.all if not environment.is_free}
        self.version = _beyond(self.version)

    def expire(self, before: float) -> None:
        """Ends environments that have been free since before `before` (monotonic seconds)."""
        for environment in [one for one in self.idle if one.idle_since < before]:
            self.idle.remove(environment)
            self._drop(environment)

    def _drop(self, environment: Environment) -> None:
        self.all.discard(environment)
        self._pool.forget(environment)
        environment.stop()


def _beyond(version: FunctionVersion) -> FunctionVersion:
    """The same version with a generation that no environment has."""
    return replace(version, generation=-1)


class Pool:
    """All environments of this server."""

    def __init__(
        self,
        *,
        sandbox: Sandbox,
        logs: LogStreams,
        clock: Clock,
        runtime_version: Callable[[FunctionVersion], RuntimeVersion],
        idle_timeout_s: float = DEFAULT_IDLE_TIMEOUT_S,
        freeze_after_s: float | None = DEFAULT_FREEZE_AFTER_S,
    ) -> None:
        self.clock = clock
        self._sandbox = sandbox
        self._logs = logs
        self._runtime_version = runtime_version
        self._idle_timeout_s = idle_timeout_s
        self._deadlines = Deadlines(asyncio.get_running_loop())
        self._freezing = Freezing(asyncio.get_running_loop(), freeze_after_s)
        self._versions: dict[Key, VersionPool] = {}
        self._environments: set[Environment] = set()
        self._ending: set[Environment] = set()  # stopped, but something of them still runs
        self._created = 0

    def of(self, version: FunctionVersion) -> VersionPool:
        """The pool of a version, brought to the version's generation."""
        key = (version.account, version.region, version.name, version.version)
        pool = self._versions.get(key)
        if pool is None:
            pool = self._versions[key] = VersionPool(self, key, version)
        elif pool.version.generation != version.generation:
            pool.renew(version)
        return pool

    def renew(self, version: FunctionVersion) -> None:
        """A version as it is now stored: environments of older generations end."""
        pool = self._versions.get((version.account, version.region, version.name, version.version))
        if pool is not None and pool.version.generation != version.generation:
            pool.renew(version)

    def retire(self, account: str, region: str, name: str, keep: frozenset[str] = frozenset()) -> None:
        """Ends the environments of a function's versions except `keep`: they were deleted."""
        gone = [key for key in self._versions if key[:3] == (account, region, name) and key[3] not in keep]
        for key in gone:
            self._versions.pop(key).retire()

    def new_environment(
        self, pool: VersionPool, *, owner: Owner | None = None, initialization_type: str = ""
    ) -> Environment:
        """A new environment without a runtime; its first invocation, or its `owner`, boots it."""
        version = pool.version
        initialization_type = initialization_type or (SNAP_START if version.has_snapshot else ON_DEMAND)
        environment_id = uuid.uuid4().hex
        stream_name = log_stream_name(version, environment_id, self.clock)
        environment = Environment(
            environment_id,
            version,
            owner=owner or pool,
            sandbox=self._sandbox,
            log_stream=self._logs.open(version, stream_name),
            stream_name=stream_name,
            lines=system_lines(
                version.logging.log_format,
                function_name=version.name,
                version=version.version,
                memory_mb=version.memory_mb,
                system_level=version.logging.system_log_level,
                initialization_type=initialization_type,
            ),
            runtime_version=self._runtime_version(version),
            deadlines=self._deadlines,
            freezing=self._freezing,
            clock=self.clock,
            initialization_type=initialization_type,
        )
        self._created += 1
        if owner is None:
            pool.all.add(environment)
        self._environments.add(environment)
        return environment

    def forget(self, environment: Environment) -> None:
        self._environments.discard(environment)
        if not environment.gone.done():
            self._ending.add(environment)
            environment.gone.add_done_callback(lambda _: self._ending.discard(environment))

    def expire_idle(self) -> None:
        """Ends what has been free for longer than the idle timeout; drops empty pools of old versions."""
        before = self.clock.monotonic() - self._idle_timeout_s
        for pool in list(self._versions.values()):
            pool.expire(before)

    def runs_code(self, code_sha256: str) -> bool:
        """Whether an environment has this code or layer (base64 of its SHA-256) mounted."""
        versions = (environment.version for environment in self._environments | self._ending)
        return any(
            code_sha256 == version.code_sha256 or code_sha256 in trees_of(version.layers) for version in versions
        )

    def stop(self) -> None:
        """Ends every environment, busy ones too."""
        for environment in list(self._environments):
            self.forget(environment)
            environment.stop()
        self._versions.clear()

    async def ended(self) -> None:
        """Waits for stopped environments whose extensions have some time left to end; 2 s is the most that AWS gives
        them."""
        waiting = [environment.gone for environment in self._ending if environment.is_shutting_down]
        if waiting:
            await asyncio.wait(waiting, timeout=EXTERNAL_BUDGET_S + 0.5)

    def statistics(self) -> dict[str, int]:
        """Environments now (all, free) and made since the start."""
        free = sum(len(pool.idle) for pool in self._versions.values())
        return {"environments": len(self._environments), "free": free, "created": self._created}


class IdleExpiry(Loop):
    """Ends idle environments; follows the service's clock."""

    name = "idle-expiry"

    def __init__(self, pool: Pool, interval_s: float = 15.0) -> None:
        super().__init__()
        self._pool = pool
        self._interval_s = interval_s

    async def run_once(self) -> float | None:
        self._pool.expire_idle()
        return self._interval_s


def log_stream_name(version: FunctionVersion, environment_id: str, clock: Clock) -> str:
    """`YYYY/MM/DD/[version]<32 hex>`; with a log group of the user's own the function's name comes before the version
    (AWS documentation 2025)."""
    date = clock.now().strftime("%Y/%m/%d")
    own_group = version.logging.log_group != f"/aws/lambda/{version.name}"
    return f"{date}/{version.name if own_group else ''}[{version.version}]{environment_id}"
