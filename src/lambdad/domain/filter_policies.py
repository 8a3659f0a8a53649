"""Filter policies of SNS subscriptions, compiled once to a function from a message to yes or no.

A policy is a JSON object of keys with lists of rules: every key must match, and of its rules any one (SNS developer
guide, message filtering). `$or` joins objects. In scope `MessageAttributes` keys are attributes and policies are flat;
in scope `MessageBody` they are keys of the message's JSON object and may be nested. Texts of refusals are AWS's where
they are known.

What the guide leaves open is decided here so: a list in the body matches when any of its elements does, and rules that
stand inside one nested object must all match the same element of a list of objects; `exists` asks for a value, so an
object or an empty list does not exist; a `String.Array` that is no JSON list is a plain text; binary attributes are as
good as absent.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeGuard

from lambdad.domain.queues import MessageAttribute

MESSAGE_ATTRIBUTES: Final = "MessageAttributes"
MESSAGE_BODY: Final = "MessageBody"
SCOPES: Final = (MESSAGE_ATTRIBUTES, MESSAGE_BODY)
MAX_KEYS: Final = 5
MAX_COMBINATIONS: Final = 150
MAX_BYTES: Final = 262_144
_MAX_DEPTH: Final = 64
_LARGEST: Final = 1_000_000_000

Scalar = str | int | float | bool | None
_Rule = Callable[[Sequence[Scalar]], bool]
"""Whether the values under a key match; there are none when the key is absent."""
_Test = Callable[[Scalar], bool]
_Match = Callable[[Mapping[str, Any]], bool]
_Leaves = Callable[[Any], list[Scalar]]


class BadFilterPolicy(ValueError):
    """The policy cannot be; the text says why, in AWS's words where they are known."""


@dataclass(frozen=True, slots=True)
class FilterPolicy:
    """A policy that was understood."""

    scope: str
    _match: _Match

    def matches(self, attributes: Mapping[str, MessageAttribute], body: ParsedBody) -> bool:
        """Whether a message with these attributes and this body passes."""
        if self.scope == MESSAGE_ATTRIBUTES:
            return self._match(attributes)
        return body.value is not None and self._match(body.value)


class ParsedBody:
    """The text of a message, read as JSON when a policy asks for it for the first time."""

    __slots__ = ("_is_read", "_text", "_value")

    def __init__(self, text: str) -> None:
        self._text = text
        self._is_read = False
        self._value: dict[str, Any] | None = None

    @property
    def value(self) -> dict[str, Any] | None:
        """The JSON object; None for any other text, which no policy of the body matches."""
        if not self._is_read:
            self._is_read = True
            try:
                value = json.loads(self._text)
            except (ValueError, RecursionError):
                value = None
            self._value = value if isinstance(value, dict) else None
        return self._value


@lru_cache(maxsize=4096)
def compile_policy(text: str, scope: str) -> FilterPolicy:
    """Reads the JSON text of a policy. Raises BadFilterPolicy."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise BadFilterPolicy("Filter policy is too complex")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFilterPolicy("failed to parse JSON.") from None
    if not isinstance(document, dict):
        raise BadFilterPolicy("failed to parse JSON.")
    compiler = _Compiler(scope)
    match, combinations = compiler.object(document, ())
    if len(compiler.keys) > MAX_KEYS:
        raise BadFilterPolicy(f"Filter policy can not have more than {MAX_KEYS} keys")
    if combinations > MAX_COMBINATIONS:
        raise BadFilterPolicy("Filter policy is too complex")
    return FilterPolicy(scope, match)


class _Compiler:
    """Turns the objects of one policy into functions, and counts what AWS limits."""

    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._leaves: _Leaves = attribute_values if scope == MESSAGE_ATTRIBUTES else _body_values
        self.keys: set[tuple[str, ...]] = set()

    def object(self, document: Mapping[str, Any], path: tuple[str, ...]) -> tuple[_Match, int]:
        """The function of an object, and how many combinations of rules it has."""
        if len(path) > _MAX_DEPTH:
            raise BadFilterPolicy("Filter policy is too complex")
        matches: list[_Match] = []
        combinations = 1
        for key, value in document.items():
            if key == "$or" and _is_or(value):
                match, count = self._any_of(value, path)
            elif isinstance(value, dict):
                match, count = self._nested(key, value, path)
            elif isinstance(value, list):
                match, count = self._leaf(key, value, path)
            else:
                raise BadFilterPolicy(f'"{key}" must be an object or an array')
            matches.append(match)
            combinations *= count
        return (matches[0] if len(matches) == 1 else lambda node: all(match(node) for match in matches)), combinations

    def _any_of(self, alternatives: Sequence[Mapping[str, Any]], path: tuple[str, ...]) -> tuple[_Match, int]:
        compiled = [self.object(alternative, path) for alternative in alternatives]
        matches = [match for match, _ in compiled]
        return (lambda node: any(match(node) for match in matches)), sum(count for _, count in compiled)

    def _nested(self, key: str, document: Mapping[str, Any], path: tuple[str, ...]) -> tuple[_Match, int]:
        if self._scope == MESSAGE_ATTRIBUTES:
            raise BadFilterPolicy("Filter policy scope MessageAttributes does not support nested filter policy")
        if not document:
            raise BadFilterPolicy("Empty objects are not allowed")
        match, combinations = self.object(document, (*path, key))
        return (lambda node: any(match(below) for below in _objects(node.get(key)))), combinations

    def _leaf(self, key: str, given: Sequence[Any], path: tuple[str, ...]) -> tuple[_Match, int]:
        if not given:
            raise BadFilterPolicy("Empty arrays are not allowed")
        self.keys.add((*path, key))
        rules = [_rule(value) for value in given]
        leaves = self._leaves

        def match(node: Mapping[str, Any]) -> bool:
            values = leaves(node[key]) if key in node else []
            return any(rule(values) for rule in rules)

        # In the body each rule counts for every level it lies below (SNS guide, constraints of filter policies).
        return match, len(rules) * (len(path) + 1)


def _is_or(value: object) -> bool:
    """Whether `$or` joins objects here; else it is the name of a key like any other."""
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(each, dict) and each and not _OPERATORS.keys() & each.keys() for each in value)
    )


# --- values ---


def attribute_values(attribute: MessageAttribute) -> list[Scalar]:
    """What rules see of an attribute: its text, its number, or the elements of its list."""
    kind, text = attribute.data_type, attribute.string_value
    if text is None:
        return []
    if kind == "Number" or kind.startswith("Number."):
        try:
            return [float(text)]
        except ValueError:
            return []
    if kind == "String.Array":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return [text]
        return _body_values(found) if isinstance(found, list) else [text]
    return [text]


def _body_values(value: Any) -> list[Scalar]:
    if isinstance(value, list):
        return [leaf for element in value for leaf in _body_values(element)]
    return [] if isinstance(value, dict) else [value]


def _objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects under a key; an empty one stands for none, in which nothing exists."""
    found = [each for each in value if isinstance(each, dict)] if isinstance(value, list) else [value]
    return [each for each in found if isinstance(each, dict)] or [{}]


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _same(one: Scalar, other: Scalar) -> bool:
    """Equal and of one type: `1` is `1.0`, but neither `"1"` nor true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if _is_number(one):
        return _is_number(other) and one == other
    return type(one) is type(other) and one == other


# --- rules ---


def _rule(value: Any) -> _Rule:
    if not isinstance(value, dict):
        return _any(_equals(value))
    if len(value) != 1:
        raise BadFilterPolicy("Only one key allowed in match expression")
    ((operator, operand),) = value.items()
    make = _OPERATORS.get(operator)
    if make is None:
        raise BadFilterPolicy(f"Unrecognized match type {operator}")
    return make(operand)


def _any(test: _Test) -> _Rule:
    return lambda values: any(test(value) for value in values)


def _equals(wanted: Any) -> _Test:
    if isinstance(wanted, list | dict):
        raise BadFilterPolicy("Match value must be String, number, true, false, or null")
    return lambda value: _same(value, wanted)


def _text_test(operator: str, operand: Any) -> _Test:
    if not isinstance(operand, str):
        raise BadFilterPolicy(f"{operator} match pattern must be a string")
    if operator == "prefix":
        return lambda value: isinstance(value, str) and value.startswith(operand)
    if operator == "suffix":
        return lambda value: isinstance(value, str) and value.endswith(operand)
    if operator == "equals-ignore-case":
        folded = operand.casefold()
        return lambda value: isinstance(value, str) and value.casefold() == folded
    pattern = wildcard_pattern(operand)
    return lambda value: isinstance(value, str) and pattern(value)


def _text_rule(operator: str) -> Callable[[Any], _Rule]:
    return lambda operand: _any(_text_test(operator, operand))


def wildcard_pattern(pattern: str) -> Callable[[str], bool]:
    r"""Whether a text has the form of a pattern: `*` is any text, `\*` and `\\` are themselves. Takes time in
    proportion to the text, whatever the pattern. Raises BadFilterPolicy."""
    parts = [""]
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        if letter == "\\":
            position += 1
            if position == len(pattern) or pattern[position] not in "*\\":
                raise BadFilterPolicy(f"Invalid escape character at pos {position - 1}")
            parts[-1] += pattern[position]
        elif letter == "*":
            if position and pattern[position - 1] == "*" and not parts[-1]:
                raise BadFilterPolicy(f"Consecutive wildcard characters at pos {position - 1}")
            parts.append("")
        else:
            parts[-1] += letter
        position += 1
    first, *middle = parts
    if not middle:
        return lambda text: text == first
    last = middle.pop()

    def match(text: str) -> bool:
        if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
            return False
        at, end = len(first), len(text) - len(last)
        for part in middle:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    return match


def _anything_but(operand: Any) -> _Rule:
    if isinstance(operand, dict):
        if len(operand) != 1:
            raise BadFilterPolicy("Only one key allowed in match expression")
        ((operator, patterns),) = operand.items()
        if operator not in ("prefix", "suffix", "wildcard", "equals-ignore-case"):
            raise BadFilterPolicy(f"Unsupported anything-but pattern: {operator}")
        tests = [_text_test(operator, pattern) for pattern in _listed(patterns)]
    else:
        for value in _listed(operand):
            if not isinstance(value, str) and not _is_number(value):
                raise BadFilterPolicy("Inside anything but list, start|null|boolean is not supported.")
        tests = [_equals(value) for value in _listed(operand)]
    if not tests:
        raise BadFilterPolicy("Empty arrays are not allowed")
    return _any(lambda value: not any(test(value) for test in tests))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _exists(operand: Any) -> _Rule:
    if not isinstance(operand, bool):
        raise BadFilterPolicy("exists match pattern must be either true or false.")
    return lambda values: bool(values) is operand


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": lambda value, bound: bool(value == bound),
    "<": lambda value, bound: bool(value < bound),
    "<=": lambda value, bound: bool(value <= bound),
    ">": lambda value, bound: bool(value > bound),
    ">=": lambda value, bound: bool(value >= bound),
}


def _numeric(operand: Any) -> _Rule:
    if not isinstance(operand, list):
        raise BadFilterPolicy("Value of numeric must be an array.")
    bounds = [_bound(operand, position) for position in range(0, max(len(operand), 1), 2)]
    (first, low), *rest = bounds
    if rest:
        if first not in (">", ">=") or len(rest) > 1:
            raise BadFilterPolicy("Too many elements in numeric expression")
        second, high = rest[0]
        if second not in ("<", "<="):
            raise BadFilterPolicy(f"Bad numeric range operator: {second}")
        if low >= high:
            raise BadFilterPolicy("Bottom must be less than top")
    tests = [(_COMPARISONS[operator], bound) for operator, bound in bounds]
    return _any(lambda value: _is_number(value) and all(holds(value, bound) for holds, bound in tests))


def _bound(operand: Sequence[Any], position: int) -> tuple[str, int | float]:
    operator = operand[position] if position < len(operand) else "]"
    if not isinstance(operator, str) or operator == "]":
        raise BadFilterPolicy(f"Invalid member in numeric match: {operator}")
    if operator not in _COMPARISONS:
        raise BadFilterPolicy(f"Unrecognized numeric range operator: {operator}")
    bound = operand[position + 1] if position + 1 < len(operand) else None
    if not _is_number(bound):
        raise BadFilterPolicy(f"Value of {operator} must be numeric")
    if not -_LARGEST <= bound <= _LARGEST:
        raise BadFilterPolicy(f"Value of {operator} must be between -1.0E9 and 1.0E9, inclusive")
    return operator, bound


def _cidr(operand: Any) -> _Rule:
    if not isinstance(operand, str):
        raise BadFilterPolicy("cidr match pattern must be a string")
    if operand.count("/") != 1:
        raise BadFilterPolicy("Malformed CIDR, one '/' required")
    if not re.fullmatch(r"[^/]+/[0-9]{1,3}", operand, re.ASCII):
        raise BadFilterPolicy("Malformed CIDR, mask bits must be an integer")
    try:
        network = ipaddress.ip_network(operand, strict=False)
    except ValueError:
        raise BadFilterPolicy(f"Nonstandard IP address: {operand.partition('/')[0]}") from None

    def holds(value: Scalar) -> bool:
        try:
            return isinstance(value, str) and ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return _any(holds)


_OPERATORS: Final[dict[str, Callable[[Any], _Rule]]] = {
    "prefix": _text_rule("prefix"),
    "suffix": _text_rule("suffix"),
    "equals-ignore-case": _text_rule("equals-ignore-case"),
    "wildcard": _text_rule("wildcard"),
    "anything-but": _anything_but,
    "exists": _exists,
    "numeric": _numeric,
    "cidr": _cidr,
}
