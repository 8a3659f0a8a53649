"""limit-ric: the same as limit-pipe, but the workers are unmodified awslambdaric processes behind a Runtime API.

    python -m benchmarks.limits.ric [--workers 2]

The Runtime API here knows `next` and `response` (and `init/error`, to fail loudly), nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from benchmarks.limits.serving import Front, run, serve

FUNCTION = Path(__file__).resolve().parent.parent / "functions" / "echo"
PREFIX = b"/2018-06-01/runtime/"
# awslambdaric 4.2 does not survive an answer without a Content-Type.
NEXT = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: %d\r\n"
    b"lambda-runtime-deadline-ms: %d\r\n"
    b"lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:000000000000:function:echo\r\n"
    b"content-length: %d\r\n\r\n%b"
)
ACCEPTED = b'HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{"status": "OK"}'


class RuntimeApi:
    """Requests on one side, runtimes that ask for the next on the other."""

    def __init__(self, expected: int) -> None:
        self.port = 0
        self.ready = asyncio.Event()
        self._expected = expected
        self._ids = itertools.count(1)
        self._idle: list[Front] = []
        self._waiting: deque[tuple[Front, bytes]] = deque()
        self._callers: dict[bytes, Front] = {}

    def invoke(self, front: Front, _url: bytes, body: bytes) -> None:
        if self._idle:
            self._deliver(self._idle.pop(), front, body)
        else:
            self._waiting.append((front, body))

    def runtime_request(self, runtime: Front, url: bytes, body: bytes) -> None:
        route = url.removeprefix(PREFIX)
        if route == b"invocation/next":
            self._next(runtime)
        elif route.startswith(b"invocation/") and route.endswith(b"/response"):
            runtime.write(ACCEPTED)
            self._callers.pop(route.split(b"/")[1]).answer(body)
        else:
            raise SystemExit(f"a runtime reports {url.decode()}: {body.decode()}")

    def _next(self, runtime: Front) -> None:
        if self._waiting:
            self._deliver(runtime, *self._waiting.popleft())
            return
        self._idle.append(runtime)
        if len(self._idle) == self._expected:
            self.ready.set()

    def _deliver(self, runtime: Front, caller: Front, body: bytes) -> None:
        request_id = next(self._ids)
        self._callers[b"%d" % request_id] = caller
        deadline = int(time.time() * 1000) + 3000
        runtime.write(NEXT % (request_id, deadline, len(body), body))


def start_runtime(port: int) -> subprocess.Popen[bytes]:
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": "echo",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_REGION": "us-east-1",
        "LAMBDA_TASK_ROOT": str(FUNCTION),
    }
    command = [sys.executable, "-m", "awslambdaric", "app.handler"]
    return subprocess.Popen(command, cwd=FUNCTION, env=environ, stdout=subprocess.DEVNULL)


async def main(workers: int) -> None:
    api = RuntimeApi(workers)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Front(api.runtime_request), "127.0.0.1", 0)
    runtimes = [start_runtime(listener.sockets[0].getsockname()[1]) for _ in range(workers)]
    try:
        await serve(api.invoke, api.ready)
    finally:
        for runtime in runtimes:
            runtime.kill()
            runtime.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="limit-ric")
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    run(lambda: main(workers))
