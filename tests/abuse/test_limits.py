"""Bombs: memory, processes, threads, descriptors, space. They end or are refused, and others go on."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.abuse.conftest import Place, from_tier, long

BENIGN = "def handler(event, context):\n    return event\n"
WORKING = "def handler(event, context):\n    return sum(range(200_000)) > event\n"
"""Some milliseconds of work, as most functions have."""


@pytest.mark.parametrize(
    "allocate",
    [
        "kept.append(os.urandom(1) * (1 << 20))",
        "shared = mmap.mmap(-1, 1 << 20); shared.write(bytes(1 << 20)); kept.append(shared)",
        "kept.append(subprocess.run([sys.executable, '-c', 'b = bytes(1) * (1 << 30); print(hash(b))']))",
        "kept.append(os.memfd_create('m')); os.write(kept[-1], bytes(1 << 20))",
    ],
    ids=["private", "shared", "child", "tmpfs"],
)
@from_tier(0)
def test_whoever_takes_ten_times_its_memory_is_killed(place: Place, allocate: str) -> None:
    source = f"""
import mmap, os, subprocess, sys
def handler(event, context):
    kept = []
    for _ in range(1280):
        {allocate}
    return len(kept)
"""
    victim, hog = place.function(BENIGN), place.function(source, MemorySize=128)
    answer, log = hog.call_with_log()
    assert answer.value.get("errorType") == "Runtime.ExitError", answer
    assert answer.message.endswith("Error: Runtime exited with error: signal: killed")
    assert log.endswith("\tStatus: error\tError Type: Runtime.OutOfMemory\n"), log
    used = re.search(r"\tMax Memory Used: (\d+) MB\t", log)
    assert used is not None
    # All that it may have took, or what it had at the last measurement, a twentieth of a second before.
    assert int(used[1]) >= (100 if place.tier >= 3 else 1)
    assert victim.value(1) == 1


BOMBS = {
    "forks": """
        try:
            while True:
                if os.fork() == 0:
                    signal.pause()
                count += 1
        except OSError as error:
            found = errno.errorcode[error.errno]
""",
    "threads": """
        try:
            while True:
                threading.Thread(target=signal.pause, daemon=True).start()
                count += 1
        except RuntimeError:
            found = "EAGAIN"
""",
    "descriptors": """
        try:
            while True:
                os.open("/dev/null", os.O_RDONLY)
                count += 1
        except OSError as error:
            found = errno.errorcode[error.errno]
""",
}


@pytest.mark.parametrize("kind", BOMBS)
@from_tier(1)
def test_a_bomb_is_stopped_and_gone_after_its_timeout(place: Place, kind: str) -> None:
    if kind != "descriptors" and not place.has_users:
        pytest.skip("processes are counted by user, which functions share here")
    source = f"""
import errno, os, signal, threading, time
def handler(event, context):
    count, found = 0, None
    if event == "count":
{BOMBS[kind]}
        print("stopped:", found, count)
    while event != "calm":
        time.sleep(1)
    return "calm"
"""
    bomb, victim = place.function(source, MemorySize=3008, Timeout=4), place.function(BENIGN)
    assert bomb.value("calm") == "calm"
    assert victim.value(1) == 1
    before = len(place.below())
    answer, log = bomb.call_with_log("count")
    assert answer.message.endswith("Task timed out after 4.00 seconds"), answer
    stopped = re.search(r"^stopped: (\w+) (\d+)$", log, re.MULTILINE)
    assert stopped is not None, log
    assert stopped[1] == ("EMFILE" if kind == "descriptors" else "EAGAIN")
    assert int(stopped[2]) < 1_025
    end = time.monotonic() + 5
    # A few more or less are forked ahead of need.
    while len(place.below()) > before + 10:
        assert time.monotonic() < end, "processes are left"
        time.sleep(0.01)
    assert victim.value(2) == 2
    assert bomb.value("calm") == "calm"


@long
@from_tier(1)
def test_the_slowest_calls_of_others_take_at_most_twice_as_long_beside_a_bomb(place: Place) -> None:
    """Ninety-nine of a hundred calls, while forks fail again and again at the limit."""
    if not place.has_users:
        pytest.skip("processes are counted by user, which functions share here")
    source = """
import os, signal, time
def handler(event, context):
    end = time.monotonic() + event
    while time.monotonic() < end:
        try:
            if os.fork() == 0:
                signal.pause()
        except OSError:
            time.sleep(0.001)
"""
    bomb, victim = place.function(source, MemorySize=3008, Timeout=60), place.function(WORKING)
    victim.value(1)

    def slowest() -> float:
        took = []
        for _ in range(200):
            began = time.monotonic()
            victim.value(1)
            took.append(time.monotonic() - began)
        return sorted(took)[197]

    with ThreadPoolExecutor(1) as caller:
        alone = max(slowest() for _ in range(3))
        going = caller.submit(bomb.call, 30)
        beside = min(slowest() for _ in range(3))
        assert not going.done()
    assert beside <= 2 * alone, (alone, beside)


@pytest.mark.parametrize("what", ["one file", "many files", pytest.param("empty files", marks=long)])
@from_tier(1)
def test_tmp_cannot_be_filled_beyond_its_size(place: Place, what: str) -> None:
    source = """
import errno, os, tempfile, time
def fill(what):
    place = tempfile.gettempdir()
    if what == "one file":
        with open(place + "/large", "wb") as file:
            for _ in range(700):
                file.write(bytes(1 << 20))
    for number in range(1_000_000 if what == "empty files" else 700):
        with open(f"{place}/{number}", "wb") as file:
            if what == "many files":
                file.write(bytes(1 << 20))
def handler(event, context):
    try:
        fill(event)
    except OSError as error:
        return errno.errorcode[error.errno]
    time.sleep(8)  # where a look into the directory tells, it comes by now
    return "not stopped"
"""
    function = place.function(source, Timeout=60, MemorySize=512)
    answer = function.call(what)
    if answer.error is None:
        assert answer.value in ("ENOSPC", "EFBIG"), answer
    else:
        assert place.tier == 1
        assert "signal: killed" in answer.message, answer
    assert place.function(BENIGN).value(1) == 1


FLOOD = """
import os
def handler(event, context):
    piece = (b"x" * 99 + b"\\n") * 10_000 if event == "lines" else b"y" * 1_000_000
    for _ in range(1_000):
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(1, rest):]
    return "done"
"""


@pytest.mark.parametrize("kind", ["lines", "one line without an end"])
@from_tier(0)
def test_a_gigabyte_of_output_costs_the_server_no_memory(place: Place, kind: str) -> None:
    flood, victim = place.function(FLOOD, Timeout=120), place.function(BENIGN)
    assert victim.value(1) == 1
    pid = place.server.process.pid
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the high-water mark begins anew
    before = _memory_kib(pid, "VmRSS")
    with ThreadPoolExecutor(1) as caller:
        going = caller.submit(flood.call_with_log, kind)
        calls = 0
        while not going.done():
            assert victim.value(2) == 2
            calls += 1
        answer, log = going.result()
    assert answer.value == "done"
    assert "REPORT RequestId" in log
    assert calls > 10
    assert _memory_kib(pid, "VmHWM") - before < 10 * 1024
    pages = place.server.client("logs").get_paginator("filter_log_events")
    marker = '"bytes of log output were dropped"'
    found = [
        event
        for page in pages.paginate(logGroupName=f"/aws/lambda/{flood.name}", filterPattern=marker)
        for event in page["events"]
    ]
    assert len(found) == 1


def _memory_kib(pid: int, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1])
