"""Event patterns: which events a rule, or the filter of an event source mapping, is about.

A pattern is a JSON object like the events that it matches; every leaf is a list of values and operators, of which one
must hold, and all leaves must hold together. Semantics and texts are those of Event Ruler, the library that AWS uses
and publishes; the text ends where the library adds a position in the source. Arrays are looked through consistently:
all conditions below an array hold for one and the same element of it. A dot in a name is the same as nesting.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeGuard

from lambdad.domain.errors import LambdadError

Json = Any
Test = Callable[[Json], bool]
"""Whether a leaf of an event holds; it is given texts, numbers, booleans and None."""

NUMBER_LIMIT: Final = 5_000_000_000
MAX_DEPTH: Final = 100
"""Of objects inside of one another; ours, AWS's own limit is the length of the text."""
OPERATORS: Final = frozenset({
    "exactly", "prefix", "suffix", "equals-ignore-case", "anything-but", "numeric", "exists", "cidr", "wildcard",
})  # fmt: skip
_OR: Final = "$or"
_RANGES: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


class InvalidPattern(LambdadError):
    """A pattern that cannot be; the message is the reason alone, to be put into a service's own sentence."""


Path = tuple[str, ...]
_Dotted = Mapping[str, Mapping[str, Json]]
"""Members with dots in their names, by what is before the first dot, as objects with the rest of their names."""


@dataclass(frozen=True, slots=True)
class _Leaf:
    """The conditions of one field: one of the tests holds for a value of it, or it is absent and may be so."""

    path: Path
    texts: frozenset[str]
    numbers: frozenset[float]
    constants: tuple[bool | None, ...]
    tests: tuple[Test, ...]
    """Of the operators; plain values are looked up."""
    may_be_absent: bool

    def holds(self, values: Sequence[Json], absent: Container[Path]) -> bool:
        if self.may_be_absent and self.path in absent:
            return True
        return any(self._holds_for(leaf) for leaf in _leaves(values))

    def _holds_for(self, leaf: Json) -> bool:
        if isinstance(leaf, str):
            is_listed = leaf in self.texts
        elif leaf is None or isinstance(leaf, bool):  # in Python True equals 1, in JSON it does not
            is_listed = any(leaf is constant for constant in self.constants)
        else:
            is_listed = leaf in self.numbers
        return is_listed or any(test(leaf) for test in self.tests)

    def absence_paths(self) -> Iterator[Path]:
        if self.may_be_absent:
            yield self.path


@dataclass(frozen=True, slots=True)
class _Fields:
    """The conditions of one object."""

    members: tuple[tuple[str, _Leaf | _Fields], ...]
    alternatives: tuple[tuple[_Fields, ...], ...]
    """Of each `$or`, one must hold."""

    def holds(self, values: Sequence[Json], absent: Container[Path]) -> bool:
        """For one of the objects in `values`, arrays looked through; without any, for an object without fields."""
        candidates = list(_objects(values)) or [{}]
        return any(self._holds_in(candidate, _dotted(candidate), absent) for candidate in candidates)

    def absence_paths(self) -> Iterator[Path]:
        """The fields that may be absent; whether they are is a matter of the whole event, not of an array's element."""
        for _, condition in self.members:
            yield from condition.absence_paths()
        for alternatives in self.alternatives:
            for alternative in alternatives:
                yield from alternative.absence_paths()

    def _holds_in(self, value: Mapping[str, Json], dotted: _Dotted, absent: Container[Path]) -> bool:
        for name, condition in self.members:
            if not condition.holds(_values_of(value, name, dotted), absent):
                return False
        return all(
            any(alternative._holds_in(value, dotted, absent) for alternative in alternatives)
            for alternatives in self.alternatives
        )


class EventPattern:
    """A compiled pattern. Made by `compile_pattern`; stateless."""

    __slots__ = ("_absence_paths", "_fields")

    def __init__(self, fields: _Fields) -> None:
        self._fields = fields
        self._absence_paths = frozenset(fields.absence_paths())

    def matches(self, event: Json) -> bool:
        """Whether an event, as `json.loads` gives it, is one of those that the pattern is about."""
        absent = {path for path in self._absence_paths if not _is_there(path, event)}
        return self._fields.holds([event], absent)


@lru_cache(maxsize=4096)
def compile_pattern(text: str) -> EventPattern:
    """The pattern of a JSON text. Raises InvalidPattern."""
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidPattern("Filter is not valid JSON") from None
    return compile_document(document)


def compile_document(document: Json) -> EventPattern:
    """The pattern of a parsed JSON document. Raises InvalidPattern."""
    if not isinstance(document, dict):
        raise InvalidPattern("Filter is not an object")
    return EventPattern(_fields(document, ()))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


# --- events ---


def _leaves(values: Sequence[Json]) -> Iterator[Json]:
    """What is compared: neither objects nor arrays, but the elements of arrays. An empty array counts as absent."""
    left = [*values]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif not isinstance(value, dict):
            yield value


def _objects(values: Sequence[Json]) -> Iterator[Mapping[str, Json]]:
    left = [*values]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            yield value


def _is_there(path: Path, event: Json) -> bool:
    values = [event]
    for name in path:
        values = [found for value in _objects(values) for found in _values_of(value, name, _dotted(value))]
    return any(True for _ in _leaves(values))


def _dotted(value: Mapping[str, Json]) -> _Dotted:
    found: dict[str, dict[str, Json]] = {}
    if "." not in "".join(value):  # nearly always
        return found
    for name, member in value.items():
        first, dot, rest = name.partition(".")
        if dot:
            found.setdefault(first, {})[rest] = member
    return found


def _values_of(value: Mapping[str, Json], name: str, dotted: _Dotted) -> list[Json]:
    """The values of a member, one whose name goes on after a dot included."""
    values = [value[name]] if name in value else []
    rests = dotted.get(name)
    if rests is None:
        return values
    if values and isinstance(values[0], dict):
        return [{**values[0], **rests}]
    return [*values, rests]


# --- patterns ---


def _fields(document: Mapping[str, Json], path: Path, depth: int = 0) -> _Fields:
    if not document:
        raise InvalidPattern("Empty objects are not allowed")
    if depth > MAX_DEPTH:
        raise InvalidPattern("Filter is nested too deeply")
    alternatives: list[tuple[_Fields, ...]] = []
    nested: dict[str, Json] = {}
    for name, value in document.items():
        if name == _OR and _is_or(value):
            alternatives.append(tuple(_fields(alternative, path, depth + 1) for alternative in value))
        else:
            _nest(nested, name, value)
    return _Fields(
        tuple((name, _condition((*path, name), value, depth)) for name, value in nested.items()), tuple(alternatives)
    )


def _is_or(value: Json) -> bool:
    """`$or` is a field's name like any other unless it holds two or more objects that are not operators."""
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(item, dict) and not OPERATORS & item.keys() for item in value)
    )


def _nest(into: dict[str, Json], name: str, value: Json) -> None:
    first, dot, rest = name.partition(".")
    if not dot:
        present = into.get(name)
        if isinstance(present, dict) and isinstance(value, dict):
            value = {**present, **value}
        into[name] = value
        return
    below = into.get(first)
    into[first] = {**below, rest: value} if isinstance(below, dict) else {rest: value}


def _condition(path: Path, value: Json, depth: int) -> _Leaf | _Fields:
    if isinstance(value, dict):
        return _fields(value, path, depth + 1)
    if not isinstance(value, list):
        raise InvalidPattern(f'"{path[-1]}" must be an object or an array')
    if not value:
        raise InvalidPattern("Empty arrays are not allowed")
    texts: set[str] = set()
    numbers: set[float] = set()
    constants: list[bool | None] = []
    tests: list[Test] = []
    may_be_absent = False
    for item in value:
        if isinstance(item, str):
            texts.add(item)
        elif item is None or isinstance(item, bool):
            constants.append(item)
        elif _is_number(item):
            numbers.add(_number(item))
        elif isinstance(item, list):
            raise InvalidPattern("Match value must be String, number, true, false, or null")
        elif item.get("exists") is False and len(item) == 1:
            may_be_absent = True
        else:
            tests.append(_operator(item))
    return _Leaf(path, frozenset(texts), frozenset(numbers), tuple(constants), tuple(tests), may_be_absent)


def _operator(item: Mapping[str, Json]) -> Test:
    operator, operand = _single(item)
    compiler = _COMPILERS.get(operator)
    if compiler is None:
        raise InvalidPattern(f"Unrecognized match type {operator}")
    return compiler(operand)


def _single(item: Mapping[str, Json]) -> tuple[str, Json]:
    if not item:
        raise InvalidPattern("Empty objects are not allowed")
    if len(item) > 1:
        raise InvalidPattern("Only one key allowed in match expression")
    return next(iter(item.items()))


def _equal(wanted: str | float) -> Test:
    if isinstance(wanted, str):
        return lambda value: isinstance(value, str) and value == wanted
    number = _number(wanted)
    return lambda value: _is_number(value) and value == number


def _prefix(operand: Json) -> Test:
    return _affix(operand, "prefix", lambda value, text: value.startswith(text))


def _suffix(operand: Json) -> Test:
    return _affix(operand, "suffix", lambda value, text: value.endswith(text))


def _affix(operand: Json, kind: str, holds: Callable[[str, str], bool]) -> Test:
    if isinstance(operand, dict):
        operator, text = _single(operand)
        if operator != "equals-ignore-case":
            raise InvalidPattern(f"Unsupported {kind} pattern: {operator}")
        wanted = _text(text, f"{kind} equals-ignore-case").lower()
        return lambda value: isinstance(value, str) and holds(value.lower(), wanted)
    plain = _text(operand, kind)
    return lambda value: isinstance(value, str) and holds(value, plain)


def _equals_ignore_case(operand: Json) -> Test:
    wanted = _text(operand, "equals-ignore-case").lower()
    return lambda value: isinstance(value, str) and value.lower() == wanted


def _exactly(operand: Json) -> Test:
    return _equal(_text(operand, "exact"))


def _exists(operand: Json) -> Test:
    if operand is not True:  # false is dealt with where the field is
        raise InvalidPattern("exists match pattern must be either true or false.")
    return lambda _: True


def _cidr(operand: Json) -> Test:
    if not isinstance(operand, str):
        raise InvalidPattern("prefix match pattern must be a string")  # the library's own words
    address, slash, bits = operand.partition("/")
    if not slash or "/" in bits:
        raise InvalidPattern("Malformed CIDR, one '/' required")
    if not (bits.isascii() and bits.isdigit()):
        raise InvalidPattern("Malformed CIDR, mask bits must be an integer")
    try:
        start = ipaddress.ip_address(address)
    except ValueError:
        raise InvalidPattern(f"Nonstandard IP address: {address}") from None
    if len(bits) > 3 or int(bits) > start.max_prefixlen:
        raise InvalidPattern(f"IPv{start.version} mask bits must be < {start.max_prefixlen}")
    if "%" in address:  # a zone has no meaning here
        raise InvalidPattern(f"Nonstandard IP address: {address}")
    network = ipaddress.ip_network(f"{start}/{int(bits)}", strict=False)

    def test(value: Json) -> bool:
        if not isinstance(value, str):
            return False
        try:
            found = ipaddress.ip_address(value)
        except ValueError:
            return False
        return found.version == network.version and found in network

    return test


def _wildcard(operand: Json) -> Test:
    parts = _wildcard_parts(_text(operand, "wildcard"))
    return lambda value: isinstance(value, str) and _fits(parts, value)


def _wildcard_parts(text: str) -> tuple[str, ...]:
    """The plain texts between the stars; `\\*` and `\\\\` stand for themselves."""
    parts = [""]
    at = 0
    while at < len(text):
        character = text[at]
        if character == "\\":
            at += 1
            if at >= len(text) or text[at] not in "*\\":
                raise InvalidPattern(f"Invalid escape character at pos {at}")
            parts[-1] += text[at]
        elif character == "*":
            if at + 1 < len(text) and text[at + 1] == "*":
                raise InvalidPattern(f"Consecutive wildcard characters at pos {at + 1}")
            parts.append("")
        else:
            parts[-1] += character
        at += 1
    return tuple(parts)


def _fits(parts: tuple[str, ...], value: str) -> bool:
    """In time that grows with the text, whatever the number of stars."""
    if len(parts) == 1:
        return value == parts[0]
    first, *middle, last = parts
    if len(value) < len(first) + len(last) or not value.startswith(first) or not value.endswith(last):
        return False
    at, end = len(first), len(value) - len(last)
    for part in middle:
        found = value.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _numeric(operand: Json) -> Test:
    if not isinstance(operand, list):
        raise InvalidPattern("Value of numeric must be an array.")
    if not operand or not isinstance(operand[0], str):
        raise InvalidPattern(f"Invalid member in numeric match: {_shown(operand[0]) if operand else ']'}")
    bounds: list[tuple[str, float]] = []
    for at in range(0, len(operand), 2):
        operator = operand[at]
        if not isinstance(operator, str):
            raise InvalidPattern("Too many elements in numeric expression")
        value = operand[at + 1] if at + 1 < len(operand) else None
        if not _is_number(value):
            raise InvalidPattern(f"Value of {'equals' if operator == '=' else operator} must be numeric.")
        bounds.append((operator, _number(value)))
    return _range(bounds)


def _range(bounds: Sequence[tuple[str, float]]) -> Test:
    (operator, bound), *others = bounds
    if operator == "=":
        if others:
            raise InvalidPattern("Too many terms in numeric expression")
        return lambda value: _is_number(value) and value == bound
    if operator not in _RANGES:
        raise InvalidPattern(f"Unrecognized numeric range operator: {operator}")
    if len(others) > 1:
        raise InvalidPattern("Too many terms in numeric range expression")
    holds = _RANGES[operator]
    if not others:
        return lambda value: _is_number(value) and holds(value, bound)
    upper_operator, upper = others[0]
    if operator not in (">", ">=") or upper_operator not in ("<", "<="):
        raise InvalidPattern(f"Bad numeric range operator: {upper_operator}")
    if bound >= upper:
        raise InvalidPattern("Bottom must be less than top")
    holds_above = _RANGES[upper_operator]
    return lambda value: _is_number(value) and holds(value, bound) and holds_above(value, upper)


def _anything_but(operand: Json) -> Test:
    if isinstance(operand, dict):
        operator, texts = _single(operand)
        compiler = _EXCLUDED.get(operator)
        if compiler is None:
            raise InvalidPattern(f"Unsupported anything-but pattern: {operator}")
        excluded = [compiler(text) for text in _listed(texts, operator)]
    else:
        if isinstance(operand, bool) or operand is None:
            raise InvalidPattern("Value of anything-but must be an array or single string/number value.")
        excluded = [_equal(value) for value in _listed(operand, "")]
    return lambda value: not any(test(value) for test in excluded)


def _listed(operand: Json, operator: str) -> list[Json]:
    where = f"anything-but/{operator}" if operator else "anything-but"
    if not isinstance(operand, list):
        if operator and not isinstance(operand, str):
            raise InvalidPattern(f"Value of {where} must be an array or single string value.")
        return [operand]
    if not operand:
        raise InvalidPattern("Empty arrays are not allowed")
    if operator:
        if not all(isinstance(value, str) for value in operand):
            raise InvalidPattern(f"Inside {where} list, number|start|null|boolean is not supported.")
        return operand
    if not all(isinstance(value, str) or _is_number(value) for value in operand):
        raise InvalidPattern("Inside anything but list, start|null|boolean is not supported.")
    if len({isinstance(value, str) for value in operand}) > 1:
        raise InvalidPattern(
            "Inside anything but list, either all values are number or string, mixed type is not supported"
        )
    return operand


def _text(operand: Json, kind: str) -> str:
    if not isinstance(operand, str):
        raise InvalidPattern(f"{kind} match pattern must be a string")
    return operand


def _is_number(value: Json) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: float) -> float:
    if not -NUMBER_LIMIT <= value <= NUMBER_LIMIT:
        raise InvalidPattern("Value must be between -5.0E9 and 5.0E9, inclusive")
    return value


def _shown(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))[:100]


_EXCLUDED: Final[dict[str, Callable[[Json], Test]]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "wildcard": _wildcard,
    "equals-ignore-case": _equals_ignore_case,
}
_COMPILERS: Final[dict[str, Callable[[Json], Test]]] = {
    **_EXCLUDED,
    "exactly": _exactly,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
    "cidr": _cidr,
}
