"""What clients ask of every function although it has none of it: a code signing configuration."""

from __future__ import annotations

from lambdad.control.functions import Functions
from lambdad.wire.lambda_api.references import function_only
from lambdad.wire.service import Answer, ApiCall, Handler


class AbsentResourcesApi:
    """GetFunctionCodeSigningConfig, as AWS answers it for functions without one."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def handlers(self) -> dict[str, Handler]:
        return {"GetFunctionCodeSigningConfig": self.get_code_signing}

    async def get_code_signing(self, call: ApiCall) -> Answer:
        """200 with no member at all (AWS: recorded 2025-11)."""
        await self._functions.find(function_only(call))
        return Answer()
