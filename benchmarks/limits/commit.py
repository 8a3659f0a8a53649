"""limit-commit: answers once the body is a row of a SQLite table with synchronous=FULL, and does nothing else.

    python -m benchmarks.limits.commit --folder FOLDER

One thread writes. Whatever has come in while the last commit ran shares the next one.
"""

from __future__ import annotations

import argparse
import asyncio
import queue
import sqlite3
import threading
from pathlib import Path

from benchmarks.limits.serving import Front, run, serve

ROWS_PER_COMMIT = 512


class Writer:
    """The table and its thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "commits.db"
        self._waiting: queue.SimpleQueue[tuple[Front, bytes]] = queue.SimpleQueue()

    def start(self) -> None:
        threading.Thread(target=self._write, args=(asyncio.get_running_loop(),), daemon=True).start()

    def handle(self, front: Front, _url: bytes, body: bytes) -> None:
        self._waiting.put((front, body))

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        while True:
            batch = [self._waiting.get()]
            while len(batch) < ROWS_PER_COMMIT:
                try:
                    batch.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO event (body) VALUES (?)", [(body,) for _, body in batch])
            connection.execute("COMMIT")
            loop.call_soon_threadsafe(_answer, batch)


def _answer(batch: list[tuple[Front, bytes]]) -> None:
    for front, body in batch:
        front.answer(body)


async def main(folder: Path) -> None:
    writer = Writer(folder)
    writer.start()
    await serve(writer.handle)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="limit-commit")
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    run(lambda: main(arguments.folder))
