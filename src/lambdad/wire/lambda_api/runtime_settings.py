"""Recursion and runtime management configurations on the wire."""

from __future__ import annotations

from typing import Any

from lambdad.control.runtime_settings import RecursionSettings, RuntimeManagement
from lambdad.domain.arns import FunctionReference, NameKind
from lambdad.domain.functions import RuntimeUpdate
from lambdad.wire.lambda_api.references import any_version, function_only
from lambdad.wire.service import Answer, ApiCall, Handler


class RuntimeSettingsApi:
    """Get and Put of FunctionRecursionConfig and RuntimeManagementConfig."""

    def __init__(self, recursion: RecursionSettings, management: RuntimeManagement) -> None:
        self._recursion = recursion
        self._management = management

    def handlers(self) -> dict[str, Handler]:
        return {
            "GetFunctionRecursionConfig": self.get_recursion,
            "PutFunctionRecursionConfig": self.put_recursion,
            "GetRuntimeManagementConfig": self.get_management,
            "PutRuntimeManagementConfig": self.put_management,
        }

    async def get_recursion(self, call: ApiCall) -> Answer:
        loop = await self._recursion.get(function_only(call, NameKind.UNQUALIFIED))
        return Answer(members={"RecursiveLoop": loop})

    async def put_recursion(self, call: ApiCall) -> Answer:
        loop: str = call.params["RecursiveLoop"]
        await self._recursion.put(function_only(call, NameKind.UNQUALIFIED), loop)
        return Answer(members={"RecursiveLoop": loop})

    async def get_management(self, call: ApiCall) -> Answer:
        reference = any_version(call)
        return Answer(members=_show(await self._management.get(reference), reference))

    async def put_management(self, call: ApiCall) -> Answer:
        reference = any_version(call)
        update = RuntimeUpdate(
            update_on=call.params["UpdateRuntimeOn"], runtime_version_arn=call.params.get("RuntimeVersionArn")
        )
        await self._management.put(reference, update)
        return Answer(members=_show(update, reference))


def _show(update: RuntimeUpdate, reference: FunctionReference) -> dict[str, Any]:
    shown = {"UpdateRuntimeOn": update.update_on, "FunctionArn": reference.arn}
    if update.runtime_version_arn is not None:
        shown["RuntimeVersionArn"] = update.runtime_version_arn
    return shown
