"""Nothing stays behind: not after a thousand environments, not after a spawner or server that was killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.abuse.conftest import Place, from_tier, long
from tests.abuse.test_processes import mark, until_gone


def state_of(place: Place) -> dict[str, int]:
    """Of the server and all below it; a process that is just ending counts for nothing."""
    pid = place.server.process.pid
    below = list(_below(pid))
    names = [f"/lambdad-{one}-" for one in below]
    return {
        "processes": len(below),
        "descriptors": sum(_descriptors(one) for one in (pid, *below)),
        "mounts": sum(_mounts(one) for one in below),
        "groups": sum(any(name in path for name in names) for path, _, _ in os.walk("/sys/fs/cgroup")),
    }


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def _mounts(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}/mountinfo").read_text().count("\n")
    except OSError:
        return 0


def _below(pid: int) -> Iterator[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return
    for child in map(int, text.split()):
        yield child
        yield from _below(child)


@long
@from_tier(0)
def test_a_thousand_environments_leave_nothing(place: Place) -> None:
    function = place.function("import os\ndef handler(event, context):\n    os._exit(event)\n")

    def burn(count: int) -> None:
        for _ in range(count):
            assert function.call(1).error == "Unhandled"

    burn(20)
    before = _settled(place)
    burn(1000)
    after = _settled(place)
    # A zygote is replaced after so many forks, so its own descriptors may differ by a few.
    assert after["processes"] == before["processes"]
    assert after["groups"] == before["groups"]
    assert abs(after["descriptors"] - before["descriptors"]) < 20
    assert abs(after["mounts"] - before["mounts"]) < 20


def _settled(place: Place) -> dict[str, int]:
    state = state_of(place)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        time.sleep(0.3)
        now = state_of(place)
        if now == state:
            return now
        state = now
    return state


@from_tier(2)
def test_a_spawner_that_is_killed_takes_every_process_of_functions_with_it(place: Place) -> None:
    text = mark()
    source = """
import subprocess
def handler(event, context):
    subprocess.Popen(["/bin/sleep", event], start_new_session=True)
    return 1
"""
    from tests.running import RunningServer

    own = RunningServer(place.server.data.parent / "second", *place.server.options, program=place.server.program)
    try:
        doomed = Place(place.name, own, place.runtime)
        assert doomed.function(source).value(text) == 1
        assert len(place.processes_with(text)) == 1
        pid = own.process.pid
        (spawner, *_) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        os.kill(spawner, signal.SIGKILL)
        until_gone(place, text, limit_s=2)
    finally:
        own.stop(signal.SIGKILL)
