"""rest-json, the protocol of Lambda: members in path, query string, headers and a JSON body."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from lambdad.http.messages import Request, Response
from lambdad.wire.protocols import json_values, timestamps
from lambdad.wire.protocols.errors import SerializationFailed
from lambdad.wire.protocols.model import Member, Operation, ServiceModel
from lambdad.wire.protocols.routes import Router
from lambdad.wire.service import Answer

CONTENT_TYPE = "application/json"


class RestJson:
    """The codec of one rest-json service."""

    name = "rest-json"

    def __init__(self, model: ServiceModel) -> None:
        self.model = model
        self._router = Router(model)

    def find(self, request: Request) -> tuple[Operation, dict[str, str]]:
        """The operation of a request and the labels in its path. Raises UnknownOperation."""
        return self._router.find(request.method, request.path, request.query)

    def parse(self, operation: Operation, labels: Mapping[str, str], request: Request) -> dict[str, Any]:
        """The parameters of a call by member. Raises SerializationFailed where a value is of another type."""
        params: dict[str, Any] = {}
        shape = operation.input
        if shape is None:
            return params
        query = parse_qs(request.query, keep_blank_values=True) if request.query else {}
        for member in shape.members.values():
            value: Any = None
            if member.location == "uri":
                value = _from_text(member, labels[member.wire_name])
            elif member.location == "querystring":
                value = _from_query(member, query)
            elif member.location in ("header", "headers"):
                value = _from_headers(member, request.headers)
            elif member.location == "payload":
                value = _from_payload(member, request.body)
            if value is not None:
                params[member.name] = value
        if shape.wire_members:
            params.update(json_values.decode(shape, json_values.load_object(request.body)))
        return params

    def answer(self, operation: Operation, answer: Answer, request_id: str) -> Response:
        """The response of a call that succeeded."""
        status = answer.status or operation.status
        headers = [("x-amzn-requestid", request_id), *answer.headers]
        shape = operation.output
        body = b""
        if shape is not None:
            for name, value in answer.members.items():
                member = shape.members.get(name)
                if member is None or value is None:
                    continue
                if member.location == "header":
                    headers.append((member.wire_name, _header_text(member, value)))
                elif member.location == "headers":
                    headers.extend((member.wire_name + key, text) for key, text in value.items())
                elif member.location == "payload":
                    body = _payload(member, value)
            if shape.wire_members or not shape.members:
                body = json_values.dump(json_values.encode_members(shape.members, answer.members))
        if status == 204:
            return Response(status, headers, b"")
        headers.append(("content-type", CONTENT_TYPE))
        return Response(status, headers, body)


def _from_query(member: Member, query: Mapping[str, list[str]]) -> Any:
    shape = member.shape
    if shape.kind == "map":
        taken = {name: values for name, values in query.items() if values}
        assert shape.element is not None
        return {name: values if shape.element.kind == "list" else values[0] for name, values in taken.items()}
    values = query.get(member.wire_name)
    if values is None:
        return None
    if shape.kind == "list":
        element = Member(member.name, _element(member), member.location, member.wire_name, False)
        return [_from_text(element, text) for text in values]
    return _from_text(member, values[0])


def _from_headers(member: Member, headers: Mapping[str, str]) -> Any:
    if member.location == "headers":
        prefix = member.wire_name.lower()
        found = {name[len(prefix) :]: text for name, text in headers.items() if name.startswith(prefix)}
        return found or None
    text = headers.get(member.wire_name)
    if text is None:
        return None
    if member.shape.kind == "list":
        element = Member(member.name, _element(member), member.location, member.wire_name, False)
        return [_from_text(element, part.strip()) for part in text.split(",")]
    return _from_text(member, text)


def _from_payload(member: Member, body: bytes) -> Any:
    if member.shape.kind == "blob":
        return body if body else None
    if member.shape.kind == "string":
        return body.decode("utf-8", "replace") if body else None
    return json_values.decode(member.shape, json_values.load_object(body)) if body else None


def _element(member: Member) -> Any:
    assert member.shape.element is not None
    return member.shape.element


def _from_text(member: Member, text: str) -> Any:
    kind = member.shape.kind
    try:
        if kind in ("integer", "long"):
            return json_values.decode(member.shape, int(text))
        if kind in ("float", "double"):
            return float(text)
        if kind == "boolean":
            return {"true": True, "false": False}[text.lower()]
        if kind == "timestamp":
            return timestamps.parse(text)
        if kind == "blob":
            return base64.b64decode(text, validate=True)
    except (ValueError, KeyError, binascii.Error):
        article = "an Integer" if kind == "integer" else f"a {kind.capitalize()}"
        raise SerializationFailed(f"STRING_VALUE can not be converted to {article}") from None
    return text


def _header_text(member: Member, value: Any) -> str:
    kind = member.shape.kind
    if kind == "timestamp":
        return timestamps.to_text(value, member.timestamp_format or timestamps.HTTP_DATE)
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "blob":
        return base64.b64encode(value).decode("ascii")
    if kind == "list":
        return ", ".join(str(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def _payload(member: Member, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return json_values.dump(json_values.encode(member.shape, value))
