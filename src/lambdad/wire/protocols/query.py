"""The query protocol of SNS, IAM, STS and older SQS clients: a flattened form in, XML out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from lambdad.http.messages import Request, Response
from lambdad.wire.protocols import json_values, timestamps, xml
from lambdad.wire.protocols.errors import SerializationFailed, UnknownOperation
from lambdad.wire.protocols.model import Member, Operation, ServiceModel, Shape
from lambdad.wire.service import Answer

CONTENT_TYPE = "text/xml"
MAX_FIELDS = 100_000


class InvalidFormValue(SerializationFailed):
    """A value of the form is not of its member's type (AWS: MalformedInput)."""


class Query:
    """The codec of one query service."""

    name = "query"

    def __init__(self, model: ServiceModel) -> None:
        self.model = model

    def find(self, request: Request) -> tuple[Operation, dict[str, str]]:
        """The operation named by `Action`, and the whole form. Raises UnknownOperation."""
        form = form_of(request)
        action = form.get("Action", "")
        operation = self.model.operations.get(action)
        if operation is None:
            version = form.get("Version", self.model.version)
            raise UnknownOperation(f"Could not find operation {action or '<null>'} for version {version}")
        return operation, form

    def parse(self, operation: Operation, form: Mapping[str, str], _: Request) -> dict[str, Any]:
        """The parameters of a call by member. Raises SerializationFailed where a value is of another type."""
        if operation.input is None:
            return {}
        params = _structure(operation.input, _tree(form))
        return params if params is not None else {}

    def answer(self, operation: Operation, answer: Answer, request_id: str) -> Response:
        """The response of a call that succeeded: the result in its wrapper, then the request id."""
        out: list[str] = [f'<{operation.name}Response xmlns="{self.model.namespace}">']
        if operation.output is not None:
            out.append(f"<{operation.result_wrapper}>")
            xml.write_members(out, operation.output, answer.members)
            out.append(f"</{operation.result_wrapper}>")
        out.append(
            f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation.name}Response>"
        )
        headers = [("x-amzn-requestid", request_id), ("content-type", CONTENT_TYPE), *answer.headers]
        return Response(answer.status or 200, headers, "".join(out).encode("utf-8", "replace"))


def form_of(request: Request) -> dict[str, str]:
    """The fields of a form in the body, else those of the query string. Raises SerializationFailed."""
    source = request.body.decode("utf-8", "replace") if request.method == "POST" and request.body else request.query
    try:
        return dict(parse_qsl(source, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise SerializationFailed("The form has too many fields.") from None


# The form as a tree: `Entries.member.1.Id=a` is {"Entries": {"member": {"1": {"Id": "a"}}}}; "" holds a node's text.
Tree = dict[str, Any]


def _tree(form: Mapping[str, str]) -> Tree:
    root: Tree = {}
    for name, text in form.items():
        parts = name.split(".")
        if len(parts) > 64 or "" in parts:  # no model nests so deep, and "" is where a node keeps its text
            continue
        node = root
        for part in parts:
            node = node.setdefault(part, {})
        node[""] = text
    return root


def _structure(shape: Shape, tree: Tree) -> dict[str, Any] | None:
    params: dict[str, Any] = {}
    for member in shape.members.values():
        branch = tree.get(member.wire_name)
        if branch is not None:
            value = _value(member, member.shape, branch)
            if value is not None:
                params[member.name] = value
    return params


def _value(member: Member, shape: Shape, tree: Tree) -> Any:
    if shape.kind == "structure":
        return _structure(shape, tree)
    if shape.kind == "list":
        return _list(member, shape, tree)
    if shape.kind == "map":
        return _map(member, shape, tree)
    text = tree.get("")
    return None if text is None else _scalar(member, shape, text)


def _list(member: Member, shape: Shape, tree: Tree) -> list[Any] | None:
    assert shape.element is not None
    # Clients disagree on the name between the list and its number, so any of the three is taken.
    items = tree.get(shape.item_name) or tree.get("member") or tree
    numbers = sorted(int(key) for key in items if key.isascii() and key.isdigit())
    if not numbers and tree.get("") != "":
        return None
    return [_value(member, shape.element, items[str(number)]) for number in numbers if str(number) in items]


def _map(member: Member, shape: Shape, tree: Tree) -> dict[str, Any] | None:
    assert shape.element is not None
    items = tree.get("entry") or tree
    numbers = sorted(int(key) for key in items if key.isascii() and key.isdigit())
    if not numbers and tree.get("") != "":
        return None
    found: dict[str, Any] = {}
    for number in numbers:
        entry = items.get(str(number), {})
        key = entry.get(shape.key_name, entry.get("key", {})).get("")
        value = entry.get(shape.value_name, entry.get("value"))
        if key is not None:
            found[key] = None if value is None else _value(member, shape.element, value)
    return found


def _scalar(member: Member, shape: Shape, text: str) -> Any:
    kind = shape.kind
    try:
        if kind in ("integer", "long"):
            return json_values.decode(shape, int(text))
        if kind in ("float", "double"):
            return float(text)
        if kind == "boolean":
            return {"true": True, "false": False}[text.lower()]
        if kind == "blob":
            return base64.b64decode(text, validate=True)
        if kind == "timestamp":
            return timestamps.parse(text)
    except (ValueError, KeyError, binascii.Error, SerializationFailed):
        raise InvalidFormValue(f"Value ({text}) for parameter {member.name} is invalid.") from None
    return text
