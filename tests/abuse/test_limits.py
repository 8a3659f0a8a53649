"""Bombs: memory, processes, threads, descriptors, space. They end or are refused, and others go on."""

from __future__ import annotations

import pytest

from tests.abuse.conftest import Place, from_tier, long

BENIGN = "def handler(event, context):\n    return event\n"


@pytest.mark.parametrize(
    "allocate",
    [
        "kept.append(os.urandom(1) * (1 << 20))",
        "shared = mmap.mmap(-1, 1 << 20); shared.write(bytes(1 << 20)); kept.append(shared)",
        "kept.append(subprocess.run([sys.executable, '-c', 'b = bytes(1) * (1 << 30); print(hash(b))']))",
    ],
    ids=["private", "shared", "child"],
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
    answer = hog.call()
    assert answer.value.get("errorType") == "Runtime.ExitError", answer
    assert answer.message.endswith("Error: Runtime exited with error: signal: killed")
    assert victim.value(1) == 1


@from_tier(1)
def test_a_fork_bomb_is_stopped_and_others_go_on(place: Place) -> None:
    if not place.has_users:
        pytest.skip("processes are counted by user, which functions share here")
    source = """
import errno, os, time
def handler(event, context):
    count = 0
    try:
        while count < 10_000:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            count += 1
    except OSError as error:
        return [errno.errorcode[error.errno], count]
    return ["none", count]
"""
    bomb, victim = place.function(source, MemorySize=3008), place.function(BENIGN)
    assert victim.value(1) == 1
    error, count = bomb.value()
    assert error == "EAGAIN"
    assert count < 1_025
    assert victim.value(2) == 2


@from_tier(1)
def test_a_thread_bomb_and_a_descriptor_bomb_are_stopped(place: Place) -> None:
    if not place.has_users:
        pytest.skip("threads are counted by user, which functions share here")
    source = """
import errno, os, threading
def handler(event, context):
    wait = threading.Event()
    threads, opened, found = 0, [], []
    try:
        while threads < 5_000:
            threading.Thread(target=wait.wait, daemon=True).start()
            threads += 1
    except RuntimeError as error:
        found.append("threads")
    wait.set()
    try:
        while len(opened) < 5_000:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        found.append(errno.errorcode[error.errno])
    for one in opened:
        os.close(one)
    return found
"""
    assert place.function(source, MemorySize=1024).value() == ["threads", "EMFILE"]


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
