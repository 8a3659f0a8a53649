"""The asked version and no other, the real program and no stand-in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lambdad.execution.runtimes import sdk
from lambdad.execution.runtimes.interpreters import Interpreters
from tests.execution.spawner.conftest import open_to_all

OWN = f"python{sys.version_info[0]}.{sys.version_info[1]}"


def nothing_else(**variables: str) -> dict[str, str]:
    return {"PATH": "", "HOME": "/not-there", **variables}


def program(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_the_servers_own_python_is_found_behind_its_virtual_environment() -> None:
    found = Interpreters(environ=nothing_else()).find(OWN)
    assert found is not None
    assert found.path == os.path.realpath(f"{sys.base_prefix}/bin/{OWN}")
    assert found.version == sys.version_info[:3]
    assert found.why_no_sdk == ""


def test_another_minor_version_is_not_taken(tmp_path: Path) -> None:
    own = Interpreters().find(OWN)
    assert own is not None
    interpreters = Interpreters({"python3.99": own.path})
    assert interpreters.find("python3.99") is None
    assert f"{own.path} is Python 3.{sys.version_info[1]}" in interpreters.why_missing("python3.99")
    assert "uv python install 3.99" in interpreters.why_missing("python3.99")


def test_shims_are_passed_over(tmp_path: Path) -> None:
    shim = program(tmp_path / "shims" / "python3.99", "#!/bin/sh\necho '3|99|0|cpython||/usr'\n")
    script = program(tmp_path / "bin" / "python3.99", "#!/bin/sh\necho '3|99|0|cpython||/usr'\n")
    path = f"{os.path.dirname(shim)}:{os.path.dirname(script)}"
    assert Interpreters(environ=nothing_else(PATH=path)).find("python3.99") is None


def test_what_was_found_is_remembered_until_it_is_forgotten(tmp_path: Path) -> None:
    interpreters = Interpreters(environ=nothing_else())
    assert interpreters.find("python3.98") is None
    own = Interpreters().find(OWN)
    assert own is not None
    first = interpreters.find(OWN)
    assert interpreters.find(OWN) is first
    interpreters.forget()
    assert interpreters.find(OWN) == first


def test_a_directory_that_others_may_not_enter_is_reported(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    own = Interpreters().find(OWN)
    assert own is not None
    (hidden / "bin").mkdir()
    # A real copy, since a link would lead out of the hidden directory.
    copy = hidden / "bin" / OWN
    copy.write_bytes(Path(own.path).read_bytes())
    copy.chmod(0o755)
    open_to_all(tmp_path)
    found = Interpreters({OWN: str(copy)}, environ=nothing_else()).find(OWN)
    assert found is None or found.hidden_by == str(hidden)


def test_boto3_tells_which_pythons_it_supports() -> None:
    copy = sdk.installed()
    assert copy is not None
    assert {Path(path).stem for path in copy.paths} == set(sdk.PACKAGES)
    assert copy.why_not((3, 99)) == ""
    assert copy.why_not((3, 0)) == (
        f"boto3 {copy.version} needs Python {'.'.join(map(str, copy.first_python))} or newer, so functions on Python "
        "3.0 have to bring their own"
    )
