"""`kill -9` in the middle of work, and a start on what is left."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import StartServer
from tests.running import ROLE, RunningServer, zipped

WORK = "def handler(event, context):\n    print('token', event['token'])\n    return event\n"
NAMED = "def handler(event, context):\n    return {name!r}\n"
SETTLED_S = 1.0
"""Logs of this age are on disk (half a second between flushes)."""


def descendants(pid: int) -> set[int]:
    """The processes below one."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: set[int] = set()
    left = [pid]
    while left:
        for child in children.get(left.pop(), []):
            found.add(child)
            left.append(child)
    return found


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Load:
    """Clients that work until the server is gone, and what they were answered."""

    def __init__(self, server: RunningServer, seed: str) -> None:
        self.called: list[tuple[float, str]] = []
        self.functions: list[str] = []
        self.versions: list[tuple[str, str]] = []
        self.aliases: list[str] = []
        self.enough = threading.Event()
        self._server = server
        self._seed = seed
        works = [self._call, self._call, self._call, self._make, self._make]
        self._threads = [
            threading.Thread(target=self._until_gone, args=(work, number)) for number, work in enumerate(works)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _until_gone(self, work: Callable[[Any, str], None], number: int) -> None:
        client = self._server.client("lambda", connect_timeout=2)
        count = 0
        with contextlib.suppress(BotoCoreError):
            while True:
                with contextlib.suppress(ClientError):  # a function that is still Pending
                    work(client, f"{self._seed}-{number}-{count}")
                count += 1

    def _call(self, client: Any, token: str) -> None:
        answer = client.invoke(FunctionName="work", Payload=json.dumps({"token": token}))
        if json.loads(answer["Payload"].read()) == {"token": token}:
            self.called.append((time.monotonic(), token))

    def _make(self, client: Any, token: str) -> None:
        name = f"made-{token}"
        code = zipped({"app.py": NAMED.format(name=name)})
        client.create_function(
            FunctionName=name, Runtime="python3.11", Role=ROLE, Handler="app.handler", Code={"ZipFile": code}
        )
        self.functions.append(name)
        settle(client, name)
        version = client.publish_version(FunctionName=name)["Version"]
        self.versions.append((name, version))
        client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
        self.aliases.append(name)
        worked_s = time.monotonic() - self.called[0][0] if self.called else 0.0
        if len(self.aliases) >= 10 and worked_s > 1.5 * SETTLED_S:
            self.enough.set()


def settle(client: Any, name: str) -> None:
    while client.get_function_configuration(FunctionName=name)["State"] == "Pending":
        pass


def answer_of(client: Any, name: str, qualifier: str = "$LATEST") -> object:
    return json.loads(client.invoke(FunctionName=name, Qualifier=qualifier)["Payload"].read())


def test_what_was_answered_is_there_after_kill_9(start_server: StartServer) -> None:
    server = start_server()
    server.create_function("work", WORK)
    tokens: set[str] = set()
    for seed in ("first", "second"):
        load = Load(server, seed)
        assert load.enough.wait(60)
        processes = descendants(server.process.pid)
        assert processes
        killed = time.monotonic()
        server.stop(signal.SIGKILL)
        load.join()
        deadline = time.monotonic() + 10
        while (left := {pid for pid in processes if lives(pid)}) and time.monotonic() < deadline:
            pass
        assert not left, "processes outlive the server that started them"

        server = start_server()
        client = server.client("lambda")
        for name in load.functions:
            settle(client, name)
            assert answer_of(client, name) == name
        for name, version in load.versions:
            assert answer_of(client, name, version) == name
        for name in load.aliases:
            assert answer_of(client, name, "live") == name
        tokens |= {token for at, token in load.called if at < killed - SETTLED_S}

    assert tokens
    pages = server.client("logs").get_paginator("filter_log_events")
    logged: set[str] = set()
    for page in pages.paginate(logGroupName="/aws/lambda/work", filterPattern="token"):
        logged |= {event["message"].split()[1] for event in page["events"]}
    assert tokens <= logged
