"""Capacity providers and scaling configurations: functions on EC2 instances, of which this server has none.

What asks for one that exists is answered as AWS answers for an account without any; what would make one is refused.
"""

from __future__ import annotations

from lambdad.control.functions import Functions
from lambdad.domain.errors import InvalidParameterValue, ResourceNotFound
from lambdad.wire.lambda_api.references import any_version
from lambdad.wire.service import Answer, ApiCall, Handler

_ONLY_INSTANCES = (
    "Capacity providers are not offered by this server, since they run functions on EC2 instances. "
    "Create functions without CapacityProviderConfig: they run on this machine."
)
_NO_SCALING = (
    "The function has no capacity provider, so it has no scaling configuration. "
    "Use PutFunctionConcurrency and PutProvisionedConcurrencyConfig."
)

REFUSED = frozenset({
    "CreateCapacityProvider", "DeleteCapacityProvider", "GetCapacityProvider", "GetFunctionScalingConfig",
    "ListFunctionVersionsByCapacityProvider", "PutFunctionScalingConfig", "UpdateCapacityProvider",
})  # fmt: skip


class ManagedInstancesApi:
    """CreateCapacityProvider to PutFunctionScalingConfig."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreateCapacityProvider": self.create,
            "DeleteCapacityProvider": self.find,
            "GetCapacityProvider": self.find,
            "ListCapacityProviders": self.list,
            "ListFunctionVersionsByCapacityProvider": self.find,
            "UpdateCapacityProvider": self.find,
            "GetFunctionScalingConfig": self.scaling,
            "PutFunctionScalingConfig": self.scaling,
        }

    async def create(self, _: ApiCall) -> Answer:
        raise InvalidParameterValue(_ONLY_INSTANCES)

    async def find(self, call: ApiCall) -> Answer:
        """None is ever found (AWS: recorded 2025-11, the text for tags of one)."""
        name: str = call.params["CapacityProviderName"]
        arn = name if ":" in name else capacity_provider_arn(call, name)
        raise ResourceNotFound(f"Capacity provider not found: {arn}")

    async def list(self, _: ApiCall) -> Answer:
        return Answer(members={"CapacityProviders": []})

    async def scaling(self, call: ApiCall) -> Answer:
        await self._functions.find(any_version(call))
        raise InvalidParameterValue(_NO_SCALING)


def capacity_provider_arn(call: ApiCall, name: str) -> str:
    return f"arn:aws:lambda:{call.caller.region}:{call.caller.account}:capacity-provider:{name}"
