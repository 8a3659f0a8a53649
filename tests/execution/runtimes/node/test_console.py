"""Log records: text and JSON, levels, newlines, errors."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.contracts.launching import Started
from tests.execution.runtimes.node.conftest import StartNode

pytestmark = pytest.mark.node
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
BOTH = pytest.mark.parametrize("runtime", ["nodejs20.x", "nodejs24.x"])


async def logged(node: StartNode, body: str, **values: Any) -> list[str]:
    """The lines that a handler of this body logs, without the last newline."""
    started: Started = await (await node(f"exports.handler = async (event) => {{ {body} }};", **values)).ready()
    before = started.log()
    await started.invoke(b"{}")
    return started.log()[len(before) :].removesuffix("\n").split("\n")


@BOTH
async def test_a_text_record_has_time_request_id_and_level(node: StartNode, runtime: str) -> None:
    (line,) = await logged(node, "console.log(event);", runtime=runtime)  # as recorded from AWS
    assert re.fullmatch(TIME + r"\tid-1\tINFO\t\{\}", line)


@pytest.mark.parametrize(
    ("call", "level"),
    [("trace", "TRACE"), ("debug", "DEBUG"), ("log", "INFO"), ("info", "INFO"), ("warn", "WARN"), ("error", "ERROR"),
     ("fatal", "FATAL")],
)  # fmt: skip
async def test_levels(node: StartNode, call: str, level: str) -> None:
    (line,) = await logged(node, f"console.{call}('a %s %d', 'b', 1, {{c: [1]}});")
    assert line.split("\t")[1:] == ["id-1", level, "a b 1 { c: [ 1 ] }"]


async def test_a_record_is_one_line_whatever_is_in_it(node: StartNode) -> None:
    lines = await logged(node, "console.log('one\\ntwo\\r\\n\\nthree: ü'); console.log('four');")
    assert [line.split("\t")[3] for line in lines] == ["one␤two\r␤␤three: ü", "four"]


async def test_before_the_first_invocation_there_is_no_request_id(node: StartNode) -> None:
    source = "console.log('init'); exports.handler = async () => 1;"
    assert "\tundefined\tINFO\tinit\n" in (await (await node(source)).ready()).log()
    assert "\t-\tINFO\tinit\n" in (await (await node(source, runtime="nodejs24.x")).ready()).log()


async def test_a_lowest_level_may_be_set_without_json(node: StartNode) -> None:
    body = "console.debug('d'); console.info('i'); console.warn('w'); console.fatal('f');"
    lines = await logged(node, body, environ={"AWS_LAMBDA_LOG_LEVEL": "warn"})
    assert [line.split("\t")[3] for line in lines] == ["w", "f"]


@BOTH
async def test_an_error_of_the_handler_is_logged_in_one_record(node: StartNode, runtime: str) -> None:
    body = "const e = new Error('bad\\nluck'); e.code = 'E1'; e.extra = {a: 1}; e.cause = new Error('why'); throw e;"
    (line,) = await logged(node, body, runtime=runtime)
    assert re.match(TIME + r"\tid-1\tERROR\tInvoke Error \t\{", line)
    record = json.loads(line.split("\t")[-1])
    assert list(record)[:3] == ["errorType", "errorMessage", "code"]
    assert (record["errorType"], record["errorMessage"], record["code"]) == ("Error", "bad\nluck", "E1")
    assert record["extra"] == {"a": 1}
    assert record["stack"][:2] == ["Error: bad", "luck"]
    assert record["cause"]["errorMessage"] == "why"


async def test_something_thrown_that_is_no_error_is_logged_as_one(node: StartNode) -> None:
    (line,) = await logged(node, "throw 'text';")
    record = json.loads(line.split("\t")[-1])
    assert (record["errorType"], record["errorMessage"]) == ("Error", "text")


async def test_an_error_that_refers_to_itself_is_logged(node: StartNode) -> None:
    (line,) = await logged(node, "const e = new Error('loop'); e.self = e; throw e;")
    assert json.loads(line.split("\t")[-1])["errorMessage"] == "loop"


async def records(node: StartNode, body: str, **values: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in await logged(node, body, log_format="JSON", **values)]


async def test_json_records(node: StartNode) -> None:
    (record,) = await records(node, "console.log('a %s', 'b');")
    assert list(record) == ["timestamp", "level", "requestId", "message"]
    assert re.fullmatch(TIME, record.pop("timestamp"))
    assert record == {"level": "INFO", "requestId": "id-1", "message": "a b"}


async def test_json_records_keep_a_single_value_as_it_is(node: StartNode) -> None:
    body = "console.log({a: [1]}); console.log(5); console.log(10n); console.log('x\\ny');"
    assert [record["message"] for record in await records(node, body)] == [{"a": [1]}, 5, "10n", "x\ny"]


async def test_json_records_of_errors(node: StartNode) -> None:
    body = "console.error(new TypeError('alone')); console.error('with', new RangeError('text'));"
    alone, with_text = await records(node, body)
    assert alone["message"]["errorType"] == "TypeError"
    assert alone["message"]["errorMessage"] == "alone"
    assert alone["message"]["stackTrace"][0] == "TypeError: alone"
    assert list(with_text) == [
        "timestamp", "level", "requestId", "message", "errorType", "errorMessage", "stackTrace",
    ]  # fmt: skip
    assert (with_text["errorType"], with_text["errorMessage"]) == ("RangeError", "text")
    assert with_text["message"].startswith("with RangeError: text")


async def test_json_records_of_failed_invocations(node: StartNode) -> None:
    (record,) = await records(node, "throw new Error('bad');")
    assert (record["level"], record["message"]["errorMessage"]) == ("ERROR", "bad")


async def test_json_records_are_filtered_by_level(node: StartNode) -> None:
    found = await records(node, "console.debug('d'); console.info('i'); console.fatal('f');")
    assert [record["message"] for record in found] == ["i", "f"]


async def test_json_records_name_the_tenant(node: StartNode) -> None:
    source = "exports.handler = async () => console.log('x');"
    started = await (await node(source, log_format="JSON")).ready()
    await started.invoke(b"{}", tenant_id="blue")
    await started.invoke(b"{}", "id-2")
    first, second = (json.loads(line) for line in started.log().splitlines())
    assert first["tenantId"] == "blue"
    assert "tenantId" not in second


async def test_what_does_not_go_through_console_stays_as_it_is(node: StartNode) -> None:
    body = (
        "process.stdout.write('raw '); process.stderr.write('err\\n'); console.log('c'); process.stdout.write('x\\n');"
    )
    lines = await logged(node, body)
    assert lines[0] == "raw err"
    assert lines[1].endswith("\tINFO\tc")
    assert lines[2] == "x"


async def test_much_output_keeps_its_order(node: StartNode) -> None:
    source = """exports.handler = async () => {
        for (let n = 0; n < 3000; n++) {
            process.stdout.write(`${2 * n} ${'x'.repeat(50)}\\n`);
            console.log(`${2 * n + 1} ${'x'.repeat(50)}`);
        }
    };"""
    started = await (await node(source)).ready()
    started.deliver(b"{}")
    text = await started.log_until(lambda text: text.count("\n") == 6000)
    numbers = [int(line.split("\t")[-1].split(" ")[0]) for line in text.splitlines()]
    assert numbers == list(range(6000))
    assert (await started.answer())[0] == "responded"
