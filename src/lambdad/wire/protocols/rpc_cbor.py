"""Smithy's RPC v2 with CBOR, which the newest SDKs for Go and Java speak to CloudWatch.

`POST /service/NAME/operation/OPERATION`, the header `smithy-protocol` on both sides, times as tag 1 (Smithy
specification, "Smithy RPC v2 CBOR protocol").
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from lambdad.http.messages import Request, Response
from lambdad.wire.protocols import cbor, json_values
from lambdad.wire.protocols.errors import SerializationFailed, UnknownOperation
from lambdad.wire.protocols.model import Member, Operation, ServiceModel, Shape
from lambdad.wire.service import Answer

PROTOCOL = "rpc-v2-cbor"
CONTENT_TYPE = "application/cbor"
HEADERS = (("smithy-protocol", PROTOCOL), ("content-type", CONTENT_TYPE))
NO_LABELS: dict[str, str] = {}


def is_cbor(request: Request) -> bool:
    """Whether a request speaks this protocol."""
    return request.headers.get("smithy-protocol") == PROTOCOL


class RpcCbor:
    """The codec of one service."""

    name = "cbor"

    def __init__(self, model: ServiceModel) -> None:
        self.model = model

    def find(self, request: Request) -> tuple[Operation, dict[str, str]]:
        """The operation that ends the path. Raises UnknownOperation."""
        before, _, name = request.path.rpartition("/operation/")
        operation = self.model.operations.get(name) if request.method == "POST" and "/service/" in before else None
        if operation is None:
            raise UnknownOperation(f"{self.model.title} has no operation at {request.method} {request.path}")
        return operation, NO_LABELS

    def parse(self, operation: Operation, _: Mapping[str, str], request: Request) -> dict[str, Any]:
        """The parameters of a call by member. Raises SerializationFailed."""
        if operation.input is None:
            return {}
        params: dict[str, Any] = json_values.decode(operation.input, members(request.body))
        return params

    def answer(self, operation: Operation, answer: Answer, request_id: str) -> Response:
        """The response of a call that succeeded."""
        encoded = {} if operation.output is None else structure(operation.output.members, answer.members)
        headers = [("x-amzn-requestid", request_id), *HEADERS, *answer.headers]
        return Response(answer.status or 200, headers, cbor.dump(encoded))


def members(body: bytes) -> dict[str, Any]:
    """A body as JSON would have it: times as seconds, bytes as base64. Raises SerializationFailed."""
    if not body:
        return {}
    try:
        value = _as_json(cbor.load(body))
    except cbor.NotCbor as error:
        raise SerializationFailed(f"Could not parse request body into CBOR: {error}") from None
    if not isinstance(value, dict):
        raise SerializationFailed("Unexpected value type in payload")
    return value


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.timestamp() if isinstance(value, datetime) else value


def as_json(request: Request, model: ServiceModel) -> Request:
    """The same call in JSON. Raises SerializationFailed."""
    headers = {name: text for name, text in request.headers.items() if name != "smithy-protocol"}
    headers["x-amz-target"] = f"{model.target_prefix}.{request.path.rpartition('/')[2]}"
    headers["content-type"] = f"application/x-amz-json-{model.json_version}"
    return replace(request, path="/", headers=headers, body=json_values.dump(members(request.body)))


def from_json(response: Response, output: Shape | None) -> Response:
    """The same answer in CBOR; `output` is what a call that succeeded answers."""
    found = json_values.load_object(response.body)
    if response.status < 300 and output is not None:
        found = structure(output.members, json_values.decode(output, found))
    kept = [(name, text) for name, text in response.headers if name.lower() not in ("content-type", "content-length")]
    return Response(response.status, [*kept, *HEADERS], cbor.dump(found))


def structure(shapes: Mapping[str, Member], values: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a structure in the form that `cbor` writes; None and unset ones are left out."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        member = shapes.get(name)
        if value is not None:
            found[name if member is None else member.wire_name] = (
                value if member is None else _value(member.shape, value)
            )
    return found


def _value(shape: Shape, value: Any) -> Any:
    if shape.kind == "structure":
        return structure(shape.members, value)
    if shape.kind in ("float", "double"):
        return float(value)
    if shape.element is None:
        return value
    if shape.kind == "list":
        return [_value(shape.element, item) for item in value]
    return {key: _value(shape.element, item) for key, item in value.items()}
