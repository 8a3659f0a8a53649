"""Policies of layer versions: who else may use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lambdad.control.changes import new_revision_id
from lambdad.control.layers import check_number, check_owner
from lambdad.domain.errors import ResourceNotFound
from lambdad.domain.identity import Caller
from lambdad.domain.layer_policies import NO_POLICY, LayerPolicy, statement
from lambdad.domain.layers import LayerReference
from lambdad.storage import layers
from lambdad.storage.engine import Transaction
from lambdad.storage.layers import LayerRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class AddLayerVersionPermission:
    layer: LayerReference
    version: int
    statement_id: str
    action: str
    principal: str
    organization_id: str | None = None
    revision_id: str | None = None


class LayerPermissions:
    """Statements are added and removed one by one; each change gives the policy a new RevisionId."""

    def __init__(self, repository: LayerRepository) -> None:
        self._repository = repository

    async def add(self, command: AddLayerVersionPermission, caller: Caller) -> tuple[dict[str, Any], str]:
        """The statement as stored, and the policy's RevisionId."""
        made = statement(
            sid=command.statement_id,
            principal=command.principal,
            action=command.action,
            resource=command.layer.version_arn(command.version),
            organization_id=command.organization_id,
        )
        policy = await self._change(
            command.layer,
            command.version,
            caller,
            "AddLayerVersionPermission",
            lambda current: current.added(made, command.revision_id, new_revision_id()),
        )
        return made, policy.revision_id

    async def remove(
        self, layer: LayerReference, version: int, statement_id: str, revision_id: str | None, caller: Caller
    ) -> None:
        await self._change(
            layer,
            version,
            caller,
            "RemoveLayerVersionPermission",
            lambda current: current.removed(statement_id, revision_id, new_revision_id()),
        )

    async def get(self, layer: LayerReference, version: int, caller: Caller) -> LayerPolicy:
        """The policy. Raises ResourceNotFound when no permission was added, or all were removed."""
        check_number(version)
        check_owner(layer, caller, "GetLayerVersionPolicy", layer.version_arn(version))
        found = await self._repository.find(layer, version)
        if found is None:
            raise _no_version(layer, version)
        if not found[1].statements:
            raise ResourceNotFound(NO_POLICY)
        return found[1]

    async def _change(
        self,
        layer: LayerReference,
        version: int,
        caller: Caller,
        action: str,
        change: Callable[[LayerPolicy], LayerPolicy],
    ) -> LayerPolicy:
        check_number(version)
        check_owner(layer, caller, action, layer.version_arn(version))

        def job(tx: Transaction) -> LayerPolicy:
            found = layers.find(tx, layer, version)
            if found is None:
                raise _no_version(layer, version)
            policy = change(found[1])
            layers.put_policy(tx, layer, version, policy)
            return policy

        return await self._repository.write(job)


def _no_version(layer: LayerReference, version: int) -> ResourceNotFound:
    return ResourceNotFound(f"Layer version {layer.version_arn(version)} does not exist.")
