"""The benchmark of asynchronous invocation: its limit commits, its fillings are events, its arithmetic holds."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from benchmarks import asynchronous_report as report
from benchmarks import events as store
from benchmarks import load, targets
from lambdad.storage import events
from lambdad.storage.sqlite import SqliteEngine

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler for the load client"
)


@needs_compiler
def test_the_bare_limit_has_committed_what_it_answers(tmp_path: Path):
    limit = targets.LimitServer("limit-commit", "commit", "--folder", str(tmp_path))
    target = limit.start()
    try:
        result = load.run_client(target.port, target.prepare(), load.Load(connections=8, count=200))
    finally:
        limit.stop()
    assert (result["errors"], result["answered"]) == (0, 200), result["first_error"]
    with sqlite3.connect(tmp_path / "commits.db") as connection:
        assert connection.execute("SELECT COUNT(*) FROM event").fetchone() == (200,)


async def test_a_filled_store_has_events_of_that_function(tmp_path: Path):
    engine = await SqliteEngine.open(tmp_path)
    try:
        await store.fill_function(engine, "held", 2_500)
        (queue,) = await events.queues(engine)
        assert (queue.key.name, await events.count(engine)) == ("held", 2_500)
    finally:
        await engine.close()


def test_aims_compare_with_the_limit_of_the_same_repetition_and_with_no_backlog():
    def runs(*rates: float) -> list[dict]:
        return [{"requests_per_second": rate, "p99": 1e6} for rate in rates]

    accept = {"runs": {report.LIMIT: {"8": runs(9_000, 9_000, 9_000), "64": runs(10_000, 20_000, 10_000)},
                       report.HELD: {"8": runs(4_000, 2_000, 3_500), "64": runs(4_000, 12_000, 6_000)}}}  # fmt: skip
    assert [(aim.value, aim.met) for aim in report.accept_aims(accept)] == [(3_500, True), (0.6, True)]
    backlog = {"counts": {str(count): {"times": {"claim of one event": [claim], "empty poll of one function": [0.1]},
                                       "server_pss": 100}
                          for count, claim in ((0, 0.1), (1_000_000, 0.4))}}  # fmt: skip
    assert [(round(aim.value, 2), aim.met) for aim in report.backlog_aims(backlog)] == [
        (4, False),
        (1, True),
        (1, True),
    ]
    fairness = {"seconds": {"empty": [0.001, 0.002, 0.003], "throttled": [0.002, 0.003, 0.009]}}
    assert [(aim.value, aim.met) for aim in report.fairness_aims(fairness)] == [(1.5, True)]
