"""Compares the HTTP server module with a bare httptools protocol: a 1 KB echo over keep-alive, measured with wrk.

    python -m benchmarks.http_echo [--seconds 3] [--connections 1 8 32] [--rounds 1] [--loops asyncio uvloop]
                                   [--heads same signed]

Both run in processes of their own, one after the other within each round, since a machine's speed drifts. The ratio is
lambdad's requests per second to the bare protocol's, which looks at no header at all. CPU is the server process's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.limits.echo import echo
from benchmarks.limits.serving import serve as serve_bare
from lambdad.http import BodyPolicy, Exchange, HttpServer, Request, Response

SCRIPTS = {
    # The same bytes each time, as pollers and load generators send them.
    "same": """
wrk.method = "POST"
wrk.body = string.rep("x", 1024)
wrk.headers["Content-Type"] = "application/json"
""",
    # Ten headers, of which one differs each time, as AWS clients send them.
    "signed": """
local requests, turn = {}, 0
function init()
   local body = string.rep("x", 1024)
   for number = 1, 2000 do
      requests[number] = wrk.format("POST", "/2015-03-31/functions/echo/invocations", {
         ["Host"] = "127.0.0.1:4566", ["Content-Type"] = "application/json", ["Accept-Encoding"] = "identity",
         ["User-Agent"] = "Boto3/1.40.1 md/Botocore#1.40.1 ua/2.1 os/linux md/arch#x86_64 lang/python#3.12.1",
         ["X-Amz-Date"] = "20250101T000000Z", ["amz-sdk-request"] = "attempt=1",
         ["amz-sdk-invocation-id"] = string.format("%032x", number),
         ["Authorization"] = "AWS4-HMAC-SHA256 Credential=test/20250101/us-east-1/lambda/aws4_request, " ..
            "SignedHeaders=host;x-amz-date, Signature=" .. string.format("%064x", number),
      }, body)
   end
end
function request()
   turn = turn % 2000 + 1
   return requests[turn]
end
""",
}


class Echo:
    """Answers with the body it gets."""

    policy = BodyPolicy(limit=6 * 1024 * 1024)

    def head(self, _request: Request) -> BodyPolicy:
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
    parser.add_argument("--heads", nargs="+", default=["same", "signed"], choices=list(SCRIPTS))
    parser.add_argument("--serve", choices=["bare", "lambdad"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.loops[0])
        return
    print(f"{'heads':7} {'loop':8} {'conn.':>5} {'bare':>9} {'lambdad':>9} {'ratio':>6}   CPU us: bare, lambdad, ratio")
    for heads in options.heads:
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(SCRIPTS[heads])
            script.flush()
            for loop in options.loops:
                for connections in options.connections:
                    print(
                        f"{heads:7} {loop:8} {connections:5} ",
                        compare(loop, connections, options, script.name),
                        flush=True,
                    )


def compare(loop: str, connections: int, options: argparse.Namespace, script: str) -> str:
    """Medians over the rounds."""
    rounds = [
        [measure(kind, loop, connections, options.seconds, script) for kind in ("bare", "lambdad")]
        for _ in range(options.rounds)
    ]
    bare, ours = (statistics.median(pair[kind][0] for pair in rounds) for kind in (0, 1))
    bare_us, our_us = (statistics.median(pair[kind][1] for pair in rounds) for kind in (0, 1))
    ratio = statistics.median(pair[1][0] / pair[0][0] for pair in rounds)
    cpu_ratio = statistics.median(pair[0][1] / pair[1][1] for pair in rounds)
    return f"{bare:9,.0f} {ours:9,.0f} {ratio:6.2f}   {bare_us:16.1f} {our_us:8.1f} {cpu_ratio:6.2f}"


if __name__ == "__main__":
    main()
