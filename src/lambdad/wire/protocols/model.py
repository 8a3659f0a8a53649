"""Service models, compiled from botocore's descriptions to small tables.

A description is read once for a service, compiled and dropped: documentation makes up most of it. Only operations that
are offered get their shapes; of the others the names and routes stay, so that a call of one is answered clearly.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import botocore

from lambdad.wire.protocols import corrections

SCALARS = frozenset({"string", "integer", "long", "float", "double", "boolean", "timestamp", "blob"})


class UnknownModel(LookupError):
    """botocore has no description of the service."""


class Shape:
    """A type of the model. Only what its kind needs is set."""

    __slots__ = (
        "element", "enum", "enum_beyond", "flattened", "item_name", "key", "key_name", "kind", "maximum", "members",
        "minimum", "name", "non_null_elements", "pattern", "plain", "sensitive", "timestamp_format", "value_name",
        "wire_members",
    )  # fmt: skip

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.minimum: float | None = None
        self.maximum: float | None = None
        self.pattern: str | None = None
        self.enum: tuple[str, ...] = ()
        self.enum_beyond: frozenset[str] = frozenset()
        """Values that are taken although the text of a refusal does not list them."""
        self.sensitive = False
        self.timestamp_format: str | None = None
        self.members: dict[str, Member] = {}
        """Of a structure, by name, in the model's order."""
        self.wire_members: dict[str, Member] = {}
        """Of a structure, by the name in its body."""
        self.element: Shape | None = None
        """Elements of a list, values of a map."""
        self.key: Shape | None = None
        self.flattened = False
        self.item_name = "member"
        self.key_name = "key"
        self.value_name = "value"
        self.non_null_elements = True
        """Whether the constraints that AWS prints for elements end with `Member must not be null`."""
        self.plain = False
        """A scalar that JSON holds as it is, with no base64 and no time format."""

    def __repr__(self) -> str:
        return f"Shape({self.name}: {self.kind})"


class Member:
    """A member of a structure."""

    __slots__ = ("location", "name", "path_name", "required", "shape", "timestamp_format", "wire_name")

    def __init__(self, name: str, shape: Shape, location: str, wire_name: str, required: bool) -> None:
        self.name = name
        self.shape = shape
        self.location = location
        """`body`, `uri`, `querystring`, `header`, `headers`, `statusCode` or `payload`."""
        self.wire_name = wire_name
        self.required = required
        self.path_name = name[:1].lower() + name[1:]
        """As AWS prints it in paths of validation errors: `functionName`, `kMSKeyArn`."""
        self.timestamp_format: str | None = None


class Operation:
    """An operation; without handler in this server only its name and route are known (`offered` is False)."""

    __slots__ = ("input", "method", "name", "offered", "output", "path", "query", "result_wrapper", "status")

    def __init__(self, name: str, http: dict[str, Any], offered: bool) -> None:
        self.name = name
        self.offered = offered
        self.method: str = http.get("method", "POST")
        uri: str = http.get("requestUri", "/")
        self.path, _, self.query = uri.partition("?")
        self.status: int = http.get("responseCode", 200)
        self.input: Shape | None = None
        self.output: Shape | None = None
        self.result_wrapper = f"{name}Result"


class ErrorShape:
    """An error of the model: its code in query protocols and its status."""

    __slots__ = ("code", "fault", "name", "status")

    def __init__(self, name: str, code: str, status: int, fault: bool) -> None:
        self.name = name
        self.code = code
        self.status = status
        self.fault = fault


class ServiceModel:
    """A compiled service."""

    __slots__ = (
        "endpoint_prefix", "errors", "json_version", "name", "namespace", "operations", "protocol", "query_compatible",
        "target_prefix", "title", "version",
    )  # fmt: skip

    def __init__(self, name: str, metadata: dict[str, Any]) -> None:
        self.name = name
        self.protocol: str = metadata["protocol"]
        """`rest-json`, `json` or `query` (of those that this server speaks)."""
        self.version: str = metadata["apiVersion"]
        self.title: str = metadata.get("serviceAbbreviation") or metadata["serviceFullName"]
        self.endpoint_prefix: str = metadata["endpointPrefix"]
        self.json_version: str = metadata.get("jsonVersion", "1.1")
        self.target_prefix: str = metadata.get("targetPrefix", "")
        self.namespace: str = metadata.get("xmlNamespace", "")
        self.query_compatible = "awsQueryCompatible" in metadata
        """JSON errors carry the old query code in the header `x-amzn-query-error`."""
        self.operations: dict[str, Operation] = {}
        self.errors: dict[str, ErrorShape] = {}
        """By the name of the shape."""


@lru_cache(maxsize=256)
def compiled_pattern(pattern: str) -> re.Pattern[str] | None:
    """A constraint of the model as a Python expression; None when Python cannot express it, then it is not checked."""
    flags = re.ASCII
    if r"\p{" in pattern:
        # Java's classes of letters and digits; \w also takes the underscore, which is never refused by mistake.
        for java, ours in ((r"\p{L}", r"\w"), (r"\p{N}", r"\w"), (r"\p{Z}", r"\s"), (r"\p{M}", ""), (r"\p{S}", "")):
            pattern = pattern.replace(java, ours)
        flags = re.UNICODE
    pattern = pattern.replace(r"[\w-_", r"[\w\-_")
    try:
        return re.compile(pattern, flags)
    except re.error:
        return None


def load(service: str, operations: Collection[str] | None = None) -> ServiceModel:
    """Compiles a service of botocore, with the shapes of `operations` (None: of all). Raises UnknownModel."""
    return compile_model(service, _description(service), operations)


def _description(service: str) -> dict[str, Any]:
    # Reading the file ourselves spares the import of botocore's loader and session: 120 ms and 170 modules.
    folder = Path(botocore.__file__).parent / "data" / service
    versions = sorted((entry.name for entry in folder.iterdir()), reverse=True) if folder.is_dir() else []
    for version in versions:
        packed, plain = folder / version / "service-2.json.gz", folder / version / "service-2.json"
        if packed.is_file():
            return _object(gzip.decompress(packed.read_bytes()))
        if plain.is_file():
            return _object(plain.read_bytes())
    raise UnknownModel(f"botocore has no description of the service {service!r}")


def _object(text: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    return value


def compile_model(service: str, description: dict[str, Any], operations: Collection[str] | None) -> ServiceModel:
    """Compiles one description; see `load`."""
    model = ServiceModel(service, {**description["metadata"], **corrections.METADATA.get(service, {})})
    compiler = _Compiler(service, description["shapes"])
    for name, source in description["operations"].items():
        offered = operations is None or name in operations
        operation = Operation(name, source.get("http", {}), offered)
        if offered:
            operation.input = compiler.top(source.get("input"), corrections.members(service, name))
            if operation.input is not None:
                _reorder(operation.input, corrections.order(service, name))
            operation.output = compiler.top(source.get("output"), {})
            operation.result_wrapper = source.get("output", {}).get("resultWrapper", operation.result_wrapper)
        model.operations[name] = operation
    model.errors = {error.name: error for error in compiler.errors()}
    return model


def _reorder(shape: Shape, first: tuple[str, ...]) -> None:
    for name in [name for name in shape.members if name not in first] if first else ():
        shape.members[name] = shape.members.pop(name)


class _Compiler:
    def __init__(self, service: str, shapes: dict[str, dict[str, Any]]) -> None:
        self._corrections = corrections.shapes(service)
        self._sources = shapes
        self._shapes: dict[str, Shape] = {}

    def errors(self) -> Iterable[ErrorShape]:
        for name in {**self._sources, **self._corrections}:
            source = {**self._sources.get(name, {}), **self._corrections.get(name, {})}
            if source.get("exception") or "error" in source:
                error = source.get("error", {})
                fault = bool(source.get("fault"))
                yield ErrorShape(
                    name, error.get("code", name), error.get("httpStatusCode", 500 if fault else 400), fault
                )

    def top(self, reference: dict[str, Any] | None, members: dict[str, str]) -> Shape | None:
        """The input or output of an operation. `members` gives some of them another shape than the model does."""
        if reference is None:
            return None
        if not members:
            return self._shape(reference["shape"])
        return self._structure(reference["shape"], Shape(reference["shape"], "structure"), members)

    def _shape(self, name: str) -> Shape:
        known = self._shapes.get(name)
        if known is not None:
            return known
        source = {**self._sources.get(name, {}), **self._corrections.get(name, {})}
        kind: str = source["type"]
        shape = Shape(name, {"character": "string", "short": "integer", "bigdecimal": "double"}.get(kind, kind))
        self._shapes[name] = shape  # before its parts: shapes refer to themselves
        shape.minimum, shape.maximum = source.get("min"), source.get("max")
        shape.pattern = source.get("pattern")
        shape.enum = tuple(source.get("enum", ()))
        shape.enum_beyond = frozenset(source.get("enum_beyond", ()))
        shape.sensitive = bool(source.get("sensitive"))
        shape.timestamp_format = source.get("timestampFormat")
        shape.flattened = bool(source.get("flattened"))
        shape.non_null_elements = not source.get("elements_may_be_null", False)
        shape.plain = kind in SCALARS and kind not in ("timestamp", "blob")
        if kind == "structure":
            self._structure(name, shape, {})
        elif kind == "list":
            shape.element = self._shape(source["member"]["shape"])
            shape.item_name = source["member"].get("locationName", "member")
        elif kind == "map":
            shape.key, shape.element = self._shape(source["key"]["shape"]), self._shape(source["value"]["shape"])
            shape.key_name = source["key"].get("locationName", "key")
            shape.value_name = source["value"].get("locationName", "value")
        return shape

    def _structure(self, name: str, shape: Shape, replaced: dict[str, str]) -> Shape:
        source = self._sources[name]
        required = frozenset(source.get("required", ()))
        payload = source.get("payload")
        for member_name, reference in source.get("members", {}).items():
            member_shape = self._shape(replaced.get(member_name, reference["shape"]))
            location = "payload" if member_name == payload else reference.get("location", "body")
            wire_name = reference.get("locationName", member_name)
            member = Member(member_name, member_shape, location, wire_name, member_name in required)
            member.timestamp_format = reference.get("timestampFormat") or member_shape.timestamp_format
            if location == "header":
                member.wire_name = wire_name.lower()
            shape.members[member_name] = member
            if location == "body":
                shape.wire_members[wire_name] = member
        return shape
