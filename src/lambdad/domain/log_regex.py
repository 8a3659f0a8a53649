"""Regular expressions of log filter patterns, matched in time proportional to the text.

CloudWatch Logs knows no groups, which leaves alternatives of atoms with quantifiers (CloudWatch Logs guide, filter
pattern syntax). Such an expression is a row of states, a set of states fits in one integer, and one step is a few bit
operations that are remembered. A backtracking matcher would let one filter pattern stop the whole server.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

MAX_ITEMS: Final = 2_000
"""States of one expression, repetitions written out."""
_MAX_REMEMBERED: Final = 50_000
"""Steps that are remembered for one expression; then they are forgotten and learnt anew."""

_CharTest = Callable[[str], bool]

_CLASSES: Final[dict[str, _CharTest]] = {
    "d": lambda c: "0" <= c <= "9",
    "w": lambda c: c == "_" or (c.isascii() and c.isalnum()),
    "s": lambda c: c in " \t\n\r\f\v",
}
_BOUNDS: Final = re.compile(r"\{(\d{1,4})(?:(,)(\d{1,4})?)?\}")


class InvalidRegex(ValueError):
    """The expression is not one that CloudWatch Logs takes."""


class _Item(NamedTuple):
    """One state: a character that it takes, whether it may be passed without one, and whether it may be taken again."""

    test: _CharTest
    is_optional: bool
    repeats: bool


class Regex:
    """An expression, searched for anywhere in a text."""

    def __init__(self, source: str) -> None:
        """Raises InvalidRegex."""
        self._literal: str | None = source if re.fullmatch(r"[\w :_#=@/;,\-]*", source) else None
        self._tests: list[_CharTest] = []
        self._start = 0
        """States at the beginning of the text."""
        self._again = 0
        """States that are added at every character: those of alternatives without `^`."""
        self._final = 0
        self._final_at_end = 0
        self._optional = 0
        self._repeating = 0
        if self._literal is None:
            for alternative in _Parser(source).alternatives():
                self._add(*alternative)
        self._takers: dict[str, int] = {}
        self._steps: dict[tuple[int, str], int] = {}

    def search(self, text: str) -> bool:
        """Whether the expression matches somewhere; `$` matches at the end and before a last newline."""
        if self._literal is not None:
            return self._literal in text
        last = len(text) - 1 if text.endswith("\n") else -1
        states = self._start
        final = self._final
        if states & final:
            return True
        steps = self._steps
        for at, character in enumerate(text):
            if at == last and states & self._final_at_end:
                return True
            following = steps.get((states, character))
            if following is None:
                following = self._step(states, character)
            if following & final:
                return True
            states = following
        return bool(states & self._final_at_end)

    def _add(self, items: list[_Item], is_anchored: bool, is_anchored_at_end: bool) -> None:
        first = 1 << len(self._tests)
        for item in items:
            bit = 1 << len(self._tests)
            self._tests.append(item.test)
            self._optional |= bit if item.is_optional else 0
            self._repeating |= bit if item.repeats else 0
        end = 1 << len(self._tests)
        self._tests.append(lambda _: False)  # the state behind the last item takes nothing
        if len(self._tests) > MAX_ITEMS:
            raise InvalidRegex("too long")
        if is_anchored_at_end:
            self._final_at_end |= end
        else:
            self._final |= end
        self._start = self._close(self._start | first)
        if not is_anchored:
            self._again = self._close(self._again | first)

    def _close(self, states: int) -> int:
        """With the states that are reached without taking a character."""
        while True:
            more = states | (states & self._optional) << 1
            if more == states:
                return states
            states = more

    def _step(self, states: int, character: str) -> int:
        takers = self._takers.get(character)
        if takers is None:
            takers = sum(1 << index for index, test in enumerate(self._tests) if test(character))
            if len(self._takers) < _MAX_REMEMBERED:
                self._takers[character] = takers
        taking = states & takers
        following = self._close(taking << 1 | taking & self._repeating) | self._again
        if len(self._steps) >= _MAX_REMEMBERED:
            self._steps.clear()
        self._steps[states, character] = following
        return following


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0

    def alternatives(self) -> list[tuple[list[_Item], bool, bool]]:
        found = [self._alternative()]
        while self._next_is("|"):
            found.append(self._alternative())
        return found

    def _alternative(self) -> tuple[list[_Item], bool, bool]:
        is_anchored = self._next_is("^")
        items: list[_Item] = []
        while self._at < len(self._source) and self._source[self._at] != "|":
            if self._next_is("$"):
                if self._at < len(self._source) and self._source[self._at] != "|":
                    raise InvalidRegex("$ is not at the end")
                return items, is_anchored, True
            items += self._quantified(self._atom())
            if len(items) > MAX_ITEMS:
                raise InvalidRegex("too long")
        if not items and not is_anchored:
            raise InvalidRegex("an alternative is empty")
        return items, is_anchored, False

    def _atom(self) -> _CharTest:
        character = self._take()
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escape()
        if character == ".":
            return lambda _: True
        if character in "()*+?{}]^":
            raise InvalidRegex(f"{character} is not expected here")
        return lambda c: c == character

    def _quantified(self, test: _CharTest) -> list[_Item]:
        if self._next_is("*"):
            return [_Item(test, True, True)]
        if self._next_is("+"):
            return [_Item(test, False, True)]
        if self._next_is("?"):
            return [_Item(test, True, False)]
        bounds = _BOUNDS.match(self._source, self._at)
        if bounds is None:
            return [_Item(test, False, False)]
        self._at = bounds.end()
        least = int(bounds[1])
        most = least if bounds[2] is None else int(bounds[3]) if bounds[3] is not None else None
        if (most is not None and most < least) or max(least, most or 0) > MAX_ITEMS:
            raise InvalidRegex("bounds of a repetition")
        items = [_Item(test, False, False)] * least
        return items + ([_Item(test, True, True)] if most is None else [_Item(test, True, False)] * (most - least))

    def _class(self) -> _CharTest:
        is_negated = self._next_is("^")
        tests: list[_CharTest] = []
        ranges: list[tuple[str, str]] = []
        while not self._next_is("]"):
            character = self._take()
            if character == "\\":
                escaped = self._take()
                if escaped.lower() in _CLASSES:
                    tests.append(_class_test(escaped))
                    continue
                character = self._hex() if escaped == "x" else escaped
            last = character
            if self._source[self._at : self._at + 1] == "-" and self._source[self._at + 1 : self._at + 2] not in (
                "",
                "]",
            ):
                self._at += 1
                last = self._take()
                if last == "\\":
                    last = self._take()
                if last < character:
                    raise InvalidRegex("a range runs backwards")
            ranges.append((character, last))
        if not tests and not ranges:
            raise InvalidRegex("an empty class")

        def contains(c: str) -> bool:
            return (any(low <= c <= high for low, high in ranges) or any(test(c) for test in tests)) != is_negated

        return contains

    def _escape(self) -> _CharTest:
        character = self._take()
        if character.lower() in _CLASSES:
            return _class_test(character)
        if character == "x":
            character = self._hex()
        elif character.isalnum():
            raise InvalidRegex(f"\\{character} is unknown")
        return lambda c: c == character

    def _hex(self) -> str:
        digits = self._source[self._at : self._at + 2]
        if not re.fullmatch("[0-9a-fA-F]{2}", digits):
            raise InvalidRegex("\\x takes two digits")
        self._at += 2
        return chr(int(digits, 16))

    def _take(self) -> str:
        if self._at >= len(self._source):
            raise InvalidRegex("ends too early")
        self._at += 1
        return self._source[self._at - 1]

    def _next_is(self, character: str) -> bool:
        if self._source[self._at : self._at + 1] != character:
            return False
        self._at += 1
        return True


def _class_test(letter: str) -> _CharTest:
    test = _CLASSES[letter.lower()]
    if letter.islower():
        return test
    return lambda c: not test(c)
