"""Subscription filters of CloudWatch Logs on the wire."""

from __future__ import annotations

from typing import Any

from lambdad.domain.log_subscriptions import SubscriptionFilter
from lambdad.domain.logs import LogGroup
from lambdad.neighbours.logs.errors import invalid_parameter
from lambdad.neighbours.logs.service import LogService
from lambdad.wire.service import Answer, ApiCall

_NOT_OFFERED = ("applyOnTransformedLogs", "fieldSelectionCriteria", "emitSystemFields")


class SubscriptionFilters:
    """PutSubscriptionFilter to DeleteSubscriptionFilter."""

    def __init__(self, logs: LogService) -> None:
        self._groups = logs.groups
        self._subscriptions = logs.subscriptions

    async def put(self, call: ApiCall) -> Answer:
        params = call.params
        for member in _NOT_OFFERED:
            if params.get(member):
                raise invalid_parameter(f"{member} is not offered by this server.")
        wanted = SubscriptionFilter(
            name=params["filterName"],
            pattern=params["filterPattern"],
            destination=params["destinationArn"],
            distribution=params.get("distribution") or "ByLogStream",
        )
        await self._subscriptions.put(await self._group(call), wanted, role=params.get("roleArn"))
        return Answer()

    async def describe(self, call: ApiCall) -> Answer:
        params = call.params
        group = await self._group(call)
        filters, token = await self._subscriptions.listing(
            group, prefix=params.get("filterNamePrefix"), token=params.get("nextToken"), limit=params.get("limit")
        )
        members: dict[str, Any] = {"subscriptionFilters": [_shown(group, one) for one in filters]}
        return Answer(members=members if token is None else {**members, "nextToken": token})

    async def delete(self, call: ApiCall) -> Answer:
        await self._subscriptions.delete(await self._group(call), call.params["filterName"])
        return Answer()

    async def _group(self, call: ApiCall) -> LogGroup:
        return await self._groups.find(call.caller.account, call.caller.region, call.params["logGroupName"])


def _shown(group: LogGroup, one: SubscriptionFilter) -> dict[str, Any]:
    return {
        "filterName": one.name,
        "logGroupName": group.name,
        "filterPattern": one.pattern,
        "destinationArn": one.destination,
        "distribution": one.distribution,
        "applyOnTransformedLogs": False,
        "creationTime": one.created_ms,
    }
