"""Reserved concurrency on the wire."""

from __future__ import annotations

from lambdad.control.concurrency import Concurrency
from lambdad.wire.lambda_api.references import function_only
from lambdad.wire.service import Answer, ApiCall, Handler


class ConcurrencyApi:
    """PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency."""

    def __init__(self, concurrency: Concurrency) -> None:
        self._concurrency = concurrency

    def handlers(self) -> dict[str, Handler]:
        return {
            "PutFunctionConcurrency": self.put,
            "GetFunctionConcurrency": self.get,
            "DeleteFunctionConcurrency": self.delete,
        }

    async def put(self, call: ApiCall) -> Answer:
        executions: int = call.params["ReservedConcurrentExecutions"]
        await self._concurrency.reserve(function_only(call), executions)
        return Answer(members={"ReservedConcurrentExecutions": executions})

    async def get(self, call: ApiCall) -> Answer:
        reserved = await self._concurrency.reserved(function_only(call))
        return Answer(members={} if reserved is None else {"ReservedConcurrentExecutions": reserved})

    async def delete(self, call: ApiCall) -> Answer:
        await self._concurrency.release(function_only(call))
        return Answer(status=204)
