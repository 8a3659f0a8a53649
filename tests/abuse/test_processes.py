"""Processes: others are out of reach, and nothing that a function starts outlives its environment."""

from __future__ import annotations

import os
import re
import time
import uuid
from pathlib import Path

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
def test_others_cannot_be_signalled_traced_read_or_robbed(place: Place) -> None:
    source = """
import ctypes, errno, os, signal
libc = ctypes.CDLL(None, use_errno=True)
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
def call(*arguments):
    result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(pid, number):
    try:
        os.kill(pid, number)
        return 0
    except OSError as error:
        return errno.errorcode[error.errno]
def handler(event, context):
    found = {}
    ptrace, readv = (101, 310) if os.uname().machine == "x86_64" else (117, 270)
    buffer = ctypes.create_string_buffer(8)
    here = Piece(ctypes.cast(buffer, ctypes.c_void_p), 8)
    for pid, address in event:
        if pid in (os.getpid(), os.getppid()):
            continue  # forked ahead of need, this may have been somebody else's when the numbers were taken
        there = Piece(address, 8)
        found[f"signal {pid}"] = attempt(pid, signal.SIGTERM)
        found[f"ptrace {pid}"] = call(ptrace, 16, pid, 0, 0)
        found[f"readv {pid}"] = call(readv, pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        descriptor = call(434, pid, 0)  # pidfd_open
        found[f"pidfd_getfd {pid}"] = call(438, descriptor, 0, 0) if isinstance(descriptor, int) else descriptor
        if isinstance(descriptor, int):
            os.close(descriptor)
    return found
"""
    victim = place.function("import os\ndef handler(event, context):\n    return os.getpid()\n")
    before = victim.value()
    # In a namespace of processes these numbers mean nobody; small ones are left out, which may be the spy's own.
    pids = [pid for pid in (place.server.process.pid, *place.below()) if pid > 100]
    found = place.function(source).value([[pid, _readable_address(pid)] for pid in pids])
    assert len(found) >= 4 * (len(pids) - 2)
    assert set(found.values()) <= {"EPERM", "ESRCH", "EACCES", "ENOSYS"}, found
    assert place.server.process.poll() is None
    assert victim.value() == before


def _readable_address(pid: int) -> int:
    """Something that is mapped in the process, so that only rights can keep others from reading it."""
    try:
        first = Path(f"/proc/{pid}/maps").read_text().partition("-")[0]
    except OSError:
        return 0x400000
    return int(first, 16) if first else 0x400000


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
    # With its text as an argument, so that it can be found.
    itself = "import signal, time\n"
    itself += f"for n in (1, 2, 14, 15):\n    signal.signal(n, {what})\nwhile True:\n    time.sleep(1)\n"
    source = f"""
import signal, subprocess, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP):
    signal.signal(number, {what})
def handler(event, context):
    subprocess.Popen([sys.executable, "-c", {itself!r}, event])
    while True:
        time.sleep(1)
"""
    text = mark()
    answer = place.function(source, Timeout=1).call(text)
    assert answer.message.endswith("Task timed out after 1.00 seconds"), answer
    until_gone(place, text)


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
import os, subprocess
def handler(event, context):
    print("before", flush=True)
    subprocess.Popen(["/bin/sleep", "100" if event == "exit" else event])
    if event == "exit":
        os._exit(3)
    return "answered"
"""
    function = place.function(source, Timeout=20)
    for event in (text, text, "exit"):
        _, log = function.call_with_log(event)
        lines = [line.split(" ")[0] for line in log.splitlines()]
        assert "before" in lines
        assert lines[-2:] == ["END", "REPORT"], log
        took = re.search(r"\tDuration: ([\d.]+) ms", log)
        assert took is not None
        assert float(took[1]) < 5_000


@from_tier(0)
def test_what_is_printed_after_the_answer_is_in_no_other_calls_log(place: Place) -> None:
    source = """
import os, subprocess, threading
go, done = threading.Event(), threading.Event()
def late():
    go.wait()
    for _ in range(50):
        os.write(1, b"late words\\n")
    subprocess.run(["/bin/echo", "late words of a child"])
    done.set()
def handler(event, context):
    if event == "leave":
        threading.Thread(target=late).start()
        threading.Timer(0.0, go.set).start()
        return
    done.wait()
    print("own words")
"""
    function = place.function(source)
    function.call("leave")
    function.call("wait")
    answer, log = function.call_with_log("look")
    assert answer.error is None
    assert "own words" in log
    assert "late words" not in log


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


@from_tier(0)
def test_between_calls_it_uses_no_time_of_a_processor(place: Place) -> None:
    source = """
import os, signal, threading
def spin():
    while True:
        os.kill(os.getpid(), signal.SIGCONT)
def handler(event, context):
    if event:
        threading.Thread(target=spin, daemon=True).start()
    return 1
"""
    function = place.function(source)
    assert function.value(True) == 1
    end = time.monotonic() + 20
    while not _stand_still(place):
        assert time.monotonic() < end, "it goes on"
    assert function.value(False) == 1


def _stand_still(place: Place) -> bool:
    """All but server and spawner, for a quarter of a second, in which a thread that spins takes 25 ticks."""
    before = _ticks(place)
    time.sleep(0.25)
    after = _ticks(place)
    return sum(after[pid] - ticks for pid, ticks in before.items() if pid in after) <= 1


def _ticks(place: Place) -> dict[int, int]:
    found = {}
    for pid in place.below()[1:]:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        found[pid] = sum(map(int, text[text.rindex(")") + 2 :].split()[11:13]))
    return found
