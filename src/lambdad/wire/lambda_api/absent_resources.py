"""What clients ask of every function although it has none of it: a code signing configuration, a resource policy."""

from __future__ import annotations

from lambdad.control.functions import Functions
from lambdad.domain.errors import ResourceNotFound
from lambdad.wire.lambda_api.references import any_version, function_only
from lambdad.wire.service import Answer, ApiCall, Handler


class AbsentResourcesApi:
    """GetFunctionCodeSigningConfig and GetPolicy, as AWS answers them for functions without either."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def handlers(self) -> dict[str, Handler]:
        return {"GetFunctionCodeSigningConfig": self.get_code_signing, "GetPolicy": self.get_policy}

    async def get_code_signing(self, call: ApiCall) -> Answer:
        """200 with no member at all (AWS: recorded 2025-11)."""
        await self._functions.find(function_only(call))
        return Answer()

    async def get_policy(self, call: ApiCall) -> Answer:
        """The same refusal whether the function is missing or its policy (AWS: recorded 2025-11)."""
        any_version(call)
        raise ResourceNotFound("The resource you requested does not exist.")
