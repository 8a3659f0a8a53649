"""Our Python bootstrap by itself, on every Python that is here: what AWS recorded, and what could break it."""

from __future__ import annotations

import json

import pytest

from tests.execution.frames_client import ERROR, INIT_ERROR, READY, RESPONSE
from tests.execution.runtimes.conftest import CALL, Scene


def version_of(python: str) -> tuple[int, int]:
    major, minor = python.rpartition("python")[2].split(".")
    return int(major), int(minor)


def test_an_echo(scene: Scene, any_python: str) -> None:
    scene.write("def handler(event, context):\n    return event\n")
    played = scene.play('{"a": [1, "\u00e9"]}', python=any_python)
    assert [answer.kind for answer in played.answers] == [READY, RESPONSE]
    assert played.answers[1].body.decode() == '{"a": [1, "\u00e9"]}'
    assert played.answers[1].peak_kib > 1000
    assert played.status == 0


def test_handler_error_as_recorded(scene: Scene, any_python: str) -> None:
    """(AWS: recorded 2025-11, test_lambda_handler_error; 2026-01 for 3.8, which has no requestId.)"""
    scene.write('def handler(event, context):\n    raise Exception("Handler fails")\n')
    answer = scene.play("{}", python=any_python).answers[1]
    expected = {
        "errorMessage": "Handler fails",
        "errorType": "Exception",
        "requestId": CALL["request_id"],
        "stackTrace": [
            f'  File "{scene.directory}/app.py", line 2, in handler\n    raise Exception("Handler fails")\n'
        ],
    }
    if version_of(any_python) == (3, 8):
        del expected["requestId"]
    assert (answer.kind, answer.text) == (ERROR, "Exception")
    assert answer.body.decode() == json.dumps(expected)


def test_init_error_as_recorded(scene: Scene, any_python: str) -> None:
    """(AWS: recorded 2025-11, test_lambda_runtime_error.) The lines of importlib are those of the Python at hand."""
    scene.write('raise Exception("Runtime startup fails")\n')
    played = scene.play(
        python=any_python, environ={"_LAMBDAD_PLACES": f"{scene.directory}=/var/task\n{prefix(any_python)}=/var/lang"}
    )
    (answer,) = played.answers
    error = answer.json
    assert (answer.kind, played.status) == (INIT_ERROR, 1)
    assert error["errorMessage"] == "Runtime startup fails"
    assert error.get("requestId", "") == ""
    name = "python" + ".".join(map(str, version_of(any_python)))
    assert error["stackTrace"][0].startswith(f'  File "/var/lang/lib/{name}/importlib/__init__.py", line ')
    assert error["stackTrace"][0].endswith("    return _bootstrap._gcd_import(name[level:], package, level)\n")
    functions = [line.rstrip("\n").rpartition(" in ")[2] for line in error["stackTrace"][1:-1]]
    assert functions == [
        "_gcd_import",
        "_find_and_load",
        "_find_and_load_unlocked",
        "_load_unlocked",
        "exec_module",
        "_call_with_frames_removed",
    ]
    assert error["stackTrace"][-1] == (
        '  File "/var/task/app.py", line 1, in <module>\n    raise Exception("Runtime startup fails")\n'
    )


def test_the_log_of_an_error_as_recorded(scene: Scene) -> None:
    """One event: its lines are held together by a byte that is in no text, indented with no-break spaces
    (AWS: recorded 2025-11, test_dead_letter_queue)."""
    scene.write(
        'import logging\nlogging.getLogger().setLevel("INFO")\ndef handler(event, context):\n'
        '    print("printed")\n    logging.info("logged")\n    raise Exception("Test exception")\n'
    )
    output = scene.play("{}").output
    lines = output.split("\n")
    assert lines[0] == "printed"
    level, time, request_id, message = lines[1].split("\t")
    assert (level, request_id, message) == ("[INFO]", CALL["request_id"], "logged")
    assert len(time) == len("2026-01-31T12:00:00.123Z")
    assert lines[2].split("\udcff") == [
        "[ERROR] Exception: Test exception",
        "Traceback (most recent call last):",
        f'\u00a0\u00a0File "{scene.directory}/app.py", line 6, in handler',
        '\u00a0\u00a0\u00a0\u00a0raise Exception("Test exception")',
    ]
    assert lines[3:] == [""]


def test_everything_printed_is_in_the_pipe_before_the_answer(scene: Scene) -> None:
    scene.write("import os\ndef handler(event, context):\n    print('a', end='')\n    print('c')\n    os._exit(9)\n")
    played = scene.play("{}")
    assert played.status == 9
    # A line is out when it ends, so that a killed function has printed what it printed.
    assert played.output == "ac\n"


def test_large_events_and_results(scene: Scene, any_python: str) -> None:
    scene.write("def handler(event, context):\n    return event + event[:1000]\n")
    event = json.dumps("x" * 6_000_000)
    answer = scene.play(event, '"y"', python=any_python).answers[1]
    assert len(answer.body) == 6_001_002


@pytest.mark.parametrize(
    "name", ["json", "socket", "logging", "struct", "site", "traceback", "string", "lambdad_runtime"]
)
def test_own_modules_may_be_called_like_the_bootstraps(scene: Scene, name: str) -> None:
    scene.write(
        f"import {name}\ndef handler(event, context):\n    return {{'a': 1}}\n", **{f"{name}__py": "mine = 1\n"}
    )
    assert scene.play('{"b": 1}').answers[1].body == b'{"a": 1}'


def test_sitecustomize_beside_the_code_is_not_run(scene: Scene) -> None:
    scene.write("def handler(event, context):\n    return 1\n", sitecustomize__py="raise SystemExit(77)\n")
    assert scene.play("{}").answers[1].body == b"1"


def test_path_files_beside_the_code_are_heeded(scene: Scene) -> None:
    (scene.directory / "vendored").mkdir()
    (scene.directory / "vendored" / "inner.py").write_text("value = 5\n")
    scene.write("import inner\ndef handler(event, context):\n    return inner.value\n", mine__pth="vendored\n")
    assert scene.play("{}").answers[1].body == b"5"


def test_search_path(scene: Scene, any_python: str) -> None:
    scene.write("import sys\ndef handler(event, context):\n    return [sys.path, sys.argv]\n")
    path, argv = scene.play("{}", python=any_python).answers[1].json
    name = "python" + ".".join(map(str, version_of(any_python)))
    assert path[:3] == [str(scene.directory), f"/opt/python/lib/{name}/site-packages", "/opt/python"]
    assert path[-1].endswith("runtimes/python")
    assert argv == [path[-1] + "/bootstrap.py"]


def test_threads_that_are_not_daemons_are_waited_for_when_it_exits(scene: Scene) -> None:
    scene.write(
        "import sys, threading, time\ndef late():\n    time.sleep(0.05)\n    print('late')\n"
        "def handler(event, context):\n    threading.Thread(target=late).start()\n    sys.exit(0)\n"
    )
    assert scene.play("{}").output == "late\n"


def test_a_replaced_standard_output_is_flushed_and_does_not_take_the_log(scene: Scene) -> None:
    scene.write(
        "import io, logging, sys\nsys.stdout = io.StringIO()\ndef handler(event, context):\n"
        "    print('away')\n    logging.error('kept')\n    return 1\n"
    )
    played = scene.play("{}")
    assert played.output.endswith("\tkept\n")
    assert played.answers[1].body == b"1"


def test_the_frames_descriptor_is_not_in_the_environment(scene: Scene) -> None:
    scene.write(
        "import os\ndef handler(event, context):\n    return [n for n in os.environ if n.startswith('_LAMBDAD')]\n"
    )
    assert scene.play("{}").answers[1].json == []


def test_lone_surrogates_end_the_process_as_they_do_on_aws(scene: Scene) -> None:
    scene.write("def handler(event, context):\n    return '\\ud800'\n")
    played = scene.play("{}")
    assert (len(played.answers), played.status) == (1, 1)
    assert "UnicodeEncodeError" in played.output


def prefix(python: str) -> str:
    return python.rpartition("/bin/")[0]


HOOKS = """
from snapshot_restore_py import register_after_restore, register_before_snapshot
ran = []
@register_before_snapshot
def first(): ran.append("before 1")
register_before_snapshot(ran.append, "before 2")
register_after_restore(ran.append, "after 1")
register_after_restore(ran.append, "after 2")
def handler(event, context): return ran
"""


def test_hooks_of_snapstart_run_after_init(scene: Scene, any_python: str) -> None:
    scene.write(HOOKS)
    played = scene.play("{}", python=any_python, environ={"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"})
    assert played.answers[1].json == ["before 2", "before 1", "after 1", "after 2"]


def test_hooks_do_not_run_without_snapstart(scene: Scene) -> None:
    scene.write(HOOKS)
    played = scene.play("{}", environ={"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"})
    assert played.answers[1].json == []


@pytest.mark.parametrize(
    ("hook", "error_type", "status"),
    [("before_snapshot", "Runtime.BeforeSnapshotError", 64), ("after_restore", "Runtime.AfterRestoreError", 65)],
)
def test_a_hook_that_fails_fails_init(scene: Scene, hook: str, error_type: str, status: int) -> None:
    scene.write(
        f"from snapshot_restore_py import register_{hook} as register\n"
        "@register\ndef hook(): raise ValueError('no')\ndef handler(event, context): pass\n"
    )
    played = scene.play(environ={"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"})
    (answer,) = played.answers
    assert (answer.kind, answer.text, played.status) == (INIT_ERROR, error_type, status)
    assert answer.json["errorMessage"] == "no"
