"""The benchmark of freezing: its arithmetic compares within rounds."""

from __future__ import annotations

from benchmarks.report import conditions

from benchmarks import freeze


def test_the_difference_is_that_of_each_round():
    seconds = {
        freeze.HOT: [0.000300, 0.000200, 0.000250],
        freeze.IDLE: [0.001000, 0.002000, 0.003000],
        freeze.FROZEN: [0.001100, 0.002060, 0.003070],
        freeze.FREEZE: [0.000020] * 3,
        freeze.FREEZE_DONE: [0.000120] * 3,
        freeze.THAW: [0.000050] * 3,
    }
    machine = {"cores": 2, "processor": "P", "memory_gib": 4, "kernel": "6.1"}
    results = {"seconds": seconds, "date": "2026-01-01", "machine": machine, "versions": {}, "quick": True}
    text = freeze.render(results, markdown=True)
    assert "| in a hot loop | 250 | 200-300 |" in text
    assert "takes 70 us more" in text
    assert conditions(results) in text
