"""Node.js modules are compiled at publish without being run, and what was compiled is what Node.js then takes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from lambdad.execution.compile_cache import FOLDER, VARIABLE, CompileCache, Way
from lambdad.execution.runtimes import catalog
from lambdad.execution.runtimes.interpreters import Interpreter, Interpreters
from lambdad.execution.spawner.client import LaunchPlan, SpawnerClient
from tests.execution.spawner.conftest import Bench, MakeBench, Runtime, needs_root

LARGE = "".join(
    f"function f{n}(a) {{ const é = (b) => [b, {n}].map((c) => c + a); return é(a); }}\n" for n in range(2500)
)
"""More than what is worth it, with letters beyond ASCII."""
EXPORTS = "exports.handler = async () => f7(1);\n"
MEMORY_MB = 256


@pytest.fixture(params=["node22", "node24"])
def node(request: pytest.FixtureRequest) -> Interpreter:
    found = Interpreters().find(request.param)
    if found is None or found.version < (22, 10):
        pytest.skip(f"no {request.param} of at least 22.10 is installed")
    return found


def way_of(node: Interpreter, code: str, layers: str | None = None) -> Way:
    runtime = f"nodejs{node.version[0]}.x"
    return Way(
        runtime=runtime,
        interpreter=node,
        options=catalog.node_arguments(runtime, node.version, MEMORY_MB),
        task_dir=Path(code),
        layer_dir=Path(layers) if layers else None,
    )


def compile_cache(bench: Bench) -> CompileCache:
    return CompileCache(bench.client, patience_s=60)


async def prepared(bench: Bench, way: Way) -> Path:
    """The folder with the entries of the way's code, which is compiled for it."""
    cache = compile_cache(bench)
    await cache.prepare(way)
    place = cache.find(way)
    assert place
    (tagged,) = (way.task_dir / place).iterdir()
    return tagged


async def launched(bench: Bench, way: Way, **environ: str) -> Runtime:
    """A function on what was compiled, as the launcher starts it; Node.js tells of its cache."""
    return await bench.launch(
        runtime_kind="node",
        interpreter=way.interpreter.path,
        argv=(*way.options, "/var/runtime/index.mjs"),
        task_dir=str(way.task_dir),
        opt_dir=str(way.layer_dir or ""),
        memory_mb=MEMORY_MB,
        environ={
            **catalog.common_environment(way.runtime),
            "_HANDLER": "index.handler",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{way.runtime}",
            "NODE_DEBUG_NATIVE": "COMPILE_CACHE",
            VARIABLE: compile_cache(bench).find(way),
            **environ,
        },
    )


async def answered(bench: Bench, way: Way, **environ: str) -> tuple[Any, str]:
    """What the function answers, and what Node.js says of its cache."""
    runtime = await (await launched(bench, way, **environ)).ready()
    answer = await runtime.invoke({})
    return answer, runtime.printed()


def accepted(said: str) -> int:
    """How many modules Node.js took from what it has read, and not from what it had compiled itself before."""
    read = re.findall(r"reading cache from \S+ for \S+ (\S+?)\.\.\.\S*.*success", said)
    return len(set(read) - set(re.findall(r"(\S+) was rejected", said)))


# --- what is compiled ---


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("index__js", LARGE + EXPORTS),
        ("index__cjs", LARGE + EXPORTS),
        ("index__mjs", LARGE + "export const handler = async () => f7(1);\n"),
    ],
)
async def test_node_takes_what_was_compiled(bench: Bench, node: Interpreter, name: str, text: str) -> None:
    way = way_of(node, bench.code(**{name: text}))
    await prepared(bench, way)
    answer, said = await answered(bench, way)
    assert answer == [2, 8]
    assert accepted(said) == 1


async def test_v8_itself_does_not_reject_it(bench: Bench, node: Interpreter) -> None:
    way = way_of(node, bench.code(index__cjs=LARGE + EXPORTS))
    (entry,) = (await prepared(bench, way)).iterdir()
    asks = way_of(
        node,
        bench.code(
            index__cjs="""
const [fs, vm] = [require('fs'), require('vm')];
exports.handler = async () => {
  const [text, entry] = [fs.readFileSync('/opt/text', 'utf8'), fs.readFileSync('/opt/entry')];
  const names = ['exports', 'require', 'module', '__filename', '__dirname'];
  const [filename, cachedData] = ['/var/task/index.cjs', entry.subarray(20)];
  return [text, text + ' '].map((one) => vm.compileFunction(one, names, { filename, cachedData }).cachedDataRejected);
};
"""
        ),
    )
    layer = bench.code()
    (Path(layer) / "text").write_text(LARGE + EXPORTS)
    (Path(layer) / "entry").write_bytes(entry.read_bytes())
    answer, _ = await answered(bench, replace(asks, layer_dir=Path(layer)))
    assert answer == [False, True]


async def test_packages_and_layers_are_compiled_too(bench: Bench, node: Interpreter) -> None:
    code, layers = Path(bench.code()), Path(bench.code())
    package, layer_package = code / "node_modules/one", layers / "nodejs/node_modules/two"
    for place in (package, layer_package):
        place.mkdir(parents=True)
    (code / "package.json").write_text('{"type": "module"}')
    (code / "index.js").write_text(
        "import one from 'one'; import { createRequire } from 'module'; import own from './own.cjs';\n"
        "const two = createRequire(import.meta.url)('two');\n"
        "export const handler = async () => [one, two, own];\n"
    )
    (code / "own.cjs").write_text(LARGE + "module.exports = 'own';")
    (package / "package.json").write_text('{"main": "one.js"}')
    (package / "one.js").write_text("module.exports = 'one';")
    (layer_package / "index.js").write_text("module.exports = 'two';")
    way = way_of(node, str(code), str(layers))
    await prepared(bench, way)
    answer, said = await answered(bench, way)
    assert answer == ["one", "two", "own"]
    assert accepted(said) == 4


async def test_nothing_of_the_code_runs(bench: Bench, node: Interpreter) -> None:
    """Whichever of these modules ran, the compiler would not come to its end."""
    code = Path(bench.code(index__js=LARGE + EXPORTS))
    (code / "loops.cjs").write_text("while (true);")
    (code / "loops.mjs").write_text("while (true); export {};")
    (code / "waits.mjs").write_text("await new Promise(() => {}); export {};")
    (code / "imports.mjs").write_text("import './ends.mjs'; import fs from 'fs'; fs.closeSync(3);")
    (code / "ends.mjs").write_text("process.kill(process.pid, 9);")
    (code / "ends.cjs").write_text("process.kill(process.pid, 9); })(); (function () { process.kill(process.pid, 9)")
    (code / "guessed.js").write_text("import './ends.mjs'; process.kill(process.pid, 9);")
    entries = await prepared(bench, way_of(node, str(code)))
    assert len(list(entries.iterdir())) == 7  # all but the one that is no function's body


async def test_the_compiler_does_not_heed_what_the_function_says_about_its_node(
    bench: Bench, node: Interpreter
) -> None:
    plans: list[LaunchPlan] = []

    class Watching:
        has_namespaces = bench.client.has_namespaces

        async def launch(self, plan: LaunchPlan) -> Any:
            plans.append(plan)
            return await bench.client.launch(plan)

    way = way_of(node, bench.code(index__js=LARGE))
    await CompileCache(cast("SpawnerClient", Watching()), patience_s=60).prepare(way)
    (plan,) = plans
    assert plan.own_network == bench.client.has_namespaces
    assert plan.environ == catalog.common_environment(way.runtime)
    assert "NODE_OPTIONS" not in plan.environ


async def test_what_cannot_be_compiled_is_left_alone(bench: Bench, node: Interpreter) -> None:
    code = Path(bench.code(index__js=LARGE + EXPORTS))
    (code / "broken.js").write_text("const const;")
    (code / "bom.js").write_text("\ufeffmodule.exports = 1;")
    (code / "jsx.js").write_text("module.exports = <a/>;")
    (code / "deep.js").write_text("x = " + "(" * 100_000 + ")" * 100_000)
    os.symlink("/etc/passwd", code / "linked.js")
    way = way_of(node, str(code))
    assert len(list((await prepared(bench, way)).iterdir())) == 1
    answer, said = await answered(bench, way)
    assert answer == [2, 8]
    assert accepted(said) == 1


async def test_small_code_is_not_worth_it(bench: Bench, node: Interpreter) -> None:
    code = bench.code(index__js=EXPORTS)
    cache = compile_cache(bench)
    await cache.prepare(way_of(node, code))
    assert cache.find(way_of(node, code)) == ""
    assert os.listdir(code) == ["index.js"]


async def test_so_is_code_for_a_node_that_cannot(bench: Bench, node: Interpreter) -> None:
    code = bench.code(index__js=LARGE)
    await compile_cache(bench).prepare(way_of(replace(node, version=(20, 20, 2)), code))
    assert os.listdir(code) == ["index.js"]


async def test_too_much_is_not_compiled_in_part(
    bench: Bench, node: Interpreter, caplog: pytest.LogCaptureFixture
) -> None:
    code = Path(bench.code(index__js=LARGE))
    for number in range(5):
        with (code / f"{number}.js").open("wb") as file:
            file.truncate(15 << 20)
    await compile_cache(bench).prepare(way_of(node, str(code)))
    assert list((code / FOLDER).iterdir()) == []
    assert caplog.records == []


# --- what the function notices ---


async def test_the_function_sees_nothing_of_it_but_the_folder(bench: Bench, node: Interpreter) -> None:
    source = """
const seen = () => [require('fs').readdirSync('/tmp'), Object.keys(process.env).filter((name) => /LAMBDAD/.test(name))];
exports.handler = async () => ({
  seen: seen(),
  listeners: process.listenerCount('exit'),
  stack: new Error('x').stack.split('\\n')[1].trim(),
  text: f7.toString().length,
  later: (await import('./later.mjs')).default,
  files: require('fs').readdirSync('/var/task').sort(),
});
"""
    code = bench.code(index__js=LARGE + source, later__mjs="export default 'later';")
    way = way_of(node, code)
    await prepared(bench, way)
    answer, said = await answered(bench, way)
    line = LARGE.count("\n") + 6
    assert answer == {
        "seen": [[], []],
        "listeners": 0,
        "stack": f"at exports.handler (/var/task/index.js:{line}:10)",
        "text": len(LARGE.splitlines()[7]),
        "later": "later",
        "files": [FOLDER, "index.js", "later.mjs"],
    }
    assert accepted(said) == 1


async def test_positions_of_the_source_map_count(bench: Bench, node: Interpreter) -> None:
    """A map of the bundler's that says: all of it is line 1 of original.ts."""
    mappings = "AAAA;" * (LARGE.count("\n") + 3)
    sources = {"version": 3, "sources": ["original.ts"], "names": [], "mappings": mappings}
    code = Path(
        bench.code(
            index__js=LARGE
            + "exports.handler = async () => new Error('x').stack.split('\\n')[1];\n//# sourceMappingURL=index.js.map\n"
        )
    )
    (code / "index.js.map").write_text(json.dumps(sources))
    way = way_of(node, str(code))
    without, _ = await answered(bench, way, NODE_OPTIONS="--enable-source-maps")
    await prepared(bench, way)
    answer, said = await answered(bench, way, NODE_OPTIONS="--enable-source-maps")
    assert "original.ts:1:1" in without
    assert answer == without
    assert accepted(said) == 1


async def test_an_error_of_syntax_is_told_as_without(bench: Bench, node: Interpreter) -> None:
    code = bench.code(index__js=LARGE + "const const;\n", other__js=LARGE)
    way = way_of(node, code)
    told = []
    for _ in range(2):
        runtime = await launched(bench, way, NODE_DEBUG_NATIVE="")
        frame = await runtime.answer()
        assert frame is not None
        told.append((frame.kind, frame.json))
        await prepared(bench, way)
    assert told[0] == told[1]
    assert told[0][1]["errorType"] == "Runtime.UserCodeSyntaxError"


@pytest.mark.parametrize(
    "environ",
    [
        {"NODE_COMPILE_CACHE": "/tmp/own"},
        {"NODE_DISABLE_COMPILE_CACHE": "1"},
        {"NODE_OPTIONS": "--stack-trace-limit=50"},  # V8 takes nothing that was compiled under other flags
    ],
)
async def test_what_the_function_says_of_its_node_goes_first(
    bench: Bench, node: Interpreter, environ: dict[str, str]
) -> None:
    source = "exports.handler = async () => require('module').getCompileCacheDir()?.slice(0, 8);\n"
    way = way_of(node, bench.code(index__js=LARGE + source))
    await prepared(bench, way)
    answer, said = await answered(bench, way, **environ)
    assert answer == environ.get("NODE_COMPILE_CACHE")
    assert accepted(said) == 0


async def test_it_leaves_no_trace_of_a_failed_init(bench: Bench, node: Interpreter) -> None:
    code = bench.code(
        index__js=LARGE + "if (require('fs').readdirSync('/tmp').length === 1) process.exit(7);\n" + EXPORTS
    )
    way = way_of(node, code)
    await prepared(bench, way)
    runtime = await launched(bench, way, TMPDIR="/tmp")
    assert (await runtime.exit()).status == 7
    listing = bench.code(index__js="exports.handler = async () => require('fs').readdirSync('/tmp');")
    again = await bench.launch(
        reuse=runtime.process.environment_id,
        runtime_kind="node",
        interpreter=node.path,
        task_dir=listing,
        environ={**catalog.common_environment(way.runtime), "_HANDLER": "index.handler"},
    )
    assert await (await again.ready()).invoke({}) == []


# --- where it can be had ---


async def test_every_kind_of_isolation_has_it(any_bench: Bench, node: Interpreter) -> None:
    way = way_of(node, any_bench.code(index__js=LARGE + EXPORTS))
    try:
        await prepared(any_bench, way)
    except AssertionError:
        if any_bench.client.tier != "T3" and node.hidden_by:
            pytest.skip("this Node.js lies where only root can go")
        raise
    answer, said = await answered(any_bench, way)
    assert answer == [2, 8]
    assert accepted(said) == 1


# --- whom it can be trusted to ---


@needs_root
async def test_a_function_cannot_write_to_it(bench: Bench, node: Interpreter) -> None:
    source = """
const fs = require('fs');
const attempt = (call) => { try { call(); return 'done'; } catch (error) { return error.code; } };
exports.handler = async () => {
  const [name] = fs.readdirSync('/var/task/.lambdad');
  return [
    attempt(() => fs.writeFileSync(`/var/task/.lambdad/${name}/x`, '')),
    attempt(() => fs.rmdirSync('/var/task/.lambdad')),
    attempt(() => fs.symlinkSync('/tmp', '/var/task/.lambdad/other')),
  ];
};
"""
    way = way_of(node, bench.code(index__js=LARGE + source))
    await prepared(bench, way)
    answer, _ = await answered(bench, way)
    assert answer == ["EROFS", "EROFS", "EROFS"]


async def test_what_an_archive_brings_is_not_taken_for_it(bench: Bench, node: Interpreter) -> None:
    good = way_of(node, bench.code(index__js=LARGE + EXPORTS))
    await prepared(bench, good)
    cache = compile_cache(bench)
    way = way_of(node, bench.code(index__js=LARGE + EXPORTS))
    copied = way.task_dir / FOLDER
    # Unpacked archives have these modes (storage/unpacking.py).
    (way.task_dir / cache.find(good)).mkdir(parents=True)
    copied.chmod(0o755)
    assert cache.find(way) == ""
    await cache.prepare(way)
    assert cache.find(way) == ""
    assert not stat.S_IMODE(copied.stat().st_mode) & stat.S_ISVTX


@pytest.mark.parametrize("part", ["head", "code"])
async def test_what_was_damaged_is_not_used(bench: Bench, node: Interpreter, part: str) -> None:
    way = way_of(node, bench.code(index__js=LARGE + EXPORTS))
    (entry,) = (await prepared(bench, way)).iterdir()
    data = bytearray(entry.read_bytes())
    at = 8 if part == "head" else len(data) // 2
    data[at : at + 4] = bytes(255 - byte for byte in data[at : at + 4])
    entry.write_bytes(data)
    answer, said = await answered(bench, way)
    assert answer == [2, 8]
    assert accepted(said) == 0
    assert "mismatch" in said


async def test_what_belongs_to_another_source_is_not_used(bench: Bench, node: Interpreter) -> None:
    way = way_of(node, bench.code(index__js=LARGE + EXPORTS))
    await prepared(bench, way)
    (way.task_dir / "index.js").write_text((LARGE + EXPORTS).replace("f7(1)", "f9(1)"))  # of the same length
    answer, said = await answered(bench, way)
    assert answer == [2, 10]
    assert accepted(said) == 0


async def test_another_build_of_node_has_another_cache_and_the_old_one_goes(bench: Bench, node: Interpreter) -> None:
    cache = compile_cache(bench)
    way = way_of(node, bench.code(index__js=LARGE + EXPORTS))
    older = replace(way, interpreter=replace(node, version=(node.version[0], 11, 0)))
    await cache.prepare(older)
    old = cache.find(older)
    assert old
    assert cache.find(way) == ""
    await cache.prepare(way)
    assert cache.find(older) == ""
    assert cache.find(way) not in ("", old)


async def test_a_cache_of_another_build_that_is_shown_all_the_same_is_not_used(bench: Bench, node: Interpreter) -> None:
    way = way_of(node, bench.code(index__js=LARGE + EXPORTS))
    tagged = await prepared(bench, way)
    tagged.rename(tagged.with_name("v22.10.0-x64-00000000"))
    answer, said = await answered(bench, way)
    assert answer == [2, 8]
    assert accepted(said) == 0


async def test_other_memory_sizes_have_their_own_and_the_oldest_go(bench: Bench, node: Interpreter) -> None:
    cache = compile_cache(bench)
    first = way_of(node, bench.code(index__js=LARGE + EXPORTS))
    ways = [
        replace(first, options=catalog.node_arguments(first.runtime, node.version, memory_mb))
        for memory_mb in (128, 256, 512, 1024, 2048)
    ]
    for way in ways:
        await cache.prepare(way)
    assert [cache.find(way) != "" for way in ways] == [False, True, True, True, True]


# --- when it is made ---


async def test_a_compiler_that_cannot_be_started_is_only_told(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await make_bench()
    missing = Interpreter(name="node22", path="/bin/false", version=(22, 22, 0), hidden_by="", why_no_sdk="")
    code = bench.code(index__js=LARGE)
    await compile_cache(bench).prepare(way_of(missing, code))
    assert "could not be compiled ahead" in caplog.text


async def test_what_was_unpacked_again_is_compiled_in_the_background_once(bench: Bench, node: Interpreter) -> None:
    cache = compile_cache(bench)
    way = way_of(node, bench.code(index__js=LARGE + EXPORTS))
    cache.prepare_later(way)
    cache.prepare_later(way)
    (task,) = cache._tasks
    await asyncio.wait_for(task, 20)
    assert cache.find(way)
