"""Digests, sizes, chosen attributes; receipt handles."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdad.domain.queues import MessageAttribute, Receipt
from lambdad.neighbours.sqs import content, receipts
from tests.neighbours.sqs.conftest import text


def test_the_digest_of_attributes_is_the_one_that_clients_compute():
    # A value that clients of SQS check against.
    attributes = {"timestamp": text("1493147359900", "Number")}
    assert content.md5_of_attributes(attributes) == "235c5c510d26fb653d073faed50ae77c"


def test_the_digest_goes_by_name_and_tells_binary_from_text():
    def part(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    attributes = {"b": MessageAttribute("Binary", None, b"\xff"), "a": text("\u00e9")}
    expected = (
        part(b"a") + part(b"String") + b"\x01" + part("\u00e9".encode())
        + part(b"b") + part(b"Binary") + b"\x02" + part(b"\xff")
    )  # fmt: skip
    assert content.md5_of_attributes(attributes) == hashlib.md5(expected).hexdigest()


def test_the_size_counts_names_types_and_values_in_bytes():
    attributes = {"ab": text("\u00e9"), "c": MessageAttribute("Binary", None, b"123")}
    assert content.size_of("\u00e9!", attributes) == 3 + (2 + 6 + 2) + (1 + 6 + 3)


SELECTIONS = [
    ([], []),
    (["All"], ["foo", "foo.bar", "other"]),
    ([".*"], ["foo", "foo.bar", "other"]),
    (["foo"], ["foo"]),
    (["foo.*"], ["foo", "foo.bar"]),
    (["other", "none"], ["other"]),
]


@pytest.mark.parametrize(("names", "chosen"), SELECTIONS)
def test_a_receiver_chooses_attributes(names: list[str], chosen: list[str]):
    attributes = {name: text("x") for name in ("foo", "foo.bar", "other")}
    assert sorted(content.select_attributes(attributes, names)) == chosen


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1))
def test_a_receipt_handle_names_its_receipt(bucket: int, row: int, receives: int):
    handle = receipts.encode(Receipt(bucket, row, receives))
    assert handle.startswith("AQEB")
    assert receipts.decode(handle) == Receipt(bucket, row, receives)


@given(st.integers(0, 43), st.characters())
def test_a_changed_handle_is_none(place: int, character: str):
    handle = receipts.encode(Receipt(1, 2, 3))
    changed = handle[:place] + character + handle[place + 1 :]
    if changed != handle:
        assert receipts.decode(changed) is None


@pytest.mark.parametrize("handle", ["", "x", "AQEB", "AQEB====", "\u00e9"])
def test_a_text_that_is_no_handle(handle: str):
    assert receipts.decode(handle) is None
