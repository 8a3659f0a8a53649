"""Takes batches to a subscriber's listener inside the environment, over HTTP or TCP.

Environments share the host's network, so the server connects to the loopback address under which the environment
knows itself. A listener that is not there yet, or not any more, is tried again for as long as the records are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from lambdad.domain.telemetry_subscriptions import Destination

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 5.0
"""How long one batch may take to be accepted."""


_ANSWER_BYTES = 1 << 16


class NotDelivered(Exception):
    """The listener did not take the batch."""


class Sender:
    """The way to one listener. One batch at a time."""

    def __init__(self, destination: Destination, address: str) -> None:
        self._destination = destination
        self._address = address
        self._lines: asyncio.StreamWriter | None = None
        """The open TCP connection of a line-delimited stream."""

    async def send(self, batch: list[bytes]) -> None:
        """Raises NotDelivered; the same batch may be sent again."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await (self._post(batch) if self._destination.is_http else self._write(batch))
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.close()
            raise NotDelivered(str(error)) from None

    def close(self) -> None:
        writer, self._lines = self._lines, None
        if writer is not None:
            writer.close()

    async def _post(self, batch: list[bytes]) -> None:
        destination = self._destination
        body = b"[" + b",".join(batch) + b"]"
        # A connection for each batch: what little listeners do with long-lived ones is not to be relied on.
        reader, writer = await asyncio.open_connection(self._address, destination.port)
        try:
            head = (
                f"{destination.method} {destination.path} HTTP/1.1\r\nHost: {destination.host}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
            status = (await reader.readline()).split(b" ", 2)
            if len(status) < 2 or not status[1].startswith(b"2"):
                raise NotDelivered(f"the listener answered {status[1:2]}")
            # What else has come is taken: a connection closed with unread data is reset, which some listeners report.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await reader.read(_ANSWER_BYTES)
        finally:
            writer.close()

    async def _write(self, batch: list[bytes]) -> None:
        writer = self._lines
        if writer is None or writer.is_closing():
            _, writer = await asyncio.open_connection(self._address, self._destination.port)
            self._lines = writer
        writer.write(b"".join(record + b"\n" for record in batch))
        await writer.drain()
