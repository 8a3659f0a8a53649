"""Our Python bootstrap answers byte for byte what awslambdaric answers to the same handler and event."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.execution.runtimes.conftest import Scene

pytest.importorskip("awslambdaric")

RETURNS = {
    "none": "None",
    "text": "'plain'",
    "empty text": "''",
    "beyond ascii": "'\u00e9\u20ac\U0001f600\u2028'",
    "control characters": r"'\x00\x1f\x7f\n\t\"\\/'",
    "bytes": "b'\\xff\\x00raw'",
    "bytes inside": "{'a': b'caf\\xc3\\xa9', b'key': [b'x']}",
    "numbers": "[0, -1, 1.0, 1e300, 1e-7, 10**30, True, False]",
    "not a number": "[float('nan'), float('inf'), -float('inf')]",
    "decimals": "[decimal.Decimal('1.10'), decimal.Decimal('1E+2'), decimal.Decimal('-0'), decimal.Decimal('NaN')]",
    "decimal in the middle": "{'a': {'b': decimal.Decimal('0.1')}, 'c': 'decimal'}",
    "infinite decimal": "decimal.Decimal('Infinity')",
    "tuple": "(1, (2,), [])",
    "named tuple": "Point(1, Point(2, None))",
    "named tuple in a list": "[{'p': Point(1, 2)}, 3]",
    "ordered dictionary": "collections.OrderedDict([('b', 1), ('a', 2)])",
    "odd keys": "{1: 'a', 1.5: 'b', True: 'c', None: 'd'}",
    "enumeration": "Colour.RED",
    "default dictionary": "collections.defaultdict(list, a=[1])",
    "set": "{1}",
    "object": "object()",
    "class": "dict",
    "tuple as key": "{(1, 2): 3}",
    "date as key": "{datetime.date(2026, 1, 2): 3}",
    "decimal as key": "{decimal.Decimal(1): 3}",
    "coroutine function": "later",
    "generator": "(x for x in [])",
    "date": "datetime.datetime(2026, 1, 2)",
    "bytearray": "bytearray(b'x')",
    "complex": "1j",
    "circular": "circle",
    "circular in two places": "circles",
    "very deep": "deep",
    "the event": "event",
    "large": "'x' * 3_000_000",
}
PREAMBLE = """
import collections, datetime, decimal, enum
Point = collections.namedtuple("Point", "x y")
class Colour(enum.IntEnum):
    RED = 3
async def later():
    pass
circle = []
circle.append(circle)
circles = {}
circles.update(a=circles, b=[circles])
deep = []
for _ in range(500):
    deep = [deep]
"""


@pytest.mark.parametrize("runtime", ["python3.11", "python3.12"])
def test_returned_values(scene: Scene, runtime: str) -> None:
    scene.write(f"{PREAMBLE}\nimport sys\ndef handler(event, context):\n    return eval(event)\n")
    events = [json.dumps(expression) for expression in RETURNS.values()]
    ours, theirs = played(scene, *events, environ={"AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}"})
    assert len(ours[0]) == len(RETURNS)
    for name, one, other in zip(RETURNS, ours[0], theirs[0], strict=True):
        assert (name, *one) == (name, *other)


RAISES = {
    "exception": "raise Exception('Handler fails')",
    "no text": "raise ValueError",
    "many lines": "raise RuntimeError('first\\n  second\\n\\nlast')",
    "beyond ascii": "raise KeyError('\u00fc\u20ac')",
    "own class": "raise Own('x')",
    "cause": "\n    try:\n        1 / 0\n    except ZeroDivisionError as e:\n        raise ValueError('after') from e",
    "from below": "below()",
    "group": "raise ExceptionGroup('many', [ValueError(1)])",
    "recursion": "forever()",
    "import": "import not_there",
    "assertion": "assert event == 1, 'no'",
    "numbers": "raise Exception(1, 2)",
}


@pytest.mark.parametrize("statement", RAISES.values(), ids=RAISES)
def test_raised_exceptions(scene: Scene, statement: str) -> None:
    scene.write(
        "class Own(Exception):\n    pass\ndef below():\n    raise Own('deeper')\n"
        "def forever():\n    return forever()\n"
        f"def handler(event, context):\n    {statement}\n"
    )
    if statement == "forever()":
        # How many frames there were depends on the depth at which each runtime calls the handler.
        ours, theirs = played(scene, "{}")
        assert [one[:2] for one in ours[0]] == [one[:2] for one in theirs[0]]
    else:
        same(scene, "{}")


@pytest.mark.parametrize("source", ["handler = 5", "def handler():\n    pass", "class handler:\n    pass"])
def test_handlers_that_cannot_be_called_with_two_arguments(scene: Scene, source: str) -> None:
    """The one frame is awslambdaric's own; where its file lies and the number of the line differ by version."""
    scene.write(source)
    (ours, ours_log, _), (theirs, theirs_log, _) = played(scene, "{}")
    frame = r"/[^\"]*(/awslambdaric/bootstrap\.py\W+line )\d+"
    assert b"/var/runtime/awslambdaric/bootstrap.py" in ours[0][2]
    bodies = [re.sub(frame, r"\1", one[2].decode()) for one in (*ours, *theirs)]
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert comparable(re.sub(frame, r"\1", ours_log)) == comparable(re.sub(frame, r"\1", theirs_log))


@pytest.mark.parametrize("format_name", ["Text", "JSON"])
@pytest.mark.parametrize(
    ("source", "handler"),
    [
        ("raise Exception('Runtime startup fails')", "app.handler"),
        ("def handler(event, context):\n    return f(", "app.handler"),
        ("def handler(:\n", "app.handler"),
        ("import nothing_like_this", "app.handler"),
        ("from os import nothing_like_this", "app.handler"),
        ("raise ImportError('of my own')", "app.handler"),
        ("", "app.handler"),
        ("", "app"),
        ("", "missing.handler"),
        ("", "missing/module.handler"),
        ("", "sys.handler"),
        ("", "time.sub.handler"),
        ("", ".handler"),
        ("", "app."),
        ("", ""),
    ],
)
def test_failing_init(scene: Scene, source: str, handler: str, format_name: str) -> None:
    scene.write(source)
    same(scene, "{}", handler=handler, environ={"AWS_LAMBDA_LOG_FORMAT": format_name})


@pytest.mark.parametrize(
    "statement",
    ["sys.exit()", "sys.exit(0)", "sys.exit(3)", "sys.exit('bye')", "os._exit(4)", "raise KeyboardInterrupt"],
)
@pytest.mark.parametrize("place", ["module", "handler"])
def test_leaving(scene: Scene, statement: str, place: str) -> None:
    inside = f"    {statement}\n" if place == "handler" else "    pass\n"
    outside = f"{statement}\n" if place == "module" else ""
    scene.write(f"import atexit, os, sys\natexit.register(print, 'at exit')\n{outside}def handler(e, c):\n{inside}")
    ours, theirs = played(scene, "{}")
    assert ours[0] == theirs[0]
    assert ours[2] == theirs[2]
    assert ("at exit" in ours[1]) == ("at exit" in theirs[1])


LOGGING = {
    "warning": "logging.warning('text %s', 1)",
    "info is below the level": "logging.info('text')",
    "info": "logging.getLogger().setLevel('INFO'); logging.info('text')",
    "child logger": "logging.getLogger('a.b').error('text')",
    "exception": "\n    try:\n        {}['k']\n    except KeyError:\n        logging.exception('oh')",
    "extra": "logging.error('text', extra={'k': {'a': 1}, 'o': object})",
    "dictionary": "logging.error({'message': 'm', 'n': 1})",
    "beyond ascii": "logging.error('\u00e9\u20ac')",
    "stack info": "logging.error('text', stack_info=False)",
    "between levels": "logging.log(35, 'text')",
    "lines": "logging.error('one\\ntwo\\n')",
    "print": "print('one\\ntwo'); print('no end', end='')",
    "stderr": "print('to stderr', file=sys.stderr)",
    "carriage return": "print('a\\rb')",
}


@pytest.mark.parametrize(
    "settings", [("Text", ""), ("JSON", ""), ("JSON", "INFO"), ("Text", "DEBUG"), ("JSON", "TRACE")]
)
def test_logging(scene: Scene, settings: tuple[str, str]) -> None:
    source = "import logging, sys\n"
    for number, statement in enumerate(LOGGING.values()):
        source += f"def case_{number}():\n    {statement}\n"
    scene.write(
        f"{source}def handler(event, context):\n"
        "    logging.getLogger().setLevel('WARNING') if event[1] else None\n"
        "    globals()[f'case_{event[0]}']()\n    print('END', event)\n"
    )
    environ = {"AWS_LAMBDA_LOG_FORMAT": settings[0]}
    if settings[1]:
        environ["AWS_LAMBDA_LOG_LEVEL"] = settings[1]
    events = [json.dumps([number, not settings[1]]) for number in range(len(LOGGING))]
    ours, theirs = played(scene, *events, environ=environ, call={"tenant_id": "t-1"})
    for one, other in zip(ours[1].split("END"), theirs[1].split("END"), strict=True):
        assert comparable(one) == comparable(other)
    assert ours[0] == theirs[0]


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"client_context": '{"custom": {"k": "v"}, "env": {"e": 1}, "client": {"installation_id": "i", "x": 1}}'},
        {"client_context": '{"custom": {"k": "v"}, "w3c": {"traceparent": "t", "other": "o"}}'},
        {"client_context": "{}"},
        {"client_context": "no json"},
        {"identity": '{"cognitoIdentityId": "a", "cognitoIdentityPoolId": "b"}'},
        {"identity": "{"},
        {"tenant_id": "tenant"},
        {"trace_id": ""},
        {"deadline_ms": 1},
    ],
)
def test_context(scene: Scene, call: dict[str, Any]) -> None:
    scene.write("""
import os
NAMES = ["aws_request_id", "log_group_name", "log_stream_name", "function_name", "function_version",
         "memory_limit_in_mb", "invoked_function_arn", "tenant_id"]
def handler(event, context):
    client = context.client_context and context.client_context.client
    return [
        {name: getattr(context, name) for name in NAMES}, repr(context), repr(context.identity),
        context.client_context and [context.client_context.custom, context.client_context.env],
        client and [client.installation_id, client.app_title], context.w3c(),
        context.get_remaining_time_in_millis() // 10_000_000, os.environ.get("_X_AMZN_TRACE_ID"),
    ]
""")
    same(scene, "{}", call=call)


def test_an_event_that_is_no_json(scene: Scene) -> None:
    scene.write("def handler(event, context):\n    pass\n")
    same(scene, "")


def test_one_process_answers_many_calls(scene: Scene) -> None:
    scene.write(
        "count = 0\ndef handler(event, context):\n    global count\n    count += event\n    return 1 / (3 - count)\n"
    )
    same(scene, "1", "1", "1", "1")


def played(scene: Scene, *events: str, **settings: Any) -> tuple[tuple[Any, str, int], tuple[Any, str, int]]:
    ours = scene.play(*events, **settings)
    return (ours.posted, ours.output, ours.status), scene.ask_awslambdaric(*events, **settings)


def same(scene: Scene, *events: str, **settings: Any) -> None:
    """What is posted is the same, to the byte; so is what is printed, but for the known difference in lines."""
    ours, theirs = played(scene, *events, **settings)
    assert [one[:2] for one in ours[0]] == [one[:2] for one in theirs[0]]
    assert [one[2] for one in ours[0]] == [one[2] for one in theirs[0]]
    assert comparable(ours[1]) == comparable(theirs[1])


def comparable(output: str) -> str:
    """Times are left out; so is how records of several lines are held together.

    awslambdaric writes them as several lines on standard output, and as one on the pipe that AWS gives it, as we do.
    """
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "TIME", output)
    text = re.sub(r"/\S*(app\.py|asyncio\S*)", r"\1", text)
    return re.sub(r"[\r\n\udcff]+", "\n", text).strip("\n")
