"""Queues in storage: what is found by an index, counters, long queues, and what survives a kill."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambdad.domain.queues import NewMessage, Queue, QueueAddress, QueueSettings
from lambdad.storage import queue_claims, queue_groups, queue_messages, queues
from lambdad.storage.engine import Transaction
from lambdad.storage.queue_claims import Claim, Claimer
from lambdad.storage.sqlite import SqliteEngine

NOW = 1_800_000_000_000
ADDRESS = QueueAddress("000000000000", "us-east-1", "q")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path)
    yield engine
    await engine.close()


def a_message(body: str = "x", group: str | None = None) -> NewMessage:
    return NewMessage(
        message_id=str(uuid.uuid4()), body=body, sender_id="me", group_id=group, deduplication_id=str(uuid.uuid4())
    )


async def a_queue(engine: SqliteEngine, *, is_fifo: bool = False) -> Queue:
    settings = QueueSettings(is_fifo=is_fifo)
    return await engine.write(lambda tx: queues.insert(tx, ADDRESS, settings, {}, NOW))


async def fill(engine: SqliteEngine, queue: Queue, count: int) -> None:
    """Messages of 50 groups, in big steps."""
    for start in range(0, count, 10_000):
        messages = [
            a_message(str(number), f"g{number % 50}" if queue.settings.is_fifo else None)
            for number in range(start, min(start + 10_000, count))
        ]
        await engine.write(lambda tx, messages=messages: queue_messages.put(tx, queue, messages, NOW))


class Watched:
    """A transaction that notes the plan of every statement."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.scans: list[str] = []

    def __getattr__(self, name: str) -> object:
        method = getattr(self._tx, name)

        def call(sql: str, args: object = ()) -> object:
            first = args[0] if name == "run_many" and args else args  # type: ignore[index]
            for row in self._tx.all(f"EXPLAIN QUERY PLAN {sql}", first):  # type: ignore[arg-type]
                # Sorting would read all rows first. The index of garbage holds nothing else.
                if re.match(r"SCAN (?!.*queue_bucket_garbage)", row[3]) or "TEMP B-TREE" in row[3]:
                    self.scans.append(f"{sql}: {row[3]}")
            return method(sql, args) if args else method(sql)

        return call


@pytest.mark.parametrize("is_fifo", [False, True])
async def test_no_statement_of_the_data_plane_reads_a_whole_table(engine: SqliteEngine, is_fifo: bool):
    queue = await a_queue(engine, is_fifo=is_fifo)
    await engine.write(lambda tx: queue_messages.put(tx, queue, [a_message(group="g") for _ in range(30)], NOW))

    def job(tx: Transaction) -> list[str]:
        watched: Transaction = Watched(tx)  # type: ignore[assignment]
        found = queues.find(watched, ADDRESS)
        assert found is not None
        queue_messages.put(watched, found, [a_message(group="h")], NOW)
        claim = Claimer().claim(watched, found, now_ms=NOW, visibility_ms=30_000, limit=10)
        assert len(claim.messages) == 10
        receipt = claim.messages[0].receipt
        queue_messages.change_visibility(watched, found, receipt, visibility_ms=5, longest_ms=43_200_000, now_ms=NOW)
        assert queue_messages.delete(watched, found, receipt, NOW)
        queue_claims.next_due(watched, found, NOW)
        queue_claims.move_visible(watched, found, None, ["id"], NOW)
        queue_messages.expire(watched, found, NOW)
        queues.purge(watched, found, NOW)
        queues.remove_garbage(watched)
        queue_groups.due(watched, found.bucket, NOW, 10)
        return watched.scans  # type: ignore[attr-defined, no-any-return]

    assert await engine.write(job) == []


class Counted:
    """How many steps of the database's machine a job takes: time that no other load changes."""

    def __init__(self, engine: SqliteEngine) -> None:
        self._engine = engine

    async def steps(self, queue: Queue) -> int:
        def job(tx: Transaction) -> int:
            connection = tx._connection  # type: ignore[attr-defined]
            count = 0

            def tick() -> int:
                nonlocal count
                count += 1
                return 0

            connection.set_progress_handler(tick, 1)
            try:
                claim: Claim = Claimer().claim(tx, queue, now_ms=NOW, visibility_ms=30_000, limit=10)
            finally:
                connection.set_progress_handler(None, 0)
            assert len(claim.messages) == 10
            return count

        return await self._engine.write(job)


@pytest.mark.parametrize("is_fifo", [False, True])
async def test_a_claim_takes_as_many_steps_in_a_long_queue(engine: SqliteEngine, is_fifo: bool):
    queue = await a_queue(engine, is_fifo=is_fifo)
    counted = Counted(engine)
    await fill(engine, queue, 1000)
    short = await counted.steps(queue)
    await fill(engine, queue, 20_000)
    assert await counted.steps(queue) < short * 1.5


async def test_the_counter_is_the_number_of_messages(engine: SqliteEngine):
    queue = await a_queue(engine)
    claimer = Claimer()

    def job(tx: Transaction) -> None:
        queue_messages.put(tx, queue, [a_message() for _ in range(7)], NOW)
        claim = claimer.claim(tx, queue, now_ms=NOW, visibility_ms=1, limit=3)
        for message in claim.messages:
            queue_messages.delete(tx, queue, message.receipt, NOW)
            queue_messages.delete(tx, queue, message.receipt, NOW)

    await engine.write(job)
    rows = await engine.read("SELECT stored, (SELECT COUNT(*) FROM queue_message) FROM queue_bucket")
    assert rows == [(4, 4)]


async def test_settings_that_are_not_known_are_dropped_and_missing_ones_take_their_defaults():
    settings = queues.decode_settings('{"delay_s": 5, "of_the_future": 1}')
    assert settings == QueueSettings(delay_s=5)


async def test_a_purge_takes_no_longer_for_a_long_queue(engine: SqliteEngine):
    queue = await a_queue(engine)
    await fill(engine, queue, 20_000)
    changed = await engine.write(lambda tx: _changes(tx, queue))
    assert changed < 10


def _changes(tx: Transaction, queue: Queue) -> int:
    before: int = tx._connection.total_changes  # type: ignore[attr-defined]
    queues.purge(tx, queue, NOW)
    return int(tx._connection.total_changes) - before  # type: ignore[attr-defined]


SENDER = """
import asyncio, sys
from pathlib import Path
from lambdad.clock import SystemClock
from lambdad.domain.queues import QueueAddress
from lambdad.neighbours.sqs.messages import Draft
from lambdad.neighbours.sqs.service import SqsService
from lambdad.storage.sqlite import SqliteEngine

async def main():
    engine = await SqliteEngine.open(Path(sys.argv[1]))
    service = SqsService(engine, SystemClock())
    address = QueueAddress("000000000000", "us-east-1", "q")
    await service.queues.create(address, {}, {})

    async def send_on(number):
        count = 0
        while True:
            body = f"{number}-{count}"
            await service.messages.send(address, Draft(body=body), sender_id="me")
            print(body, flush=True)
            count += 1

    await asyncio.gather(*(send_on(number) for number in range(8)))

asyncio.run(main())
"""


def killed_while_sending(folder: Path) -> set[str]:
    """The bodies that a sending process had answers for when it was killed."""
    with subprocess.Popen([sys.executable, "-c", SENDER, str(folder)], stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        answered = [sender.stdout.readline() for _ in range(200)]
        os.kill(sender.pid, signal.SIGKILL)
        answered += sender.stdout
    return {line.strip() for line in answered if line.endswith("\n")}


async def test_every_message_that_was_answered_survives_a_kill(tmp_path: Path):
    answered = await asyncio.to_thread(killed_while_sending, tmp_path)
    engine = await SqliteEngine.open(tmp_path)
    stored = {row[0] for row in await engine.read("SELECT body FROM queue_message_content")}
    counts = await engine.read("SELECT stored, (SELECT COUNT(*) FROM queue_message) FROM queue_bucket")
    await engine.close()
    assert len(answered) >= 200
    assert answered <= stored
    assert counts == [(len(stored), len(stored))]
