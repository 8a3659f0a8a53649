"""The generic constraints of the model, with the texts of AWS's generic layer.

`N validation error[s] detected: Value 'V' at 'path' failed to satisfy constraint: C`, in the model's order. Paths are
in lower camel case; elements of lists are `entries.1.member.id`, of maps `attributes.key.member.dataType`.
Only what the model says is checked here; services make their own checks after it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from lambdad.domain.errors import ValidationFailed
from lambdad.wire.protocols.model import Operation, Shape, compiled_pattern

MAX_RENDERED = 65_536
"""Characters of a refused value that an error repeats at most."""

PATTERN_LENGTHS = 4
"""Values so many times longer than they may be are not compared with the pattern: the length refuses them anyway."""
MAX_PATTERN_LENGTH = 1_048_576

NOT_NULL = "Member must not be null"
SCALAR_KINDS = frozenset({"string", "integer", "long", "float", "double", "boolean", "blob", "timestamp"})


def check(operation: Operation, params: Mapping[str, Any]) -> None:
    """Raises ValidationFailed with every constraint of the operation's input that `params` break."""
    if operation.input is None:
        return
    violations: list[str] = []
    _check_structure(operation.input, params, "", violations)
    if violations:
        raise ValidationFailed(violations)


def _check_structure(shape: Shape, values: Mapping[str, Any], prefix: str, violations: list[str]) -> None:
    for member in shape.members.values():
        path = prefix + member.path_name
        value = values.get(member.name)
        if value is None:
            if member.required:
                violations.append(f"Value null at '{path}' failed to satisfy constraint: {NOT_NULL}")
        else:
            _check(member.shape, value, path, violations)


def _check(shape: Shape, value: Any, path: str, violations: list[str]) -> None:
    for constraint, holds in _constraints(shape):
        if not holds(value):
            violations.append(_violation(shape, value, path, constraint))
    if shape.kind == "structure":
        _check_structure(shape, value, f"{path}.", violations)
    elif shape.kind == "list":
        _check_list(shape, value, path, violations)
    elif shape.kind == "map":
        _check_map(shape, value, path, violations)


def _check_list(shape: Shape, value: list[Any], path: str, violations: list[str]) -> None:
    element = shape.element
    assert element is not None
    if element.kind in SCALAR_KINDS:
        broken, texts = _elements(shape, element, value)
        if broken:
            constraint = texts[0] if len(texts) == 1 else f"Member must satisfy constraint: [{', '.join(texts)}]"
            violations.append(_violation(shape, value, path, constraint))
        return
    for number, item in enumerate(value, start=1):
        _check_nested(element, item, f"{path}.{number}.member", violations)


def _check_map(shape: Shape, value: dict[str, Any], path: str, violations: list[str]) -> None:
    assert shape.key is not None
    assert shape.element is not None
    broken, texts = _elements(shape, shape.key, value)
    if broken:
        constraint = f"Map keys must satisfy constraint: [{', '.join(texts)}]"
        violations.append(_violation(shape, value, path, constraint))
    if shape.element.kind in SCALAR_KINDS:
        broken, texts = _elements(shape, shape.element, value.values())
        if broken:
            constraint = f"Map value must satisfy constraint: [{', '.join(texts)}]"
            violations.append(_violation(shape, value, path, constraint))
        return
    for key, item in value.items():
        _check_nested(shape.element, item, f"{path}.{key}.member", violations)


def _check_nested(element: Shape, item: Any, path: str, violations: list[str]) -> None:
    if item is None:
        violations.append(f"Value null at '{path}' failed to satisfy constraint: {NOT_NULL}")
    else:
        _check(element, item, path, violations)


def _elements(container: Shape, element: Shape, items: Any) -> tuple[bool, list[str]]:
    """Whether an element breaks a constraint, and the texts of all of them, as AWS prints them together."""
    constraints = _constraints(element)
    broken = any(item is None or not all(holds(item) for _, holds in constraints) for item in items)
    if not broken:
        return False, []
    texts = [text for text, _ in constraints]
    if container.non_null_elements or not texts:
        texts.append(NOT_NULL)
    return True, texts


@lru_cache(maxsize=8192)
def _constraints(shape: Shape) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    maximum, minimum = shape.maximum, shape.minimum
    if shape.kind in ("integer", "long", "float", "double"):
        if maximum is not None:
            text = f"Member must have value less than or equal to {_bound(shape, maximum)}"
            found.append((text, lambda value: value <= maximum))
        if minimum is not None:
            text = f"Member must have value greater than or equal to {_bound(shape, minimum)}"
            found.append((text, lambda value: value >= minimum))
        return found
    if maximum is not None:
        found.append((f"Member must have length less than or equal to {maximum}", lambda value: len(value) <= maximum))
    if minimum is not None:
        text = f"Member must have length greater than or equal to {minimum}"
        found.append((text, lambda value: len(value) >= minimum))
    if shape.pattern is not None:
        pattern = compiled_pattern(shape.pattern)
        if pattern is not None:
            text = f"Member must satisfy regular expression pattern: {shape.pattern}"
            longest = PATTERN_LENGTHS * maximum if maximum is not None else MAX_PATTERN_LENGTH
            found.append((text, lambda value: len(value) > longest or pattern.fullmatch(value) is not None))
    if shape.enum:
        taken = shape.enum_beyond.union(shape.enum)
        found.append((f"Member must satisfy enum value set: [{', '.join(shape.enum)}]", lambda value: value in taken))
    return found


def _bound(shape: Shape, bound: float) -> str:
    return _java_double(float(bound)) if shape.kind in ("float", "double") else str(int(bound))


def _violation(shape: Shape, value: Any, path: str, constraint: str) -> str:
    if shape.sensitive:  # AWS does not repeat values that the model calls sensitive
        return f"Value at '{path}' failed to satisfy constraint: {constraint}"
    text = render(shape, value)
    if len(text) > MAX_RENDERED:
        text = text[:MAX_RENDERED] + "..."
    return f"Value '{text}' at '{path}' failed to satisfy constraint: {constraint}"


def render(shape: Shape, value: Any) -> str:  # noqa: PLR0911 - one for each kind
    """A value as Java prints it: `[a, b]`, `{2=2.0}`, `true`, `Entry(id=a, body=null)`."""
    if value is None:
        return "null"
    kind = shape.kind
    if kind == "list":
        assert shape.element is not None
        return f"[{', '.join(render(shape.element, item) for item in value)}]"
    if kind == "map":
        assert shape.element is not None
        return f"{{{', '.join(f'{key}={render(shape.element, item)}' for key, item in value.items())}}}"
    if kind == "structure":
        members = ", ".join(
            f"{member.path_name}={render(member.shape, value.get(name))}" for name, member in shape.members.items()
        )
        return f"{shape.name}({members})"
    if kind == "boolean":
        return "true" if value else "false"
    if kind in ("float", "double"):
        return _java_double(value)
    if kind == "blob":
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%a %b %d %H:%M:%S UTC %Y}"
    return str(value)


def _java_double(value: float) -> str:
    if not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    return f"{'-' if sign else ''}{first}.{rest or '0'}E{len(rest) + exponent}"
