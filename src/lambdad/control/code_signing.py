"""Code signing configurations, and which functions have them."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from lambdad.control import paging
from lambdad.control.changes import function_not_found, key_of
from lambdad.domain.arns import FunctionReference, function_arn
from lambdad.domain.code_signing import CodeSigningConfig, CodeSigningKey, check_deployment, parse_code_signing_arn
from lambdad.domain.configuration import check_tags
from lambdad.domain.errors import CodeSigningConfigNotFound, InvalidParameterValue, ResourceConflict, ResourceNotFound
from lambdad.domain.identity import Caller
from lambdad.domain.lifecycle import last_modified
from lambdad.storage import code_signing
from lambdad.storage.code_signing import CodeSigningRepository
from lambdad.storage.engine import Transaction
from lambdad.storage.functions import FunctionKey, FunctionTables

_ID_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCodeSigningConfig:
    publishers: tuple[str, ...]
    description: str = ""
    policy: str = "Warn"
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCodeSigningConfig:
    """Members that are None stay as they are."""

    publishers: tuple[str, ...] | None = None
    description: str | None = None
    policy: str | None = None


class CodeSigningConfigs:
    """The resource `code-signing-config`."""

    def __init__(self, repository: CodeSigningRepository, now: Callable[[], datetime]) -> None:
        self._repository = repository
        self._now = now

    async def create(self, command: CreateCodeSigningConfig, caller: Caller) -> CodeSigningConfig:
        check_tags(command.tags)
        name = "".join(secrets.choice(_ID_ALPHABET) for _ in range(17))
        config = CodeSigningConfig(
            key=CodeSigningKey(caller.account, caller.region, f"csc-{name}"),
            description=command.description,
            publishers=command.publishers,
            policy=command.policy,
            last_modified=last_modified(self._now()),
            tags=dict(command.tags),
        )
        await self._repository.write(lambda tx: code_signing.put(tx, config))
        return config

    async def get(self, arn: str, caller: Caller) -> CodeSigningConfig:
        return await self._repository.write(lambda tx: _find(tx, arn, caller))

    async def update(self, arn: str, command: UpdateCodeSigningConfig, caller: Caller) -> CodeSigningConfig:
        def job(tx: Transaction) -> CodeSigningConfig:
            current = _find(tx, arn, caller)
            config = replace(
                current,
                publishers=current.publishers if command.publishers is None else command.publishers,
                description=current.description if command.description is None else command.description,
                policy=command.policy or current.policy,
                last_modified=last_modified(self._now()),
            )
            code_signing.put(tx, config)
            return config

        return await self._repository.write(job)

    async def delete(self, arn: str, caller: Caller) -> None:
        """Raises ResourceConflict while a function has it."""

        def job(tx: Transaction) -> None:
            config = _find(tx, arn, caller)
            users = code_signing.functions_of(tx, config.key, limit=3)
            if users:
                raise ResourceConflict(
                    f"The code signing configuration {arn} cannot be deleted while functions have it: "
                    f"{', '.join(users)}. Call DeleteFunctionCodeSigningConfig for each of them first."
                )
            code_signing.delete(tx, config.key)

        await self._repository.write(job)

    async def list(
        self, caller: Caller, *, marker: str | None = None, max_items: int | None = None
    ) -> paging.Page[CodeSigningConfig]:
        """The account's configurations by id, at most 50 at once."""
        size = paging.page_size(max_items)
        start = paging.after(marker, (str,)) or ("",)
        found = await self._repository.list(caller.account, caller.region, after=str(start[0]), limit=size + 1)
        return paging.page(found, size, lambda config: (config.key.id,))

    async def add_tags(self, arn: str, caller: Caller, tags: Mapping[str, str]) -> None:
        """Adds tags, or gives those that are there a new value."""
        if not tags:
            raise InvalidParameterValue("An error occurred and the request cannot be processed.")
        await self._change_tags(arn, caller, lambda current: {**current, **tags})

    async def remove_tags(self, arn: str, caller: Caller, keys: Iterable[str]) -> None:
        """Removes tags; keys that are not there are fine."""
        gone = set(keys)
        await self._change_tags(
            arn, caller, lambda current: {key: value for key, value in current.items() if key not in gone}
        )

    async def _change_tags(
        self, arn: str, caller: Caller, change: Callable[[Mapping[str, str]], dict[str, str]]
    ) -> None:
        def job(tx: Transaction) -> None:
            config = _find(tx, arn, caller)
            tags = change(config.tags)
            check_tags(tags)
            code_signing.put(tx, replace(config, tags=tags))

        await self._repository.write(job)


class FunctionCodeSigning:
    """Which configuration a function has. It counts at the next deployment; what is deployed stays."""

    def __init__(self, repository: CodeSigningRepository) -> None:
        self._repository = repository

    async def put(self, reference: FunctionReference, arn: str) -> None:
        """Raises CodeSigningConfigNotFound before it looks for the function (AWS: recorded 2025-11)."""
        key = key_of(reference)

        def job(tx: Transaction) -> None:
            attach_in(tx, key, arn, lambda: _check_function(tx, reference))

        await self._repository.write(job)

    async def get(self, reference: FunctionReference) -> str | None:
        """The ARN of its configuration; None if it has none."""

        def job(tx: Transaction) -> str | None:
            _check_function(tx, reference)
            config = code_signing.of_function(tx, key_of(reference))
            return None if config is None else config.key.arn

        return await self._repository.write(job)

    async def delete(self, reference: FunctionReference) -> None:
        """The function has none any more; none before is fine (AWS: recorded 2025-11)."""

        def job(tx: Transaction) -> None:
            _check_function(tx, reference)
            code_signing.detach(tx, key_of(reference))

        await self._repository.write(job)

    async def list_functions(
        self, arn: str, caller: Caller, *, marker: str | None = None, max_items: int | None = None
    ) -> paging.Page[str]:
        """Unqualified ARNs of the functions that have a configuration, by name, at most 50 at once."""
        size = paging.page_size(max_items)
        start = paging.after(marker, (str,)) or ("",)

        def job(tx: Transaction) -> list[str]:
            return code_signing.functions_of(tx, _find(tx, arn, caller).key, after=str(start[0]), limit=size + 1)

        page = paging.page(await self._repository.write(job), size, lambda name: (name,))
        arns = [function_arn(caller.region, caller.account, name) for name in page.items]
        return paging.Page(items=arns, next_marker=page.next_marker)


def attach_in(
    tx: Transaction, function: FunctionKey, arn: str, check: Callable[[], None] = lambda: None
) -> CodeSigningConfig:
    """Gives a function a configuration of its account and region, after `check`.

    Raises CodeSigningConfigNotFound if there is no such configuration.
    """
    key = parse_code_signing_arn(arn)
    config = None
    if key is not None and (key.account, key.region) == (function.account, function.region):
        config = code_signing.find(tx, key)
    if config is None:
        raise CodeSigningConfigNotFound(
            "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
            f"{arn}."
        )
    check()
    code_signing.attach(tx, function, config.key)
    return config


def deploy_in(tx: Transaction, function: FunctionKey) -> bool:
    """Whether a function's code or layers are deployed against the warning of its configuration.

    Raises CodeVerificationFailed when its configuration does not let them.
    """
    return check_deployment(code_signing.of_function(tx, function), function.name)


def _find(tx: Transaction, arn: str, caller: Caller) -> CodeSigningConfig:
    key = parse_code_signing_arn(arn)
    config = None
    if key is not None and (key.account, key.region) == (caller.account, caller.region):
        config = code_signing.find(tx, key)
    if config is None:  # without Type (AWS: recorded 2025-11)
        raise ResourceNotFound(f"The Lambda code signing configuration {arn} can not be found.", typed=False)
    return config


def _check_function(tx: Transaction, reference: FunctionReference) -> None:
    if FunctionTables(tx).function(key_of(reference)) is None:
        raise function_not_found(reference.arn)
