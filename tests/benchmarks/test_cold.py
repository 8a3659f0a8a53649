"""The benchmark of cold starts: its report compares within rounds, its figures are of the processes named."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks import cold, cold_report


def test_aims_compare_with_the_limit_of_the_same_round():
    times = {
        "python3 -c pass": [0.010, 0.020, 0.030],
        "node -e 0": [0.030, 0.030, 0.030],
        "python, auto": [0.005, 0.010, 0.030],
        "python, off": [0.004, 0.004, 0.004],
        "node, auto": [0.060, 0.006, 0.006],
    }
    found = [(aim.text, round(aim.value, 2), aim.met) for aim in cold_report.first_aims({"seconds": times})]
    assert found == [
        ("python, auto: of `python3 -c pass`", 0.5, True),
        ("python, auto", 10, True),
        ("node, auto: of `node -e 0`", 0.2, True),
        ("what isolation adds to the first call of a Python function", 6, False),
    ]


def test_private_memory_is_that_of_a_whole_tree():
    program = "import subprocess, sys, time; x = bytearray(50_000_000); print(flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert cold.private(os.getpid())[child.pid] > 50_000_000
    finally:
        child.kill()
        child.wait()


def test_limits_are_measured():
    found = dict(cold.limits(None))
    assert found["python3 -c pass"] > found["fork"] > 0


def test_the_bundle_is_large():
    source = cold.bundle_source()
    assert 1_200_000 < len(source) < 1_500_000
    assert source.count("function f") == cold.BUNDLE_FUNCTIONS


def test_a_bundle_is_compared_with_itself_of_the_same_round():
    times = {"compiled when deployed, auto": [0.03, 0.06, 0.09], "without, auto": [0.06, 0.10, 0.10]}
    (aim,) = cold_report.bundle_aims({"seconds": times})
    assert (round(aim.value, 2), aim.met) == (0.6, True)
    assert list(cold_report.bundle_aims({"seconds": {}})) == []
