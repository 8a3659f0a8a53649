"""The unit for systemd that is handed out: what isolation needs of it, and that its command works."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from lambdad.cli.up import command as up

UNIT = Path(__file__).parent.parent / "deploy" / "lambdad.service"
BREAKING = (
    "PrivateUsers",
    "ProtectControlGroups",
    "RestrictNamespaces",
    "SystemCallFilter",
)


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[name].append(value)
    return found


def test_it_delegates_control_groups_and_lets_the_server_end_its_functions() -> None:
    unit = settings()
    assert unit["Delegate"] == ["yes"]
    assert unit["KillMode"] == ["mixed"]
    assert unit["OOMPolicy"] == ["continue"]


def test_it_takes_nothing_away_that_isolation_needs() -> None:
    unit = settings()
    assert [name for name in BREAKING if name in unit] == []
    kept = set(" ".join(unit["CapabilityBoundingSet"]).split())
    needed = {"CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN", "CAP_DAC_OVERRIDE"}
    assert needed <= kept


def test_its_command_is_one_that_there_is() -> None:
    program, name, *options = shlex.split(settings()["ExecStart"][0])
    assert (Path(program).name, name) == ("lambdad", "up")
    known = {option for parameter in up.params for option in parameter.opts}
    assert {option for option in options if option.startswith("-")} <= known


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_it(tmp_path: Path) -> None:
    copy = tmp_path / "lambdad.service"
    copy.write_text(UNIT.read_text().replace("/opt/lambdad/bin/lambdad", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
