"""Aliases on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambdad.control.aliases import Aliases, CreateAlias, UpdateAlias
from lambdad.domain.functions import Alias
from lambdad.wire.lambda_api.references import function_only
from lambdad.wire.service import Answer, ApiCall, Handler


class AliasesApi:
    """CreateAlias to ListAliases."""

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreateAlias": self.create,
            "GetAlias": self.get,
            "UpdateAlias": self.update,
            "DeleteAlias": self.delete,
            "ListAliases": self.list,
        }

    async def create(self, call: ApiCall) -> Answer:
        alias = await self._aliases.create(
            CreateAlias(
                reference=function_only(call),
                name=call.params["Name"],
                function_version=call.params["FunctionVersion"],
                description=call.params.get("Description") or "",
                routing=_parse_routing(call.params) or {},
            )
        )
        return Answer(members=show(alias), status=201)

    async def get(self, call: ApiCall) -> Answer:
        return Answer(members=show(await self._aliases.get(function_only(call), call.params["Name"])))

    async def update(self, call: ApiCall) -> Answer:
        alias = await self._aliases.update(
            UpdateAlias(
                reference=function_only(call),
                name=call.params["Name"],
                function_version=call.params.get("FunctionVersion"),
                description=call.params.get("Description"),
                routing=_parse_routing(call.params),
                revision_id=call.params.get("RevisionId"),
            )
        )
        return Answer(members=show(alias))

    async def delete(self, call: ApiCall) -> Answer:
        await self._aliases.delete(function_only(call), call.params["Name"])
        return Answer(status=204)

    async def list(self, call: ApiCall) -> Answer:
        page = await self._aliases.list(
            function_only(call),
            function_version=call.params.get("FunctionVersion"),
            marker=call.params.get("Marker"),
            max_items=call.params.get("MaxItems"),
        )
        shown = [show(alias) for alias in page.items]
        return Answer(members={"Aliases": shown, **({"NextMarker": page.next_marker} if page.next_marker else {})})


def show(alias: Alias) -> dict[str, Any]:
    """AliasConfiguration; without RoutingConfig when there is no second version."""
    shown: dict[str, Any] = {
        "AliasArn": alias.arn,
        "Name": alias.name,
        "FunctionVersion": alias.function_version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    }
    if alias.routing:
        shown["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.routing)}
    return shown


def _parse_routing(params: Mapping[str, Any]) -> Mapping[str, float] | None:
    given = params.get("RoutingConfig")
    return None if given is None else given.get("AdditionalVersionWeights") or {}
