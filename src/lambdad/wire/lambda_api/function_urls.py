"""Function URLs in the Lambda API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lambdad.control.function_urls import FunctionUrls, UrlSettings
from lambdad.domain.arns import FunctionReference
from lambdad.domain.function_urls import Cors, FunctionUrl
from lambdad.wire.lambda_api.references import function_or_alias
from lambdad.wire.service import Answer, ApiCall, Handler

UrlAddress = Callable[[FunctionUrl], str]
"""The address at which clients reach a URL."""

_LISTS = {
    "AllowHeaders": "allow_headers",
    "AllowMethods": "allow_methods",
    "AllowOrigins": "allow_origins",
    "ExposeHeaders": "expose_headers",
}


class FunctionUrlsApi:
    """CreateFunctionUrlConfig to ListFunctionUrlConfigs."""

    def __init__(self, urls: FunctionUrls, address: UrlAddress) -> None:
        self._urls = urls
        self._address = address

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreateFunctionUrlConfig": self.create,
            "GetFunctionUrlConfig": self.get,
            "UpdateFunctionUrlConfig": self.update,
            "DeleteFunctionUrlConfig": self.delete,
            "ListFunctionUrlConfigs": self.list,
        }

    async def create(self, call: ApiCall) -> Answer:
        url = await self._urls.create(function_or_alias(call), _settings(call))
        return Answer(members=_shown(self._address(url), url, call, without="LastModifiedTime"), status=201)

    async def get(self, call: ApiCall) -> Answer:
        return Answer(members=self._show(await self._urls.get(function_or_alias(call))))

    async def update(self, call: ApiCall) -> Answer:
        url = await self._urls.update(function_or_alias(call), _settings(call))
        return Answer(members=_shown(self._address(url), url, call))

    async def delete(self, call: ApiCall) -> Answer:
        await self._urls.delete(function_or_alias(call))
        return Answer(status=204)

    async def list(self, call: ApiCall) -> Answer:
        page = await self._urls.list(
            _unqualified(function_or_alias(call)),
            marker=call.params.get("Marker"),
            max_items=call.params.get("MaxItems"),
        )
        next_marker = {"NextMarker": page.next_marker} if page.next_marker else {}
        return Answer(members={"FunctionUrlConfigs": [self._show(url) for url in page.items], **next_marker})

    def _show(self, url: FunctionUrl) -> dict[str, Any]:
        return show(url, self._address(url))


def show(url: FunctionUrl, address: str) -> dict[str, Any]:
    """FunctionUrlConfig."""
    shown: dict[str, Any] = {
        "FunctionUrl": address,
        "FunctionArn": url.reference.arn,
        "AuthType": url.auth_type,
        "CreationTime": url.created,
        "LastModifiedTime": url.last_modified,
        "InvokeMode": url.invoke_mode,
    }
    if url.cors is not None:
        shown["Cors"] = _show_cors(url.cors)
    return shown


def _shown(address: str, url: FunctionUrl, call: ApiCall, *, without: str = "") -> dict[str, Any]:
    """What a change is answered with: the invoke mode only if it was given (AWS: recorded 2025-11)."""
    left_out = {without} if call.params.get("InvokeMode") is not None else {without, "InvokeMode"}
    return {name: value for name, value in show(url, address).items() if name not in left_out}


def _settings(call: ApiCall) -> UrlSettings:
    params = call.params
    return UrlSettings(
        auth_type=params.get("AuthType"),
        cors=_parse_cors(params["Cors"]) if params.get("Cors") is not None else None,
        invoke_mode=params.get("InvokeMode"),
    )


def _parse_cors(given: Mapping[str, Any]) -> Cors:
    lists = {field: tuple(given[name]) for name, field in _LISTS.items() if given.get(name) is not None}
    return Cors(allow_credentials=given.get("AllowCredentials"), max_age_s=given.get("MaxAge"), **lists)


def _show_cors(cors: Cors) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "AllowCredentials": cors.allow_credentials,
        "MaxAge": cors.max_age_s,
        **{name: getattr(cors, field) for name, field in _LISTS.items()},
    }
    given = {name: value for name, value in shown.items() if value is not None}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


def _unqualified(reference: FunctionReference) -> FunctionReference:
    return FunctionReference(reference.account, reference.region, reference.name)
