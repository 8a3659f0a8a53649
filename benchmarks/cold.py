"""Measures cold starts: the first call of a function that was never called, a burst from zero, memory.

    python -m benchmarks.cold [--quick] [--only first,bundle,burst,memory] [--isolation auto,off] [--write-docs]
                              [--lambdad "lambdad up ..."]

Every round measures the machine's own limits too: the start of the real interpreters and a bare fork. Functions have
code of their own, so that nothing of one start helps the next. Results go to benchmarks/build/cold.json; --write-docs
renders them into docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks import cold_report, command, processes
from benchmarks.command import names, say
from benchmarks.load import BUILD, CannotMeasure
from benchmarks.server import Lambdad, archive, python_for_functions
from lambdad.execution.compile_cache import FIRST_NODE, FOLDER
from lambdad.execution.runtimes.interpreters import Interpreters

RESULTS = BUILD / "cold.json"
TIERS = ("auto", "off")
BURST = 50
BURST_S = 0.2

PYTHON = {
    "python": "def handler(event, context):\n    return 1\n",
    "import boto3": "import boto3\ndef handler(event, context):\n    return 1\n",
    "boto3 client": (
        "import boto3\nclient = boto3.client('s3', region_name='us-east-1')\n"
        "def handler(event, context):\n    return 1\n"
    ),
}
NODE = "exports.handler = async () => 1;\n"
BUNDLE_FUNCTIONS = 12_000
SLEEPER = f"import time\ndef handler(event, context):\n    time.sleep({BURST_S})\n    return 1\n"


class Plan(argparse.Namespace):
    """The options, and how much is measured with them."""

    quick: bool
    only: list[str]
    isolation: list[str]
    lambdad: str
    write_docs: bool

    @property
    def rounds(self) -> int:
        return 5 if self.quick else 31

    @property
    def bursts(self) -> int:
        return 2 if self.quick else 9

    @property
    def environments(self) -> int:
        return 10 if self.quick else 30


class Server:
    """A server of one isolation tier, and functions nobody has called yet."""

    def __init__(self, plan: Plan, isolation: str, stack: contextlib.ExitStack) -> None:
        self.isolation = isolation
        self.lambdad = Lambdad(f"{plan.lambdad} --isolation {isolation}")
        stack.callback(self.lambdad.stop)
        self.lambdad.start()
        self._made = 0

    def function(self, code: str, **members: object) -> str:
        """A new function, Active and never called."""
        self._made += 1
        name = f"cold-{self._made}"
        comment = "//" if str(members.get("Runtime", "")).startswith("nodejs") else "#"
        file = "app.js" if comment == "//" else "app.py"
        package = archive([(file, f"{code}{comment} {self.isolation} {self._made}\n".encode(), 0o644)])
        self.lambdad.create(name, package, MemorySize=256, **members)
        return name

    def forget_compiled(self) -> None:
        """From now on functions start as if nothing of their Node.js code had been compiled when they were deployed."""
        for compiled in self.lambdad.data.glob(f"unpacked/*/{FOLDER}"):
            shutil.rmtree(compiled)

    def connected(self, function: str) -> tuple[socket.socket, bytes]:
        """A connection and the signed request that calls the function."""
        path = f"/2015-03-31/functions/{function}/invocations"
        connection = socket.create_connection(("127.0.0.1", self.lambdad.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, self.lambdad.signed("POST", path, b"{}")

    def call(self, function: str) -> float:
        """Seconds until the whole answer of one call is there."""
        connection, request = self.connected(function)
        with connection:
            began = time.perf_counter()
            connection.sendall(request)
            answered(connection)
            return time.perf_counter() - began

    def burst(self, function: str) -> float:
        """Seconds until every one of many calls at once is answered."""
        ready = [self.connected(function) for _ in range(BURST)]
        began = time.perf_counter()
        for connection, request in ready:
            connection.sendall(request)
        for connection, _ in ready:
            answered(connection)
        took = time.perf_counter() - began
        for connection, _ in ready:
            connection.close()
        return took


def answered(connection: socket.socket) -> None:
    """Reads an answer; fails unless the function returned 1."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = response.read()
    if response.status != 200 or body != b"1":
        raise CannotMeasure(f"a call was answered with {response.status}: {body[:300].decode(errors='replace')}")


def node() -> tuple[str, str] | None:
    """The machine's Node and the runtime that it serves; None without one."""
    program = shutil.which("node")
    if program is None:
        return None
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return os.path.realpath(program), f"nodejs{version[1:].partition('.')[0]}.x"


def bundle_source() -> str:
    """What a bundler makes of many packages, as far as it counts here: thousands of functions, a fifth of them called
    while the handler is loaded."""
    lines = ["'use strict';", "const registry = {};"]
    for number in range(BUNDLE_FUNCTIONS):
        lines.append(
            f"function f{number}(a, b) {{ const c = a * {number} + b; return c > 9 ? [c].map((d) => -d) : {{ c }}; }}"
        )
        lines.append(f"registry.k{number} = {f'f{number}({number}, 2)' if number % 5 == 0 else f'f{number}'};")
    return "\n".join([*lines, "exports.handler = async () => 1;", ""])


def newest_node() -> str | None:
    """The runtime of the newest Node.js here of those that have a compile cache."""
    interpreters = Interpreters()
    for name in ("node24", "node22"):
        found = interpreters.find(name)
        if found is not None and found.version >= FIRST_NODE:
            return f"nodejs{found.version[0]}.x"
    return None


def process_seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env={"PATH": os.environ.get("PATH", "")})
    return time.perf_counter() - began


def fork_seconds() -> float:
    """From a fork of this process until the child's first byte."""
    reader, writer = os.pipe()
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.write(writer, b"1")
        os._exit(0)
    os.read(reader, 1)
    took = time.perf_counter() - began
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    return took


def limits(found: tuple[str, str] | None) -> Iterator[tuple[str, float]]:
    """What the machine takes for a start without isolation and without a server."""
    python = os.path.realpath(python_for_functions())
    yield "python3 -c pass", process_seconds(python, "-c", "pass")
    yield "python3 -S -c pass", process_seconds(python, "-S", "-c", "pass")
    yield "fork", fork_seconds()
    if found is not None:
        yield "node -e 0", process_seconds(found[0], "-e", "0")


def first(plan: Plan) -> dict[str, object]:
    """The first call of a function, tier by tier, beside the limits; the first round warms up and does not count."""
    found = node()
    times: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        servers = [Server(plan, isolation, stack) for isolation in plan.isolation]
        for number in range(plan.rounds + 1):
            say(f"first: round {number} of {plan.rounds}")
            measured = list(limits(found))
            for server in servers:
                for kind, code in PYTHON.items():
                    measured.append((f"{kind}, {server.isolation}", server.call(server.function(code))))
                if found is not None:
                    name = server.function(NODE, Runtime=found[1])
                    measured.append((f"node, {server.isolation}", server.call(name)))
            if number:
                for name, seconds in measured:
                    times.setdefault(name, []).append(seconds)
    return {"seconds": times}


def bundle(plan: Plan) -> dict[str, object]:
    """The first call of a Node.js function that is one large bundle, with and without what was compiled of it."""
    runtime = newest_node()
    times: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        servers = [Server(plan, isolation, stack) for isolation in plan.isolation if runtime]
        source = bundle_source()
        for number in range(plan.rounds + 1):
            say(f"bundle: round {number} of {plan.rounds}")
            for server in servers:
                for kind in ("compiled when deployed", "without"):
                    name = server.function(source, Runtime=runtime)
                    if kind == "without":
                        server.forget_compiled()
                    seconds = server.call(name)
                    if number:
                        times.setdefault(f"{kind}, {server.isolation}", []).append(seconds)
    return {"seconds": times, "bytes": len(source), "runtime": runtime or "no Node.js of at least 22.10"}


def burst(plan: Plan) -> dict[str, object]:
    """Many calls at once of a function that was never called."""
    times: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        servers = [Server(plan, isolation, stack) for isolation in plan.isolation]
        for server in servers:
            server.call(server.function(SLEEPER))
        for number in range(plan.bursts):
            say(f"burst: round {number + 1} of {plan.bursts}")
            for server in servers:
                times.setdefault(server.isolation, []).append(server.burst(server.function(SLEEPER)))
    return {"seconds": times, "calls": BURST, "sleep_s": BURST_S}


def memory(plan: Plan) -> dict[str, object]:
    """Private memory of Python environments that have answered once: what one more of them costs."""
    sizes: dict[str, float] = {}
    for isolation in plan.isolation:
        with contextlib.ExitStack() as stack:
            server = Server(plan, isolation, stack)
            server.call(server.function(PYTHON["python"]))
            before = private(server.lambdad.pid)
            for _ in range(plan.environments):
                server.call(server.function(PYTHON["python"]))
            after = private(server.lambdad.pid)
            new = after.keys() - before.keys()
            sizes[isolation] = sum(after[pid] for pid in new) / plan.environments
    say("memory: " + ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in sizes.items()))
    return {"bytes": sizes}


def private(root: int) -> dict[int, int]:
    """Private bytes of each process of a tree."""
    sizes = {}
    for pid in processes.tree(root):
        with contextlib.suppress(OSError):
            text = (processes.PROC / str(pid) / "smaps_rollup").read_text()
            lines = [line for line in text.splitlines() if line.startswith(("Private_Clean:", "Private_Dirty:"))]
            sizes[pid] = sum(int(line.split()[1]) for line in lines) * 1024
    return sizes


SECTIONS: dict[str, Callable[[Plan], dict[str, object]]] = {
    "first": first,
    "bundle": bundle,
    "burst": burst,
    "memory": memory,
}


def read_plan(arguments: list[str] | None = None) -> Plan:
    parser = command.parser_for("cold", "Measures cold starts.", SECTIONS)
    parser.add_argument(
        "--isolation",
        type=names(TIERS),
        default=list(TIERS),
        metavar="TIER,...",
        help=f"of {', '.join(TIERS)}: what the server is started with",
    )
    return parser.parse_args(arguments, namespace=Plan())


def main() -> int:
    plan = read_plan()
    results = command.run(SECTIONS, plan, RESULTS)
    if results is None:
        return 1
    shown = {name: results[name] for name in SECTIONS if name in plan.only}
    print(cold_report.render(shown, markdown=False))
    if plan.write_docs:
        cold_report.write_docs(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
