"""Compares the HTTP server module with a bare httptools protocol: a 1 KB echo over keep-alive, measured with wrk.

    python -m benchmarks.http_echo [--seconds 3] [--connections 1 8 32] [--rounds 1] [--loops asyncio uvloop]

Both run in processes of their own, one after the other within each round, since a machine's speed drifts. The ratio is
lambdad's requests per second to the bare protocol's; 0.8 is the goal. CPU is the server's, per request.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.limits.echo import echo
from benchmarks.limits.serving import serve as serve_bare
from lambdad.http import BodyPolicy, Exchange, HttpServer, Request, Response

SCRIPT = """
wrk.method = "POST"
wrk.body = string.rep("x", 1024)
wrk.headers["Content-Type"] = "application/json"
"""


class Echo:
    """Answers with the body it gets."""

    policy = BodyPolicy(limit=6 * 1024 * 1024)

    def head(self, request: Request) -> BodyPolicy:
        return self.policy

    def handle(self, exchange: Exchange) -> None:
        exchange.send(Response(200, [("Content-Type", "application/json")], exchange.request.body))


async def serve_lambdad() -> None:
    server = HttpServer(Echo())
    await server.start()
    print("port", server.port, flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop()


def serve(kind: str, loop: str) -> None:
    factory = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415  # optional

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve_bare(echo) if kind == "bare" else serve_lambdad())


def measure(kind: str, loop: str, connections: int, seconds: int, script: str) -> tuple[float, float]:
    """Requests per second and CPU microseconds per request."""
    command = [sys.executable, "-m", "benchmarks.http_echo", "--serve", kind, "--loops", loop]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().split()[1]
            url = f"http://127.0.0.1:{port}/"
            wrk = ["wrk", "-t1", f"-c{connections}", "-s", script, url]
            subprocess.run([*wrk, "-d1s"], capture_output=True, check=True)
            before = cpu_s(server.pid)
            report = subprocess.run([*wrk, f"-d{seconds}s"], capture_output=True, check=True, text=True).stdout
            used = cpu_s(server.pid) - before
        finally:
            server.terminate()
    if "Non-2xx" in report or "Socket errors" in report:
        raise SystemExit(f"{kind} on {loop}: requests failed\n{report}")
    count = int(re.search(r"(\d+) requests in", report)[1])
    return float(re.search(r"Requests/sec:\s+([\d.]+)", report)[1]), used / count * 1e6


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--loops", nargs="+", default=["asyncio", "uvloop"], choices=["asyncio", "uvloop"])
    parser.add_argument("--serve", choices=["bare", "lambdad"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.loops[0])
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    print(
        f"{'loop':8} {'connections':>11} {'bare req/s':>11} {'lambdad req/s':>14} {'ratio':>6} {'CPU us bare':>12} {'lambdad':>8}"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        script.flush()
        for loop in options.loops:
            for connections in options.connections:
                pairs = [
                    [measure(kind, loop, connections, options.seconds, script.name) for kind in ("bare", "lambdad")]
                    for _ in range(options.rounds)
                ]
                bare, ours = (statistics.median(pair[i][0] for pair in pairs) for i in (0, 1))
                bare_us, our_us = (statistics.median(pair[i][1] for pair in pairs) for i in (0, 1))
                ratio = statistics.median(pair[1][0] / pair[0][0] for pair in pairs)
                print(
                    f"{loop:8} {connections:11} {bare:11,.0f} {ours:14,.0f} {ratio:6.2f} {bare_us:12.1f} {our_us:8.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
