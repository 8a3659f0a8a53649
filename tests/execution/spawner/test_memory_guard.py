"""The kernel tells once that memory has reached its limit: whoever hovers there must not be lost from sight."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambdad.execution.spawner.isolation.cgroups import Group
from lambdad.execution.spawner.isolation.memory import MemoryGuard

LIMIT = 128 << 20


class FakeGroup:
    """A directory with the files of a group of version 1."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name in ("memory.max_usage_in_bytes", "cgroup.event_control"):
            (place / name).write_text("")
        (place / "memory.oom_control").write_text("oom_kill 0\n")
        (place / "memory.stat").write_text("total_active_file 0\ntotal_inactive_file 0\n")
        self.uses(0)

    def uses(self, count: int) -> None:
        (self.place / "memory.usage_in_bytes").write_text(f"{count}\n")


@pytest.fixture
def group(tmp_path: Path) -> FakeGroup:
    return FakeGroup(tmp_path)


@pytest.fixture
def guard(group: FakeGroup) -> Iterator[MemoryGuard]:
    guard = MemoryGuard(Group(str(group.place), "", 1), limit_bytes=LIMIT, tmp="")
    asked = guard.arm()
    assert asked is not None
    for descriptor in asked[1]:
        os.close(descriptor)
    event(guard)  # of whoever asked: the kernel watches
    assert not guard.is_exceeded()
    assert not guard.is_above
    yield guard
    guard.close()


def event(guard: MemoryGuard) -> None:
    os.eventfd_write(guard.descriptor, 1)
    guard.drain()


@pytest.mark.parametrize("below", [0, 1, 256 << 10])
def test_one_that_was_just_at_its_limit_is_looked_at_again(guard: MemoryGuard, group: FakeGroup, below: int) -> None:
    # Processors keep some pages in reserve, so the count may be back below the limit when the event is read. The next
    # time that it passes, the kernel says nothing: for it, it never went below.
    group.uses(LIMIT - below)
    event(guard)
    assert not guard.is_exceeded()
    assert guard.is_above
    group.uses(LIMIT * 3)
    assert guard.is_exceeded()


def test_one_that_is_well_below_again_is_left_to_the_kernel(guard: MemoryGuard, group: FakeGroup) -> None:
    group.uses(LIMIT)
    event(guard)
    assert not guard.is_exceeded()
    group.uses(LIMIT // 2)
    assert not guard.is_exceeded()
    assert not guard.is_above
