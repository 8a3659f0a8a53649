"""Events that are not JSON, and AWS's words for why."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdad.domain.json_syntax import explain, is_json

PREFIX = "Could not parse request body into json: Could not parse payload into json: "
NUMBERS = "enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow"
VALUE = "JSON String, Number, Array, Object or token 'null', 'true' or 'false'"


def source(line: int, column: int) -> str:
    return (
        f"[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, column: {column}]"
    )


# The first two are recordings of November 2025, the next two captures of 2026, the fifth a log; the rest is derived.
@pytest.mark.parametrize(
    ("body", "text", "column"),
    [
        (b"n\x87r\x9e\xe9\xb5\xd7I", "Invalid UTF-8 start byte 0x87", 3),
        (
            b"\x99\xeb,j\x07\xa1zYh",
            f"Unexpected character ((CTRL-CHAR, code 153)): expected a valid value ({VALUE})",
            1,
        ),
        (b'{"broken":', "Unexpected end-of-input within/between Object entries", 11),
        (
            b"{",
            f"Unexpected end-of-input: expected close marker for Object (start marker at {source(1, 1)})",
            2,
        ),
        (b"test data", f"Unrecognized token 'test': was expecting ({VALUE})", 6),
        (b"test", f"Unrecognized token 'test': was expecting ({VALUE})", 5),
        (b'{"a":1,}', "Unexpected character ('}' (code 125)): was expecting double-quote to start field name", 8),
        (b"[1 2]", "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries", 4),
        (b'{"a" 1}', "Unexpected character ('1' (code 49)): was expecting a colon to separate field name and value", 6),
        (b'"abc', "Unexpected end-of-input in VALUE_STRING", 5),
        (b"01", "Invalid numeric value: Leading zeroes not allowed", 2),
        (b'"\\q"', "Unrecognized character escape 'q' (code 113)", 4),
        (b"[}", f"Unexpected close marker '}}': expected ']' (for Array starting at {source(1, 1)})", 3),
        (b"]", f"Unexpected close marker ']': expected '}}' (for root starting at {source(1, 0)})", 2),
        (b"}", f"Unexpected close marker '}}': expected ']' (for root starting at {source(1, 0)})", 2),
        (b"NaN", f"Non-standard token 'NaN': {NUMBERS}", 4),
        (b"[NaN]", f"Non-standard token 'NaN': {NUMBERS}", 5),
        (b"[-Infinity]", f"Non-standard token '-Infinity': {NUMBERS}", 11),
        (b"INF", f"Unrecognized token 'INF': was expecting ({VALUE})", 4),
        (b'{"a": undefined}', f"Unrecognized token 'undefined': was expecting ({VALUE})", 17),
        (b"[True]", f"Unrecognized token 'True': was expecting ({VALUE})", 7),
        (b"nulls", f"Unrecognized token 'nulls': was expecting ({VALUE})", 6),
        (b"a" * 300, f"Unrecognized token '{'a' * 256}...': was expecting ({VALUE})", 257),
        ("täst x".encode(), f"Unrecognized token 'täst': was expecting ({VALUE})", 7),
        # Where a value begins it is bytes that count: the first one of "é" is a letter, and the second begins nothing.
        ("é".encode(), "Invalid UTF-8 start byte 0xa9", 3),
        ("日本".encode(), "Invalid UTF-8 start byte 0x97", 3),
        (b"\xc3", f"Unrecognized token '\xc3': was expecting ({VALUE})", 2),
        (b"\xd7", f"Unexpected character ('\xd7' (code 215)): expected a valid value ({VALUE})", 1),
        (b"'a'", f"Unexpected character (''' (code 39)): expected a valid value ({VALUE})", 1),
        (b"{'a': 1}", "Unexpected character (''' (code 39)): was expecting double-quote to start field name", 2),
        (b"{a: 1}", "Unexpected character ('a' (code 97)): was expecting double-quote to start field name", 2),
        ("{é: 1}".encode(), "Unexpected character ('é' (code 233)): was expecting double-quote to start field name", 2),
        (b'{"a": }', "Unexpected character ('}' (code 125)): expected a value", 7),
        (b'{"a": ]', f"Unexpected character (']' (code 93)): expected a valid value ({VALUE})", 7),
        (b"[1,]", "Unexpected character (']' (code 93)): expected a value", 4),
        (b"[,1]", "Unexpected character (',' (code 44)): expected a value", 2),
        (b",", "Unexpected character (',' (code 44)): expected a value", 1),
        (b"[.5]", f"Unexpected character ('.' (code 46)): expected a valid value ({VALUE})", 2),
        (
            b"-x",
            "Unexpected character ('x' (code 120)) in numeric value: "
            "expected digit (0-9) to follow minus sign, for valid numeric value",
            2,
        ),
        (
            b"[+1]",
            "Unexpected character ('+' (code 43)) in numeric value: "
            "JSON spec does not allow numbers to have plus signs: "
            "enable `JsonReadFeature.ALLOW_LEADING_PLUS_SIGN_FOR_NUMBERS` to allow",
            2,
        ),
        (b"[1.]", "Unexpected character (']' (code 93)) in numeric value: Decimal point not followed by a digit", 4),
        (
            b"[1ex]",
            "Unexpected character ('x' (code 120)) in numeric value: Exponent indicator not followed by a digit",
            4,
        ),
        (
            b"// {}",
            "Unexpected character ('/' (code 47)): maybe a (non-standard) comment? "
            "(not recognized as one since Feature 'ALLOW_COMMENTS' not enabled for parser)",
            1,
        ),
        (
            b"{\x00}",
            "Illegal character ((CTRL-CHAR, code 0)): "
            "only regular white space (\\r, \\n, \\t) is allowed between tokens",
            2,
        ),
        (
            b'"a\x01"',
            "Illegal unquoted character ((CTRL-CHAR, code 1)): "
            "has to be escaped using backslash to be included in string value",
            3,
        ),
        (b"5x", "Unexpected character ('x' (code 120)): Expected space separating root-level values", 2),
        (b"\xef\xbb\xbf{}", "Invalid UTF-8 start byte 0xbb", 3),
        (b'"\xed\xa0\x80"', "Invalid UTF-8 start byte 0xed", 3),
        (b'["\xc0\x80"]', "Invalid UTF-8 start byte 0xc0", 4),
    ],
)
def test_the_reason_and_the_position(body: bytes, text: str, column: int) -> None:
    assert not is_json(body)
    assert explain(body) == f"{PREFIX}{text}\n at {source(1, column)}"


def test_lines_are_counted() -> None:
    assert explain(b'{\n "a": 1\n "b"').endswith(f"\n at {source(3, 2)}")


@pytest.mark.parametrize("depth", [900, 980, 999, 1000])
def test_nesting_up_to_the_bound_is_read_whoever_asks(depth: int) -> None:
    assert is_json(b"[" * depth + b"]" * depth)
    assert not is_json(b"[" * depth + b"]" * (depth - 1) + b"}")


def test_nesting_is_bounded() -> None:
    assert not is_json(b"[" * 100_000)
    assert "Document nesting depth (1001) exceeds the maximum allowed (1000" in explain(b"[" * 100_000)


def test_numbers_of_any_length() -> None:
    assert is_json(b"9" * 5000)
    assert is_json(b"[-0." + b"1" * 5000 + b"]")


@pytest.mark.parametrize("body", [b"{}", b"null", b"5", b'"x"', b" [1, 2.5e3, {}] \n", '"é"'.encode(), b"-0.5"])
def test_json_is_json(body: bytes) -> None:
    assert is_json(body)


@given(st.binary(max_size=40))
def test_whatever_comes_there_is_an_answer(body: bytes) -> None:
    assert is_json(body) or explain(body).startswith(PREFIX)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(_values, st.data())
def test_the_walk_and_the_parser_agree(value: object, data: st.DataObject) -> None:
    body = json.dumps(value).encode()
    assert is_json(body)
    cut = data.draw(st.integers(0, len(body)))
    broken = body[:cut] + data.draw(st.sampled_from([b"", b"x", b",", b"}", b'"', b"\xff"])) + body[cut + 1 :]
    if not is_json(broken):
        reason = explain(broken)[len(PREFIX) :]
        # "Unexpected end-of-input" alone is what stands there when the walk found nothing wrong.
        assert not reason.startswith("Unexpected end-of-input\n"), broken
