"""Numbers of system calls, which nothing else checks on an architecture that nobody at hand has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lambdad.execution.spawner.isolation import filters, landlock, syscalls

HEADERS = {
    "x86_64": [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")],
    "aarch64": [Path("/usr/include/asm-generic/unistd.h")],
}
"""The kernel's own; aarch64 uses the generic table. Some are called otherwise where a 64-bit variant exists."""
OWN = {
    "clone": syscalls._CLONE,
    "pivot_root": syscalls._PIVOT_ROOT,
    "open_tree": syscalls._OPEN_TREE,
    "move_mount": syscalls._MOVE_MOUNT,
    "close_range": syscalls._CLOSE_RANGE,
    "mount_setattr": syscalls._MOUNT_SETATTR,
    "clone3": syscalls._CLONE3,
    "landlock_create_ruleset": landlock._CREATE_RULESET,
    "landlock_add_rule": landlock._ADD_RULE,
    "landlock_restrict_self": landlock._RESTRICT_SELF,
}


def numbers(machine: str) -> dict[str, int]:
    for header in HEADERS[machine]:
        if header.exists():
            found = re.finditer(r"^#define\s+__NR(?:3264)?_(\w+)\s+(\d+)", header.read_text(), re.MULTILINE)
            return {match[1]: int(match[2]) for match in found}
    pytest.skip(f"no kernel headers for {machine} (package linux-libc-dev)")


@pytest.mark.parametrize("machine", HEADERS)
def test_the_filter_refuses_what_it_names(machine: str) -> None:
    kernel = numbers(machine)
    column = list(filters._ARCHITECTURES).index(machine)
    ours = {name: entry[column] for name, entry in filters._REFUSED.items()}
    assert ours == {name: kernel.get(name, -1) for name in ours}
    assert (filters._CLONE[machine], filters._CLONE3) == (kernel["clone"], kernel["clone3"])


@pytest.mark.parametrize("machine", HEADERS)
def test_what_the_spawner_calls_by_number_is_what_it_means(machine: str) -> None:
    kernel = numbers(machine)
    ours = {name: number if isinstance(number, int) else number[machine] for name, number in OWN.items()}
    assert ours == {name: kernel[name] for name in OWN}
