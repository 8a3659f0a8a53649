"""What functions tell about the items of their batches."""

from __future__ import annotations

import json

import pytest

from lambdad.domain.batch_failures import WHOLE_BATCH, reported_failures

IDS = ["a", "b", "c"]


@pytest.mark.parametrize("answer", [None, "", [], {}, {"batchItemFailures": None}, {"batchItemFailures": []}])
def test_nothing_has_failed(answer: object) -> None:
    assert reported_failures(json.dumps(answer).encode(), IDS) == frozenset()


def test_no_answer_at_all_is_success() -> None:
    assert reported_failures(b"", IDS) == frozenset()


def test_the_named_items_have_failed() -> None:
    answer = {"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "c"}, {"itemIdentifier": "b"}]}
    assert reported_failures(json.dumps(answer).encode(), IDS) == {"b", "c"}


@pytest.mark.parametrize(
    "failure",
    [
        {"itemIdentifier": ""},
        {"itemIdentifier": None},
        {"foo": None},
        {"foo": "a"},
        {},
        {"itemIdentifier": "unknown"},
        {"itemIdentifier": 1},
        "a",
        None,
    ],
)
def test_a_name_that_is_none_fails_the_whole_batch(failure: object) -> None:
    answer = {"batchItemFailures": [{"itemIdentifier": "a"}, failure]}
    assert reported_failures(json.dumps(answer).encode(), IDS) is WHOLE_BATCH


@pytest.mark.parametrize("payload", [b"{", b'"text"', b"7", b"[1]", b'{"batchItemFailures": "a"}', b"true"])
def test_an_answer_of_another_form_fails_the_whole_batch(payload: bytes) -> None:
    assert reported_failures(payload, IDS) is WHOLE_BATCH
