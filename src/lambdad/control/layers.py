"""Layers: publish, look up, list, delete; and what of them a function may be given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from lambdad.control import paging
from lambdad.control.code_source import Archives, CodeSource, check_code_storage
from lambdad.domain.errors import InvalidParameterValue, ResourceNotFound
from lambdad.domain.functions import AttachedLayer
from lambdad.domain.identity import Caller
from lambdad.domain.layers import LayerReference, LayerVersion, not_allowed, parse_layer_version_arn
from lambdad.domain.lifecycle import last_modified
from lambdad.storage import layers
from lambdad.storage.engine import Transaction
from lambdad.storage.layers import LayerRepository
from lambdad.storage.packages import PackageStore

_FIRST_PAGE = 1 << 62
"""Above every version number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishLayerVersion:
    layer: LayerReference
    content: CodeSource
    description: str = ""
    compatible_runtimes: tuple[str, ...] | None = None
    compatible_architectures: tuple[str, ...] | None = None
    license_info: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFilter:
    """What a listing is limited to; None does not matter."""

    runtime: str | None = None
    architecture: str | None = None


class Layers:
    """The resource `layer`. Layers of other accounts can be read where their policy allows it, and not changed."""

    def __init__(
        self, repository: LayerRepository, packages: PackageStore, archives: Archives, now: Callable[[], datetime]
    ) -> None:
        self._repository = repository
        self._archives = archives
        self._packages = packages
        self._now = now

    async def publish(self, command: PublishLayerVersion, caller: Caller) -> LayerVersion:
        """Stores a new version; its number is one more than the last, also if that was deleted."""
        layer = command.layer
        check_owner(layer, caller, "PublishLayerVersion", layer.arn)
        archive = await self._archives.read(command.content, layer.account, layer.region)
        async with self._packages.added(archive) as package:

            def job(tx: Transaction) -> LayerVersion:
                check_code_storage(tx, layer.account, layer.region, package.size)
                version = LayerVersion(
                    account=layer.account,
                    region=layer.region,
                    name=layer.name,
                    version=layers.next_version(tx, layer),
                    description=command.description,
                    created_date=last_modified(self._now()),
                    code_sha256=package.code_sha256,
                    code_size=package.size,
                    unzipped_size=package.unzipped_size,
                    compatible_runtimes=command.compatible_runtimes,
                    compatible_architectures=command.compatible_architectures,
                    license_info=command.license_info,
                )
                layers.put(tx, version)
                return version

            return await self._repository.write(job)

    async def find(self, layer: LayerReference, number: int, caller: Caller) -> LayerVersion:
        """A version. Raises AccessDenied for another account's without permission, also if it is not there."""
        check_number(number)
        check_region(layer, caller)
        found = await self._repository.find(layer, number)
        if layer.account != caller.account and (found is None or not found[1].allows(caller.account)):
            raise not_allowed(caller.arn, "GetLayerVersion", layer.version_arn(number), exists=found is not None)
        if found is None:
            raise ResourceNotFound("The resource you requested does not exist.")
        return found[0]

    async def find_by_arn(self, arn: str, caller: Caller) -> LayerVersion:
        parsed = parse_layer_version_arn(arn)
        if parsed is None:
            raise ResourceNotFound("The resource you requested does not exist.")
        return await self.find(*parsed, caller)

    async def delete(self, layer: LayerReference, number: int, caller: Caller) -> None:
        """Deletes a version; functions that have it keep their copy. One that is not there is fine (AWS: recorded)."""
        check_number(number)
        check_owner(layer, caller, "DeleteLayerVersion", layer.version_arn(number))
        await self._repository.write(lambda tx: layers.delete(tx, layer, number))

    async def list(
        self, caller: Caller, wanted: LayerFilter, *, marker: str | None = None, max_items: int | None = None
    ) -> paging.Page[LayerVersion]:
        """The newest matching version of each of the caller's layers, by name, at most 50 at once."""
        size = paging.page_size(max_items)
        start = paging.after(marker, (str,)) or ("",)
        found = await self._repository.list_layers(
            caller.account,
            caller.region,
            runtime=wanted.runtime,
            architecture=wanted.architecture,
            after=str(start[0]),
            limit=size + 1,
        )
        return paging.page(found, size, lambda version: (version.name,))

    async def list_versions(
        self,
        layer: LayerReference,
        caller: Caller,
        wanted: LayerFilter,
        *,
        marker: str | None = None,
        max_items: int | None = None,
    ) -> paging.Page[LayerVersion]:
        """The matching versions of a layer, the newest first (AWS: recorded 2025-11), at most 50 at once."""
        check_owner(layer, caller, "ListLayerVersions", layer.arn)
        size = paging.page_size(max_items)
        start = paging.after(marker, (int,)) or (_FIRST_PAGE,)
        found = await self._repository.list_versions(
            layer,
            runtime=wanted.runtime,
            architecture=wanted.architecture,
            before=int(start[0]),
            limit=size + 1,
        )
        return paging.page(found, size, lambda version: (version.version,))


def check_number(number: int) -> None:
    if number < 1:
        raise InvalidParameterValue("Layer Version Cannot be less than 1")


def check_region(layer: LayerReference, caller: Caller) -> None:
    if layer.region != caller.region:
        raise ResourceNotFound("The resource you requested does not exist.")


def check_owner(layer: LayerReference, caller: Caller, action: str, resource: str) -> None:
    """Refuses what only the owner of a layer may do."""
    if layer.account != caller.account:
        raise not_allowed(caller.arn, action, resource)
    check_region(layer, caller)


def attached_in(
    tx: Transaction, arns: Sequence[str], *, account: str, caller_arn: str | None = None
) -> tuple[AttachedLayer, ...]:
    """What a function of `account` is given for these ARNs, in their order.

    Raises InvalidParameterValue for versions that are not there, AccessDenied for another account's whose policy does
    not allow it.
    """
    return tuple(_attached(tx, arn, account, caller_arn or f"arn:aws:iam::{account}:root") for arn in arns)


def _attached(tx: Transaction, arn: str, account: str, caller_arn: str) -> AttachedLayer:
    parsed = parse_layer_version_arn(arn)
    found = None if parsed is None else layers.find(tx, *parsed)
    if parsed is not None and parsed[0].account != account and (found is None or not found[1].allows(account)):
        raise not_allowed(caller_arn, "GetLayerVersion", arn, exists=found is not None)
    if found is None:
        raise InvalidParameterValue(f"Layer version {arn} does not exist.")
    return found[0].attached
