"""The expressions of filter patterns agree with Python's on what both know."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdad.domain.log_regex import InvalidRegex, Regex

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "[a-c]", r"\d", r"\w", r"\.", r"\x61", "1", "[0-9_]", r"[\d]"])
QUANTIFIERS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,}", "{0,2}"])
SEQUENCES = st.lists(st.tuples(ATOMS, QUANTIFIERS).map("".join), min_size=1, max_size=5).map("".join)
ALTERNATIVES = st.tuples(st.sampled_from(["", "^"]), SEQUENCES, st.sampled_from(["", "$"])).map("".join)
EXPRESSIONS = st.lists(ALTERNATIVES, min_size=1, max_size=3).map("|".join)


@settings(max_examples=300)
@given(EXPRESSIONS, st.text(alphabet="abc1._ \n", max_size=12))
def test_it_finds_what_python_finds(source: str, text: str) -> None:
    expected = re.search(source, text, re.ASCII | re.DOTALL) is not None
    assert Regex(source).search(text) == expected


@given(st.text(alphabet="ab[]{}()\\^$|*+?.-,0x", max_size=15))
def test_whatever_is_taken_can_be_searched_for(source: str) -> None:
    try:
        regex = Regex(source)
    except InvalidRegex:
        return
    assert regex.search("ab0") in (True, False)


@pytest.mark.parametrize(
    "source", ["a{5000}", "(a)", "a{2,1}", "[", "[]", "a\\", "*a", "a$b", "a|", "x{1,1999}x{1,1999}"]
)
def test_others_are_refused(source: str) -> None:
    with pytest.raises(InvalidRegex):
        Regex(source)


def test_memory_of_steps_is_bounded() -> None:
    regex = Regex("[^x]{3}y")
    text = "".join(chr(0x4E00 + number % 20_000) for number in range(120_000))
    assert not regex.search(text)
    assert regex.search(text + "y")
    assert len(regex._steps) <= 50_000
