"""Functions: create, look up, update, delete, list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lambdad.control import paging
from lambdad.control.activation import Activation
from lambdad.control.changes import (
    Changes,
    check_revision,
    function_not_found,
    key_of,
    latest_of,
    new_revision_id,
)
from lambdad.control.code_signing import attach_in, deploy_in
from lambdad.control.code_source import Archives, CodeSource, check_code_storage
from lambdad.control.layers import attached_in
from lambdad.control.versions import publish_in
from lambdad.domain.arns import FunctionReference, is_alias_name, is_version_number
from lambdad.domain.configuration import ConfigurationChange, changed, check_tags
from lambdad.domain.errors import (
    InvalidParameterValue,
    ResourceConflict,
)
from lambdad.domain.functions import (
    LATEST,
    Alias,
    AttachedLayer,
    Function,
    FunctionVersion,
    LoggingConfig,
    State,
    StoredVersion,
)
from lambdad.domain.layers import check_unzipped_size
from lambdad.domain.lifecycle import being_created, being_updated, check_changeable
from lambdad.storage.functions import FunctionKey, FunctionRepository, FunctionTables, VersionKey, version_key
from lambdad.storage.packages import Package, PackageStore
from lambdad.telemetry import Telemetry, UnsignedCodeDeployed


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFunction:
    reference: FunctionReference
    configuration: ConfigurationChange
    code: CodeSource
    package_type: str = "Zip"
    architectures: tuple[str, ...] = ("x86_64",)
    tags: Mapping[str, str] = field(default_factory=dict)
    code_signing_config_arn: str | None = None
    source_kms_key_arn: str | None = None
    publish: bool = False
    caller_arn: str | None = None
    """Who is named when a layer of another account is refused; None for the account's root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFunctionCode:
    reference: FunctionReference
    code: CodeSource
    architectures: tuple[str, ...] | None = None
    source_kms_key_arn: str | None = None
    revision_id: str | None = None
    dry_run: bool = False
    publish: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFunctionConfiguration:
    reference: FunctionReference
    configuration: ConfigurationChange
    revision_id: str | None = None
    caller_arn: str | None = None
    """As in CreateFunction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionView:
    """A version as it was addressed."""

    version: FunctionVersion
    arn: str
    """With the qualifier that the caller gave."""
    function: Function
    alias: Alias | None = None


class Functions:
    """The resource `function`."""

    def __init__(
        self,
        repository: FunctionRepository,
        packages: PackageStore,
        archives: Archives,
        changes: Changes,
        activation: Activation,
        telemetry: Telemetry,
    ) -> None:
        self._repository = repository
        self._packages = packages
        self._archives = archives
        self._changes = changes
        self._activation = activation
        self._telemetry = telemetry

    async def create(self, command: CreateFunction) -> FunctionVersion:
        """Stores a new function, Pending; it is activated in the background.

        Returns version 1 when it was to be published, else `$LATEST`.
        """
        reference = command.reference
        key = key_of(reference)
        draft = self._draft(command)
        check_tags(command.tags)
        if await self._repository.function(key) is not None:
            raise _exists(key)
        archive = await self._archives.read(command.code, key.account, key.region)
        async with self._packages.added(archive) as package:

            def job(tables: FunctionTables) -> tuple[list[FunctionVersion], bool]:
                if tables.function(key) is not None:
                    raise _exists(key)
                if command.code_signing_config_arn is not None:
                    attach_in(tables.transaction, key, command.code_signing_config_arn)
                unsigned = deploy_in(tables.transaction, key)
                check_code_storage(tables.transaction, key.account, key.region, package.size)
                layers = _layers(tables, key, command.configuration.layers or (), command.caller_arn)
                check_unzipped_size(package.unzipped_size, layers)
                tables.put_function(
                    Function(account=key.account, region=key.region, name=key.name, tags=dict(command.tags))
                )
                latest = being_created(
                    replace(
                        draft,
                        layers=layers,
                        generation=tables.next_generation(key),
                        code_sha256=package.code_sha256,
                        code_size=package.size,
                    ),
                    new_revision_id(),
                )
                tables.put_version(StoredVersion(current=latest), settled=False)
                if not command.publish:
                    return [latest], unsigned
                published, _ = publish_in(tables, latest, self._changes.now(), description=None, pending=True)
                return [published, latest], unsigned

            made, unsigned = await self._changes.make(key, job)
        self._deployed(key, unsigned=unsigned)
        for version in made:
            self._activation.begin(version_key(version))
        return made[0]

    async def find(self, reference: FunctionReference) -> FunctionView:
        """The version that a qualifier stands for; `$LATEST` without one."""
        key = key_of(reference)
        qualifier = reference.qualifier or LATEST
        alias: Alias | None = None
        if is_alias_name(qualifier):
            alias = await self._repository.alias(key, qualifier)
        elif qualifier != LATEST and not is_version_number(qualifier):
            raise function_not_found(reference.arn)
        number = qualifier if alias is None else alias.function_version
        found = None if is_alias_name(number) else await self._repository.version(VersionKey(key, number))
        if found is None:
            raise function_not_found(reference.arn)
        function, stored = found
        return FunctionView(version=stored.current, arn=reference.arn, function=function, alias=alias)

    async def update_code(self, command: UpdateFunctionCode) -> FunctionVersion:
        """Gives `$LATEST` other code; the old code serves until the new one is prepared.

        With `dry_run` nothing is changed and the answer shows what would be.
        """
        reference = command.reference
        key = key_of(reference)
        found = await self._repository.version(VersionKey(key, LATEST))
        if found is None:
            raise function_not_found(reference.arn)
        if command.dry_run:
            current = found[1].current
            check_changeable(current)
            check_revision(command.revision_id, current.revision_id)
            package = await self._packages.check(await self._archives.read(command.code, key.account, key.region))
            await self._repository.write(lambda tables: deploy_in(tables.transaction, key))
            check_unzipped_size(package.unzipped_size, current.layers)
            return _with_code(current, package, command)
        archive = await self._archives.read(command.code, key.account, key.region)
        async with self._packages.added(archive) as package:

            def job(tables: FunctionTables) -> tuple[FunctionVersion, list[FunctionVersion], bool]:
                stored = _changeable(tables, reference, command.revision_id)
                unsigned = deploy_in(tables.transaction, key)
                more = package.size - stored.current.code_size
                check_code_storage(tables.transaction, key.account, key.region, more)
                check_unzipped_size(package.unzipped_size, stored.current.layers)
                latest = self._put_update(tables, stored, _with_code(stored.current, package, command))
                if not command.publish:
                    return latest, [latest], unsigned
                published, is_new = publish_in(tables, latest, self._changes.now(), description=None, pending=True)
                return published, [published, latest] if is_new else [latest], unsigned

            shown, unsettled, unsigned = await self._changes.make(key, job)
        self._deployed(key, unsigned=unsigned)
        for version in unsettled:
            self._activation.begin(version_key(version))
        return shown

    async def update_configuration(self, command: UpdateFunctionConfiguration) -> FunctionVersion:
        """Changes the configuration of `$LATEST`; the old one serves until the new one is prepared."""
        reference, change = command.reference, command.configuration
        key = key_of(reference)
        code_bytes = await self._unzipped_size(key) if change.layers else 0

        def job(tables: FunctionTables) -> tuple[FunctionVersion, bool]:
            stored = _changeable(tables, reference, command.revision_id)
            version = changed(stored.current, change)
            unsigned = bool(change.layers) and deploy_in(tables.transaction, key)
            if change.layers is not None:
                version = replace(version, layers=_layers(tables, key, change.layers, command.caller_arn))
                check_unzipped_size(code_bytes, version.layers)
            return self._put_update(tables, stored, version), unsigned

        version, unsigned = await self._changes.make(key, job)
        self._deployed(key, unsigned=unsigned)
        self._activation.begin(version_key(version))
        return version

    async def delete(self, reference: FunctionReference) -> None:
        """Deletes the whole function, or with a number that version."""
        key = key_of(reference)
        qualifier = reference.qualifier
        if qualifier == LATEST:
            raise InvalidParameterValue("$LATEST version cannot be deleted without deleting the function.")
        if qualifier is not None and is_alias_name(qualifier):
            raise InvalidParameterValue("Deletion of aliases is not currently supported.")

        def job(tables: FunctionTables) -> None:
            if tables.function(key) is None:
                raise function_not_found(reference.unqualified_arn)
            if qualifier is None:
                tables.delete_function(key)
                return
            if not is_version_number(qualifier):
                raise function_not_found(reference.unqualified_arn)
            users = [
                alias.name for alias in tables.aliases(key) if qualifier in (alias.function_version, *alias.routing)
            ]
            if users:
                raise ResourceConflict(  # (AWS: captured)
                    f"Unable to delete version because the following aliases reference it: [{', '.join(users)}]"
                )
            tables.delete_version(VersionKey(key, qualifier))

        await self._changes.make(key, job)

    async def list(
        self,
        account: str,
        region: str,
        *,
        all_versions: bool = False,
        marker: str | None = None,
        max_items: int | None = None,
    ) -> paging.Page[FunctionVersion]:
        """`$LATEST` of every function, or all versions; by name, at most 50 at once."""
        size = paging.page_size(max_items)
        if all_versions:
            position = paging.after(marker, (str, int)) or ("", 0)
            every = await self._repository.list_all(
                account, region, after=(str(position[0]), int(position[1])), limit=size + 1
            )
            return paging.page(every, size, lambda version: (version.name, _place(version)))
        start = paging.after(marker, (str,)) or ("",)
        found = await self._repository.list_latest(account, region, after=str(start[0]), limit=size + 1)
        return paging.page(found, size, lambda version: (version.name,))

    # --- parts ---

    def _draft(self, command: CreateFunction) -> FunctionVersion:
        reference, configuration = command.reference, command.configuration
        if command.package_type == "Image" or command.code.image_uri is not None:
            raise InvalidParameterValue(
                "Functions from container images are not offered by this server, since they need a container runtime. "
                "Package the function as a zip archive."
            )
        if configuration.runtime is None or not configuration.handler:
            raise InvalidParameterValue(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
            )
        blank = FunctionVersion(
            account=reference.account,
            region=reference.region,
            name=reference.name,
            generation=0,
            role="",
            architectures=command.architectures,
            source_kms_key_arn=command.source_kms_key_arn,
            code_sha256="",
            code_size=0,
            logging=LoggingConfig(log_format="Text", log_group=f"/aws/lambda/{reference.name}"),
            revision_id="",
            last_modified=self._changes.now(),
        )
        return changed(blank, configuration)

    async def _unzipped_size(self, key: FunctionKey) -> int:
        """Bytes of the files of `$LATEST`; 0 if the function is not there, which is refused later."""
        found = await self._repository.version(VersionKey(key, LATEST))
        return 0 if found is None else await self._packages.unzipped_size(found[1].current.code_sha256)

    def _deployed(self, key: FunctionKey, *, unsigned: bool) -> None:
        if unsigned:
            event = UnsignedCodeDeployed(account=key.account, region=key.region, function=key.name)
            for listener in self._telemetry.unsigned_code_deployed:
                listener(event)

    def _put_update(self, tables: FunctionTables, stored: StoredVersion, version: FunctionVersion) -> FunctionVersion:
        version = being_updated(
            replace(
                version,
                generation=tables.next_generation(FunctionKey(version.account, version.region, version.name)),
                last_modified=self._changes.now(),
            ),
            new_revision_id(),
        )
        previous = stored.serving if version.state is State.ACTIVE else None
        tables.put_version(StoredVersion(current=version, previous=previous), settled=False)
        return version


def _with_code(version: FunctionVersion, package: Package, command: UpdateFunctionCode) -> FunctionVersion:
    return replace(
        version,
        code_sha256=package.code_sha256,
        code_size=package.size,
        architectures=command.architectures or version.architectures,
        source_kms_key_arn=command.source_kms_key_arn,  # of this archive, not of the function
    )


def _changeable(tables: FunctionTables, reference: FunctionReference, revision_id: str | None) -> StoredVersion:
    stored = latest_of(tables, reference)
    check_changeable(stored.current)
    check_revision(revision_id, stored.current.revision_id)
    return stored


def _layers(
    tables: FunctionTables, key: FunctionKey, arns: tuple[str, ...], caller_arn: str | None
) -> tuple[AttachedLayer, ...]:
    return attached_in(tables.transaction, arns, account=key.account, caller_arn=caller_arn)


def _exists(key: FunctionKey) -> ResourceConflict:
    return ResourceConflict(f"Function already exist: {key.name}")


def _place(version: FunctionVersion) -> int:
    return 0 if version.version == LATEST else int(version.version)
