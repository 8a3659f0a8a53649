"""Answers: async and callback handlers, the event loop, failures, crashes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contracts.launching import FUNCTION_ARN, Started
from tests.execution.runtimes.node.conftest import StartNode

pytestmark = pytest.mark.node
BOTH = pytest.mark.parametrize("runtime", ["nodejs20.x", "nodejs24.x"])

FOR_LONG = "await new Promise((resolve) => setTimeout(resolve, 900000));"


async def result(started: Started, event: bytes = b"{}") -> Any:
    name, body, content_type, peak_kib = await started.invoke(event)
    assert name == "responded", (body, started.log())
    assert content_type == "application/json"
    assert peak_kib > 10_000
    return json.loads(body)


async def failure(started: Started, event: bytes = b"{}") -> dict[str, Any]:
    name, error_type, body, _ = await started.invoke(event)
    assert name == "failed", (body, started.log())
    assert error_type.startswith("Runtime.")
    parsed: dict[str, Any] = json.loads(body)
    return parsed


# What handlers of the older runtimes answer with.
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("(e, c, cb) => cb(null, e.a)", 7, id="callback"),
        pytest.param("(e, c, cb) => { setTimeout(() => cb(null, e.a), 5); }", 7, id="callback-later"),
        pytest.param("(e, c) => c.succeed(e.a)", 7, id="succeed"),
        pytest.param("(e, c) => c.done(null, e.a)", 7, id="done"),
        pytest.param("(e) => e.a", None, id="plain-return-is-ignored"),
        pytest.param("(e, c, cb) => { setTimeout(() => {}, 5); }", None, id="never-calls-back"),
        pytest.param("(e, c, cb) => { cb(null, 1); cb(null, 2); c.succeed(3); }", 1, id="first-answer-counts"),
        pytest.param("async (e, c, cb) => { cb(null, 1); return 2; }", 1, id="callback-before-promise"),
        pytest.param("async (e, c) => { c.succeed(1); return 2; }", 1, id="succeed-before-promise"),
        pytest.param("(e) => ({ then: (resolve) => resolve(e.a) })", 7, id="thenable"),
        pytest.param("async () => undefined", None, id="undefined"),
        pytest.param("async () => () => 1", None, id="function"),
        pytest.param("async () => ({ a: undefined, d: new Date(0) })", {"d": "1970-01-01T00:00:00.000Z"}, id="json"),
        pytest.param("async (e, c) => c.callbackWaitsForEmptyEventLoop", True, id="waits-by-default"),
    ],
)
async def test_results_up_to_node_22(node: StartNode, source: str, expected: Any) -> None:
    started = await (await node(f"exports.handler = {source};")).ready()
    assert await result(started, b'{"a": 7}') == expected
    assert await result(started, b'{"a": 7}') == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("(e) => e.a", 7, id="plain-return"),
        pytest.param("async (e) => e.a", 7, id="async"),
        pytest.param("() => {}", None, id="nothing"),
        pytest.param("async (e, c) => Object.keys(c).includes('callbackWaitsForEmptyEventLoop')", False, id="context"),
        pytest.param("(e, c) => [typeof c.done, typeof c.succeed, typeof c.fail]", ["undefined"] * 3, id="no-done"),
        pytest.param("(e, ...rest) => rest.length", 1, id="no-callback"),
    ],
)
async def test_results_from_node_24_on(node: StartNode, source: str, expected: Any) -> None:
    started = await (await node(f"exports.handler = {source};", runtime="nodejs24.x")).ready()
    assert await result(started, b'{"a": 7}') == expected


async def test_a_callbacks_result_waits_for_the_loop_to_empty(node: StartNode) -> None:
    source = """exports.handler = (e, c, cb) => {
        c.callbackWaitsForEmptyEventLoop = e.waits;
        const answer = { late: false };
        setTimeout(() => { answer.late = true; }, 30);
        cb(null, answer);
    };"""
    started = await (await node(source)).ready()
    assert await result(started, b'{"waits": true}') == {"late": True}
    assert await result(started, b'{"waits": false}') == {"late": False}


@BOTH
async def test_an_async_result_does_not_wait_for_what_is_left(node: StartNode, runtime: str) -> None:
    source = """let late = 0;
    exports.handler = async (e) => { setTimeout(() => { late += 1; }, 900000); setInterval(() => {}, 5); return late; };
    """
    started = await (await node(source, runtime=runtime)).ready()
    assert await result(started) == 0
    assert await result(started) == 0


@BOTH
async def test_what_was_left_undone_goes_on_in_the_next_invocation(node: StartNode, runtime: str) -> None:
    source = """let done = false;
    exports.handler = async (e) => {
        if (e.start) { setTimeout(() => { done = true; }, 10); return done; }
        await new Promise((resolve) => setTimeout(resolve, 20));
        return done;
    };"""
    started = await (await node(source, runtime=runtime)).ready()
    assert await result(started, b'{"start": true}') is False
    assert await result(started) is True


@BOTH
async def test_a_promise_that_never_settles(node: StartNode, runtime: str) -> None:
    source = "exports.handler = (e) => e.ok ? Promise.resolve(1) : new Promise(() => {});"
    started = await (await node(source, runtime=runtime)).ready()
    error = await failure(started)
    assert error["errorType"] == "Runtime.NodeJsExit"
    assert error["errorMessage"].startswith("The Lambda runtime client detected an unexpected Node.js exit code.")
    assert "Promise that was never settled" in error["errorMessage"]
    assert await result(started, b'{"ok": true}') == 1  # the process stayed


# Errors as callers get them: type, message.
@BOTH
@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        ("async () => { throw new Error('some_error_msg'); }", "Error", "some_error_msg"),
        ("() => { throw new TypeError('sync'); }", "TypeError", "sync"),
        ("async () => { const e = new Error('m'); e.name = 'MyName'; throw e; }", "MyName", "m"),
        ("async () => { throw new (class Mine extends Error {})('sub'); }", "Error", "sub"),
        ("async () => { throw 'text'; }", "string", "text"),
        ("async () => { throw 42; }", "number", "42"),
        ("async () => { throw { a: 1 }; }", "object", "[object Object]"),
        ("async () => { throw new Error('del\\x7F'); }", "Error", "del%7F"),
        ("async () => { throw new AggregateError([new Error('a')], 'many'); }", "AggregateError", "many"),
        ("async () => null.x", "TypeError", "Cannot read properties of null (reading 'x')"),
        ("async () => require('vm').runInNewContext('throw new RangeError(\"far\")')", "RangeError", "far"),
    ],
)
async def test_errors(node: StartNode, runtime: str, source: str, error_type: str, message: str) -> None:
    started = await (await node(f"exports.handler = {source};", runtime=runtime)).ready()
    error = await failure(started)
    assert list(error) == ["errorType", "errorMessage", "trace"]
    assert (error["errorType"], error["errorMessage"]) == (error_type, message)
    assert await failure(started)  # the process stayed


async def test_the_trace_names_the_functions_files_as_on_aws(node: StartNode) -> None:
    started = await (await node("exports.handler = async () => {\n  throw new Error('x');\n};")).ready()
    error = await failure(started)
    assert error["trace"][:2] == ["Error: x", "    at exports.handler (/var/task/main.js:2:9)"]
    assert any("file:///var/runtime/" in line for line in error["trace"])


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        ("(e, c, cb) => cb(new Error('x'))", "Error", "x"),
        ("(e, c, cb) => cb('x')", "string", "x"),
        ("(e, c) => c.fail(new Error('x'))", "Error", "x"),
        ("(e, c) => c.fail()", "string", "handled"),
        ("(e, c) => c.done(new Error('x'))", "Error", "x"),
        ("async () => Promise.reject()", "string", "handled"),
        (
            "(e, c, cb) => { const e2 = new Error(); e2.message = 'x'; Object.defineProperty(e2, 'stack', "
            "{ get() { throw e2; } }); cb(e2); }",
            "handled",
            "callback called with Error argument, but there was a problem while retrieving one or more of its message, "
            "name, and stack",
        ),
    ],
)
async def test_errors_of_callback_handlers(node: StartNode, source: str, error_type: str, message: str) -> None:
    started = await (await node(f"exports.handler = {source};")).ready()
    error = await failure(started)
    assert (error["errorType"], error["errorMessage"]) == (error_type, message)


@pytest.mark.parametrize(
    ("runtime", "error_type"), [("nodejs20.x", "Error"), ("nodejs24.x", "Runtime.JSONStringifyError")]
)
@pytest.mark.parametrize("value", ["10n", "(() => { const a = {}; a.a = a; return a; })()"])
async def test_results_that_are_no_json(node: StartNode, runtime: str, error_type: str, value: str) -> None:
    started = await (await node(f"exports.handler = async () => {value};", runtime=runtime)).ready()
    error = await failure(started)
    assert (error["errorType"], error["errorMessage"]) == (error_type, "Unable to stringify response body")


@BOTH
async def test_an_uncaught_exception_is_answered_and_ends_the_process(node: StartNode, runtime: str) -> None:
    source = f"exports.handler = async () => {{ setTimeout(() => {{ throw new RangeError('late'); }}); {FOR_LONG} }};"
    started = await (await node(source, runtime=runtime)).ready()
    error = await failure(started)
    assert (error["errorType"], error["errorMessage"]) == ("RangeError", "late")
    assert await started.ended() == 129
    assert "\tid-1\tERROR\tUncaught Exception \t{" in started.log()
    assert ("next_requested",) not in started.events.told


@BOTH
async def test_an_unhandled_rejection_is_answered_and_ends_the_process(node: StartNode, runtime: str) -> None:
    source = f"exports.handler = async () => {{ Promise.reject(new Error('lost')); {FOR_LONG} }};"
    started = await (await node(source, runtime=runtime)).ready()
    error = await failure(started)
    assert (error["errorType"], error["errorMessage"]) == ("Runtime.UnhandledPromiseRejection", "Error: lost")
    assert error["trace"][0] == "Runtime.UnhandledPromiseRejection: Error: lost"
    assert await started.ended() == 128
    logged = json.loads(started.log().split("Unhandled Promise Rejection \t")[1])
    assert logged["reason"]["errorMessage"] == "lost"
    assert logged["promise"] == {}


async def test_a_rejection_in_the_same_tick_as_the_result_wins_from_node_24_on(node: StartNode) -> None:
    source = "exports.handler = async () => { Promise.reject(new Error('lost')); return 1; };"
    started = await (await node(source, runtime="nodejs24.x")).ready()
    assert (await failure(started))["errorType"] == "Runtime.UnhandledPromiseRejection"


async def test_the_last_output_is_there_when_a_handler_exits(node: StartNode) -> None:
    source = "exports.handler = async () => { process.stdout.write('x'.repeat(1e6) + '\\n'); process.exit(0); };"
    started = await (await node(source)).ready()
    started.deliver(b"{}")
    # More than a pipe holds: it must be read for the process to go on.
    printed = await started.log_until(lambda text: text.endswith("\n"))
    assert len(printed) == 1_000_001
    assert await started.ended() == 0


async def test_the_context_of_the_older_runtimes(node: StartNode) -> None:
    source = "exports.handler = async (e, c) => [Object.keys(c), c.identity, c.getRemainingTimeInMillis()];"
    started = await (await node(source)).ready()
    name, body, _, _ = await started.invoke(b"{}", cognito_identity='{"cognitoIdentityId":"x"}')
    keys, identity, remaining = json.loads(body)
    assert name == "responded"
    assert set(keys) == {
        "callbackWaitsForEmptyEventLoop", "succeed", "fail", "done", "functionName", "functionVersion",
        "memoryLimitInMB", "logGroupName", "logStreamName", "clientContext", "identity", "invokedFunctionArn",
        "awsRequestId", "tenantId", "getRemainingTimeInMillis",
    }  # fmt: skip
    assert identity == {"cognitoIdentityId": "x"}
    assert 0 < remaining <= 30_000


async def test_a_client_context_that_is_no_json_fails_the_invocation(node: StartNode) -> None:
    started = await (await node("exports.handler = async () => 1;")).ready()
    name, _, body, _ = await started.invoke(b"{}", client_context="{no")
    assert name == "failed"
    assert json.loads(body)["errorMessage"].startswith("Cannot parse ClientContext as json: SyntaxError")


async def test_a_function_may_patch_what_the_runtime_uses(node: StartNode) -> None:
    source = """const fs = require('fs');
    fs.readSync = fs.writeSync = () => { throw new Error('patched'); };
    exports.handler = async (e, c) => { console.log('still there'); return c.invokedFunctionArn; };"""
    started = await (await node(source)).ready()
    assert await result(started) == FUNCTION_ARN
    assert "still there" in started.log()


async def test_signals_and_children_do_not_disturb_the_channel(node: StartNode) -> None:
    source = """const { execSync, spawn } = require('child_process');
    exports.handler = async () => {
        process.on('SIGUSR2', () => {});
        process.kill(process.pid, 'SIGUSR2');
        spawn('sleep', ['1'], { detached: true, stdio: 'ignore' }).unref();
        return execSync('echo child').toString();
    };"""
    started = await (await node(source)).ready()
    assert await result(started) == "child\n"
    assert await result(started) == "child\n"
