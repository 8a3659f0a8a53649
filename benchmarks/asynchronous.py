"""Measures asynchronous invocation: accepting, working off, and what a backlog costs.

    python -m benchmarks.asynchronous [--quick] [--only accept,drain,backlog,fairness,messages] [--write-docs]
                                      [--lambdad "lambdad up ..."]

Every event is 1 KB and on the disk (SQLite, synchronous=FULL) before it is answered. Results go to
benchmarks/build/asynchronous.json; --write-docs renders them into docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from benchmarks import asynchronous_report, command, processes, queues
from benchmarks import events as store
from benchmarks.command import say
from benchmarks.load import BUILD, CannotMeasure, Load, Prepared, measure
from benchmarks.server import Lambdad, archive
from benchmarks.targets import LimitServer, plain_requests
from lambdad.storage.sqlite import DATABASE_NAME, SqliteEngine

RESULTS = BUILD / "asynchronous.json"
CONNECTIONS = (1, 8, 16, 64)
REQUESTS = 256
HANDLER = b"def handler(event, context):\n    return None\n"
SLEEPER = b"import time\ndef handler(event, context):\n    time.sleep(890)\n"
TELLER = (
    b"import socket\n"
    b"def handler(event, context):\n"
    b"    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as teller:\n"
    b"        teller.sendto(event['id'].encode(), ('127.0.0.1', event['port']))\n"
)
DRAIN_LIMIT_S = 300.0
ROUND_LIMIT_S = 30.0


class Plan(argparse.Namespace):
    """The options, and how much is measured with them."""

    quick: bool
    only: list[str]
    lambdad: str
    write_docs: bool

    @property
    def repetitions(self) -> int:
        return 2 if self.quick else 7

    @property
    def seconds(self) -> float:
        return 0.5 if self.quick else 1.5

    @property
    def drained(self) -> int:
        return 1_000 if self.quick else 10_000

    @property
    def backlogs(self) -> tuple[int, ...]:
        return (0, 10_000) if self.quick else (0, 100_000, 1_000_000)

    @property
    def throttled(self) -> int:
        return 10_000 if self.quick else 100_000

    @property
    def rounds(self) -> int:
        return 20 if self.quick else 100


# --- servers and functions ---


@contextlib.contextmanager
def a_server(plan: Plan) -> Iterator[Lambdad]:
    server = Lambdad(plan.lambdad)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def create(server: Lambdad, name: str, source: bytes, **configuration: object) -> None:
    server.create(name, archive([("app.py", source, 0o644)]), **configuration)


def event_calls(server: Lambdad, function: str) -> list[Prepared]:
    """Asynchronous invokes, each with an event of its own."""
    return [
        Prepared(server.signed("POST", path, one.request.partition(b"\r\n\r\n")[2], headers=EVENT_HEADER))
        for one in plain_requests()[:REQUESTS]
        for path in [f"/2015-03-31/functions/{function}/invocations"]
    ]


EVENT_HEADER = {"X-Amz-Invocation-Type": "Event"}


def hold(server: Lambdad) -> None:
    """A function whose events all wait: its only slot is taken by a call that goes on for a quarter of an hour."""
    create(server, "held", SLEEPER, Timeout=900)
    client = server.boto3()
    client.put_function_concurrency(FunctionName="held", ReservedConcurrentExecutions=1)
    client.invoke(FunctionName="held", InvocationType="Event", Payload=b"{}")


def fill(server: Lambdad, function: str, count: int) -> None:
    """Stores events of a function behind the back of a server that is stopped meanwhile."""
    server.halt()

    async def put() -> None:
        engine = await SqliteEngine.open(server.data)
        await store.fill_function(engine, function, count)
        await engine.close()

    asyncio.run(put())
    server.start()


def left(server: Lambdad) -> int:
    """How many events have not ended, from the store itself."""
    with contextlib.closing(sqlite3.connect(f"file:{server.data / DATABASE_NAME}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM event").fetchone()[0])


# --- sections ---


def accept(plan: Plan) -> dict[str, object]:
    """Accepted events a second beside the bare limit, in turns; functions run meanwhile, or wait (`held`)."""
    runs: dict[str, dict[str, list[object]]] = {}
    BUILD.mkdir(exist_ok=True)
    folder = tempfile.mkdtemp(prefix="commit-", dir=BUILD)
    limit = LimitServer("limit-commit", "commit", "--folder", folder)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(limit.stop)
        bare = limit.start()
        server = stack.enter_context(a_server(plan))
        create(server, "runs", HANDLER)
        hold(server)
        wants = {
            "limit-commit": (bare.pid, bare.port, bare.prepare, 200),
            "lambdad, events wait": (server.pid, server.port, lambda: event_calls(server, "held"), 202),
            "lambdad, events run": (server.pid, server.port, lambda: event_calls(server, "runs"), 202),
        }
        for repetition in range(plan.repetitions):
            say(f"accept: repetition {repetition + 1} of {plan.repetitions}")
            for connections in CONNECTIONS:
                for name, (pid, port, prepare, status) in wants.items():
                    load = Load(connections=connections, seconds=plan.seconds, warmup=0.2, status=status)
                    result = measure(pid, port, prepare, load)
                    if result["errors"]:
                        raise CannotMeasure(f"{name}: {result['errors']} errors, the first {result['first_error']}")
                    runs.setdefault(name, {}).setdefault(str(connections), []).append(result)
                    _settle(server, keep=name != "lambdad, events run")
    return {"runs": runs}


def _settle(server: Lambdad, *, keep: bool) -> None:
    """Lets the events of the function that runs end, so that they do not disturb what is measured next."""
    if keep:
        return
    before, end = -1, time.monotonic() + DRAIN_LIMIT_S
    while (now := left(server)) != before and time.monotonic() < end:
        before = now
        time.sleep(0.3)


def drain(plan: Plan) -> dict[str, object]:
    """How long a server takes to work off the events that it finds."""
    seconds = []
    for _ in range(max(1, plan.repetitions // 2)):
        with a_server(plan) as server:
            create(server, "runs", HANDLER)
            fill(server, "runs", plan.drained)
            begin = time.monotonic()
            while (rest := left(server)) > 0:
                if time.monotonic() - begin > DRAIN_LIMIT_S:
                    raise CannotMeasure(f"{rest} of {plan.drained} events were not run in {DRAIN_LIMIT_S:.0f} s")
                time.sleep(0.01)
            seconds.append(time.monotonic() - begin)
    say("drain: " + ", ".join(f"{value:.2f} s" for value in seconds))
    return {"events": plan.drained, "seconds": seconds}


def backlog(plan: Plan) -> dict[str, object]:
    """The store with backlogs of several sizes, and the memory of a server that has them."""
    counts: dict[str, dict[str, object]] = {}
    for count in plan.backlogs:
        say(f"backlog: {count:,} events")
        counts[str(count)] = asyncio.run(store.figures(count, functions=100))
        with a_server(plan) as server:
            hold(server)
            fill(server, "held", count)
            time.sleep(2)  # what starts in the background has started
            counts[str(count)]["server_pss"] = processes.pss_bytes(server.pid)
            counts[str(count)]["start_seconds"] = server.start_seconds
    return {"counts": counts}


def fairness(plan: Plan) -> dict[str, object]:
    """From an asynchronous call until its function runs, with an empty queue and beside a throttled backlog."""
    found: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        servers = {"empty": stack.enter_context(a_server(plan)), "throttled": stack.enter_context(a_server(plan))}
        hold(servers["throttled"])
        fill(servers["throttled"], "held", plan.throttled)
        for server in servers.values():
            create(server, "tells", TELLER)
        ear = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(ROUND_LIMIT_S)
        clients = {name: server.boto3() for name, server in servers.items()}
        for number in range(plan.rounds + 3):
            for name, client in clients.items():
                call = json.dumps({"id": f"{name}-{number}", "port": ear.getsockname()[1]}).encode()
                begin = time.perf_counter()
                client.invoke(FunctionName="tells", InvocationType="Event", Payload=call)
                while ear.recv(100).decode() != f"{name}-{number}":
                    pass
                if number >= 3:  # the first ones start the environment
                    found.setdefault(name, []).append(time.perf_counter() - begin)
    say("fairness: " + ", ".join(f"{name} {statistics.median(times) * 1000:.2f} ms" for name, times in found.items()))
    return {"throttled": plan.throttled, "seconds": found}


def messages(plan: Plan) -> dict[str, object]:
    """SQS: requests and messages a second."""
    return {"rows": [row for queued in (0, plan.throttled) for row in queues.figures(queued, (1, 16), plan.seconds)]}


SECTIONS: dict[str, Callable[[Plan], dict[str, object]]] = {
    "accept": accept,
    "drain": drain,
    "backlog": backlog,
    "fairness": fairness,
    "messages": messages,
}


def read_plan(arguments: list[str] | None = None) -> Plan:
    parser = command.parser_for("asynchronous", "Measures asynchronous invocation.", SECTIONS)
    return parser.parse_args(arguments, namespace=Plan())


def main() -> int:
    plan = read_plan()
    results = command.run(SECTIONS, plan, RESULTS)
    if results is None:
        return 1
    shown = {name: results[name] for name in SECTIONS if name in plan.only}
    print(asynchronous_report.render(shown, markdown=False))
    if plan.write_docs:
        asynchronous_report.write_docs(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
