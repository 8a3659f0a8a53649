"""Values to XML along the shapes of the model, as query protocols answer."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lambdad.wire.protocols import timestamps
from lambdad.wire.protocols.model import Shape

_SPECIAL = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}


def escape(text: str) -> str:
    """Text for an element or attribute. Characters that XML 1.0 cannot hold become U+FFFD."""
    return _SPECIAL.sub(lambda found: _ENTITIES.get(found[0], "\ufffd"), text)


def write_members(out: list[str], shape: Shape, values: Mapping[str, Any]) -> None:
    """The members of a structure in the model's order; None, unset and unknown ones are left out."""
    for member in shape.members.values():
        value = values.get(member.name)
        if value is not None:
            _write(out, member.wire_name, member.shape, value, member.timestamp_format)


def _write(out: list[str], name: str, shape: Shape, value: Any, timestamp_format: str | None = None) -> None:
    kind = shape.kind
    if kind == "list":
        assert shape.element is not None
        if shape.flattened:
            for item in value:
                _write(out, name, shape.element, item)
            return
        out.append(f"<{name}>")
        for item in value:
            _write(out, shape.item_name, shape.element, item)
        out.append(f"</{name}>")
    elif kind == "map":
        _write_map(out, name, shape, value)
    elif kind == "structure":
        out.append(f"<{name}>")
        write_members(out, shape, value)
        out.append(f"</{name}>")
    else:
        out.append(f"<{name}>{_text(shape, value, timestamp_format)}</{name}>")


def _write_map(out: list[str], name: str, shape: Shape, value: Mapping[str, Any]) -> None:
    assert shape.element is not None
    entry = name if shape.flattened else "entry"
    if not shape.flattened:
        out.append(f"<{name}>")
    for key, item in value.items():
        out.append(f"<{entry}><{shape.key_name}>{escape(key)}</{shape.key_name}>")
        _write(out, shape.value_name, shape.element, item)
        out.append(f"</{entry}>")
    if not shape.flattened:
        out.append(f"</{name}>")


def _text(shape: Shape, value: Any, timestamp_format: str | None) -> str:
    if shape.kind == "boolean":
        return "true" if value else "false"
    if shape.kind == "blob":
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return timestamps.to_text(value, timestamp_format or shape.timestamp_format or timestamps.ISO_8601)
    return escape(str(value))
