"""Provisioned concurrency on the wire."""

from __future__ import annotations

from typing import Any

from lambdad.control.provisioned_concurrency import Provisioned, ProvisionedConcurrency
from lambdad.wire.lambda_api.references import any_version
from lambdad.wire.service import Answer, ApiCall, Handler


class ProvisionedConcurrencyApi:
    """Put to List of ProvisionedConcurrencyConfig."""

    def __init__(self, provisioned: ProvisionedConcurrency) -> None:
        self._provisioned = provisioned

    def handlers(self) -> dict[str, Handler]:
        return {
            "PutProvisionedConcurrencyConfig": self.put,
            "GetProvisionedConcurrencyConfig": self.get,
            "DeleteProvisionedConcurrencyConfig": self.delete,
            "ListProvisionedConcurrencyConfigs": self.list,
        }

    async def put(self, call: ApiCall) -> Answer:
        executions: int = call.params["ProvisionedConcurrentExecutions"]
        return Answer(status=202, members=show(await self._provisioned.put(any_version(call), executions)))

    async def get(self, call: ApiCall) -> Answer:
        return Answer(members=show(await self._provisioned.get(any_version(call))))

    async def delete(self, call: ApiCall) -> Answer:
        await self._provisioned.delete(any_version(call))
        return Answer(status=204)

    async def list(self, call: ApiCall) -> Answer:
        page = await self._provisioned.list(
            any_version(call), marker=call.params.get("Marker"), max_items=call.params.get("MaxItems")
        )
        shown = [{"FunctionArn": one.config.arn, **show(one)} for one in page.items]
        next_marker = {"NextMarker": page.next_marker} if page.next_marker else {}
        return Answer(members={"ProvisionedConcurrencyConfigs": shown, **next_marker})


def show(provisioned: Provisioned) -> dict[str, Any]:
    """What all answers have in common; StatusReason only where there is one (AWS: recorded 2026-02)."""
    config, allocation = provisioned.config, provisioned.allocation
    shown: dict[str, Any] = {
        "RequestedProvisionedConcurrentExecutions": config.requested,
        "AvailableProvisionedConcurrentExecutions": allocation.allocated,
        "AllocatedProvisionedConcurrentExecutions": allocation.allocated,
        "Status": allocation.status.value,
        "LastModified": config.last_modified,
    }
    if allocation.reason is not None:
        shown["StatusReason"] = allocation.reason
    return shown
