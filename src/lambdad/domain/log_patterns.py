"""Filter patterns of CloudWatch Logs, compiled once to a function from a message to yes or no.

Three kinds (CloudWatch Logs guide, filter pattern syntax):

- terms: `ERROR "bad request" -debug %4[0-9]{2}%`, all of them, or any of `?ERROR ?WARN`;
- fields: `[ip, user, status = 4*, bytes > 1000, ...]` for space-delimited messages;
- JSON: `{ ($.code = "E*" || $.n >= 5) && $.user[0].id NOT EXISTS }`.

What the guide leaves open is decided here so: a term is found inside words too; `?` terms count only where all terms
have one; without an ellipsis the last field takes the rest of the message; a comparison with a JSON property that is
absent is false, `!=` too.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lambdad.domain.errors import ServiceError
from lambdad.domain.log_regex import InvalidRegex, Regex

Matcher = Callable[[str], bool]
"""Whether a message matches."""
_Test = Callable[[Any], bool]

MAX_PATTERN_LENGTH: Final = 1024
_MAX_DEPTH: Final = 60


class InvalidFilterPattern(ServiceError):
    """The pattern cannot be read."""

    def __init__(self) -> None:
        super().__init__("InvalidParameterException", "Invalid filter pattern")


def compile_pattern(pattern: str) -> Matcher | None:
    """The matcher of a pattern, None for an empty one, which matches everything. Raises InvalidFilterPattern."""
    text = pattern.strip()
    if not text:
        return None
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise InvalidFilterPattern
    try:
        if text.startswith("["):
            return _compile_fields(text)
        if text.startswith("{"):
            return _compile_json(text)
        return _compile_terms(text)
    except InvalidRegex as error:
        raise InvalidFilterPattern from error


# --- terms ---

_TERM: Final = re.compile(
    r"""\s*(?P<sign>[-?]?)(?:
        "(?P<phrase>(?:[^"\\]|\\.)*)"
        | %(?P<regex>[^%]+)%
        | (?P<word>(?!-)[^\s"\[\]{}()%$&|=<>!,*?^~`\\]+)
    )(?=\s|$)""",
    re.VERBOSE | re.DOTALL,
)


def _compile_terms(text: str) -> Matcher:
    required: list[Matcher] = []
    any_of: list[Matcher] = []
    excluded: list[Matcher] = []
    at = 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None:
            raise InvalidFilterPattern
        at = term.end()
        {"": required, "?": any_of, "-": excluded}[term["sign"]].append(_term_matcher(term))
    if required or excluded:
        any_of = []
    return lambda message: (
        all(matches(message) for matches in required)
        and not any(matches(message) for matches in excluded)
        and (not any_of or any(matches(message) for matches in any_of))
    )


def _term_matcher(term: re.Match[str]) -> Matcher:
    if term["regex"] is not None:
        return Regex(term["regex"]).search
    wanted = term["word"] if term["word"] is not None else _unescape(term["phrase"])
    return lambda message: wanted in message


def _unescape(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)


# --- what fields and JSON have in common: comparisons ---

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<symbol>&&|\|\||<=|>=|!=|[=<>(),\[\]{}]|\.\.\.(?=\s*[,\]]))
        | "(?P<string>(?:[^"\\]|\\.)*)"
        | %(?P<regex>[^%]+)%
        | (?P<selector>\$(?:\.?\[\s*(?:\d+|\*|'[^']*'|"[^"]*")\s*\]|\.[^\s.\[\](){}=!<>&|"',%]+)*)
        | (?P<bare>[^\s()\[\]{}=!<>&|",%]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


class _Tokens:
    def __init__(self, text: str) -> None:
        self._tokens = list(self._split(text))
        self._at = 0

    @staticmethod
    def _split(text: str) -> Iterator[_Token]:
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise InvalidFilterPattern
            yield _Token(match.lastgroup, match[match.lastgroup])
            at = match.end()

    def peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def take(self) -> _Token:
        token = self.peek()
        if token is None:
            raise InvalidFilterPattern
        self._at += 1
        return token

    def next_is(self, text: str, kind: str = "symbol") -> bool:
        """Takes the next token if it is this one; words are compared without regard to case."""
        token = self.peek()
        if token is None or token.kind != kind or (token.text if kind == "symbol" else token.text.upper()) != text:
            return False
        self._at += 1
        return True

    def expect(self, text: str) -> None:
        if not self.next_is(text):
            raise InvalidFilterPattern

    def expect_end(self) -> None:
        if self.peek() is not None:
            raise InvalidFilterPattern


def _comparison(tokens: _Tokens) -> _Test:
    """Reads an operator and a value: the test of a string or a number."""
    operator = tokens.take()
    value = tokens.take()
    if operator.kind != "symbol" or value.kind not in ("string", "regex", "bare"):
        raise InvalidFilterPattern
    if operator.text in _COMPARISONS:
        limit = _number(value.text)
        if value.kind == "regex" or limit is None:
            raise InvalidFilterPattern
        compare = _COMPARISONS[operator.text]

        def compares(actual: Any) -> bool:
            number = _number(actual)
            return number is not None and compare(number, limit)

        return compares
    if operator.text not in ("=", "!="):
        raise InvalidFilterPattern
    equals = _equality(value)
    return equals if operator.text == "=" else lambda actual: not equals(actual)


def _equality(value: _Token) -> _Test:
    if value.kind == "regex":
        search = Regex(value.text).search
        return lambda actual: search(_text(actual))
    wanted = _wildcard(_unescape(value.text) if value.kind == "string" else value.text)
    number = _number(value.text) if value.kind == "bare" else None

    def equals(actual: Any) -> bool:
        if isinstance(actual, str):
            return wanted(actual) or (number is not None and _number(actual) == number)
        if number is None:
            return value.kind == "bare" and _is_number(actual) and wanted(_text(actual))
        return _number(actual) == number

    return equals


def _wildcard(wanted: str) -> _Test:
    """`*` stands for any text; linear in the length of what is tested."""
    if "*" not in wanted:
        return lambda actual: bool(actual == wanted)
    first, *middle, last = wanted.split("*")
    fixed = len(first) + len(last)

    def matches(actual: str) -> bool:
        if len(actual) < fixed or not actual.startswith(first) or not actual.endswith(last):
            return False
        at, end = len(first), len(actual) - len(last)
        for part in middle:
            found = actual.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    return matches


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    if _is_number(value):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value) if _is_number(value) else ""


# --- space-delimited fields ---

_WORD: Final = re.compile(r"\S+")
_CLOSING: Final = {"[": "]", '"': '"'}
_NAME: Final = re.compile(r"[\w$][\w.-]*")


def _compile_fields(text: str) -> Matcher:
    tokens = _Tokens(text)
    tokens.expect("[")
    before: list[_Test | None] = []
    after: list[_Test | None] | None = None
    while True:
        if tokens.next_is("..."):
            if after is not None:
                raise InvalidFilterPattern
            after = []
        else:
            (before if after is None else after).append(_field(tokens))
        if tokens.next_is("]"):
            break
        tokens.expect(",")
    tokens.expect_end()
    wanted = [*before, *(after or ())]
    tail = None if after is None else len(after)

    def matches(message: str) -> bool:
        fields = _fields_of(message, len(before), tail)
        return fields is not None and all(
            test is None or test(field) for test, field in zip(wanted, fields, strict=True)
        )

    return matches


def _field(tokens: _Tokens) -> _Test | None:
    """A field's test, None if it has only a name."""
    start = tokens.take()
    if start.kind not in ("bare", "selector") or not _NAME.fullmatch(start.text):
        raise InvalidFilterPattern
    following = tokens.peek()
    if following is None or following.text in (",", "]"):
        return None
    any_of: list[list[_Test]] = [[_comparison(tokens)]]
    while (joint := tokens.peek()) is not None and joint.kind == "symbol" and joint.text in ("&&", "||"):
        tokens.take()
        name = tokens.take()
        if name != start:  # all conditions of a field name that field
            raise InvalidFilterPattern
        if joint.text == "||":
            any_of.append([])
        any_of[-1].append(_comparison(tokens))
    return lambda field: any(all(test(field) for test in all_of) for all_of in any_of)


def _fields_of(message: str, before: int, after: int | None) -> Sequence[str] | None:
    """The fields that a pattern names, None if there are too few; `after` is None without an ellipsis."""
    message = message.strip()
    first: list[tuple[int, str]] = []
    last: deque[str] = deque(maxlen=after or 0)
    count = 0
    for start, text in _split_fields(message):
        count += 1
        if count <= before:
            first.append((start, text))
        elif after is None:
            # More fields than names: the last one takes the rest.
            first[-1] = (first[-1][0], message[first[-1][0] :])
            break
        else:
            last.append(text)
    if count < before + (after or 0):
        return None
    return [text for _, text in first] + list(last)


def _split_fields(message: str) -> Iterator[tuple[int, str]]:
    """Start and text of each field: a word, or what stands in brackets or quotes, without them."""
    # Where the next closing bracket and quote are: each is looked for once, so that the time stays linear.
    closing = {"]": -1, '"': -1}
    at = 0
    while (word := _WORD.search(message, at)) is not None:
        start = word.start()
        mark = _CLOSING.get(message[start])
        if mark is not None:
            if closing[mark] <= start:
                found = message.find(mark, start + 1)
                closing[mark] = found if found >= 0 else len(message)
            end = closing[mark]
            if end < len(message) and (end + 1 == len(message) or message[end + 1].isspace()):
                yield start, message[start + 1 : end]
                at = end + 1
                continue
        yield start, word[0]
        at = word.end()


# --- JSON ---

_STEP: Final = re.compile(
    r"""\.?\[\s*(?:(?P<index>\d+)|(?P<all>\*)|'(?P<single>[^']*)'|"(?P<double>[^"]*)")\s*\]|\.(?P<name>[^.\[]+)"""
)
_ALL: Final = object()
_Step = str | int | object


def _compile_json(text: str) -> Matcher:
    tokens = _Tokens(text)
    tokens.expect("{")
    test = _either(tokens, 0)
    tokens.expect("}")
    tokens.expect_end()

    def matches(message: str) -> bool:
        if not message.lstrip().startswith(("{", "[")):
            return False
        try:
            document = json.loads(message, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return False
        return test(document)

    return matches


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _either(tokens: _Tokens, depth: int) -> _Test:
    tests = [_both(tokens, depth)]
    while tokens.next_is("||"):
        tests.append(_both(tokens, depth))
    return tests[0] if len(tests) == 1 else lambda document: any(test(document) for test in tests)


def _both(tokens: _Tokens, depth: int) -> _Test:
    tests = [_condition(tokens, depth)]
    while tokens.next_is("&&"):
        tests.append(_condition(tokens, depth))
    return tests[0] if len(tests) == 1 else lambda document: all(test(document) for test in tests)


def _condition(tokens: _Tokens, depth: int) -> _Test:
    if depth > _MAX_DEPTH:
        raise InvalidFilterPattern
    if tokens.next_is("("):
        test = _either(tokens, depth + 1)
        tokens.expect(")")
        return test
    selector = tokens.take()
    if selector.kind != "selector":
        raise InvalidFilterPattern
    path = _path(selector.text)
    if tokens.next_is("EXISTS", "bare"):
        return lambda document: any(True for _ in _select(document, path))
    if tokens.next_is("NOT", "bare"):
        if not tokens.next_is("EXISTS", "bare"):
            raise InvalidFilterPattern
        return lambda document: not any(True for _ in _select(document, path))
    if tokens.next_is("IS", "bare"):
        word = tokens.take()
        constants = {"NULL": None, "TRUE": True, "FALSE": False}
        if word.kind != "bare" or word.text.upper() not in constants:
            raise InvalidFilterPattern
        constant = constants[word.text.upper()]
        return lambda document: any(value is constant for value in _select(document, path))
    compares = _comparison(tokens)
    return lambda document: any(_is_plain(value) and compares(value) for value in _select(document, path))


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


def _path(selector: str) -> tuple[_Step, ...]:
    steps: list[_Step] = []
    for step in _STEP.finditer(selector, 1):
        if step["index"] is not None:
            steps.append(int(step["index"]))
        elif step["all"] is not None:
            steps.append(_ALL)
        else:
            steps.append(next(name for name in step.group("single", "double", "name") if name is not None))
    if not steps:
        raise InvalidFilterPattern
    return tuple(steps)


def _select(value: Any, path: tuple[_Step, ...]) -> Iterator[Any]:
    """The values at a path; several where it has `[*]`."""
    for at, step in enumerate(path):
        if step is _ALL:
            if isinstance(value, list):
                for element in value:
                    yield from _select(element, path[at + 1 :])
            return
        match step, value:
            case int(), list() if step < len(value):
                value = value[step]
            case str(), dict() if step in value:
                value = value[step]
            case _:
                return
    yield value
