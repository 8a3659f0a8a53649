"""Measures SQS: messages sent, received and deleted per second, in an empty queue and behind many messages.

    python -m benchmarks.queues [--seconds 3] [--connections 1 16] [--queued 0 100000] [--loop asyncio|uvloop]

The server is the front door with the queue service and its store (synchronous=FULL) in a process of its own, its data
on the disk of this checkout; requests are signed as boto3 signs them, bodies have 256 bytes. `queued` is the number of
messages at the start, to which the sends add. Deletes take messages received before. Next to the rates: p50 and p99 of
the time to an answer, the CPU time of the server for each request, and the CPUs that other processes kept busy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from benchmarks.load import BUILD, HERE, CannotMeasure, Load, Prepared, http_request, measure
from benchmarks.targets import stop
from lambdad.clock import SystemClock
from lambdad.domain.credentials import KnownKey, TemporaryKeys
from lambdad.domain.queues import NewMessage, Queue, QueueAddress
from lambdad.http.server import HttpServer
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage import queue_messages
from lambdad.storage.sqlite import SqliteEngine
from lambdad.wire.access.gate import AuthMode, Gate
from lambdad.wire.access.hosts import HostNames
from lambdad.wire.front import FrontDoor
from lambdad.wire.sqs import sqs_service

REGION, ACCOUNT = "us-east-1", "000000000000"
CREDENTIALS = Credentials("test", "test")
BODY_BYTES = 256
DISTINCT = 64
DELETES = 4000


class NoKeys:
    """Nothing but the keys that everybody knows."""

    def secret_for(self, _: str) -> KnownKey | None:
        return None


# --- the server's process ---


async def serve(folder: Path, queued: int) -> None:
    """Serves the queues `long` (with `queued` messages) and `short` until it is told to stop."""
    engine, clock = await SqliteEngine.open(folder), SystemClock()
    service = SqsService(engine, clock)
    for name in ("long", "short"):
        await service.queues.create(QueueAddress(ACCOUNT, REGION, name), {}, {})
    queue = await service.queues.find(QueueAddress(ACCOUNT, REGION, "long"))
    for start in range(0, queued, 5000):
        await put(engine, queue, min(5000, queued - start), clock.time_ms())
    service.start()
    gate = Gate(AuthMode.DEV, NoKeys(), TemporaryKeys(bytes(32)))
    server = HttpServer(FrontDoor([sqs_service(service)], gate, HostNames("127.0.0.1")))
    await server.start()
    print(server.port, flush=True)
    await asyncio.Event().wait()


async def put(engine: SqliteEngine, queue: Queue, count: int, now_ms: int) -> None:
    messages = [NewMessage(message_id=str(uuid.uuid4()), body=a_body(), sender_id=ACCOUNT) for _ in range(count)]
    await engine.write(lambda tx: queue_messages.put(tx, queue, messages, now_ms))


def run_server(folder: str, queued: int, loop: str) -> None:
    factory = None
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415  # optional

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(Path(folder), queued))


# --- the measurements ---


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of request. `messages`: how many one request handles."""

    name: str
    prepare: Callable[[], Sequence[Prepared]]
    messages: int = 1
    once: bool = False
    """Each request is sent once."""


class Server:
    """The server as a process, and the requests for it."""

    def __init__(self, queued: int, loop: str) -> None:
        BUILD.mkdir(exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="queues-", dir=BUILD))
        command = [sys.executable, "-m", "benchmarks.queues", "--serve", str(self._folder), "--queued", str(queued)]
        self._process = subprocess.Popen(
            [*command, "--loop", loop], cwd=HERE.parent, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        try:
            stop(self._process)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def signed(self, operation: str, queue: str, **members: object) -> Prepared:
        host = f"127.0.0.1:{self.port}"
        body = json.dumps({"QueueUrl": f"http://{host}/{ACCOUNT}/{queue}", **members}).encode()
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{operation}"}
        request = AWSRequest(method="POST", url=f"http://{host}/", data=body, headers=headers)
        SigV4Auth(CREDENTIALS, "sqs", REGION).add_auth(request)
        return Prepared(http_request("POST", "/", {"Host": host, **dict(request.headers.items())}, body))

    def handles(self, count: int) -> list[str]:
        client = boto3.client(
            "sqs",
            region_name=REGION,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )
        url = f"http://127.0.0.1:{self.port}/{ACCOUNT}/long"
        found: list[str] = []
        while len(found) < count:
            messages = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=3600)["Messages"]
            found += [message["ReceiptHandle"] for message in messages]
        return found[:count]

    def rows(self) -> list[Row]:
        def sends() -> list[Prepared]:
            return [self.signed("SendMessage", "long", MessageBody=a_body()) for _ in range(DISTINCT)]

        def batches() -> list[Prepared]:
            entries = [{"Id": str(number), "MessageBody": a_body()} for number in range(10)]
            return [self.signed("SendMessageBatch", "long", Entries=entries)]

        def deletes() -> list[Prepared]:
            return [self.signed("DeleteMessage", "long", ReceiptHandle=handle) for handle in self.handles(DELETES)]

        def tens() -> list[Prepared]:
            # Given back soon, so that no run meets the limit of messages in flight.
            return [self.signed("ReceiveMessage", "long", MaxNumberOfMessages=10, VisibilityTimeout=2)]

        return [
            Row("send", sends),
            Row("send, batches of 10", batches, 10),
            Row("receive", lambda: [self.signed("ReceiveMessage", "long", VisibilityTimeout=2)]),
            Row("receive 10", tens, 10),
            Row("receive, empty", lambda: [self.signed("ReceiveMessage", "short")]),
            Row("attributes", lambda: [self.signed("GetQueueAttributes", "long", AttributeNames=["All"])]),
            Row("delete", deletes, once=True),
        ]


def a_body() -> str:
    return (uuid.uuid4().hex * 8)[:BODY_BYTES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--queued", type=int, nargs="+", default=[0, 100_000])
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run_server(options.serve, options.queued[0], options.loop)
        return
    print(f"{'':22}{'queued':>9}{'conn.':>7}{'messages/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{'others':>8}")
    for queued in options.queued:
        for found in figures(queued, options.connections, options.seconds, options.loop):
            print(line(found), flush=True)


def figures(
    queued: int, connections: Sequence[int], seconds: float, loop: str = "asyncio"
) -> Iterator[dict[str, object]]:
    """The load client's report of each kind of request, with its name, the backlog, and `messages_per_second`."""
    server = Server(queued, loop)
    try:
        for row in server.rows():
            for number in connections:
                load = Load(connections=number, count=DELETES) if row.once else Load(
                    connections=number, seconds=seconds, warmup=0.3
                )  # fmt: skip
                report = measure(server.pid, server.port, row.prepare, load)
                if report["errors"]:
                    raise CannotMeasure(
                        f"{row.name}: {report['errors']} calls failed, the first with {report['first_error']}"
                    )
                rate = report["requests_per_second"] * row.messages
                named = {"name": row.name, "queued": queued, "connections": number, "messages_per_second": rate}
                yield {**report, **named}
    finally:
        server.close()


def line(found: dict[str, object]) -> str:
    return (
        f"{found['name']:22}{found['queued']:>9}{found['connections']:>7}{found['messages_per_second']:>12,.0f}"
        f"{found['p50'] / 1e6:>9.2f}{found['p99'] / 1e6:>9.2f}{found['cpu_us_per_request']:>9.0f}"
        f"{found['foreign_cores']:>8.2f}"
    )


if __name__ == "__main__":
    main()
