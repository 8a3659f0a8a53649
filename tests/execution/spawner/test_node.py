"""Node.js functions are executed in the same isolation."""

from __future__ import annotations

import json

import pytest

from lambdad.execution.runtimes.interpreters import Interpreters
from tests.execution.spawner.conftest import Bench

NODE = next((found for name in ("node24", "node22", "node20") if (found := Interpreters().find(name))), None)
pytestmark = [pytest.mark.node, pytest.mark.skipif(NODE is None, reason="Node.js 20 or newer is not installed")]


async def test_our_node_bootstrap_runs(any_bench: Bench) -> None:
    assert NODE is not None
    code = any_bench.code(
        index__mjs="export const handler = async (event) => ({ event, cwd: process.cwd(), uid: process.getuid() });\n"
    )
    runtime = await any_bench.start(
        runtime_kind="node",
        interpreter=NODE.path,
        task_dir=code,
        memory_mb=512,
        environ={"_HANDLER": "index.handler", "AWS_EXECUTION_ENV": f"AWS_Lambda_nodejs{NODE.version[0]}.x"},
    )
    frame = await runtime.invoke_frame({"a": 1})
    assert frame is not None
    answer = json.loads(frame.body)
    assert answer["event"] == {"a": 1}
    assert answer["cwd"] == ("/var/task" if any_bench.client.tier in ("T2", "T3") else code)
