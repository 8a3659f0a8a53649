"""Environments whose runtime starts before its function is known: code, layers and rights once it is bound."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lambdad.execution.frames import UNBOUND_VARIABLE, bind_frame
from lambdad.execution.runtimes.catalog import common_environment
from lambdad.execution.runtimes.interpreters import Interpreters
from lambdad.execution.spawner.client import LaunchError
from tests.execution.spawner.conftest import Bench, MakeBench, Runtime, needs_root

NODE = next((found for name in ("node24", "node22", "node20") if (found := Interpreters().find(name))), None)
pytestmark = [
    needs_root,
    pytest.mark.node,
    pytest.mark.skipif(NODE is None, reason="Node.js 20 or newer is not installed"),
]
VARIABLES = {"_HANDLER": "index.handler", "LAMBDA_TASK_ROOT": "/var/task", "OWN": "mine"}


async def waiting(bench: Bench) -> Runtime:
    assert NODE is not None
    return await bench.launch(
        runtime_kind="node",
        interpreter=NODE.path,
        task_dir="",
        environ={**common_environment("nodejs20.x"), UNBOUND_VARIABLE: "1"},
        memory_mb=256,
    )


async def bound(bench: Bench, source: str, *, opt_dir: str = "", **files: str) -> Runtime:
    runtime = await waiting(bench)
    code = bench.code(index__mjs=source, **files)
    await bench.client.bind(runtime.process, os.urandom(16).hex(), code, opt_dir)
    runtime.send(bind_frame(VARIABLES))
    return await runtime.ready()


async def call(runtime: Runtime) -> Any:
    frame = await runtime.invoke_frame({})
    assert frame is not None
    return json.loads(frame.body)


async def test_code_variables_and_rights_are_the_functions(bench: Bench) -> None:
    source = """
import fs from 'node:fs';
const attempt = (call) => { try { call(); return 'done'; } catch (error) { return error.code; } };
export const handler = async () => ({
  cwd: process.cwd(),
  files: fs.readdirSync('.').sort(),
  layer: fs.readFileSync('/opt/file', 'utf8'),
  environ: Object.keys(process.env).sort(),
  own: process.env.OWN,
  write: [attempt(() => fs.writeFileSync('/var/task/x', '')), attempt(() => fs.writeFileSync('/tmp/x', ''))],
  mount: attempt(() => fs.readdirSync('/proc/1/root')),
  uids: fs.readFileSync('/proc/1/status', 'utf8').match(/Uid:.*/)[0].split('\\t').slice(1),
  uid: String(process.getuid()),
});
"""
    layer = bench.code()
    (Path(layer) / "file").write_text("of the layer")
    answer = await call(await bound(bench, source, opt_dir=layer, other__txt=""))
    assert answer["cwd"] == "/var/task"
    assert answer["files"] == ["index.mjs", "other.txt"]
    assert answer["layer"] == "of the layer"
    assert answer["environ"] == sorted([*VARIABLES, "_X_AMZN_TRACE_ID"])
    assert answer["own"] == "mine"
    assert answer["write"] == ["EROFS", "done"]
    assert answer["mount"] == "EACCES"
    # The supervisor, which attached the code, is no more than the function any longer.
    assert answer["uids"] == [answer["uid"]] * 4
    assert int(answer["uid"]) > 1_000_000


async def test_it_is_killed_and_released_under_its_new_id(bench: Bench) -> None:
    runtime = await bound(bench, "export const handler = async () => 1;")
    runtime.process.kill()
    assert (await runtime.exit()).signal == 9
    before = (await bench.client.report())["environments"]
    runtime.process.release()
    assert (await bench.client.report())["environments"] == before - 1


async def test_what_cannot_be_bound_is_refused(bench: Bench) -> None:
    runtime = await waiting(bench)
    other = await waiting(bench)
    code = bench.code(index__mjs="export const handler = async () => 1;")
    with pytest.raises(LaunchError, match="taken"):
        await bench.client.bind(runtime.process, other.process.environment_id, code)
    assert (await runtime.exit()).signal == 9
    with pytest.raises(LaunchError, match="No such file"):
        await bench.client.bind(other.process, os.urandom(16).hex(), "/does/not/exist")
    assert (await other.exit()).signal == 9
    plain = await bench.start("def handler(event, context): return 1")
    with pytest.raises(LaunchError, match="waits"):
        await bench.client.bind(plain.process, os.urandom(16).hex(), code)


async def test_nothing_is_left_of_one_that_died_while_it_waited(make_bench: MakeBench) -> None:
    bench = await make_bench()
    runtime = await waiting(bench)
    runtime.process.kill()
    await runtime.exit()
    with pytest.raises(LaunchError):
        await bench.client.bind(runtime.process, os.urandom(16).hex(), bench.code())
    while (await bench.client.report())["environments"]:
        pass


async def test_the_spawner_takes_waiting_ones_with_it(make_bench: MakeBench) -> None:
    bench = await make_bench()
    runtime = await waiting(bench)
    await bench.client.stop()
    assert not Path(f"/proc/{runtime.process.pid}").exists()
