"""Process trees seen from outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from lambdad.execution.spawner.isolation import trees

# Two children, one of them from another thread, and a grandchild; says so when all are there.
PROGRAM = """
import subprocess, sys, threading
shell = ["/bin/sh", "-c", "sleep 1000 & echo ready; wait"]
first = subprocess.Popen(shell, stdout=subprocess.PIPE)
first.stdout.readline()
second = []
def start():
    second.append(subprocess.Popen(["sleep", "1000"]))
    print("ready", flush=True)
    second[0].wait()
threading.Thread(target=start).start()
"""


@pytest.fixture
def root() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process.pid
    trees.kill_all([*trees.descendants(process.pid, trees.children_by_parent()), process.pid])
    process.wait()


def test_everything_below_a_process_is_found(root: int) -> None:
    found = trees.below(root)
    assert len(found) == 3
    assert sorted(found) == sorted(trees.descendants(root, trees.children_by_parent()))


def test_nothing_is_below_a_process_that_is_gone() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert trees.below(process.pid) == []


def test_stopping_and_going_on(root: int) -> None:
    def states() -> set[str]:
        return {open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] for pid in trees.below(root)}

    trees.stop_all(root)
    assert states() == {"T"}
    trees.continue_all(root)
    assert "T" not in states()
