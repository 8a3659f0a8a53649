"""Layers and their policies on the wire."""

from __future__ import annotations

from typing import Any

from lambdad.control.layer_permissions import AddLayerVersionPermission, LayerPermissions
from lambdad.control.layers import LayerFilter, Layers, PublishLayerVersion
from lambdad.domain.layer_policies import compact
from lambdad.domain.layers import LayerReference, LayerVersion, parse_layer_reference
from lambdad.wire.lambda_api.functions import CodeUrl, parse_code
from lambdad.wire.service import Answer, ApiCall, Handler


class LayersApi:
    """PublishLayerVersion to GetLayerVersionPolicy."""

    def __init__(self, layers: Layers, permissions: LayerPermissions, code_url: CodeUrl) -> None:
        self._layers = layers
        self._permissions = permissions
        self._code_url = code_url

    def handlers(self) -> dict[str, Handler]:
        return {
            "PublishLayerVersion": self.publish,
            "GetLayerVersion": self.get,
            "GetLayerVersionByArn": self.get_by_arn,
            "DeleteLayerVersion": self.delete,
            "ListLayers": self.list,
            "ListLayerVersions": self.list_versions,
            "AddLayerVersionPermission": self.add_permission,
            "RemoveLayerVersionPermission": self.remove_permission,
            "GetLayerVersionPolicy": self.get_policy,
        }

    async def publish(self, call: ApiCall) -> Answer:
        params = call.params
        command = PublishLayerVersion(
            layer=_layer(call),
            content=parse_code(params["Content"]),
            description=params.get("Description") or "",
            compatible_runtimes=_listed(params.get("CompatibleRuntimes")),
            compatible_architectures=_listed(params.get("CompatibleArchitectures")),
            license_info=params.get("LicenseInfo"),
        )
        return Answer(members=self._show(await self._layers.publish(command, call.caller)), status=201)

    async def get(self, call: ApiCall) -> Answer:
        found = await self._layers.find(_layer(call), call.params["VersionNumber"], call.caller)
        return Answer(members=self._show(found))

    async def get_by_arn(self, call: ApiCall) -> Answer:
        return Answer(members=self._show(await self._layers.find_by_arn(call.params["Arn"], call.caller)))

    async def delete(self, call: ApiCall) -> Answer:
        await self._layers.delete(_layer(call), call.params["VersionNumber"], call.caller)
        return Answer(status=204)

    async def list(self, call: ApiCall) -> Answer:
        page = await self._layers.list(
            call.caller, _filter(call), marker=call.params.get("Marker"), max_items=call.params.get("MaxItems")
        )
        shown = [
            {
                "LayerName": version.name,
                "LayerArn": version.reference.arn,
                "LatestMatchingVersion": _show_listed(version),
            }
            for version in page.items
        ]
        return Answer(members={"Layers": shown, **_next(page.next_marker)})

    async def list_versions(self, call: ApiCall) -> Answer:
        page = await self._layers.list_versions(
            _layer(call),
            call.caller,
            _filter(call),
            marker=call.params.get("Marker"),
            max_items=call.params.get("MaxItems"),
        )
        shown = [_show_listed(version) for version in page.items]
        return Answer(members={"LayerVersions": shown, **_next(page.next_marker)})

    async def add_permission(self, call: ApiCall) -> Answer:
        params = call.params
        command = AddLayerVersionPermission(
            layer=_layer(call),
            version=params["VersionNumber"],
            statement_id=params["StatementId"],
            action=params["Action"],
            principal=params["Principal"],
            organization_id=params.get("OrganizationId"),
            revision_id=params.get("RevisionId"),
        )
        made, revision_id = await self._permissions.add(command, call.caller)
        return Answer(members={"Statement": compact(made), "RevisionId": revision_id}, status=201)

    async def remove_permission(self, call: ApiCall) -> Answer:
        params = call.params
        await self._permissions.remove(
            _layer(call), params["VersionNumber"], params["StatementId"], params.get("RevisionId"), call.caller
        )
        return Answer(status=204)

    async def get_policy(self, call: ApiCall) -> Answer:
        policy = await self._permissions.get(_layer(call), call.params["VersionNumber"], call.caller)
        return Answer(members={"Policy": policy.document, "RevisionId": policy.revision_id})

    def _show(self, version: LayerVersion) -> dict[str, Any]:
        return {
            **_show_listed(version),
            "LayerArn": version.reference.arn,
            "Content": {
                "Location": self._code_url(version.code_sha256),
                "CodeSha256": version.code_sha256,
                "CodeSize": version.code_size,
            },
        }


def _show_listed(version: LayerVersion) -> dict[str, Any]:
    """As listings have it: without content and ARN of the layer (AWS: recorded 2025-11)."""
    shown: dict[str, Any] = {
        "LayerVersionArn": version.arn,
        "Version": version.version,
        "Description": version.description,
        "CreatedDate": version.created_date,
        "CompatibleRuntimes": version.compatible_runtimes,
        "CompatibleArchitectures": version.compatible_architectures,
        "LicenseInfo": version.license_info,
    }
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in shown.items() if value is not None
    }


def _layer(call: ApiCall) -> LayerReference:
    return parse_layer_reference(call.params["LayerName"], call.caller)


def _filter(call: ApiCall) -> LayerFilter:
    return LayerFilter(
        runtime=call.params.get("CompatibleRuntime"), architecture=call.params.get("CompatibleArchitecture")
    )


def _listed(given: list[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(given)


def _next(marker: str | None) -> dict[str, str]:
    return {"NextMarker": marker} if marker else {}
