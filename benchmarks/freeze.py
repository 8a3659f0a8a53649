"""Measures what freezing costs: the system calls themselves, and a call of a frozen function beside one of a warm one.

    python -m benchmarks.freeze [--quick] [--write-docs] [--lambdad "lambdad up ..."]

Two servers run at once, one that never freezes and one that does after 20 ms. Every round calls both after the same
pause, since a function that was idle is slower than one in a hot loop even if it was not frozen. Results go to
benchmarks/build/freeze.json; --write-docs renders them into docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import processes
from benchmarks.command import say, surroundings
from benchmarks.load import BUILD, CannotMeasure
from benchmarks.report import conditions, markdown_table, plain_table, write_between
from benchmarks.server import Lambdad, archive, installed_command

BEGIN, END = "<!-- freeze: begin -->", "<!-- freeze: end -->"
RESULTS = BUILD / "freeze.json"
FREEZE_AFTER_S = 0.02
PAUSE_S = 0.1
"""Between two calls of a round; the function must be frozen by then, which is checked."""
HOT, IDLE, FROZEN = "in a hot loop", "idle for 100 ms, not frozen", "idle for 100 ms, frozen"
FREEZE, FREEZE_DONE, THAW = "freeze: the call", "freeze: until every process stands still", "thaw: the call"
NAME = "benched"
"""Of the function's process, by which it is told from those that were forked ahead."""
HANDLER = f"""
with open("/proc/self/comm", "w") as name:
    name.write("{NAME}")
def handler(event, context):
    return 1
""".encode()
MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/freezer"))
STATES = (("cgroup.freeze", b"1", b"0", "cgroup.events", "frozen 1"),
          ("freezer.state", b"FROZEN", b"THAWED", "freezer.state", "FROZEN"))  # fmt: skip
"""Control file, what freezes, what thaws, where the state is told, and how."""


class Plan(argparse.Namespace):
    """The options, and how much is measured with them."""

    quick: bool
    lambdad: str
    write_docs: bool

    @property
    def rounds(self) -> int:
        return 20 if self.quick else 300


class Freezer:
    """The control group that freezes the one environment of a server."""

    def __init__(self, root: int) -> None:
        for directory in _groups_of(root):
            for control, freeze, thaw, state, frozen in STATES:
                if (directory / control).exists():
                    self._control = os.open(directory / control, os.O_WRONLY)
                    self._words, self._state, self._frozen = (freeze, thaw), directory / state, frozen
                    return
        raise CannotMeasure("no control group freezes environments here (see `lambdad doctor`): nothing to measure")

    @property
    def is_frozen(self) -> bool:
        return self._frozen in self._state.read_text()

    def write(self, *, freeze: bool) -> float:
        """Seconds of the call."""
        began = time.perf_counter()
        os.write(self._control, self._words[0] if freeze else self._words[1])
        return time.perf_counter() - began


def _groups_of(root: int) -> Iterator[Path]:
    """The control groups of the function's process below a server's."""
    for pid in processes.tree(root):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() != NAME:
                continue
            for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
                path = line.split(":", 2)[2]
                if "/lambdad-" in path and not path.endswith("-service"):
                    yield from (mount / path.lstrip("/") for mount in MOUNTS)


class Server:
    """A server with one function, which was called once."""

    def __init__(self, plan: Plan, freeze_after: str, stack: contextlib.ExitStack) -> None:
        lambdad = Lambdad(f"{plan.lambdad} --freeze-after {freeze_after}")
        stack.callback(lambdad.stop)
        lambdad.start()
        lambdad.create("frozen", archive([("app.py", HANDLER, 0o644)]), MemorySize=256)
        self._request = lambdad.signed("POST", "/2015-03-31/functions/frozen/invocations", b"{}")
        self._connection = socket.create_connection(("127.0.0.1", lambdad.port))
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stack.callback(self._connection.close)
        self.call()
        self.freezer = Freezer(lambdad.pid)

    def call(self) -> float:
        """Seconds until the whole answer is there."""
        began = time.perf_counter()
        self._connection.sendall(self._request)
        response = http.client.HTTPResponse(self._connection)
        response.begin()
        body = response.read()
        took = time.perf_counter() - began
        if response.status != 200 or body != b"1":
            raise CannotMeasure(f"a call was answered with {response.status}: {body[:300].decode(errors='replace')}")
        return took


def measure(plan: Plan) -> dict[str, list[float]]:
    """Seconds by what was measured."""
    times: dict[str, list[float]] = {name: [] for name in (HOT, IDLE, FROZEN, FREEZE, FREEZE_DONE, THAW)}
    with contextlib.ExitStack() as stack:
        awake, freezing = Server(plan, "off", stack), Server(plan, str(FREEZE_AFTER_S), stack)
        for number in range(plan.rounds):
            if number % 20 == 0:
                say(f"freeze: round {number + 1} of {plan.rounds}")
            awake.call()
            times[HOT].append(awake.call())
            freezing.call()
            time.sleep(PAUSE_S)
            if awake.freezer.is_frozen or not freezing.freezer.is_frozen:
                continue  # the machine was too busy for this round
            times[IDLE].append(awake.call())
            times[FROZEN].append(freezing.call())
            _measure_calls(awake.freezer, times)
    if not times[FROZEN]:
        raise CannotMeasure(f"the function was not frozen {PAUSE_S * 1000:.0f} ms after a call: is the machine busy?")
    return times


def _measure_calls(freezer: Freezer, times: dict[str, list[float]]) -> None:
    began = time.perf_counter()
    times[FREEZE].append(freezer.write(freeze=True))
    while not freezer.is_frozen:
        if time.perf_counter() - began > 1:
            raise CannotMeasure("an environment was not frozen within a second")
    times[FREEZE_DONE].append(time.perf_counter() - began)
    times[THAW].append(freezer.write(freeze=False))


def render(results: dict, *, markdown: bool) -> str:
    times = results["seconds"]
    layout = markdown_table if markdown else plain_table
    rows = [(name, *_spread(values)) for name, values in times.items()]
    added = [(frozen - idle) * 1e6 for frozen, idle in zip(times[FROZEN], times[IDLE], strict=True)]
    return (
        f"{layout(('', 'us, median', 'us, from-to'), rows)}\n\n"
        f"A call of a frozen function takes {statistics.median(added):.0f} us more than one of a function that was idle"
        f" for as long (median of the differences of {len(added)} rounds).\n\nMeasured on {conditions(results)}\n"
    )


def _spread(seconds: list[float]) -> tuple[str, str]:
    """Median, and where nine tenths of the values lie."""
    ordered = sorted(value * 1e6 for value in seconds)
    low, high = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
    return f"{statistics.median(ordered):,.0f}", f"{low:,.0f}-{high:,.0f}"


def read_plan(arguments: list[str] | None = None) -> Plan:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freeze", description="Measures what freezing costs.")
    parser.add_argument("--quick", action="store_true", help="few repetitions: for a first look")
    parser.add_argument(
        "--lambdad",
        default=installed_command(),
        metavar="COMMAND",
        help="what starts the server (default: the installed `lambdad up`)",
    )
    parser.add_argument("--write-docs", action="store_true", help="render the results into docs/performance.md")
    return parser.parse_args(arguments, namespace=Plan())


def main() -> int:
    plan = read_plan()
    BUILD.mkdir(exist_ok=True)
    try:
        results = {"seconds": measure(plan), **surroundings(), "quick": plan.quick}
    except CannotMeasure as problem:
        say(f"benchmarks: {problem}")
        return 1
    RESULTS.write_text(json.dumps(results, indent=1))
    print(render(results, markdown=False))
    if plan.write_docs:
        write_between(BEGIN, END, render(results, markdown=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
