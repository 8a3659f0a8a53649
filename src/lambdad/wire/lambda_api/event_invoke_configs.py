"""Settings of asynchronous invocation on the wire."""

from __future__ import annotations

from typing import Any

from lambdad.control.event_invoke_configs import EventInvokeChange, EventInvokeConfigs
from lambdad.domain.events import EventInvokeConfig
from lambdad.wire.lambda_api.references import any_version
from lambdad.wire.service import Answer, ApiCall, Handler


class EventInvokeConfigsApi:
    """Put to List of FunctionEventInvokeConfig."""

    def __init__(self, configs: EventInvokeConfigs) -> None:
        self._configs = configs

    def handlers(self) -> dict[str, Handler]:
        return {
            "PutFunctionEventInvokeConfig": self.put,
            "UpdateFunctionEventInvokeConfig": self.update,
            "GetFunctionEventInvokeConfig": self.get,
            "DeleteFunctionEventInvokeConfig": self.delete,
            "ListFunctionEventInvokeConfigs": self.list,
        }

    async def put(self, call: ApiCall) -> Answer:
        return Answer(members=show(await self._configs.put(_parse(call))))

    async def update(self, call: ApiCall) -> Answer:
        return Answer(members=show(await self._configs.update(_parse(call))))

    async def get(self, call: ApiCall) -> Answer:
        return Answer(members=show(await self._configs.get(any_version(call))))

    async def delete(self, call: ApiCall) -> Answer:
        await self._configs.delete(any_version(call))
        return Answer(status=204)

    async def list(self, call: ApiCall) -> Answer:
        page = await self._configs.list(
            any_version(call), marker=call.params.get("Marker"), max_items=call.params.get("MaxItems")
        )
        shown = [show(config) for config in page.items]
        next_marker = {"NextMarker": page.next_marker} if page.next_marker else {}
        return Answer(members={"FunctionEventInvokeConfigs": shown, **next_marker})


def show(config: EventInvokeConfig) -> dict[str, Any]:
    """FunctionEventInvokeConfig; DestinationConfig has both sides always (AWS: recorded 2025-11)."""
    shown: dict[str, Any] = {
        "LastModified": config.last_modified,
        "FunctionArn": config.function_arn,
        "DestinationConfig": {
            "OnSuccess": _side(config.destinations.on_success),
            "OnFailure": _side(config.destinations.on_failure),
        },
    }
    if config.maximum_retry_attempts is not None:
        shown["MaximumRetryAttempts"] = config.maximum_retry_attempts
    if config.maximum_event_age_s is not None:
        shown["MaximumEventAgeInSeconds"] = config.maximum_event_age_s
    return shown


def _side(arn: str | None) -> dict[str, str]:
    return {"Destination": arn} if arn else {}


def _parse(call: ApiCall) -> EventInvokeChange:
    params = call.params
    destinations = params.get("DestinationConfig") or {}
    return EventInvokeChange(
        reference=any_version(call),
        maximum_retry_attempts=params.get("MaximumRetryAttempts"),
        maximum_event_age_s=params.get("MaximumEventAgeInSeconds"),
        on_success=_destination(destinations.get("OnSuccess")),
        on_failure=_destination(destinations.get("OnFailure")),
    )


def _destination(side: dict[str, Any] | None) -> str | None:
    """None when the side is not given; `OnFailure: {}` is given, and clears."""
    return None if side is None else side.get("Destination") or ""
