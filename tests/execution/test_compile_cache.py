"""What a compiler of Node.js code tells is kept complete or not at all, and only what it can have been asked for."""

from __future__ import annotations

import logging
import os
import socket
import stat
import struct
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from lambdad.execution.compile_cache import FOLDER, WORTH_BYTES, CompileCache, Way
from lambdad.execution.runtimes.interpreters import Interpreter
from lambdad.execution.spawner.client import LaunchPlan, SpawnerClient

LARGE = " " * WORTH_BYTES


def way_of(node: Interpreter, code: str) -> Way:
    return Way(runtime="nodejs22.x", interpreter=node, options=(), task_dir=Path(code), layer_dir=None)


class Played:
    """A compiler that was taken over: it tells what the test wants."""

    has_namespaces = True

    def __init__(self, *told: bytes) -> None:
        self._told = b"".join(told)
        self.released = False

    async def launch(self, plan: LaunchPlan) -> Played:
        assert plan.frames_fd is not None
        with socket.socket(fileno=os.dup(plan.frames_fd)) as sock:
            sock.sendall(self._told)
        return self

    def release(self) -> None:
        self.released = True


def record(name: str, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(name)) + name.encode() + struct.pack(">I", len(data)) + data


TAG = record("tag", b"v22.22.0-x64-0c09fe18")
NODE = Interpreter(name="node22", path="/bin/sh", version=(22, 22, 0), hidden_by="", why_no_sdk="")


@pytest.mark.parametrize(
    "told",
    [
        b"",
        TAG,
        TAG + record("1a2b3c4d", b"x"),
        record("tag", b"../../elsewhere") + record("end"),
        TAG + record("../../1a2b", b"x") + record("end"),
        TAG + record("1a2b3c4d5", b"x") + record("end"),
        TAG + struct.pack(">I", 1 << 31),
        TAG + struct.pack(">I", 4) + b"1a2b" + struct.pack(">I", 1 << 31),
        TAG + b"".join(record(f"{number:08x}") for number in range(10_002)) + record("end"),
    ],
    ids=["nothing", "no-end", "cut-off", "tag", "path", "name", "long-name", "long-entry", "many"],
)
async def test_what_a_compiler_cannot_have_been_asked_for_is_not_kept(
    tmp_path: Path, told: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "index.js").write_text(LARGE)
    compiler = Played(told)
    cache = CompileCache(cast("SpawnerClient", compiler))
    await cache.prepare(way_of(NODE, str(tmp_path)))
    assert cache.find(way_of(NODE, str(tmp_path))) == ""
    assert list((tmp_path / FOLDER).iterdir()) == []
    assert compiler.released
    assert "could not be compiled ahead" in caplog.text


async def test_what_it_tells_is_readable_for_everybody_and_complete(tmp_path: Path) -> None:
    (tmp_path / "index.js").write_text(LARGE)
    cache = CompileCache(
        cast("SpawnerClient", Played(TAG, record("0000001a", b"one"), record("1a2b3c4d"), record("end")))
    )
    before = os.umask(0o077)
    try:
        await cache.prepare(way_of(NODE, str(tmp_path)))
    finally:
        os.umask(before)
    place = tmp_path / cache.find(way_of(NODE, str(tmp_path)))
    found = {str(path.relative_to(place)): stat.S_IMODE(path.stat().st_mode) for path in place.rglob("*")}
    tag = "v22.22.0-x64-0c09fe18"
    assert found == {tag: 0o755, f"{tag}/0000001a": 0o644, f"{tag}/1a2b3c4d": 0o644}
    assert stat.S_IMODE(place.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o1755


async def test_a_program_that_was_replaced_has_another_one(tmp_path: Path) -> None:
    """Distributions rebuild a version; V8 may have been built in another way."""
    program, code = tmp_path / "node", tmp_path / "code"
    code.mkdir()
    program.write_text("one build")
    (code / "index.js").write_text(LARGE)
    way = way_of(replace(NODE, path=str(program)), str(code))
    cache = CompileCache(cast("SpawnerClient", Played(TAG, record("end"))))
    await cache.prepare(way)
    assert cache.find(way)
    os.utime(program, (0, 0))
    assert cache.find(way) == ""
    program.unlink()
    assert cache.find(way) == ""


async def test_a_deployment_waits_no_longer_than_it_may(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The compiler never ends by itself; its release is what ends it."""

    class Endless(Played):
        async def launch(self, plan: LaunchPlan) -> Played:
            assert plan.frames_fd is not None
            self.held = socket.socket(fileno=os.dup(plan.frames_fd))
            return self

        def release(self) -> None:
            self.held.close()

    (tmp_path / "index.js").write_text(LARGE)
    cache = CompileCache(cast("SpawnerClient", Endless()), patience_s=0.3)
    with caplog.at_level(logging.WARNING):
        await cache.prepare(way_of(NODE, str(tmp_path)))
    assert "longer than 0.3 seconds" in caplog.text
    assert cache.find(way_of(NODE, str(tmp_path))) == ""
    assert list(tmp_path.glob(f"{FOLDER}/*")) == []
