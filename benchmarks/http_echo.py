"""Compares the HTTP server module with a bare httptools protocol: a 1 KB echo over keep-alive, measured with wrk.

    python -m benchmarks.http_echo [--seconds 1] [--rounds 5] [--connections 1 8 32] [--loops asyncio uvloop]
                                   [--heads same signed]

The bare protocol looks at no header at all and answers with two of its own. Both servers run in processes of their own
and are measured in turns, since a machine's speed drifts; ratios are lambdad's requests per second to the bare ones.
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


class Server:
    """One of the two, in a process of its own."""

    def __init__(self, kind: str, loop: str) -> None:
        self.kind = kind
        command = [sys.executable, "-m", "benchmarks.http_echo", "--serve", kind, "--loops", loop]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().split()[1]}/"
        self.rates: list[float] = []
        self.cpu_us: list[float] = []

    def measure(self, connections: int, seconds: int, script: str) -> None:
        before = self._cpu_s()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, self.url]
        report = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        if "Non-2xx" in report or "Socket errors" in report:
            raise SystemExit(f"{self.kind}: requests failed\n{report}")
        self.cpu_us.append((self._cpu_s() - before) / int(re.search(r"(\d+) requests in", report)[1]) * 1e6)
        self.rates.append(float(re.search(r"Requests/sec:\s+([\d.]+)", report)[1]))

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate()

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(loop: str, connections: int, rounds: int, seconds: int, script: str) -> str:
    """The two in turns. On a busy machine the best rounds tell most: those that others disturbed least."""
    bare, ours = Server("bare", loop), Server("lambdad", loop)
    try:
        for server in (bare, ours) * (rounds + 1):  # the first round warms up
            server.measure(connections, seconds, script)
    finally:
        bare.stop()
        ours.stop()
    middle = statistics.median(mine / other for mine, other in zip(ours.rates[1:], bare.rates[1:], strict=True))
    best = max(ours.rates[1:]) / max(bare.rates[1:])
    cpu = min(bare.cpu_us[1:]), min(ours.cpu_us[1:])
    return (
        f"{max(bare.rates[1:]):9,.0f} {max(ours.rates[1:]):9,.0f} {best:6.2f} {middle:7.2f}"
        f"   {cpu[0]:8.1f} {cpu[1]:8.1f} {cpu[0] / cpu[1]:6.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=1, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--loops", nargs="+", default=["asyncio", "uvloop"], choices=["asyncio", "uvloop"])
    parser.add_argument("--heads", nargs="+", default=["same", "signed"], choices=list(SCRIPTS))
    parser.add_argument("--serve", choices=["bare", "lambdad"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.loops[0])
        return
    print("                                best req/s          ratio    least CPU, us/req")
    print("heads   loop     conn.      bare   lambdad   best  median       bare  lambdad  ratio")
    for heads in options.heads:
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(SCRIPTS[heads])
            script.flush()
            for loop in options.loops:
                for connections in options.connections:
                    row = compare(loop, connections, options.rounds, options.seconds, script.name)
                    print(f"{heads:7} {loop:8} {connections:5} {row}", flush=True)


if __name__ == "__main__":
    main()
