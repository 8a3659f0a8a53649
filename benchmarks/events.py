"""Measures the event queue's store: accepting, claiming, finishing, with 0, 100,000 and 1,000,000 events queued.

    python -m benchmarks.events [--backlogs 0,100000,1000000] [--functions 100]

Payloads are 1 KB. Every figure is of the real store with synchronous=FULL; the fsync alone is printed first, because
all else stands on it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from lambdad.domain.events import Event
from lambdad.storage import events
from lambdad.storage.engine import Transaction
from lambdad.storage.events import Claim
from lambdad.storage.functions import FunctionKey
from lambdad.storage.sqlite import SqliteEngine

PAYLOAD = b'{"data": "' + b"x" * 1012 + b'"}'
NOW_MS = 1_800_000_000_000
ROUNDS = 300


def an_event(function: int, number: int, accepted_ms: int) -> Event:
    return Event(
        request_id=f"{number:032x}",
        account="000000000000",
        region="us-east-1",
        function=f"function-{function}",
        payload=PAYLOAD,
        accepted_ms=accepted_ms,
    )


def key(function: int) -> FunctionKey:
    return FunctionKey("000000000000", "us-east-1", f"function-{function}")


def shown(name: str, times: list[float]) -> None:
    ordered = sorted(times)
    p99 = ordered[int(len(ordered) * 0.99)]
    print(f"  {name:34} p50 {statistics.median(ordered) * 1000:7.3f} ms   p99 {p99 * 1000:7.3f} ms")


async def timed(step: Callable[[int], Awaitable[object]], rounds: int = ROUNDS) -> list[float]:
    times = []
    for number in range(rounds):
        start = time.perf_counter()
        await step(number)
        times.append(time.perf_counter() - start)
    return times


async def fill(engine: SqliteEngine, backlog: int, functions: int) -> None:
    slice_size = 2000
    for first in range(0, backlog, slice_size):

        def job(tx: Transaction, first: int = first) -> None:
            for number in range(first, min(first + slice_size, backlog)):
                events.put(tx, an_event(number % functions, number, NOW_MS - backlog + number))

        await engine.write(job)


async def accept_rate(engine: SqliteEngine, clients: int, functions: int, seconds: float = 2.0) -> float:
    end = time.perf_counter() + seconds
    count = 0

    async def client(number: int) -> None:
        nonlocal count
        while time.perf_counter() < end:
            event = an_event((number + count) % functions, count, NOW_MS)
            await engine.write(lambda tx, event=event: events.put(tx, event))
            count += 1

    await asyncio.gather(*(client(number) for number in range(clients)))
    return count / seconds


async def measure(backlog: int, functions: int) -> None:
    with tempfile.TemporaryDirectory(prefix="lambdad-events-") as folder:
        engine = await SqliteEngine.open(Path(folder))
        start = time.perf_counter()
        await fill(engine, backlog, functions)
        print(f"\n{backlog:,} events of {functions} functions, stored in {time.perf_counter() - start:.1f} s")
        rows = {row.key.name: row.id for row in await events.queues(engine)}
        if not rows:
            await engine.write(lambda tx: [events.put(tx, an_event(n, n, NOW_MS)) for n in range(functions)])
            rows = {row.key.name: row.id for row in await events.queues(engine)}
            await engine.write(lambda tx: [events.remove(tx, n + 1) for n in range(functions)])

        async def start_up(_: int) -> None:
            await events.queues(engine)

        async def empty_poll(number: int) -> None:
            claim = Claim(queue_id=rows[f"function-{number % functions}"], key=key(number % functions), limit=64)
            taken = await engine.write(lambda tx: events.claim(tx, claim, NOW_MS - 2 * backlog - 1, NOW_MS * 2))
            assert not taken.events

        async def one(number: int) -> None:
            function = number % functions
            event = an_event(function, number, NOW_MS - 3 * backlog - 1)  # the first in its queue
            await engine.write(lambda tx: events.put(tx, event))
            claim = Claim(queue_id=rows[event.function], key=key(function), limit=1)
            begin = time.perf_counter()
            taken = await engine.write(lambda tx: events.claim(tx, claim, NOW_MS, NOW_MS * 2))
            claims.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            await engine.write(lambda tx: events.remove(tx, taken.events[0].id))
            ends.append(time.perf_counter() - begin)

        claims: list[float] = []
        ends: list[float] = []
        shown("empty poll of one function", await timed(empty_poll))
        shown("accept, claim and finish one event", await timed(one))
        shown("  of it the claim", claims)
        shown("  of it the finish", ends)
        shown("first look at all queues, at start", await timed(start_up, 20))
        for clients in (1, 16, 64):
            print(f"  {f'accepts, {clients} clients':34} {await accept_rate(engine, clients, functions):,.0f} events/s")
        if backlog:
            begin, done = time.perf_counter(), 0
            while time.perf_counter() < begin + 2:
                claim = Claim(
                    queue_id=rows[f"function-{done // 64 % functions}"], key=key(done // 64 % functions), limit=64
                )
                taken = await engine.write(lambda tx, claim=claim: events.claim(tx, claim, NOW_MS, NOW_MS * 2))
                await asyncio.gather(
                    *(engine.write(lambda tx, one=one: events.remove(tx, one.id)) for one in taken.events)
                )
                done += 64
            print(f"  {'claim 64, finish each':34} {done / (time.perf_counter() - begin):,.0f} events/s")
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        print(f"  {'on disk':34} {size / 1e6:,.0f} MB")
        await engine.close()


def bare_fsync() -> None:
    with tempfile.NamedTemporaryFile(prefix="lambdad-fsync-") as file:
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * 4096, 0)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    shown("write of 4 KB and fdatasync", times)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backlogs", default="0,100000,1000000")
    parser.add_argument("--functions", type=int, default=100)
    arguments = parser.parse_args()
    bare_fsync()
    for backlog in arguments.backlogs.split(","):
        await measure(int(backlog), arguments.functions)


if __name__ == "__main__":
    asyncio.run(main())
