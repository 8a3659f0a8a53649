"""Is an event JSON, and if not, where and why, in the words of the parser that AWS uses.

The check itself is Python's C parser, made as strict as JSON is. Only when it refuses does `explain` walk through the
bytes again to find the text and the position that AWS would give (AWS: recorded 2025-11 and captures of 2026 for the
commoner cases; the others follow Jackson's UTF8StreamJsonParser, the parser those texts come from: it looks at single
bytes where it wants a value, and gives the place behind what it has read, but of a character that it does not want here
the place of that).

Decided here: content after the first complete value is refused, although Jackson by default would not look at it; so
are a byte order mark and what is not quite UTF-8 (halves of surrogate pairs), which Jackson would let pass, because
functions could not read them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from json.scanner import make_scanner
from typing import NoReturn

SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, column: {column}]"
_COMMENT = (
    "maybe a (non-standard) comment? (not recognized as one since Feature 'ALLOW_COMMENTS' not enabled for parser)"
)
_PLUS_SIGN = (
    "JSON spec does not allow numbers to have plus signs: "
    "enable `JsonReadFeature.ALLOW_LEADING_PLUS_SIGN_FOR_NUMBERS` to allow"
)
EXPECTED_VALUE = "JSON String, Number, Array, Object or token 'null', 'true' or 'false'"
MAX_DEPTH = 1000

_WHITESPACE = b" \t\r\n"
MAX_TOKEN_LENGTH = 256
_OF_IDENTIFIERS = frozenset(["Lu", "Ll", "Lt", "Lm", "Lo", "Nl", "Sc", "Pc"])
"""Categories of characters that begin an identifier of Java's, and so a word; more may follow."""
_IN_IDENTIFIERS = _OF_IDENTIFIERS | {"Nd", "Mc", "Mn", "Cf"}
_IGNORABLE = frozenset([*range(9), *range(0x0E, 0x1C), *range(0x7F, 0xA0)])
_ESCAPES = frozenset(b'"\\/bfnrt')
_HEX = frozenset(b"0123456789abcdefABCDEF")
_DIGITS = frozenset(b"0123456789")
_PLAIN_TEXT = re.compile(rb'[^"\\\x00-\x1f\x80-\xff]+')


class _NotStandard(ValueError):
    """NaN or Infinity, which Python reads and JSON does not have."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NotStandard(name)


# Values are of no interest: `len` is quicker than making numbers, and Python refuses to make the longest.
_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=len, parse_float=len)
_decode = _decoder.decode
_scan_once = make_scanner(_decoder)  # type: ignore[arg-type] # a decoder is what it takes; the stubs are wrong


def is_json(body: bytes) -> bool:
    """Whether the bytes are one JSON value in UTF-8, with nothing but white space around it."""
    try:
        text = body.decode("utf-8")
        try:
            if _scan_once(text, 0)[1] == len(text):  # nearly always: no white space around the value
                return True
        except StopIteration:
            pass
        _decode(text)
    except ValueError:
        return False
    except RecursionError:  # how deep that is depends on who calls; the rule does not
        return _refusal(body) is None
    return True


def explain(body: bytes) -> str:
    """AWS's message for a body that `is_json` refuses."""
    refusal = _refusal(body)
    if refusal is not None:
        text, position = refusal.text, refusal.position
    else:
        text, position = _not_utf8(body)
    prefix = "Could not parse request body into json: Could not parse payload into json: "
    return f"{prefix}{text}\n at {_location(body, position)}"


def _refusal(body: bytes) -> _Refused | None:
    try:
        _Walk(body).document()
    except _Refused as refused:
        return refused
    return None


def _not_utf8(body: bytes) -> tuple[str, int]:
    """Halves of surrogate pairs and too long forms of characters, which Jackson reads and functions could not."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"Invalid UTF-8 start byte 0x{body[error.start]:x}", error.start + 1
    return "Unexpected end-of-input", len(body)  # nothing is wrong with it


def _location(body: bytes, position: int) -> str:
    """`position` counts bytes from 0; lines and columns count from 1."""
    before = body[:position]
    return SOURCE.format(line=before.count(b"\n") + 1, column=position - (before.rfind(b"\n") + 1) + 1)


class _Refused(Exception):
    def __init__(self, text: str, position: int) -> None:
        super().__init__(text)
        self.text = text
        self.position = position


def _begins_word(character: int) -> bool:
    return unicodedata.category(chr(character)) in _OF_IDENTIFIERS


def _is_in_word(character: int) -> bool:
    return unicodedata.category(chr(character)) in _IN_IDENTIFIERS or character in _IGNORABLE


def _describe(character: int) -> str:
    if character < 0x20 or 0x7F <= character <= 0x9F:
        return f"(CTRL-CHAR, code {character})"
    if character > 0xFF:
        return f"'{chr(character)}' (code {character} / 0x{character:x})"
    return f"'{chr(character)}' (code {character})"


class _Walk:
    """A strict walk over the bytes; recursion is avoided, so that depth is limited by the rule alone."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0
        self.open: list[tuple[str, int]] = []  # "Object" or "Array", and where it began
        self.begun: list[bool] = []  # whether the object or array has an entry already

    def document(self) -> None:
        self.space()
        self.value()
        while self.open:
            kind, start = self.open[-1]
            self.space()
            if self.at >= len(self.body):
                raise _Refused(
                    f"Unexpected end-of-input: expected close marker for {kind} "
                    f"(start marker at {_location(self.body, start)})",
                    len(self.body),
                )
            self.entry(kind, start)
        self.space()
        if self.at < len(self.body):
            self.unexpected("Expected space separating root-level values")

    def entry(self, kind: str, start: int) -> None:
        """Goes on inside an object or array: a close marker, or a comma and the next entry."""
        character = self.body[self.at]
        if character in b"]}":
            self.close(kind, start)
            return
        if self.begun[-1]:
            if character != ord(","):
                self.unexpected(f"was expecting comma to separate {kind} entries")
            self.at += 1
            self.more(kind)
        self.begun[-1] = True
        if kind == "Object":
            self.name()
        self.value()

    def close(self, kind: str, start: int) -> None:
        wanted = "}" if kind == "Object" else "]"
        found = chr(self.body[self.at])
        if found != wanted:
            raise _Refused(
                f"Unexpected close marker '{found}': expected '{wanted}' "
                f"(for {kind} starting at {_location(self.body, start)})",
                self.at + 1,
            )
        self.open.pop()
        self.begun.pop()
        self.at += 1

    def name(self) -> None:
        if self.body[self.at] != ord('"'):
            self.unexpected("was expecting double-quote to start field name")
        self.string("in field name")
        self.more("Object")
        if self.body[self.at] != ord(":"):
            self.unexpected("was expecting a colon to separate field name and value")
        self.at += 1
        self.more("Object")

    def value(self) -> None:
        if self.at >= len(self.body):
            raise _Refused("No content to map due to end-of-input", len(self.body))
        character = self.body[self.at]
        if character in b"{[":
            self.begun.append(False)
            self.open.append(("Object" if character == ord("{") else "Array", self.at))
            if len(self.open) > MAX_DEPTH:
                raise _Refused(
                    f"Document nesting depth ({len(self.open)}) exceeds the maximum allowed ({MAX_DEPTH}, "
                    "from `StreamReadConstraints.getMaxNestingDepth()`)",
                    self.at + 1,
                )
            self.at += 1
        elif character == ord('"'):
            self.string("in VALUE_STRING")
        elif character in _DIGITS or character == ord("-"):
            self.number()
        elif character == ord("+"):
            self.unexpected_in_number(_PLUS_SIGN)
        elif character in b"]}" and not self.open:
            raise _Refused(
                f"Unexpected close marker '{chr(character)}': expected '{']' if character == ord('}') else '}'}' "
                f"(for root starting at {SOURCE.format(line=1, column=0)})",
                self.at + 1,
            )
        elif character in b",}" or (character == ord("]") and self.open[-1][0] == "Array"):
            self.unexpected("expected a value")
        elif _begins_word(character):
            self.token()
        else:
            self.unexpected(f"expected a valid value ({EXPECTED_VALUE})", character)

    def token(self) -> None:
        word = chr(self.body[self.at])
        end = self.at = self.at + 1
        while end < len(self.body):
            character = self.next_character()
            if not _is_in_word(character):
                break
            word += chr(character)
            end = self.at
            if len(word) >= MAX_TOKEN_LENGTH:
                word += "..."
                break
        if word in ("NaN", "Infinity"):
            self.non_standard(word, end)
        if word not in ("true", "false", "null"):
            raise _Refused(f"Unrecognized token '{word}': was expecting ({EXPECTED_VALUE})", self.at)
        self.at = end

    def non_standard(self, word: str, end: int) -> NoReturn:
        raise _Refused(f"Non-standard token '{word}': enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow", end)

    def next_character(self) -> int:
        """The code of the next character, as one of Java's: larger ones lose what does not fit into 16 bits."""
        start = self.at
        self.at += self.character(start)
        return ord(self.body[start : self.at].decode("utf-8", "replace")[0]) & 0xFFFF

    def number(self) -> None:
        if self.body[self.at] == ord("-"):
            self.at += 1
            for word in ("Infinity", "INF"):
                if self.body.startswith(word.encode(), self.at):
                    self.non_standard(f"-{word}", self.at + len(word))
            self.digits("expected digit (0-9) to follow minus sign, for valid numeric value")
        else:
            self.digits("")
        if self.at < len(self.body) and self.body[self.at] == ord("."):
            self.at += 1
            self.digits("Decimal point not followed by a digit", leading_zero=True)
        if self.at < len(self.body) and self.body[self.at] in b"eE":
            self.at += 1
            if self.at < len(self.body) and self.body[self.at] in b"+-":
                self.at += 1
            self.digits("Exponent indicator not followed by a digit", leading_zero=True)
        if not self.open and self.at < len(self.body) and self.body[self.at] not in _WHITESPACE:
            self.unexpected("Expected space separating root-level values")

    def digits(self, why: str, *, leading_zero: bool = False) -> None:
        start = self.at
        while self.at < len(self.body) and self.body[self.at] in _DIGITS:
            self.at += 1
        if self.at == start:
            if self.at >= len(self.body):
                raise _Refused("Unexpected end-of-input in a Number value", len(self.body))
            self.unexpected_in_number(why)
        if not leading_zero and self.at - start > 1 and self.body[start] == ord("0"):
            raise _Refused("Invalid numeric value: Leading zeroes not allowed", start + 1)

    def string(self, where: str) -> None:
        self.at += 1
        while True:
            plain = _PLAIN_TEXT.match(self.body, self.at)
            if plain is not None:
                self.at = plain.end()
            if self.at >= len(self.body):
                raise _Refused(f"Unexpected end-of-input {where}", len(self.body))
            character = self.body[self.at]
            if character == ord('"'):
                self.at += 1
                return
            if character == ord("\\"):
                self.escape(where)
            elif character < 0x20:
                raise _Refused(
                    f"Illegal unquoted character ({_describe(character)}): has to be escaped using backslash "
                    "to be included in " + ("name" if "name" in where else "string value"),
                    self.at,
                )
            else:
                self.at += self.character(self.at)

    def escape(self, where: str) -> None:
        self.at += 1
        if self.at >= len(self.body):
            raise _Refused(f"Unexpected end-of-input {where}", len(self.body))
        character = self.body[self.at]
        if character in _ESCAPES:
            self.at += 1
            return
        if character != ord("u"):
            raise _Refused(f"Unrecognized character escape {_describe(character)}", self.at + 1)
        for _ in range(4):
            self.at += 1
            if self.at >= len(self.body):
                raise _Refused("Unexpected end-of-input in character escape sequence", len(self.body))
            if self.body[self.at] not in _HEX:
                self.unexpected("expected a hex-digit for character escape sequence")
        self.at += 1

    def character(self, at: int) -> int:
        """The number of bytes of the UTF-8 character at `at`."""
        first = self.body[at]
        if first < 0x80:
            return 1
        size = 2 if first & 0xE0 == 0xC0 else 3 if first & 0xF0 == 0xE0 else 4 if first & 0xF8 == 0xF0 else 0
        if size == 0:
            raise _Refused(f"Invalid UTF-8 start byte 0x{first:x}", at + 1)
        for offset in range(1, size):
            if at + offset >= len(self.body):
                raise _Refused("Unexpected end-of-input in VALUE_STRING", len(self.body))
            if self.body[at + offset] & 0xC0 != 0x80:
                raise _Refused(f"Invalid UTF-8 middle byte 0x{self.body[at + offset]:x}", at + offset + 1)
        return size

    def space(self) -> None:
        while self.at < len(self.body) and self.body[self.at] in _WHITESPACE:
            self.at += 1
        if self.at < len(self.body):
            character = self.body[self.at]
            if character < 0x20:
                raise _Refused(
                    f"Illegal character ({_describe(character)}): "
                    "only regular white space (\\r, \\n, \\t) is allowed between tokens",
                    self.at,
                )
            if character == ord("/"):
                self.unexpected(_COMMENT)

    def more(self, kind: str) -> None:
        """Skips white space inside an object or array; the input must go on."""
        self.space()
        if self.at >= len(self.body):
            raise _Refused(f"Unexpected end-of-input within/between {kind} entries", len(self.body))

    def unexpected(self, comment: str, character: int | None = None) -> NoReturn:
        at = self.at
        if character is None:
            character = self.body[at] if self.body[at] < 0xC0 else self.next_character()
        raise _Refused(f"Unexpected character ({_describe(character)}): {comment}", at)

    def unexpected_in_number(self, comment: str) -> NoReturn:
        raise _Refused(f"Unexpected character ({_describe(self.body[self.at])}) in numeric value: {comment}", self.at)
