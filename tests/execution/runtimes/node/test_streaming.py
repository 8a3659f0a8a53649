"""Streaming handlers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contracts.launching import Started
from tests.execution.recording import Told
from tests.execution.runtimes.node.conftest import StartNode

pytestmark = pytest.mark.node
BOTH = pytest.mark.parametrize("runtime", ["nodejs20.x", "nodejs24.x"])


def streaming(body: str, options: str = "") -> str:
    return f"exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {{ {body} }} {options});"


async def streamed(started: Started, event: bytes = b"{}") -> tuple[str, bytes, Told]:
    """Content type, all bytes, and how it ended."""
    started.deliver(event)
    told = await started.events.until("stream_ended")
    while told[0][0] == "next_requested":
        told.pop(0)
    assert told[0][0] == "stream_started"
    return told[0][1], b"".join(piece[1] for piece in told[1:-1]), told[-1]


@BOTH
async def test_pieces_arrive_as_they_are_written(node: StartNode, runtime: str) -> None:
    source = """let go; globalThis.proceed = () => go();
    exports.handler = awslambda.streamifyResponse(async (event, stream) => {
        stream.setContentType('text/plain');
        stream.write('one');
        await new Promise((resolve) => setTimeout(resolve, 20));
        stream.write('two');
        stream.end();
    });"""
    started = await (await node(source, runtime=runtime)).ready()
    started.deliver(b"{}")
    assert await started.events.next() == ("stream_started", "text/plain")
    assert await started.events.next() == ("stream_chunk", b"one")
    assert await started.events.next() == ("stream_chunk", b"two")
    assert (await started.events.next())[:3] == ("stream_ended", "", b"")
    assert await started.events.next() == ("next_requested",)


@BOTH
@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        pytest.param("stream.end();", "application/octet-stream", b"", id="empty"),
        pytest.param("stream.end('last');", "application/octet-stream", b"last", id="end-only"),
        pytest.param("stream.write({a: 1}); stream.end();", "application/octet-stream", b'{"a":1}', id="json"),
        pytest.param("stream.write(Buffer.from([0, 255])); stream.end();", "application/octet-stream", b"\0\xff",
                     id="bytes"),
        pytest.param("stream.write('6869', 'hex'); stream.end();", "application/octet-stream", b"hi", id="encoding"),
        pytest.param("const { Readable } = require('stream'); await require('stream/promises').pipeline("
                     "Readable.from(['a', 'b', 'c']), stream);", "application/octet-stream", b"abc", id="pipeline"),
        pytest.param("require('stream').Readable.from(['a', 'b']).pipe(stream);", "application/octet-stream", b"ab",
                     id="pipe-not-awaited"),
        pytest.param("setTimeout(() => stream.end('late'), 10);", "application/octet-stream", b"late", id="ends-later"),
        pytest.param(
            "const s = awslambda.HttpResponseStream.from(stream, {statusCode: 201, headers: {a: 'b'}, cookies: ['c']});"
            " s.write('body'); s.end();",
            "application/vnd.awslambda.http-integration-response",
            b'{"statusCode":201,"headers":{"a":"b"},"cookies":["c"]}' + b"\0" * 8 + b"body",
            id="http-prelude",
        ),
    ],
)  # fmt: skip
async def test_streams(node: StartNode, runtime: str, body: str, content_type: str, expected: bytes) -> None:
    started = await (await node(streaming(body), runtime=runtime)).ready()
    for _ in range(2):
        assert await streamed(started) == (content_type, expected, ("stream_ended", "", b"", AnyPeak()))


class AnyPeak:
    """Equal to any plausible peak of memory."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and other > 10_000

    __hash__ = None  # type: ignore[assignment]


async def test_ten_megabytes(node: StartNode) -> None:
    body = "for (let n = 0; n < 160; n++) stream.write(Buffer.alloc(65536, n)); stream.end();"
    started = await (await node(streaming(body))).ready()
    _, data, _ = await streamed(started)
    assert data == b"".join(bytes([n]) * 65536 for n in range(160))


def error_of(ended: Told) -> dict[str, Any]:
    assert ended[1] == "Runtime.Unknown"
    parsed: dict[str, Any] = json.loads(ended[2])
    return parsed


@BOTH
@pytest.mark.parametrize(
    ("body", "data"),
    [("stream.write('part'); throw new TypeError('broke');", b"part"), ("throw new TypeError('broke');", b"")],
)
async def test_an_exception_ends_the_stream_with_an_error(
    node: StartNode, runtime: str, body: str, data: bytes
) -> None:
    started = await (await node(streaming(body), runtime=runtime)).ready()
    for _ in range(2):  # the process stays
        _, sent, ended = await streamed(started)
        assert sent == data
        error = error_of(ended)
        assert (error["errorType"], error["errorMessage"]) == ("TypeError", "broke")
    assert "\tERROR\tInvoke Error \t" in started.log()


async def test_a_source_that_fails_ends_the_stream_with_its_error(node: StartNode) -> None:
    body = """const { Readable } = require('stream');
    const source = Readable.from((function* () { yield 'a'; throw new Error('dry'); })());
    await require('stream/promises').pipeline(source, stream);"""
    started = await (await node(streaming(body))).ready()
    _, data, ended = await streamed(started)
    assert data == b"a"
    assert error_of(ended)["errorMessage"] == "dry"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("(event, stream) => { stream.end('x'); }", "Streaming does not support non-async handlers."),
        ("async (event, stream) => { stream.write('x'); }", "Response stream is not finished."),
    ],
)
@pytest.mark.parametrize(("runtime", "error_type"), [("nodejs20.x", "string"), ("nodejs24.x", "Error")])
async def test_handlers_that_stream_wrongly(
    node: StartNode, runtime: str, error_type: str, source: str, message: str
) -> None:
    started = await (await node(f"exports.handler = awslambda.streamifyResponse({source});", runtime=runtime)).ready()
    _, _, ended = await streamed(started)
    error = error_of(ended)
    assert (error["errorType"], error["errorMessage"]) == (error_type, message)


async def test_a_handler_that_never_settles(node: StartNode) -> None:
    started = await (await node(streaming("await new Promise(() => {});"))).ready()
    _, _, ended = await streamed(started)
    assert ended[1] == "Runtime.NodeJsExit"


async def test_a_return_value_is_ignored_and_warned_about(node: StartNode) -> None:
    started = await (await node(streaming("stream.end('x'); return 5;"))).ready()
    assert (await streamed(started))[1] == b"x"
    assert "\tWARN\tStreaming handlers ignore return values.\n" in started.log()


async def test_the_content_type_is_settled_by_the_first_piece(node: StartNode) -> None:
    body = "stream.write('x'); stream.setContentType('text/html');"
    started = await (await node(streaming(body))).ready()
    _, _, ended = await streamed(started)
    assert ended[1] == "Runtime.InvalidStreamingOperation"
    assert json.loads(ended[2])["errorMessage"] == "Cannot set content-type, too late."


async def test_a_crash_in_mid_stream_ends_it_and_the_process(node: StartNode) -> None:
    body = "stream.write('x'); setTimeout(() => { throw new Error('crash'); }); await new Promise(() => {});"
    started = await (await node(streaming(body))).ready()
    _, data, ended = await streamed(started)
    assert data == b"x"
    assert error_of(ended)["errorMessage"] == "crash"
    assert await started.ended() == 129


async def test_late_pieces_do_not_reach_the_next_invocation(node: StartNode) -> None:
    source = """let old;
    exports.handler = awslambda.streamifyResponse(async (event, stream) => {
        if (event.fail) { old = stream; throw new Error('first'); }
        old.write('stray');
        stream.end('mine');
    });"""
    started = await (await node(source)).ready()
    await streamed(started, b'{"fail": true}')
    assert (await streamed(started))[1] == b"mine"


async def test_a_high_water_mark_is_the_streams(node: StartNode) -> None:
    source = streaming("stream.end(String(stream.writableHighWaterMark));", ", {highWaterMark: 100}")
    started = await (await node(source)).ready()
    assert (await streamed(started))[1] == b"100"


async def test_the_global_may_be_switched_off(node: StartNode) -> None:
    source = "exports.handler = async () => typeof awslambda;"
    off = {"AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA": "1"}
    started = await (await node(source, environ=off)).ready()
    assert (await started.invoke(b"{}"))[1] == b'"undefined"'
