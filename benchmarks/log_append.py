"""Measures the log's append path: what an invocation pays on the event loop, what storing costs, what it takes on disk.

    python -m benchmarks.log_append [--invocations 100000] [--streams 32] [--rate 20000]

First the calls alone; then `--rate` invocations a second for three seconds with the flush loop running, where the
delay of a 5 ms timer shows what storing takes from the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from lambdad.clock import SystemClock
from lambdad.execution.log_lines import system_lines
from lambdad.neighbours.logs.service import LogService
from lambdad.neighbours.logs.writer import LogStreamHandle, LogWriter
from lambdad.storage.logs import LogStorage
from lambdad.storage.sqlite import SqliteEngine

ID = "0d9f7b44-5f0d-4e16-9c3c-5b6a4d1e1f00"
LINES = system_lines("Text", function_name="fn", version="$LATEST", memory_mb=128)
OUTPUT = f"[INFO]\t2026-01-31T12:00:00.123Z\t{ID}\thandled one event\n".encode()


def log_one(stream: LogStreamHandle, now_ms: int, number: int) -> None:
    """The log of one warm invocation that prints one line."""
    stream.append(now_ms, LINES.start(now_ms, ID))
    stream.append(now_ms, OUTPUT)
    stream.append(now_ms, LINES.end(now_ms, ID, 1.2, "success", None) + LINES.report(now_ms, ID, number % 97, 3, 45))


def in_microseconds(seconds: float, count: int) -> str:
    return f"{seconds / count * 1e6:6.2f} us"


async def calls(folder: Path, invocations: int, streams: int) -> None:
    engine = await SqliteEngine.open(folder)
    clock = SystemClock()
    writer = LogWriter(LogStorage(engine), clock, unflushed_limit=1 << 40)
    handles = [writer.stream("1" * 12, "us-east-1", "/aws/lambda/fn", f"s{number}") for number in range(streams)]
    start = time.perf_counter()
    for number in range(invocations):
        LINES.start(0, ID)
        LINES.end(0, ID, 1.2, "success", None)
        LINES.report(0, ID, number % 97, 3, 45)
    print("START, END and REPORT    ", in_microseconds(time.perf_counter() - start, invocations), "an invocation")
    start = time.perf_counter()
    for number in range(invocations):
        handles[number % streams].append(1, OUTPUT)
    print("append                   ", in_microseconds(time.perf_counter() - start, invocations), "a call")
    start = time.perf_counter()
    await writer.flush()
    print("flush of all at once     ", in_microseconds(time.perf_counter() - start, invocations), "an invocation")
    await engine.close()


async def at_rate(folder: Path, rate: int, streams: int, seconds: float = 3.0) -> None:
    engine = await SqliteEngine.open(folder)
    logs = LogService(engine, SystemClock())
    logs.start()
    handles = [logs.writer.stream("1" * 12, "us-east-1", "/aws/lambda/fn", f"s{number}") for number in range(streams)]
    delays: list[float] = []
    done = 0
    start = time.perf_counter()
    cpu = time.process_time()
    while (elapsed := time.perf_counter() - start) < seconds:
        now_ms = int(time.time() * 1000)
        while done < elapsed * rate:
            log_one(handles[done % streams], now_ms, done)
            done += 1
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        delays.append(time.perf_counter() - before - 0.005)
    await logs.stop()
    cpu = time.process_time() - cpu
    delays.sort()
    print(f"{done / seconds:,.0f} invocations/s: {in_microseconds(cpu, done)} CPU each, lines included;", end=" ")
    print(
        f"timer late by {delays[len(delays) // 2] * 1e3:.2f} ms p50, {delays[len(delays) * 99 // 100] * 1e3:.2f} ms p99"
    )
    rows = await engine.read("SELECT count(*), sum(bytes), sum(length(data)) FROM log_segment")
    segments, text, packed = rows[0]
    print(f"{segments} segments; {text / done:.0f} bytes of text an invocation, {packed / done:.0f} stored")
    print({name: int(value) for name, value in logs.statistics().items()})
    await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--invocations", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--rate", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(calls(Path(folder) / "calls", options.invocations, options.streams))
        asyncio.run(at_rate(Path(folder) / "rate", options.rate, options.streams))


if __name__ == "__main__":
    main()
