"""The short form of `python -m tests.crash.kills`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.kills import run


@pytest.mark.server
def test_no_accepted_event_is_lost_or_doubled(tmp_path: Path) -> None:
    result = run(tmp_path / "data", kills=2, seed=7)
    assert len(result.accepted) > 20
    assert result.missing == set()
    assert result.twice == 0
    assert result.unknown <= result.unanswered
