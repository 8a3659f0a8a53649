"""Modules are compiled once for each Python version, completely or not at all, and whatever the code is like."""

from __future__ import annotations

import asyncio
import py_compile
import sys
from pathlib import Path

import pytest

from lambdad.execution.bytecode import Bytecode, module_directories
from lambdad.execution.runtimes.interpreters import Interpreter, Interpreters

LARGE = "".join(f"def function_{number}(): return {number}\n" for number in range(500))
OWN = Interpreter(
    name=f"python3.{sys.version_info[1]}",
    path=sys.executable,
    version=sys.version_info[:3],
    hidden_by="",
    why_no_sdk="",
)


def cached(tree: Path, module: str = "app", tag: str = sys.implementation.cache_tag or "") -> Path:
    return tree / "__pycache__" / f"{module}.{tag}.pyc"


def flags(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[4:8], "little")


async def test_a_module_is_compiled_and_its_source_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(LARGE)
    await Bytecode().prepare(OWN, [tmp_path])
    assert flags(cached(tmp_path)) == 1
    (tmp_path / "app.py").write_text("syntax error")  # nobody reads it any more
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import app; print(app.function_7())", cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert (await run.communicate())[0] == b"7\n"


async def test_versions_share_a_tree(tmp_path: Path) -> None:
    other = next((one for one in ("python3.12", "python3.13", "python3.10") if Interpreters().find(one)), None)
    found = Interpreters().find(other) if other else None
    if found is None:
        pytest.skip("no second Python is installed")
    (tmp_path / "app.py").write_text(LARGE)
    bytecode = Bytecode()
    await bytecode.prepare(OWN, [tmp_path])
    await bytecode.prepare(found, [tmp_path])
    tag = f"cpython-{found.version[0]}{found.version[1]}"
    assert cached(tmp_path).exists()
    assert cached(tmp_path, tag=tag).exists()


async def test_what_cannot_be_compiled_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(LARGE + "def (:\n")
    (tmp_path / "deep.py").write_text("x = " + "(" * 100_000 + ")" * 100_000)
    (tmp_path / "nul.py").write_bytes(b"\0" * 5000)
    (tmp_path / "app.py").write_text(LARGE)
    await Bytecode().prepare(OWN, [tmp_path])
    assert cached(tmp_path).exists()
    assert not cached(tmp_path, "broken").exists()


async def test_links_lead_nowhere(tmp_path: Path) -> None:
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.mkdir()
    tree.mkdir()
    (outside / "secret.py").write_text(LARGE)
    (tree / "app.py").write_text(LARGE)
    (tree / "linked.py").symlink_to(outside / "secret.py")
    (tree / "package").symlink_to(outside)
    (tree / "__pycache__").symlink_to(outside)
    await Bytecode().prepare(OWN, [tree])
    assert [path.name for path in outside.iterdir()] == ["secret.py"]


async def test_stale_bytecode_of_the_archive_is_replaced_and_lasting_one_kept(tmp_path: Path) -> None:
    for name in ("app", "kept"):
        (tmp_path / f"{name}.py").write_text(LARGE)
    py_compile.compile(str(tmp_path / "app.py"))
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(tmp_path / "kept.py"), invalidation_mode=mode)
    kept = cached(tmp_path, "kept").stat()
    await Bytecode().prepare(OWN, [tmp_path])
    assert flags(cached(tmp_path)) == 1
    assert cached(tmp_path, "kept").stat().st_ino == kept.st_ino


async def test_a_few_lines_are_not_worth_a_compiler(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(event, context): pass\n")
    await Bytecode().prepare(OWN, [tmp_path])
    assert not (tmp_path / "__pycache__").exists()


async def test_a_deployment_does_not_wait_for_ever(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(LARGE)
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    slow = Interpreter(name="python3.11", path=str(program), version=(3, 11, 0), hidden_by="", why_no_sdk="")
    await Bytecode(patience_s=0.05).prepare(slow, [tmp_path])
    missing = Interpreter(name="python3.11", path="/nowhere", version=(3, 11, 0), hidden_by="", why_no_sdk="")
    await Bytecode().prepare(missing, [tmp_path])
    assert not cached(tmp_path).exists()


def test_layers_have_modules_too(tmp_path: Path) -> None:
    assert module_directories(tmp_path, None) == [tmp_path]
    assert module_directories(tmp_path, tmp_path / "layers") == [tmp_path, tmp_path / "layers" / "python"]
