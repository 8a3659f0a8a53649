"""The comparison with recorded answers finds what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.recordings import Recording, paths

A, B = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


def recording(folder: Path, **steps: Any) -> Recording:
    path = folder / "recording.json"
    path.write_text(json.dumps({"id": "t::T::t", "recorded-content": steps}))
    return Recording(path)


def test_a_placeholder_keeps_its_first_value(tmp_path: Path) -> None:
    found = recording(tmp_path, a={"Id": "<uuid:1>"}, b={"Id": "<uuid:1>"})
    found.check("a", {"Id": A})
    found.check("b", {"Id": A})
    with pytest.raises(AssertionError):
        found.check("b", {"Id": B})


def test_different_ids_have_different_values(tmp_path: Path) -> None:
    found = recording(tmp_path, a={"Id": "<uuid:1>"}, b={"Id": "<uuid:2>"})
    found.check("a", {"Id": A})
    with pytest.raises(AssertionError):
        found.check("b", {"Id": A})


@pytest.mark.parametrize("answer", [{}, {"A": "x", "B": 1}, {"A": "y"}, {"A": None}, {"A": 1}])
def test_other_members_and_values_are_found(tmp_path: Path, answer: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        recording(tmp_path, a={"A": "x"}).check("a", answer)


def test_placeholders_inside_texts(tmp_path: Path) -> None:
    found = recording(tmp_path, a={"A": "arn:<partition>:x:<region>:<name:1>"}, b={"A": "<name:1>"})
    found.check("a", {"A": "arn:aws:x:eu-west-1:f"})
    found.check("b", {"A": "f"})
    with pytest.raises(AssertionError):
        found.check("a", {"A": "arn:aws-cn:x:eu-west-1:f"})


def test_the_order_of_enumerations_does_not_matter(tmp_path: Path) -> None:
    found = recording(tmp_path, a={"A": "enum value set: [a, b]"})
    found.check("a", {"A": "enum value set: [b, a]"})
    with pytest.raises(AssertionError):
        found.check("a", {"A": "enum value set: [b, c]"})


def test_every_recording_has_steps() -> None:
    assert paths()
    for path in paths().values():
        assert Recording(path).steps


def test_every_recording_is_compared_by_a_test() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    unused = set()
    for name in paths():
        group, _, test = name.partition("[")[0].rpartition("::")
        if test not in sources and not (group and f'startswith("{group}::")' in sources):
            unused.add(name)
    assert not unused
