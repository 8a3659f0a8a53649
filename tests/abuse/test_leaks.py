"""Nothing stays behind: not after a thousand environments, not after a spawner or server that was killed."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.abuse.conftest import Place, from_tier, long, processes_below
from tests.abuse.test_processes import mark, until_gone
from tests.running import RunningServer


def state_of(server: RunningServer) -> dict[str, int]:
    """Of the server and all below it; a process that is just ending counts for nothing."""
    pid = server.process.pid
    below = list(processes_below(pid))
    names = [f"lambdad-{one}-" for one in below]
    return {
        "processes": len(below),
        "descriptors": sum(_descriptors(one) for one in (pid, *below)),
        "mounts": sum(_mounts(one) for one in below),
        "groups": sum(any(f"/{name}" in path for name in names) for path, _, _ in os.walk("/sys/fs/cgroup")),
        "directories": sum(_directories(one, names) for one in below[:1]),
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


def _directories(spawner: int, names: list[str]) -> int:
    """What lies where the spawner keeps its things, /tmp of environments among them."""
    count = 0
    for place in ("run", "tmp"):
        for path, folders, files in os.walk(f"/proc/{spawner}/root/{place}"):
            # Copies of code (T1) are kept for a while, a few at most: whoever used them last may use them again.
            if any(name in path for name in names) and "/copies" not in path:
                count += len(folders) + len(files)
    return count


@long
@from_tier(0)
def test_a_thousand_environments_leave_nothing(place: Place) -> None:
    source = """
import time
def handler(event, context):
    time.sleep(0.3)
    return context.log_stream_name
"""
    own = RunningServer(place.server.data.parent / "third", *place.server.options, program=place.server.program)
    try:
        here = Place(place.name, own, place.runtime)
        lambdas = own.client("lambda", max_pool_connections=50)

        def come_and_go(count: int) -> None:
            """Makes that many environments, 50 at once, and lets go of them with their function."""
            streams: set[str] = set()
            while len(streams) < count:
                name = here.function(source).name
                with ThreadPoolExecutor(50) as callers:
                    calls = [callers.submit(lambdas.invoke, FunctionName=name) for _ in range(50)]
                    streams |= {json.loads(call.result()["Payload"].read()) for call in calls}
                lambdas.delete_function(FunctionName=name)

        come_and_go(50)
        before = _settled(own)
        come_and_go(1000)
        after = _settled(own)
    finally:
        own.stop()
    # A zygote is replaced after so many forks, so its own descriptors may differ by a few.
    for what, allowed in {"processes": 0, "groups": 0, "directories": 0, "descriptors": 20, "mounts": 20}.items():
        assert after[what] - before[what] <= allowed, (what, before, after)


def _settled(server: RunningServer) -> dict[str, int]:
    state = state_of(server)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        time.sleep(0.5)
        now = state_of(server)
        if now == state:
            return now
        state = now
    return state


@pytest.mark.parametrize("killed", ["server", "spawner"])
@from_tier(2)
def test_whoever_is_killed_takes_every_process_of_functions_with_it(place: Place, killed: str) -> None:
    text = mark()
    source = """
import subprocess
def handler(event, context):
    subprocess.Popen(["/bin/sleep", event], start_new_session=True)
    return 1
"""
    own = RunningServer(place.server.data.parent / "second", *place.server.options, program=place.server.program)
    try:
        doomed = Place(place.name, own, place.runtime)
        assert doomed.function(source).value(text) == 1
        assert len(place.processes_with(text)) == 1
        pid = own.process.pid
        (spawner, *_) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        os.kill(pid if killed == "server" else spawner, signal.SIGKILL)
        until_gone(place, text, limit_s=1)
    finally:
        own.stop(signal.SIGKILL)
