"""Only an environment's own user may call its Runtime API; the kernel tells who is at the other end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import pytest

from lambdad.execution.runtime_api import server
from lambdad.execution.runtime_api.peers import Peers
from lambdad.execution.runtime_api.server import ExtensionsApi, RuntimeApi, address_of, bound_listener
from tests.execution.recording import RecordedEvents
from tests.execution.scripted import no_extensions

CALL = """
import socket, sys
host, port = sys.argv[1].split(":")
with socket.create_connection((host, int(port))) as sock:
    for _ in range(2):
        sock.sendall(b"POST /2018-06-01/runtime/init/error HTTP/1.1\\r\\nHost: h\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
        print(sock.recv(4096).decode())
"""


async def called(address: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", CALL, address, stdout=asyncio.subprocess.PIPE, cwd="/"
    )
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    return output.decode()


async def test_the_owner_of_a_connection_is_told() -> None:
    listener = bound_listener()
    listener.setblocking(True)
    peers = Peers()
    with listener, socket.create_connection(listener.getsockname()) as client:
        accepted, address = listener.accept()
        with accepted:
            assert address == client.getsockname()
            assert peers.uid(address, listener.getsockname()) == os.geteuid()
            assert peers.uid(("127.0.0.1", 1), listener.getsockname()) is None
    peers.close()


async def test_the_environments_user_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def peer_uid(*addresses: object) -> int:
        asked.append(addresses)
        return 4711

    monkeypatch.setattr(server, "_peer_uid", peer_uid)
    api = await RuntimeApi.open(RecordedEvents(), no_extensions(), peer_uid=4711)
    assert "202 Accepted" in await called(api.address)
    assert len(asked) == 1, "once for a connection, not for each request"
    api.close()


async def test_other_users_are_refused_on_every_request() -> None:
    events = RecordedEvents()
    listener = bound_listener()
    address = address_of(listener)
    api = await RuntimeApi.open(events, no_extensions(), listener, peer_uid=os.geteuid() + 1)
    answer = await called(address)
    assert answer.count("403 Forbidden") == 2
    assert "another execution environment" in answer
    api.close()


async def test_the_listener_for_extensions_refuses_them_too() -> None:
    listener = bound_listener()
    address = address_of(listener)
    api = ExtensionsApi(RecordedEvents(), no_extensions(), listener, peer_uid=os.geteuid() + 1)
    assert "403 Forbidden" in await called(address)
    api.close()


async def test_without_a_user_of_its_own_everybody_is_served() -> None:
    api = await RuntimeApi.open(RecordedEvents(), no_extensions())
    assert "202 Accepted" in await called(api.address)
    api.close()
