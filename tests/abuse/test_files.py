"""What is another's cannot be read or changed, whatever the way to it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.abuse.conftest import Place, from_tier

TRY = """
import errno, os, tempfile
def attempt(call):
    try:
        call()
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
"""
REFUSED = {"ENOENT", "EACCES", "EPERM", "EROFS", "ESRCH"}


@from_tier(0)
def test_tmp_is_private_fresh_after_death_and_kept_between_calls(place: Place) -> None:
    source = """
import os, tempfile
def handler(event, context):
    path = os.path.join(tempfile.gettempdir(), "mark")
    before = open(path).read() if os.path.exists(path) else None
    open(path, "w").write(event)
    return before
"""
    one, other = place.function(source), place.function(source)
    assert one.value("1") is None
    assert other.value("x") is None
    assert one.value("2") == "1"
    one.restart()
    assert one.value("3") is None


@from_tier(0)
def test_environments_of_one_function_do_not_share_tmp(place: Place) -> None:
    source = """
import os, tempfile, time
def handler(event, context):
    open(os.path.join(tempfile.gettempdir(), event), "w").close()
    time.sleep(1)  # long enough for both to be at work
    return [context.log_stream_name, [name for name in ("one", "two") if os.path.exists(
        os.path.join(tempfile.gettempdir(), name))]]
"""
    function = place.function(source)
    with ThreadPoolExecutor(2) as callers:
        (stream, found), (other_stream, other_found) = callers.map(function.value, ("one", "two"))
    assert stream != other_stream
    assert (found, other_found) == (["one"], ["two"])


@from_tier(1)
def test_tmp_of_others_cannot_be_read_by_its_host_path(place: Place) -> None:
    victim = place.function(
        "import os, tempfile\ndef handler(event, context):\n"
        "    open(os.path.join(tempfile.gettempdir(), 'mark'), 'w').write('private')\n"
        "    return os.path.realpath(tempfile.gettempdir())\n"
    )
    where = victim.value()
    spy = place.function(
        TRY + "def handler(event, context):\n"
        "    return [attempt(lambda: open(path + '/mark').read()) for path in event]\n"
    )
    places = [where] if place.tier == 1 else [str(path) for path in Path("/tmp").glob("lambdad-*/*/tmp/*")]
    assert places
    assert set(spy.value(places)) <= REFUSED


@from_tier(1)
def test_code_data_and_keys_of_others_cannot_be_read(place: Place) -> None:
    victim = place.function("SECRET = 'in the code'\ndef handler(event, context):\n    return __file__\n")
    code = victim.value()
    data = place.server.data
    trees = [str(path) for path in data.rglob("app.py")]
    assert trees
    spy = place.function(
        TRY + "def handler(event, context):\n"
        "    found = {path: attempt(lambda: open(path, 'rb').read(1)) for path in event if path != __file__}\n"
        "    found['list'] = attempt(lambda: os.listdir(os.path.dirname(event[0])))\n"
        "    found['write'] = attempt(lambda: open(event[0], 'ab'))\n"
        "    return found\n"
    )
    files = [str(data / "lambdad.db"), str(data / "lambdad.lock"), *trees, "/etc/shadow"]
    files += [f"{'../' * 12}{path.lstrip('/')}" for path in files]
    if place.tier == 1:
        files.append(code)
    found = spy.value(files)
    own = {path for path in found if path.endswith("app.py") and found[path] == "done"}
    # Of all the trees only its own may be open to it, once by each way of naming it.
    assert len({os.path.realpath("/" + path.lstrip("./")) for path in own}) <= 1
    assert {value for path, value in found.items() if path not in own} <= REFUSED


@from_tier(1)
def test_links_of_proc_do_not_lead_out(place: Place) -> None:
    spy = place.function(
        TRY
        + """
def handler(event, context):
    found = {}
    for pid in {str(os.getppid()), "1", *event} - {str(os.getpid())}:
        for name in ("environ", "mem", "maps"):
            found[pid + name] = attempt(lambda: open(f"/proc/{pid}/{name}", "rb").read(1))
        for name in ("root", "cwd"):
            found[pid + name] = attempt(lambda: os.listdir(f"/proc/{pid}/{name}/"))
        for number in range(5):
            # How many descriptors its own process 1 has may be told, but not what they are.
            found[f"{pid}fd{number}"] = attempt(lambda: os.readlink(f"/proc/{pid}/fd/{number}"))
            found[f"{pid}open{number}"] = attempt(lambda: open(f"/proc/{pid}/fd/{number}"))
    return found
"""
    )
    victim = place.function("def handler(event, context):\n    return 1\n")
    assert victim.value() == 1
    # Of another function's process too: in namespaces of its own, there is no such process for the spy.
    found = spy.value([str(place.server.process.pid), *map(str, place.below())])
    assert set(found.values()) <= REFUSED, found


@from_tier(0)
def test_nothing_of_the_server_is_inherited(place: Place) -> None:
    source = """
import os
def handler(event, context):
    targets = []
    for name in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink("/proc/self/fd/" + name))
        except OSError:
            pass
    return [dict(os.environ), targets]
"""
    variables, targets = place.function(source).value()
    assert "SERVER_SECRET" not in variables
    assert "the-servers-secret" not in str(variables)
    assert not [target for target in targets if "secret-data" in target or "lambdad" in target]


@from_tier(1)
def test_what_is_not_its_own_cannot_be_written(place: Place) -> None:
    source = (
        TRY
        + """
import sys
def handler(event, context):
    task = os.environ["LAMBDA_TASK_ROOT"]
    runtime = os.environ["LAMBDA_RUNTIME_DIR"]
    places = [task, runtime, "/opt", os.path.dirname(os.__file__), "/usr", "/etc", "/var/tmp", "/dev/shm", "/"]
    found = {place: attempt(lambda: open(place + "/planted.py", "w").write("x")) for place in places}
    found["app"] = attempt(lambda: open(__file__, "a").write("\\n# changed"))
    found["remove"] = attempt(lambda: os.unlink(__file__))
    found["link"] = attempt(lambda: os.link(__file__, tempfile.gettempdir() + "/app"))
    return found
"""
    )
    found = place.function(source).value()
    found.pop("link" if place.tier == 1 and found["link"] == "EXDEV" else "", None)
    assert {value for value in found.values() if value != "EXDEV"} <= REFUSED, found


@from_tier(1)
def test_what_it_changes_in_memory_does_not_reach_the_next_environment(place: Place) -> None:
    source = """
import json, os, tempfile
def handler(event, context):
    before = getattr(json, "planted", None), os.environ.get("PLANTED")
    json.planted = os.environ["PLANTED"] = "yes"
    return before
"""
    function = place.function(source)
    assert function.value() == [None, None]
    assert function.value() == ["yes", "yes"]
    function.restart()
    assert function.value() == [None, None]


@from_tier(0)
def test_no_command_line_tells_a_secret(place: Place) -> None:
    function = place.function(
        "def handler(event, context):\n    return 1\n", Environment={"Variables": {"KEY": "the-functions-secret"}}
    )
    assert function.value() == 1
    lines = b""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                lines += Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
    assert b"the-servers-secret" not in lines.replace(b"SERVER_SECRET", b"")
    assert b"the-functions-secret" not in lines


@pytest.mark.parametrize("where", ["/etc/shadow", "/etc/ssl/private", "/var/log"])
@from_tier(1)
def test_the_machines_private_files_are_out_of_reach(place: Place, where: str) -> None:
    spy = place.function(
        TRY + "def handler(event, context):\n"
        "    return attempt(lambda: os.listdir(event) if os.path.isdir(event) else open(event, 'rb').read(1))\n"
    )
    assert spy.value(where) in REFUSED
