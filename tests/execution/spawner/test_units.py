"""What a service's unit may take away without taking functions away."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.execution.spawner.conftest import MakeBench, needs_root

REFUSING = """
import os, sys
sys.path.insert(0, {source!r})
from lambdad.execution.spawner.isolation import filters, syscalls
filters._REFUSED = {{"sethostname": (170, 161)}}
filters._CLONE = dict.fromkeys(filters._CLONE, 1 << 20)
filters._CLONE3 = 1 << 20
syscalls.set_seccomp_filter(filters.program())
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@needs_root
async def test_functions_run_where_no_host_name_may_be_set(make_bench: MakeBench, tmp_path: Path) -> None:
    """`ProtectHostname=yes` has seccomp refuse it."""
    refusing = tmp_path / "refusing.py"
    refusing.write_text(REFUSING.format(source=str(Path(__file__).parents[3] / "src")))
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {refusing} "$@"\n')
    program.chmod(0o755)
    bench = await make_bench(python=str(program))
    runtime = await bench.start("import os\ndef handler(event, context):\n    return os.uname().nodename\n")
    assert await runtime.invoke() == os.uname().nodename
