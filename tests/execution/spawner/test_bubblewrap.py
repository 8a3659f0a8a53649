"""Where only bubblewrap may make user namespaces, the spawner goes in through it and gives the same tier."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.execution.spawner.conftest import (
    NOBODY,
    SYSTEM_PYTHON,
    as_nobody,
    needs_root,
    runs_spawner,
    start_bench,
)

REFUSING = """
import sys
sys.path.insert(0, {source!r})
from lambdad.execution.spawner.isolation import probe
probe.try_user_namespace = lambda place, uid: probe.Failure(1, "refused for the test")
from lambdad.execution.spawner import ground
ground.probe = probe
"""


@needs_root
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
@pytest.mark.skipif(not runs_spawner(SYSTEM_PYTHON), reason="needs a Python 3.11 that every user may run")
async def test_bubblewrap_is_the_way_in_where_there_is_no_other() -> None:
    with tempfile.TemporaryDirectory(prefix="tier-") as folder:
        place = Path(folder)
        (place / "state").mkdir()
        os.chown(place / "state", NOBODY, NOBODY)
        program = as_nobody(place)
        # The spawner's own start, with a kernel that refuses; `-c` is the fourth argument.
        refusing = place / "refusing.py"
        refusing.write_text(REFUSING.format(source=str(Path(__file__).parents[3] / "src")))
        text = program.read_text().replace('"$@"', '"$1" "$2" "$3" "exec(open(\'REFUSING\').read()); $4" "$5" "$6"')
        program.write_text(text.replace("REFUSING", str(refusing)))
        bench = await start_bench(place, os.path.realpath(SYSTEM_PYTHON), isolation="T2", python=str(program))
        try:
            report = await bench.client.report()
            assert report["tier"] == "T2", report["missing"]
            assert Path(f"/proc/{bench.client.pid}/comm").read_text() == "bwrap\n"
            runtime = await bench.start(
                "import os\ndef handler(event, context):\n"
                "    return [os.getcwd(), [name for name in os.listdir('/proc') if name.isdigit()], os.getpid()]\n"
            )
            directory, pids, pid = await runtime.invoke()
            assert directory == "/var/task"
            assert pids == ["1", str(pid)]
            runtime.process.kill()
            assert (await runtime.exit()).signal == 9
        finally:
            await bench.close()
