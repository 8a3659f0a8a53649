"""Processes: others are out of reach, and nothing that a function starts outlives its environment."""

from __future__ import annotations

import os
import time
import uuid

import pytest

from tests.abuse.conftest import Place, from_tier, long


def mark() -> str:
    """An argument for `sleep` that no other process has."""
    return f"{5000 + os.getpid()}.{uuid.uuid4().int % 10**8:08d}"


def until_gone(place: Place, text: str, limit_s: float = 5) -> None:
    end = time.monotonic() + limit_s
    while place.processes_with(text):
        assert time.monotonic() < end, "it lives on"
        time.sleep(0.01)


DAEMON = """
import os, sys
def handler(event, context):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(3):
                os.close(number)
            os.write(writer, b"x")
            os.execv("/bin/sleep", ["/bin/sleep", event["mark"]])
        os._exit(0)
    os.read(reader, 1)
    if event["end"] == "exit":
        os._exit(1)
    while True:
        pass
"""


@from_tier(1)
def test_server_and_spawner_cannot_be_signalled_traced_or_robbed(place: Place) -> None:
    source = """
import ctypes, errno, os, signal
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    result = libc.syscall(*[ctypes.c_long(a) for a in arguments])
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(pid, number):
    try:
        os.kill(pid, number)
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
def handler(event, context):
    found = {}
    machine = os.uname().machine
    ptrace, readv = (101, 310) if machine == "x86_64" else (117, 270)
    for pid in event:
        found[f"signal {pid}"] = attempt(pid, signal.SIGTERM)
        found[f"ptrace {pid}"] = call(ptrace, 16, pid, 0, 0)
        found[f"readv {pid}"] = call(readv, pid, 0, 0, 0, 0, 0) if pid != os.getpid() else "ESRCH"
    try:
        os.kill(-1, 0)
    except OSError:
        pass
    return found
"""
    pid = place.server.process.pid
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        pids = [pid, *map(int, children.read().split())]
    found = place.function(source).value(pids)
    # Nothing is read by process_vm_readv with empty lists, so that it may be let through counts only for others' users.
    taken = {what: result for what, result in found.items() if result == "done" and not what.startswith("readv")}
    assert taken == {}
    assert place.server.process.poll() is None


@from_tier(1)
def test_killing_everybody_ends_only_the_function(place: Place) -> None:
    victim = place.function("import os\ndef handler(event, context):\n    return os.getpid()\n")
    before = victim.value()
    killer = place.function(
        "import os\ndef handler(event, context):\n    os.kill(-1, 9)\n    os.kill(os.getpid(), 9)\n"
    )
    assert killer.call().error == "Unhandled"
    assert victim.value() == before
    assert place.server.process.poll() is None


@pytest.mark.parametrize("signals", ["SIG_IGN", "catch"])
@from_tier(0)
def test_whoever_does_not_want_to_end_is_ended_at_the_timeout(place: Place, signals: str) -> None:
    what = "signal.SIG_IGN" if signals == "SIG_IGN" else "lambda *_: None"
    source = f"""
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP):
    signal.signal(number, {what})
def handler(event, context):
    while True:
        time.sleep(1)
"""
    answer = place.function(source, Timeout=1).call()
    assert answer.message.endswith("Task timed out after 1.00 seconds"), answer


@pytest.mark.parametrize("end", ["exit", "timeout"])
@from_tier(0)
def test_a_daemon_in_a_session_of_its_own_dies_with_the_environment(place: Place, end: str) -> None:
    text = mark()
    answer = place.function(DAEMON, Timeout=2).call({"mark": text, "end": end})
    assert answer.error == "Unhandled"
    until_gone(place, text)


@long
@from_tier(1)
def test_of_a_hundred_daemons_none_survives(place: Place) -> None:
    function = place.function(DAEMON, Timeout=5)
    marks = [mark() for _ in range(100)]
    for text in marks:
        assert function.call({"mark": text, "end": "exit"}).error == "Unhandled"
    for text in marks:
        until_gone(place, text)


@from_tier(0)
def test_a_child_that_keeps_the_output_open_delays_nothing(place: Place) -> None:
    text = mark()
    source = """
import subprocess
def handler(event, context):
    print("before")
    subprocess.Popen(["/bin/sleep", event])
    return "answered"
"""
    function = place.function(source)
    began = time.monotonic()
    assert function.value(text) == "answered"
    assert function.value(text) == "answered"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "end",
    ["os._exit(1)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 11)", "[os.close(n) for n in range(64)]", "f()"],
)
@from_tier(0)
def test_a_crash_fails_one_invocation_and_the_next_gets_a_new_environment(place: Place, end: str) -> None:
    source = f"""
import os, sys
sys.setrecursionlimit(10**9)
def f():
    return f()
def quiet(n):
    try:
        os.close(n)
    except OSError:
        pass
def handler(event, context):
    if event == "crash":
        {end.replace("os.close(n)", "quiet(n)")}
    return "fine"
"""
    function = place.function(source)
    assert function.value() == "fine"
    assert function.call("crash").error == "Unhandled"
    assert function.value() == "fine"


@from_tier(0)
def test_one_that_stops_itself_is_ended_at_the_timeout(place: Place) -> None:
    source = "import os, signal\ndef handler(event, context):\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
    answer = place.function(source, Timeout=1).call()
    assert answer.message.endswith("Task timed out after 1.00 seconds"), answer
