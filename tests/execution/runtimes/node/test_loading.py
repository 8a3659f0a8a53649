"""From handler strings to functions, and what callers are told when that fails."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lambdad.execution.runtimes.catalog import node_arguments
from tests.contracts.launching import NODE, Started
from tests.execution.runtimes.node.conftest import StartNode

pytestmark = pytest.mark.node
BOTH = pytest.mark.parametrize("runtime", ["nodejs20.x", "nodejs24.x"])

CJS = "exports.handler = async () => 'cjs';"
ESM = "export const handler = async () => 'esm';"


@BOTH
@pytest.mark.parametrize(
    ("files", "handler", "result"),
    [
        pytest.param({"main.js": CJS}, "main.handler", "cjs", id="commonjs"),
        pytest.param({"main.cjs": CJS}, "main.handler", "cjs", id="cjs"),
        pytest.param({"main.mjs": ESM}, "main.handler", "esm", id="mjs"),
        pytest.param({"main.js": ESM, "package.json": '{"type": "module"}'}, "main.handler", "esm", id="type-module"),
        pytest.param({"src/in/main.js": CJS}, "src/in/main.handler", "cjs", id="folder"),
        pytest.param(
            {"src/main.js": ESM, "package.json": '{"type": "module"}'}, "src/main.handler", "esm", id="package-above"
        ),
        pytest.param(
            {"src/main.js": CJS, "src/package.json": "{}", "package.json": '{"type": "module"}'},
            "src/main.handler",
            "cjs",
            id="nearest-package",
        ),
        pytest.param({"main.js": "exports.a = {b: {c: async () => 1}};"}, "main.a.b.c", 1, id="nested"),
        pytest.param({"main.js": "module.exports = {handler: async () => 2};"}, "main.handler", 2, id="module-exports"),
        pytest.param(
            {"main.js": "const all = {}; all['han' + 'dler'] = async () => 3; module.exports = all;"},
            "main.handler",
            3,
            id="exports-not-recognised",
        ),
        pytest.param(
            {"main.mjs": "const x = await Promise.resolve(4); export const handler = async () => x;"},
            "main.handler",
            4,
            id="top-level-await",
        ),
        pytest.param({"node_modules/pkg/index.js": CJS}, "pkg.handler", "cjs", id="package"),
        pytest.param({"main.js": CJS, "main.mjs": ESM}, "main.handler", "cjs", id="js-before-mjs"),
        pytest.param({"odd #1?.mjs": ESM}, "odd #1?.handler", "esm", id="odd-name"),
    ],
)
async def test_handlers_are_found(
    node: StartNode, runtime: str, files: dict[str, str], handler: str, result: Any
) -> None:
    started = await (await node(files, handler=handler, runtime=runtime)).ready()
    assert json.loads((await started.invoke(b"{}"))[1]) == result


@BOTH
async def test_commonjs_and_es_modules_find_each_other(node: StartNode, runtime: str) -> None:
    files = {
        "main.js": "const a = require('./a.cjs'); exports.handler = async () => [a.x, (await import('./b.mjs')).y];",
        "a.cjs": "exports.x = 1;",
        "b.mjs": "import c from 'c'; export const y = c;",
        "node_modules/c/index.js": "module.exports = 2;",
    }
    started = await (await node(files, runtime=runtime)).ready()
    assert (await started.invoke(b"{}"))[1] == b"[1,2]"


async def init_error(started: Started) -> tuple[str, dict[str, Any]]:
    name, error_type, body = await started.events.next()
    assert name == "init_failed", started.log()
    await started.ended()
    return error_type, json.loads(body)


@pytest.mark.parametrize(
    ("handler", "error_type", "message"),
    [
        ("main", "Runtime.MalformedHandlerName", "Bad handler"),
        (
            "../main.handler",
            "Runtime.MalformedHandlerName",
            "'../main.handler' is not a valid handler name. Use absolute paths when specifying root directories in "
            "handler names.",
        ),
        ("main.absent", "Runtime.HandlerNotFound", "main.absent is undefined or not exported"),
        ("main.number", "Runtime.HandlerNotFound", "main.number is not a function"),
        ("main.handler.deeper", "Runtime.HandlerNotFound", "main.handler.deeper is undefined or not exported"),
        (
            "gone.handler",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'gone'\nRequire stack:\n- /var/runtime/index.mjs",
        ),
    ],
)
@BOTH
async def test_handlers_that_are_not_there(
    node: StartNode, runtime: str, handler: str, error_type: str, message: str
) -> None:
    started = await node("exports.handler = async () => 1; exports.number = 5;", handler=handler, runtime=runtime)
    declared, error = await init_error(started)
    assert declared == error_type
    assert list(error) == ["errorType", "errorMessage", "trace"]
    assert (error["errorType"], error["errorMessage"]) == (error_type, message)
    assert error["trace"][0] == f"{error_type}: {message}".split("\n", maxsplit=1)[0]


async def test_a_module_that_the_function_needs_is_missing(node: StartNode) -> None:
    started = await node("const x = require('not-there'); exports.handler = async () => x;")
    _, error = await init_error(started)
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert error["errorMessage"] == (
        "Error: Cannot find module 'not-there'\nRequire stack:\n- /var/task/main.js\n- /var/runtime/index.mjs"
    )


@BOTH
async def test_an_es_module_that_the_function_needs_is_missing(node: StartNode, runtime: str) -> None:
    started = await node({"main.mjs": "import x from 'not-there'; export const handler = x;"}, runtime=runtime)
    _, error = await init_error(started)
    assert (error["errorType"], error["errorMessage"]) == (
        "Error",
        "Cannot find package 'not-there' imported from /var/task/main.mjs",
    )


@BOTH
@pytest.mark.parametrize(("name", "text"), [("main.js", "exports.handler = async () => {"), ("main.mjs", "export x")])
async def test_syntax_errors(node: StartNode, runtime: str, name: str, text: str) -> None:
    declared, error = await init_error(await node({name: text}, runtime=runtime))
    assert declared == error["errorType"] == "Runtime.UserCodeSyntaxError"
    assert error["errorMessage"].startswith("SyntaxError: Unexpected")
    if runtime == "nodejs24.x" and name == "main.js":
        assert error["trace"][0] == "/var/task/main.js:1"


async def test_an_import_in_a_commonjs_file_is_a_syntax_error_as_on_aws(node: StartNode) -> None:
    source = "import fs from 'fs'; export const handler = async () => 1;"
    version = await asyncio.to_thread(subprocess.check_output, [NODE, "--version"], text=True)
    numbers = tuple(int(number) for number in version.strip().removeprefix("v").split("."))
    started = await node(source, options=node_arguments("nodejs20.x", numbers, 256))
    _, error = await init_error(started)
    assert error["errorMessage"] == "SyntaxError: Cannot use import statement outside a module"


@pytest.mark.parametrize(
    ("runtime", "log"), [("nodejs20.x", "\tundefined\tERROR\tUncaught"), ("nodejs24.x", "\t-\tERROR\tInit")]
)
async def test_an_exception_in_the_module_fails_init(node: StartNode, runtime: str, log: str) -> None:
    started = await node("throw new TypeError('no good');", runtime=runtime)
    declared, error = await init_error(started)
    assert declared == "Runtime.Unknown"
    assert error["trace"][:2] == [
        "TypeError: no good",
        "    at Object.<anonymous> (/var/task/main.js:1:7)",
    ]
    line = started.log()
    assert log in line
    logged = json.loads(line.split("\t")[-1])
    assert (logged["errorType"], logged["errorMessage"], logged["stack"][0]) == (
        "TypeError",
        "no good",
        "TypeError: no good",
    )
    assert line.count("\n") == 1


async def test_a_promise_rejected_unnoticed_during_init(node: StartNode) -> None:
    started = await node({"main.mjs": "Promise.reject(new Error('oh')); await new Promise((r) => setTimeout(r, 9e5));"})
    declared, error = await init_error(started)
    assert (declared, error["errorMessage"]) == ("Runtime.UnhandledPromiseRejection", "Error: oh")
    assert await started.ended() == 128


@pytest.mark.parametrize("name", ["main.js", "main.mjs"])
async def test_a_promise_rejected_unnoticed_at_the_end_of_init(node: StartNode, name: str) -> None:
    """Init is not over before the rejection has been told (aws-lambda-ric asks for the next event a turn later)."""
    export = "exports.handler" if name == "main.js" else "export const handler"
    started = await node({name: f"Promise.reject(new Error('oh')); {export} = async () => 1;"})
    declared, error = await init_error(started)
    assert (declared, error["errorMessage"]) == ("Runtime.UnhandledPromiseRejection", "Error: oh")
    assert await started.ended() == 128


async def test_a_module_that_waits_for_ever_ends_the_process(node: StartNode) -> None:
    started = await node({"main.mjs": "await new Promise(() => {}); export const handler = async () => 1;"})
    assert await started.ended() == 13  # Node's status for it
    assert started.events.told in ([], [("channel_closed",)])


async def test_an_exit_in_the_module_is_the_processs_end(node: StartNode) -> None:
    started = await node("process.exit(5);")
    assert await started.ended() == 5
    assert await started.events.next() == ("channel_closed",)


async def test_callback_handlers_are_refused_from_node_24_on(node: StartNode) -> None:
    started = await node("exports.handler = (event, context, callback) => callback();", runtime="nodejs24.x")
    declared, error = await init_error(started)
    assert declared == error["errorType"] == "Runtime.CallbackHandlerDeprecated"
    assert error["errorMessage"].startswith(
        "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24."
    )


@pytest.mark.parametrize(
    ("environ", "warned"), [({}, True), ({"AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING": "true"}, False)]
)
async def test_callback_handlers_are_warned_about_before(
    node: StartNode, environ: dict[str, str], warned: bool
) -> None:
    source = "exports.handler = (event, context, callback) => callback(null, 1);"
    started = await (await node(source, runtime="nodejs22.x", environ=environ)).ready()
    assert ("\tWARN\tWARNING: AWS Lambda plans to remove" in started.log()) is warned
    assert (await started.invoke(b"{}"))[1] == b"1"


async def test_packages_on_node_path_are_found(node: StartNode) -> None:
    # As layers bring them: base_environment's NODE_PATH ends with the function's own folder.
    files = {"main.js": "exports.handler = async () => require('beside');", "beside/index.js": "module.exports = 7;"}
    started = await (await node(files)).ready()
    assert (await started.invoke(b"{}"))[1] == b"7"


LAYERED = {
    "main.mjs": "import one from 'one'; import two from 'two/part.mjs'; import own from 'own';\n"
    "export const handler = async () => [one, two, own, (await import('one')).default];",
    "node_modules/own/package.json": '{"type": "module", "exports": "./own.js"}',
    "node_modules/own/own.js": "export default 'of the function';",
    "opt/nodejs/node_modules/one/package.json": '{"exports": {"import": "./es.mjs", "require": "./common.js"}}',
    "opt/nodejs/node_modules/one/es.mjs": "import two from 'two/part.mjs'; export default 1 + two;",
    "opt/nodejs/node_modules/own/index.js": "module.exports = 'of the layer';",
    "opt/node20/node_modules/two/part.mjs": "export default 2;",
}


def node_path(tmp_path: Path) -> dict[str, str]:
    layers = tmp_path / "task0" / "opt"
    return {"NODE_PATH": f"{layers}/node20/node_modules:{layers}/nodejs/node_modules:/nowhere/node_modules"}


async def test_packages_of_layers_can_be_imported(node: StartNode, tmp_path: Path) -> None:
    started = await (await node(LAYERED, environ=node_path(tmp_path))).ready()
    assert json.loads((await started.invoke(b"{}"))[1]) == [3, 2, "of the function", 3]


async def test_packages_of_layers_could_not_be_imported_before_nodejs18(node: StartNode, tmp_path: Path) -> None:
    started = await node(LAYERED, runtime="nodejs16.x", environ=node_path(tmp_path))
    assert "Cannot find package 'one'" in (await init_error(started))[1]["errorMessage"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import 'nowhere';", "Cannot find package 'nowhere' imported from"),
        ("import './nowhere.mjs';", "Cannot find module"),
        ("import 'broken';", "Cannot find package 'absent' imported from"),
    ],
)
async def test_what_is_missing_on_node_path_too_is_told_as_ever(
    node: StartNode, tmp_path: Path, source: str, text: str
) -> None:
    files = {
        "main.mjs": f"{source}\nexport const handler = async () => 1;",
        "opt/nodejs/node_modules/broken/index.mjs": "import 'absent';",
        "opt/nodejs/node_modules/broken/package.json": '{"exports": "./index.mjs"}',
    }
    message = (await init_error(await node(files, environ=node_path(tmp_path))))[1]["errorMessage"]
    assert text in message
    assert "main.mjs" in message or "broken" in message
