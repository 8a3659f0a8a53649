"""The control plane as a whole, for whoever builds a server."""

from __future__ import annotations

from collections.abc import Callable

from lambdad.clock import JumpingClock
from lambdad.control.account import Accounts
from lambdad.control.activation import SETTLE_S, Activation, Prepare
from lambdad.control.aliases import Aliases
from lambdad.control.changes import Changed, Changes
from lambdad.control.code_signing import CodeSigningConfigs, FunctionCodeSigning
from lambdad.control.code_source import Archives, ReadObject, no_object
from lambdad.control.concurrency import Concurrency
from lambdad.control.event_invoke_configs import EventInvokeConfigs
from lambdad.control.function_urls import FunctionUrls
from lambdad.control.functions import Functions
from lambdad.control.garbage import CodeGarbage
from lambdad.control.layer_permissions import LayerPermissions
from lambdad.control.layers import Layers
from lambdad.control.mappings import Mappings
from lambdad.control.permissions import ResourcePolicies
from lambdad.control.provisioned_concurrency import AllocationOf, ProvisionedConcurrency, Requested
from lambdad.control.runtime_settings import RecursionSettings, RuntimeManagement
from lambdad.control.tags import Tags
from lambdad.control.versions import Versions
from lambdad.domain.concurrency import ACCOUNT_LIMIT
from lambdad.domain.provisioned import Allocation
from lambdad.storage.code_signing import CodeSigningRepository
from lambdad.storage.functions import FunctionRepository
from lambdad.storage.layers import LayerRepository
from lambdad.storage.packages import PackageStore
from lambdad.telemetry import Telemetry


class ControlPlane:
    """Builds each service once. `start` takes up what an earlier server left unfinished."""

    def __init__(
        self,
        repository: FunctionRepository,
        packages: PackageStore,
        clock: JumpingClock,
        *,
        prepare: Prepare,
        changed: Changed,
        busy: Callable[[str], bool] = lambda _: False,
        elsewhere: Callable[[str], bool] = lambda _: False,
        allocation: AllocationOf = lambda _: Allocation(),
        requested: Requested = lambda *_: None,
        read_object: ReadObject = no_object,
        account_concurrency: int = ACCOUNT_LIMIT,
        settle_s: float = SETTLE_S,
        telemetry: Telemetry | None = None,
    ) -> None:
        """`busy` tells of a code_sha256 whether an environment still runs it; such code is not removed.
        `elsewhere` tells of the ARN of a destination whether it is outside of this server.
        `allocation` tells how far provisioned concurrency has come, `requested` is told that some was asked for.
        `read_object` reads archives from S3."""
        changes = Changes(repository, clock, changed)
        archives = Archives(read_object)
        self.activation = Activation(repository, packages, changes, prepare, settle_s=settle_s)
        self.garbage = CodeGarbage(repository, packages, busy=busy)
        self.functions = Functions(repository, packages, archives, changes, self.activation, telemetry or Telemetry())
        self.versions = Versions(repository, changes, self.activation)
        self.aliases = Aliases(repository, changes)
        self.concurrency = Concurrency(repository, changes, account_concurrency)
        self.provisioned_concurrency = ProvisionedConcurrency(
            repository,
            changes,
            clock,
            allocation=allocation,
            requested=requested,
            account_concurrency=account_concurrency,
        )
        self.event_invoke_configs = EventInvokeConfigs(repository, clock, elsewhere)
        layers = LayerRepository(repository.engine)
        self.layers = Layers(layers, packages, archives, clock.now)
        self.layer_permissions = LayerPermissions(layers)
        self.function_urls = FunctionUrls(repository, clock.now)
        self.policies = ResourcePolicies(repository, changes)
        code_signing = CodeSigningRepository(repository.engine)
        self.code_signing_configs = CodeSigningConfigs(code_signing, clock.now)
        self.function_code_signing = FunctionCodeSigning(code_signing)
        self.mappings = Mappings(repository.engine, repository, clock)
        self.tags = Tags(repository, changes)
        self.accounts = Accounts(repository, account_concurrency)
        self.recursion = RecursionSettings(repository, changes)
        self.runtime_management = RuntimeManagement(repository, changes)

    async def start(self) -> None:
        await self.activation.start()
        self.garbage.start()

    async def stop(self) -> None:
        await self.garbage.stop()
        await self.activation.stop()
