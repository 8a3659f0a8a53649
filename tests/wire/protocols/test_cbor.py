"""CBOR: the examples of RFC 8949, botocore as a second reader, and what cannot be read."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.parsers import RpcV2CBORParser
from hypothesis import given
from hypothesis import strategies as st

from lambdad.wire.protocols import cbor

# Appendix A of the RFC.
EXAMPLES: list[tuple[str, Any]] = [
    ("00", 0),
    ("17", 23),
    ("1818", 24),
    ("1903e8", 1000),
    ("1b000000e8d4a51000", 1_000_000_000_000),
    ("1bffffffffffffffff", 2**64 - 1),
    ("c249010000000000000000", 2**64),
    ("c349010000000000000000", -(2**64) - 1),
    ("20", -1),
    ("3903e7", -1000),
    ("f90000", 0.0),
    ("f93c00", 1.0),
    ("fa47c35000", 100000.0),
    ("fb3ff199999999999a", 1.1),
    ("f97c00", math.inf),
    ("f4", False),
    ("f5", True),
    ("f6", None),
    ("f7", None),
    ("c11a514b67b0", datetime(2013, 3, 21, 20, 4, tzinfo=UTC)),
    ("4401020304", b"\x01\x02\x03\x04"),
    ("6449455446", "IETF"),
    ("62c3bc", "ü"),
    ("83010203", [1, 2, 3]),
    ("8301820203820405", [1, [2, 3], [4, 5]]),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ("5f42010243030405ff", b"\x01\x02\x03\x04\x05"),
    ("7f657374726561646d696e67ff", "streaming"),
    ("9fff", []),
    ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
    ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
]


@pytest.mark.parametrize(("text", "value"), EXAMPLES)
def test_examples_are_read(text: str, value: Any):
    assert cbor.load(bytes.fromhex(text)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",  # nothing
        "0000",  # two values
        "18",  # a number without its bytes
        "1c",  # a length of no known form
        "63ff",  # a text shorter than announced
        "61ff",  # no UTF-8
        "9f01",  # an array without its end
        "bf6161ff",  # a key without its value
        "a10102",  # a key that is no text
        "ff",  # an end of nothing
        "82ff01",  # an end inside of an array
        "9bffffffffffffffff",  # more items than bytes
        "f0",  # a simple value of no known kind
        "c1fb7fefffffffffffff",  # a time out of range
    ],
)
def test_what_is_not_cbor(text: str):
    with pytest.raises(cbor.NotCbor):
        cbor.load(bytes.fromhex(text))


def test_nesting_has_a_bound():
    with pytest.raises(cbor.NotCbor):
        cbor.load(b"\x81" * 10_000 + b"\x00")


def test_random_bytes_are_read_or_refused():
    source = random.Random(1)
    for _ in range(5_000):
        data = source.randbytes(source.randrange(1, 24))
        try:
            cbor.load(data)
        except cbor.NotCbor:
            continue


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.integers(0, 4_000_000_000_000).map(lambda ms: datetime.fromtimestamp(ms // 1000, UTC)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_read_again(value: Any):
    assert cbor.load(cbor.dump(value)) == value


def test_botocore_reads_what_is_written():
    value = {"a": [1, -70000, 2.5, "ü", b"x", True, None], "t": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}
    stream = RpcV2CBORParser.get_peekable_stream_from_bytes(RpcV2CBORParser(), cbor.dump(value))
    assert RpcV2CBORParser().parse_data_item(stream) == value
