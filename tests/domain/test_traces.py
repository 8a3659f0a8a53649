"""The trace header that functions see."""

from __future__ import annotations

import re

import pytest

from lambdad.domain.traces import function_hash, lineage_depth, trace_header

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def test_a_call_without_a_header_gets_one() -> None:
    header = trace_header("", ARN, 1_700_000_000.0)
    assert re.fullmatch(
        rf"Root=1-6553f100-[0-9a-f]{{24}};Parent=[0-9a-f]{{16}};Sampled=0;Lineage=1:{function_hash(ARN)}:0", header
    )


def test_root_and_sampled_are_kept_and_the_parent_is_replaced() -> None:
    incoming = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    header = trace_header(incoming, ARN, 0)
    assert header.startswith("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=")
    assert "53995c3f42cd8ad8" not in header
    assert ";Sampled=1;" in header


@pytest.mark.parametrize("incoming", ["", "Root=1-5759e988-bd862e3fe1be46a994272793", "Sampled=?"])
def test_active_tracing_samples_what_the_caller_left_open(incoming: str) -> None:
    assert ";Sampled=1;" in trace_header(incoming, ARN, 0, is_active=True)
    assert ";Sampled=0;" in trace_header(incoming, ARN, 0)
    assert ";Sampled=0;" in trace_header(incoming + ";Sampled=0", ARN, 0, is_active=True)


def test_lineage_counts_the_chain() -> None:
    header = ""
    for depth in range(1, 17):
        header = trace_header(header, ARN, 0)
        assert header.endswith(f"Lineage={depth}:{function_hash(ARN)}:{depth - 1}")


def test_unreadable_parts_are_harmless() -> None:
    assert lineage_depth("x:y") == 0
    assert lineage_depth("-1:y") == 0
    assert trace_header("garbage;;=;Sampled=7", ARN, 0).count("Sampled=0") == 1
