"""What `lambdad doctor` says of isolation is what the spawner reported, and nothing better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lambdad.cli import doctor
from lambdad.cli.options import load_settings
from lambdad.config import Settings

LIMITED = {"cgroups": 2, "limits_memory": True, "limits_tasks": True, "freezer": 2, "cpu": "shares"}
UNLIMITED = {"cgroups": 0, "limits_memory": False, "limits_tasks": False, "freezer": 0, "cpu": "off"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"data": str(tmp_path)})


def findings(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tier: str, groups: dict[str, Any], **changes: Any
) -> dict[str, doctor.Finding]:
    report = {"tier": tier, "obstacles": [], "missing": [], "landlock": 6, "users": tier == "T3", **groups, **changes}

    async def answer(_: Settings) -> dict[str, Any]:
        return report

    monkeypatch.setattr(doctor, "_spawner_report", answer)
    return {finding.name: finding for finding in doctor._isolation(settings)}


@pytest.mark.parametrize("tier", ["T2", "T3"])
def test_more_memory_is_said_to_be_stopped_only_where_a_group_limits_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tier: str
) -> None:
    limited = findings(settings, monkeypatch, tier, LIMITED)
    assert "more memory, tasks or /tmp than configured" in limited["means"].detail
    assert limited["cgroups"].detail == "version 2, exact limits of memory and tasks"
    assert limited["cgroups"].status == "ok"
    unlimited = findings(settings, monkeypatch, tier, UNLIMITED)
    assert "more tasks or /tmp than configured" in unlimited["means"].detail
    assert "exact" not in unlimited["tier"].detail
    assert unlimited["cgroups"].status == "note"
    assert "Delegate=yes" in unlimited["cgroups"].remedy


def test_version_1_without_its_memory_controller_is_not_called_exact(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings(settings, monkeypatch, "T3", UNLIMITED, cgroups=1, limits_tasks=True)
    assert found["cgroups"].detail == "version 1, exact limits of tasks"
    assert found["cgroups"].status == "note"


def test_a_fork_bomb_is_feared_only_where_nothing_limits_processes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "control group" in findings(settings, monkeypatch, "T1", LIMITED)["users"].detail
    assert "fork bomb" in findings(settings, monkeypatch, "T1", UNLIMITED)["users"].detail
