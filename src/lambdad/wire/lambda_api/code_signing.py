"""Code signing configurations on the wire."""

from __future__ import annotations

from typing import Any

from lambdad.control.code_signing import (
    CodeSigningConfigs,
    CreateCodeSigningConfig,
    FunctionCodeSigning,
    UpdateCodeSigningConfig,
)
from lambdad.domain.arns import FunctionReference, NameKind
from lambdad.domain.code_signing import CodeSigningConfig
from lambdad.wire.lambda_api.references import function_only
from lambdad.wire.service import Answer, ApiCall, Handler


class CodeSigningApi:
    """CreateCodeSigningConfig to ListFunctionsByCodeSigningConfig."""

    def __init__(self, configs: CodeSigningConfigs, functions: FunctionCodeSigning) -> None:
        self._configs = configs
        self._functions = functions

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreateCodeSigningConfig": self.create,
            "GetCodeSigningConfig": self.get,
            "UpdateCodeSigningConfig": self.update,
            "DeleteCodeSigningConfig": self.delete,
            "ListCodeSigningConfigs": self.list,
            "PutFunctionCodeSigningConfig": self.put_of_function,
            "GetFunctionCodeSigningConfig": self.get_of_function,
            "DeleteFunctionCodeSigningConfig": self.delete_of_function,
            "ListFunctionsByCodeSigningConfig": self.list_functions,
        }

    async def create(self, call: ApiCall) -> Answer:
        params = call.params
        command = CreateCodeSigningConfig(
            publishers=tuple(params["AllowedPublishers"]["SigningProfileVersionArns"]),
            description=params.get("Description") or "",
            policy=_policy(params) or "Warn",
            tags=params.get("Tags") or {},
        )
        return Answer(members=_show(await self._configs.create(command, call.caller)), status=201)

    async def get(self, call: ApiCall) -> Answer:
        return Answer(members=_show(await self._configs.get(call.params["CodeSigningConfigArn"], call.caller)))

    async def update(self, call: ApiCall) -> Answer:
        params = call.params
        publishers = params.get("AllowedPublishers")
        command = UpdateCodeSigningConfig(
            publishers=None if publishers is None else tuple(publishers["SigningProfileVersionArns"]),
            description=params.get("Description"),
            policy=_policy(params),
        )
        return Answer(members=_show(await self._configs.update(params["CodeSigningConfigArn"], command, call.caller)))

    async def delete(self, call: ApiCall) -> Answer:
        await self._configs.delete(call.params["CodeSigningConfigArn"], call.caller)
        return Answer(status=204)

    async def list(self, call: ApiCall) -> Answer:
        page = await self._configs.list(
            call.caller, marker=call.params.get("Marker"), max_items=call.params.get("MaxItems")
        )
        shown = [_show(config)["CodeSigningConfig"] for config in page.items]
        return Answer(members={"CodeSigningConfigs": shown, **_next(page.next_marker)})

    async def put_of_function(self, call: ApiCall) -> Answer:
        reference, arn = _function(call), call.params["CodeSigningConfigArn"]
        await self._functions.put(reference, arn)
        return Answer(members={"CodeSigningConfigArn": arn, "FunctionName": reference.name})

    async def get_of_function(self, call: ApiCall) -> Answer:
        """For a function without one, 200 with no member at all (AWS: recorded 2025-11)."""
        reference = _function(call)
        arn = await self._functions.get(reference)
        return Answer(members={} if arn is None else {"CodeSigningConfigArn": arn, "FunctionName": reference.name})

    async def delete_of_function(self, call: ApiCall) -> Answer:
        await self._functions.delete(_function(call))
        return Answer(status=204)

    async def list_functions(self, call: ApiCall) -> Answer:
        page = await self._functions.list_functions(
            call.params["CodeSigningConfigArn"],
            call.caller,
            marker=call.params.get("Marker"),
            max_items=call.params.get("MaxItems"),
        )
        return Answer(members={"FunctionArns": list(page.items), **_next(page.next_marker)})


def _function(call: ApiCall) -> FunctionReference:
    return function_only(call, NameKind.NAMESPACED)


def _policy(params: dict[str, Any]) -> str | None:
    return (params.get("CodeSigningPolicies") or {}).get("UntrustedArtifactOnDeployment")


def _show(config: CodeSigningConfig) -> dict[str, Any]:
    return {
        "CodeSigningConfig": {
            "CodeSigningConfigId": config.key.id,
            "CodeSigningConfigArn": config.key.arn,
            "Description": config.description,
            "AllowedPublishers": {"SigningProfileVersionArns": list(config.publishers)},
            "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": config.policy},
            "LastModified": config.last_modified,
        }
    }


def _next(marker: str | None) -> dict[str, str]:
    return {"NextMarker": marker} if marker else {}
