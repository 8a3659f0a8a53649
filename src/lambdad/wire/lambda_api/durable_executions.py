"""Durable executions, of which there are none: functions with DurableConfig are not offered.

What asks for one is answered as for one that does not exist.
"""

from __future__ import annotations

from lambdad.control.functions import Functions
from lambdad.domain.errors import InvalidParameterValue, ResourceNotFound
from lambdad.wire.lambda_api.references import any_version
from lambdad.wire.service import Answer, ApiCall, Handler

_ON_EXECUTIONS = (
    "DeleteDurableExecution", "GetDurableExecution", "GetDurableExecutionHistory", "PauseDurableExecution",
    "ResumeDurableExecution", "StopDurableExecution",
)  # fmt: skip
_ON_CALLBACKS = (
    "SendDurableExecutionCallbackFailure", "SendDurableExecutionCallbackHeartbeat",
    "SendDurableExecutionCallbackSuccess",
)  # fmt: skip

_OF_RUNTIMES = ("CheckpointDurableExecution", "GetDurableExecutionState")

REFUSED = frozenset({*_OF_RUNTIMES, *_ON_EXECUTIONS, *_ON_CALLBACKS})


class DurableExecutionsApi:
    """CheckpointDurableExecution to StopDurableExecution."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def handlers(self) -> dict[str, Handler]:
        return {
            "ListDurableExecutionsByFunction": self.list,
            **dict.fromkeys(_OF_RUNTIMES, self.go_on),
            **dict.fromkeys(_ON_EXECUTIONS, self.find),
            **dict.fromkeys(_ON_CALLBACKS, self.find_callback),
        }

    async def list(self, call: ApiCall) -> Answer:
        await self._functions.find(any_version(call))
        return Answer(members={"DurableExecutions": []})

    async def find(self, call: ApiCall) -> Answer:
        raise ResourceNotFound(_missing(call))

    async def find_callback(self, _: ApiCall) -> Answer:
        raise ResourceNotFound("There is no such callback: this server does not offer durable functions.")

    async def go_on(self, call: ApiCall) -> Answer:
        """What a function calls while it runs; these have no ResourceNotFoundException (botocore model)."""
        raise InvalidParameterValue(_missing(call))


def _missing(call: ApiCall) -> str:
    arn = call.params["DurableExecutionArn"]
    return f"Durable execution not found: {arn}. This server does not offer durable functions."
