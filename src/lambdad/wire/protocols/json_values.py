"""JSON bodies to parameters and back, along the shapes of the model."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from lambdad.wire.protocols import timestamps
from lambdad.wire.protocols.errors import SerializationFailed
from lambdad.wire.protocols.model import Member, Shape

_JAVA_RANGE = {"integer": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}


def load(body: bytes) -> Any:
    """The JSON of a body. Raises SerializationFailed for anything that is not JSON, also NaN and too deep nesting."""
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        # UnicodeDecodeError and integers of thousands of digits are ValueErrors too.
        raise SerializationFailed("Could not parse request body into json.") from None


def load_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; an empty body is an empty object. Raises SerializationFailed."""
    if not body:
        return {}
    value = load(body)
    if type(value) is not dict:
        raise SerializationFailed(_unexpected(value))
    return value


def dump(value: Any) -> bytes:
    """Compact JSON in UTF-8. Texts that UTF-8 cannot hold (lone surrogates) are escaped."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


# --- bodies to parameters ---


def decode(shape: Shape, value: Any) -> Any:
    """A value of JSON as the shape's value. Members that the shape lacks are ignored, as AWS does.

    Raises SerializationFailed in AWS's words for a value of another type. None inside lists and maps is kept: the
    constraints of the model refuse it.
    """
    return _DECODERS[shape.kind](shape, value)


def _decode_string(_: Shape, value: Any) -> str:
    if type(value) is str:
        return value
    raise SerializationFailed(_mismatch(value, "String"))


def _decode_integer(shape: Shape, value: Any) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int:
        low, high = _JAVA_RANGE[shape.kind]
        if low <= value <= high:
            return value
    raise SerializationFailed(_mismatch(value, shape.kind.capitalize()))


def _decode_double(shape: Shape, value: Any) -> float:
    if type(value) is float or type(value) is int:
        try:
            return float(value)
        except OverflowError:
            pass
    raise SerializationFailed(_mismatch(value, shape.kind.capitalize()))


def _decode_boolean(_: Shape, value: Any) -> bool:
    if type(value) is bool:
        return value
    raise SerializationFailed(_mismatch(value, "Boolean"))


def _decode_blob(_: Shape, value: Any) -> bytes:
    if type(value) is str:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise SerializationFailed("Invalid base64 data.") from None
    raise SerializationFailed(_mismatch(value, "Blob"))


def _decode_timestamp(_: Shape, value: Any) -> datetime:
    try:
        return timestamps.parse(value)
    except ValueError:
        raise SerializationFailed(_mismatch(value, "Timestamp")) from None


def _decode_list(shape: Shape, value: Any) -> list[Any]:
    if type(value) is not list:
        raise SerializationFailed("Expected list or null" if type(value) is not dict else _unexpected(value))
    element = shape.element
    assert element is not None
    decoder = _DECODERS[element.kind]
    return [None if item is None else decoder(element, item) for item in value]


def _decode_map(shape: Shape, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise SerializationFailed("Expected map or null" if type(value) is not list else _unexpected(value))
    element = shape.element
    assert element is not None
    decoder = _DECODERS[element.kind]
    return {key: None if item is None else decoder(element, item) for key, item in value.items()}


def _decode_structure(shape: Shape, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise SerializationFailed("Unexpected value type in payload" if type(value) is not list else _unexpected(value))
    params: dict[str, Any] = {}
    for wire_name, member in shape.wire_members.items():
        item = value.get(wire_name)
        if item is not None:
            params[member.name] = _DECODERS[member.shape.kind](member.shape, item)
    return params


_DECODERS: dict[str, Callable[[Shape, Any], Any]] = {
    "string": _decode_string,
    "integer": _decode_integer,
    "long": _decode_integer,
    "float": _decode_double,
    "double": _decode_double,
    "boolean": _decode_boolean,
    "blob": _decode_blob,
    "timestamp": _decode_timestamp,
    "list": _decode_list,
    "map": _decode_map,
    "structure": _decode_structure,
}


def _mismatch(value: Any, wanted: str) -> str:
    if type(value) is list or type(value) is dict:
        return _unexpected(value)
    found = {str: "STRING_VALUE", bool: "TRUE_VALUE" if value else "FALSE_VALUE"}.get(type(value), "NUMBER_VALUE")
    if type(value) is float:
        found = "DECIMAL_VALUE"
    article = "an" if wanted[0] in "AEIOU" else "a"
    return f"{found} can not be converted to {article} {wanted}"


def _unexpected(value: Any) -> str:
    if type(value) is list:
        return "Start of list found where not expected"
    if type(value) is dict:
        return "Start of structure or map found where not expected"
    return "Unexpected value type in payload"


# --- parameters to bodies ---


def encode(shape: Shape, value: Any) -> Any:
    """A shape's value in the form that `json` writes. Members that are None or unset are left out.

    Members that this botocore does not know pass as they are: the server may know more than an old model.
    """
    if shape.plain:
        return value
    return _ENCODERS[shape.kind](shape, value)


def encode_members(members: Mapping[str, Member], values: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a structure that belong into its body."""
    encoded: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            continue
        member = members.get(name)
        if member is None:
            encoded[name] = value
        elif member.location != "body":
            continue
        elif member.shape.plain:
            encoded[member.wire_name] = value
        elif member.timestamp_format is not None and member.shape.kind == "timestamp":
            encoded[member.wire_name] = _encode_moment(value, member.timestamp_format)
        else:
            encoded[member.wire_name] = _ENCODERS[member.shape.kind](member.shape, value)
    return encoded


def _encode_moment(value: datetime | str | float, form: str | None) -> Any:
    if not isinstance(value, datetime):
        return value
    if form in (None, timestamps.EPOCH_SECONDS):
        return timestamps.to_seconds(value)
    assert form is not None
    return timestamps.to_text(value, form)


def _encode_timestamp(shape: Shape, value: Any) -> Any:
    return _encode_moment(value, shape.timestamp_format)


def _encode_blob(_: Shape, value: Any) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode("ascii")


def _encode_list(shape: Shape, value: Any) -> list[Any]:
    element = shape.element
    assert element is not None
    if element.plain:
        return list(value)
    encoder = _ENCODERS[element.kind]
    return [encoder(element, item) for item in value]


def _encode_map(shape: Shape, value: Any) -> dict[str, Any]:
    element = shape.element
    assert element is not None
    if element.plain:
        return dict(value)
    encoder = _ENCODERS[element.kind]
    return {key: encoder(element, item) for key, item in value.items()}


def _encode_structure(shape: Shape, value: Any) -> dict[str, Any]:
    return encode_members(shape.members, value)


_ENCODERS: dict[str, Callable[[Shape, Any], Any]] = {
    **dict.fromkeys(("string", "integer", "long", "float", "double", "boolean"), lambda _, value: value),
    "blob": _encode_blob,
    "timestamp": _encode_timestamp,
    "list": _encode_list,
    "map": _encode_map,
    "structure": _encode_structure,
}
