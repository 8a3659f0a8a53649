"""An environment's own network: nothing but a loopback interface, with the listener that the server gets of it."""

from __future__ import annotations

import asyncio
import socket

import pytest

from lambdad.execution.spawner.client import LaunchError
from tests.execution.spawner.conftest import Bench

CONNECTING = """
import socket
def handler(event, context):
    names = [name for _, name in socket.if_nameindex()]
    with socket.create_connection(("127.0.0.1", 9001), 5) as sock:
        sock.sendall(b"from inside")
    try:
        socket.create_connection(tuple(event), 5).close()
    except OSError:
        return [names, False]
    return [names, True]
"""


async def test_the_server_serves_a_listener_inside(any_bench: Bench) -> None:
    outside = socket.create_server(("127.0.0.1", 0))
    with outside:
        if any_bench.client.tier in ("T0", "T1"):
            with pytest.raises(LaunchError, match="the function must not reach a network, which takes namespaces"):
                await any_bench.start(CONNECTING, own_network=True)
            return
        runtime = await any_bench.start(CONNECTING, own_network=True)
        listener = runtime.process.take_listener()
        assert listener is not None
        with listener:
            answer = asyncio.create_task(runtime.invoke(list(outside.getsockname())))
            loop = asyncio.get_running_loop()
            connection, _ = await asyncio.wait_for(loop.sock_accept(listener), 10)
            with connection:
                assert await loop.sock_recv(connection, 100) == b"from inside"
            assert await answer == [["lo"], False]


async def test_without_one_there_is_no_such_listener(any_bench: Bench) -> None:
    runtime = await any_bench.start("def handler(event, context):\n    return event\n")
    assert runtime.process.take_listener() is None
