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
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.load import BUILD
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


async def fill_function(engine: SqliteEngine, function: str, count: int) -> None:
    """Events of one function, accepted just now."""
    now_ms = int(time.time() * 1000)
    for first in range(0, count, 2000):
        made = [
            replace(an_event(0, number, now_ms), function=function, request_id=str(uuid.uuid4()))
            for number in range(first, min(first + 2000, count))
        ]
        await engine.write(lambda tx, made=made: events.put_all(tx, made))


async def figures(backlog: int, functions: int, rounds: int = ROUNDS, seconds: float = 2.0) -> dict[str, Any]:
    """What the store takes with so many events queued: times in seconds by name, and events a second."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="events-", dir=BUILD) as folder:
        engine = await SqliteEngine.open(Path(folder))
        await fill(engine, backlog, functions)
        found = await _Store(engine, backlog, functions).figures(rounds, seconds)
        found["bytes"] = sum(path.stat().st_size for path in Path(folder).iterdir() if path.is_file())
        await engine.close()
        return found


class _Store:
    """A store with a backlog, as it is asked for figures."""

    def __init__(self, engine: SqliteEngine, backlog: int, functions: int) -> None:
        self._engine = engine
        self._backlog = backlog
        self._functions = functions
        self._rows: dict[str, int] = {}
        self._claims: list[float] = []
        self._ends: list[float] = []

    async def figures(self, rounds: int, seconds: float) -> dict[str, Any]:
        engine = self._engine
        await self._find_queues()
        times = {
            "empty poll of one function": await timed(self._empty_poll, rounds),
            "accept, claim and finish one event": await timed(self._one, rounds),
            "claim of one event": self._claims,
            "finish of one event": self._ends,
            "first look at all queues, at start": await timed(lambda _: events.queues(engine), 20),
        }
        accepts = {
            str(clients): await accept_rate(engine, clients, self._functions, seconds) for clients in (1, 16, 64)
        }
        worked_off = await self._work_off(seconds) if self._backlog else None
        return {"times": times, "accepts": accepts, "worked_off": worked_off}

    async def _find_queues(self) -> None:
        engine, functions = self._engine, self._functions
        if not self._backlog:
            await engine.write(lambda tx: [events.put(tx, an_event(n, n, NOW_MS)) for n in range(functions)])
        self._rows = {row.key.name: row.id for row in await events.queues(engine)}
        if not self._backlog:
            await engine.write(lambda tx: [events.remove(tx, n + 1) for n in range(functions)])

    def _claim(self, function: int, limit: int) -> Claim:
        return Claim(queue_id=self._rows[f"function-{function}"], key=key(function), limit=limit)

    async def _empty_poll(self, number: int) -> None:
        claim = self._claim(number % self._functions, 64)
        before_all_ms = NOW_MS - 2 * self._backlog - 1
        taken = await self._engine.write(lambda tx: events.claim(tx, claim, before_all_ms, NOW_MS * 2))
        assert not taken.events

    async def _one(self, number: int) -> None:
        function = number % self._functions
        event = an_event(function, number, NOW_MS - 3 * self._backlog - 1)  # the first in its queue
        await self._engine.write(lambda tx: events.put(tx, event))
        claim = self._claim(function, 1)
        begin = time.perf_counter()
        taken = await self._engine.write(lambda tx: events.claim(tx, claim, NOW_MS, NOW_MS * 2))
        self._claims.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        await self._engine.write(lambda tx: events.remove(tx, taken.events[0].id))
        self._ends.append(time.perf_counter() - begin)

    async def _work_off(self, seconds: float) -> float:
        """Claims of 64 events, each finished by itself; events a second."""
        engine, begin, done, turn = self._engine, time.perf_counter(), 0, 0
        while time.perf_counter() < begin + seconds:
            claim = self._claim(turn % self._functions, 64)
            taken = await engine.write(lambda tx, claim=claim: events.claim(tx, claim, NOW_MS, NOW_MS * 2))
            await asyncio.gather(*(engine.write(lambda tx, one=one: events.remove(tx, one.id)) for one in taken.events))
            done, turn = done + len(taken.events), turn + 1
        return done / (time.perf_counter() - begin)


async def measure(backlog: int, functions: int) -> None:
    found = await figures(backlog, functions)
    print(f"\n{backlog:,} events of {functions} functions, {found['bytes'] / 1e6:,.0f} MB on disk")
    for name, times in found["times"].items():
        shown(name, times)
    for clients, rate in found["accepts"].items():
        print(f"  {f'accepts, {clients} clients':34} {rate:,.0f} events/s")
    if found["worked_off"] is not None:
        print(f"  {'claim 64, finish each':34} {found['worked_off']:,.0f} events/s")


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
