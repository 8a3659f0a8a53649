"""Where control groups of version 2 are made: in what was delegated, in a scope of systemd's, or where no systemd is.

Over a tree of plain directories, so it runs on every machine; what the kernel makes of it is for the other tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lambdad.execution.spawner.isolation import cgroups, scopes
from lambdad.execution.spawner.isolation.cgroups import Group, Groups
from lambdad.execution.spawner.isolation.memory import MemoryGuard

INSTANCE = cgroups.instance_name(os.getpid())
GONE = "lambdad-4194305-77"
"""Of a spawner that is no more: no process has such an id."""


class Tree:
    """A hierarchy of version 2 made of plain files; `own` is the group that this process is in."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = top
        self.own = top
        self.delegated: set[Path] = set()
        self.scope: Path | None = None
        """Where systemd puts who asks; None: it gives no scope."""
        self.has_systemd = False
        self.asked = 0
        self._make, self._unmake = os.mkdir, os.rmdir
        monkeypatch.setattr(os, "mkdir", self._mkdir)
        monkeypatch.setattr(os, "rmdir", self._rmdir)
        monkeypatch.setattr(cgroups, "own_hierarchies", self._hierarchies)
        monkeypatch.setattr(scopes, "runs_systemd", lambda: self.has_systemd)
        monkeypatch.setattr(scopes, "is_delegated", lambda directory: Path(directory) in self.delegated)
        monkeypatch.setattr(scopes, "enter", self._enter)
        self._fill(top)
        (top / "cgroup.type").unlink()  # the real root has none

    def group(self, path: str, *members: int) -> Path:
        directory = self.top / path
        os.makedirs(directory, exist_ok=True)
        (directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in members))
        return directory

    def lies_in(self, path: str, *members: int) -> Path:
        self.own = self.group(path, *members)
        return self.own

    def _hierarchies(self) -> dict[str, cgroups._Hierarchy]:
        return {"": cgroups._Hierarchy(str(self.own), 2, str(self.top))}

    def _enter(self, name: str) -> None:
        self.asked += 1
        if self.scope is None:
            raise scopes.NoScope("systemd gives no control group: Access denied")
        self.own = self.group(f"{self.scope}/{name}", os.getpid())

    def _fill(self, directory: Path) -> None:
        for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.kill", "memory.max", "memory.events"):
            (directory / name).write_text("")
        for name in ("memory.high", "memory.swap.max", "memory.oom.group", "pids.max"):
            (directory / name).write_text("")
        (directory / "cgroup.type").write_text("domain\n")
        (directory / "memory.current").write_text("0\n")
        (directory / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")

    def _mkdir(self, path: str, mode: int = 0o777) -> None:
        self._make(path, mode)
        if Path(path).is_relative_to(self.top):
            self._fill(Path(path))

    def _rmdir(self, path: str) -> None:
        """As the kernel: files do not keep a group, members and groups below do."""
        directory = Path(path)
        if directory.is_relative_to(self.top):
            if any(entry.is_dir() for entry in directory.iterdir()) or (directory / "cgroup.procs").read_text():
                raise OSError(16, "busy", path)
            for entry in directory.iterdir():
                entry.unlink()
        self._unmake(path)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


def test_a_delegated_unit_is_divided_and_its_processes_move_into_a_leaf(tree: Tree) -> None:
    tree.has_systemd = True
    place = tree.lies_in("system.slice/lambdad.service", os.getpid())
    tree.delegated = {place}
    groups = Groups(INSTANCE)
    assert (groups.version, groups.place) == (2, str(place / INSTANCE))
    assert (place / "lambdad-service/cgroup.procs").read_text() == str(os.getpid())
    assert (place / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert tree.asked == 0


def test_a_shell_that_started_the_server_in_a_delegated_unit_moves_too(tree: Tree) -> None:
    """As with `ExecStart=/bin/sh -c ...`."""
    tree.has_systemd = True
    tree.delegated = {tree.lies_in("system.slice/lambdad.service", os.getpid(), os.getppid(), 1)}
    assert Groups(INSTANCE).version == 2


def test_a_spawner_that_is_started_anew_lies_beside_the_first_and_sweeps_what_it_left(tree: Tree) -> None:
    """The first one has moved server and all into the leaf."""
    tree.has_systemd = True
    place = tree.group("system.slice/lambdad.service")
    tree.lies_in("system.slice/lambdad.service/lambdad-service", os.getpid())
    left = tree.group(f"system.slice/lambdad.service/{GONE}/{'a' * 32}")
    tree.delegated = {place}
    assert Groups(INSTANCE).place == str(place / INSTANCE)
    assert not left.exists()
    assert not left.parent.exists()


def test_a_subgroup_that_systemd_made_for_the_service_is_a_leaf(tree: Tree) -> None:
    """`DelegateSubgroup=`: the unit is delegated, the service runs below."""
    tree.has_systemd = True
    place = tree.group("system.slice/lambdad.service")
    tree.lies_in("system.slice/lambdad.service/main", os.getpid())
    tree.delegated = {place}
    assert Groups(INSTANCE).place == str(place / INSTANCE)


def test_from_a_shell_a_scope_is_asked_for(tree: Tree) -> None:
    tree.has_systemd = True
    session = tree.lies_in("user.slice/session-1.scope", os.getpid(), 999_999)
    tree.scope = tree.group("system.slice")
    groups = Groups(INSTANCE)
    assert groups.place == str(tree.scope / scopes.unit(INSTANCE) / INSTANCE)
    assert (session / "cgroup.subtree_control").read_text() == ""
    assert groups.why_not == ""


def test_scopes_of_spawners_that_are_gone_are_emptied(tree: Tree) -> None:
    tree.has_systemd = True
    tree.lies_in("user.slice/session-1.scope", os.getpid(), 999_999)
    tree.scope = tree.group("system.slice")
    left = tree.group(f"system.slice/{scopes.unit(GONE)}/{GONE}")
    other = tree.group("system.slice/cron.service")
    Groups(INSTANCE)
    assert not left.exists()
    assert other.exists()


def test_without_a_scope_the_reason_is_told(tree: Tree) -> None:
    tree.has_systemd = True
    tree.lies_in("user.slice/session-1.scope", os.getpid(), 999_999)
    groups = Groups(INSTANCE)
    assert (groups.version, groups.limits_memory) == (0, False)
    assert groups.why_not == "systemd gives no control group: Access denied"


def test_without_a_scope_a_group_of_ours_alone_will_do(tree: Tree) -> None:
    tree.has_systemd = True
    place = tree.lies_in("app.slice/lambdad.service", os.getpid(), os.getppid())
    groups = Groups(INSTANCE)
    assert groups.place == str(place / INSTANCE)


def test_where_no_systemd_is_the_group_of_a_container_is_divided(tree: Tree) -> None:
    place = tree.lies_in("container", os.getpid(), os.getppid())
    assert Groups(INSTANCE).place == str(place / INSTANCE)
    assert tree.asked == 0


def test_the_root_of_all_may_hold_processes_and_be_divided(tree: Tree) -> None:
    """As on Alpine with OpenRC, where a shell lies there."""
    tree.lies_in(".", 1, 999_999, os.getpid())
    assert Groups(INSTANCE).place == str(tree.top / INSTANCE)
    assert not (tree.top / "lambdad-service").exists()


def test_a_hierarchy_without_controllers_is_left_alone(tree: Tree) -> None:
    """Beside version 1: a scope would have none either, so systemd is not even asked."""
    tree.has_systemd = True
    tree.lies_in("user.slice/session-1.scope", os.getpid())
    (tree.top / "cgroup.controllers").write_text("\n")
    assert Groups(INSTANCE).version == 0
    assert tree.asked == 0


def test_nothing_is_left_where_dividing_fails_halfway(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tree.lies_in("container", os.getpid())
    write = cgroups.write

    def refuse(path: str, text: str) -> None:
        if path.endswith(f"{INSTANCE}/cgroup.subtree_control"):
            raise PermissionError(13, "refused", path)
        write(path, text)

    monkeypatch.setattr(cgroups, "write", refuse)
    assert Groups(INSTANCE).version == 0
    assert not (place / INSTANCE).exists()


def test_limits_are_written(tree: Tree) -> None:
    tree.lies_in("container", os.getpid())
    group = Groups(INSTANCE).create("7", tasks=1024)
    group.limit_memory(128 << 20, 192 << 20)
    files = {name: Path(group.memory, name).read_text() for name in ("memory.max", "memory.high", "memory.oom.group")}
    assert files == {"memory.max": str(192 << 20), "memory.high": str(128 << 20), "memory.oom.group": "1"}
    assert Path(group.tasks, "pids.max").read_text() == "1024"
    assert group.remove()


def test_everything_in_a_group_is_killed_at_once(tree: Tree) -> None:
    group = Group(str(tree.group("one")), "", 2)
    assert group.kill()
    assert (tree.top / "one/cgroup.kill").read_text() == "1"
    (tree.top / "one/cgroup.kill").unlink()
    assert not group.kill(), "Linux before 5.14"
    assert group.remove()


def test_the_high_water_mark_is_kept_where_the_kernel_does_not(tree: Tree) -> None:
    """`memory.peak` came with Linux 5.19; Debian 11 and Ubuntu 22.04 have none."""
    place = tree.group("one")
    group = Group(str(place), str(place), 2)
    guard = MemoryGuard(group, limit_bytes=128 << 20, tmp="")
    assert group.peak_kib() == 0
    for mib in (40, 90, 30):
        (place / "memory.current").write_text(f"{mib << 20}\n")
        assert not guard.is_exceeded()
    assert group.peak_kib() == 90 << 10
    assert guard.descriptor < 0, "it has to be looked at"
    assert int(os.pread(group.peak_descriptor, 32, 0)) == 90 << 20, "as the server reads it"
    guard.close()
    assert group.remove()


def test_a_scope_is_asked_for_with_all_that_it_must_be() -> None:
    words = scopes.command("lambdad-spawner-7-99.scope", 7, of_user=True)
    assert words[0] == "--user"
    assert " ".join(words).endswith(
        "StartTransientUnit ssa(sv)a(sa(sv)) lambdad-spawner-7-99.scope fail 5 "
        "Description s Environments of lambdad's functions Delegate b true PIDs au 1 7 "
        "TasksMax t 18446744073709551615 CollectMode s inactive-or-failed 0"
    )
    assert scopes.command("x.scope", 7, of_user=False)[0] == "--system"


def test_the_name_of_a_scope_tells_whose_it_is() -> None:
    assert scopes.unit("lambdad-7-99") == "lambdad-spawner-7-99.scope"
    assert scopes.instance("lambdad-spawner-7-99.scope") == "lambdad-7-99"
    assert scopes.instance("session-1.scope") == ""
